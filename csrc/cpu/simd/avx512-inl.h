// The functions of vector.h with AVX-512. For comparisons, selections and conversions of 64-byte vectors, GCC 12
// compiles its own vector extensions to scalar code, hence the intrinsics.
#include <immintrin.h>

#ifndef SPECTROMER_TARGET
#define SPECTROMER_TARGET avx512
#endif
#include "types-inl.h"

#ifndef SPECTROMER_CPU_SIMD_AVX512_INL_H
#define SPECTROMER_CPU_SIMD_AVX512_INL_H

SPECTROMER_BEGIN_TARGET;
namespace spectromer::SPECTROMER_TARGET {

// ---- masks ----

struct Mask {
  __mmask16 bits;

  friend SPECTROMER_INLINE Mask operator&(Mask a, Mask b) { return {_kand_mask16(a.bits, b.bits)}; }
  friend SPECTROMER_INLINE Mask operator|(Mask a, Mask b) { return {_kor_mask16(a.bits, b.bits)}; }
  friend SPECTROMER_INLINE Mask operator~(Mask a) { return {_knot_mask16(a.bits)}; }
};

SPECTROMER_INLINE Mask mask_from_bits(unsigned bits) { return {static_cast<__mmask16>(bits)}; }
SPECTROMER_INLINE unsigned bits_from_mask(Mask m) { return m.bits; }

// ---- comparisons and selections ----

SPECTROMER_INLINE Mask lt(const Float& a, const Float& b) { return {_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ)}; }
SPECTROMER_INLINE Mask le(const Float& a, const Float& b) { return {_mm512_cmp_ps_mask(a, b, _CMP_LE_OQ)}; }
SPECTROMER_INLINE Mask is_nan(const Float& a) { return {_mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q)}; }
SPECTROMER_INLINE Mask lt(const Int& a, const Int& b) { return {_mm512_cmplt_epi32_mask((__m512i)a, (__m512i)b)}; }
SPECTROMER_INLINE Mask eq(const Int& a, const Int& b) { return {_mm512_cmpeq_epi32_mask((__m512i)a, (__m512i)b)}; }
SPECTROMER_INLINE Mask lt(const Double& a, const Double& b) {
  const __mmask8 low = _mm512_cmp_pd_mask(a.low, b.low, _CMP_LT_OQ),
                 high = _mm512_cmp_pd_mask(a.high, b.high, _CMP_LT_OQ);
  return {_mm512_kunpackb(high, low)};
}

SPECTROMER_INLINE Float select(Mask m, const Float& a, const Float& b) { return _mm512_mask_blend_ps(m.bits, b, a); }
SPECTROMER_INLINE Int select(Mask m, const Int& a, const Int& b) {
  return (Int)_mm512_mask_blend_epi32(m.bits, (__m512i)b, (__m512i)a);
}

SPECTROMER_INLINE Float min(const Float& a, const Float& b) { return _mm512_min_ps(a, b); }
SPECTROMER_INLINE Float max(const Float& a, const Float& b) { return _mm512_max_ps(a, b); }
SPECTROMER_INLINE Int min(const Int& a, const Int& b) { return (Int)_mm512_min_epi32((__m512i)a, (__m512i)b); }
SPECTROMER_INLINE Int max(const Int& a, const Int& b) { return (Int)_mm512_max_epi32((__m512i)a, (__m512i)b); }
SPECTROMER_INLINE Short min(const Short& a, float b) { return _mm256_min_ps(a, _mm256_set1_ps(b)); }
SPECTROMER_INLINE Short max(const Short& a, float b) { return _mm256_max_ps(a, _mm256_set1_ps(b)); }

// ---- arithmetic ----

SPECTROMER_INLINE Float masked_add(Mask m, const Float& a, const Float& b) {
  return _mm512_mask_add_ps(a, m.bits, a, b);
}
SPECTROMER_INLINE Int masked_add(Mask m, const Int& a, const Int& b) {
  return (Int)_mm512_mask_add_epi32((__m512i)a, m.bits, (__m512i)a, (__m512i)b);
}
SPECTROMER_INLINE Float mul_add(const Float& a, const Float& b, const Float& c) { return _mm512_fmadd_ps(a, b, c); }
SPECTROMER_INLINE Float sqrt(const Float& v) { return _mm512_sqrt_ps(v); }
SPECTROMER_INLINE Float rsqrt(const Float& v) {
  const __m512 guess = _mm512_rsqrt14_ps(v);
  const __m512 off = _mm512_fnmadd_ps(_mm512_mul_ps(v, guess), guess, _mm512_set1_ps(1.0f));
  return _mm512_fmadd_ps(_mm512_mul_ps(guess, _mm512_set1_ps(0.5f)), off, guess);
}
SPECTROMER_INLINE Float reciprocal(const Float& v) {
  const __m512 guess = _mm512_rcp14_ps(v);
  return _mm512_fmadd_ps(guess, _mm512_fnmadd_ps(v, guess, _mm512_set1_ps(1.0f)), guess);
}
SPECTROMER_INLINE Float floor(const Float& v) { return _mm512_floor_ps(v); }

