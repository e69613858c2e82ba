#include "raster.h"

#include <algorithm>
#include <limits>

#include "parallel.h"

namespace spectromer {
namespace {

constexpr int kTile = 32;  // columns drawn together

// kHalves vectors of kLanes images are drawn side by side; a "lane" below is one of kHalves * kLanes.
template <int kHalves>
struct Hits {  // where the stroke meets one vertical line, in each lane
  Float8 top[kHalves], bottom[kHalves];

  SPECTROMER_INLINE Hits() {
    for (int h = 0; h < kHalves; ++h) top[h] = INFINITY - Float8{}, bottom[h] = -INFINITY - Float8{};
  }

  // Comparisons with NaN, which stands for a broken line, leave what there was.
  SPECTROMER_INLINE void widen(int h, const Float8& upper, const Float8& lower) {
    top[h] = upper < top[h] ? upper : top[h];
    bottom[h] = lower > bottom[h] ? lower : bottom[h];
  }
};

SPECTROMER_INLINE Float8 magnitude(const Float8& v) { return (Float8)((Int8)v & 0x7fffffff); }

// Brings lines y[lane] together as to [points, lanes], NaN where they are broken.
template <int kHalves>
SPECTROMER_INLINE void load_lanes(const float* const* y, int64_t points, float* to) {
  for (int64_t i = 0; i < points; i += kLanes) {
    const int64_t count = std::min<int64_t>(kLanes, points - i);
    for (int h = 0; h < kHalves; ++h) {
      Float8 block[kLanes];
      for (int lane = 0; lane < kLanes; ++lane) {
        const float* from = y[h * kLanes + lane] + i;
        if (count == kLanes) {
          block[lane] = load8(from);
        } else {
          for (int64_t k = 0; k < kLanes; ++k) block[lane][k] = k < count ? from[k] : 0.0f;
        }
        block[lane] = magnitude(block[lane]) <= 1e9f ? block[lane] : all_nan();
      }
      transpose(block);
      for (int64_t k = 0; k < count; ++k) store8(to + ((i + k) * kHalves + h) * kLanes, block[k]);
    }
  }
}

// Makes a table large enough; what it has held may be lost, but nothing is cleared.
template <class T>
SPECTROMER_INLINE void make_room(std::vector<T>& table, int64_t values) {
  if (static_cast<int64_t>(table.size()) < values) table.resize(static_cast<size_t>(values));
}

// Brings the lines together and prepares their segments.
template <int kHalves>
SPECTROMER_INLINE void load_lines(const Canvas& canvas, const float* x, const float* const* y, int64_t points,
                                  RasterScratch& s) {
  const float r = 0.5f * canvas.linewidth;
  for (auto* table : {&s.y, &s.slope, &s.peak, &s.drop}) make_room(*table, points * kHalves * kLanes);
  for (auto* table : {&s.middle, &s.half, &s.inner, &s.reach}) make_room(*table, points);
  make_room(s.next_break, points);
  load_lanes<kHalves>(y, points, s.y.data());
  int64_t next_break = points;
  for (int64_t i = points - 1; i >= 0; --i) {
    Int8 broken = {};
    for (int h = 0; h < kHalves; ++h) {
      const Float8 value = load8(s.y.data() + (i * kHalves + h) * kLanes);
      broken |= value != value;
    }
    int any = 0;
    for (int lane = 0; lane < kLanes; ++lane) any |= broken[lane];
    if (any != 0) next_break = i;
    s.next_break[i] = next_break;
  }
  for (int64_t i = 0; i + 1 < points; ++i) {
    const float dx = x[i + 1] - x[i];
    s.middle[i] = x[i] + 0.5f * dx;
    s.half[i] = dx > 0.0f ? 0.5f * dx : -1.0f;
    const float per_dx = 1.0f / dx;
    for (int h = 0; h < kHalves; ++h) {
      const int64_t at = (i * kHalves + h) * kLanes;
      const Float8 y0 = load8(s.y.data() + at), y1 = load8(s.y.data() + at + kHalves * kLanes);
      Float8 slope = (y1 - y0) * per_dx;
      slope = slope > 1e15f ? 1e15f - Float8{} : slope;
      slope = slope < -1e15f ? -1e15f - Float8{} : slope;
      const Float8 drop = r / root(1.0f + slope * slope);
      store8(s.slope.data() + at, slope);
      store8(s.drop.data() + at, drop);
      store8(s.peak.data() + at, slope * drop);
    }
  }
  for (int64_t i = 0; i + 1 < points; i += kLanes) {
    Float8 least = r - Float8{};
    for (int h = 0; h < kHalves; ++h) {
      Float8 size[kLanes];
      for (int k = 0; k < kLanes; ++k) {
        size[k] = magnitude(load8(s.peak.data() + (std::min(i + k, points - 2) * kHalves + h) * kLanes));
      }
      transpose(size);
      for (int lane = 0; lane < kLanes; ++lane) least = size[lane] < least ? size[lane] : least;
    }
    for (int64_t k = 0; k < kLanes && i + k + 1 < points; ++k) {
      const bool upright = s.half[i + k] < 0.0f;
      s.inner[i + k] = upright ? INFINITY : least[k] - s.half[i + k] - 1e-4f;
    }
  }
}

// Points [first, last] are those whose disc or whose segment to the right can touch the line at `at`.
struct Window {
  int64_t first, last;
};

// The heights of both sides of segment i over the line at `at`, NaN where they do not reach it.
template <int kHalves>
SPECTROMER_INLINE void sides(const RasterScratch& s, int64_t i, int h, float at, Float8& upper, Float8& lower) {
  const int64_t place = (i * kHalves + h) * kLanes;
  const Float8 y0 = load8(s.y.data() + place), y1 = load8(s.y.data() + place + kHalves * kLanes);
  const Float8 slope = load8(s.slope.data() + place), peak = load8(s.peak.data() + place);
  const Float8 drop = load8(s.drop.data() + place);
  const Float8 y = 0.5f * y0 + 0.5f * y1;
  const Float8 down = (at - s.middle[i]) + peak, up = (at - s.middle[i]) - peak;
  const float half = s.half[i];
  lower = magnitude(down) <= half ? y + slope * down + drop : all_nan();
  upper = magnitude(up) <= half ? y + slope * up - drop : all_nan();
}

// The stroke over the line at `at`, all of it in one interval per lane, as it is unless the line is broken there.
template <int kHalves>
SPECTROMER_INLINE Hits<kHalves> meet(const RasterScratch& s, const float* x, int64_t points, const Window& w, float at,
                                     float r) {
  Hits<kHalves> hits, others;  // two chains of comparisons take half the time of one
  const auto disc = [&](int64_t i, Hits<kHalves>& to) SPECTROMER_INLINE_LAMBDA {
    for (int h = 0; h < kHalves; ++h) {
      const Float8 y = load8(s.y.data() + (i * kHalves + h) * kLanes);
      to.widen(h, y - s.reach[i], y + s.reach[i]);
    }
  };
  int64_t inside = x[w.first] >= at - r ? w.first : w.first + 1;
  for (; inside < w.last; inside += 2) {
    disc(inside, hits);
    disc(inside + 1, others);
  }
  if (inside == w.last) disc(inside, hits);
  for (int64_t i = w.first; i <= w.last && i + 1 < points; ++i) {
    if (fabsf(at - s.middle[i]) < s.inner[i]) continue;  // its sides lie further out, in every lane
    for (int h = 0; h < kHalves; ++h) {
      Float8 upper, lower;
      sides<kHalves>(s, i, h, at, upper, lower);
      hits.widen(h, upper, lower);
    }
  }
  for (int h = 0; h < kHalves; ++h) hits.widen(h, others.top[h], others.bottom[h]);
  return hits;
}

// The same of one lane, broken within the window into pieces that may leave a space between them: it keeps the first
// piece's interval, and what the second leaves apart from it goes to the rest.
template <int kHalves>
SPECTROMER_INLINE Interval meet_pieces(RasterScratch& s, const float* x, const float* line, int64_t points,
                                       const Window& w, float at, float r, int lane, int64_t slot) {
  Interval pieces[2] = {nothing(), nothing()};
  int count = 0;
  bool before = false;
  for (int64_t i = w.first; i <= w.last; ++i) {
    const int64_t place = i * kHalves * kLanes + lane, next = place + kHalves * kLanes;
    const float y = s.y[place];
    const bool drawn = y == y;
    if (drawn && !before && ++count > 2) {
      const auto sides = [&](int64_t j) { return make_sides(x[j], line[j], x[j + 1], line[j + 1], r); };
      visit_column(x, line, sides, points, w.first, at, r,
                   [&](Interval hit) { s.rest.push_back({lane, slot, hit}); });
      return nothing();
    }
    before = drawn;
    if (!drawn) continue;
    Interval& piece = pieces[count - 1];
    if (x[i] >= at - r) piece = Interval{smaller(piece.top, y - s.reach[i]), larger(piece.bottom, y + s.reach[i])};
    if (i + 1 < points && s.y[next] == s.y[next]) {
      widen_by_sides(piece, Segment{s.middle[i], 0.5f * y + 0.5f * s.y[next], s.half[i], s.slope[place], s.peak[place],
                                    s.drop[place]}, at);
    }
  }
  const Interval &a = pieces[0], &b = pieces[1];
  const bool apart = !a.empty() && !b.empty() && (a.top > b.bottom || b.top > a.bottom);
  if (!apart) return Interval{smaller(a.top, b.top), larger(a.bottom, b.bottom)};
  s.rest.push_back({lane, slot, b});
  return a;
}

// Looks again at the lanes that are broken within the window.
template <int kHalves>
SPECTROMER_INLINE void mend(RasterScratch& s, const float* x, const float* const* lines, int64_t points,
                            const Window& w, float at, float r, int64_t slot, Hits<kHalves>& hits) {
  for (int h = 0; h < kHalves; ++h) {
    Int8 pieces = {}, before = {};
    for (int64_t i = w.first; i <= w.last; ++i) {
      const Float8 y = load8(s.y.data() + (i * kHalves + h) * kLanes);
      const Int8 drawn = y == y;
      pieces -= drawn & ~before;  // a comparison that holds is -1
      before = drawn;
    }
    for (int k = 0; k < kLanes; ++k) {
      if (pieces[k] < 2) continue;
      const int lane = h * kLanes + k;
      const Interval hit = meet_pieces<kHalves>(s, x, lines[lane], points, w, at, r, lane, slot);
      hits.top[h][k] = hit.top;
      hits.bottom[h][k] = hit.bottom;
    }
  }
}

// edge_deposit of eight lanes; nothing where nothing is drawn.
SPECTROMER_INLINE void note(RasterScratch::Edges& edges, int64_t place, int column, const Float8& edge,
                            const Int8& drawn, float height, int weight) {
  Float8 inside = edge > 0.0f ? edge : Float8{};
  inside = inside < height ? inside : height - Float8{};
  const Int8 row = __builtin_convertvector(inside, Int8);
  const Float8 share = inside - __builtin_convertvector(row, Float8);
  const Int8 part = __builtin_convertvector(static_cast<float>(weight) * share + 0.5f, Int8);
  const Int8 here = (part - weight) & drawn, next = -part & drawn, at = row * kTile + column;
  std::memcpy(edges.at.data() + place, &at, sizeof at);
  std::memcpy(edges.here.data() + place, &here, sizeof here);
  std::memcpy(edges.next.data() + place, &next, sizeof next);
}

// `columns` levels to one row of an image; nearly always kTile, for which it is a single store.
SPECTROMER_INLINE void put_row(uint8_t* to, const uint8_t* level, int64_t columns) {
  if (columns == kTile) {
    std::memcpy(to, level, kTile);
  } else {
    std::memcpy(to, level, static_cast<size_t>(columns));
  }
}

// How the differences of a picture are kept. Few sub-columns need no more than 16 bits: their sum, modulo 2^16, is a
// level and 8 bits more.
struct Narrow {
  typedef uint16_t Sum;
  typedef uint16_t Row __attribute__((vector_size(kTile * sizeof(Sum))));
  static constexpr int kMostSubcolumns = 16;

