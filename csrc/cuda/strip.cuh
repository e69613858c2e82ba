// Lines drawn by a block of threads, 32 columns at a time: a lane for each column. See core/raster.h and core/agg.h.
#pragma once

#include <climits>

#include "../core/agg.h"
#include "../core/raster.h"
#include "launch.h"

namespace spectromer {

// What lies side by side in one strip of columns: canvases under one another.
struct Strip {
  int column;         // of the first lane
  int width, canvas;  // columns and rows of a canvas
  int parts, height;  // canvases, and rows of each that are drawn at a time,
  int top;            // from this one on
  int* cells;         // [strip_cells(...)] shared, zeros before and after
  int* bounds;        // [parts, 2] shared, the rows that are touched: {INT_MAX, 0} before and after
  int* sums;          // [warps, 32] shared

  __device__ int lane() const { return static_cast<int>(threadIdx.x) % kWarp; }
  __device__ bool beside() const { return column + lane() >= width; }  // whether this lane has no column
};

constexpr int kMostRows = 256;  // of one canvas, drawn at a time

// Numbers that a strip takes, for any kind of line.
inline int64_t strip_cells(int64_t parts, int64_t height) { return parts * (height + 2) * (kWarp + 1); }

__device__ inline void clear_strip(const Strip& strip) {
  for (int64_t i = threadIdx.x; i < static_cast<int64_t>(strip.parts) * (strip.height + 2) * (kWarp + 1); i += blockDim.x) {
    strip.cells[i] = 0;
  }
  for (int i = static_cast<int>(threadIdx.x); i < 2 * strip.parts; i += static_cast<int>(blockDim.x)) {
    strip.bounds[i] = i % 2 == 0 ? INT_MAX : 0;
  }
}

// True area: a warp for each sub-column, visit(part, at, emit) to find what the line covers at `at`; then a prefix sum
// down each column, its touched rows divided among warps. Calls put(row, level) for
// all rows drawn, counted through all canvases.
template <class Visit, class Put>
__device__ void draw_area(const Strip& strip, int subcolumns, Visit visit, Put put) {
  const int lane = strip.lane(), warp = static_cast<int>(threadIdx.x) / kWarp;
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  const int weight = subcolumn_weight(subcolumns), height = strip.height;
  const float step = 1.0f / static_cast<float>(subcolumns);
  const float scale = 255.0f / static_cast<float>(weight * subcolumns);
  for (int task = warp; task < strip.parts * subcolumns; task += warps) {
    const int part = task / subcolumns;
    const float at = static_cast<float>(strip.column + lane) + (static_cast<float>(task % subcolumns) + 0.5f) * step;
    int* column = strip.cells + part * (height + 2) * kWarp + lane;
    int low = INT_MAX, high = 0;
    const auto add = [&](int row, int difference) {
      atomicAdd(column + row * kWarp, difference);
      low = row < low ? row : low;
      high = row >= high ? row + 1 : high;
    };
    const float top = static_cast<float>(strip.top);
    const auto emit = [&](Interval hit) {
      deposit_interval(Interval{hit.top - top, hit.bottom - top}, static_cast<float>(height), weight, add);
    };
    if (!strip.beside()) visit(part, at, emit);
    low = warp_least(low);
    high = warp_most(high);
    if (lane == 0 && low < high) {
      atomicMin(strip.bounds + 2 * part, low);
      atomicMax(strip.bounds + 2 * part + 1, high);
    }
  }
  __syncthreads();
  const int chunks = warps > strip.parts ? warps / strip.parts : 1;
  for (int first = 0; first < strip.parts * chunks; first += warps) {
    const int job = first + warp, chunk = job % chunks;
    const int part = job < strip.parts * chunks ? job / chunks : 0;
    const int low = strip.bounds[2 * part] < height ? strip.bounds[2 * part] : height;
    const int high = strip.bounds[2 * part + 1] < height ? strip.bounds[2 * part + 1] : height;
    const int touched = high > low ? high - low : 0;
    const int begin = low + touched * chunk / chunks, end = low + touched * (chunk + 1) / chunks;
    int* column = strip.cells + part * (height + 2) * kWarp + lane;
    int sum = 0;
    if (chunks > 1) {
      for (int row = begin; row < end; ++row) sum += column[row * kWarp];
      strip.sums[warp * kWarp + lane] = sum;
      __syncthreads();
      sum = 0;
      if (job < strip.parts * chunks) {
        for (int k = 1; k <= chunk; ++k) sum += strip.sums[(warp - k) * kWarp + lane];
      }
    }
    if (job >= strip.parts * chunks) continue;
    for (int row = begin; row < end; ++row) {
      sum += column[row * kWarp];
      column[row * kWarp] = 0;
      if (!strip.beside()) put(part * height + row, to_level(sum, scale));
    }
    if (chunk == 0) column[height * kWarp] = column[(height + 1) * kWarp] = 0;
    if (strip.beside()) continue;
    for (int row = chunk; row < low; row += chunks) put(part * height + row, uint8_t{0});
    for (int row = low + touched + chunk; row < height; row += chunks) put(part * height + row, uint8_t{0});
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < 2 * strip.parts; i += static_cast<int>(blockDim.x)) {
    strip.bounds[i] = i % 2 == 0 ? INT_MAX : 0;
  }
  __syncthreads();
}

// ---- as AGG draws ----

constexpr float kWholeArea = 1 << 20;  // what a fully covered cell counts; sums of many fewer signs do not overflow

// Signed area left of an outline's edges within one strip, as differences along each row: their prefix sum is the
// winding integral. In whole numbers, so that no order of adding changes it.
struct StripArea {
  int* cell;  // [height, 33]
  int height, column, top;

