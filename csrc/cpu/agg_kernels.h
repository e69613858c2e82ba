// Kernels of agg.cpp, for one level: joins and their edges side by side in vector lanes; then block by block of rows,
// which lie one behind the other in each column.

constexpr int64_t kTile = 16;  // columns brought together for the image
constexpr int kRows = SPECTROMER_LEVEL >= 3 ? 8 : 4;  // handled at once: few edges are longer

typedef float Rows __attribute__((vector_size(4 * kRows)));

SPECTROMER_INLINE Rows larger_of(const Rows& a, float b) {
#if SPECTROMER_LEVEL >= 3
  return _mm256_max_ps(a, _mm256_set1_ps(b));
#else
  return a > b ? a : b - Rows{};
#endif
}

SPECTROMER_INLINE Rows smaller_of(const Rows& a, float b) {
#if SPECTROMER_LEVEL >= 3
  return _mm256_min_ps(a, _mm256_set1_ps(b));
#else
  return a < b ? a : b - Rows{};
#endif
}

SPECTROMER_INLINE void add_rows(float* to, const Rows& v) {
  Rows sum;
  std::memcpy(&sum, to, sizeof sum);
  sum += v;
  std::memcpy(to, &sum, sizeof sum);
}

#include "../core/join.h"

// Signed area of the outline's cells, as differences from column to column: their prefix sum is the winding integral.
//
// Edges are cut at the borders of columns into parts, and these into blocks of kRows rows, all with the lanes side by
// side; the blocks wait in a list, so that adding them takes no branches.
class Area {
 public:
  // `cells`: [width + 2, stride], where stride is the height, up to a multiple of kTile; `room`: kRoom values.
  SPECTROMER_INLINE Area(float* cells, int64_t rows, int64_t image_height, int64_t image_width, float* room)
      : cell(cells), stride(rows), height(static_cast<float>(image_height)), width(static_cast<float>(image_width)),
        parts_(room), part_count_(0), block_count_(0) {}

  float* const cell;
  const int64_t stride;
  const float height, width;

  static constexpr int64_t kFields = 5, kMost = 1024;  // values of a part, and parts and blocks that may wait
  static constexpr int64_t kRoom = kFields * kMost;

  // Edges from (x0, y0) to (x1, y1), turned round where `side` is -1.
  SPECTROMER_INLINE void add_edges(const Float& x0, const Float& y0, const Float& x1, const Float& y1, float side,
                                   const Mask& wanted) {
    const Mask down = less(y0, y1);
    const Float upper_x = choose(down, x0, x1), upper_y = choose(down, y0, y1);
    const Float lower_x = choose(down, x1, x0), lower_y = choose(down, y1, y0);
    const Float top = most(upper_y, Float{}), bottom = least(lower_y, all(height));
    const Mask drawn = wanted & less(top, bottom);
    if (!any(drawn)) return;
    const Float slope = (lower_x - upper_x) / choose(drawn, lower_y - upper_y, all(1.0f));
    const Float from = choose(less(upper_y, Float{}), upper_x - slope * upper_y, upper_x);
    const Float to = choose(less(all(height), lower_y), upper_x + slope * (height - upper_y), lower_x);
    const Float sign = choose(down, all(side), all(-side));
    const Mask inside = drawn & at_most(Float{}, least(from, to)) & at_most(most(from, to), all(width));
    add_inside(from, top, to, bottom, slope, sign, inside);
    for (unsigned lanes = lanes_of(drawn & ~inside); lanes != 0; lanes &= lanes - 1) {
      const int k = __builtin_ctz(lanes);
      add_across(from[k], top[k], to[k], bottom[k], slope[k], sign[k]);
    }
  }

  // One edge, of a cap.
  SPECTROMER_INLINE void add_edge(float x0, float y0, float x1, float y1) {
    add_edges(all(x0), all(y0), all(x1), all(y1), 1.0f, mask_of(1));
  }

  // Adds all that waits to the cells.
  inline void flush() {
    Rows ramp;
    for (int k = 0; k < kRows; ++k) ramp[k] = static_cast<float>(k);
    for (int64_t i = 0; i < block_count_; ++i) {
      const float* part = parts_ + (blocks_[i] & 0xffff);
      const Rows row = static_cast<float>(blocks_[i] >> 16) + ramp;
      const Rows from = larger_of(row, part[0]), to = smaller_of(row + 1.0f, part[kMost]);
      const Rows covered = part[4 * kMost] * larger_of(to - from, 0.0f);
      const Rows right = covered * (part[2 * kMost] + part[3 * kMost] * (from + to));
      add_rows(cell + places_[i], covered - right);
      add_rows(cell + places_[i] + stride, right);
    }
    block_count_ = 0;
  }

