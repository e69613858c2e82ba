// The intervals of a strip's sub-columns that a line or a band covers, by true area. See core/raster.h.
#pragma once

#include "strip.cuh"

namespace spectromer {

// If the spacing of the points is a power of two, and at most 1, the positions of points relative to a given sub-column
// are the same in every pixel column. So the points near it, and the heights of their discs, are computed once. The
// number of sub-columns is a power of two as well, so that all distances are exact.
struct alignas(16) NearPoints {
  int first;     // first point whose segment can touch the sub-column, counted from the column's first point
  int segments;  // number of segments from there on
  float from;    // distance from the middle of the first segment to the sub-column
  int reach;     // index of its first disc in NearLayout::reach
};

// For a band between two lines: the point before the sub-column, and the position of the sub-column between that point
// and the next.
struct alignas(8) NearShare {
  int before;
  float share;
};

struct NearLayout {
  bool even;         // the spacing of the points is as required
  int points_shift;  // binary logarithm of the points in a column
  float per_step;    // 1 / distance
  float half_step;   // half of the distance
  int most;          // maximum number of segments near a sub-column
  Reserved points;   // [subcolumns] of NearPoints, for lines
  Reserved reach;    // [subcolumns, most] half the height of the disc around the end of each segment
  Reserved shares;   // [subcolumns] of NearShare, for bands

  static constexpr int kMostSegments = 64, kMostSubcolumns = 256;

  NearLayout() = default;
  NearLayout(float step, float linewidth, int subcolumns, int64_t width) {
    int exponent;
    even = std::frexp(step, &exponent) == 0.5f && step <= 1.0f && step >= 1.0f / 64.0f && width <= (1 << 14) &&
           (subcolumns & (subcolumns - 1)) == 0 && subcolumns <= kMostSubcolumns;
    points_shift = 1 - exponent;
    per_step = 1.0f / step;
    half_step = 0.5f * step;
    most = static_cast<int>(linewidth / step) + 3;
  }

  // The number of undrawn points that a line must have before its first point and after its last.
  int padding(float linewidth) const {
    return points || shares ? static_cast<int>(0.5f * linewidth * per_step) + 2 : 0;
  }

  // Reserves no tables that would be too large, and none for bands whose sub-columns coincide with points. Such lines
  // and bands are drawn like those of any other spacing.
  void reserve(SharedLayout& layout, int subcolumns, bool lines, bool bands) {
    if (even && lines && most <= kMostSegments) {
      points = layout.reserve<NearPoints>(subcolumns);
      reach = layout.reserve<float>(int64_t{subcolumns} * most);
    }
    if (even && bands && subcolumns != static_cast<int>(per_step)) shares = layout.reserve<NearShare>(subcolumns);
  }
};

class NearPainter {
 public:
  __device__ NearPainter(const NearLayout& layout, float linewidth, int subcolumns, float step)
      : l_(layout), linewidth_(linewidth), step_(step), subcolumns_(subcolumns) {}

  // Makes the tables; the caller must synchronise the block afterwards.
  __device__ void prepare() const {
    const float radius = 0.5f * linewidth_;
#pragma unroll 1
    for (int k = thread_index(); k < subcolumns_; k += block_threads()) {
      const float at = (static_cast<float>(k) + 0.5f) / static_cast<float>(subcolumns_);
      if (l_.points) {
        // The segment from point d to the next reaches from (d + 0.5) step - radius to (d + 1.5) step + radius.
        const int first = static_cast<int>(ceilf((at - radius) / step_ - 1.5f));
        const int last = static_cast<int>(floorf((at + radius) / step_ - 0.5f));
        shared_at<NearPoints>(l_.points)[k] =
            NearPoints{first, last - first + 1, at - (static_cast<float>(first) + 1.0f) * step_, k * l_.most};
#pragma unroll 1
        for (int i = 0; i < l_.most; ++i) {
          const float across = at - (static_cast<float>(first + i) + 1.5f) * step_,
                      square = radius * radius - across * across;
          shared_at<float>(l_.reach)[k * l_.most + i] = square >= 0.0f ? sqrtf(square) : NAN;
        }
      }
      if (l_.shares) {
        const float before = floorf(at / step_ - 0.5f);
        shared_at<NearShare>(l_.shares)[k] =
            NearShare{static_cast<int>(before), (at - (before + 0.5f) * step_) / step_};
      }
    }
  }

  // The points near sub-column k of a column, counted from the line's first.
  __device__ __forceinline__ NearPoints points(int column, int k) const {
    NearPoints near = shared_at<NearPoints>(l_.points)[k];
    near.first += column << l_.points_shift;
    return near;
  }

  // The interval of a sub-column that a line without gaps covers. y is NaN where nothing is drawn, and in the padding
  // on both sides. sides[i] are those of the segment from point i to the next.
  __device__ __forceinline__ Interval line(const NearPoints& near, Shared<const float> y,
                                           Shared<const Sides> sides) const {
    Walk walk(*this, near, y, sides);
    Interval hit = nothing();
    if (near.segments == kUsualSegments) {
#pragma unroll
      for (int i = 0; i < kUsualSegments; ++i) walk.widen(hit, i);
    } else {
#pragma unroll 1
      for (int i = near.segments; i > 0; --i) walk.widen(hit, 0), walk.advance();
    }
    return hit;
  }

