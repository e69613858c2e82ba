// The values at the bottom and the top of a picture, computed by a block of threads: extremes, or numpy's linear
// percentiles.
#pragma once

#include <cfloat>

#include "../core/order.h"
#include "../core/render.h"
#include "launch.h"

namespace spectromer {

struct RangeLayout {
  static constexpr int kBins = 1024, kMembers = kWarp, kStates = 16;

  Reserved state, histogram, members;
  double share[2];  // the percentiles, 0 to 1

  void reserve(SharedLayout& layout) {
    state = layout.reserve<int>(kStates);
    members = layout.reserve<float>(2 * kMembers);
  }

  // Needed only while a range is computed.
  void reserve_histogram(SharedLayout& layout) { histogram = layout.reserve<int>(kBins + kBins / kWarp); }
};

// The values at the bottom and the top of a scale.
struct Limits {
  float bottom, top;
};

// Finds the exact percentiles of values without sorting all of them. A histogram determines the bins that contain the
// required ranks, and only the members of these bins are ranked. NaN is ignored.
class RangeFinder {
 public:
  __device__ RangeFinder(const RangeLayout& layout, Shared<float> values) : layout_(layout), values_(values) {}

  // Called once per block; the caller must synchronise the block afterwards.
  __device__ void clear() const {
    if (thread_index() == 0) clear_state();
  }

  // Returns the limits of values [begin, end) to all threads. It must be called by all of them, after the values have
  // been stored.
  __device__ Limits find(int begin, int end, bool extremes) const {
    count(begin, end);
    clear_histogram();
    __syncthreads();
    const int finite = *state(kCount);
    const float low = value_of(*state(kLow)), high = value_of(*state(kHigh));
    if (finite == 0 || extremes || low == high) {
      __syncthreads();
      if (thread_index() == 0) clear_state();
      return finite == 0 ? Limits{0.0f, 0.0f} : Limits{low, high};
    }
    const Slots slots(low, high);
    visit(begin, end, [&](float value) {
      if (value == value) atomicAdd(histogram(padded(slots.of(value))), 1);
    });
    __syncthreads();
    const int k = warp_index();
    if (k < 2) place_rank(k, rank(k, finite), finite);
    __syncthreads();
    list_members(begin, end, slots);
    __syncthreads();
    if (k < 2) rank_members(k, rank(k, finite));
    __syncthreads();
    for (int which = 0; which < 2; ++which) {
      if (*state(kListed + which) > kMembers) find_by_counting(which, rank(which, finite), begin, end);
    }
    float found[2];
    for (int which = 0; which < 2; ++which) {
      const double position = layout_.share[which] * static_cast<double>(finite - 1);
      const float here = value_of(*state(kHere + which)), next = value_of(*state(kNext + which));
      found[which] = between_ranks(here, next, position, static_cast<double>(static_cast<int>(position)));
    }
    __syncthreads();
    if (thread_index() == 0) clear_state();
    return Limits{found[0], found[1]};
  }

 private:
  // Calls visit(value) once for each of the values [begin, end), each in one of the threads. A thread reads four
  // consecutive values where they are aligned.
  template <class Visit>
  __device__ __forceinline__ void visit(int begin, int end, Visit visit) const {
    const int first = (begin + 3) & ~3, fours = (end & ~3) - first, last = fours > 0 ? first + fours : first;
    const Shared<const uint4> four = shared_cast<const uint4>(values_ + first);
#pragma unroll 1
    for (int i = thread_index(); 4 * i < fours; i += block_threads()) {
      const uint4 words = four[i];
      visit(float_of(words.x)), visit(float_of(words.y)), visit(float_of(words.z)), visit(float_of(words.w));
    }
    // The values before and after the aligned ones.
    const int before = (first < end ? first : end) - begin, behind = end > last ? end - last : 0, i = thread_index();
    if (i < before + behind) visit(values_[i < before ? begin + i : last + i - before]);
  }

  static __device__ __forceinline__ float float_of(unsigned bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
  }

