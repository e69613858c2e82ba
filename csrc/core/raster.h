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
};

// Widens `hit` by the part of the vertical line at `at` that discs of radius r along one segment cover.
// Along the segment, y(t) + sqrt(r^2 - t^2) is largest where its slope m equals t / sqrt(r^2 - t^2).
SPECTROMER_HD bool widen(Interval& hit, float x0, float y0, float x1, float y1, float at, float r) {
  const float low = fmaxf(x0 - at, -r), high = fminf(x1 - at, r);
  if (low > high) return false;
  const float dx = x1 - x0, dy = y1 - y0;
  if (dx <= 0.0f) {
    const float half = sqrtf(fmaxf(r * r - low * low, 0.0f));
    hit.bottom = fmaxf(hit.bottom, fmaxf(y0, y1) + half);
    hit.top = fminf(hit.top, fminf(y0, y1) - half);
    return true;
  }
  const float peak = r * dy / sqrtf(dx * dx + dy * dy);  // = r m / sqrt(1 + m^2)
  for (int side = 0; side < 2; ++side) {
    const float t = fminf(fmaxf(side == 0 ? peak : -peak, low), high);
    const float along = fminf(fmaxf((at + t - x0) / dx, 0.0f), 1.0f);
    const float half = sqrtf(fmaxf(r * r - t * t, 0.0f));
    const float y = y0 + along * dy;
    if (side == 0) hit.bottom = fmaxf(hit.bottom, y + half); else hit.top = fminf(hit.top, y - half);
  }
  return true;
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
  Interval piece{INFINITY, -INFINITY};
  bool touched = false;
  for (int64_t i = first; i < points && x[i] <= at + r; ++i) {
    const bool here = drawable(y[i]);
    const bool joined = here && i + 1 < points && drawable(y[i + 1]);
    if (joined) {
      touched |= widen(piece, x[i], y[i], x[i + 1], y[i + 1], at, r);
    } else if (here && (i == 0 || !drawable(y[i - 1]))) {
      touched |= widen(piece, x[i], y[i], x[i], y[i], at, r);  // a point by itself is a disc
    }
    const bool ends = !joined || i + 1 >= points || x[i + 1] > at + r;
    if (ends && touched) {
      ++pieces;
      if (piece.bottom > covered && (!found || piece.top < next.top)) {
        next = piece;
        found = true;
      }
      piece = Interval{INFINITY, -INFINITY};
      touched = false;
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
    emit(Interval{fmaxf(next.top, covered), next.bottom});
    if (pieces == 1) return;
    covered = next.bottom;
  }
}

// Adds weight * clamp(edge - j, 0, 1) for all rows j, as differences: the column's prefix sum restores it.
// (A term that is 1 for every row above is left out; it cancels between the two edges of an interval.)
template <class Add>
SPECTROMER_HD void deposit_edge(float edge, int64_t height, float weight, Add add) {
  const float inside = fminf(fmaxf(edge, 0.0f), static_cast<float>(height));
  const int64_t row = static_cast<int64_t>(inside);
  const float part = inside - static_cast<float>(row);
  add(row, weight * (part - 1.0f));
  add(row + 1, weight * -part);
}

SPECTROMER_HD uint8_t to_level(float coverage) {
  return static_cast<uint8_t>(255.0f * fminf(fmaxf(coverage, 0.0f), 1.0f) + 0.5f);
}

}  // namespace spectromer
