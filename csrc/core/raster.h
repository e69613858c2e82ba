// The intersection of a stroke with round caps and joins with a vertical line, and its coverage. CPU and CUDA.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "macros.h"

namespace spectromer {

// Tells whether a point belongs to the line. NaN, infinities and heights too large for single precision break the line.
SPECTROMER_HD bool drawable(float y) { return fabsf(y) <= 1e9f; }

struct Interval {
  float top, bottom;  // pixels from the top edge, top <= bottom

  SPECTROMER_HD bool empty() const { return top > bottom; }
};

SPECTROMER_HD Interval nothing() { return Interval{INFINITY, -INFINITY}; }

// The part of a stroke of radius r between two points, without the discs around them: a rectangle whose long sides are
// the segment shifted by r perpendicularly. With slope m, the lower side is shifted by `peak` = r m / sqrt(1 + m^2)
// towards smaller x and by `drop` = r / sqrt(1 + m^2) downwards. The upper side is shifted the opposite way.
struct Segment {
  float x, y;  // its middle
  float half;  // half its length along x; negative for an upright segment, which has no sides
  float slope, peak, drop;
};

// The parameters of a segment that require a division and a square root.
struct alignas(8) Sides {
  float slope, drop;
};

SPECTROMER_HD Sides sides_of(float slope, float r) {
  const float limited = clamp(slope, -1e15f, 1e15f);
  return Sides{limited, r / sqrtf(1.0f + limited * limited)};
}

SPECTROMER_HD Sides make_sides(float x0, float y0, float x1, float y1, float r) {
  const float dx = x1 - x0;
  return sides_of(dx > 0.0f ? (y1 - y0) / dx : 0.0f, r);
}

SPECTROMER_HD Segment make_segment(float x0, float y0, float x1, float y1, Sides s) {
  const float dx = x1 - x0;
  return Segment{x0 + 0.5f * dx, 0.5f * y0 + 0.5f * y1, dx > 0.0f ? 0.5f * dx : -1.0f,
                 s.slope,        s.slope * s.drop,      s.drop};
}

// Widens `hit` by the part of the vertical line at `at` between the two sides of a segment.
SPECTROMER_HD void widen_by_sides(Interval& hit, const Segment& s, float at) {
  const float down = at - s.x + s.peak, up = at - s.x - s.peak;
  if (fabsf(down) <= s.half) hit.bottom = max(hit.bottom, s.y + s.slope * down + s.drop);
  if (fabsf(up) <= s.half) hit.top = min(hit.top, s.y + s.slope * up - s.drop);
}

// Widens `hit` by the part that the disc of radius r around (x, y) covers.
SPECTROMER_HD void widen_by_disc(Interval& hit, float x, float y, float at, float r) {
  const float square = r * r - (x - at) * (x - at);
  if (square < 0.0f) return;
  const float reach = sqrtf(square);
  hit.bottom = max(hit.bottom, y + reach);
  hit.top = min(hit.top, y - reach);
}

// The x of evenly spaced points. The first one lies half a step from the edge.
struct EvenX {
  float step;

