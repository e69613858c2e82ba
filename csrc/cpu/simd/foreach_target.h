// Compiles kernels once for each vector target. Define SPECTROMER_TARGET_INCLUDE as the path of an -inl.h file relative
// to this folder, and include this file once in a source file.
//
// An -inl.h file holds code of one target, in a namespace of the target's name. It includes its own dependencies, so
// that an editor can parse it alone, as code for the baseline. Its include guard toggles with SPECTROMER_TARGET_TOGGLE,
// so that each target includes it once. (Google's Highway works the same way.)
#include "dispatch.h"

#ifdef SPECTROMER_TARGET
#error "foreach_target.h must come before all -inl.h files, and once"
#endif

#define SPECTROMER_TARGET baseline
#include SPECTROMER_TARGET_INCLUDE

#if SPECTROMER_MULTITARGET
#undef SPECTROMER_TARGET
#define SPECTROMER_TARGET avx2
#define SPECTROMER_TARGET_TOGGLE
#include SPECTROMER_TARGET_INCLUDE

#undef SPECTROMER_TARGET
#define SPECTROMER_TARGET avx512
#undef SPECTROMER_TARGET_TOGGLE
#include SPECTROMER_TARGET_INCLUDE
#endif
