// A strip of an image: 32 columns, one per lane, and up to 256 rows, which are drawn at a time. Coverage is summed in
// cells, as differences from row to row, and converted to levels by a prefix sum.
#pragma once

#include "../core/raster.h"
#include "image_writer.cuh"
#include "launch.h"

namespace spectromer {

constexpr int kMostRows = 256;                                 // rows drawn at a time
constexpr int kGroupShift = 4, kGroupRows = 1 << kGroupShift;  // rows of a group, which one warp converts to levels
constexpr int kGroupCells = kGroupRows * kWarp;

// The rows that are touched, from the first to the last one.
struct alignas(8) RowRange {
  int first = INT_MAX, last = -1;

  __device__ __forceinline__ void widen(int from, int to) {
    first = from < first ? from : first;
    last = to > last ? to : last;
  }
};

// The shared memory of strips.
struct StripLayout {
  int groups;        // groups of the rows that are drawn at a time, and of one more row
  Reserved cells;    // [groups, 16, 32] zeros between strips
  Reserved touched;  // [warps] of RowRange: the rows in which each warp has drawn
  Reserved sums;     // [2, warps, 32] sums of groups
  Reserved turned;   // [warps, 16, 32] levels of a group

  void reserve(SharedLayout& layout, int rows, int warps) {
    groups = (rows + 1) / kGroupRows + 1;
    cells = layout.reserve<int>(int64_t{groups} * kGroupCells);
    touched = layout.reserve<RowRange>(warps);
    sums = layout.reserve<int>(int64_t{2} * warps * kWarp);
  }

  // Needed only while a strip is converted to levels.
  void reserve_turned(SharedLayout& layout, int warps) {
    turned = layout.reserve<uint4>(int64_t{warps} * kGroupCells / kPiece);
  }
};

// The order in which the groups of a strip's rows are assigned to the warps of a block, one each: first the touched
// groups, then the others. If `touched` is 0 or negative, no group is touched.
struct GroupOrder {
  int first, touched, count;

  // (first + n) % count, for n < count.
  __device__ __forceinline__ int nth(int n) const {
    const unsigned group = static_cast<unsigned>(first + n), wrapped = group - static_cast<unsigned>(count);
    return static_cast<int>(group < wrapped ? group : wrapped);
  }
};

// Records the rows that this warp has touched, once per strip.
__device__ __forceinline__ void note_rows(const Reserved& ranges, const RowRange& touched) {
  const RowRange of_warp{warp_min(touched.first), warp_max(touched.last)};
  if (lane_index() == 0) shared_at<RowRange>(ranges)[warp_index()] = of_warp;
}

// The order of the groups, from the rows that all warps have recorded. The block must be synchronised before this call,
// and again before rows of the next strip are recorded.
__device__ __forceinline__ GroupOrder touched_groups(const Reserved& ranges, int groups) {
  const RowRange touched = shared_at<RowRange>(ranges)[renewed(lane_index()) & (block_warps() - 1)];
  const int first = warp_min(touched.first) >> kGroupShift, last = warp_max(touched.last) >> kGroupShift;
  const int begin = first < groups ? first : groups - 1;
  return GroupOrder{begin, last - begin + 1, groups};
}

// A warp writes a group of 16 rows with two lanes per row, each for one half of the strip's 32 columns.
__device__ __forceinline__ int lane_piece() { return lane_index() & 1; }
__device__ __forceinline__ int lane_row() { return lane_index() >> 1; }

// Writes the rows of a group without ink, up to the last row of the strip.
template <class RowWriter>
__device__ __forceinline__ void put_blank_group(int group, int rows, const RowWriter& to) {
  const int row = group * kGroupRows + lane_row();
  if (row < rows) to.put(row, to.blank());
}

class Strip {
 public:
  __device__ explicit Strip(const StripLayout& layout) : l_(layout) {}

  // Zeroes the cells before the first strip. The caller must synchronise the block afterwards.
  __device__ void clear() const {
    const Shared<uint4> cells = shared_at<uint4>(l_.cells);
#pragma unroll 1
    for (int i = thread_index(); i < l_.cells.bytes / static_cast<int>(sizeof(uint4)); i += block_threads())
      cells[i] = make_uint4(0, 0, 0, 0);
  }

