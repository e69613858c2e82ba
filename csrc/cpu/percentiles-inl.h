// Exact percentiles of a spectrum's values. One target's code.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "../core/order.h"
#include "simd/vector.h"

#if defined(SPECTROMER_CPU_PERCENTILES_INL_H) == defined(SPECTROMER_TARGET_TOGGLE)
#ifdef SPECTROMER_CPU_PERCENTILES_INL_H
#undef SPECTROMER_CPU_PERCENTILES_INL_H
#else
#define SPECTROMER_CPU_PERCENTILES_INL_H
#endif

SPECTROMER_BEGIN_TARGET;
namespace spectromer::SPECTROMER_TARGET {

constexpr int kNone = std::numeric_limits<int>::max();

// This is order_of of core/order.h for vectors.
SPECTROMER_INLINE Int order_of(const Float& v) {
  const Int bits = (Int)v;
  return bits ^ ((bits >> 31) & 0x7fffffff);
}

// The integer keys of values (order_of), padded with kNone to a whole number of vectors.
struct Keys {
  int* key;
  int64_t count;

  // The number of keys that do not exceed `bound`.
  inline int64_t up_to(int bound) const {
    Int sum = {};
    for (int64_t i = 0; i < count; i += kLanes) sum = masked_add(~lt(splat(bound), load(key + i)), sum, splat(1));
    return reduce_sum(sum);
  }

  // The least key above `bound`.
  inline int least_above(int bound) const {
    Int found = splat(kNone);
    for (int64_t i = 0; i < count; i += kLanes) {
      found = min(found, select(lt(splat(bound), load(key + i)), load(key + i), splat(kNone)));
    }
    return reduce_min(found);
  }

  // The greatest key that does not exceed `bound`.
  inline int greatest_up_to(int bound) const {
    const Int none = splat(std::numeric_limits<int>::min());
    Int found = none;
    for (int64_t i = 0; i < count; i += kLanes) {
      found = max(found, select(lt(splat(bound), load(key + i)), none, load(key + i)));
    }
    return ~reduce_min(~found);
  }

  // The key of a rank, counted from 0.
  inline int of_rank(int64_t rank) const {
    int low = least_above(std::numeric_limits<int>::min()), high = greatest_up_to(kNone);
    while (low < high) {
      const int middle = static_cast<int>((static_cast<int64_t>(low) + high) >> 1);
      const int64_t reached = up_to(middle);
      if (reached == rank + 1) return greatest_up_to(middle);
      if (reached > rank) high = middle;
      else low = middle + 1;
    }
    return low;
  }
};

// Finds values by rank without sorting. The values are divided into sets of about equal size, and the minimum of each
// set is computed. At least n values, and seldom many more, do not exceed the n-th smallest of these minima. So only
// few values have to be examined for ranks near either end.
class Ranking {
 public:
  inline Ranking(const float* values, int64_t count, std::vector<int>& room) : values_(values), count_(count) {
    blocks_ = (count + kBlock - 1) / kBlock;
    room.resize(static_cast<size_t>(2 * blocks_ * kLanes + count + 2 * kLanes));
    for (int side = 0; side < 2; ++side) sets_[side] = Keys{room.data() + side * blocks_ * kLanes, blocks_ * kLanes};
    members_ = Keys{room.data() + 2 * blocks_ * kLanes, 0};
    Int numbers = {};
    for (int64_t block = 0; block < blocks_; ++block) {
      Float low = splat(INFINITY), high = splat(-INFINITY);
      for (int64_t i = block * kBlock; i < (block + 1) * kBlock; i += kLanes) {
        const Float value = at(i);
        low = min(value, low);  // NaN changes nothing
        high = max(value, high);
        numbers = masked_add(~is_nan(value), numbers, splat(1));
      }
      store(sets_[0].key + block * kLanes, set_key(low));
      store(sets_[1].key + block * kLanes, set_key(-high));
    }
    finite = reduce_sum(numbers);
  }

  int64_t finite;  // the number of values that are not NaN

  // Finds the values of a rank below `finite` and of the next rank, or the former twice if there is none. Ranks count
  // from the lowest value (side 0) or from the highest (side 1).
  inline void find(int64_t rank, int side, float* found) {
    const Keys& sets = sets_[side];
    const int bound = sets.up_to(kNone - 1) >= rank + 2 ? sets.of_rank(rank + 1) : kNone - 1;
    const float sign = side == 0 ? 1.0f : -1.0f, highest = bound < kNone - 1 ? value_of(bound) : INFINITY;
    members_.count = 0;
    for (int64_t block = 0; block < blocks_; ++block) {
      if (!any_true(~lt(splat(bound), load(sets.key + block * kLanes)))) continue;
      for (int64_t i = block * kBlock; i < (block + 1) * kBlock; i += kLanes) {
        const Float value = sign * at(i);
        const Mask wanted = le(value, splat(highest));
        compress_store(members_.key + members_.count, wanted, order_of(value));
        members_.count += __builtin_popcount(bits_from_mask(wanted));
      }
    }
    while (members_.count % kLanes != 0) members_.key[members_.count++] = kNone;
    const int key = members_.of_rank(rank);
    const int next = members_.up_to(key) > rank + 1 ? key : members_.least_above(key);
    found[0] = sign * value_of(key);
    found[1] = next == kNone ? found[0] : sign * value_of(next);
  }

 private:
  static constexpr int64_t kBlock = 16 * kLanes;  // values, divided into one set per lane

  // kLanes values, NaN beyond the last one.
  SPECTROMER_INLINE Float at(int64_t i) const {
    if (i + kLanes <= count_) return load(values_ + i);
    const Mask there = mask_from_bits((1u << std::max<int64_t>(count_ - i, 0)) - 1u);
    return select(there, load_partial(values_, i, count_), splat(std::numeric_limits<float>::quiet_NaN()));
  }

  static SPECTROMER_INLINE Int set_key(const Float& least_value) {
    return select(lt(least_value, splat(INFINITY)), order_of(least_value), splat(kNone));
  }

  const float* values_;
  int64_t count_, blocks_;
  Keys sets_[2], members_;
};

// Finds numpy's linear percentiles of the values that are not NaN.
inline void percentiles(const float* values, int64_t count, const double* percent, std::vector<int>& room,
                        float* found) {
  found[0] = found[1] = 0.0f;
  Ranking ranking(values, count, room);
  const int64_t finite = ranking.finite;
  for (int k = 0; k < 2 && finite > 0; ++k) {
    const double position = percent[k] / 100.0 * static_cast<double>(finite - 1);
    const int64_t rank = static_cast<int64_t>(position);
    float near[2];  // the values of the rank and of the next one
    if (rank + 1 < finite && 2 * rank > finite) {
      ranking.find(finite - 2 - rank, 1, near);
      std::swap(near[0], near[1]);
    } else if (rank + 1 < finite) {
      ranking.find(rank, 0, near);
    } else {
      ranking.find(0, 1, near);
      near[1] = near[0];
    }
    found[k] = between_ranks(near[0], near[1], position, static_cast<double>(rank));
  }
}

}  // namespace spectromer::SPECTROMER_TARGET
SPECTROMER_END_TARGET;

#endif
