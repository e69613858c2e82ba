// SPECTROMER_WIDE compiles a function for several x86-64 vector widths; the widest that the processor has is chosen
// when the extension is loaded. What it calls must be SPECTROMER_INLINE (a lambda SPECTROMER_INLINE_LAMBDA) to be
// compiled along. Elsewhere the compiler's baseline has to do.
#pragma once

#if defined(__GNUC__)
#define SPECTROMER_INLINE inline __attribute__((always_inline))
#define SPECTROMER_INLINE_LAMBDA __attribute__((always_inline))
#else
#define SPECTROMER_INLINE inline
#define SPECTROMER_INLINE_LAMBDA
#endif

#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__)
#define SPECTROMER_WIDE __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define SPECTROMER_WIDE
#endif
