// Lines as Anti-Grain Geometry draws them, in a strip of an image. See core/agg.h.
//
// An edge of the outline leaves in each row, in the cell it crosses, the area to its right, and in the next cell the rest
// of what it covers of the row: differences along the row, whose prefix sum is the winding integral. In one column that
// area is linear from row to row. So cells hold second differences down the column, and an edge takes six of them in each
// of two columns, however many rows it crosses.
#pragma once

#include "../core/agg.h"
#include "strip.cuh"

namespace spectromer {

constexpr int kAggColumns = kWarp + 1;        // the last one is never shown
constexpr float kWholeArea = 1 << 20;         // of a cell; sums are whole numbers, so that their order does not matter

struct AggLayout {
  Reserved cells;    // [groups of rows and one more, 16, 33] zeros between strips
  Reserved touched;  // as of a StripLayout
  Reserved sums;     // [2, 2, warps, 32]

  void reserve(SharedLayout& layout, int rows, int warps) {
    cells = layout.reserve<int>(int64_t{StripLayout::groups(rows + 2)} * kGroupRows * kAggColumns);
    touched = layout.reserve<unsigned>(int64_t{2} * warps);
    sums = layout.reserve<int>(int64_t{4} * warps * kWarp);
  }
};

// One segment of a line as AGG takes it.
struct Stroke {
  Stretch at;
  float ux, uy, length;
  bool broken;   // nothing is drawn, and the line ends before it
  bool skipped;  // nothing is drawn, but the line goes on
};

// Outside of [begin, end) the line is broken.
template <class X, class Y>
__device__ Stroke stroke_of(X x, Y y, int i, int begin, int end, int width, int height) {
  Stroke s{};
  s.broken = true;
  if (i < begin || i >= end) return s;
  const float x0 = x[i], y0 = y[i], x1 = x[i + 1], y1 = y[i + 1];
  s.broken = !drawable(y0) || !drawable(y1);
  s.skipped = !s.broken && x0 == x1 && y0 == y1;
  if (s.broken || s.skipped) return s;
  s.at = clip_segment(x0, y0, x1, y1, width, height);
  const float dx = s.at.x1 - s.at.x0, dy = s.at.y1 - s.at.y0;
  s.length = sqrtf(dx * dx + dy * dy);
  s.broken = !s.at.drawn;
  s.skipped = s.at.drawn && s.length == 0.0f;
  if (s.length > 0.0f) s.ux = dx / s.length, s.uy = dy / s.length;
  return s;
}

class AggStrip {
 public:
  int column = 0;  // of the first lane
  int rows = 0;    // drawn at a time
  int top = 0;     // row of the canvas at which they begin

  __device__ explicit AggStrip(const AggLayout& layout) : l_(layout), touched_(layout.touched) {}

  // Before the first strip; the caller waits for the block.
  __device__ void clear() const {
    const Shared<int> cells = shared_at<int>(l_.cells);
#pragma unroll 1
    for (int i = thread_index(); i < l_.cells.bytes / static_cast<int>(sizeof(int)); i += block_threads()) cells[i] = 0;
  }

  // Adds the outline of what a line has near the strip: a lane for each segment, which draws both its sides and what lies
  // between it and the next. The part has ends of its own, which lie too far off to be seen. Of the canvas' `height` rows, `shown` are
  // drawn from `top` on, beginning with row `first` of the strip. Returns the groups that the lane touches.
  template <class X, class Y>
  __device__ __forceinline__ unsigned add_line(X x, Y y, int points, const StrokeShape& shape, int width, int height, int first, float shown) const {
    const float reach = 2.0f * shape.half + 1.0f;
    const int nearest = first_point(x, points, static_cast<float>(column), reach);
    const int farthest = first_point(x, points, static_cast<float>(column + kWarp), -reach);
    const int begin = nearest > 0 ? nearest - 1 : 0, end = farthest + 2 < points - 1 ? farthest + 2 : points - 1;
    unsigned touched = 0;
    constexpr int kEach = kWarp - 2;  // the first and the last lane only tell their neighbours
#pragma unroll 1
    for (int base = begin + warp_index() * kEach; base < end; base += block_warps() * kEach) {
      const int i = base - 1 + lane_index();
      touched |= add_segment(x, y, i, lane_index() > 0 && lane_index() <= kEach, begin, end, shape, width, height, first, shown);
    }
    return touched;
  }

  // Each warp says once a strip what groups it has touched.
  __device__ __forceinline__ void touch(unsigned groups) const { touched_.note(groups); }