  static SPECTROMER_INLINE int weight(int subcolumns) { return 255 * 256 / subcolumns; }
  static SPECTROMER_INLINE uint8_t level(Sum sum, float) { return static_cast<uint8_t>((sum + 128) >> 8); }
};

struct Wide {
  typedef int Sum;
  typedef int Row __attribute__((vector_size(kTile * sizeof(Sum))));

  static SPECTROMER_INLINE int weight(int subcolumns) { return subcolumn_weight(subcolumns); }
  static SPECTROMER_INLINE uint8_t level(Sum sum, float scale) { return to_level(sum, scale); }
};

// Turns the differences of kTile columns into levels. Rows [from, to) are those that may be drawn on.
template <class Kept>
SPECTROMER_INLINE void resolve_tile(typename Kept::Sum* difference, int64_t from, int64_t to, float scale,
                                    int64_t columns, int64_t height, int64_t width, uint8_t* out) {
  constexpr int kRows = 32;
  const uint8_t blank[kTile] = {};
  for (int64_t row = 0; row < from; ++row) put_row(out + row * width, blank, columns);
  typedef typename Kept::Sum Sum;
  typename Kept::Row sum = {};
  for (int64_t row = from; row < to; row += kRows) {
    const int64_t rows = std::min<int64_t>(kRows, to - row);
    Sum sums[kRows * kTile];
    uint8_t level[kRows * kTile];
    for (int64_t i = 0; i < rows; ++i) {
      Sum* line = difference + (row + i) * kTile;
      typename Kept::Row step;
      std::memcpy(&step, line, sizeof step);
      sum += step;
      std::memcpy(sums + i * kTile, &sum, sizeof sum);
      std::memset(line, 0, sizeof sum);
    }
    for (int i = 0; i < kRows * kTile; ++i) level[i] = Kept::level(sums[i], scale);
    for (int64_t i = 0; i < rows; ++i) put_row(out + (row + i) * width, level + i * kTile, columns);
  }
  std::fill(difference + to * kTile, difference + (to + 2) * kTile, Sum{0});
  for (int64_t row = to; row < height; ++row) put_row(out + row * width, blank, columns);
}

// The deposits of one lane.
template <class Sum>
SPECTROMER_INLINE void deposit(const RasterScratch::Edges& bottom, const RasterScratch::Edges& top, int64_t slots,
                               int64_t lanes, int64_t lane, Sum* difference) {
  const int *bottom_at = bottom.at.data(), *bottom_here = bottom.here.data(), *bottom_next = bottom.next.data();
  const int *top_at = top.at.data(), *top_here = top.here.data(), *top_next = top.next.data();
  for (int64_t i = lane; i < slots * lanes; i += lanes) {
    Sum* end = difference + bottom_at[i];
    Sum* start = difference + top_at[i];
    end[0] = static_cast<Sum>(end[0] + bottom_here[i]);
    start[0] = static_cast<Sum>(start[0] - top_here[i]);
    end[kTile] = static_cast<Sum>(end[kTile] + bottom_next[i]);
    start[kTile] = static_cast<Sum>(start[kTile] - top_next[i]);
  }
}

// Draws what meet_subcolumn(slot, at) finds in each lane, tile by tile; prepare(left, right) comes before each tile.
template <int kHalves, class Kept, class Prepare, class Meet>
SPECTROMER_INLINE void draw(const Canvas& c, uint8_t* const* out, RasterScratch& s, Prepare prepare,
                            Meet meet_subcolumn) {
  constexpr int kAll = kHalves * kLanes;
  for (RasterScratch::Edges& edges : s.edges) {
    for (auto* table : {&edges.at, &edges.here, &edges.next}) make_room(*table, kTile * c.subcolumns * kAll);
  }
  typedef typename Kept::Sum Sum;
  s.difference.assign(static_cast<size_t>((c.height + 2) * kTile) * sizeof(Sum), 0);
  Sum* difference = reinterpret_cast<Sum*>(s.difference.data());
  const int weight = Kept::weight(c.subcolumns);
  const float scale = 255.0f / static_cast<float>(weight * c.subcolumns);
  const float height = static_cast<float>(c.height), step = 1.0f / static_cast<float>(c.subcolumns);
  for (int64_t left = 0; left < c.width; left += kTile) {
    const int64_t columns = std::min<int64_t>(kTile, c.width - left);
    const int64_t slots = columns * c.subcolumns;
    prepare(static_cast<float>(left), static_cast<float>(left + columns));
    Float8 highest[kHalves], lowest[kHalves];
    for (int h = 0; h < kHalves; ++h) highest[h] = height - Float8{}, lowest[h] = Float8{};
    s.rest.clear();
    for (int64_t slot = 0; slot < slots; ++slot) {
      const int column = static_cast<int>(slot) / c.subcolumns;
      const float at = static_cast<float>(left) + (static_cast<float>(slot) + 0.5f) * step;
      const Hits<kHalves> hits = meet_subcolumn(slot, at);
      for (int h = 0; h < kHalves; ++h) {
        const Float8 top = hits.top[h], bottom = hits.bottom[h];
        const Int8 drawn = (top < bottom) & (bottom > 0.0f) & (top < height);
        const int64_t place = (slot * kHalves + h) * kLanes;
        note(s.edges[0], place, column, bottom, drawn, height, weight);
        note(s.edges[1], place, column, top, drawn, height, weight);
        highest[h] = (drawn & (top < highest[h])) ? top : highest[h];
        lowest[h] = (drawn & (bottom > lowest[h])) ? bottom : lowest[h];
      }
    }
    for (int lane = 0; lane < kAll; ++lane) {
      if (out[lane] == nullptr) continue;
      const float first = highest[lane / kLanes][lane % kLanes], last = lowest[lane / kLanes][lane % kLanes];
      int64_t from = static_cast<int64_t>(larger(first, 0.0f));
      int64_t to = std::min(static_cast<int64_t>(smaller(last, height)) + 1, c.height);
      deposit(s.edges[0], s.edges[1], slots, kAll, lane, difference);
      for (const RasterScratch::Rest& rest : s.rest) {
        if (rest.lane != lane) continue;
        const int64_t column = rest.slot / c.subcolumns;
        deposit_interval(rest.hit, height, weight, [&](int64_t row, int value) {
          difference[row * kTile + column] = static_cast<Sum>(difference[row * kTile + column] + value);
        });
        from = 0;
        to = c.height;
      }
      from = std::min(from, to);
      resolve_tile<Kept>(difference, from, to, scale, columns, c.height, c.width, out[lane] + left);
    }
  }
}

template <int kHalves, class Kept>
SPECTROMER_INLINE void draw_union_lanes(const Canvas& canvas, const float* x, const float* const* y, int64_t points,
                                        uint8_t* const* out, RasterScratch& s) {
  const float r = 0.5f * canvas.linewidth;
  // The points that can touch the tile: `begin` on, the last of them only as a segment's end. Few enough to stay in the
  // cache from their loading to their last use.
  int64_t begin = 0, end = 0, count = 0;
  const float* near_x = x;
  const float* near_y[kHalves * kLanes];
  int64_t first = 0, last = -1;
  const auto prepare = [&](float left, float right) SPECTROMER_INLINE_LAMBDA {
    while (begin + 1 < points && x[begin + 1] < left - r) ++begin;
    while (end < points && x[end] <= right + r) ++end;
    count = std::min(end + 1, points) - begin;
    near_x = x + begin;
    for (int lane = 0; lane < kHalves * kLanes; ++lane) near_y[lane] = y[lane] + begin;
    load_lines<kHalves>(canvas, near_x, near_y, count, s);
    first = 0;
    last = -1;
  };
  draw<kHalves, Kept>(canvas, out, s, prepare, [&](int64_t slot, float at) SPECTROMER_INLINE_LAMBDA {
    if (points == 0) return Hits<kHalves>();
    while (first + 1 < count && near_x[first + 1] < at - r) ++first;
    while (last + 1 < count && near_x[last + 1] <= at + r) ++last;
    for (int64_t i = first; i <= last; ++i) {
      s.reach[i] = sqrtf(larger(r * r - (near_x[i] - at) * (near_x[i] - at), 0.0f));
    }
    const Window window{first, last};
    Hits<kHalves> hits = meet<kHalves>(s, near_x, count, window, at, r);
    if (s.next_break[first] <= last) mend<kHalves>(s, near_x, near_y, count, window, at, r, slot, hits);
    return hits;
  });
}

// One function for each number of lanes, as a function of vector clones must not be a template.
SPECTROMER_WIDE void draw_union_8(const Canvas& canvas, const float* x, const float* const* y, int64_t points,
                                  uint8_t* const* out, RasterScratch& s) {
  draw_union_lanes<1, Narrow>(canvas, x, y, points, out, s);
}

SPECTROMER_WIDE void draw_union_16(const Canvas& canvas, const float* x, const float* const* y, int64_t points,
                                   uint8_t* const* out, RasterScratch& s) {
  draw_union_lanes<2, Narrow>(canvas, x, y, points, out, s);
}

// With more sub-columns than are in daily use.
SPECTROMER_WIDE void draw_union_finely(const Canvas& canvas, const float* x, const float* const* y, int64_t points,
                                       uint8_t* const* out, RasterScratch& s) {
  draw_union_lanes<1, Wide>(canvas, x, y, points, out, s);
}

// Height of a line at `at`, between its points i and i + 1.
SPECTROMER_INLINE Float8 between(const std::vector<float>& y, int64_t i, float share) {
  const Float8 a = load8(y.data() + i * kLanes), b = load8(y.data() + (i + 1) * kLanes);
  return a + share * (b - a);
}

SPECTROMER_WIDE void draw_band_8(const Canvas& canvas, const float* x, const float* const* upper,
                                 const float* const* lower, int64_t points, uint8_t* const* out, RasterScratch& s) {
  s.y.resize(static_cast<size_t>(points * kLanes));
  s.other.resize(static_cast<size_t>(points * kLanes));
  load_lanes<1>(upper, points, s.y.data());
  load_lanes<1>(lower, points, s.other.data());
  int64_t i = 0;
  const auto nothing_to_do = [](float, float) {};
  draw<1, Wide>(canvas, out, s, nothing_to_do, [&](int64_t, float at) SPECTROMER_INLINE_LAMBDA {
    while (i + 2 < points && x[i + 1] < at) ++i;
    Hits<1> hits;
    if (points < 2 || at < x[i] || at > x[i + 1]) return hits;
    const float share = x[i + 1] > x[i] ? (at - x[i]) / (x[i + 1] - x[i]) : 0.0f;
    const Float8 one = between(s.y, i, share), other = between(s.other, i, share);
    hits.widen(0, one, other);  // whichever lies above; nothing where one of them is NaN
    hits.widen(0, other, one);
    return hits;
  });
}

}  // namespace

void draw_union(const Canvas& canvas, const float* x, const float* const* y, int64_t points, int64_t images,
                uint8_t* const* out, RasterScratch& scratch) {
  const float* lines[kMostImages];
  uint8_t* planes[kMostImages] = {};
  for (int64_t lane = 0; lane < kMostImages; ++lane) lines[lane] = y[std::min(lane, images - 1)];
  std::copy_n(out, images, planes);
  if (canvas.subcolumns <= Narrow::kMostSubcolumns) {
    (images > kLanes ? draw_union_16 : draw_union_8)(canvas, x, lines, points, planes, scratch);
    return;
  }
  for (int64_t begin = 0; begin < images; begin += kLanes) {
    draw_union_finely(canvas, x, lines + begin, points, planes + begin, scratch);
  }
}

void draw_band(const Canvas& canvas, const float* x, const float* const* upper, const float* const* lower,
               int64_t points, int64_t images, uint8_t* const* out, RasterScratch& scratch) {
  for (int64_t begin = 0; begin < images; begin += kLanes) {
    const float *above[kLanes], *below[kLanes];
    uint8_t* planes[kLanes] = {};
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      above[lane] = upper[std::min(begin + lane, images - 1)];
      below[lane] = lower[std::min(begin + lane, images - 1)];
      if (begin + lane < images) planes[lane] = out[begin + lane];
    }
    draw_band_8(canvas, x, above, below, points, planes, scratch);
  }
}

