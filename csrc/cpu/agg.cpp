// The stroke as matplotlib draws it, on the CPU: joins side by side in vector lanes, then edge by edge, each into the
// columns that it crosses, whose rows lie one behind the other.
#include "vector8.h"

#include "../core/agg.h"

#include <algorithm>

#include "raster.h"

namespace spectromer {
namespace {

constexpr int64_t kTile = 16;  // columns brought together for the image

// Signed area of the outline's cells, as differences from column to column: their prefix sum is the winding integral.
struct Area {
  float* cell;     // [width + 2, stride]
  int64_t stride;  // rows, up to a multiple of kLanes
  float height, width;

  // What a piece of an edge leaves that lies in one column: from (x, top) to y = bottom, x growing by `slope` a row.
  SPECTROMER_INLINE void add_piece(int64_t column, float x, float top, float bottom, float slope, float sign) {
    const Float8 ramp = {0.0f, 1.0f, 2.0f, 3.0f, 4.0f, 5.0f, 6.0f, 7.0f};
    const int64_t first = static_cast<int64_t>(top) / kLanes * kLanes;
    float* here = cell + column * stride;
    float* next = here + stride;
    x -= static_cast<float>(column);
    for (int64_t block = first; static_cast<float>(block) < bottom; block += kLanes) {
      const Float8 row = static_cast<float>(block) + ramp, below = row + 1.0f;
      const Float8 from = row > top ? row : top - Float8{}, to = below < bottom ? below : bottom - Float8{};
      Float8 part = to - from;
      part = sign * (part > 0.0f ? part : Float8{});
      const Float8 right = part * (x + slope * (0.5f * (from + to) - top));
      store8(here + block, load8(here + block) + (part - right));
      store8(next + block, load8(next + block) + right);
    }
  }

  // An edge from (x, y) down to (x1, y1) within 0 <= x <= width, 0 <= y <= height, column by column.
  SPECTROMER_INLINE void add_inside(float x, float y, float x1, float y1, float slope, float sign) {
    const int64_t last = static_cast<int64_t>(x1);
    int64_t column = static_cast<int64_t>(x);
    const int64_t step = column < last ? 1 : -1;
    const float x0 = x, y0 = y, per_column = (y1 - y0) / (x1 - x0);
    for (;; column += step) {
      const float border = static_cast<float>(step > 0 ? column + 1 : column);
      const float end = column == last ? y1 : smaller(larger(y0 + (border - x0) * per_column, y), y1);
      add_piece(column, x, y, end, slope, sign);
      if (column == last) return;
      x = border;
      y = end;
    }
  }

  // An edge of the image's height that leaves it at the left or right: what lies left of it counts at its border, what
  // lies right of it not at all.
  SPECTROMER_INLINE void add_across(float from, float top, float to, float bottom, float slope, float sign) {
    const float x0 = from, y0 = top;
    const auto y_at = [&](float x) SPECTROMER_INLINE_LAMBDA { return clamped(y0 + (x - x0) / slope, top, bottom); };
    if (larger(from, to) > width) {
      if (smaller(from, to) > width) return;
      const float at = y_at(width);
      (from > width ? top : bottom) = at;
      (from > width ? from : to) = width;
    }
    if (smaller(from, to) < 0.0f) {
      const bool outside = larger(from, to) < 0.0f, enters = from < to;
      const float at = outside ? (enters ? bottom : top) : y_at(0.0f);
      add_piece(0, 0.0f, enters ? top : at, enters ? at : bottom, 0.0f, sign);
      if (outside) return;
      (enters ? top : bottom) = at;
      (enters ? from : to) = 0.0f;
    }
    add_inside(from, top, to, bottom, slope, sign);
  }

  // Eight edges from (x0, y0) to (x1, y1).
  SPECTROMER_INLINE void add_edges(const Float8& x0, const Float8& y0, const Float8& x1, const Float8& y1) {
    const Int8 down = y0 < y1;
    const Float8 upper_x = down ? x0 : x1, upper_y = down ? y0 : y1, lower_x = down ? x1 : x0, lower_y = down ? y1 : y0;
    const Float8 slope = (lower_x - upper_x) / (lower_y - upper_y);
    const Float8 top = upper_y > 0.0f ? upper_y : Float8{}, bottom = lower_y < height ? lower_y : height - Float8{};
    const Float8 from = upper_y < 0.0f ? upper_x - slope * upper_y : upper_x;
    const Float8 to = lower_y > height ? upper_x + slope * (height - upper_y) : lower_x;
    const Int8 first = __builtin_convertvector(from, Int8), last = __builtin_convertvector(to, Int8);
    const Int8 inside = (from >= 0.0f) & (to >= 0.0f) & (from <= width) & (to <= width);
    const Int8 in_column = inside & (first == last), drawn = top < bottom;
    for (int k = 0; k < kLanes; ++k) {
      if (drawn[k] == 0) continue;
      const float sign = down[k] != 0 ? 1.0f : -1.0f;
      if (in_column[k] != 0) {
        add_piece(first[k], from[k], top[k], bottom[k], slope[k], sign);
      } else if (inside[k] != 0) {
        add_inside(from[k], top[k], to[k], bottom[k], slope[k], sign);
      } else {
        add_across(from[k], top[k], to[k], bottom[k], slope[k], sign);
      }
    }
  }
};

// Edges that wait to be added.
struct Edges {
  static constexpr int kCoordinates = 4;  // x0, y0, x1, y1
  float* values;                          // [kCoordinates, room], room for kLanes more than there are
  int64_t room;
  int64_t count = 0;

