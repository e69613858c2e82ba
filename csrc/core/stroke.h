// The shape of a stroke as Anti-Grain Geometry draws it, and the vocabulary of join-inl.h for one join at a time.
#pragma once

#include <cmath>

#include "macros.h"

namespace spectromer {

// What a stroke of some half-width looks like at its joins.
struct StrokeShape {
  float half;
  float arc;  // angle between two vertices of a round join

  SPECTROMER_HD explicit StrokeShape(float linewidth)
      : half(0.5f * linewidth), arc(2.0f * acosf(half / (half + 0.125f))) {}

  SPECTROMER_HD float most_steps() const { return 3.14159266f / arc; }
};

// As in cpu/simd/vector.h, with a single lane.
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
