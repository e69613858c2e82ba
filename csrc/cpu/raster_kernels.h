// Kernels of raster.cpp, for one level: kLanes images are drawn side by side.

constexpr int kTile = 16;  // columns drawn together

struct Hits {  // where the stroke meets one vertical line, in each lane
  Float top, bottom;

  SPECTROMER_INLINE Hits() : top(all(INFINITY)), bottom(all(-INFINITY)) {}

  // Comparisons with NaN, which stands for a broken line, leave what there was.
  SPECTROMER_INLINE void widen(const Float& upper, const Float& lower) {
    top = least(upper, top);
    bottom = most(lower, bottom);
  }
};

// Makes a table large enough; what it has held may be lost, but nothing is cleared.
template <class T>
inline void make_room(std::vector<T>& table, int64_t values) {
  if (static_cast<int64_t>(table.size()) < values) table.resize(static_cast<size_t>(values));
}

// Brings lines y[lane] together as to [points, lanes], NaN where they are broken.
SPECTROMER_INLINE void load_lanes(const float* const* y, int64_t points, float* to) {
  for (int64_t i = 0; i < points; i += kLanes) {
    const int64_t count = std::min<int64_t>(kLanes, points - i);
    Float block[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) {
      const Float line = load_between(y[lane], i, points);
      block[lane] = choose(at_most(magnitude(line), all(1e9f)), line, all(std::numeric_limits<float>::quiet_NaN()));
    }
    transpose(block);
    for (int64_t k = 0; k < count; ++k) store(to + (i + k) * kLanes, block[k]);
  }
}

// Brings the lines together and prepares their segments.
SPECTROMER_INLINE void load_lines(const Canvas& canvas, const float* x, const float* const* y, int64_t points,
                                  RasterScratch& s) {
  const float r = 0.5f * canvas.linewidth;
  for (auto* table : {&s.y, &s.slope, &s.drop}) make_room(*table, points * kLanes);
  for (auto* table : {&s.x, &s.middle, &s.half, &s.inner, &s.reach}) make_room(*table, points + kLanes);
  make_room(s.next_break, points);
  std::copy_n(x, points, s.x.data());
  load_lanes(y, points, s.y.data());
  int64_t next_break = points;
  for (int64_t i = points - 1; i >= 0; --i) {
    if (any(is_nan(load(s.y.data() + i * kLanes)))) next_break = i;
    s.next_break[i] = next_break;
  }
  for (int64_t i = 0; i + 1 < points; ++i) {
    const float dx = x[i + 1] - x[i];
    s.middle[i] = x[i] + 0.5f * dx;
    s.half[i] = dx > 0.0f ? 0.5f * dx : -1.0f;
    const int64_t at = i * kLanes;
    Float slope = (load(s.y.data() + at + kLanes) - load(s.y.data() + at)) * (1.0f / dx);
    slope = most(least(slope, all(1e15f)), all(-1e15f));
    const Float drop = r * inverse_root(1.0f + slope * slope);
    store(s.slope.data() + at, slope);
    store(s.drop.data() + at, drop);
  }
  for (int64_t i = 0; i + 1 < points; i += kLanes) {
    Float size[kLanes];
    for (int k = 0; k < kLanes; ++k) {
      const int64_t at = std::min(i + k, points - 2) * kLanes;
      size[k] = magnitude(load(s.slope.data() + at) * load(s.drop.data() + at));
    }
    transpose(size);
    Float closest = all(r);
    for (const Float& peak : size) closest = least(peak, closest);
    for (int64_t k = 0; k < kLanes && i + k + 1 < points; ++k) {
      const bool upright = s.half[i + k] < 0.0f;
      s.inner[i + k] = upright ? INFINITY : closest[k] - s.half[i + k] - 1e-4f;
    }
  }
}

// Points [first, last] are those whose disc or whose segment to the right can touch the line at `at`.
struct Points {
  int64_t first, last;
};

