// The weights that resample shared wavelengths to a shared grid, computed once for all spectra. See core/resample.h.
#pragma once

#include "../core/resample.h"
#include "launch.h"

namespace spectromer {

// A warp processes a group of 32 bins, one per lane, and steps through rows of weights. In step v, a lane reads pixel
// first[bin] + v. The weights of pixels that do not overlap a bin are 0, and no lane reads beyond the last pixel.
struct BinPlan {
  static constexpr int64_t kMostBytes = 64 << 20;

  int groups = 0;            // groups of 32 bins
  int rows = 0;              // capacity for rows of weights
  double* weight = nullptr;  // [rows, 32]
  int* first = nullptr;      // [groups, 32]
  int2* steps = nullptr;     // [groups] the first row of weights of a group, and their number

  BinPlan() = default;

  // Groups follow one another along the pixels and share two pixels at most. So the rows of group g can begin at its
  // first pixel + 2 g, and need not be counted beforehand.
  explicit BinPlan(const ResampleArgs& a)
      : groups(static_cast<int>((a.bins + kWarp - 1) / kWarp)), rows(static_cast<int>(a.pixels) + 2 * groups),
        weight(static_cast<double*>(a.plan)), first(reinterpret_cast<int*>(weight + int64_t{rows} * kWarp)),
        steps(reinterpret_cast<int2*>(first + int64_t{groups} * kWarp)) {}

  int64_t bytes() const {
    return int64_t{rows} * kWarp * static_cast<int64_t>(sizeof(double)) +
           int64_t{groups} * (kWarp + 2) * static_cast<int64_t>(sizeof(int));
  }

  static bool serves(const ResampleArgs& a) {
    constexpr int64_t kMost = kMostBytes / (kWarp * static_cast<int64_t>(sizeof(double)));
    return a.shared_wavelength && a.shared_grid && a.pixels <= kMost && a.bins <= kMost &&
           BinPlan(a).bytes() <= kMostBytes;
  }
};

// The weight if `good`, otherwise a value below 1e-313, which vanishes in a sum of weights. This takes one instruction,
// whereas 0 would take two.
__device__ __forceinline__ double weight_if(bool good, double weight) {
  uint64_t bits;
  memcpy(&bits, &weight, sizeof bits);
  const uint32_t high = good ? static_cast<uint32_t>(bits >> 32) : 0u;
  bits = uint64_t{high} << 32 | static_cast<uint32_t>(bits);
  memcpy(&weight, &bits, sizeof bits);
  return weight;
}

// Sums over the good pixels of a spectrum for a group of bins, one per lane. With kStretch, the spectrum may cover only
// a part of the wavelengths, so that bins may overlap pixels that it does not have.
template <bool kVariance, bool kStretch>
__device__ __forceinline__ BinSums<kVariance> planned_sums(const BinPlan& plan, int group, const SpectrumRow& s) {
  const int count = static_cast<int>(s.end - s.begin);
  int at = __ldg(plan.first + group * kWarp + lane_index()) - static_cast<int>(s.begin);
  const float* flux = s.flux + at;
  const float* ivar = s.ivar + at;
  const int2 of_group = __ldg(plan.steps + group);
  const double* weight = plan.weight + (of_group.x * kWarp + lane_index());
  BinSums<kVariance> sums;
  const auto add = [&](int step) {
    if (kStretch && (at + step < 0 || at + step >= count)) return;
    const double w = __ldg(weight + step * kWarp);
    const float pixel_flux = __ldg(flux + step), pixel_ivar = __ldg(ivar + step);
    if constexpr (kVariance) {
      sums.add(w, pixel_flux, pixel_ivar);
    } else {
      const bool good = good_pixel(pixel_flux, pixel_ivar);
      sums.add_good(weight_if(good, w), kept(good ? pixel_flux : 0.0f), 0.0f);
    }
  };
#pragma unroll 1
  for (int steps = of_group.y; steps > 1; steps -= 2) {
    add(0);
    add(1);
    flux += 2, ivar += 2, at += 2, weight += 2 * kWarp;
  }
  if ((of_group.y & 1) != 0) add(0);
  return sums;
}

}  // namespace spectromer
