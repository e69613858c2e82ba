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

// AGG rounds its vertices to 1/256 pixel.
SPECTROMER_HD_INLINE float snapped(float v) { return floorf(v * 256.0f + 0.5f) * (1.0f / 256.0f); }

// What a stroke of some half-width looks like at its joins.
struct StrokeShape {
  float half;
  float arc;  // angle between two vertices of a round join

  SPECTROMER_HD explicit StrokeShape(float linewidth)
      : half(0.5f * linewidth), arc(2.0f * acosf(half / (half + 0.125f))) {}
};

// One join, or (F a vector) several: where segments of directions (u1x, u1y) and (u2x, u2y), both of length 1, meet.
// The sides of the segments lie at n1 and n2 from the point on the left (walking along the line, y downwards), at -n1
// and -n2 on the right. Mask is what a comparison of two F yields.
template <class F, class Mask>
struct Join {
  F n1x, n1y, n2x, n2y;
  F mx, my;          // where the two sides cut
  F turn;            // > 0: the left side is the inner one, < 0: the right one
  Mask mitred;       // the inner side goes through m
  Mask straight;     // the outer side goes through m
  F steps;           // vertices of the outer side's arc between n1 and n2
  F cosine, sine;    // of the angle from one to the next

  // One lane of several.
  template <class Lanes>
  SPECTROMER_HD_INLINE Join(const Lanes& v, int k)
      : n1x(v.n1x[k]), n1y(v.n1y[k]), n2x(v.n2x[k]), n2y(v.n2y[k]), mx(v.mx[k]), my(v.my[k]), turn(v.turn[k]),
        mitred(v.mitred[k] != 0), straight(v.straight[k] != 0), steps(v.steps[k]), cosine(v.cosine[k]),
        sine(v.sine[k]) {}

  // arccosine within 2e-8 (Abramowitz & Stegun 4.4.46).
  template <class Root>
  static SPECTROMER_HD_INLINE F arc_cosine(F x, Root root) {
    const F a = x < 0.0f ? -x : x;
    F p = -0.0012624911f * a + 0.0066700901f;
    p = p * a - 0.0170881256f;
    p = p * a + 0.0308918810f;
    p = p * a - 0.0501743046f;
    p = p * a + 0.0889789874f;
    p = p * a - 0.2145988016f;
    p = (p * a + 1.5707963050f) * root(1.0f - a);
    return x < 0.0f ? 3.14159265f - p : p;
  }

  template <class Root>
  SPECTROMER_HD_INLINE Join(const StrokeShape& shape, F u1x, F u1y, F length1, F u2x, F u2y, F length2, Root root) {
    const float half = shape.half;
    n1x = half * u1y, n1y = -half * u1x, n2x = half * u2y, n2y = -half * u2x;
    turn = u2x * u1y - u2y * u1x;
    F dot = u1x * u2x + u1y * u2y;
    dot = dot > 1.0f ? 1.0f + F{} : dot;
    dot = dot < -1.0f ? -1.0f + F{} : dot;
    const F both = 1.0f + dot, near_turn = both < 1e-12f ? 1e-12f + F{} : both;
    mx = (n1x + n2x) / near_turn;
    my = (n1y + n2y) / near_turn;
    const F shorter = length1 < length2 ? length1 : length2;
    const F limit = shorter < 1.01f * half ? 1.01f * half + F{} : shorter;
    mitred = 2.0f * half * half <= limit * limit * both;
    straight = both > 2.0f * (1023.0f / 1024.0f) * (1023.0f / 1024.0f);
    const F angle = arc_cosine(dot, root);
    steps = angle * (1.0f / shape.arc);
    // Rounded down; there are never many.
    F whole{};
    for (float k = 1.0f; k <= 3.14159266f / shape.arc; k += 1.0f) whole = steps >= k ? k + F{} : whole;
    steps = whole;
    const F quarter = 0.25f * angle / (steps + 1.0f), q2 = quarter * quarter;
    F s = quarter * (1.0f - q2 * (1.0f / 6.0f - q2 * (1.0f / 120.0f - q2 * (1.0f / 5040.0f))));
    F c = 1.0f - q2 * (0.5f - q2 * (1.0f / 24.0f - q2 * (1.0f / 720.0f - q2 * (1.0f / 40320.0f))));
    for (int i = 0; i < 2; ++i) {
      const F doubled = 2.0f * s * c;
      c = 1.0f - 2.0f * s * s;
      s = doubled;
    }
    cosine = c;
    sine = s;
  }
};

// One join's vertices on the left (side = 1) or right (-1), from left to right, to add(x, y).
template <class Add>
SPECTROMER_HD_INLINE void visit_join(const Join<float, bool>& j, float x, float y, float side, Add add) {
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

// What matplotlib leaves of a segment within a pixel of the image.
struct Stretch {
  float x0, y0, x1, y1;
  bool drawn;
  bool cut;  // does not begin where the segment does
};

SPECTROMER_HD_INLINE Stretch clip_segment(float x0, float y0, float x1, float y1, int64_t width, int64_t height) {
  const float right = static_cast<float>(width + 1), bottom = static_cast<float>(height + 1);
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
  bool open = false;
  for (int64_t i = 0; i + 1 < points; ++i) {
    if (!drawable(y[i]) || !drawable(y[i + 1])) {
      open = false;
      continue;
    }
    if (x[i] == x[i + 1] && y[i] == y[i + 1]) continue;
    const Stretch s = clip_segment(x[i], y[i], x[i + 1], y[i + 1], width, height);
    if (s.drawn && (!open || s.cut)) point(s.x0, s.y0, true);
    if (s.drawn) point(s.x1, s.y1, false);
    open = s.drawn;
  }
}

// AGG's levels: 256 steps of area, the last two shared.
SPECTROMER_HD_INLINE uint8_t agg_level(float area) { return static_cast<uint8_t>(smaller(256.0f * fabsf(area) + 1e-3f, 255.0f)); }

}  // namespace spectromer