  static constexpr int kBins = RangeLayout::kBins, kMembers = RangeLayout::kMembers;

  // Numbers that the block computes cooperatively, in pairs for the lower and the upper percentile.
  enum State {
    kCount,
    kLow,
    kHigh,  // of all values
    kBin,
    kNextBin = kBin + 2,    // bins of the rank and of the next
    kBelow = kNextBin + 2,  // values in earlier bins
    kListed = kBelow + 2,   // members of the two bins
    kHere = kListed + 2,    // the values of the rank and of the next, as orders
    kNext = kHere + 2,
    kTally = kNext + 2
  };
  static_assert(kTally < RangeLayout::kStates);

  // The bin of the histogram in which a value falls. The bins have equal widths, from the minimum to the maximum.
  struct Slots {
    float origin, per_value;  // for halved values, whose differences stay finite

    __device__ Slots(float low, float high)
        : origin(0.5f * low),
          per_value(fminf(static_cast<float>(kBins) * (1.0f - 1e-5f) / (0.5f * high - 0.5f * low), FLT_MAX)) {}

    __device__ unsigned of(float value) const {
      return static_cast<unsigned>(static_cast<int>(fmaf(0.5f, value, -origin) * per_value));
    }
  };

  // The index of a bin's count. With this padding, lanes whose bins lie 32 apart use different banks.
  static __device__ int padded(unsigned bin) { return static_cast<int>(bin + bin / kWarp); }

  __device__ int rank(int k, int finite) const {
    return static_cast<int>(layout_.share[k] * static_cast<double>(finite - 1));
  }

  __device__ void clear_histogram() const {
#pragma unroll 1
    for (int i = thread_index(); i < kBins + kBins / kWarp; i += block_threads()) *histogram(i) = 0;
  }

  __device__ void clear_state() const { *state(kCount) = 0, *state(kLow) = INT_MAX, *state(kHigh) = INT_MIN; }

  __device__ void count(int begin, int end) const {
    int finite = 0;
    float low = INFINITY, high = -INFINITY;
    visit(begin, end, [&](float value) {
      finite += value == value ? 1 : 0;
      low = fminf(low, value);
      high = fmaxf(high, value);
    });
    finite = warp_sum(finite);
    const int least = warp_min(order_of(low)), greatest = warp_max(order_of(high));
    if (lane_index() != 0) return;
    atomicAdd(state(kCount), finite);
    atomicMin(state(kLow), least);
    atomicMax(state(kHigh), greatest);
  }

  // Finds the bins of a rank and of the next rank, by one warp.
  __device__ void place_rank(int k, int rank, int finite) const {
    const int lane = lane_index();
    int own = 0;
    for (int i = 0; i < kBins / kWarp; ++i) own += *histogram(lane * (kBins / kWarp + 1) + i);
    const int before = warp_prefix_sum(own) - own;
    const int chunk = __ffs(__ballot_sync(kAllLanes, rank < before + own)) - 1;
    const int inside = *histogram(chunk * (kBins / kWarp + 1) + lane);
    const int below = __shfl_sync(kAllLanes, before, chunk) + warp_prefix_sum(inside) - inside;
    const int at = __ffs(__ballot_sync(kAllLanes, rank < below + inside)) - 1;
    const int first = __shfl_sync(kAllLanes, below, at), members = __shfl_sync(kAllLanes, inside, at);
    // The next value lies in the same bin, or in the next bin that is not empty.
    int next = chunk * kWarp + at;
    if (rank + 1 >= first + members && rank + 1 < finite) {
      const unsigned later = __ballot_sync(kAllLanes, inside > 0 && lane > at);
      const int other = __ffs(later != 0 ? 1u << chunk : __ballot_sync(kAllLanes, own > 0 && lane > chunk)) - 1;
      const int there = *histogram(other * (kBins / kWarp + 1) + lane);
      const int place = later != 0 ? __ffs(later) - 1 : __ffs(__ballot_sync(kAllLanes, there > 0)) - 1;
      next = other * kWarp + place;
    }
    if (lane != 0) return;
    *state(kBin + k) = chunk * kWarp + at;
    *state(kNextBin + k) = next;
    *state(kBelow + k) = first;
    *state(kListed + k) = 0;
  }

