// Compiler-specific macros for core/, and scalar arithmetic with identical results on the CPU and on a GPU.
#pragma once

#include <cmath>

// SPECTROMER_HD_SELDOM is for functions that are seldom called, whose registers would be missed by all other code.
// SPECTROMER_HD_INLINE is for functions that must be compiled along with their caller, for its vector target (see
// cpu/simd/dispatch.h).
#ifdef __CUDACC__
#define SPECTROMER_HD __host__ __device__ inline
#define SPECTROMER_HD_INLINE __host__ __device__ __forceinline__
#define SPECTROMER_HD_SELDOM __host__ __device__ __noinline__ inline
#elif defined(__GNUC__)
#define SPECTROMER_HD inline
#define SPECTROMER_HD_INLINE inline __attribute__((always_inline))
#define SPECTROMER_HD_SELDOM inline
#else
#define SPECTROMER_HD inline
#define SPECTROMER_HD_INLINE inline
#define SPECTROMER_HD_SELDOM inline
#endif

namespace spectromer {

using std::isfinite;  // the C macro of the same name does not exist in C++'s headers

// If the first value is NaN, these return the second one. Each is thus a single instruction on a GPU and in a CPU's
// vector units.
#ifdef __CUDA_ARCH__
SPECTROMER_HD float min(float a, float b) { return fminf(a, b); }
SPECTROMER_HD float max(float a, float b) { return fmaxf(a, b); }
#else
SPECTROMER_HD float min(float a, float b) { return a < b ? a : b; }
SPECTROMER_HD float max(float a, float b) { return a > b ? a : b; }
#endif
SPECTROMER_HD int min(int a, int b) { return a < b ? a : b; }
SPECTROMER_HD int max(int a, int b) { return a > b ? a : b; }
SPECTROMER_HD float clamp(float value, float low, float high) { return min(max(value, low), high); }

// Other types would be converted to float silently. Use std::min and std::max for them.
template <class T>
T min(T, T) = delete;
template <class T>
T max(T, T) = delete;

// 1 / value, correctly rounded, for a value whose reciprocal is a normal number as well.
SPECTROMER_HD float reciprocal(float value) {
#ifdef __CUDA_ARCH__
  float guess;  // the hardware's approximation, without the branch that other values need
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(guess) : "f"(value));
  return __fmaf_rn(guess, __fmaf_rn(-value, guess, 1.0f), guess);
#else
  return 1.0f / value;
#endif
}

}  // namespace spectromer
