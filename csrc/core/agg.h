// The stroke as Anti-Grain Geometry, matplotlib's renderer, draws it: an outline with round outer and mitred inner
// joins and square caps, filled by its winding integral clipped at 1. Overlapping strokes add up, unlike the true
// area. After agg_math_stroke.h and agg_rasterizer_scanline_aa.h of AGG 2.4 (M. Shemanarev). CPU and CUDA.
//
// Both sides of the outline are followed from left to right, the second one with its edges turned round: the winding
// integral is a sum over edges, and their order does not matter.
#pragma once

#include <cmath>
#include <cstdint>

#include "macros.h"
#include "raster.h"

namespace spectromer {

// What a stroke of some half-width looks like at its joins.
struct StrokeShape {
  float half;
  float arc;  // angle between two vertices of a round join

  SPECTROMER_HD explicit StrokeShape(float linewidth)
      : half(0.5f * linewidth), arc(2.0f * acosf(half / (half + 0.125f))) {}

  SPECTROMER_HD float most_steps() const { return 3.14159266f / arc; }
};

// One join at a time.
namespace one_lane {

typedef float Float;
typedef bool Mask;

SPECTROMER_HD_INLINE float all(float v) { return v; }
SPECTROMER_HD_INLINE bool less(float a, float b) { return a < b; }
SPECTROMER_HD_INLINE bool at_most(float a, float b) { return a <= b; }
SPECTROMER_HD_INLINE float choose(bool m, float a, float b) { return m ? a : b; }
SPECTROMER_HD_INLINE float root(float v) { return sqrtf(v); }
SPECTROMER_HD_INLINE float rounded_down(float v) { return floorf(v); }

#include "join.h"

}  // namespace one_lane

using one_lane::agg_level;
using one_lane::snapped;

// One join's vertices on the left (side = 1) or right (-1), from left to right, to add(x, y).
template <class Add>
SPECTROMER_HD_INLINE void visit_join(const one_lane::Join& j, float x, float y, float side, Add add) {
  const bool inner = side * j.turn > 0.0f;
  if (inner ? j.mitred : j.straight) {
    add(x + side * j.mx, y + side * j.my);
    return;
  }
  float nx = side * j.n1x, ny = side * j.n1y;
  add(x + nx, y + ny);
  for (float k = 1.0f; !inner && k <= j.steps; k += 1.0f) {
    const float turned = nx * j.cosine - side * ny * j.sine;
    ny = ny * j.cosine + side * nx * j.sine;
    nx = turned;
    add(x + nx, y + ny);
  }
  add(x + side * j.n2x, y + side * j.n2y);
}

// One side of the outline in the making: vertices in, edges out, those of the right side turned round.
template <class Edge>
struct OutlineSide {
  Edge& edge;  // called with x0, y0, x1, y1
  bool right;
  float x, y;

  SPECTROMER_HD_INLINE void add(float to_x, float to_y) {
    const float next_x = snapped(to_x), next_y = snapped(to_y);
    if (right) edge(next_x, next_y, x, y); else edge(x, y, next_x, next_y);
    x = next_x;
    y = next_y;
  }
};

// The edge that closes the outline at its beginning (before = true) or its end; (nx, ny) lies to the left of the point,
// the cap reaches out by the same length. Returns where the two sides then are.
struct Cap {
  float left_x, left_y, right_x, right_y;
};

SPECTROMER_HD Cap make_cap(float x, float y, float nx, float ny, bool before) {
  const float out = before ? -1.0f : 1.0f;
  // n = half (uy, -ux), so half u = (-ny, nx).
  const float end_x = x - out * ny, end_y = y + out * nx;
  return Cap{snapped(end_x + nx), snapped(end_y + ny), snapped(end_x - nx), snapped(end_y - ny)};
}

// One coordinate's part in clipping: of the line from `from` to `to`, what lies between `low` and `high`.
SPECTROMER_HD void clip_range(double from, double to, double low, double high, double& begin, double& end) {
  const double span = to - from, a = (low - from) / span, b = (high - from) / span;
  const bool inside = from >= low && from <= high;
  begin = fmax(begin, span != 0.0 ? fmin(a, b) : inside ? 0.0 : 2.0);
  end = fmin(end, span != 0.0 ? fmax(a, b) : 1.0);
}

// The part of a segment that matplotlib keeps: what lies within a pixel of the image. `right` and `bottom` of
// clip_segment lie one pixel beyond the image.
struct Stretch {
  float x0, y0, x1, y1;
  bool drawn;
  bool cut;  // does not begin where the segment does
};

SPECTROMER_HD_INLINE Stretch clip_segment(float x0, float y0, float x1, float y1, float right, float bottom) {
  const auto is_inside = [&](float x, float y) { return y >= -1.0f && y <= bottom && x >= -1.0f && x <= right; };
  if (is_inside(x0, y0) && is_inside(x1, y1)) return Stretch{x0, y0, x1, y1, true, false};
  double begin = 0.0, end = 1.0;
  const double ax = static_cast<double>(x0), ay = static_cast<double>(y0);
  const double bx = static_cast<double>(x1), by = static_cast<double>(y1);
  clip_range(ax, bx, -1.0, static_cast<double>(right), begin, end);
  clip_range(ay, by, -1.0, static_cast<double>(bottom), begin, end);
  return Stretch{static_cast<float>(ax + begin * (bx - ax)), static_cast<float>(ay + begin * (by - ay)),
                 static_cast<float>(ax + end * (bx - ax)),   static_cast<float>(ay + end * (by - ay)),
                 begin < end,                                begin > 0.0};
}

// Cuts a line as matplotlib does before it is stroked: into its unbroken pieces within a pixel of the image. Calls
// point(x, y, starts) for their points, none of them like the one before.
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
