// The stroke as drawn by matplotlib, with one join of a line per vector lane. One target's code.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "../core/agg.h"
#include "agg-area-inl.h"
#include "raster.h"

#if defined(SPECTROMER_CPU_AGG_INL_H) == defined(SPECTROMER_TARGET_TOGGLE)
#ifdef SPECTROMER_CPU_AGG_INL_H
#undef SPECTROMER_CPU_AGG_INL_H
#else
#define SPECTROMER_CPU_AGG_INL_H
#endif

SPECTROMER_BEGIN_TARGET;
namespace spectromer::SPECTROMER_TARGET {

#include "../core/join-inl.h"

// The current end of one side of the outline.
struct OutlineEnd {
  float x, y;
};

// Adds the edges of one side of the outline at `count` joins at (x, y), from the current end of the side to its exit
// from the last join.
SPECTROMER_INLINE void add_joins(const Join& j, const StrokeShape& shape, const Float& x, const Float& y, float side,
                                 int count, OutlineEnd& end, Area& area) {
  const Mask wanted = mask_from_bits((1u << count) - 1u);
  const Mask inner = lt(Float{}, side * j.turn), once = (inner & j.mitred) | (~inner & j.straight);
  const Mask curved = ~(inner | j.straight);
  // The exit of the side from the join, at which the edge to the next join begins.
  const Float last_x = snapped(x + side * select(once, j.mx, j.n2x));
  const Float last_y = snapped(y + side * select(once, j.my, j.n2y));
  Float nx = side * j.n1x, ny = side * j.n1y;
  Float at_x = snapped(x + select(once, side * j.mx, nx));
  Float at_y = snapped(y + select(once, side * j.my, ny));
  area.add_edges(slide_up(last_x, end.x), slide_up(last_y, end.y), at_x, at_y, side, wanted);
  for (float k = 1.0f; k <= shape.most_steps(); k += 1.0f) {
    const Mask goes_on = wanted & curved & le(splat(k), j.steps);
    if (!any_true(goes_on)) break;
    const Float turned = nx * j.cosine - side * ny * j.sine;
    ny = ny * j.cosine + side * nx * j.sine;
    nx = turned;
    const Float to_x = snapped(x + nx), to_y = snapped(y + ny);
    area.add_edges(at_x, at_y, to_x, to_y, side, goes_on);
    at_x = select(goes_on, to_x, at_x);
    at_y = select(goes_on, to_y, at_y);
  }
  area.add_edges(at_x, at_y, last_x, last_y, side, wanted & ~once);
  end = OutlineEnd{last_x[count - 1], last_y[count - 1]};
}

// The range of heights of each tile of columns that may have been drawn on.
struct TileExtents {
  float *bottom, *top;  // [tiles]
  int64_t tiles;

