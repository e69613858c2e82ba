// The functions of vector.h in the compiler's vector extensions, for the baseline and AVX2.
#include <cstring>

#include "types-inl.h"

#if SPECTROMER_LANES == 8
#include "avx2-inl.h"
#else
#include "baseline-inl.h"
#endif

#if defined(SPECTROMER_CPU_SIMD_GENERIC_INL_H) == defined(SPECTROMER_TARGET_TOGGLE)
#ifdef SPECTROMER_CPU_SIMD_GENERIC_INL_H
#undef SPECTROMER_CPU_SIMD_GENERIC_INL_H
#else
#define SPECTROMER_CPU_SIMD_GENERIC_INL_H
#endif

SPECTROMER_BEGIN_TARGET;
namespace spectromer::SPECTROMER_TARGET {

SPECTROMER_INLINE Mask mask_from_bits(unsigned bits) {
  const Int bit = 1 << iota();
  return (bit & static_cast<int>(bits)) == bit;
}

SPECTROMER_INLINE Mask lt(const Float& a, const Float& b) { return a < b; }
SPECTROMER_INLINE Mask le(const Float& a, const Float& b) { return a <= b; }
SPECTROMER_INLINE Mask is_nan(const Float& a) { return a != a; }
SPECTROMER_INLINE Mask lt(const Int& a, const Int& b) { return a < b; }
SPECTROMER_INLINE Mask eq(const Int& a, const Int& b) { return a == b; }
SPECTROMER_INLINE Mask lt(const Double& a, const Double& b) {
  Mask m;
  for (int k = 0; k < kLanes / 2; ++k) m[k] = -(a.low[k] < b.low[k]), m[k + kLanes / 2] = -(a.high[k] < b.high[k]);
  return m;
}

SPECTROMER_INLINE Float select(const Mask& m, const Float& a, const Float& b) { return m ? a : b; }
SPECTROMER_INLINE Int select(const Mask& m, const Int& a, const Int& b) { return m ? a : b; }
SPECTROMER_INLINE Float min(const Float& a, const Float& b) { return a < b ? a : b; }
SPECTROMER_INLINE Float max(const Float& a, const Float& b) { return a > b ? a : b; }
SPECTROMER_INLINE Int min(const Int& a, const Int& b) { return a < b ? a : b; }
SPECTROMER_INLINE Int max(const Int& a, const Int& b) { return a > b ? a : b; }

SPECTROMER_INLINE Float masked_add(const Mask& m, const Float& a, const Float& b) { return a + (Float)((Int)b & m); }
SPECTROMER_INLINE Int masked_add(const Mask& m, const Int& a, const Int& b) { return a + (b & m); }
SPECTROMER_INLINE Float rsqrt(const Float& v) { return 1.0f / sqrt(v); }
SPECTROMER_INLINE Float reciprocal(const Float& v) { return 1.0f / v; }

SPECTROMER_INLINE int reduce_min(const Int& v) {
  int value = v[0];
  for (int k = 1; k < kLanes; ++k) value = value < v[k] ? value : v[k];
  return value;
}
SPECTROMER_INLINE float reduce_min(const Float& v) {
  float value = v[0];
  for (int k = 1; k < kLanes; ++k) value = value < v[k] ? value : v[k];
  return value;
}
SPECTROMER_INLINE int reduce_sum(const Int& v) {
  int sum = v[0];
  for (int k = 1; k < kLanes; ++k) sum += v[k];
  return sum;
}

SPECTROMER_INLINE Float convert_to_float(const Int& v) { return __builtin_convertvector(v, Float); }
SPECTROMER_INLINE Int convert_to_int(const Float& v) { return __builtin_convertvector(v, Int); }

SPECTROMER_INLINE void store_bytes(uint8_t* to, const Int& v) {
  typedef uint8_t Bytes __attribute__((vector_size(kLanes)));
  const Bytes bytes = __builtin_convertvector(v, Bytes);
  std::memcpy(to, &bytes, sizeof bytes);
}

SPECTROMER_INLINE void compress_store(int* to, const Mask& m, const Int& v) {
  for (unsigned bits = bits_from_mask(m); bits != 0; bits &= bits - 1) *to++ = v[__builtin_ctz(bits)];
}

}  // namespace spectromer::SPECTROMER_TARGET
SPECTROMER_END_TARGET;

#endif
