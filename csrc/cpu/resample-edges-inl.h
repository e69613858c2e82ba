// The edges of bins, and of a row's own pixels, in single precision. One target's code.
#include <algorithm>
#include <cmath>

#include "resample-pixels-inl.h"

#if defined(SPECTROMER_CPU_RESAMPLE_EDGES_INL_H) == defined(SPECTROMER_TARGET_TOGGLE)
#ifdef SPECTROMER_CPU_RESAMPLE_EDGES_INL_H
#undef SPECTROMER_CPU_RESAMPLE_EDGES_INL_H
#else
#define SPECTROMER_CPU_RESAMPLE_EDGES_INL_H
#endif

SPECTROMER_BEGIN_TARGET;
namespace spectromer::SPECTROMER_TARGET {

// Tells whether wavelengths are finite and increasing.
inline bool increases(const double* v, int64_t count) {
  bool increasing = count == 0 || (std::isfinite(v[0]) && std::isfinite(v[count - 1]));
  Mask rises = mask_from_bits(~0u);
  int64_t i = 1;
  for (; i + kLanes <= count; i += kLanes) rises = rises & lt(load(v + i - 1), load(v + i));
  for (; i < count; ++i) increasing &= v[i - 1] < v[i];
  return increasing && all_true(rises);
}

// Larger than all wavelengths, but with finite differences.
constexpr float kFar = 1267650600228229401496703205376.0f;  // 2^100

// Smaller than all widths of pixels and bins, but with a finite inverse.
constexpr float kNarrow = 1.0f / kFar;

// Wavelengths as pairs of single-precision numbers, with 48 bits in total: the nearest number and the remainder.
struct Wavelengths {
  Float near, rest;

  SPECTROMER_INLINE explicit Wavelengths(const Double& v) {
    const Double cut = truncate_to_float(v);
    near = convert_to_float(cut);
    rest = convert_to_float(v - cut);
  }

  SPECTROMER_INLINE Wavelengths(const float* from_near, const float* from_rest)
      : near(load(from_near)), rest(load(from_rest)) {}

  SPECTROMER_INLINE void put(float* to_near, float* to_rest) const {
    store(to_near, near);
    store(to_rest, rest);
  }
};

// Fills in the edges of all bins, in double precision and as Wavelengths, and 1 / width, up to a whole number of
// vectors.
inline void fill_bins(const double* grid, int64_t bins, BinScratch& scratch) {
  const int64_t padded = (bins + kLanes - 1) / kLanes * kLanes;
  const size_t size = static_cast<size_t>(padded + kLanes);
  scratch.edge.resize(size);
  scratch.near.resize(size);
  scratch.rest.resize(size);
  scratch.share.resize(size);
  double* edge = scratch.edge.data();
  for (int64_t m = 1; m < bins; ++m) edge[m] = 0.5 * (grid[m - 1] + grid[m]);
  edge[0] = pixel_edge(grid, bins, 0);
  std::fill(edge + bins, edge + size, pixel_edge(grid, bins, bins));
  Mask usual = mask_from_bits(~0u);
  for (int64_t m = 0; m < padded; m += kLanes) {
    const Double low = load(edge + m), high = load(edge + m + 1);
    Wavelengths(low).put(scratch.near.data() + m, scratch.rest.data() + m);
    const Float width = convert_to_float(high - low);
    store(scratch.share.data() + m, 1.0f / select(lt(Float{}, width), width, splat(1.0f)));
    usual = usual & (lt(splat(kNarrow), width) | ~mask_from_bits((1u << std::min<int64_t>(bins - m, kLanes)) - 1u));
  }
  Wavelengths(load(edge + padded)).put(scratch.near.data() + padded, scratch.rest.data() + padded);
  scratch.usual = all_true(usual) && edge[0] > -kFar && edge[bins] < kFar;
}

// Edge i of a row's pixels. Edges before the first and after the last lie at infinity.
SPECTROMER_INLINE double edge_of(const SpectrumRow& s, int64_t i) {
  return i < 0 ? -INFINITY : i > s.pixels ? INFINITY : pixel_edge(s.wavelength, s.pixels, i);
}

// The left edges of one row's own pixels, prepared in pieces like Pixels.
class Edges {
 public:
  SPECTROMER_INLINE Edges(const SpectrumRow& row, PixelScratch& scratch)
      : s_(row), wavelength_(row.wavelength), near_(scratch.near.data() + kPiece), rest_(scratch.rest.data() + kPiece),
        rises_(mask_from_bits(~0u)), least_(), most_() {
    least_.low += INFINITY;
    least_.high += INFINITY;
  }

