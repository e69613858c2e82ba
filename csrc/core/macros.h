#pragma once

#include <cmath>

// SPECTROMER_HD_INLINE is for what has to be compiled along with its caller (see cpu/each_level.h).
#ifdef __CUDACC__
#define SPECTROMER_HD __host__ __device__ inline
#define SPECTROMER_HD_INLINE __host__ __device__ __forceinline__
#elif defined(__GNUC__)
#define SPECTROMER_HD inline
#define SPECTROMER_HD_INLINE inline __attribute__((always_inline))
#else
#define SPECTROMER_HD inline
#define SPECTROMER_HD_INLINE inline
#endif

namespace spectromer {
using std::isfinite;  // the C macro of the same name does not exist in C++'s headers

// The second where the first is NaN, so that each is one instruction, of a GPU and of a CPU's vectors.
#ifdef __CUDA_ARCH__
SPECTROMER_HD float smaller(float a, float b) { return fminf(a, b); }
SPECTROMER_HD float larger(float a, float b) { return fmaxf(a, b); }
#else
SPECTROMER_HD float smaller(float a, float b) { return a < b ? a : b; }
SPECTROMER_HD float larger(float a, float b) { return a > b ? a : b; }
#endif
SPECTROMER_HD float clamped(float value, float low, float high) { return smaller(larger(value, low), high); }

// 1 / value, correctly rounded, for a value whose reciprocal is a normal number too.
SPECTROMER_HD float reciprocal(float value) {
#ifdef __CUDA_ARCH__
  float guess;  // what a division begins with, without its branch for the other values
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(guess) : "f"(value));
  return __fmaf_rn(guess, __fmaf_rn(-value, guess, 1.0f), guess);
#else
  return 1.0f / value;
#endif
}
}
