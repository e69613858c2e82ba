// Lines and bands by true area: their intersections with sub-columns, for kLanes images at a time. One target's code.
#include <algorithm>
#include <limits>

#include "raster-cells-inl.h"

#if defined(SPECTROMER_CPU_RASTER_INL_H) == defined(SPECTROMER_TARGET_TOGGLE)
#ifdef SPECTROMER_CPU_RASTER_INL_H
#undef SPECTROMER_CPU_RASTER_INL_H
#else
#define SPECTROMER_CPU_RASTER_INL_H
#endif

SPECTROMER_BEGIN_TARGET;
namespace spectromer::SPECTROMER_TARGET {

// Interleaves the lines y[lane] into `to` [points, lanes], with NaN where a line is broken.
SPECTROMER_INLINE void load_lanes(const float* const* y, int64_t points, float* to) {
  for (int64_t i = 0; i < points; i += kLanes) {
    const int64_t count = std::min<int64_t>(kLanes, points - i);
    Float block[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) {
      const Float line = load_partial(y[lane], i, points);
      block[lane] = select(le(abs(line), splat(1e9f)), line, splat(std::numeric_limits<float>::quiet_NaN()));
    }
    transpose(block);
    for (int64_t k = 0; k < count; ++k) store(to + (i + k) * kLanes, block[k]);
  }
}

// Interleaves the lines and prepares their segments.
SPECTROMER_INLINE void load_lines(const Canvas& canvas, const float* x, const float* const* y, int64_t points,
                                  UnionScratch& s) {
  const float r = 0.5f * canvas.linewidth;
  for (auto* table : {&s.y, &s.slope, &s.drop}) make_room(*table, points * kLanes);
  for (auto* table : {&s.x, &s.middle, &s.half, &s.inner, &s.reach}) make_room(*table, points + kLanes);
  make_room(s.next_break, points);
  std::copy_n(x, points, s.x.data());
  load_lanes(y, points, s.y.data());
  int64_t next_break = points;
  for (int64_t i = points - 1; i >= 0; --i) {
    if (any_true(is_nan(load(s.y.data() + i * kLanes)))) next_break = i;
    s.next_break[i] = next_break;
  }
  for (int64_t i = 0; i + 1 < points; ++i) {
    const float dx = x[i + 1] - x[i];
    s.middle[i] = x[i] + 0.5f * dx;
    s.half[i] = dx > 0.0f ? 0.5f * dx : -1.0f;
    const int64_t at = i * kLanes;
    Float slope = (load(s.y.data() + at + kLanes) - load(s.y.data() + at)) * (1.0f / dx);
    slope = max(min(slope, splat(1e15f)), splat(-1e15f));
    const Float drop = r * rsqrt(1.0f + slope * slope);
    store(s.slope.data() + at, slope);
    store(s.drop.data() + at, drop);
  }
  for (int64_t i = 0; i + 1 < points; i += kLanes) {
    Float size[kLanes];
    for (int k = 0; k < kLanes; ++k) {
      const int64_t at = std::min(i + k, points - 2) * kLanes;
      size[k] = abs(load(s.slope.data() + at) * load(s.drop.data() + at));
    }
    transpose(size);
    Float closest = splat(r);
    for (const Float& peak : size) closest = min(peak, closest);
    for (int64_t k = 0; k < kLanes && i + k + 1 < points; ++k) {
      const bool upright = s.half[i + k] < 0.0f;
      s.inner[i + k] = upright ? INFINITY : closest[k] - s.half[i + k] - 1e-4f;
    }
  }
}

// The points [first, last] whose discs or segments to the right can touch a given vertical line.
struct NearPoints {
  int64_t first, last;
};

// The heights of both sides of segment i at the vertical line at `at`, NaN where they do not reach it.
SPECTROMER_INLINE void sides(const UnionScratch& s, int64_t i, float at, Float& upper, Float& lower) {
  const int64_t place = i * kLanes;
  const Float y = 0.5f * load(s.y.data() + place) + 0.5f * load(s.y.data() + place + kLanes);
  const Float slope = load(s.slope.data() + place), drop = load(s.drop.data() + place), peak = slope * drop;
  const Float half = splat(s.half[i]);
  const Float down = (at - s.middle[i]) + peak, up = (at - s.middle[i]) - peak;
  const Float nowhere = splat(std::numeric_limits<float>::quiet_NaN());
  lower = select(le(abs(down), half), y + slope * down + drop, nowhere);
  upper = select(le(abs(up), half), y + slope * up - drop, nowhere);
}

// The interval of the vertical line at `at` that the stroke covers, one per lane. This is correct unless the line is
// broken near it.
SPECTROMER_INLINE Hits meet(const UnionScratch& s, int64_t points, const NearPoints& w, float at, float r) {
  Hits hits, others;  // two chains of comparisons take half the time of one
  const auto disc = [&](int64_t i, Hits& to) SPECTROMER_INLINE_LAMBDA {
    const Float y = load(s.y.data() + i * kLanes);
    to.widen(y - s.reach[i], y + s.reach[i]);
  };
  int64_t inside = s.x[w.first] >= at - r ? w.first : w.first + 1;
  for (; inside < w.last; inside += 2) {
    disc(inside, hits);
    disc(inside + 1, others);
  }
  if (inside == w.last) disc(inside, hits);
  const int64_t end = std::min(w.last + 1, points - 1);  // of the segments to test
  for (int64_t i = w.first; i < end; i += kLanes) {
    const Float away = abs(at - load(s.middle.data() + i));
    // The sides of most segments are too far away in every lane.
    unsigned close = bits_from_mask(le(load(s.inner.data() + i), away));
    if (end - i < kLanes) close &= (1u << (end - i)) - 1u;
    for (; close != 0; close &= close - 1) {
      Float upper, lower;
      sides(s, i + __builtin_ctz(close), at, upper, lower);
      hits.widen(upper, lower);
    }
  }
  hits.widen(others.top, others.bottom);
  return hits;
}

// The same for one lane whose line is broken near `at`. Returns the number of its pieces, and sets their intervals if
// there are two. Also returns more than two if there are too many points.
inline int meet_two(const UnionScratch& s, const float* line, int64_t points, const NearPoints& w, float at, float r,
                    int lane, Interval& one, Interval& other) {
  constexpr int64_t kMost = 64;  // points
  const int64_t count = w.last + 1 - w.first;
  if (count > kMost) return 3;
  uint64_t drawn = 0, near = 0;  // bit sets of drawable points, and of segments whose sides may be near
  for (int64_t i = 0; i < count; i += kLanes) {
    const Mask here = le(abs(load_partial(line, w.first + i, points)), splat(1e9f));
    const Mask close = le(load(s.inner.data() + w.first + i), abs(at - load(s.middle.data() + w.first + i)));
    drawn |= static_cast<uint64_t>(bits_from_mask(here)) << i;
    near |= static_cast<uint64_t>(bits_from_mask(close)) << i;
  }
  if (count < kMost) drawn &= (uint64_t{1} << count) - 1;
  const uint64_t starts = drawn & ~(drawn << 1), second = starts & (starts - 1);
  if (second == 0) return 1;
  if ((second & (second - 1)) != 0) return 3;
  const uint64_t before = second - 1;  // points of the first piece
  Float top[2] = {splat(INFINITY), splat(INFINITY)},
        raised[2] = {splat(INFINITY), splat(INFINITY)};  // raised = -bottom
  for (int64_t i = 0; i < count; i += kLanes) {
    const Float y = load_partial(line, w.first + i, points), reach = load(s.reach.data() + w.first + i);
    const Mask here =
        mask_from_bits(static_cast<unsigned>(drawn >> i)) & le(splat(at - r), load(s.x.data() + w.first + i));
    const Mask first = mask_from_bits(static_cast<unsigned>(before >> i));
    for (int k = 0; k < 2; ++k) {
      const Mask mine = k == 0 ? here & first : here & ~first;
      top[k] = select(mine, min(y - reach, top[k]), top[k]);
      raised[k] = select(mine, min(-(y + reach), raised[k]), raised[k]);
    }
  }
  one = Interval{reduce_min(top[0]), -reduce_min(raised[0])};
  other = Interval{reduce_min(top[1]), -reduce_min(raised[1])};
  // A segment needs both of its ends, and the end of the last one may lie beyond `w`.
  const bool next = w.last + 1 < points && drawable(line[w.last + 1]);
  near &= drawn & (drawn >> 1 | (next ? uint64_t{1} << (count - 1) : 0));
  for (; near != 0; near &= near - 1) {
    const int bit = __builtin_ctzll(near);
    const int64_t i = w.first + bit, place = i * kLanes + lane;
    const float slope = s.slope[place], drop = s.drop[place];
    widen_by_sides((before >> bit & 1) != 0 ? one : other,
                   Segment{s.middle[i], 0.5f * line[i] + 0.5f * line[i + 1], s.half[i], slope, slope * drop, drop}, at);
  }
  return 2;
}

// Corrects the lanes whose lines are broken near `at`, as there may be a space between their pieces. A lane keeps one
// interval, and its other intervals are added to s.rest.
SPECTROMER_INLINE void mend(UnionScratch& s, const float* const* lines, int64_t points, const NearPoints& w, float at,
                            float r, int64_t slot, Hits& hits) {
  unsigned broken = 0;
  for (int64_t i = s.next_break[w.first]; i <= w.last; i = i + 1 < points ? s.next_break[i + 1] : points) {
    broken |= bits_from_mask(is_nan(load(s.y.data() + i * kLanes)));
  }
  for (; broken != 0; broken &= broken - 1) {
    const int lane = __builtin_ctz(broken);
    const float *line = lines[lane], *x = s.x.data();
    Interval one, other;
    const int pieces = meet_two(s, line, points, w, at, r, lane, one, other);
    if (pieces == 1) continue;
    if (pieces > 2) {
      const auto sides_of = [&](int64_t j) { return make_sides(x[j], line[j], x[j + 1], line[j + 1], r); };
      visit_column(x, line, sides_of, points, w.first, at, r,
                   [&](Interval hit) { s.rest.push_back({lane, slot, hit}); });
      one = nothing();
    } else if (!one.empty() && !other.empty() && (one.top > other.bottom || other.top > one.bottom)) {
      s.rest.push_back({lane, slot, other});
    } else {
      one = Interval{min(one.top, other.top), max(one.bottom, other.bottom)};
    }
    hits.top[lane] = one.top;
    hits.bottom[lane] = one.bottom;
  }
}

template <class Cells>
SPECTROMER_INLINE void draw_union_as(const Canvas& canvas, const float* x, const float* const* y, int64_t points,
                                     uint8_t* const* out, UnionScratch& s) {
  const float r = 0.5f * canvas.linewidth;
  // The `count` points from `begin` on can touch the tile, the last one only as the end of a segment. They are few
  // enough to stay in the cache until their last use.
  int64_t begin = 0, end = 0, count = 0;
  const float* near_y[kLanes];
  NearPoints w{0, -1};
  const auto prepare = [&](float left, float right) SPECTROMER_INLINE_LAMBDA {
    while (begin + 1 < points && x[begin + 1] < left - r) ++begin;
    while (end < points && x[end] <= right + r) ++end;
    count = std::min(end + 1, points) - begin;
    for (int lane = 0; lane < kLanes; ++lane) near_y[lane] = y[lane] + begin;
    load_lines(canvas, x + begin, near_y, count, s);
    w = NearPoints{0, -1};
  };
  draw<Cells>(canvas, out, s, prepare, [&](int64_t slot, float at) SPECTROMER_INLINE_LAMBDA {
    if (points == 0) return Hits();
    const float* near_x = s.x.data();
    while (w.first + 1 < count && near_x[w.first + 1] < at - r) ++w.first;
    while (w.last + 1 < count && near_x[w.last + 1] <= at + r) ++w.last;
    for (int64_t i = w.first; i <= w.last; i += kLanes) {
      const Float square = max(r * r - (load(near_x + i) - at) * (load(near_x + i) - at), splat(1e-30f));
      store(s.reach.data() + i, square * rsqrt(square));
    }
    Hits hits = meet(s, count, w, at, r);
    if (s.next_break[w.first] <= w.last) mend(s, near_y, count, w, at, r, slot, hits);
    return hits;
  });
}

// Draws kLanes lines, except for lanes whose out[lane] is null.
inline void draw_lines(const Canvas& canvas, const float* x, const float* const* y, int64_t points, uint8_t* const* out,
                       UnionScratch& s) {
  if (canvas.subcolumns <= NarrowCells::kMostSubcolumns && canvas.height <= NarrowCells::kMostRows) {
    draw_union_as<NarrowCells>(canvas, x, y, points, out, s);
  } else {
    draw_union_as<WideCells>(canvas, x, y, points, out, s);
  }
}

// The height of a line between its points i and i + 1.
SPECTROMER_INLINE Float between(const std::vector<float>& y, int64_t i, float share) {
  const Float a = load(y.data() + i * kLanes), b = load(y.data() + (i + 1) * kLanes);
  return a + share * (b - a);
}

// Fills kLanes bands, except for lanes whose out[lane] is null.
inline void draw_bands(const Canvas& canvas, const float* x, const float* const* upper, const float* const* lower,
                       int64_t points, uint8_t* const* out, UnionScratch& s) {
  make_room(s.y, points * kLanes);
  make_room(s.other, points * kLanes);
  load_lanes(upper, points, s.y.data());
  load_lanes(lower, points, s.other.data());
  int64_t i = 0;
  const auto nothing_to_do = [](float, float) {};
  draw<WideCells>(canvas, out, s, nothing_to_do, [&](int64_t, float at) SPECTROMER_INLINE_LAMBDA {
    while (i + 2 < points && x[i + 1] < at) ++i;
    Hits hits;
    if (points < 2 || at < x[i] || at > x[i + 1]) return hits;
    const float share = x[i + 1] > x[i] ? (at - x[i]) / (x[i + 1] - x[i]) : 0.0f;
    const Float one = between(s.y, i, share), other = between(s.other, i, share);
    hits.widen(one, other);  // in either order; NaN changes nothing
    hits.widen(other, one);
    return hits;
  });
}

}  // namespace spectromer::SPECTROMER_TARGET
SPECTROMER_END_TARGET;

#endif
