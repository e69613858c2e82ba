// Which of the levels of each_level.h the kernels run at.
#pragma once

#if defined(__GNUC__)
#define SPECTROMER_INLINE inline __attribute__((always_inline))
#define SPECTROMER_INLINE_LAMBDA __attribute__((always_inline))
#else
#define SPECTROMER_INLINE inline
#define SPECTROMER_INLINE_LAMBDA
#endif

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define SPECTROMER_LEVELS 1
#else
#define SPECTROMER_LEVELS 0
#endif

namespace spectromer {

// The widest level that this processor has: 4 (AVX-512), 3 (AVX2) or 1, of x86-64; 1 elsewhere.
int widest_vector_level();

// The level in use; at first the widest. To be set while no operator runs.
int vector_level();
void set_vector_level(int level);

}  // namespace spectromer
