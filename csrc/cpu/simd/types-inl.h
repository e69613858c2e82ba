// The vector types of a target, one register each: 16 lanes of 4 bytes with AVX-512, 8 with AVX2, 4 in the baseline.
// They are the compiler's vector extensions, with arithmetic by operators (a + b, a * 2.0f, v[3], a << 1).
#include <cstdint>

#include "dispatch.h"

#ifndef SPECTROMER_TARGET  // a file has been opened by itself, as in an editor
#define SPECTROMER_TARGET baseline
#endif

#if defined(SPECTROMER_CPU_SIMD_TYPES_INL_H) == defined(SPECTROMER_TARGET_TOGGLE)
#ifdef SPECTROMER_CPU_SIMD_TYPES_INL_H
#undef SPECTROMER_CPU_SIMD_TYPES_INL_H
#else
#define SPECTROMER_CPU_SIMD_TYPES_INL_H
#endif

SPECTROMER_BEGIN_TARGET;
namespace spectromer::SPECTROMER_TARGET {

constexpr int kLanes = SPECTROMER_LANES;

typedef float Float __attribute__((vector_size(4 * kLanes)));
typedef int Int __attribute__((vector_size(4 * kLanes)));

// A table of 2 * kLanes floats.
struct Pair {
  Float low, high;
};

// kLanes doubles in two halves.
typedef double Half __attribute__((vector_size(4 * kLanes)));
struct Double {
  Half low, high;
};

// The lanes of a vector for runs that are seldom longer than 8.
constexpr int kShortLanes = kLanes < 8 ? kLanes : 8;
typedef float Short __attribute__((vector_size(4 * kShortLanes)));

// 0, 1, 2, ...
SPECTROMER_INLINE Int iota() {
#if SPECTROMER_LANES == 16
  return Int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
#elif SPECTROMER_LANES == 8
  return Int{0, 1, 2, 3, 4, 5, 6, 7};
#else
  return Int{0, 1, 2, 3};
#endif
}

SPECTROMER_INLINE Float splat(float v) { return v - Float{}; }
SPECTROMER_INLINE Int splat(int v) { return v - Int{}; }

}  // namespace spectromer::SPECTROMER_TARGET
SPECTROMER_END_TARGET;

#endif
