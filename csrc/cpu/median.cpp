#include "median.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace spectromer {
namespace {

constexpr int32_t kMasked = 0x7fffffff;    // follows the keys of all values
constexpr int32_t kInfinity = 0x7f800000;  // the key of infinity; only that of NaN follows
constexpr size_t kBins = 2048;             // values of a digit
constexpr size_t kFew = 256;               // keys of which one is selected without counting digits

// A whole number that orders like the value. NaN counts as the largest value.
int32_t key_of(float value) {
  int32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const int32_t key = bits ^ ((bits >> 31) & 0x7fffffff);
  return value != value ? kInfinity + 1 : key;
}

float value_of(int32_t key) {
  const int32_t bits = key ^ ((key >> 31) & 0x7fffffff);
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// The digit of 11 bits that begins at bit `shift` of a key, such that larger keys have larger leading digits.
size_t digit_of(int32_t key, int shift) { return ((static_cast<uint32_t>(key) ^ 0x80000000u) >> shift) % kBins; }

// The numbers of keys by one of their digits. Neighbours often have equal digits, so they are counted separately.
class Counts {
 public:
  Counts(const int32_t* keys, size_t count, int shift) {
    size_t i = 0;
    for (; i + kTables <= count; i += kTables)
      for (size_t table = 0; table < kTables; ++table) ++counts_[table][digit_of(keys[i + table], shift)];
    for (; i < count; ++i) ++counts_[0][digit_of(keys[i], shift)];
    for (size_t table = 1; table < kTables; ++table)
      for (size_t digit = 0; digit < kBins; ++digit) counts_[0][digit] += counts_[table][digit];
  }
  size_t operator[](size_t digit) const { return counts_[0][digit]; }

 private:
  static constexpr size_t kTables = 4;
  std::array<std::array<uint32_t, kBins>, kTables> counts_{};
};

struct Middle {
  int32_t lower, upper;
};

// The keys of the ranks `rank` - 1 and `rank`, counted from 0; of rank 0, the first is undefined.
Middle select(const std::vector<int32_t>& keys, size_t rank, std::vector<int32_t>& alike) {
  alike.resize(keys.size());
  const int32_t* from = keys.data();
  size_t count = keys.size();
  for (int shift = 21; count > kFew && shift > 0; shift -= 11) {
    const Counts counts(from, count, shift);
    size_t digit = 0;
    for (size_t here = counts[0]; here <= rank; here = counts[++digit]) rank -= here;
    size_t kept = 0;
    int32_t* const to = alike.data();
    for (size_t i = 0; i < count; ++i) {
      const int32_t key = from[i];
      to[kept] = key;
      kept += digit_of(key, shift) == digit;
    }
    from = to, count = kept;
  }
  if (from != alike.data()) std::copy(from, from + count, alike.data());
  const auto first = alike.begin(), at = first + rank, last = first + count;
  std::nth_element(first, at, last);
  const int32_t upper = *at;
  if (at != first) return {*std::max_element(first, at), upper};
  int32_t lower = std::numeric_limits<int32_t>::min();  // it is not among the keys that are alike
  for (const int32_t key : keys)
    if (key < upper) lower = std::max(lower, key);
  return {lower, upper};
}

}  // namespace

float median_snr(const float* flux, const float* ivar, int64_t count) {
  thread_local std::vector<int32_t> memory, alike;
  memory.resize(count);
  int32_t* const keys = memory.data();
  for (int64_t i = 0; i < count; ++i) {  // this loop is vectorised, and so is the one below
    const int32_t key = key_of(flux[i] * std::sqrt(ivar[i]));
    keys[i] = ivar[i] > 0 ? key : kMasked;
  }
  int32_t masked = 0, nan = 0;
  for (int64_t i = 0; i < count; ++i) masked += keys[i] == kMasked, nan += keys[i] == kInfinity + 1;
  const int64_t good = count - masked;
  if (good == 0) return 0.0f;
  if (nan > 0) return std::numeric_limits<float>::quiet_NaN();

  const Middle middle = select(memory, good / 2, alike);
  return good % 2 == 1 ? value_of(middle.upper) : (value_of(middle.lower) + value_of(middle.upper)) / 2;
}

}  // namespace spectromer
