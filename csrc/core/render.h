// How the values of a spectrum become heights and levels. CPU and CUDA.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "macros.h"

namespace spectromer {

// The values between which a picture is drawn. Without contrast they lie half a unit to both sides.
struct ValueRange {
  float bottom, span;
  bool flat;
};

SPECTROMER_HD ValueRange value_range(float bottom, float top) {
  const bool flat = !(top > bottom);
  return ValueRange{flat ? bottom - 0.5f : bottom, flat ? 1.0f : top - bottom, flat};
}

// Share of the height at which a value stands, with `margin` left free at both ends.
SPECTROMER_HD float height_share(float value, const ValueRange& range, float margin) {
  return margin + ((1.0f - 2.0f * margin) / range.span) * (value - range.bottom);
}

// A share as a level; NaN, which stands for no value, as 0.
SPECTROMER_HD uint8_t share_level(float share) {
  return static_cast<uint8_t>(static_cast<int>(255.0f * smaller(larger(share, 0.0f), 1.0f) + 0.5f));
}

// The gradient of a value between its neighbours, any of them NaN where there is none: central, or one-sided at a gap.
SPECTROMER_HD float gradient(float left, float value, float right) {
  const bool has_left = left == left, has_right = right == right;
  const float from = has_left ? left : value, to = has_right ? right : value;
  const float per_step = has_left && has_right ? 0.5f : has_left || has_right ? 1.0f : NAN;
  return value == value ? (to - from) * per_step : NAN;
}

// A level as a value of the image's type; 16 bits are those of the nearest bfloat16, ties to even.
SPECTROMER_HD_INLINE void put_level(int level, float, float, uint8_t& to) { to = static_cast<uint8_t>(level); }

SPECTROMER_HD_INLINE void put_level(int level, float factor, float offset, float& to) {
  to = factor * static_cast<float>(level) + offset;
}

SPECTROMER_HD_INLINE void put_level(int level, float factor, float offset, uint16_t& to) {
  float value;
  put_level(level, factor, offset, value);
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  to = static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// A value after ink has been laid over it: `share` is the opacity / 255.
SPECTROMER_HD_INLINE float inked(float value, float ink, float share, uint8_t level) {
  return value + (ink - value) * (share * static_cast<float>(level));
}

// Where panel `panel` of `panels` begins among `count` bins; the first ones have one bin more if they do not divide.
SPECTROMER_HD int64_t panel_start(int64_t count, int64_t panels, int64_t panel) {
  const int64_t extra = count % panels;
  return panel * (count / panels) + (panel < extra ? panel : extra);
}

}  // namespace spectromer
