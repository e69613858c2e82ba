// The vector targets: the instruction sets for which the CPU's kernels are compiled, and the one in use.
//
// foreach_target.h compiles the kernels of an operator once per target, each in a namespace of the target's name.
// SPECTROMER_DISPATCH(f) is the f of the target in use. If targets cannot be switched within a file (with Clang, or for
// processors other than x86-64), the baseline is the only target.
#pragma once

#include <string>
#include <vector>

#if defined(__GNUC__)
#define SPECTROMER_INLINE inline __attribute__((always_inline))
#define SPECTROMER_INLINE_LAMBDA __attribute__((always_inline))
#else
#define SPECTROMER_INLINE inline
#define SPECTROMER_INLINE_LAMBDA
#endif

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define SPECTROMER_MULTITARGET 1
#else
#define SPECTROMER_MULTITARGET 0
#endif

// The macros below are for code that is compiled once per target, where SPECTROMER_TARGET is the target's name.
// Namespaces of a target lie between SPECTROMER_BEGIN_TARGET and SPECTROMER_END_TARGET, each with a semicolon.
#define SPECTROMER_CONCATENATE(a, b) a##b
#define SPECTROMER_OF_TARGET(prefix, target) SPECTROMER_CONCATENATE(prefix, target)
#define SPECTROMER_LANES SPECTROMER_OF_TARGET(SPECTROMER_LANES_, SPECTROMER_TARGET)
#define SPECTROMER_BEGIN_TARGET SPECTROMER_OF_TARGET(SPECTROMER_BEGIN_, SPECTROMER_TARGET)
#define SPECTROMER_END_TARGET SPECTROMER_OF_TARGET(SPECTROMER_END_, SPECTROMER_TARGET)

#define SPECTROMER_LANES_baseline 4
#define SPECTROMER_BEGIN_baseline static_assert(true)
#define SPECTROMER_END_baseline static_assert(true)

#define SPECTROMER_LANES_avx2 8
#define SPECTROMER_LANES_avx512 16
#ifdef __clang__  // only for editors, as a build with Clang has just the baseline
#define SPECTROMER_BEGIN_avx2 \
  _Pragma("clang attribute push(__attribute__((target(\"arch=x86-64-v3\"))), apply_to = function)") static_assert(true)
#define SPECTROMER_BEGIN_avx512 \
  _Pragma("clang attribute push(__attribute__((target(\"arch=x86-64-v4\"))), apply_to = function)") static_assert(true)
#define SPECTROMER_END_avx2 _Pragma("clang attribute pop") static_assert(true)
#define SPECTROMER_END_avx512 _Pragma("clang attribute pop") static_assert(true)
#else
#define SPECTROMER_BEGIN_avx2 _Pragma("GCC push_options") _Pragma("GCC target(\"arch=x86-64-v3\")") static_assert(true)
#define SPECTROMER_BEGIN_avx512 \
  _Pragma("GCC push_options") _Pragma("GCC target(\"arch=x86-64-v4\")") static_assert(true)
#define SPECTROMER_END_avx2 _Pragma("GCC pop_options") static_assert(true)
#define SPECTROMER_END_avx512 _Pragma("GCC pop_options") static_assert(true)
#endif

#if SPECTROMER_MULTITARGET
#define SPECTROMER_DISPATCH(function)                          \
  (::spectromer::target() == Target::avx512 ? avx512::function \
   : ::spectromer::target() == Target::avx2 ? avx2::function   \
                                            : baseline::function)
#else
#define SPECTROMER_DISPATCH(function) baseline::function
#endif

namespace spectromer {

// From the narrowest to the widest. avx2 and avx512 are x86-64-v3 and x86-64-v4.
enum class Target : int { baseline, avx2, avx512 };

// The targets that this processor and this build support, from the baseline to the widest.
const std::vector<Target>& supported_targets();

std::string target_name(Target target);

// The target in use, which is the widest supported one at first. It may only be set while no operator runs.
Target target();
void set_target(Target target);

}  // namespace spectromer
