// An order-preserving map from floats to integers, with which percentiles are found. CPU and CUDA.
#pragma once

#include <cstring>

#include "macros.h"

namespace spectromer {

SPECTROMER_HD_INLINE int order_of(float value) {
  int bits;
  memcpy(&bits, &value, sizeof bits);
  return bits ^ ((bits >> 31) & 0x7fffffff);
}

// The inverse of order_of.
SPECTROMER_HD_INLINE float value_of(int order) {
  const int bits = order ^ ((order >> 31) & 0x7fffffff);
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

// numpy's linear percentile at a position whose whole part is `rank`, between the value of that rank and the next.
SPECTROMER_HD_INLINE float between_ranks(float value, float next, double position, double rank) {
  return value + (next - value) * static_cast<float>(position - rank);
}

}  // namespace spectromer
