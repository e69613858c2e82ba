// Vectors of kLanes floats or integers for the current target, to be included by kernels. types-inl.h defines the
// types. Names follow numpy or Google's Highway. Each target provides, in its file or through generic-inl.h:
//
//   Mask                        one truth value per lane, with &, | and ~
//   mask_from_bits(bits)        sets lane k where bit k is set
//   bits_from_mask(m)           the inverse; bits beyond kLanes are 0
//   lt, le, eq(a, b)            comparisons; false for NaN. lt takes Float, Int and Double, le Float, eq Int
//   is_nan(a)
//   select(m, a, b)             a where m is set, b elsewhere
//   min, max(a, b)              b where a or b is NaN, as with scalars (core/macros.h); of a Short and a float, too
//   masked_add(m, a, b)         a + b where m is set, a elsewhere
//   mul_add(a, b, c)            a * b + c, rounded once if there is an instruction for it
//   sqrt, floor(v)
//   rsqrt, reciprocal(v)        1 / sqrt(v) and 1 / v within 1e-7, for |v| from 1e-37 to 1e37
//   reduce_min, reduce_sum(v)   over all lanes
//   convert_to_float(v)         of an Int or a Double
//   convert_to_int(v)           of a Float, rounded towards 0
//   load_bytes(from)            kLanes bytes as an Int
//   store_bytes(to, v)          the low byte of each lane
//   compress_store(to, m, v)    stores the lanes that m sets contiguously; the values after them, up to kLanes in
//                               all, may be overwritten
//   slide_up(v, first)          moves each lane's value to the next lane; lane 0 gets `first`
//   slide_down(v, last)         moves each lane's value to the lane before; the last lane gets lane 0 of `last`
//   table_lookup(table, index)  for each lane the value at its index, from 0 to 2 * kLanes - 1
//   transpose(v)                transposes kLanes vectors of kLanes values
#include <cstdint>
#include <cstring>

#include "../../core/macros.h"
#include "types-inl.h"

#if SPECTROMER_LANES == 16
#include "avx512-inl.h"
#else
#include "generic-inl.h"
#endif

#if defined(SPECTROMER_CPU_SIMD_VECTOR_H) == defined(SPECTROMER_TARGET_TOGGLE)
#ifdef SPECTROMER_CPU_SIMD_VECTOR_H
#undef SPECTROMER_CPU_SIMD_VECTOR_H
#else
#define SPECTROMER_CPU_SIMD_VECTOR_H
#endif

SPECTROMER_BEGIN_TARGET;
namespace spectromer::SPECTROMER_TARGET {

// The overloads for scalars, which the vectors' would hide.
using spectromer::max;
using spectromer::min;

SPECTROMER_INLINE bool any_true(const Mask& m) { return bits_from_mask(m) != 0; }
SPECTROMER_INLINE bool all_true(const Mask& m) { return !any_true(~m); }

// `v` where the mask is set, 0 elsewhere.
SPECTROMER_INLINE Float select_or_zero(const Mask& m, const Float& v) { return select(m, v, Float{}); }

SPECTROMER_INLINE Float abs(const Float& v) { return (Float)((Int)v & 0x7fffffff); }

SPECTROMER_INLINE Int slide_down(const Int& v, int last) { return slide_down(v, splat(last)); }
SPECTROMER_INLINE Float slide_down(const Float& v, float last) { return (Float)slide_down((Int)v, (Int)splat(last)); }

// ---- memory, of any alignment ----

SPECTROMER_INLINE Float load(const float* from) {
  Float v;
  std::memcpy(&v, from, sizeof v);
  return v;
}

SPECTROMER_INLINE Int load(const int* from) {
  Int v;
  std::memcpy(&v, from, sizeof v);
  return v;
}

SPECTROMER_INLINE Double load(const double* from) {
  Double v;
  std::memcpy(&v.low, from, sizeof v.low);
  std::memcpy(&v.high, from + kLanes / 2, sizeof v.high);
  return v;
}

// (With memcpy, GCC would assume that any variable may be changed.)
SPECTROMER_INLINE void store(float* to, const Float& v) {
  typedef Float Unaligned __attribute__((aligned(4)));
  *reinterpret_cast<Unaligned*>(to) = v;
}
SPECTROMER_INLINE void store(int* to, const Int& v) { std::memcpy(to, &v, sizeof v); }

// Copies the `count` values at indices from `at` on; those outside [0, end) are 0. (It is seldom needed and therefore
// not inlined.)
__attribute__((noinline)) inline void copy_partial(const float* from, int64_t at, int64_t end, float* to,
                                                   int64_t count) {
  for (int64_t k = 0; k < count; ++k) to[k] = at + k >= 0 && at + k < end ? from[at + k] : 0.0f;
}

// Loads the kLanes values at indices from `at` on; those outside [0, end) are 0.
SPECTROMER_INLINE Float load_partial(const float* from, int64_t at, int64_t end) {
  if (at >= 0 && at + kLanes <= end) return load(from + at);
  float values[kLanes];
  copy_partial(from, at, end, values, kLanes);
  return load(values);
}

__attribute__((noinline)) inline void store_less(float* to, Float v, int64_t count) {
  std::memcpy(to, &v, static_cast<size_t>(count) * sizeof(float));
}

// Stores the first `count` lanes, or all lanes if `count` is larger.
SPECTROMER_INLINE void store_partial(float* to, const Float& v, int64_t count) {
  if (count >= kLanes) {
    store(to, v);
  } else {
    store_less(to, v, count);
  }
}

// Writes 16 rows of 16 bytes as columns, which begin `stride` bytes apart.
SPECTROMER_INLINE void transpose_bytes(const uint8_t (&from)[16][16], uint8_t* to, int64_t stride) {
  typedef uint8_t Bytes __attribute__((vector_size(16)));
  Bytes a[16], b[16];
  std::memcpy(a, from, sizeof a);
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < 8; ++i) {
      b[2 * i] = __builtin_shufflevector(a[i], a[i + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      b[2 * i + 1] =
          __builtin_shufflevector(a[i], a[i + 8], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    }
    for (int i = 0; i < 16; ++i) a[i] = b[i];
  }
  for (int i = 0; i < 16; ++i) std::memcpy(to + i * stride, &a[i], sizeof a[i]);
}

// ---- double precision ----

SPECTROMER_INLINE Double operator-(const Double& a, const Double& b) { return {a.low - b.low, a.high - b.high}; }

SPECTROMER_INLINE Double min(const Double& a, const Double& b) {
  return {a.low < b.low ? a.low : b.low, a.high < b.high ? a.high : b.high};
}
SPECTROMER_INLINE Double max(const Double& a, const Double& b) {
  return {a.low > b.low ? a.low : b.low, a.high > b.high ? a.high : b.high};
}

SPECTROMER_INLINE Double midpoint(const Double& a, const Double& b) {
  return {0.5 * (a.low + b.low), 0.5 * (a.high + b.high)};
}

// Each value truncated to the precision of a float.
SPECTROMER_INLINE Double truncate_to_float(const Double& v) {
  typedef int64_t Bits __attribute__((vector_size(4 * kLanes)));
  const int64_t digits = ~((int64_t{1} << 29) - 1);
  return {(Half)((Bits)v.low & digits), (Half)((Bits)v.high & digits)};
}

}  // namespace spectromer::SPECTROMER_TARGET
SPECTROMER_END_TARGET;

#endif