 private:
  // Edges from (x, y) down to (x1, y1) within 0 <= x <= width, 0 <= y <= height, column by column.
  SPECTROMER_INLINE void add_inside(const Float& from, const Float& top, const Float& to, const Float& bottom,
                                    const Float& slope, const Float& sign, Mask inside) {
    const Int last = to_int(choose(inside, to, Float{}));
    Int column = to_int(choose(inside, from, Float{}));
    const Mask forward = less(column, last);
    const Int step = choose(forward, all(1), all(-1)), beyond = choose(forward, all(1), all(0));
    const Float per_column = (bottom - top) / (to - from);
    Float y = top;
    while (any(inside)) {
      const Mask ends = same(column, last);
      const Float border = to_float(column + beyond);
      const Float end = choose(ends, bottom, least(most(top + (border - from) * per_column, y), bottom));
      add_parts(column, from - slope * top - to_float(column), y, end, slope, sign, inside);
      inside = inside & ~ends;
      y = end;
      column += step;
    }
  }

  // An edge of the image's height that leaves it at the left or right: what lies left of it counts at its border, what
  // lies right of it not at all.
  inline void add_across(float from, float top, float to, float bottom, float slope, float sign) {
    const float x0 = from, y0 = top;
    const auto y_at = [&](float x) { return clamped(y0 + (x - x0) / slope, top, bottom); };
    if (larger(from, to) > width) {
      if (smaller(from, to) > width) return;
      const float at = y_at(width);
      (from > width ? top : bottom) = at;
      (from > width ? from : to) = width;
    }
    if (smaller(from, to) < 0.0f) {
      const bool outside = larger(from, to) < 0.0f, enters = from < to;
      const float at = outside ? (enters ? bottom : top) : y_at(0.0f);
      add_parts(Int{}, Float{}, all(enters ? top : at), all(enters ? at : bottom), Float{}, all(sign), mask_of(1));
      if (outside) return;
      (enters ? top : bottom) = at;
      (enters ? from : to) = 0.0f;
    }
    add_inside(all(from), all(top), all(to), all(bottom), all(slope), all(sign), mask_of(1));
  }

  // Parts of edges that lie in one column each; x is where they would be, from the column, at y = 0.
  SPECTROMER_INLINE void add_parts(const Int& column, const Float& x, const Float& top, const Float& bottom,
                                   const Float& slope, const Float& sign, Mask wanted) {
    if (part_count_ > kMost - kLanes) {
      flush();
      part_count_ = 0;
    }
    float* part = parts_ + part_count_;
    store(part, top);
    store(part + kMost, bottom);
    store(part + 2 * kMost, x);
    store(part + 3 * kMost, 0.5f * slope);
    store(part + 4 * kMost, sign);
    Int row = to_int(choose(wanted, top, Float{})) & ~(kRows - 1);
    const Int number = lane_numbers() + static_cast<int>(part_count_), place = column * static_cast<int>(stride);
    part_count_ += kLanes;
    for (wanted = wanted & less(top, bottom); any(wanted); wanted = wanted & less(to_float(row), bottom)) {
      if (block_count_ > kMost - kLanes) flush();
      store_together(blocks_ + block_count_, wanted, (row << 16) | number);
      store_together(places_ + block_count_, wanted, place + row);
      block_count_ += __builtin_popcount(lanes_of(wanted));
      row += kRows;
    }
  }

  float* parts_;  // [kFields, kMost] top, bottom, x at y = 0, half of what x grows by a row, and 1 or -1
  int64_t part_count_;
  int blocks_[kMost], places_[kMost];  // the first row and, 16 bits below, the part; the place among the cells
  int64_t block_count_;
};

// Where one side of the outline has come to.
struct OutlineEnd {
  float x, y;
};

// The edges of one side of some joins at (x, y), from where the side has come to, to where it leaves the last of the
// `count` joins.
SPECTROMER_INLINE void add_joins(const Join& j, const StrokeShape& shape, const Float& x, const Float& y,
                                 float side, int count, OutlineEnd& end, Area& area) {
  const Mask wanted = mask_of((1u << count) - 1u);
  const Mask inner = less(Float{}, side * j.turn), once = (inner & j.mitred) | (~inner & j.straight);
  const Mask curved = ~(inner | j.straight);
  // Where the side would leave the join, known before it is gone along, for the join behind.
  const Float last_x = snapped(x + side * choose(once, j.mx, j.n2x));
  const Float last_y = snapped(y + side * choose(once, j.my, j.n2y));
  Float nx = side * j.n1x, ny = side * j.n1y;
  Float at_x = snapped(x + choose(once, side * j.mx, nx));
  Float at_y = snapped(y + choose(once, side * j.my, ny));
  area.add_edges(moved_on(last_x, end.x), moved_on(last_y, end.y), at_x, at_y, side, wanted);
  for (float k = 1.0f; k <= shape.most_steps(); k += 1.0f) {
    const Mask goes_on = wanted & curved & at_most(all(k), j.steps);
    if (!any(goes_on)) break;
    const Float turned = nx * j.cosine - side * ny * j.sine;
    ny = ny * j.cosine + side * nx * j.sine;
    nx = turned;
    const Float to_x = snapped(x + nx), to_y = snapped(y + ny);
    area.add_edges(at_x, at_y, to_x, to_y, side, goes_on);
    at_x = choose(goes_on, to_x, at_x);
    at_y = choose(goes_on, to_y, at_y);
  }
  area.add_edges(at_x, at_y, last_x, last_y, side, wanted & ~once);
  end = OutlineEnd{last_x[count - 1], last_y[count - 1]};
}