// The heights of both sides of segment i over the line at `at`, NaN where they do not reach it.
SPECTROMER_INLINE void sides(const RasterScratch& s, int64_t i, float at, Float& upper, Float& lower) {
  const int64_t place = i * kLanes;
  const Float y = 0.5f * load(s.y.data() + place) + 0.5f * load(s.y.data() + place + kLanes);
  const Float slope = load(s.slope.data() + place), drop = load(s.drop.data() + place), peak = slope * drop;
  const Float half = all(s.half[i]);
  const Float down = (at - s.middle[i]) + peak, up = (at - s.middle[i]) - peak;
  const Float nowhere = all(std::numeric_limits<float>::quiet_NaN());
  lower = choose(at_most(magnitude(down), half), y + slope * down + drop, nowhere);
  upper = choose(at_most(magnitude(up), half), y + slope * up - drop, nowhere);
}

// The stroke over the line at `at`, all of it in one interval per lane, as it is unless the line is broken there.
SPECTROMER_INLINE Hits meet(const RasterScratch& s, int64_t points, const Points& w, float at, float r) {
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
  const int64_t end = std::min(w.last + 1, points - 1);  // of the segments
  for (int64_t i = w.first; i < end; i += kLanes) {
    const Float away = magnitude(at - load(s.middle.data() + i));
    // The sides of most lie further out, in every lane.
    unsigned near = lanes_of(at_most(load(s.inner.data() + i), away));
    if (end - i < kLanes) near &= (1u << (end - i)) - 1u;
    for (; near != 0; near &= near - 1) {
      Float upper, lower;
      sides(s, i + __builtin_ctz(near), at, upper, lower);
      hits.widen(upper, lower);
    }
  }
  hits.widen(others.top, others.bottom);
  return hits;
}

// The same of one lane that is broken within the window. Returns the number of its pieces, and what they meet if they
// are two; more than two also where the window is too wide to tell.
inline int meet_two(const RasterScratch& s, const float* line, int64_t points, const Points& w, float at, float r,
                     int lane, Interval& one, Interval& other) {
  constexpr int64_t kMost = 64;
  const int64_t count = w.last + 1 - w.first;
  if (count > kMost) return 3;
  uint64_t drawn = 0, near = 0;  // points, and segments whose sides may come near
  for (int64_t i = 0; i < count; i += kLanes) {
    const Mask here = at_most(magnitude(load_between(line, w.first + i, points)), all(1e9f));
    const Mask close = at_most(load(s.inner.data() + w.first + i), magnitude(at - load(s.middle.data() + w.first + i)));
    drawn |= static_cast<uint64_t>(lanes_of(here)) << i;
    near |= static_cast<uint64_t>(lanes_of(close)) << i;
  }
  if (count < kMost) drawn &= (uint64_t{1} << count) - 1;
  const uint64_t starts = drawn & ~(drawn << 1), second = starts & (starts - 1);
  if (second == 0) return 1;
  if ((second & (second - 1)) != 0) return 3;
  const uint64_t before = second - 1;  // of the points, those in the first piece
  Float top[2] = {all(INFINITY), all(INFINITY)}, raised[2] = {all(INFINITY), all(INFINITY)};  // the latter minus bottom
  for (int64_t i = 0; i < count; i += kLanes) {
    const Float y = load_between(line, w.first + i, points), reach = load(s.reach.data() + w.first + i);
    const Mask here = mask_of(static_cast<unsigned>(drawn >> i)) & at_most(all(at - r), load(s.x.data() + w.first + i));
    const Mask first = mask_of(static_cast<unsigned>(before >> i));
    for (int k = 0; k < 2; ++k) {
      const Mask mine = k == 0 ? here & first : here & ~first;
      top[k] = choose(mine, least(y - reach, top[k]), top[k]);
      raised[k] = choose(mine, least(-(y + reach), raised[k]), raised[k]);
    }
  }
  one = Interval{least_of(top[0]), -least_of(raised[0])};
  other = Interval{least_of(top[1]), -least_of(raised[1])};
  // A segment needs both its ends, the last one perhaps behind the window.
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

// Looks again at the lanes that are broken within the window, whose pieces may leave a space between them: the lane
// keeps one interval, others go to the rest.
SPECTROMER_INLINE void mend(RasterScratch& s, const float* const* lines, int64_t points, const Points& w, float at,
                            float r, int64_t slot, Hits& hits) {
  unsigned lanes = 0;
  for (int64_t i = s.next_break[w.first]; i <= w.last; i = i + 1 < points ? s.next_break[i + 1] : points) {
    lanes |= lanes_of(is_nan(load(s.y.data() + i * kLanes)));
  }
  for (; lanes != 0; lanes &= lanes - 1) {
    const int lane = __builtin_ctz(lanes);
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
      one = Interval{smaller(one.top, other.top), larger(one.bottom, other.bottom)};
    }
    hits.top[lane] = one.top;
    hits.bottom[lane] = one.bottom;
  }
}