  // Adds the interval `hit` of a lane's sub-column, counted from row `first` and clamped to `height` rows.
  __device__ __forceinline__ void add(Interval hit, int first, float height, int weight, RowRange& touched) const {
    const Deposit bottom = edge_deposit(hit.bottom, height, weight), top = edge_deposit(hit.top, height, weight);
    const Shared<int> cell = shared_at<int>(l_.cells) + (first * kWarp + renewed(lane_index()));
    add_edge(cell, bottom.row, bottom.here, bottom.next);
    add_edge(cell, top.row, -top.here, -top.next);
    touched.widen(first + top.row, first + bottom.row + 1);
  }

  __device__ __forceinline__ void touch(const RowRange& touched) const { note_rows(l_.touched, touched); }

  // Converts the cells to levels. Calls to.put(row, pixels) for this lane's half of each row that it writes, where
  // pixels are to.pixels(levels) or to.blank(). Zeroes the cells for the next strip.
  template <class RowWriter>
  __device__ __forceinline__ void put_levels(int rows, float scale, const RowWriter& to) const {
    __syncthreads();
    const GroupOrder groups = touched_groups(l_.touched, l_.groups);
    int above = 0;  // sum of all rows above those of this round
    int done = 0;
    do {
      const int n = done + warp_index(), group = groups.nth(n);
      if (n < groups.touched) {
        const int lane = renewed(lane_index());
        // The sums of two consecutive rounds are stored separately.
        const Shared<int> sums = shared_at<int>(l_.sums) + ((done & block_warps()) * kWarp + lane);
        int value[kGroupRows];
        sums[warp_index() * kWarp] = take(group, lane, value);
        block_barrier();
        put_group(group, lane, above + sum_of(sums, warp_index()), value, rows, scale, to);
        if (done + block_warps() < groups.touched) above += sum_of(sums, block_warps());
      } else {
        if (done == 0 || done < groups.touched) block_barrier();
        if (n < groups.count) put_blank_group(group, rows, to);
      }
    } while ((done += block_warps()) < groups.count);
  }

 private:
  static __device__ __forceinline__ void add_edge(Shared<int> cell, int row, int here, int next) {
    atomicAdd(cell + row * kWarp, here);
    atomicAdd(cell + (row + 1) * kWarp, next);
  }

  // The sum over the groups of the first `warps` warps.
  static __device__ __forceinline__ int sum_of(Shared<int> sums, int warps) {
    int sum = 0;
#pragma unroll 1
    for (; warps > 1; warps -= 2, sums = sums + 2 * kWarp) sum += sums[0] + sums[kWarp];
    return warps > 0 ? sum + sums[0] : sum;
  }

  // Moves this lane's cells of a group into `value`, zeroes the group, and returns the sum of the column.
  __device__ __forceinline__ int take(int group, int lane, int* value) const {
    const Shared<int> cell = shared_at<int>(l_.cells) + (group * kGroupCells + lane);
    int sum = 0;
#pragma unroll
    for (int row = 0; row < kGroupRows; ++row) value[row] = cell[row * kWarp];
#pragma unroll
    for (int row = 0; row < kGroupRows; ++row) sum += value[row];
    __syncwarp();
    const Shared<uint4> piece = shared_at<uint4>(l_.cells) + (group * (kGroupCells / 4) + lane);
#pragma unroll
    for (int i = 0; i < kGroupCells / 4 / kWarp; ++i) piece[i * kWarp] = make_uint4(0, 0, 0, 0);
    return sum;
  }

  template <class RowWriter>
  __device__ __forceinline__ void put_group(int group, int lane, int sum, const int* value, int rows, float scale,
                                            const RowWriter& to) const {
    const Shared<uint8_t> turned = shared_at<uint8_t>(l_.turned) + (warp_index() * kGroupCells + lane);
    LevelSum level(sum, scale);
#pragma unroll
    for (int row = 0; row < kGroupRows; ++row) turned[row * kWarp] = level.after(value[row]);
    __syncwarp();
    const int row = group * kGroupRows + lane_row();
    const uint4 levels = shared_at<uint4>(l_.turned)[warp_index() * (kGroupCells / kPiece) + lane];
    if (row < rows) to.put(row, to.pixels(levels));
    __syncwarp();
  }

  const StripLayout& l_;
};

}  // namespace spectromer
