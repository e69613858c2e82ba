// The functions of vector.h for which AVX2 has instructions that generic-inl.h cannot express.
#include <immintrin.h>

#ifndef SPECTROMER_TARGET
#define SPECTROMER_TARGET avx2
#endif
#include "types-inl.h"

#ifndef SPECTROMER_CPU_SIMD_AVX2_INL_H
#define SPECTROMER_CPU_SIMD_AVX2_INL_H

SPECTROMER_BEGIN_TARGET;
namespace spectromer::SPECTROMER_TARGET {

typedef Int Mask;  // -1 where set

SPECTROMER_INLINE unsigned bits_from_mask(const Mask& m) {
  return static_cast<unsigned>(_mm256_movemask_ps((__m256)m));
}

SPECTROMER_INLINE Short min(const Short& a, float b) { return _mm256_min_ps(a, _mm256_set1_ps(b)); }
SPECTROMER_INLINE Short max(const Short& a, float b) { return _mm256_max_ps(a, _mm256_set1_ps(b)); }

SPECTROMER_INLINE Float mul_add(const Float& a, const Float& b, const Float& c) { return _mm256_fmadd_ps(a, b, c); }
SPECTROMER_INLINE Float sqrt(const Float& v) { return _mm256_sqrt_ps(v); }
SPECTROMER_INLINE Float floor(const Float& v) { return _mm256_floor_ps(v); }

SPECTROMER_INLINE Float convert_to_float(const Double& v) {
  return _mm256_set_m128(_mm256_cvtpd_ps(v.high), _mm256_cvtpd_ps(v.low));
}

SPECTROMER_INLINE Int load_bytes(const uint8_t* from) {
  return (Int)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)from));
}

SPECTROMER_INLINE Float slide_up(const Float& v, float first) {
  return __builtin_shufflevector(v, splat(first), 8, 0, 1, 2, 3, 4, 5, 6);
}
SPECTROMER_INLINE Int slide_down(const Int& v, const Int& last) {
  return __builtin_shufflevector(v, last, 1, 2, 3, 4, 5, 6, 7, 8);
}
SPECTROMER_INLINE Float table_lookup(const Pair& table, const Int& index) {
  const __m256 low = _mm256_permutevar8x32_ps(table.low, (__m256i)index);
  const __m256 high = _mm256_permutevar8x32_ps(table.high, (__m256i)index);
  return _mm256_blendv_ps(low, high, (__m256)(index << 28));  // bit 3 of the index as the sign
}

SPECTROMER_INLINE void transpose(Float (&v)[kLanes]) {
  Float a[kLanes], b[kLanes];
  for (int i = 0; i < 4; ++i) {
    a[2 * i] = __builtin_shufflevector(v[2 * i], v[2 * i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    a[2 * i + 1] = __builtin_shufflevector(v[2 * i], v[2 * i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  for (int i = 0; i < 2; ++i) {
    const Float* from = a + 4 * i;
    Float* to = b + 4 * i;
    to[0] = __builtin_shufflevector(from[0], from[2], 0, 1, 8, 9, 4, 5, 12, 13);
    to[1] = __builtin_shufflevector(from[0], from[2], 2, 3, 10, 11, 6, 7, 14, 15);
    to[2] = __builtin_shufflevector(from[1], from[3], 0, 1, 8, 9, 4, 5, 12, 13);
    to[3] = __builtin_shufflevector(from[1], from[3], 2, 3, 10, 11, 6, 7, 14, 15);
  }
  for (int i = 0; i < 4; ++i) {
    v[i] = __builtin_shufflevector(b[i], b[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    v[i + 4] = __builtin_shufflevector(b[i], b[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
}

}  // namespace spectromer::SPECTROMER_TARGET
SPECTROMER_END_TARGET;

#endif
