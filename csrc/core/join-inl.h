// The joins of segments in a stroke drawn by Anti-Grain Geometry.
//
// This file is included within a namespace that defines Float, Mask and their functions. core/agg.h includes it for one
// join at a time, cpu/agg-inl.h for the lanes of each vector target.
#if defined(__INCLUDE_LEVEL__) && __INCLUDE_LEVEL__ == 0  // opened by itself, as in an editor
#include "stroke.h"
namespace spectromer::one_lane {
#endif

// AGG rounds its vertices to 1/256 pixel.
SPECTROMER_HD_INLINE Float snapped(Float v) { return floor(v * 256.0f + 0.5f) * (1.0f / 256.0f); }

// AGG's grey level of an area, before rounding down. AGG has 256 steps of area, of which the last two share a level.
SPECTROMER_HD_INLINE Float agg_level(Float area) {
  const Float steps = 256.0f * select(lt(area, splat(0.0f)), -area, area) + 1e-3f;
  return select(lt(steps, splat(255.0f)), steps, splat(255.0f));
}

// One join per lane: a point where segments with the unit directions (u1x, u1y) and (u2x, u2y) meet. Relative to that
// point, the sides of the segments lie at n1 and n2 on the left (in the direction of the line, with y downwards), and
// at -n1 and -n2 on the right.
struct Join {
  Float n1x, n1y, n2x, n2y;
  Float mx, my;        // where the two sides intersect
  Float turn;          // > 0: the left side is the inner one, < 0: the right one
  Mask mitred;         // the inner side goes through m
  Mask straight;       // the outer side goes through m
  Float steps;         // vertices of the outer side's arc between n1 and n2
  Float cosine, sine;  // of the angle from one to the next

  // arccos with an error below 2e-8 (Abramowitz & Stegun 4.4.46).
  static SPECTROMER_HD_INLINE Float arc_cosine(Float x) {
    const Mask negative = lt(x, splat(0.0f));
    const Float a = select(negative, -x, x);
    Float p = -0.0012624911f * a + 0.0066700901f;
    p = p * a - 0.0170881256f;
    p = p * a + 0.0308918810f;
    p = p * a - 0.0501743046f;
    p = p * a + 0.0889789874f;
    p = p * a - 0.2145988016f;
    p = (p * a + 1.5707963050f) * sqrt(1.0f - a);
    return select(negative, 3.14159265f - p, p);
  }

  // The maximum, or NaN where `a` is NaN.
  static SPECTROMER_HD_INLINE Float maximum(Float a, float b) { return select(lt(a, splat(b)), splat(b), a); }

  SPECTROMER_HD_INLINE Join(const StrokeShape& shape, Float u1x, Float u1y, Float length1, Float u2x, Float u2y,
                            Float length2) {
    const float half = shape.half;
    n1x = half * u1y, n1y = -half * u1x, n2x = half * u2y, n2y = -half * u2x;
    turn = u2x * u1y - u2y * u1x;
    Float dot = maximum(u1x * u2x + u1y * u2y, -1.0f);
    dot = select(lt(splat(1.0f), dot), splat(1.0f), dot);
    const Float both = 1.0f + dot, per_turn = 1.0f / maximum(both, 1e-12f);
    mx = (n1x + n2x) * per_turn;
    my = (n1y + n2y) * per_turn;
    const Float limit = maximum(select(lt(length1, length2), length1, length2), 1.01f * half);
    mitred = le(splat(2.0f * half * half), limit * limit * both);
    straight = lt(splat(2.0f * (1023.0f / 1024.0f) * (1023.0f / 1024.0f)), both);
    const Float angle = arc_cosine(dot), whole = angle * (1.0f / shape.arc);
    // `whole` rounded down. There are never many steps.
    steps = splat(0.0f);
    for (float k = 1.0f; k <= shape.most_steps(); k += 1.0f) { steps = select(le(splat(k), whole), splat(k), steps); }
    const Float quarter = 0.25f * angle / (steps + 1.0f), q2 = quarter * quarter;
    Float s = quarter * (1.0f - q2 * (1.0f / 6.0f - q2 * (1.0f / 120.0f - q2 * (1.0f / 5040.0f))));
    Float c = 1.0f - q2 * (0.5f - q2 * (1.0f / 24.0f - q2 * (1.0f / 720.0f - q2 * (1.0f / 40320.0f))));
    for (int i = 0; i < 2; ++i) {
      const Float doubled = 2.0f * s * c;
      c = 1.0f - 2.0f * s * s;
      s = doubled;
    }
    cosine = c;
    sine = s;
  }
};

#if defined(__INCLUDE_LEVEL__) && __INCLUDE_LEVEL__ == 0
}  // namespace spectromer::one_lane
#endif
