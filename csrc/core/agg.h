// The stroke as drawn by Anti-Grain Geometry, matplotlib's renderer. CPU and CUDA.
//
// The stroke is an outline with round outer joins, mitred inner joins and square caps, filled by its winding integral
// clipped at 1. Unlike with true areas, overlapping strokes add up. Based on agg_math_stroke.h and
// agg_rasterizer_scanline_aa.h of AGG 2.4 (M. Shemanarev).
//
// Both sides of the outline are traversed from left to right, the second one with its edges reversed. This is valid
// because the winding integral is a sum over edges, in any order.
#pragma once

#include <cmath>
#include <cstdint>

#include "macros.h"
#include "raster.h"
#include "stroke.h"

namespace spectromer {

namespace one_lane {
#include "join-inl.h"
}  // namespace one_lane

// The two corners of a square cap.
struct Cap {
  float left_x, left_y, right_x, right_y;
};

// The cap at the beginning of a line (before = true) or at its end. (nx, ny) points from (x, y) to the left side of the
// stroke. The cap reaches beyond the line by the same length.
SPECTROMER_HD Cap make_cap(float x, float y, float nx, float ny, bool before) {
  const float out = before ? -1.0f : 1.0f;
  // n = half (uy, -ux), so half u = (-ny, nx).
  const float end_x = x - out * ny, end_y = y + out * nx;
  using one_lane::snapped;
  return Cap{snapped(end_x + nx), snapped(end_y + ny), snapped(end_x - nx), snapped(end_y - ny)};
}

// Clips a segment in one coordinate: narrows [begin, end], shares of its length, to the part between `low` and `high`.
SPECTROMER_HD void clip_range(double from, double to, double low, double high, double& begin, double& end) {
  const double span = to - from, a = (low - from) / span, b = (high - from) / span;
  const bool inside = from >= low && from <= high;
  begin = fmax(begin, span != 0.0 ? fmin(a, b) : inside ? 0.0 : 2.0);
  end = fmin(end, span != 0.0 ? fmax(a, b) : 1.0);
}

// The part of a segment that remains after matplotlib's clipping to the image, extended by one pixel on all sides.
struct Stretch {
  float x0, y0, x1, y1;
  bool drawn;
  bool cut;  // the beginning of the segment is clipped
};

// `right` and `bottom` lie one pixel beyond the image.
SPECTROMER_HD_INLINE Stretch clip_segment(float x0, float y0, float x1, float y1, float right, float bottom) {
  const auto is_inside = [&](float x, float y) { return y >= -1.0f && y <= bottom && x >= -1.0f && x <= right; };
  if (is_inside(x0, y0) && is_inside(x1, y1)) return Stretch{x0, y0, x1, y1, true, false};
  double begin = 0.0, end = 1.0;
  const double ax = static_cast<double>(x0), ay = static_cast<double>(y0);
  const double bx = static_cast<double>(x1), by = static_cast<double>(y1);
  clip_range(ax, bx, -1.0, static_cast<double>(right), begin, end);
  clip_range(ay, by, -1.0, static_cast<double>(bottom), begin, end);
  return Stretch{static_cast<float>(ax + begin * (bx - ax)),
                 static_cast<float>(ay + begin * (by - ay)),
                 static_cast<float>(ax + end * (bx - ax)),
                 static_cast<float>(ay + end * (by - ay)),
                 begin < end,
                 begin > 0.0};
}

// Clips a line to the image, extended by one pixel, and splits it into unbroken pieces, as matplotlib does before
// stroking. Calls point(x, y, starts) for the points of the pieces. No two neighbouring points of a piece are equal.
template <class Visit>
SPECTROMER_HD_INLINE void visit_pieces(const float* x, const float* y, int64_t points, int64_t width, int64_t height,
                                       Visit point) {
  const float right = static_cast<float>(width + 1), bottom = static_cast<float>(height + 1);
  bool open = false;
  for (int64_t i = 0; i + 1 < points; ++i) {
    if (!drawable(y[i]) || !drawable(y[i + 1])) {
      open = false;
      continue;
    }
    if (x[i] == x[i + 1] && y[i] == y[i + 1]) continue;
    const Stretch s = clip_segment(x[i], y[i], x[i + 1], y[i + 1], right, bottom);
    if (s.drawn && (!open || s.cut)) point(s.x0, s.y0, true);
    if (s.drawn) point(s.x1, s.y1, false);
    open = s.drawn;
  }
}

}  // namespace spectromer
