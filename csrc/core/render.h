// The conversion of a spectrum's values to heights and grey levels, and the positions of its bins. CPU and CUDA.
#pragma once

#include <cfloat>
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

// The horizontal axis of one panel of a spectrum's own pixels, from the first to the last of them.
struct OwnAxis {
  double origin, span;  // first place, and distance to the last
  double side, width;   // share of the width left free at either end; pixels
  bool logarithmic;

  SPECTROMER_HD OwnAxis(const RenderArgs& a, double first, double last, int64_t count)
      : side(static_cast<double>(a.side_margin)), width(static_cast<double>(a.size)), logarithmic(a.log_axis) {
    origin = place(first);
    span = count > 1 ? place(last) - origin : 1.0;
    if (!(span > 0.0)) span = 1.0;  // the logarithms of neighbouring numbers may be equal
  }

  // (A logarithmic axis has no place for wavelengths below 0, which the CPU refuses.)
  SPECTROMER_HD double place(double wavelength) const {
    return !logarithmic ? wavelength : wavelength > 0.0 ? log(wavelength) : log(DBL_MIN);
  }

  SPECTROMER_HD float x(double wavelength) const {
    const double share = side + (1.0 - 2.0 * side) * ((place(wavelength) - origin) / span);
    return clamp(static_cast<float>(width * share), 0.0f, static_cast<float>(width));
  }
};

// The extent of a bin along x, half-way to its neighbours. The first and the last bin extend as far outwards as
// inwards, and a single bin covers everything.
struct Extent {
  float left, right;
};

template <class X>
SPECTROMER_HD Extent bin_extent(X x, int64_t count, int64_t i, float width) {
  const float ahead = i + 1 < count ? x[i + 1] - x[i] : i > 0 ? x[i] - x[i - 1] : 2.0f * width;
  const float behind = i > 0 ? x[i] - x[i - 1] : ahead;
  return Extent{x[i] - 0.5f * behind, x[i] + 0.5f * ahead};
}

// The bin of the square in the given line and column, with `side` squares per line.
template <class Index>
SPECTROMER_HD Index square_bin(Index line, Index column, Index side, bool boustrophedon) {
  return line * side + (boustrophedon && line % 2 == 1 ? side - 1 - column : column);
}

// Values that differ by less than this fraction of them differ by rounding. Resampling rounds to a twentieth of it.
constexpr float kRounding = 1.0f / (1 << 18);

// The rounding of fluxes between two limits, and of their derivatives.
SPECTROMER_HD float rounding_of(float bottom, float top) { return kRounding * max(fabsf(bottom), fabsf(top)); }

// The values at the bottom and the top of a picture. If they differ by no more than `rounding`, the picture is flat:
// the values are drawn in the middle of a range in which their rounding does not show.
struct ValueRange {
  float bottom, span;
  bool flat;
};

SPECTROMER_HD ValueRange value_range(float bottom, float top, float rounding) {
  const bool flat = !(top - bottom > rounding);
  const float span = flat ? max(4096.0f * rounding, 1.0f) : top - bottom;
  return ValueRange{flat ? bottom - 0.5f * span : bottom, span, flat};
}

// The height at which a value is drawn, as a fraction of the picture's height, with a free `margin` at either end.
SPECTROMER_HD float height_share(float value, const ValueRange& range, float margin) {
  return margin + ((1.0f - 2.0f * margin) / range.span) * (value - range.bottom);
}

// The y of a value in a panel of the given height, in pixels from its top edge.
SPECTROMER_HD_INLINE float line_y(float value, const ValueRange& range, float margin, float height) {
  return height * (1.0f - height_share(value, range, margin));
}

// A standard deviation of 1 as a fraction of the height; NaN if the scale has no contrast.
SPECTROMER_HD float sigma_share(const ValueRange& range, float margin) {
  return range.flat ? NAN : (1.0f - 2.0f * margin) / range.span;
}

// The length of a standard deviation; `per_sigma` is the length of a deviation of 1.
SPECTROMER_HD_INLINE float sigma_reach(float ivar, float per_sigma) { return per_sigma / sqrtf(ivar); }

// The grey level of a fraction. NaN, which stands for a missing value, becomes 0.
SPECTROMER_HD uint8_t share_level(float share) {
  return static_cast<uint8_t>(static_cast<int>(255.0f * min(max(share, 0.0f), 1.0f) + 0.5f));
}

// The gradient at a value, from its neighbours, which are NaN if missing: central, or one-sided next to a gap.
SPECTROMER_HD float gradient(float left, float value, float right) {
  const bool has_left = left == left, has_right = right == right;
  const float from = has_left ? left : value, to = has_right ? right : value;
  const float per_step = has_left && has_right ? 0.5f : has_left || has_right ? 1.0f : NAN;
  return value == value ? (to - from) * per_step : NAN;
}

// Stores a grey level in the type of the image. The 16-bit type is bfloat16, rounded to nearest with ties to even.
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

// A value after compositing with ink of a given grey level; `share` is opacity / 255.
SPECTROMER_HD_INLINE float inked(float value, float ink, float share, uint8_t level) {
  return value + (ink - value) * (share * static_cast<float>(level));
}

// The first bin of panel `panel` of `panels`, among `count` bins. If the bins cannot be divided equally, the first
// panels have one bin more.
SPECTROMER_HD int64_t panel_start(int64_t count, int64_t panels, int64_t panel) {
  const int64_t extra = count % panels;
  return panel * (count / panels) + (panel < extra ? panel : extra);
}

// The bins of a panel.
struct PanelBins {
  int64_t begin, count;
};

SPECTROMER_HD PanelBins panel_bins(int64_t count, int64_t panels, int64_t panel) {
  const int64_t begin = panel_start(count, panels, panel), end = panel_start(count, panels, panel + 1);
  return PanelBins{begin, end - begin};
}

}  // namespace spectromer
