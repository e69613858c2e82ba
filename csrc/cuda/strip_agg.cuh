// Lines as drawn by Anti-Grain Geometry, in a strip of an image. See core/agg.h.
//
// In each row that an edge of the outline crosses, the cell with the edge gets the area to the right of the edge, and
// the next cell gets the rest of the row's height. These are differences along the row, whose prefix sum is the winding
// integral. Within one column, the area is linear from row to row. So cells hold second differences down the column,
// and an edge changes six of them in each of two columns, regardless of the number of rows that it crosses.
#pragma once

#include "outline.cuh"
#include "strip.cuh"

namespace spectromer {

constexpr int kAggColumns = kWarp + 1;  // the last one is never shown
// The sum of a fully covered cell. Sums are whole numbers, so that their order does not matter. The sums of 4096
// strokes in one cell overflow.
constexpr float kWholeArea = 1 << 20;

struct AggLayout {
  float right, bottom;  // one pixel beyond the canvas
  int groups;           // groups of the rows that are drawn at a time, and of two more rows
  Reserved cells;       // [groups, 16, 33] zeros between strips
  Reserved touched;     // as in StripLayout
  Reserved sums;        // [2, 2, warps, 32]
  Reserved queue;       // [warps, 64]

  void reserve(SharedLayout& layout, int64_t width, int64_t height, int rows, int warps) {
    right = static_cast<float>(width + 1), bottom = static_cast<float>(height + 1);
    groups = (rows + 2) / kGroupRows + 1;
    cells = layout.reserve<int>(int64_t{groups} * kGroupRows * kAggColumns);
    touched = layout.reserve<RowRange>(warps);
    sums = layout.reserve<int>(int64_t{4} * warps * kWarp);
    queue = layout.reserve<Edge>(int64_t{warps} * EdgeQueue::kRoom);
  }
};

class AggStrip {
 public:
  __device__ explicit AggStrip(const AggLayout& layout) : l_(layout) {}

  // Zeroes the cells before the first strip. The caller must synchronise the block afterwards.
  __device__ void clear() const {
    const Shared<int> cells = shared_at<int>(l_.cells);
#pragma unroll 1
    for (int i = thread_index(); i < l_.cells.bytes / static_cast<int>(sizeof(int)); i += block_threads()) cells[i] = 0;
  }

  // Adds the outline of a line, with coordinates relative to the strip's first pixel. Edges right of the strip do not
  // affect it, but edges left of it do. `shown` rows are drawn, from row `first` of the strip on.
  template <class X, class Y>
  __device__ __forceinline__ void add_line(const OutlinedLine<X, Y>& line, int first, float shown,
                                           RowRange& touched) const {
    draw_outline(line, l_.queue, [&](Edge& edge) { return add_edge(edge, first, shown, touched); });
  }

  __device__ __forceinline__ void touch(const RowRange& touched) const { note_rows(l_.touched, touched); }

  // As Strip::put_levels.
  template <class RowWriter>
  __device__ __forceinline__ void put_levels(int rows, const RowWriter& to) const {
    __syncthreads();
    const GroupOrder groups = touched_groups(l_.touched, l_.groups);
    int slope = 0, height = 0;  // first difference and value of the column at the end of the groups taken so far
    int done = 0;
    do {
      const int n = done + warp_index(), group = groups.nth(n);
      // The sums of two consecutive rounds are stored separately.
      const Shared<int> sums = shared_at<int>(l_.sums) + ((done & block_warps()) * 2 * kWarp + lane_index());
      const auto pass = [&](int from, int to) {
#pragma unroll 1
        for (int warp = from; warp < to; ++warp) {
          height += kGroupRows * slope + sums[(warp * 2 + 1) * kWarp];
          slope += sums[warp * 2 * kWarp];
        }
      };
      const bool more = done + block_warps() < groups.touched;
      if (n < groups.touched) {
        int value[kGroupRows];
        take(group, value, sums + warp_index() * 2 * kWarp);
        block_barrier();
        pass(0, warp_index());
        put_group(group, slope, height, value, rows, to);
        if (more) pass(warp_index(), block_warps());
      } else {
        if (done == 0 || done < groups.touched) block_barrier();
        if (n < groups.count) put_blank_group(group, rows, to);
      }
    } while ((done += block_warps()) < groups.count);
    __syncthreads();
  }

