// Where segments meet, in a stroke as Anti-Grain Geometry draws it. Included by core/agg.h for one join at a time and by
// csrc/cpu for the lanes of each level, in a namespace that has Float, Mask and the functions of both.

// AGG rounds its vertices to 1/256 pixel.
SPECTROMER_HD_INLINE Float snapped(Float v) { return rounded_down(v * 256.0f + 0.5f) * (1.0f / 256.0f); }

// AGG's levels, to be rounded down: 256 steps of area, the last two shared.
SPECTROMER_HD_INLINE Float agg_level(Float area) {
  const Float steps = 256.0f * choose(less(area, all(0.0f)), -area, area) + 1e-3f;
  return choose(less(steps, all(255.0f)), steps, all(255.0f));
}

// One join, or several: where segments of directions (u1x, u1y) and (u2x, u2y), both of length 1, meet. The sides of the
// segments lie at n1 and n2 from the point on the left (walking along the line, y downwards), at -n1 and -n2 on the
// right.
struct Join {
  Float n1x, n1y, n2x, n2y;
  Float mx, my;        // where the two sides cut
  Float turn;          // > 0: the left side is the inner one, < 0: the right one
  Mask mitred;         // the inner side goes through m
  Mask straight;       // the outer side goes through m
  Float steps;         // vertices of the outer side's arc between n1 and n2
  Float cosine, sine;  // of the angle from one to the next

  // arccosine within 2e-8 (Abramowitz & Stegun 4.4.46).
  static SPECTROMER_HD_INLINE Float arc_cosine(Float x) {
    const Mask negative = less(x, all(0.0f));
    const Float a = choose(negative, -x, x);
    Float p = -0.0012624911f * a + 0.0066700901f;
    p = p * a - 0.0170881256f;
    p = p * a + 0.0308918810f;
    p = p * a - 0.0501743046f;
    p = p * a + 0.0889789874f;
    p = p * a - 0.2145988016f;
    p = (p * a + 1.5707963050f) * root(1.0f - a);
    return choose(negative, 3.14159265f - p, p);
  }

  static SPECTROMER_HD_INLINE Float larger_of(Float a, float b) { return choose(less(a, all(b)), all(b), a); }

  SPECTROMER_HD_INLINE Join(const StrokeShape& shape, Float u1x, Float u1y, Float length1, Float u2x, Float u2y, Float length2) {
    const float half = shape.half;
    n1x = half * u1y, n1y = -half * u1x, n2x = half * u2y, n2y = -half * u2x;
    turn = u2x * u1y - u2y * u1x;
    Float dot = larger_of(u1x * u2x + u1y * u2y, -1.0f);
    dot = choose(less(all(1.0f), dot), all(1.0f), dot);
    const Float both = 1.0f + dot, per_turn = 1.0f / larger_of(both, 1e-12f);
    mx = (n1x + n2x) * per_turn;
    my = (n1y + n2y) * per_turn;
    const Float limit = larger_of(choose(less(length1, length2), length1, length2), 1.01f * half);
    mitred = at_most(all(2.0f * half * half), limit * limit * both);
    straight = less(all(2.0f * (1023.0f / 1024.0f) * (1023.0f / 1024.0f)), both);
    const Float angle = arc_cosine(dot), whole = angle * (1.0f / shape.arc);
    // Rounded down; there are never many.
    steps = all(0.0f);
    for (float k = 1.0f; k <= shape.most_steps(); k += 1.0f) {
      steps = choose(at_most(all(k), whole), all(k), steps);
    }
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