  __device__ void list_members(int begin, int end, const Slots& slots) const {
    unsigned bin[2], next[2];
    for (int k = 0; k < 2; ++k)
      bin[k] = static_cast<unsigned>(*state(kBin + k)), next[k] = static_cast<unsigned>(*state(kNextBin + k));
    visit(begin, end, [&](float value) {
      if (value != value) return;
      const unsigned slot = slots.of(value);
      for (int k = 0; k < 2; ++k) {
        if (slot != bin[k] && slot != next[k]) continue;
        const int place = atomicAdd(state(kListed + k), 1);
        if (place < kMembers) *member(k, place) = value;
      }
    });
  }

  // Ranks the members by one warp, unless there are too many.
  __device__ void rank_members(int k, int rank) const {
    const int listed = *state(kListed + k), wanted = rank - *state(kBelow + k), lane = lane_index();
    if (listed > kMembers) return;
    const int own = lane < listed ? order_of(*member(k, lane)) : INT_MAX;
    int place = 0;
#pragma unroll 1
    for (int i = 0; i < listed; ++i) {
      const int other = __shfl_sync(kAllLanes, own, i);
      place += other < own || (other == own && i < lane) ? 1 : 0;
    }
    if (lane < listed && place == wanted) *state(kHere + k) = own;
    if (lane < listed && place == (wanted + 1 < listed ? wanted + 1 : wanted)) *state(kNext + k) = own;
  }

  // The same for any number of members, by the whole block: bisects the integer keys (order_of) for that of the rank.
  __device__ void find_by_counting(int k, int rank, int begin, int end) const {
    const auto up_to = [&](int order) {
      int counted = 0;
#pragma unroll 1
      for (int i = begin + thread_index(); i < end; i += block_threads()) {
        const float value = values_[i];
        counted += value == value && order_of(value) <= order ? 1 : 0;
      }
      return tallied(0, warp_sum(counted), [](Shared<int> tally, int some) { atomicAdd(tally, some); });
    };
    int low = *state(kLow), high = *state(kHigh);
    while (low < high) {
      const int middle = low + static_cast<int>((static_cast<unsigned>(high) - static_cast<unsigned>(low)) / 2);
      if (up_to(middle) > rank) high = middle;
      else low = middle + 1;
    }
    int above = INT_MAX;
#pragma unroll 1
    for (int i = begin + thread_index(); i < end; i += block_threads()) {
      const float value = values_[i];
      if (value == value && order_of(value) > low && order_of(value) < above) above = order_of(value);
    }
    const int next = tallied(INT_MAX, warp_min(above), [](Shared<int> tally, int some) { atomicMin(tally, some); });
    const bool again = up_to(low) > rank + 1 || next == INT_MAX;
    if (thread_index() == 0) *state(kHere + k) = low, *state(kNext + k) = again ? low : next;
    __syncthreads();
  }

  // Combines one number of each warp. It must be called by all threads.
  template <class Combine>
  __device__ int tallied(int nothing, int of_warp, Combine combine) const {
    __syncthreads();
    if (thread_index() == 0) *state(kTally) = nothing;
    __syncthreads();
    if (lane_index() == 0) combine(state(kTally), of_warp);
    __syncthreads();
    return *state(kTally);
  }

  __device__ Shared<int> state(int which) const { return shared_at<int>(layout_.state) + which; }
  __device__ Shared<int> histogram(int place) const { return shared_at<int>(layout_.histogram) + place; }
  __device__ Shared<float> member(int k, int place) const {
    return shared_at<float>(layout_.members) + (k * kMembers + place);
  }

  const RangeLayout& layout_;
  const Shared<float> values_;
};

}  // namespace spectromer