// Rows of each tile of columns that may be drawn on.
struct TileRows {
  float* lowest;  // [tiles] greatest y, then [tiles] least
  int64_t tiles;

  SPECTROMER_INLINE void add(float left, float right, float top, float bottom) const {
    const int64_t most = tiles - 1;
    const auto tile = [&](float x) { return std::min(static_cast<int64_t>(larger(x, 0.0f)) / kTile, most); };
    for (int64_t t = tile(left); t <= tile(right); ++t) {
      lowest[t] = larger(lowest[t], bottom);
      lowest[tiles + t] = smaller(lowest[tiles + t], top);
    }
  }
};

// The stroke of one unbroken line of at least two points, none of them like the one before.
SPECTROMER_INLINE void add_stroke(const StrokeShape& shape, const float* x, const float* y, int64_t points,
                                  RasterScratch& s, Area& area, const TileRows& rows) {
  // Directions and lengths of the segments, padded so that lanes may run over.
  const int64_t n = points - 1;
  for (auto* table : {&s.slope, &s.middle, &s.drop}) table->resize(static_cast<size_t>(points + 2 * kLanes));
  float *ux = s.slope.data(), *uy = s.middle.data(), *length = s.drop.data();
  for (int64_t i = 0; i < n; i += kLanes) {
    const Float dx = load_between(x, i + 1, points) - load_between(x, i, points);
    const Float dy = load_between(y, i + 1, points) - load_between(y, i, points);
    // (Rounded as on a GPU: vertices are snapped, so that the last digit may move a side of the stroke by a level.)
    const Float size = root(most(dx * dx + dy * dy, all(1e-30f)));
    store(ux + i, dx / size);
    store(uy + i, dy / size);
    store(length + i, size);
  }
  const Cap start = make_cap(x[0], y[0], shape.half * uy[0], -shape.half * ux[0], true);
  area.add_edge(start.right_x, start.right_y, start.left_x, start.left_y);
  OutlineEnd left{start.left_x, start.left_y}, right{start.right_x, start.right_y};
  const float margin = 2.0f * shape.half + 1.0f;
  for (int64_t i = 1; i <= n; i += kLanes) {
    // Segment i - 1 comes in, segment i goes out; the rows are those of the points i - 1 to the last one's next.
    const Float in_y = load_between(y, i - 1, points), out_y = load_between(y, i + 1, points);
    const Float here_y = load_between(y, i, points);
    const int count = static_cast<int>(std::min<int64_t>(kLanes, n - i));
    const Mask wanted = mask_of((1u << count) - 1u), ends = mask_of((1u << std::min<int64_t>(kLanes, n - i + 1)) - 1u);
    const Float above = least(choose(ends, least(in_y, here_y), all(INFINITY)), choose(wanted, out_y, all(INFINITY)));
    const Float below = least(choose(ends, -most(in_y, here_y), all(INFINITY)), choose(wanted, -out_y, all(INFINITY)));
    rows.add(x[i - 1] - margin, x[std::min(i + kLanes, n)] + margin, least_of(above) - margin,
             margin - least_of(below));
    if (count == 0) break;
    const Join joins(shape, load(ux + i - 1), load(uy + i - 1), load(length + i - 1), load(ux + i), load(uy + i),
                            load(length + i));
    const Float here_x = load_between(x, i, points);
    add_joins(joins, shape, here_x, here_y, 1.0f, count, left, area);
    add_joins(joins, shape, here_x, here_y, -1.0f, count, right, area);
  }
  const Cap end = make_cap(x[n], y[n], shape.half * uy[n - 1], -shape.half * ux[n - 1], false);
  area.add_edge(left.x, left.y, end.left_x, end.left_y);
  area.add_edge(end.right_x, end.right_y, right.x, right.y);
  area.add_edge(end.left_x, end.left_y, end.right_x, end.right_y);
}