 private:
  // Adds an edge, which is not horizontal, to the first column that it crosses from above. Returns whether it continues
  // in another column, and then replaces `edge` by the remaining part.
  __device__ __forceinline__ bool add_edge(Edge& edge, int first, float shown, RowRange& touched) const {
    constexpr float kBefore = -1.0f, kBehind = kWarp;  // represent all columns on either side
    const float y0 = edge.from.y, y1 = edge.to.y;
    const float begin = max(min(y0, y1), 0.0f), end = min(max(y0, y1), shown);
    if (!(begin < end)) return false;
    const bool downwards = y0 < y1;
    const float width = edge.to.x - edge.from.x, slope = width * reciprocal(y1 - y0);
    // An end that is not clipped is used unchanged, so that the rest of an edge begins exactly on a column's border.
    const Vertex top = downwards ? edge.from : edge.to;
    const float x0 = top.y == begin ? top.x : top.x + slope * (begin - top.y), x1 = edge.from.x + slope * (end - y0);
    if (!(min(x0, x1) < kBehind)) return false;
    // From (x0, begin) down to (x1, end), or to the border of the column.
    const bool rightwards = slope > 0.0f;
    float column = floorf(clamp(x0, kBefore, kBehind));
    if (!rightwards && x0 == column && x1 < x0 && column > kBefore) column -= 1.0f;
    const float border = rightwards ? column + 1.0f : column;
    const bool goes_on = rightwards ? x1 > border && column < kBehind : x1 < border && column > kBefore;
    const float crossing = y0 + (border - edge.from.x) * ((y1 - y0) * reciprocal(width));
    const float bottom = goes_on ? clamp(crossing, begin, end) : end, next = goes_on ? border : x1;
    if (column < kBehind && begin < bottom) {
      // Edges left of the strip are moved to its border.
      const bool before = column < 0.0f;
      const float f0 = before ? 0.0f : clamp(x0 - column, 0.0f, 1.0f),
                  f1 = before ? 0.0f : clamp(next - column, 0.0f, 1.0f);
      const Shared<int> cell =
          shared_at<int>(l_.cells) + (first * kAggColumns + (before ? 0 : static_cast<int>(column)));
      add_piece(cell, begin, bottom, f0, f1, before ? 0.0f : slope, downwards ? kWholeArea : -kWholeArea);
      touched.widen(first + static_cast<int>(begin), first + static_cast<int>(bottom) + 2);
    }
    (downwards ? edge.from : edge.to) = Vertex{border, bottom};
    return goes_on && bottom < end;
  }

  static __device__ __forceinline__ int whole(float area) { return __float2int_rn(area); }

  // Adds the contributions of an edge within a column to this column and the one to its right. The edge runs from
  // y = begin to y = end and from x = f0 to x = f1, in units of the column's width.
  static __device__ __forceinline__ void add_piece(Shared<int> cell, float begin, float end, float f0, float f1,
                                                   float slope, float sign) {
    const int top = static_cast<int>(begin);
    int bottom = static_cast<int>(end);
    if (static_cast<float>(bottom) == end) --bottom;
    cell = cell + top * kAggColumns;
    // A part of the first row, whole rows, and a part of the last row; or a part of a single row only.
    const int rows = bottom - top - 1;
    const bool one = rows < 0;
    const float upper = sign * (one ? end - begin : static_cast<float>(top + 1) - begin);
    const float inner0 = one ? f1 : f0 + slope * (static_cast<float>(top + 1) - begin);
    const int p = whole(upper * (1.0f - 0.5f * (f0 + inner0)));
    const int all_upper = whole(upper), all = rows > 0 ? whole(sign) : 0;
    // The area of whole row k is begins - k * step. The rounding error of the step is split between both ends.
    const float exact = rows > 0 ? sign * slope : 0.0f, steps = static_cast<float>(rows - 1);
    const int step = whole(exact);
    const float middle = sign * (1.0f - inner0) - 0.5f * exact;  // of the first whole row
    const int begins = rows > 0 ? whole(middle - 0.5f * steps * (exact - static_cast<float>(step))) : 0;
    add_three(cell, p, begins - 2 * p, p - begins - step);
    add_three(cell + 1, all_upper - p, all - begins - 2 * (all_upper - p), all_upper - p - (all - begins) + step);
    if (one) return;
    const float last = end - static_cast<float>(bottom), lower = sign * last, inner1 = f1 - slope * last;
    const int q = whole(lower * (1.0f - 0.5f * (inner1 + f1))), all_lower = whole(lower);
    const int ends = begins - (rows - 1) * step;
    const Shared<int> below = cell + (rows + 1) * kAggColumns;
    add_three(below, q - ends + step, ends - 2 * q, q);
    add_three(below + 1, all_lower - q - (all - ends) - step, all - ends - 2 * (all_lower - q), all_lower - q);
  }

  static __device__ __forceinline__ void add_three(Shared<int> cell, int a, int b, int c) {
    atomicAdd(cell, a);
    atomicAdd(cell + kAggColumns, b);
    atomicAdd(cell + 2 * kAggColumns, c);
  }

  // Takes a group's second differences, and sums them to the slope and the height at the end of the group.
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

  // Sums down the columns, and then along the rows with two lanes per row.
  template <class RowWriter>
  __device__ __forceinline__ void put_group(int group, int slope, int height, const int* value, int rows,
                                            const RowWriter& to) const {
    const Shared<int> cell = shared_at<int>(l_.cells) + group * kGroupRows * kAggColumns;
#pragma unroll
    for (int row = 0; row < kGroupRows; ++row) {
      slope += value[row];
      height += slope;
      cell[row * kAggColumns + lane_index()] = height;
    }
    __syncwarp();
    const int own_row = lane_row(), half = lane_piece();
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
    if (row < rows) to.put(row, to.pixels(make_uint4(words[0], words[1], words[2], words[3])));
  }

  const AggLayout& l_;
};

}  // namespace spectromer