  SPECTROMER_INLINE void prepare(int64_t pixel) {
    if (pixel > 0 && pixel + kPiece <= s_.pixels) {
      prepare_lanes(pixel);
      prepare_lanes(pixel + kLanes);
    } else {
      prepare_ends(s_, pixel, near_ + pixel, rest_ + pixel, ends_);
    }
  }

  // Tells whether all wavelengths are finite and increasing, given that the pixels [begin, end) have been prepared.
  SPECTROMER_INLINE bool increase(int64_t begin, int64_t end) const {
    const double* w = s_.wavelength;
    end = std::min(end, s_.pixels);
    return std::isfinite(w[0]) && std::isfinite(w[s_.pixels - 1]) && ends_.increasing && all_true(rises_) &&
           increases(w, std::max<int64_t>(begin, 0)) && increases(w + end - 1, s_.pixels - end + 1);
  }

  // The narrowest and the widest step between the prepared pixels.
  struct Steps {
    double least, most;
  };
  SPECTROMER_INLINE Steps steps() const {
    Steps found{ends_.least, ends_.most};
    for (int k = 0; k < kLanes / 2; ++k) {
      found.least = std::min({found.least, least_.low[k], least_.high[k]});
      found.most = std::max({found.most, most_.low[k], most_.high[k]});
    }
    return found;
  }

  SPECTROMER_INLINE const float* near(int64_t pixel) const { return near_ + pixel; }
  SPECTROMER_INLINE const float* rest(int64_t pixel) const { return rest_ + pixel; }

 private:
  SPECTROMER_INLINE void prepare_lanes(int64_t pixel) {
    const Double before = load(wavelength_ + pixel - 1), here = load(wavelength_ + pixel);
    Wavelengths(midpoint(before, here)).put(near_ + pixel, rest_ + pixel);
    prefetch<kLanes>(wavelength_ + pixel + 192);
    rises_ = rises_ & lt(before, here);
    least_ = min(here - before, least_);
    most_ = max(here - before, most_);
  }

  // The properties of the steps near the ends of a row.
  struct Ends {
    bool increasing = true;
    double least = INFINITY, most = 0.0;  // steps between pixels
  };

  // (It is seldom needed and therefore not inlined.)
  __attribute__((noinline)) static void prepare_ends(const SpectrumRow& s, int64_t pixel, float* near, float* rest,
                                                     Ends& ends) {
    for (int64_t i = pixel; i < pixel + kPiece; ++i) {
      const double edge = std::clamp<double>(edge_of(s, i), -kFar, kFar);
      *near++ = static_cast<float>(edge);
      *rest++ = static_cast<float>(edge - static_cast<double>(near[-1]));
      if (i <= 0 || i >= s.pixels) continue;
      const double step = s.wavelength[i] - s.wavelength[i - 1];
      ends.increasing &= s.wavelength[i - 1] < s.wavelength[i];
      ends.least = std::min(ends.least, step);
      ends.most = std::max(ends.most, step);
    }
  }

  const SpectrumRow& s_;
  const double* const wavelength_;
  float *const near_, *const rest_;
  Mask rises_;
  Double least_, most_;  // steps between pixels
  Ends ends_;
};

}  // namespace spectromer::SPECTROMER_TARGET
SPECTROMER_END_TARGET;

#endif