// Sums the columns from left to right, brings the levels to the image and zeroes the area.
SPECTROMER_INLINE void resolve(Area& area, const TileRows& rows, int64_t width, int64_t height, RasterScratch& s,
                               uint8_t* out) {
  area.flush();
  std::memset(out, 0, static_cast<size_t>(width * height));
  s.sums.assign(static_cast<size_t>(area.stride), 0.0f);
  for (int64_t left = 0; left < width; left += kTile) {
    const int64_t columns = std::min(kTile, width - left), tile = left / kTile;
    const float above = larger(rows.lowest[rows.tiles + tile], 0.0f), below = smaller(rows.lowest[tile], area.height);
    if (!(above < below)) continue;
    for (int64_t row = static_cast<int64_t>(above) / kTile * kTile; static_cast<float>(row) < below; row += kTile) {
      uint8_t level[kTile][kTile] = {}, turned[kTile][kTile];
      for (int64_t part = 0; part < kTile; part += kLanes) {
        Float sum = load(s.sums.data() + row + part);
        for (int64_t c = 0; c < columns; ++c) {
          float* cell = area.cell + (left + c) * area.stride + row + part;
          sum += load(cell);
          store(cell, Float{});
          store_bytes(level[c] + part, to_int(agg_level(sum)));
        }
        store(s.sums.data() + row + part, sum);
      }
      const int64_t count = std::min(kTile, height - row);
      uint8_t* to = out + row * width + left;
      if (columns == kTile && count == kTile) {
        transpose_bytes(level, to, width);
        continue;
      }
      transpose_bytes(level, turned[0], kTile);
      for (int64_t i = 0; i < count; ++i) std::memcpy(to + i * width, turned[i], static_cast<size_t>(columns));
    }
  }
  // What has been counted right of the image.
  std::memset(area.cell + width * area.stride, 0, static_cast<size_t>(2 * area.stride) * sizeof(float));
}

// Tells whether a line needs no cutting: all of it is drawable, lies within a pixel of the image, and x rises.
SPECTROMER_INLINE bool is_whole(const Canvas& canvas, const float* x, const float* y, int64_t points) {
  const float right = static_cast<float>(canvas.width + 1), bottom = static_cast<float>(canvas.height + 1);
  bool whole = points > 1;
  for (int64_t i = 0; i < points && whole; i += kLanes) {
    const Float at = load_between(x, i, points), height = load_between(y, i, points);
    const Mask inside = at_most(all(-1.0f), least(at, height)) & at_most(at, all(right)) & at_most(height, all(bottom));
    const Mask last = mask_of(i + kLanes >= points ? ~0u << (points - 1 - i) : 0u);  // and what lies behind it
    whole = every(inside & (less(at, load_between(x, i + 1, points)) | last));
  }
  return whole;
}

inline void draw_stroke(const Canvas& canvas, const float* x, const float* y, int64_t points, uint8_t* out,
                        RasterScratch& s) {
  const StrokeShape shape(canvas.linewidth);
  const int64_t stride = (canvas.height + kTile - 1) / kTile * kTile, tiles = (canvas.width + kTile - 1) / kTile;
  const size_t cells = static_cast<size_t>((canvas.width + 2) * stride);
  if (s.area.size() < cells) s.area.assign(cells, 0.0f);
  s.tile_rows.assign(static_cast<size_t>(tiles), -INFINITY);
  s.tile_rows.resize(static_cast<size_t>(2 * tiles), INFINITY);
  const TileRows rows{s.tile_rows.data(), tiles};
  s.parts.resize(Area::kRoom);
  Area area(s.area.data(), stride, canvas.height, canvas.width, s.parts.data());
  if (is_whole(canvas, x, y, points)) {
    add_stroke(shape, x, y, points, s, area, rows);
    resolve(area, rows, canvas.width, canvas.height, s, out);
    return;
  }
  // The pieces one behind the other, and where each begins.
  s.y.resize(static_cast<size_t>(2 * points));
  s.other.resize(static_cast<size_t>(2 * points));
  s.pieces.resize(static_cast<size_t>(points + 1));
  int64_t count = 0, pieces = 0;
  visit_pieces(x, y, points, canvas.width, canvas.height, [&](float px, float py, bool starts) {
    if (starts) s.pieces[pieces++] = count;
    if (!starts && px == s.other[count - 1] && py == s.y[count - 1]) return;  // cut off to nothing
    s.other[count] = px;
    s.y[count++] = py;
  });
  s.pieces[pieces] = count;
  for (int64_t piece = 0; piece < pieces; ++piece) {
    const int64_t begin = s.pieces[piece], length = s.pieces[piece + 1] - begin;
    if (length > 1) add_stroke(shape, s.other.data() + begin, s.y.data() + begin, length, s, area, rows);
  }
  resolve(area, rows, canvas.width, canvas.height, s, out);
}
