// The weights of a shared grid over shared wavelengths, made once and read by every spectrum. See core/resample.h.
#pragma once

#include "../core/resample.h"
#include "launch.h"

namespace spectromer {

// A warp takes 32 bins, one a lane. It goes through rows of weights, one for each pixel that any of its bins meets; in
// step v a lane looks at pixel first[bin] + v. Weights of pixels that a bin does not meet are 0, and no lane is led
// beyond the last pixel.
struct BinPlan {
  static constexpr int64_t kMostBytes = 64 << 20;

  int groups = 0;            // of 32 bins
  int rows = 0;              // of weights, for which there is room
  double* weight = nullptr;  // [rows, 32]
  int* first = nullptr;      // [groups, 32]
  int2* steps = nullptr;     // [groups] the first of its rows of weights, and how many it has

  BinPlan() = default;

  // Groups follow one another along the pixels and share two pixels at most, so the rows of group g begin at its first
  // pixel + 2 g, and no count of all rows is needed.
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

// A weight, or next to nothing (below 1e-313) with one instruction for two that 0 would take: added to weights it is
// lost.
__device__ __forceinline__ double weight_if(bool good, double weight) {
  uint64_t bits;
  memcpy(&bits, &weight, sizeof bits);
  const uint32_t high = good ? static_cast<uint32_t>(bits >> 32) : 0u;
  bits = uint64_t{high} << 32 | static_cast<uint32_t>(bits);
  memcpy(&weight, &bits, sizeof bits);
  return weight;
}

// One spectrum's bins of a group, one a lane: sums over its good pixels. `kStretch`: the row is a stretch of the
// wavelengths, so that a bin may meet pixels which it has not.
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