  SPECTROMER_INLINE void add(float left, float right, float above, float below) const {
    const auto tile = [&](float x) { return std::min(static_cast<int64_t>(max(x, 0.0f)) / kTile, tiles - 1); };
    for (int64_t t = tile(left); t <= tile(right); ++t) {
      bottom[t] = max(bottom[t], below);
      top[t] = min(top[t], above);
    }
  }
};

// Adds the stroke of one unbroken line of at least two points. No two neighbouring points may be equal.
SPECTROMER_INLINE void add_stroke(const StrokeShape& shape, const float* x, const float* y, int64_t points,
                                  AggScratch& s, Area& area, const TileExtents& extents) {
  // Directions and lengths of the segments, with padding for lanes beyond the last one.
  const int64_t n = points - 1;
  for (auto* table : {&s.ux, &s.uy, &s.length}) table->resize(static_cast<size_t>(points + 2 * kLanes));
  float *ux = s.ux.data(), *uy = s.uy.data(), *length = s.length.data();
  for (int64_t i = 0; i < n; i += kLanes) {
    const Float dx = load_partial(x, i + 1, points) - load_partial(x, i, points);
    const Float dy = load_partial(y, i + 1, points) - load_partial(y, i, points);
    // (Rounded as on a GPU. As vertices are snapped, the last digit may change the side of a stroke by a grey level.)
    const Float size = sqrt(max(dx * dx + dy * dy, splat(1e-30f)));
    store(ux + i, dx / size);
    store(uy + i, dy / size);
    store(length + i, size);
  }
  const Cap start = make_cap(x[0], y[0], shape.half * uy[0], -shape.half * ux[0], true);
  area.add_edge(start.right_x, start.right_y, start.left_x, start.left_y);
  OutlineEnd left{start.left_x, start.left_y}, right{start.right_x, start.right_y};
  const float margin = 2.0f * shape.half + 1.0f;
  for (int64_t i = 1; i <= n; i += kLanes) {
    // Lane 0 has the join of segments i - 1 and i. The extents are those of all points from i - 1 to the one after the
    // last join.
    const Float in_y = load_partial(y, i - 1, points), out_y = load_partial(y, i + 1, points);
    const Float here_y = load_partial(y, i, points);
    const int count = static_cast<int>(std::min<int64_t>(kLanes, n - i));
    const Mask wanted = mask_from_bits((1u << count) - 1u),
               ends = mask_from_bits((1u << std::min<int64_t>(kLanes, n - i + 1)) - 1u);
    const Float above = min(select(ends, min(in_y, here_y), splat(INFINITY)), select(wanted, out_y, splat(INFINITY)));
    const Float below = min(select(ends, -max(in_y, here_y), splat(INFINITY)), select(wanted, -out_y, splat(INFINITY)));
    extents.add(x[i - 1] - margin, x[std::min(i + kLanes, n)] + margin, reduce_min(above) - margin,
                margin - reduce_min(below));
    if (count == 0) break;
    const Join joins(shape, load(ux + i - 1), load(uy + i - 1), load(length + i - 1), load(ux + i), load(uy + i),
                     load(length + i));
    const Float here_x = load_partial(x, i, points);
    add_joins(joins, shape, here_x, here_y, 1.0f, count, left, area);
    add_joins(joins, shape, here_x, here_y, -1.0f, count, right, area);
  }
  const Cap end = make_cap(x[n], y[n], shape.half * uy[n - 1], -shape.half * ux[n - 1], false);
  area.add_edge(left.x, left.y, end.left_x, end.left_y);
  area.add_edge(end.right_x, end.right_y, right.x, right.y);
  area.add_edge(end.left_x, end.left_y, end.right_x, end.right_y);
}

// Sums the columns from left to right, writes their grey levels to the image and zeroes the area.
SPECTROMER_INLINE void resolve(Area& area, const TileExtents& extents, int64_t width, int64_t height, AggScratch& s,
                               uint8_t* out) {
  area.flush();
  std::memset(out, 0, static_cast<size_t>(width * height));
  s.sums.assign(static_cast<size_t>(area.stride), 0.0f);
  for (int64_t left = 0; left < width; left += kTile) {
    const int64_t columns = std::min(kTile, width - left), tile = left / kTile;
    const float above = max(extents.top[tile], 0.0f), below = min(extents.bottom[tile], area.height);
    if (!(above < below)) continue;
    for (int64_t row = static_cast<int64_t>(above) / kTile * kTile; static_cast<float>(row) < below; row += kTile) {
      uint8_t level[kTile][kTile] = {}, turned[kTile][kTile];
      for (int64_t part = 0; part < kTile; part += kLanes) {
        Float sum = load(s.sums.data() + row + part);
        for (int64_t c = 0; c < columns; ++c) {
          float* cell = area.cell + (left + c) * area.stride + row + part;
          sum += load(cell);
          store(cell, Float{});
          store_bytes(level[c] + part, convert_to_int(agg_level(sum)));
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
  // Edges at the right border have added to the two columns beyond it.
  std::memset(area.cell + width * area.stride, 0, static_cast<size_t>(2 * area.stride) * sizeof(float));
}

// Tells whether a line needs no clipping, because it is drawable throughout, exceeds the image by one pixel at most,
// and has increasing x.
SPECTROMER_INLINE bool is_whole(const Canvas& canvas, const float* x, const float* y, int64_t points) {
  const float right = static_cast<float>(canvas.width + 1), bottom = static_cast<float>(canvas.height + 1);
  bool whole = points > 1;
  for (int64_t i = 0; i < points && whole; i += kLanes) {
    const Float at = load_partial(x, i, points), height = load_partial(y, i, points);
    const Mask inside = le(splat(-1.0f), min(at, height)) & le(at, splat(right)) & le(height, splat(bottom));
    const Mask last =
        mask_from_bits(i + kLanes >= points ? ~0u << (points - 1 - i) : 0u);  // the last point, and lanes beyond it
    whole = all_true(inside & (lt(at, load_partial(x, i + 1, points)) | last));
  }
  return whole;
}

// Draws one line.
inline void draw_stroke(const Canvas& canvas, const float* x, const float* y, int64_t points, uint8_t* out,
                        AggScratch& s) {
  const StrokeShape shape(canvas.linewidth);
  const int64_t stride = (canvas.height + kTile - 1) / kTile * kTile, tiles = (canvas.width + kTile - 1) / kTile;
  const size_t cells = static_cast<size_t>((canvas.width + 2) * stride);
  if (s.area.size() < cells) s.area.assign(cells, 0.0f);
  s.tile_bottom.assign(static_cast<size_t>(tiles), -INFINITY);
  s.tile_top.assign(static_cast<size_t>(tiles), INFINITY);
  const TileExtents extents{s.tile_bottom.data(), s.tile_top.data(), tiles};
  s.waiting.resize(Area::kRoom);
  Area area(s.area.data(), stride, canvas.height, canvas.width, s.waiting.data());
  if (is_whole(canvas, x, y, points)) {
    add_stroke(shape, x, y, points, s, area, extents);
    resolve(area, extents, canvas.width, canvas.height, s, out);
    return;
  }
  s.x.resize(static_cast<size_t>(2 * points));
  s.y.resize(static_cast<size_t>(2 * points));
  s.pieces.resize(static_cast<size_t>(points + 1));
  int64_t count = 0, pieces = 0;
  visit_pieces(x, y, points, canvas.width, canvas.height, [&](float px, float py, bool starts) {
    if (starts) s.pieces[pieces++] = count;
    if (!starts && px == s.x[count - 1] && py == s.y[count - 1]) return;  // nothing is left of the segment
    s.x[count] = px;
    s.y[count++] = py;
  });
  s.pieces[pieces] = count;
  for (int64_t piece = 0; piece < pieces; ++piece) {
    const int64_t begin = s.pieces[piece], length = s.pieces[piece + 1] - begin;
    if (length > 1) add_stroke(shape, s.x.data() + begin, s.y.data() + begin, length, s, area, extents);
  }
  resolve(area, extents, canvas.width, canvas.height, s, out);
}

}  // namespace spectromer::SPECTROMER_TARGET
SPECTROMER_END_TARGET;

#endif