void rasterize_cpu(const RasterizeArgs& args, int threads) {
  const Canvas canvas{args.height, args.width, args.linewidth, args.subcolumns};
  const int64_t pixels = args.height * args.width;
  // Lines that share their x are drawn side by side.
  const bool together = args.x_stride == 0 && (args.band != nullptr || args.coverage == Coverage::area_union);
  parallel_for<RasterScratch>(
      args.images, threads, together ? kMostImages : 1, [&](int64_t begin, int64_t end, RasterScratch& scratch) {
        const float* x = args.x + begin * args.x_stride;
        const float *y[kMostImages], *band[kMostImages];
        uint8_t* out[kMostImages];
        for (int64_t image = begin; image < end; ++image) {
          y[image - begin] = args.y + image * args.points;
          if (args.band != nullptr) band[image - begin] = args.band + image * args.points;
          out[image - begin] = args.out + image * pixels;
        }
        if (args.band != nullptr) {
          draw_band(canvas, x, y, band, args.points, end - begin, out, scratch);
        } else if (args.coverage == Coverage::agg) {
          draw_agg(canvas, x, y[0], args.points, out[0], scratch);
        } else {
          draw_union(canvas, x, y, args.points, end - begin, out, scratch);
        }
      });
}

}  // namespace spectromer