// How the two ends of an interval are kept until they are summed, and their sums. An end at height e brings its row j
// the share of e that lies in it, e - j ("part"), and takes a whole sub-column ("weight") away from that row and all
// below. A cell, of one row and column, holds both sums: the parts in its lower half, the weights in its upper.
//
// In daily use, few sub-columns and rows, 16 bits do for each.
struct Narrow {
  typedef int Cell;
  static constexpr int kMostSubcolumns = 16;
  static constexpr int64_t kMostRows = (1 << 15) / kTile - 1;
  static constexpr int kBits = 7;    // of a level's fraction
  static constexpr int kValues = 1;  // of an end, in the table: its place and, 16 bits below, its part

  static SPECTROMER_INLINE int weight(int subcolumns) { return (255 << kBits) / subcolumns; }
  static SPECTROMER_INLINE Cell cell(int weight, int part) { return (weight << 16) + part; }

  static SPECTROMER_INLINE void put(int* to, const Int& place, const Int& part) { store(to, (place << 16) | part); }

  static SPECTROMER_INLINE Cell take(const int* from, Cell weight, int64_t& place) {
    place = *from >> 16;
    return weight + (*from & 0xffff);
  }

  // Turns the cells of a row into levels, and zeroes them; `above` are the weights of the rows down to it.
  struct Column {
    Int above[kTile / kLanes];

    SPECTROMER_INLINE Column() : above{} {}

    SPECTROMER_INLINE void next_row(Cell* cells, float, uint8_t* level) {
      for (int v = 0; v < kTile / kLanes; ++v) {
        const Int cell = load(cells + v * kLanes), part = (cell << 16) >> 16;
        store(cells + v * kLanes, Int{});
        above[v] += cell - part;
        store_bytes(level + v * kLanes, (part - (above[v] >> 16) + (1 << (kBits - 1))) >> kBits);
      }
    }
  };
};

struct Wide {
  typedef int64_t Cell;
  static constexpr int kValues = 2;

  static SPECTROMER_INLINE int weight(int subcolumns) { return subcolumn_weight(subcolumns); }
  static SPECTROMER_INLINE Cell cell(int weight, int part) { return weight * (int64_t{1} << 32) + part; }

  static SPECTROMER_INLINE void put(int* to, const Int& place, const Int& part) {
    store(to, place);
    store(to + kLanes, part);
  }

  static SPECTROMER_INLINE Cell take(const int* from, Cell weight, int64_t& place) {
    place = *from;
    return weight + from[kLanes];
  }

  struct Column {
    int64_t above[kTile];

    SPECTROMER_INLINE Column() : above{} {}

    SPECTROMER_INLINE void next_row(Cell* cells, float scale, uint8_t* level) {
      for (int column = 0; column < kTile; ++column) {
        const int64_t part = static_cast<int32_t>(cells[column]);
        above[column] += (cells[column] - part) >> 32;
        cells[column] = 0;
        level[column] = to_level(static_cast<int>(part - above[column]), scale);
      }
    }
  };
};

// Turns the cells of one tile of an image into levels, of the rows [from, to) that may be drawn on; the others are 0
// already.
template <class Kept>
SPECTROMER_INLINE void resolve_tile(typename Kept::Cell* cells, int64_t from, int64_t to, float scale, int64_t columns,
                                    int64_t height, int64_t width, uint8_t* out) {
  typename Kept::Column column;
  for (int64_t row = from; row < to; ++row) {
    if (columns == kTile) {
      column.next_row(cells + row * kTile, scale, out + row * width);
    } else {
      uint8_t level[kTile];
      column.next_row(cells + row * kTile, scale, level);
      std::memcpy(out + row * width, level, static_cast<size_t>(columns));
    }
  }
  std::memset(cells + height * kTile, 0, kTile * sizeof *cells);
}

