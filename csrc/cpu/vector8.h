// Vectors of eight floats or four doubles, in the compiler's own notation: one register each with AVX2, two without.
// (Double8 is for arithmetic alone: GCC 12 compares and converts vectors of that width element by element.)
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "wide.h"

namespace spectromer {

constexpr int kLanes = 8;

typedef float Float8 __attribute__((vector_size(32)));
typedef int Int8 __attribute__((vector_size(32)));
typedef float Float4 __attribute__((vector_size(16)));
typedef double Double4 __attribute__((vector_size(32)));
typedef int64_t Long4 __attribute__((vector_size(32)));
typedef double Double8 __attribute__((vector_size(64)));

SPECTROMER_INLINE Float8 load8(const float* from) {
  Float8 v;
  std::memcpy(&v, from, sizeof v);
  return v;
}

SPECTROMER_INLINE Double4 load4(const double* from) {
  Double4 v;
  std::memcpy(&v, from, sizeof v);
  return v;
}

SPECTROMER_INLINE Double8 load8(const double* from) {
  Double8 v;
  std::memcpy(&v, from, sizeof v);
  return v;
}

// Four of eight floats as doubles.
SPECTROMER_INLINE Double4 low_half(const Float8& v) {
  return __builtin_convertvector(__builtin_shufflevector(v, v, 0, 1, 2, 3), Double4);
}
SPECTROMER_INLINE Double4 high_half(const Float8& v) {
  return __builtin_convertvector(__builtin_shufflevector(v, v, 4, 5, 6, 7), Double4);
}

// Stores eight floats as doubles.
SPECTROMER_INLINE void store8(double* to, const Float8& v) {
  const Double4 low = low_half(v), high = high_half(v);
  std::memcpy(to, &low, sizeof low);
  std::memcpy(to + 4, &high, sizeof high);
}

SPECTROMER_INLINE void store8(float* to, const Float8& v) { std::memcpy(to, &v, sizeof v); }

SPECTROMER_INLINE Float8 all_nan() { return std::numeric_limits<float>::quiet_NaN() - Float8{}; }

SPECTROMER_INLINE Float8 root(const Float8& v) {
  float values[kLanes];
  store8(values, v);
  for (int lane = 0; lane < kLanes; ++lane) values[lane] = sqrtf(values[lane]);
  return load8(values);
}

// `v` where `mask` is set, 0 elsewhere.
SPECTROMER_INLINE void keep(Float8& v, const Int8& mask) { v = (Float8)((Int8)v & mask); }

// Turns eight rows of eight into eight columns.
SPECTROMER_INLINE void transpose(Float8 (&rows)[kLanes]) {
  Float8 a[kLanes], b[kLanes];
  for (int i = 0; i < 4; ++i) {
    a[2 * i] = __builtin_shufflevector(rows[2 * i], rows[2 * i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    a[2 * i + 1] = __builtin_shufflevector(rows[2 * i], rows[2 * i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  for (int i = 0; i < 2; ++i) {
    const Float8* from = a + 4 * i;
    Float8* to = b + 4 * i;
    to[0] = __builtin_shufflevector(from[0], from[2], 0, 1, 8, 9, 4, 5, 12, 13);
    to[1] = __builtin_shufflevector(from[0], from[2], 2, 3, 10, 11, 6, 7, 14, 15);
    to[2] = __builtin_shufflevector(from[1], from[3], 0, 1, 8, 9, 4, 5, 12, 13);
    to[3] = __builtin_shufflevector(from[1], from[3], 2, 3, 10, 11, 6, 7, 14, 15);
  }
  for (int i = 0; i < 4; ++i) {
    rows[i] = __builtin_shufflevector(b[i], b[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    rows[i + 4] = __builtin_shufflevector(b[i], b[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
}

// Stores four vectors as the columns of four rows of four.
SPECTROMER_INLINE void store_columns(double* to, const Double4& a, const Double4& b, const Double4& c,
                                     const Double4& d) {
  const Double4 ab0 = __builtin_shufflevector(a, b, 0, 4, 2, 6), ab1 = __builtin_shufflevector(a, b, 1, 5, 3, 7);
  const Double4 cd0 = __builtin_shufflevector(c, d, 0, 4, 2, 6), cd1 = __builtin_shufflevector(c, d, 1, 5, 3, 7);
  const Double4 rows[4] = {
      __builtin_shufflevector(ab0, cd0, 0, 1, 4, 5), __builtin_shufflevector(ab1, cd1, 0, 1, 4, 5),
      __builtin_shufflevector(ab0, cd0, 2, 3, 6, 7), __builtin_shufflevector(ab1, cd1, 2, 3, 6, 7)};
  std::memcpy(to, rows, sizeof rows);
}

}  // namespace spectromer