  // The same for a line with gaps. Calls emit(interval) for disjoint intervals, like visit_column.
  template <class Emit>
  __device__ __forceinline__ void visit_pieces(const NearPoints& near, Shared<const float> y, Shared<const Sides> sides,
                                               Emit emit) const {
    float covered = -INFINITY;
    for (;;) {
      Walk walk(*this, near, y, sides);
      Interval next = nothing(), piece = nothing();
      int pieces = 0;
#pragma unroll 1
      for (int i = near.segments; i > 0; --i) {
        walk.widen(piece, 0), walk.advance();
        if (i > 1 && !walk.at_gap()) continue;
        if (piece.empty()) continue;
        ++pieces;
        if (piece.bottom > covered && piece.top < next.top) next = piece;
        piece = nothing();
      }
      if (next.empty()) return;
      emit(Interval{max(next.top, covered), next.bottom});
      if (pieces == 1) return;
      covered = next.bottom;
    }
  }

  // The interval of a sub-column that the band between two lines covers. Both lines are NaN where either is not drawn.
  __device__ __forceinline__ Interval band(int column, int k, Shared<const float> upper,
                                           Shared<const float> lower) const {
    const NearShare near = shared_at<NearShare>(l_.shares)[k];
    const int before = (column << l_.points_shift) + near.before;
    const float a0 = upper[before], a1 = upper[before + 1], b0 = lower[before], b1 = lower[before + 1];
    const float a = a0 + near.share * (a1 - a0), b = b0 + near.share * (b1 - b0), both = a + b;
    return both == both ? Interval{min(a, b), max(a, b)} : nothing();
  }

 private:
  static constexpr int kUsualSegments = 3;

  // Walks along a line from segment to segment.
  class Walk {
   public:
    __device__ __forceinline__ Walk(const NearPainter& painter, const NearPoints& near, Shared<const float> y,
                                    Shared<const Sides> sides)
        : painter_(painter), point_(y + near.first), reach_(shared_at<float>(painter.l_.reach) + near.reach),
          side_(sides + near.first), from_(near.from), left_(0.5f * *point_) {}

    // Widens `hit` by the sides of the segment that is i segments ahead of the pointers, and by the disc at its end.
    __device__ __forceinline__ void widen(Interval& hit, int i) {
      const Sides s = side_[i];
      const float next = point_[i + 1], disc = reach_[i], right = 0.5f * next, middle = left_ + right;
      const float peak = s.slope * s.drop, down = from_ + peak, up = from_ - peak;
      // fmaxf and fminf ignore NaN, which stands for a point that is not drawn or a disc that does not reach as far.
      if (fabsf(down) <= painter_.l_.half_step) hit.bottom = fmaxf(hit.bottom, middle + s.slope * down + s.drop);
      if (fabsf(up) <= painter_.l_.half_step) hit.top = fminf(hit.top, middle + s.slope * up - s.drop);
      hit.bottom = fmaxf(hit.bottom, next + disc);
      hit.top = fminf(hit.top, next - disc);
      from_ -= painter_.step_;
      left_ = right;
    }

    __device__ __forceinline__ void advance() { point_ = point_ + 1, side_ = side_ + 1, reach_ = reach_ + 1; }

    // Tells whether the point at the end of the last segment is not drawn.
    __device__ __forceinline__ bool at_gap() const { return left_ != left_; }

   private:
    const NearPainter& painter_;
    Shared<const float> point_, reach_;
    Shared<const Sides> side_;
    float from_, left_;  // distance from the middle of the segment to the sub-column; half the y of the point before it
  };

  const NearLayout& l_;
  const float linewidth_, step_;
  const int subcolumns_;
};

// A piece of the line ends at point i. If the next piece begins so near that one sub-column can intersect both, calls
// mark(first, last) with the first and the last strip in which this can happen.
template <class X, class Mark>
__device__ void note_gap(X x, Shared<const float> y, int points, int i, float r, int width, Mark mark) {
  constexpr float kRoom = 1e-3f;
  const auto strip_at = [&](float at) {
    return static_cast<int>(clamp(at, 0.0f, static_cast<float>(width - 1))) / kWarp;
  };
#pragma unroll 1
  for (int k = i + 1; k < points && x[k] - x[i] <= 2.0f * r + kRoom; ++k) {
    if (y[k] != y[k]) continue;
    mark(strip_at(x[k] - r - kRoom), strip_at(x[i] + r + kRoom));
    return;
  }
}

// The interval of the vertical line at `at` that a line without gaps and with arbitrarily spaced points covers. No
// point before `first` touches it. Like widen_by_disc and widen_by_sides, but with fmaxf and fminf, which ignore NaN.
template <class X, class SidesOf>
__device__ __forceinline__ Interval hit_without_gaps(X x, Shared<const float> y, SidesOf sides, int points, int first,
                                                     float at, float r) {
  Interval hit = nothing();
  int i = first;
  while (i + 1 < points && x[i + 1] < at - r) ++i;
  if (i >= points) return hit;
  float x0 = x[i], y0 = y[i];
  while (x0 <= at + r) {
    const float square = r * r - (x0 - at) * (x0 - at);
    if (square >= 0.0f) {
      const float reach = sqrtf(square);
      hit.bottom = fmaxf(hit.bottom, y0 + reach);
      hit.top = fminf(hit.top, y0 - reach);
    }
    if (++i >= points) break;
    const float x1 = x[i], y1 = y[i];
    const Segment s = make_segment(x0, y0, x1, y1, sides(i - 1));
    const float down = at - s.x + s.peak, up = at - s.x - s.peak;
    if (fabsf(down) <= s.half) hit.bottom = fmaxf(hit.bottom, s.y + s.slope * down + s.drop);
    if (fabsf(up) <= s.half) hit.top = fminf(hit.top, s.y + s.slope * up - s.drop);
    x0 = x1;
    y0 = y1;
  }
  return hit;
}

}  // namespace spectromer