// Draws what meet_subcolumn(slot, at) finds in each lane, tile by tile; prepare(left, right) comes before each tile.
template <class Kept, class Prepare, class Meet>
SPECTROMER_INLINE void draw(const Canvas& c, uint8_t* const* out, RasterScratch& s, Prepare prepare,
                            Meet meet_subcolumn) {
  typedef typename Kept::Cell Cell;
  constexpr int64_t kEnd = Kept::kValues * kLanes, kSlot = 2 * kEnd;  // values of one end, and of both
  make_room(s.edges, kTile * c.subcolumns * kSlot);
  s.cells.assign(static_cast<size_t>((c.height + 1) * kTile), 0);
  Cell* cells = reinterpret_cast<Cell*>(s.cells.data());
  const int weight = Kept::weight(c.subcolumns);
  const Cell whole = Kept::cell(weight, 0);
  const float scale = 255.0f / static_cast<float>(weight * c.subcolumns);
  const float step = 1.0f / static_cast<float>(c.subcolumns);
  const Float height = all(static_cast<float>(c.height));
  for (int lane = 0; lane < kLanes; ++lane) {
    if (out[lane] != nullptr) std::memset(out[lane], 0, static_cast<size_t>(c.height * c.width));
  }
  for (int64_t left = 0; left < c.width; left += kTile) {
    const int64_t columns = std::min<int64_t>(kTile, c.width - left);
    prepare(static_cast<float>(left), static_cast<float>(left + columns));
    Float highest = height, lowest = {};
    s.rest.clear();
    int64_t slot = 0;
    for (int column = 0; column < columns; ++column) {
      const auto put = [&](int* to, const Float& end, const Mask& drawn) SPECTROMER_INLINE_LAMBDA {
        const Float inside = least(most(end, Float{}), height);
        const Int row = to_int(inside);
        const Int part = to_int(static_cast<float>(weight) * (inside - to_float(row)) + 0.5f);
        // Where nothing is drawn both ends are at the top, and cancel.
        Kept::put(to, choose(drawn, row * kTile, Int{}) + column, choose(drawn, part, Int{}));
      };
      for (int k = 0; k < c.subcolumns; ++k, ++slot) {
        const float at = static_cast<float>(left) + (static_cast<float>(slot) + 0.5f) * step;
        const Hits hits = meet_subcolumn(slot, at);
        const Mask drawn = less(hits.top, hits.bottom) & less(Float{}, hits.bottom) & less(hits.top, height);
        int* to = s.edges.data() + slot * kSlot;
        put(to, hits.bottom, drawn);
        put(to + kEnd, hits.top, drawn);
        highest = choose(drawn, least(hits.top, highest), highest);
        lowest = choose(drawn, most(hits.bottom, lowest), lowest);
      }
    }
    for (int lane = 0; lane < kLanes; ++lane) {
      if (out[lane] == nullptr) continue;
      int64_t from = static_cast<int64_t>(larger(highest[lane], 0.0f));
      int64_t to = std::min(static_cast<int64_t>(smaller(lowest[lane], height[lane])) + 1, c.height);
      const int* ends = s.edges.data() + lane;
      for (int64_t i = 0; i < slot; ++i, ends += kSlot) {
        int64_t bottom, top;
        const Cell more = Kept::take(ends, whole, bottom), less = Kept::take(ends + kEnd, whole, top);
        cells[bottom] += more;
        cells[top] -= less;
      }
      for (const RasterScratch::Rest& rest : s.rest) {
        if (rest.lane != lane) continue;
        const int64_t column = rest.slot / c.subcolumns;
        const auto add = [&](float end, Cell sign) {
          const Deposit deposit = edge_deposit(end, static_cast<float>(c.height), weight);
          cells[deposit.row * kTile + column] += sign * Kept::cell(weight, -deposit.next);
        };
        add(rest.hit.bottom, 1);
        add(rest.hit.top, -1);
        from = 0;
        to = c.height;
      }
      resolve_tile<Kept>(cells, std::min(from, to), to, scale, columns, c.height, c.width, out[lane] + left);
    }
  }
}

