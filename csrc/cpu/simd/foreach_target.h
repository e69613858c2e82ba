// Compiles kernels once for each vector target. Define SPECTROMER_TARGET_INCLUDE as the name of an -inl.h file, seen
// from this folder, and include this file, once in a source file.
//
// An -inl.h file holds code of one target, in a namespace of its name. It includes what it needs, so that an editor can
// open it by itself; it is then compiled for the baseline. Its include guard flips with SPECTROMER_TARGET_TOGGLE, so
// that each target takes it once. (This is the way of Google's Highway.)
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