  SPECTROMER_HD float operator[](int64_t i) const { return (static_cast<float>(i) + 0.5f) * step; }
};

// The first point whose segment to the right can still touch the line at `at`.
template <class X, class Index>
SPECTROMER_HD Index first_point(X x, Index points, float at, float r) {
  Index low = 0, high = points > 0 ? points - 1 : 0;
  while (low < high) {
    const Index middle = (low + high) / 2;
    if (x[middle + 1] < at - r) low = middle + 1;
    else high = middle;
  }
  return low;
}

template <class Index>
SPECTROMER_HD Index first_point(EvenX x, Index points, float at, float r) {
  const Index last = points > 0 ? points - 1 : 0;
  const float guess = clamp((at - r) / x.step - 1.5f, 0.0f, static_cast<float>(last));
  Index i = static_cast<Index>(guess);
  while (i > 0 && !(x[i] < at - r)) --i;
  while (i < last && x[i + 1] < at - r) ++i;
  return i;
}

// A line breaks into pieces where y is not drawable. Among the intervals of the vertical line at `at` that the pieces
// cover, finds the topmost one that reaches below `covered`. Sets `next` to it, and `found` to whether there is one.
// Returns the number of pieces that meet the vertical line. sides(i) are those of the segment from point i to the next.
template <class X, class Y, class SidesOf, class Index>
SPECTROMER_HD int next_interval(X x, Y y, SidesOf sides, Index points, Index first, float at, float r, float covered,
                                Interval& next, bool& found) {
  int pieces = 0;
  found = false;
  Interval piece = nothing();
  for (Index i = first; i < points && x[i] <= at + r; ++i) {
    const bool here = drawable(y[i]);
    const bool joined = here && i + 1 < points && drawable(y[i + 1]);
    if (here) widen_by_disc(piece, x[i], y[i], at, r);
    if (joined) widen_by_sides(piece, make_segment(x[i], y[i], x[i + 1], y[i + 1], sides(i)), at);
    const bool ends = !joined || x[i + 1] > at + r;
    if (ends && !piece.empty()) {
      ++pieces;
      if (piece.bottom > covered && (!found || piece.top < next.top)) {
        next = piece;
        found = true;
      }
      piece = nothing();
    }
  }
  return pieces;
}

// Calls emit(interval) for disjoint intervals whose union is what the stroke covers of the vertical line at `at`.
template <class X, class Y, class SidesOf, class Index, class Emit>
SPECTROMER_HD void visit_column(X x, Y y, SidesOf sides, Index points, Index first, float at, float r, Emit emit) {
  float covered = -INFINITY;
  for (;;) {
    Interval next{0.0f, 0.0f};
    bool found = false;
    const int pieces = next_interval(x, y, sides, points, first, at, r, covered, next, found);
    if (!found) return;
    emit(Interval{max(next.top, covered), next.bottom});
    if (pieces == 1) return;
    covered = next.bottom;
  }
}

// The part of the vertical line at `at` between two lines with the same x; empty where either is not drawable.
template <class X, class Y, class Index>
SPECTROMER_HD Interval band_interval(X x, Y y, Y other, Index points, float at) {
  if (points < 2 || !(at >= x[0] && at <= x[points - 1])) return nothing();
  const Index i = first_point(x, points - 1, at, 0.0f);
  if (!(drawable(y[i]) && drawable(y[i + 1]) && drawable(other[i]) && drawable(other[i + 1]))) return nothing();
  const float share = x[i + 1] > x[i] ? (at - x[i]) / (x[i + 1] - x[i]) : 0.0f;
  const float a = y[i] + share * (y[i + 1] - y[i]), b = other[i] + share * (other[i + 1] - other[i]);
  return Interval{min(a, b), max(a, b)};
}

// Coverage is summed in whole numbers, so that the order of summing does not change it. A fully covered pixel counts
// `subcolumns` times this weight, which is about 2^22.
SPECTROMER_HD int subcolumn_weight(int subcolumns) { return (1 << 22) / subcolumns; }

// The factor that converts such sums to grey levels.
SPECTROMER_HD float level_scale(int subcolumns) {
  return 255.0f / static_cast<float>(subcolumn_weight(subcolumns) * subcolumns);
}

// weight * clamp(edge - j, 0, 1) for all rows j, stored as two differences: `here` in `row` and `next` in the row
// below. A prefix sum down the column restores it. (The constant `weight` is omitted, as it cancels between the two
// edges of an interval.)
struct Deposit {
  int row, here, next;
};

SPECTROMER_HD Deposit edge_deposit(float edge, float height, int weight) {
  const float inside = clamp(edge, 0.0f, height);
  const int row = static_cast<int>(inside);
  const int part = static_cast<int>(static_cast<float>(weight) * (inside - static_cast<float>(row)) + 0.5f);
  return Deposit{row, part - weight, -part};
}

// The grey level of a sum; `scale` is level_scale(subcolumns). As the intervals of a sub-column are disjoint, the level
// is between 0 and 255.
SPECTROMER_HD uint8_t to_level(int sum, float scale) {
  return static_cast<uint8_t>(static_cast<int>(scale * static_cast<float>(sum) + 0.5f));
}

// to_level of a running sum, without an integer conversion. A sum below 2^23, added to the bits of the float 2^23,
// gives the float 2^23 + sum. As a fused multiply-add rounds once, scale * (2^23 + sum) - scale * 2^23 is scale * sum
// rounded.
class LevelSum {
 public:
  SPECTROMER_HD LevelSum(int sum, float scale) : bits_(sum + kBits), scale_(scale), offset_(-scale * 8388608.0f) {}

  SPECTROMER_HD uint8_t after(int more) {
    bits_ += more;
    float number;
    memcpy(&number, &bits_, sizeof number);
    return static_cast<uint8_t>(static_cast<int>(fmaf(number, scale_, offset_) + 0.5f));
  }

 private:
  static constexpr int kBits = 0x4b000000;

  int bits_;
  float scale_, offset_;
};

}  // namespace spectromer
