// How the values of a spectrum become heights and levels, and where its bins lie. CPU and CUDA.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "../ops.h"
#include "macros.h"

namespace spectromer {

// Marks are drawn as columns or squares of full ink, without a scale.
SPECTROMER_HD bool is_mark(Quantity quantity) { return quantity == Quantity::mask || quantity == Quantity::regions; }

// Derivatives have a scale of their own.
SPECTROMER_HD bool is_derivative(Quantity quantity) {
  return quantity == Quantity::first || quantity == Quantity::second;
}

// Where the pixels of one panel lie, drawn from its first to its last.
struct OwnAxis {
  double origin, span;  // of `place`
  double side, width;   // share left free at both ends; pixels
  bool logarithmic;

  SPECTROMER_HD OwnAxis(const RenderArgs& a, double first, double last, int64_t count)
      : side(static_cast<double>(a.side_margin)), width(static_cast<double>(a.size)), logarithmic(a.log_axis) {
    origin = place(first);
    span = count > 1 ? place(last) - origin : 1.0;
  }

  SPECTROMER_HD double place(double wavelength) const { return logarithmic ? log(wavelength) : wavelength; }

  SPECTROMER_HD float x(double wavelength) const {
    return static_cast<float>(width * (side + (1.0 - 2.0 * side) * ((place(wavelength) - origin) / span)));
  }
};

// What a bin covers along x: half-way to its neighbours, and as far beyond the first and the last; a bin alone covers
// everything.
struct Extent {
  float left, right;
};

template <class X>
SPECTROMER_HD Extent bin_extent(X x, int64_t count, int64_t i, float width) {
  const float ahead = i + 1 < count ? x[i + 1] - x[i] : i > 0 ? x[i] - x[i - 1] : 2.0f * width;
  const float behind = i > 0 ? x[i] - x[i - 1] : ahead;
  return Extent{x[i] - 0.5f * behind, x[i] + 0.5f * ahead};
}

// Which bin the square in some line and column stands for, with `side` squares a line.
template <class Index>
SPECTROMER_HD Index square_bin(Index line, Index column, Index side, bool boustrophedon) {
  return line * side + (boustrophedon && line % 2 == 1 ? side - 1 - column : column);
}

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

// One standard deviation of 1, as a share of the height; NaN where the scale has no contrast.
SPECTROMER_HD float sigma_share(const ValueRange& range, float margin) {
  return range.flat ? NAN : (1.0f - 2.0f * margin) / range.span;
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
