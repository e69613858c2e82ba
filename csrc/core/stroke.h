// The shape of a stroke drawn by Anti-Grain Geometry, and the types and functions of join-inl.h for a single lane.
#pragma once

#include <cmath>

#include "macros.h"

namespace spectromer {

// The parameters of a stroke's joins, from its half-width.
struct StrokeShape {
  float half;
  float arc;  // angle between two vertices of a round join

  SPECTROMER_HD explicit StrokeShape(float linewidth)
      : half(0.5f * linewidth), arc(2.0f * acosf(half / (half + 0.125f))) {}

  SPECTROMER_HD float most_steps() const { return 3.14159266f / arc; }
};

// These are the functions of cpu/simd/vector.h for a single lane.
namespace one_lane {

typedef float Float;
typedef bool Mask;

SPECTROMER_HD_INLINE float splat(float v) { return v; }
SPECTROMER_HD_INLINE bool lt(float a, float b) { return a < b; }
SPECTROMER_HD_INLINE bool le(float a, float b) { return a <= b; }
SPECTROMER_HD_INLINE float select(bool m, float a, float b) { return m ? a : b; }
SPECTROMER_HD_INLINE float sqrt(float v) { return sqrtf(v); }
SPECTROMER_HD_INLINE float floor(float v) { return floorf(v); }

}  // namespace one_lane
}  // namespace spectromer
