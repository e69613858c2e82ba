// The conversion of values to heights and grey levels, and of planes to channels. One target's code.
#include <cmath>
#include <limits>

#include "../core/render.h"
#include "../core/resample.h"
#include "percentiles-inl.h"

#if defined(SPECTROMER_CPU_RENDER_INL_H) == defined(SPECTROMER_TARGET_TOGGLE)
#ifdef SPECTROMER_CPU_RENDER_INL_H
#undef SPECTROMER_CPU_RENDER_INL_H
#else
#define SPECTROMER_CPU_RENDER_INL_H
#endif

SPECTROMER_BEGIN_TARGET;
namespace spectromer::SPECTROMER_TARGET {

// ---- values ----

// Copies the good fluxes, with NaN in place of all others.
inline void mask_values(const float* flux, const float* ivar, int64_t count, float* to) {
  for (int64_t i = 0; i < count; ++i) {
    to[i] = good_pixel(flux[i], ivar[i]) ? flux[i] : std::numeric_limits<float>::quiet_NaN();
  }
}

inline void take_gradient(const float* values, int64_t count, float* to) {
  const auto at = [&](int64_t i) SPECTROMER_INLINE_LAMBDA { return i >= 0 && i < count ? values[i] : NAN; };
  if (count > 0) to[0] = gradient(NAN, values[0], at(1));
  for (int64_t i = 1; i + 1 < count; ++i) to[i] = gradient(values[i - 1], values[i], values[i + 1]);
  if (count > 1) to[count - 1] = gradient(at(count - 2), values[count - 1], NAN);
}

// ---- heights and levels ----

// The least and the greatest of the values that are not NaN.
inline void extremes(const float* values, int64_t count, float* found) {
  float low = INFINITY, high = -INFINITY;
  for (int64_t i = 0; i < count; ++i) {
    low = values[i] < low ? values[i] : low;
    high = values[i] > high ? values[i] : high;
  }
  found[0] = low;
  found[1] = high;
}

inline void to_heights(const float* values, int64_t count, ValueRange range, float margin, float height, float* y) {
  for (int64_t i = 0; i < count; ++i) y[i] = line_y(values[i], range, margin, height);
}

// The heights one standard deviation above and below.
inline void to_band(const float* y, const float* ivar, int64_t count, float per_sigma, float* upper, float* lower) {
  for (int64_t i = 0; i < count; ++i) {
    const float reach = sigma_reach(ivar[i], per_sigma);
    upper[i] = y[i] - reach;
    lower[i] = y[i] + reach;
  }
}

inline void value_levels(const float* values, int64_t count, ValueRange range, float margin, uint8_t* levels) {
  for (int64_t i = 0; i < count; ++i) levels[i] = share_level(height_share(values[i], range, margin));
}

inline void error_levels(const float* values, const float* ivar, int64_t count, float per_sigma, uint8_t* levels) {
  for (int64_t i = 0; i < count; ++i) {
    levels[i] = share_level(values[i] == values[i] ? sigma_reach(ivar[i], per_sigma) : 0.0f);
  }
}

// ---- planes to channels ----

constexpr int kStrip = 64;  // pixels processed at a time

// Writes `count` pixels, from `begin` on, of one channel of an image from its planes [planes, pixels]. Most strips of
// most pictures are blank.
template <class Value>
SPECTROMER_INLINE void put_strip(const RenderArgs& a, int64_t channel, const uint8_t* planes, int64_t begin,
                                 int64_t count, Value* to) {
  const int64_t pixels = a.size * a.size;
  const float factor = a.factor[channel], offset = a.offset[channel];
  const int64_t first = a.inks != nullptr || a.colormap != nullptr ? 0 : channel;
  const int64_t end = a.inks != nullptr ? a.planes() : first + 1;
  const float ground = a.light ? 255.0f : 0.0f;
  uint8_t inked_at_all = 0;
  for (int64_t k = first; k < end; ++k) {
    for (int64_t i = 0; i < count; ++i) inked_at_all |= planes[k * pixels + begin + i];
  }
  if (inked_at_all == 0) {
    Value blank;
    put_level(a.colormap != nullptr ? a.colormap[channel] : static_cast<int>(ground), factor, offset, blank);
    for (int64_t i = 0; i < count; ++i) to[i] = blank;
    return;
  }
  int level[kStrip];
  if (a.colormap != nullptr) {
    for (int64_t i = 0; i < count; ++i) level[i] = a.colormap[3 * planes[begin + i] + channel];
  } else {
    float value[kStrip];
    for (int64_t i = 0; i < count; ++i) value[i] = ground;
    for (int64_t k = first; k < end; ++k) {
      const float ink = a.inks != nullptr ? a.inks[3 * k + channel] : 255.0f - ground;
      const float share = a.alpha[k] / 255.0f;
      const uint8_t* plane = planes + k * pixels + begin;
      for (int64_t i = 0; i < count; ++i) value[i] = inked(value[i], ink, share, plane[i]);
    }
    for (int64_t i = 0; i < count; ++i) level[i] = static_cast<int>(value[i] + 0.5f);
  }
  for (int64_t i = 0; i < count; ++i) put_level(level[i], factor, offset, to[i]);
}

template <class Value>
SPECTROMER_INLINE void put_channel(const RenderArgs& a, int64_t channel, const uint8_t* planes, Value* out) {
  const int64_t pixels = a.size * a.size;
  int64_t begin = 0;
  for (; begin + kStrip <= pixels; begin += kStrip) put_strip(a, channel, planes, begin, kStrip, out + begin);
  if (begin < pixels) put_strip(a, channel, planes, begin, pixels - begin, out + begin);
}

// Writes all channels of one image.
inline void put_image(const RenderArgs& a, const uint8_t* planes, int64_t image) {
  const int64_t pixels = a.size * a.size;
  for (int64_t channel = 0; channel < a.channels(); ++channel) {
    const int64_t at = (image * a.channels() + channel) * pixels;
    if (a.type == PixelType::uint8) {
      put_channel(a, channel, planes, static_cast<uint8_t*>(a.out) + at);
    } else if (a.type == PixelType::float32) {
      put_channel(a, channel, planes, static_cast<float*>(a.out) + at);
    } else {
      put_channel(a, channel, planes, static_cast<uint16_t*>(a.out) + at);
    }
  }
}

}  // namespace spectromer::SPECTROMER_TARGET
SPECTROMER_END_TARGET;

#endif
