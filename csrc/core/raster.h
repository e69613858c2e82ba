// Where a stroke of round caps and joins meets one vertical line, and the coverage that leaves. CPU and CUDA.
#pragma once

#include <cmath>
#include <cstdint>

#include "macros.h"

namespace spectromer {

// Whether a point belongs to the line at all: NaN, infinities and what single precision cannot place break it.
SPECTROMER_HD bool drawable(float y) { return fabsf(y) <= 1e9f; }

struct Interval {
  float top, bottom;  // pixels from the top edge, top <= bottom

  SPECTROMER_HD bool empty() const { return top > bottom; }
};

SPECTROMER_HD Interval nothing() { return Interval{INFINITY, -INFINITY}; }

// A segment from x0 to x1 >= x0 as `widen` wants it.
struct Segment {
  float x0, x1;
  float top, bottom;  // y at x0; of an upright segment, both of its ends
  float dy;
  float per_dx;  // 1 / (x1 - x0), 0 if upright
  float peak;    // offset along x at which the disc that reaches lowest has its centre
};

SPECTROMER_HD Segment make_segment(float x0, float y0, float x1, float y1, float r) {
  const float dx = x1 - x0, dy = y1 - y0;
  if (dx <= 0.0f) return Segment{x0, x1, smaller(y0, y1), larger(y0, y1), 0.0f, 0.0f, 0.0f};
  return Segment{x0, x1, y0, y0, dy, 1.0f / dx, r * (dy / sqrtf(dx * dx + dy * dy))};
}

// Widens `hit` by the part of the vertical line at `at` that discs of radius r along one segment cover.
// With slope m, m t + sqrt(r^2 - t^2) is largest at t = r m / sqrt(1 + m^2), the segment's `peak`.
SPECTROMER_HD void widen(Interval& hit, const Segment& s, float at, float r) {
  const float low = larger(s.x0 - at, -r), high = smaller(s.x1 - at, r);
  const float down = clamped(s.peak, low, high), up = clamped(-s.peak, low, high);
  const float bottom = s.bottom + clamped((at + down - s.x0) * s.per_dx, 0.0f, 1.0f) * s.dy;
  const float top = s.top + clamped((at + up - s.x0) * s.per_dx, 0.0f, 1.0f) * s.dy;
  const bool meets = low <= high;
  hit.bottom = larger(hit.bottom, meets ? bottom + sqrtf(larger(r * r - down * down, 0.0f)) : -INFINITY);
  hit.top = smaller(hit.top, meets ? top - sqrtf(larger(r * r - up * up, 0.0f)) : INFINITY);
}

// First point whose segment to the right can still touch the line at `at`.
SPECTROMER_HD int64_t first_point(const float* x, int64_t points, float at, float r) {
  int64_t low = 0, high = points > 0 ? points - 1 : 0;
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (x[middle + 1] < at - r) low = middle + 1; else high = middle;
  }
  return low;
}

// Of the pieces of the line (broken where y is not drawable) that reach beyond `covered` at `at`, the interval that
// starts highest up. Returns how many pieces meet the vertical line at all; `found` tells whether one reached beyond.
SPECTROMER_HD int next_interval(const float* x, const float* y, int64_t points, int64_t first, float at, float r,
                                float covered, Interval& next, bool& found) {
  int pieces = 0;
  found = false;
  Interval piece = nothing();
  for (int64_t i = first; i < points && x[i] <= at + r; ++i) {
    const bool here = drawable(y[i]);
    const bool joined = here && i + 1 < points && drawable(y[i + 1]);
    if (joined) {
      widen(piece, make_segment(x[i], y[i], x[i + 1], y[i + 1], r), at, r);
    } else if (here && (i == 0 || !drawable(y[i - 1]))) {
      widen(piece, make_segment(x[i], y[i], x[i], y[i], r), at, r);  // a point by itself is a disc
    }
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
template <class Emit>
SPECTROMER_HD void visit_column(const float* x, const float* y, int64_t points, int64_t first, float at, float r,
                                Emit emit) {
  float covered = -INFINITY;
  for (;;) {
    Interval next{0.0f, 0.0f};
    bool found = false;
    const int pieces = next_interval(x, y, points, first, at, r, covered, next, found);
    if (!found) return;
    emit(Interval{larger(next.top, covered), next.bottom});
    if (pieces == 1) return;
    covered = next.bottom;
  }
}

// Adds weight * clamp(edge - j, 0, 1) for all rows j, as differences: the column's prefix sum restores it.
// (A term that is 1 for every row above is left out; it cancels between the two edges of an interval.)
template <class Add>
SPECTROMER_HD void deposit_edge(float edge, int64_t height, float weight, Add add) {
  const float inside = clamped(edge, 0.0f, static_cast<float>(height));
  const int64_t row = static_cast<int64_t>(inside);
  const float part = inside - static_cast<float>(row);
  add(row, weight * (part - 1.0f));
  add(row + 1, weight * -part);
}

SPECTROMER_HD uint8_t to_level(float coverage) {
  return static_cast<uint8_t>(255.0f * clamped(coverage, 0.0f, 1.0f) + 0.5f);
}

}  // namespace spectromer