  // As Strip::put_levels.
  template <class Rows>
  __device__ __forceinline__ void put_levels(const Rows& to) {
    __syncthreads();
    const unsigned touched = touched_.take();
    put_blank_groups(touched, rows, to);
    const int groups = __popc(touched);
    int slope = 0, height = 0;  // of the column where the groups taken so far end
#pragma unroll 1
    for (int done = 0; done < groups; done += block_warps()) {
      const int group = nth_bit(touched, done + warp_index());
      const Shared<int> sums = shared_at<int>(l_.sums) + (parity_ * 2 * block_warps() * kWarp + lane_index());
      int value[kGroupRows];
      if (group >= 0) {
        take(group, value, sums + warp_index() * 2 * kWarp);
      } else {  // set on all ways, or the compiler keeps room for it everywhere
#pragma unroll
        for (int row = 0; row < kGroupRows; ++row) value[row] = 0;
      }
      __syncthreads();
      const int here = groups - done < block_warps() ? groups - done : block_warps(), own = warp_index() < here ? warp_index() : here;
      const auto pass = [&](int from, int to) {
#pragma unroll 1
        for (int warp = from; warp < to; ++warp) {
          height += kGroupRows * slope + sums[(warp * 2 + 1) * kWarp];
          slope += sums[warp * 2 * kWarp];
        }
      };
      pass(0, own);
      if (group >= 0) put_group(group, slope, height, value, to);
      pass(own, here);
      parity_ ^= 1;
    }
    __syncthreads();
  }

 private:
  struct Vertex {
    float x, y;
  };

  // What a side of the outline goes through where a segment ends: the corners of a join, or that of a cap.
  struct End {
    one_lane::Join join;
    float x, y;
    bool capped;
    Cap cap;

    __device__ bool single(float side) const { return side * join.turn > 0.0f ? join.mitred : join.straight; }

    __device__ int corners(float side) const {
      if (capped || single(side)) return 1;
      return side * join.turn > 0.0f ? 2 : 2 + static_cast<int>(join.steps);
    }

    __device__ Vertex last(float side) const {
      if (capped) return side > 0.0f ? Vertex{cap.left_x, cap.left_y} : Vertex{cap.right_x, cap.right_y};
      const bool one = single(side);
      return Vertex{one_lane::snapped(x + side * (one ? join.mx : join.n2x)), one_lane::snapped(y + side * (one ? join.my : join.n2y))};
    }
  };

  template <class X, class Y>
  __device__ __forceinline__ unsigned add_segment(X x, Y y, int i, bool own, int begin, int end, const StrokeShape& shape, int width,
                                                  int height, int first, float shown) const {
    const Stroke s = stroke_of(x, y, i, begin, end, width, height);
    const auto neighbour = [&](int step) {
      Stroke other = stroke_of(x, y, i + step, begin, end, width, height);
      for (int j = i + 2 * step; other.skipped; j += step) other = stroke_of(x, y, j, begin, end, width, height);
      return other;
    };
    const auto end_of = [&](const Stroke& a, const Stroke& b) {
      const bool capped = b.broken || b.at.cut;
      const Cap cap = make_cap(a.at.x1, a.at.y1, shape.half * a.uy, -shape.half * a.ux, false);
      return End{one_lane::Join(shape, a.ux, a.uy, a.length, b.ux, b.uy, b.length), a.at.x1, a.at.y1, capped, cap};
    };
    // The next segment is the next lane's, and the sides go on from where the lane before has left them.
    const bool plain = !__any_sync(kAllLanes, s.skipped);
    Stroke after = s;
    after.ux = __shfl_down_sync(kAllLanes, s.ux, 1);
    after.uy = __shfl_down_sync(kAllLanes, s.uy, 1);
    after.length = __shfl_down_sync(kAllLanes, s.length, 1);
    after.broken = __shfl_down_sync(kAllLanes, s.broken ? 1 : 0, 1) != 0;
    after.at.cut = __shfl_down_sync(kAllLanes, s.at.cut ? 1 : 0, 1) != 0;
    const bool before_broken = __shfl_up_sync(kAllLanes, s.broken ? 1 : 0, 1) != 0;
    if (!plain) after = neighbour(1);
    const End here = end_of(s, after);
    Vertex left = here.last(1.0f), right = here.last(-1.0f);
    left = Vertex{__shfl_up_sync(kAllLanes, left.x, 1), __shfl_up_sync(kAllLanes, left.y, 1)};
    right = Vertex{__shfl_up_sync(kAllLanes, right.x, 1), __shfl_up_sync(kAllLanes, right.y, 1)};
    bool starts = before_broken || s.at.cut;
    if (!plain) {
      const Stroke before = neighbour(-1);
      starts = before.broken || s.at.cut;
      const End its = end_of(before, s);
      left = its.last(1.0f), right = its.last(-1.0f);
    }
    if (starts) {
      const Cap cap = make_cap(s.at.x0, s.at.y0, shape.half * s.uy, -shape.half * s.ux, true);
      left = Vertex{cap.left_x, cap.left_y}, right = Vertex{cap.right_x, cap.right_y};
    }
    const bool drawn = own && !s.broken && !s.skipped;
    const int lefts = here.corners(1.0f), sides = lefts + here.corners(-1.0f);
    const int edges = drawn ? sides + (starts ? 1 : 0) + (here.capped ? 1 : 0) : 0;
    const Vertex begin_left = left, begin_right = right, end_left = here.last(1.0f), end_right = here.last(-1.0f);
    unsigned touched = 0;
    Vertex from = left;
    float nx = 0.0f, ny = 0.0f;
#pragma unroll 1
    for (int e = 0; __any_sync(kAllLanes, e < edges); ++e) {
      if (e >= edges) continue;
      const bool on_right = e >= lefts;
      const float side = on_right ? -1.0f : 1.0f;
      const int corner = on_right ? e - lefts : e, corners = on_right ? sides - lefts : lefts;
      if (e == lefts) from = begin_right;
      Vertex to;
      if (e >= sides) {  // what closes the outline at its two ends
        const bool opening = starts && e == sides;
        from = opening ? begin_right : end_left;
        to = opening ? begin_left : end_right;
      } else if (corner + 1 == corners) {
        to = here.last(side);
      } else {
        if (corner == 0) {
          nx = side * here.join.n1x, ny = side * here.join.n1y;
        } else {
          const float turned = nx * here.join.cosine - side * ny * here.join.sine;
          ny = ny * here.join.cosine + side * nx * here.join.sine;
          nx = turned;
        }
        to = Vertex{one_lane::snapped(here.x + nx), one_lane::snapped(here.y + ny)};
      }
      const bool turned_round = on_right && e < sides;
      touched |= turned_round ? add_edge(to, from, first, shown) : add_edge(from, to, first, shown);
      from = to;
    }
    return touched;
  }

