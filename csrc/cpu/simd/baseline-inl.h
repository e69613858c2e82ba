// The functions of vector.h that generic-inl.h leaves to each target, for any processor: with SSE2 on x86-64, otherwise
// as plain loops for the compiler to vectorise.
#include <cmath>

#include "types-inl.h"

#ifndef SPECTROMER_CPU_SIMD_BASELINE_INL_H
#define SPECTROMER_CPU_SIMD_BASELINE_INL_H

#if SPECTROMER_MULTITARGET
#include <immintrin.h>
#endif

SPECTROMER_BEGIN_TARGET;
namespace spectromer::SPECTROMER_TARGET {

typedef Int Mask;  // -1 where set

SPECTROMER_INLINE unsigned bits_from_mask(const Mask& m) {
#if SPECTROMER_MULTITARGET
  return static_cast<unsigned>(_mm_movemask_ps((__m128)m));
#else
  const Int bit = m & (1 << iota());
  return static_cast<unsigned>(bit[0] | bit[1] | bit[2] | bit[3]);
#endif
}

SPECTROMER_INLINE Short min(const Short& a, float b) { return a < b ? a : b - Short{}; }
SPECTROMER_INLINE Short max(const Short& a, float b) { return a > b ? a : b - Short{}; }

SPECTROMER_INLINE Float mul_add(const Float& a, const Float& b, const Float& c) { return a * b + c; }
SPECTROMER_INLINE Float sqrt(const Float& v) {
  Float w;
  for (int k = 0; k < kLanes; ++k) w[k] = sqrtf(v[k]);
  return w;
}
SPECTROMER_INLINE Float floor(const Float& v) {
  const Float whole = __builtin_convertvector(__builtin_convertvector(v, Int), Float);
  return v < whole ? whole - 1.0f : whole;
}

SPECTROMER_INLINE Float convert_to_float(const Double& v) {
  Float w;
  for (int k = 0; k < kLanes / 2; ++k) {
    w[k] = static_cast<float>(v.low[k]);
    w[k + kLanes / 2] = static_cast<float>(v.high[k]);
  }
  return w;
}

SPECTROMER_INLINE Int load_bytes(const uint8_t* from) {
  Int v;
  for (int k = 0; k < kLanes; ++k) v[k] = from[k];
  return v;
}

SPECTROMER_INLINE Float slide_up(const Float& v, float first) {
  return __builtin_shufflevector(v, splat(first), 4, 0, 1, 2);
}
SPECTROMER_INLINE Int slide_down(const Int& v, const Int& last) { return __builtin_shufflevector(v, last, 1, 2, 3, 4); }
SPECTROMER_INLINE Float table_lookup(const Pair& table, const Int& index) {
  const float values[2 * kLanes] = {table.low[0],  table.low[1],  table.low[2],  table.low[3],
                                    table.high[0], table.high[1], table.high[2], table.high[3]};
  Float v;
  for (int k = 0; k < kLanes; ++k) v[k] = values[index[k] & (2 * kLanes - 1)];
  return v;
}

SPECTROMER_INLINE void transpose(Float (&v)[kLanes]) {
  const Float a = __builtin_shufflevector(v[0], v[1], 0, 4, 1, 5);
  const Float b = __builtin_shufflevector(v[0], v[1], 2, 6, 3, 7);
  const Float c = __builtin_shufflevector(v[2], v[3], 0, 4, 1, 5);
  const Float d = __builtin_shufflevector(v[2], v[3], 2, 6, 3, 7);
  v[0] = __builtin_shufflevector(a, c, 0, 1, 4, 5);
  v[1] = __builtin_shufflevector(a, c, 2, 3, 6, 7);
  v[2] = __builtin_shufflevector(b, d, 0, 1, 4, 5);
  v[3] = __builtin_shufflevector(b, d, 2, 3, 6, 7);
}

}  // namespace spectromer::SPECTROMER_TARGET
SPECTROMER_END_TARGET;

#endif