SPECTROMER_INLINE int reduce_min(const Int& v) { return _mm512_reduce_min_epi32((__m512i)v); }
SPECTROMER_INLINE float reduce_min(const Float& v) { return _mm512_reduce_min_ps(v); }
SPECTROMER_INLINE int reduce_sum(const Int& v) { return _mm512_reduce_add_epi32((__m512i)v); }

// ---- conversions ----

SPECTROMER_INLINE Float convert_to_float(const Int& v) { return _mm512_cvtepi32_ps((__m512i)v); }
SPECTROMER_INLINE Int convert_to_int(const Float& v) { return (Int)_mm512_cvttps_epi32(v); }
SPECTROMER_INLINE Float convert_to_float(const Double& v) {
  return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(v.low)), _mm512_cvtpd_ps(v.high), 1);
}

// ---- memory ----

SPECTROMER_INLINE Int load_bytes(const uint8_t* from) {
  return (Int)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)from));
}
SPECTROMER_INLINE void store_bytes(uint8_t* to, const Int& v) {
  _mm_storeu_si128((__m128i*)to, _mm512_cvtepi32_epi8((__m512i)v));
}
SPECTROMER_INLINE void compress_store(int* to, const Mask& m, const Int& v) {
  _mm512_storeu_si512(to, _mm512_maskz_compress_epi32(m.bits, (__m512i)v));
}

// ---- across lanes ----

SPECTROMER_INLINE Float slide_up(const Float& v, float first) {
  return (Float)_mm512_alignr_epi32((__m512i)v, _mm512_castps_si512(_mm512_set1_ps(first)), kLanes - 1);
}
SPECTROMER_INLINE Int slide_down(const Int& v, const Int& last) {
  return (Int)_mm512_alignr_epi32((__m512i)last, (__m512i)v, 1);
}
SPECTROMER_INLINE Float table_lookup(const Pair& table, const Int& index) {
  return _mm512_permutex2var_ps(table.low, (__m512i)index, table.high);
}

SPECTROMER_INLINE void transpose(Float (&v)[kLanes]) {
  __m512 a[kLanes], b[kLanes];
  for (int i = 0; i < kLanes; i += 2) {
    a[i] = _mm512_unpacklo_ps(v[i], v[i + 1]);
    a[i + 1] = _mm512_unpackhi_ps(v[i], v[i + 1]);
  }
  for (int i = 0; i < kLanes; i += 4) {
    for (int k = 0; k < 2; ++k) {
      const __m512d one = _mm512_castps_pd(a[i + k]), other = _mm512_castps_pd(a[i + k + 2]);
      b[i + 2 * k] = _mm512_castpd_ps(_mm512_unpacklo_pd(one, other));
      b[i + 2 * k + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(one, other));
    }
  }
  for (int k = 0; k < 4; ++k) {
    const __m512 c = _mm512_shuffle_f32x4(b[k], b[k + 4], 0x88), d = _mm512_shuffle_f32x4(b[k], b[k + 4], 0xdd);
    const __m512 e = _mm512_shuffle_f32x4(b[k + 8], b[k + 12], 0x88);
    const __m512 f = _mm512_shuffle_f32x4(b[k + 8], b[k + 12], 0xdd);
    v[k] = _mm512_shuffle_f32x4(c, e, 0x88);
    v[k + 4] = _mm512_shuffle_f32x4(d, f, 0x88);
    v[k + 8] = _mm512_shuffle_f32x4(c, e, 0xdd);
    v[k + 12] = _mm512_shuffle_f32x4(d, f, 0xdd);
  }
}

}  // namespace spectromer::SPECTROMER_TARGET
SPECTROMER_END_TARGET;

#endif