  // Adds an edge, in pixels of the canvas; returns the groups of rows that it touches.
  __device__ __forceinline__ unsigned add_edge(Vertex a, Vertex b, int first, float shown) const {
    const float y0 = a.y - static_cast<float>(top), y1 = b.y - static_cast<float>(top);
    const float from = larger(smaller(y0, y1), 0.0f), to = smaller(larger(y0, y1), shown);
    if (!(from < to)) return 0;
    const float sign = y0 < y1 ? kWholeArea : -kWholeArea, slope = (b.x - a.x) / (y1 - y0);
    const float shift = a.x - static_cast<float>(column);
    const float x0 = shift + slope * (from - y0), x1 = shift + slope * (to - y0);
    const float low = smaller(x0, x1), high = larger(x0, x1);
    if (!(low < static_cast<float>(kWarp))) return 0;
    // What lies left of the strip counts as if it lay on its border.
    constexpr float kBorder = -1.0f, kLast = kWarp - 1;
    const int last = static_cast<int>(floorf(clamped(high, kBorder, kLast)));
    int c = static_cast<int>(floorf(clamped(low, kBorder, kLast)));
    const float per_x = 1.0f / slope;
    const auto at = [&](int border) { return clamped(from + (static_cast<float>(border) - x0) * per_x, from, to); };
#pragma unroll 1
    for (; c <= last; ++c) {
      const float origin = static_cast<float>(c < 0 ? 0 : c);
      float begin = from, end = to;
      if (c >= 0 && low < static_cast<float>(c)) (slope > 0.0f ? begin : end) = at(c);
      if (high > static_cast<float>(c + 1)) (slope > 0.0f ? end : begin) = at(c + 1);
      if (!(begin < end)) continue;
      const float f0 = clamped(x0 + slope * (begin - from) - origin, 0.0f, 1.0f);
      const float f1 = clamped(x0 + slope * (end - from) - origin, 0.0f, 1.0f);
      add_piece(shared_at<int>(l_.cells) + (first * kAggColumns + (c < 0 ? 0 : c)), begin, end, c < 0 ? 0.0f : f0, c < 0 ? 0.0f : f1, c < 0 ? 0.0f : slope, sign);
    }
    return rows_mask(first + static_cast<int>(from), first + static_cast<int>(to) + 2);
  }

  static __device__ __forceinline__ int whole(float area) { return static_cast<int>(floorf(area + 0.5f)); }

