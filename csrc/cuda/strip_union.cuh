// Where a line or a band covers the sub-columns of a strip, by true area. See core/raster.h.
#pragma once

#include "strip.cuh"

namespace spectromer {

// Points of a line that lie side by side at a distance which is a power of two lie alike around a sub-column of every
// pixel column: which of them are near it, and how far they reach, is worked out once. `step` and sub-columns being
// powers of two, all distances are exact.
struct alignas(16) NearPoints {
  int first;     // whose segment to the right is the first that can touch the sub-column, from the column's first point
  int segments;  // from there on
  float from;    // from the middle of the first segment to the sub-column
  int reach;     // where the discs' are found
};

struct NearLayout {
  Reserved points;   // [subcolumns] of NearPoints, or none: points lie otherwise
  Reserved reach;    // [subcolumns, most] half the height of the disc around the point behind each segment
  int most;          // segments near a sub-column
  int points_shift;  // binary logarithm of the points in a column

  static constexpr int kMostSegments = 64, kMostSubcolumns = 256;

  // Whether points at this distance can be served.
  static bool serves(float step, int subcolumns, int64_t width) {
    int exponent;
    return std::frexp(step, &exponent) == 0.5f && step <= 1.0f && step >= 1.0f / 64.0f && width <= (1 << 14) &&
           (subcolumns & (subcolumns - 1)) == 0 && subcolumns <= kMostSubcolumns;
  }

  // Points that a line has to have before its first and behind its last, which are not drawn.
  static int padding(float step, float linewidth) { return static_cast<int>(0.5f * linewidth / step) + 2; }

  // Leaves `points` empty where there are too many.
  void reserve(SharedLayout& layout, float step, float linewidth, int subcolumns) {
    most = static_cast<int>(linewidth / step) + 3;
    if (most > kMostSegments) return;
    points_shift = static_cast<int>(std::lround(-std::log2(step)));
    points = layout.reserve<NearPoints>(subcolumns);
    reach = layout.reserve<float>(int64_t{subcolumns} * most);
  }
};

class NearPainter {
 public:
  __device__ NearPainter(const NearLayout& layout, float linewidth, int subcolumns, float step)
      : l_(layout), linewidth_(linewidth), step_(step), subcolumns_(subcolumns) {}

  // Makes the tables; the caller waits for the block.
  __device__ void prepare() const {
    const float radius = 0.5f * linewidth_;
    for (int k = thread_index(); k < subcolumns_; k += block_threads()) {
      const float at = (static_cast<float>(k) + 0.5f) / static_cast<float>(subcolumns_);
      // The segment from point d to the next reaches from (d + 0.5) step - radius to (d + 1.5) step + radius.
      const int first = static_cast<int>(ceilf((at - radius) / step_ - 1.5f));
      const int last = static_cast<int>(floorf((at + radius) / step_ - 0.5f));
      shared_at<NearPoints>(l_.points)[k] = NearPoints{first, last - first + 1, at - (static_cast<float>(first) + 1.0f) * step_, k * l_.most};
      for (int i = 0; i < l_.most; ++i) {
        const float across = at - (static_cast<float>(first + i) + 1.5f) * step_, square = radius * radius - across * across;
        shared_at<float>(l_.reach)[k * l_.most + i] = square >= 0.0f ? sqrtf(square) : NAN;
      }
    }
  }

  // What a line without gaps near column `column` covers of its sub-column k. y is NaN where nothing is drawn, also for
  // the padding on both sides; sides[i] are those from point i to the next.
  __device__ __forceinline__ Interval hit(int column, int k, Shared<const float> y, Shared<const Sides> sides) const {
    const NearPoints near = shared_at<NearPoints>(l_.points)[k];
    const int first = (column << l_.points_shift) + near.first;
    Shared<const float> point = y + first, reach = shared_at<float>(l_.reach) + near.reach;
    Shared<const Sides> side = sides + first;
    const float half = 0.5f * step_;
    Interval hit = nothing();
    float from = near.from, left = 0.5f * *point;
#pragma unroll 1
    for (int i = near.segments; i > 0; --i) {
      const Sides s = *side;
      const float next = point[1], disc = *reach, right = 0.5f * next, middle = left + right;
      const float peak = s.slope * s.drop, down = from + peak, up = from - peak;
      // fmaxf and fminf leave out what is NaN: a point that is not drawn, a disc that does not reach so far.
      if (fabsf(down) <= half) hit.bottom = fmaxf(hit.bottom, middle + s.slope * down + s.drop);
      if (fabsf(up) <= half) hit.top = fminf(hit.top, middle + s.slope * up - s.drop);
      hit.bottom = fmaxf(hit.bottom, next + disc);
      hit.top = fminf(hit.top, next - disc);
      from -= step_;
      left = right;
      point = point + 1, side = side + 1, reach = reach + 1;
    }
    return hit;
  }

 private:
  const NearLayout& l_;
  const float linewidth_, step_;
  const int subcolumns_;
};

// The same for points that lie anywhere: from point `first` on, which no earlier one can touch the line at `at`.
template <class X, class SidesOf>
__device__ __forceinline__ Interval hit_without_gaps(X x, Shared<const float> y, SidesOf sides, int points, int first, float at,
                                                     float r) {
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
