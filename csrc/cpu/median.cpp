#include "median.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace spectromer {
namespace {

constexpr int kBits = 11;  // leading bits that are counted: the sign, the exponent and two bits of the mantissa

// A whole number that orders like the value.
uint32_t key_of(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits ^ ((bits >> 31) != 0 ? 0xffffffffu : 0x80000000u);
}

float value_of(uint32_t key) {
  const uint32_t bits = key ^ ((key >> 31) != 0 ? 0x80000000u : 0xffffffffu);
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// The element of the given rank, counted from 0. `counts` are the numbers of keys by their leading bits.
uint32_t select(const std::vector<uint32_t>& keys, const std::array<uint32_t, 1 << kBits>& counts, uint32_t rank,
                std::vector<uint32_t>& alike) {
  uint32_t leading = 0;
  for (; rank >= counts[leading]; ++leading) rank -= counts[leading];
  alike.clear();
  for (const uint32_t key : keys)
    if (key >> (32 - kBits) == leading) alike.push_back(key);
  std::nth_element(alike.begin(), alike.begin() + rank, alike.end());
  return alike[rank];
}

}  // namespace

float median_snr(const float* flux, const float* ivar, int64_t count) {
  thread_local std::vector<float> values;
  thread_local std::vector<uint32_t> keys, alike;
  values.resize(count);
  for (int64_t i = 0; i < count; ++i) values[i] = flux[i] * std::sqrt(ivar[i]);  // vectorised; NaN if ivar < 0
  keys.resize(count);
  std::array<uint32_t, 1 << kBits> counts{};
  uint32_t good = 0;
  bool nan = false;
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t key = key_of(values[i]);
    keys[good] = key;
    const bool counted = ivar[i] > 0;
    nan |= counted && values[i] != values[i];
    counts[key >> (32 - kBits)] += counted;
    good += counted;
  }
  if (good == 0) return 0.0f;
  if (nan) return std::numeric_limits<float>::quiet_NaN();
  keys.resize(good);
  const float upper = value_of(select(keys, counts, good / 2, alike));
  if (good % 2 == 1) return upper;
  return (value_of(select(keys, counts, good / 2 - 1, alike)) + upper) / 2;
}

}  // namespace spectromer
