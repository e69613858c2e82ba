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
  Reserved touched;  // [2] which groups a strip has ink in, for the strip at hand and the next
  Reserved sums;     // [2, warps, 32] of groups
  Reserved turned;   // [warps, 16, 32] levels of a group

  static int groups(int rows) { return rows / kGroupRows + 1; }  // rows and the one behind them

  void reserve(SharedLayout& layout, int rows, int warps) {
    cells = layout.reserve<int>(int64_t{groups(rows + 1)} * kGroupCells);
    touched = layout.reserve<unsigned>(2);
    sums = layout.reserve<int>(int64_t{2} * warps * kWarp);
    turned = layout.reserve<uint4>(int64_t{warps} * kGroupCells / kPiece);
  }
};

// The place of the n-th bit that is set, from 0, which the warp finds together; -1 if there are fewer.
__device__ __forceinline__ int nth_bit(unsigned bits, int n) {
  const unsigned below = bits & ((1u << lane_index()) - 1u);
  return __ffs(__ballot_sync(kAllLanes, (bits >> lane_index() & 1u) != 0 && __popc(below) == n)) - 1;
}

class Strip {
 public:
  int column = 0;  // of the first lane
  int rows = 0;    // drawn at a time

  __device__ explicit Strip(const StripLayout& layout)
      : cells_(shared_at<int>(layout.cells)), touched_(shared_at<unsigned>(layout.touched)), sums_(shared_at<int>(layout.sums)),
        cell_pieces_(shared_at<uint4>(layout.cells)), turned_(shared_at<uint8_t>(layout.turned)),
        turned_pieces_(shared_at<uint4>(layout.turned)), pieces_(layout.cells.bytes / static_cast<int>(sizeof(uint4))) {}

  // Before the first strip; the caller waits for the block.
  __device__ void clear() const {
    for (int i = thread_index(); i < pieces_; i += block_threads()) cell_pieces_[i] = make_uint4(0, 0, 0, 0);
    if (thread_index() < 2) touched_[thread_index()] = 0;
  }

  // Adds what a lane's sub-column has between the ends of `hit`, which lie within `height` rows that begin at `first`.
  // Returns the groups that it touches.
  __device__ __forceinline__ unsigned add(Interval hit, int first, float height, int weight) const {
    const Deposit bottom = edge_deposit(hit.bottom, height, weight), top = edge_deposit(hit.top, height, weight);
    const Shared<int> cell = cells_ + (first * kWarp + lane_index());
    add_edge(cell, bottom.row, bottom.here, bottom.next);
    add_edge(cell, top.row, -top.here, -top.next);
    return (2u << ((first + bottom.row + 1) / kGroupRows)) - (1u << ((first + top.row) / kGroupRows));
  }

  // Each warp says what groups it has touched.
  __device__ __forceinline__ void touch(unsigned groups) const {
    const unsigned of_warp = warp_or(groups);
    if (lane_index() == 0 && of_warp != 0) atomicOr(touched_ + turn_, of_warp);
  }

  // Brings the cells to levels: calls put(row, piece, levels) for 16 levels of each row, piece 0 and 1, or blank(row,
  // piece). Leaves the cells ready for the next strip.
  template <class Put, class Blank>
  __device__ void put_levels(float scale, Put put, Blank blank) {
    __syncthreads();
    const unsigned touched = touched_[turn_];
    const int half_lane = lane_index() / 2, half = lane_index() % 2;
    for (int group = warp_index(); group * kGroupRows < rows; group += block_warps()) {
      const int row = group * kGroupRows + half_lane;
      if ((touched >> group & 1u) == 0 && row < rows) blank(row, half);
    }
    int above = 0;  // sum of all rows above this round's
    for (int done = 0; done < __popc(touched); done += block_warps()) {
      const int group = nth_bit(touched, done + warp_index());
      const Shared<int> sums = sums_ + parity_ * block_warps() * kWarp + lane_index();
      int value[kGroupRows];
      if (group >= 0) sums[warp_index() * kWarp] = take(group, value);
      __syncthreads();
      const int here = __popc(touched) - done;
      for (int warp = 0; warp < block_warps() && warp < here; ++warp) {
        if (warp == warp_index()) break;
        above += sums[warp * kWarp];
      }
      if (group >= 0) put_group(group, above, value, scale, put);
      if (here > block_warps()) {
        for (int warp = warp_index(); warp < block_warps(); ++warp) above += sums[warp * kWarp];
      }
      parity_ ^= 1;
    }
    if (touched != 0 && thread_index() == 0) touched_[turn_] = 0;
    turn_ ^= 1;
  }

 private:
  static __device__ __forceinline__ void add_edge(Shared<int> cell, int row, int here, int next) {
    atomicAdd(cell + row * kWarp, here);
    atomicAdd(cell + (row + 1) * kWarp, next);
  }

  // A group's cells, which become zeros, and their sum by columns.
  __device__ __forceinline__ int take(int group, int* value) const {
    const Shared<int> cell = cells_ + (group * kGroupCells + lane_index());
    int sum = 0;
#pragma unroll
    for (int row = 0; row < kGroupRows; ++row) value[row] = cell[row * kWarp];
#pragma unroll
    for (int row = 0; row < kGroupRows; ++row) sum += value[row];
    __syncwarp();
    const Shared<uint4> piece = cell_pieces_ + (group * (kGroupCells / 4) + lane_index());
#pragma unroll
    for (int i = 0; i < kGroupCells / 4 / kWarp; ++i) piece[i * kWarp] = make_uint4(0, 0, 0, 0);
    return sum;
  }

  template <class Put>
  __device__ __forceinline__ void put_group(int group, int sum, const int* value, float scale, Put put) const {
    const int turned = warp_index() * kGroupCells;
#pragma unroll
    for (int row = 0; row < kGroupRows; ++row) {
      sum += value[row];
      turned_[turned + row * kWarp + lane_index()] = to_level(sum, scale);
    }
    __syncwarp();
    const int row = group * kGroupRows + lane_index() / 2;
    if (row < rows) put(row, lane_index() % 2, turned_pieces_[turned / kPiece + lane_index()]);
    __syncwarp();
  }

  const Shared<int> cells_;
  const Shared<unsigned> touched_;
  const Shared<int> sums_;
  const Shared<uint4> cell_pieces_;
  const Shared<uint8_t> turned_;
  const Shared<uint4> turned_pieces_;
  const int pieces_;
  int turn_ = 0, parity_ = 0;
};

}  // namespace spectromer