template <class Kept>
SPECTROMER_INLINE void draw_union_as(const Canvas& canvas, const float* x, const float* const* y, int64_t points,
                                     uint8_t* const* out, RasterScratch& s) {
  const float r = 0.5f * canvas.linewidth;
  // The points that can touch the tile: `begin` on, the last of them only as a segment's end. Few enough to stay in the
  // cache from their loading to their last use.
  int64_t begin = 0, end = 0, count = 0;
  const float* near_y[kLanes];
  Points w{0, -1};
  const auto prepare = [&](float left, float right) SPECTROMER_INLINE_LAMBDA {
    while (begin + 1 < points && x[begin + 1] < left - r) ++begin;
    while (end < points && x[end] <= right + r) ++end;
    count = std::min(end + 1, points) - begin;
    for (int lane = 0; lane < kLanes; ++lane) near_y[lane] = y[lane] + begin;
    load_lines(canvas, x + begin, near_y, count, s);
    w = Points{0, -1};
  };
  draw<Kept>(canvas, out, s, prepare, [&](int64_t slot, float at) SPECTROMER_INLINE_LAMBDA {
    if (points == 0) return Hits();
    const float* near_x = s.x.data();
    while (w.first + 1 < count && near_x[w.first + 1] < at - r) ++w.first;
    while (w.last + 1 < count && near_x[w.last + 1] <= at + r) ++w.last;
    for (int64_t i = w.first; i <= w.last; i += kLanes) {
      const Float square = most(r * r - (load(near_x + i) - at) * (load(near_x + i) - at), all(1e-30f));
      store(s.reach.data() + i, square * inverse_root(square));
    }
    Hits hits = meet(s, count, w, at, r);
    if (s.next_break[w.first] <= w.last) mend(s, near_y, count, w, at, r, slot, hits);
    return hits;
  });
}

// kLanes lines; where out[lane] is null, nothing is asked for.
inline void draw_lines(const Canvas& canvas, const float* x, const float* const* y, int64_t points,
                       uint8_t* const* out, RasterScratch& s) {
  if (canvas.subcolumns <= Narrow::kMostSubcolumns && canvas.height <= Narrow::kMostRows) {
    draw_union_as<Narrow>(canvas, x, y, points, out, s);
  } else {
    draw_union_as<Wide>(canvas, x, y, points, out, s);
  }
}

// Height of a line at `at`, between its points i and i + 1.
SPECTROMER_INLINE Float between(const std::vector<float>& y, int64_t i, float share) {
  const Float a = load(y.data() + i * kLanes), b = load(y.data() + (i + 1) * kLanes);
  return a + share * (b - a);
}

inline void draw_bands(const Canvas& canvas, const float* x, const float* const* upper, const float* const* lower,
                       int64_t points, uint8_t* const* out, RasterScratch& s) {
  make_room(s.y, points * kLanes);
  make_room(s.other, points * kLanes);
  load_lanes(upper, points, s.y.data());
  load_lanes(lower, points, s.other.data());
  int64_t i = 0;
  const auto nothing_to_do = [](float, float) {};
  draw<Wide>(canvas, out, s, nothing_to_do, [&](int64_t, float at) SPECTROMER_INLINE_LAMBDA {
    while (i + 2 < points && x[i + 1] < at) ++i;
    Hits hits;
    if (points < 2 || at < x[i] || at > x[i + 1]) return hits;
    const float share = x[i + 1] > x[i] ? (at - x[i]) / (x[i + 1] - x[i]) : 0.0f;
    const Float one = between(s.y, i, share), other = between(s.other, i, share);
    hits.widen(one, other);  // whichever lies above; nothing where one of them is NaN
    hits.widen(other, one);
    return hits;
  });
}
