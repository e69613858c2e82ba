// A strip of an image: 32 columns, a lane each, and up to 256 rows that are drawn at a time. What a line covers is summed
// in cells, as differences from row to row; a prefix sum makes them levels.
#pragma once

#include "../core/raster.h"
#include "image_writer.cuh"
#include "launch.h"

namespace spectromer {

constexpr int kMostRows = 256;   // drawn at a time
constexpr int kGroupRows = 16;   // of a group, which a warp brings to levels
constexpr int kGroupCells = kGroupRows * kWarp;

// The shared memory of strips.
struct StripLayout {
  Reserved cells;    // [groups of rows and one more, 16, 32] zeros between strips
  Reserved touched;  // [2, warps] which groups each warp has put ink in, for the strip at hand and the next
  Reserved sums;     // [2, warps, 32] of groups
  Reserved turned;   // [warps, 16, 32] levels of a group

  static int groups(int rows) { return rows / kGroupRows + 1; }  // rows and the one behind them

  void reserve(SharedLayout& layout, int rows, int warps) {
    cells = layout.reserve<int>(int64_t{groups(rows + 1)} * kGroupCells);
    touched = layout.reserve<unsigned>(int64_t{2} * warps);
    sums = layout.reserve<int>(int64_t{2} * warps * kWarp);
  }

  // Needed while a strip becomes levels.
  void reserve_turned(SharedLayout& layout, int warps) { turned = layout.reserve<uint4>(int64_t{warps} * kGroupCells / kPiece); }
};

// The place of the n-th bit that is set, from 0, which the warp finds together; -1 if there are fewer.
__device__ __forceinline__ int nth_bit(unsigned bits, int n) {
  const unsigned own = 1u << lane_index();
  return 31 - __clz(static_cast<int>(__ballot_sync(kAllLanes, (bits & own) != 0 && __popc(bits & (own - 1u)) == n)));
}

// Which groups of rows a block touches in a strip: warps write theirs down one by one, and read all of them after a
// barrier. Two strips take turns.
class TouchedGroups {
 public:
  __device__ explicit TouchedGroups(const Reserved& words) : words_(words) {}

  // Each warp once a strip.
  __device__ __forceinline__ void note(unsigned groups) const {
    const unsigned of_warp = warp_or(groups);
    if (lane_index() == 0) shared_at<unsigned>(words_)[turn_ * block_warps() + warp_index()] = of_warp;
  }

  // After a barrier.
  __device__ __forceinline__ unsigned take() {
    const int lane = lane_index(), first = turn_ * block_warps();
    turn_ ^= 1;
    return warp_or(lane < block_warps() ? static_cast<unsigned>(shared_at<unsigned>(words_)[first + lane]) : 0u);
  }

 private:
  const Reserved& words_;
  int turn_ = 0;
};

// The groups of rows from `first` to `last`, as bits.
__device__ __forceinline__ unsigned rows_mask(int first, int last) {
  return (2u << (static_cast<unsigned>(last) / kGroupRows)) - (1u << (static_cast<unsigned>(first) / kGroupRows));
}

// Puts the first `count` rows' groups that are not touched.
template <class Rows>
__device__ __forceinline__ void put_blank_groups(unsigned touched, int count, const Rows& rows) {
  const int lane = renewed(lane_index());
#pragma unroll 1
  for (int group = warp_index(); group * kGroupRows < count; group += block_warps()) {
    const int row = group * kGroupRows + (lane >> 1);
    if ((touched >> group & 1u) == 0 && row < count) rows.put_blank(row, lane & 1);
  }
}

class Strip {
 public:
  int column = 0;  // of the first lane
  int rows = 0;    // drawn at a time

  __device__ explicit Strip(const StripLayout& layout) : l_(layout), touched_(layout.touched) {}

  // Before the first strip; the caller waits for the block.
  __device__ void clear() const {
    const Shared<uint4> cells = shared_at<uint4>(l_.cells);
#pragma unroll 1
    for (int i = thread_index(); i < l_.cells.bytes / static_cast<int>(sizeof(uint4)); i += block_threads()) cells[i] = make_uint4(0, 0, 0, 0);
  }

  // Adds what a lane's sub-column has between the ends of `hit`, which lie within `height` rows that begin at `first`.
  // Returns the groups that it touches.
  __device__ __forceinline__ unsigned add(Interval hit, int first, float height, int weight) const {
    const Deposit bottom = edge_deposit(hit.bottom, height, weight), top = edge_deposit(hit.top, height, weight);
    const Shared<int> cell = shared_at<int>(l_.cells) + (first * kWarp + renewed(lane_index()));
    add_edge(cell, bottom.row, bottom.here, bottom.next);
    add_edge(cell, top.row, -top.here, -top.next);
    return rows_mask(first + top.row, first + bottom.row + 1);
  }

  // Each warp says once a strip what groups it has touched.
  __device__ __forceinline__ void touch(unsigned groups) const { touched_.note(groups); }

  // Brings the cells to levels: calls to.put(row, piece, levels) for 16 levels of each row, piece 0 and 1, or
  // to.put_blank(row, piece). Leaves the cells ready for the next strip.
  template <class Rows>
  __device__ __forceinline__ void put_levels(float scale, const Rows& to) {
    __syncthreads();
    const unsigned touched = touched_.take();
    put_blank_groups(touched, rows, to);
    const int groups = __popc(touched);
    int above = 0;  // sum of all rows above this round's
#pragma unroll 1
    for (int done = 0; done < groups; done += block_warps()) {
      const int group = nth_bit(touched, done + warp_index());
      const int lane = renewed(lane_index());
      const Shared<int> sums = shared_at<int>(l_.sums) + (parity_ * block_warps() * kWarp + lane);
      int value[kGroupRows];
      if (group >= 0) {
        sums[warp_index() * kWarp] = take(group, lane, value);
      } else {  // set on all ways, or the compiler keeps room for it everywhere
#pragma unroll
        for (int row = 0; row < kGroupRows; ++row) value[row] = 0;
      }
      __syncthreads();
      if (group >= 0) put_group(group, lane, above + sum_of(sums, warp_index()), value, scale, to);
      if (done + block_warps() < groups) above += sum_of(sums, block_warps());
      parity_ ^= 1;
    }
  }

 private:
  static __device__ __forceinline__ void add_edge(Shared<int> cell, int row, int here, int next) {
    atomicAdd(cell + row * kWarp, here);
    atomicAdd(cell + (row + 1) * kWarp, next);
  }

  // Of the first warps' groups.
  static __device__ __forceinline__ int sum_of(Shared<int> sums, int warps) {
    int sum = 0;
#pragma unroll 1
    for (int warp = 0; warp < warps; ++warp) sum += sums[warp * kWarp];
    return sum;
  }

  // A group's cells, which become zeros, and their sum by columns.
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

  template <class Rows>
  __device__ __forceinline__ void put_group(int group, int lane, int sum, const int* value, float scale, const Rows& to) const {
    const Shared<uint8_t> turned = shared_at<uint8_t>(l_.turned) + (warp_index() * kGroupCells + lane);
#pragma unroll
    for (int row = 0; row < kGroupRows; ++row) {
      sum += value[row];
      turned[row * kWarp] = to_level(sum, scale);
    }
    __syncwarp();
    const int row = group * kGroupRows + (lane >> 1);
    if (row < rows) to.put(row, lane & 1, shared_at<uint4>(l_.turned)[warp_index() * (kGroupCells / kPiece) + lane]);
    __syncwarp();
  }

  const StripLayout& l_;
  TouchedGroups touched_;
  int parity_ = 0;
};

}  // namespace spectromer