  SPECTROMER_INLINE void operator()(float x0, float y0, float x1, float y1) {
    const float edge[kCoordinates] = {x0, y0, x1, y1};
    for (int c = 0; c < kCoordinates; ++c) values[c * room + count] = edge[c];
    ++count;
  }

  SPECTROMER_INLINE void add_to(Area& area) {
    for (int c = 0; c < kCoordinates; ++c) store8(values + c * room + count, Float8{});  // of no height
    for (int64_t i = 0; i < count; i += kLanes) {
      const float* edge = values + i;
      area.add_edges(load8(edge), load8(edge + room), load8(edge + 2 * room), load8(edge + 3 * room));
    }
    count = 0;
  }
};

// The stroke of one unbroken line of at least two points, none of them like the one before.
SPECTROMER_INLINE void add_stroke(const StrokeShape& shape, const float* x, const float* y, int64_t points,
                                  RasterScratch& s, Area& area) {
  // Directions and lengths of the segments, padded so that lanes may run over.
  const size_t room = static_cast<size_t>(points + 2 * kLanes);
  for (auto* table : {&s.slope, &s.peak, &s.drop}) table->resize(room);
  float *ux = s.slope.data(), *uy = s.peak.data(), *length = s.drop.data();
  for (int64_t i = 0; i + 1 < points; ++i) {
    const float dx = x[i + 1] - x[i], dy = y[i + 1] - y[i];
    length[i] = sqrtf(dx * dx + dy * dy);
    ux[i] = dx / length[i];
    uy[i] = dy / length[i];
  }
  for (int64_t i = points - 1; i < points + kLanes; ++i) ux[i] = 1.0f, uy[i] = 0.0f, length[i] = 1.0f;

  // Those of kLanes joins, two sides each, or of a cap.
  const int64_t most = 2 * (kLanes + 1) * (3 + static_cast<int64_t>(3.15f / shape.arc)) + kLanes;
  s.outline.resize(static_cast<size_t>(Edges::kCoordinates * most));
  Edges edges{s.outline.data(), most};
  const Cap start = make_cap(x[0], y[0], shape.half * uy[0], -shape.half * ux[0], true);
  edges(start.right_x, start.right_y, start.left_x, start.left_y);
  OutlineSide<Edges> left{edges, false, start.left_x, start.left_y}, right{edges, true, start.right_x, start.right_y};
  for (int64_t begin = 1; begin + 1 < points; begin += kLanes) {
    const int64_t i = begin - 1;
    const Join<Float8, Int8> joins(shape, load8(ux + i), load8(uy + i), load8(length + i), load8(ux + i + 1),
                                   load8(uy + i + 1), load8(length + i + 1),
                                   [](const Float8& v) SPECTROMER_INLINE_LAMBDA { return root(v); });
    const int64_t count = std::min<int64_t>(kLanes, points - 1 - begin);
    for (int64_t k = 0; k < count; ++k) {
      const Join<float, bool> join(joins, static_cast<int>(k));
      visit_join(join, x[begin + k], y[begin + k], 1.0f,
                 [&](float px, float py) SPECTROMER_INLINE_LAMBDA { left.add(px, py); });
      visit_join(join, x[begin + k], y[begin + k], -1.0f,
                 [&](float px, float py) SPECTROMER_INLINE_LAMBDA { right.add(px, py); });
    }
    edges.add_to(area);
  }
  const int64_t n = points - 1;
  const Cap end = make_cap(x[n], y[n], shape.half * uy[n - 1], -shape.half * ux[n - 1], false);
  left.add(end.left_x, end.left_y);
  right.add(end.right_x, end.right_y);
  edges(end.left_x, end.left_y, end.right_x, end.right_y);
  edges.add_to(area);
}

// Sums the columns from left to right and brings the levels to the image.
SPECTROMER_INLINE void resolve(const Area& area, int64_t width, int64_t height, RasterScratch& s, uint8_t* out) {
  s.sums.assign(static_cast<size_t>(area.stride), 0.0f);
  s.tile.resize(static_cast<size_t>(area.stride * kTile));
  float* sum = s.sums.data();
  for (int64_t left = 0; left < width; left += kTile) {
    const int64_t columns = std::min(kTile, width - left);
    for (int64_t c = 0; c < columns; ++c) {
      const float* cell = area.cell + (left + c) * area.stride;
      uint8_t* level = s.tile.data() + c * area.stride;
      for (int64_t row = 0; row < area.stride; ++row) {
        sum[row] += cell[row];
        level[row] = agg_level(sum[row]);
      }
    }
    for (int64_t row = 0; row < height; ++row) {
      uint8_t* to = out + row * width + left;
      for (int64_t c = 0; c < columns; ++c) to[c] = s.tile[static_cast<size_t>(c * area.stride + row)];
    }
  }
}

SPECTROMER_WIDE void draw_stroke(const Canvas& canvas, const float* x, const float* y, int64_t points, uint8_t* out,
                                 RasterScratch& s) {
  const StrokeShape shape(canvas.linewidth);
  const int64_t stride = (canvas.height + kLanes - 1) / kLanes * kLanes;
  s.area.assign(static_cast<size_t>((canvas.width + 2) * stride), 0.0f);
  Area area{s.area.data(), stride, static_cast<float>(canvas.height), static_cast<float>(canvas.width)};
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
    if (length > 1) add_stroke(shape, s.other.data() + begin, s.y.data() + begin, length, s, area);
  }
  resolve(area, canvas.width, canvas.height, s, out);
}

}  // namespace

void draw_agg(const Canvas& canvas, const float* x, const float* y, int64_t points, uint8_t* out,
              RasterScratch& scratch) {
  draw_stroke(canvas, x, y, points, out, scratch);
}

}  // namespace spectromer