  // Any edge, row by row; what lies beside the strip is moved to its border, so that the winding stays right.
  __device__ void operator()(float x0, float y0, float x1, float y1) const {
    y0 -= static_cast<float>(top);
    y1 -= static_cast<float>(top);
    if (y0 == y1) return;
    const float sign = y0 < y1 ? 1.0f : -1.0f, slope = (x1 - x0) / (y1 - y0);
    const float top = larger(smaller(y0, y1), 0.0f), bottom = smaller(larger(y0, y1), static_cast<float>(height));
    for (int row = static_cast<int>(top); static_cast<float>(row) < bottom; ++row) {
      const float from = larger(top, static_cast<float>(row)), to = smaller(bottom, static_cast<float>(row + 1));
      const float shift = x0 - static_cast<float>(column);
      add_crossing(row, shift + slope * (from - y0), shift + slope * (to - y0), sign * (to - from));
    }
  }

  // What an edge leaves in a row that it crosses from x = a to x = b with signed height d: in each cell, its share to
  // the right of the edge (as a difference to the cell before), which is the mean over the crossing.
  __device__ void add_crossing(int row, float a, float b, float d) const {
    const float left = smaller(a, b), right = larger(a, b);
    int* line = cell + row * (kWarp + 1);
    int before = 0;
    const int whole = static_cast<int>(floorf(d * kWholeArea + 0.5f));
    for (int i = static_cast<int>(clamped(left, 0.0f, kWarp)); i <= kWarp && before != whole; ++i) {
      const float c = static_cast<float>(i);
      // Integral over the crossing's x of the cell's part right of it, over the crossing's length.
      const float from = clamped(left, c, c + 1.0f), to = clamped(right, c, c + 1.0f);
      float share = right <= c ? 1.0f : 0.0f;
      if (right > left) {
        const float past = larger(smaller(right, c) - left, 0.0f), within = to - from;
        share = (past + within * (c + 1.0f - 0.5f * (from + to))) / (right - left);
      } else if (right < c + 1.0f) {
        share = smaller(c + 1.0f - right, 1.0f);
      }
      const int now = share < 1.0f ? static_cast<int>(floorf(d * share * kWholeArea + 0.5f)) : whole;
      atomicAdd(line + i, now - before);
      before = now;
    }
  }
};

// One segment of a line as AGG takes it.
struct Stroke {
  Stretch at;
  float ux, uy, length;
  bool broken;  // nothing is drawn, and the line ends before it
  bool skipped;  // nothing is drawn, but the line goes on
};

template <class X>
__device__ Stroke stroke_of(X x, const float* y, int i, int width, int height) {
  Stroke s{};
  s.broken = !drawable(y[i]) || !drawable(y[i + 1]);
  s.skipped = !s.broken && x[i] == x[i + 1] && y[i] == y[i + 1];
  if (s.broken || s.skipped) return s;
  s.at = clip_segment(x[i], y[i], x[i + 1], y[i + 1], width, height);
  const float dx = s.at.x1 - s.at.x0, dy = s.at.y1 - s.at.y0;
  s.length = sqrtf(dx * dx + dy * dy);
  s.broken = !s.at.drawn;
  s.skipped = s.at.drawn && s.length == 0.0f;
  if (s.length > 0.0f) s.ux = dx / s.length, s.uy = dy / s.length;
  return s;
}

__device__ inline one_lane::Join join_of(const StrokeShape& shape, const Stroke& a, const Stroke& b) {
  return one_lane::Join(shape, a.ux, a.uy, a.length, b.ux, b.uy, b.length);
}

// Adds the outline of the line's part near the strip: a thread for each segment, which draws its two sides and what lies
// between it and the next. The part's own ends lie too far off to be seen.
template <class X>
__device__ void add_outline(const Strip& strip, int part, X x, const float* y, int points, const StrokeShape& shape) {
  const float reach = 2.0f * shape.half + 1.0f;
  const int nearest = first_point(x, points, static_cast<float>(strip.column), reach);
  const int farthest = first_point(x, points, static_cast<float>(strip.column + kWarp), -reach);
  const int begin = nearest > 0 ? nearest - 1 : 0, end = farthest + 2 < points - 1 ? farthest + 2 : points - 1;
  const StripArea area{strip.cells + part * strip.height * (kWarp + 1), strip.height, strip.column, strip.top};
  const auto stroke = [&](int i) { return stroke_of(x, y, i, strip.width, strip.canvas); };
  for (int i = begin + static_cast<int>(threadIdx.x); i < end; i += static_cast<int>(blockDim.x)) {
    const Stroke s = stroke(i);
    if (s.broken || s.skipped) continue;
    OutlineSide<const StripArea> left{area, false, 0.0f, 0.0f}, right{area, true, 0.0f, 0.0f};
    Stroke before{}, after{};
    before.broken = after.broken = true;
    for (int j = i - 1; j >= begin && (before = stroke(j)).skipped; --j) before.broken = true;
    for (int j = i + 1; j < end && (after = stroke(j)).skipped; ++j) after.broken = true;
    if (before.broken || s.at.cut) {
      const Cap cap = make_cap(s.at.x0, s.at.y0, shape.half * s.uy, -shape.half * s.ux, true);
      left.x = cap.left_x, left.y = cap.left_y, right.x = cap.right_x, right.y = cap.right_y;
      area(right.x, right.y, left.x, left.y);
    } else {  // from where the segment before has left the sides
      const one_lane::Join join = join_of(shape, before, s);
      visit_join(join, s.at.x0, s.at.y0, 1.0f, [&](float px, float py) { left.x = snapped(px), left.y = snapped(py); });
      visit_join(join, s.at.x0, s.at.y0, -1.0f, [&](float px, float py) { right.x = snapped(px), right.y = snapped(py); });
    }
    if (after.broken || after.at.cut) {
      const Cap cap = make_cap(s.at.x1, s.at.y1, shape.half * s.uy, -shape.half * s.ux, false);
      left.add(cap.left_x, cap.left_y);
      right.add(cap.right_x, cap.right_y);
      area(left.x, left.y, right.x, right.y);
    } else {
      const one_lane::Join join = join_of(shape, s, after);
      visit_join(join, s.at.x1, s.at.y1, 1.0f, [&](float px, float py) { left.add(px, py); });
      visit_join(join, s.at.x1, s.at.y1, -1.0f, [&](float px, float py) { right.add(px, py); });
    }
  }
}

// The levels of what add_outline has added: a warp for each row. Calls put(row, level).
template <class Put>
__device__ void put_outline(const Strip& strip, Put put) {
  __syncthreads();
  const int lane = strip.lane(), warps = static_cast<int>(blockDim.x) / kWarp;
  for (int row = static_cast<int>(threadIdx.x) / kWarp; row < strip.parts * strip.height; row += warps) {
    int* cell = strip.cells + row * (kWarp + 1) + lane;
    const int sum = warp_sum(*cell);
    *cell = 0;
    if (lane == 0) cell[kWarp] = 0;
    if (!strip.beside()) put(row, static_cast<uint8_t>(agg_level(static_cast<float>(sum) * (1.0f / kWholeArea))));
  }
  __syncthreads();
}

}  // namespace spectromer