  // Adds to one column, and the one to its right, what an edge within it leaves from y = begin to y = end, where its x
  // goes from f0 to f1 of the column's width.
  static __device__ __forceinline__ void add_piece(Shared<int> cell, float begin, float end, float f0, float f1, float slope, float sign) {
    const int top = static_cast<int>(begin);
    int bottom = static_cast<int>(end);
    if (static_cast<float>(bottom) == end) --bottom;
    cell = cell + top * kAggColumns;
    if (top == bottom) {
      const float covered = sign * (end - begin);
      const int all = whole(covered), right = whole(covered * (1.0f - 0.5f * (f0 + f1)));
      add_three(cell, right, -2 * right, right);
      add_three(cell + 1, all - right, -2 * (all - right), all - right);
      return;
    }
    // Part of the first row, whole rows, part of the last.
    const float upper = static_cast<float>(top + 1) - begin, lower = end - static_cast<float>(bottom);
    const float inner0 = f0 + slope * upper, inner1 = f1 - slope * lower;
    const int all_upper = whole(sign * upper), all_lower = whole(sign * lower), all = sign > 0.0f ? 1 << 20 : -(1 << 20);
    const int p = whole(sign * upper * (1.0f - 0.5f * (f0 + inner0)));
    const int q = whole(sign * lower * (1.0f - 0.5f * (inner1 + f1)));
    const int rows = bottom - top - 1;
    // The area of whole row k is begins - k * step; what rounding the step leaves is shared by both ends.
    const float exact = rows > 0 ? sign * slope : 0.0f;
    const int step = whole(exact);
    const float middle = sign * (1.0f - inner0) - 0.5f * exact;  // of the first whole row
    const int begins = rows > 0 ? whole(middle - 0.5f * static_cast<float>(rows - 1) * (exact - static_cast<float>(step))) : 0;
    const int ends = begins - (rows - 1) * step;
    add_three(cell, p, begins - 2 * p, p - begins - step);
    add_three(cell + 1, all_upper - p, all - begins - 2 * (all_upper - p), all_upper - p - (all - begins) + step);
    const Shared<int> below = cell + (bottom - top) * kAggColumns;
    add_three(below, q - ends + step, ends - 2 * q, q);
    add_three(below + 1, all_lower - q - (all - ends) - step, all - ends - 2 * (all_lower - q), all_lower - q);
  }

  static __device__ __forceinline__ void add_three(Shared<int> cell, int a, int b, int c) {
    atomicAdd(cell, a);
    atomicAdd(cell + kAggColumns, b);
    atomicAdd(cell + 2 * kAggColumns, c);
  }

  // A group's second differences, and what they come to at its end by themselves: the slope, then the height.
  __device__ __forceinline__ void take(int group, int* value, Shared<int> sums) const {
    const Shared<int> cell = shared_at<int>(l_.cells) + (group * kGroupRows * kAggColumns + lane_index());
    int slope = 0, height = 0;
#pragma unroll
    for (int row = 0; row < kGroupRows; ++row) {
      value[row] = cell[row * kAggColumns];
      slope += value[row];
      height += slope;
    }
    sums[0] = slope;
    sums[kWarp] = height;
  }

  // Sums down the columns, then along the rows: two lanes for each row.
  template <class Rows>
  __device__ __forceinline__ void put_group(int group, int slope, int height, const int* value, const Rows& to) const {
    const Shared<int> cell = shared_at<int>(l_.cells) + group * kGroupRows * kAggColumns;
#pragma unroll
    for (int row = 0; row < kGroupRows; ++row) {
      slope += value[row];
      height += slope;
      cell[row * kAggColumns + lane_index()] = height;
    }
    __syncwarp();
    const int own_row = lane_index() / 2, half = lane_index() % 2;
    const Shared<int> along = cell + (own_row * kAggColumns + half * kPiece);
    int area[kPiece], sum = 0;
#pragma unroll
    for (int i = 0; i < kPiece; ++i) {
      area[i] = along[i];
      sum += area[i];
      along[i] = 0;
    }
    if (half == 1) along[kPiece] = 0;
    const int left = __shfl_up_sync(kAllLanes, sum, 1);
    sum = half == 1 ? left : 0;
    unsigned words[4] = {};
#pragma unroll
    for (int i = 0; i < kPiece; ++i) {
      sum += area[i];
      const int level = static_cast<int>(one_lane::agg_level(static_cast<float>(sum) * (1.0f / kWholeArea)));
      words[i / 4] |= static_cast<unsigned>(level) << (i % 4 * 8);
    }
    const int row = group * kGroupRows + own_row;
    if (row < rows) to.put(row, half, make_uint4(words[0], words[1], words[2], words[3]));
  }

  const AggLayout& l_;
  TouchedGroups touched_;
  int parity_ = 0;
};

}  // namespace spectromer
