// Resampling of spectra with their own wavelengths. The edges of their pixels are in shared memory.
#pragma once

#include "../core/resample.h"
#include "launch.h"

namespace spectromer {

constexpr int64_t kMostOwnPixels = 1 << 20;

// Tells whether spectra are resampled with the edges of their own pixels in shared memory. This requires that all have
// the same length, and that the method conserves flux.
inline bool has_own_edges(const ResampleArgs& a) {
  return !a.shared_wavelength && a.offsets == nullptr && a.method == Method::flux_conserving;
}

// Prefetches the values of the next row.
__device__ __forceinline__ void prefetch_row(const SpectrumRow& s) {
  constexpr int kLine = 128 / sizeof(float);
  for (int64_t i = thread_index() * kLine; i < s.end - s.begin; i += block_threads() * kLine) {
    prefetch(s.flux + i);
    prefetch(s.ivar + i);
  }
}

// Tells whether some steps between pixels may be gaps: a gap is more than max_gap times as wide as another step that
// the same warp sees. Steps are compared by the upper halves of their bits, which grow by 2^20 when a step is doubled.
class GapFilter {
 public:
  // Looks at the step from one wavelength to the next. A thread's lane must be that of the step.
  __device__ __forceinline__ void see(double before, double here) {
    const int size = size_of(here - before);
    least_ = size < least_ ? size : least_;
    most_ = size > most_ ? size : most_;
  }

  // Returns the spectrum, with what is known of its gaps. Synchronises the block.
  __device__ __forceinline__ SpectrumRow with_gaps(SpectrumRow s, double max_gap) const {
    s.max_gap = INFINITY;
    bool found = warp_max(most_) - warp_min(least_) > size_of(max_gap) - size_of(1.0) - 1;
    // The last steps may be the only ones that their warp sees.
    if (thread_index() < 2 && s.pixels > 2)
      found = found || gap_after(s.wavelength, s.pixels, s.pixels - 2 - thread_index(), max_gap);
    if (__syncthreads_or(found) == 0) return s;
    found = false;
#pragma unroll 1
    for (int64_t i = thread_index(); i + 1 < s.pixels && !found; i += block_threads())
      found = static_cast<bool>(gap_after(s.wavelength, s.pixels, i, max_gap));
    if (__syncthreads_or(found) != 0) s.max_gap = max_gap;
    return s;
  }

 private:
  static __device__ __forceinline__ int size_of(double step) {
    uint64_t bits;
    memcpy(&bits, &step, sizeof bits);
    return static_cast<int>(bits >> 32 & 0x7fffffffu);
  }

  int least_ = INT_MAX, most_ = 0;
};

// A spectrum, with what is known of its gaps. Must be called by all threads of a block.
__device__ __forceinline__ SpectrumRow with_gaps(const SpectrumRow& s, double max_gap) {
  GapFilter filter;
  for (int64_t i = thread_index() + 1; i < s.pixels; i += block_threads())
    filter.see(__ldg(s.wavelength + i - 1), __ldg(s.wavelength + i));
  return filter.with_gaps(s, max_gap);
}

// Computes the edges `edge` [pixels + 1], and synchronises the block. Returns the spectrum, with what is known of its
// gaps. If it has gaps, pixels beside them have other edges.
__device__ __forceinline__ SpectrumRow put_edges(const SpectrumRow& s, double max_gap, Shared<double> edge) {
  const int pixels = static_cast<int>(s.pixels);
  const double* centre = kept(s.wavelength);
  GapFilter filter;
  for (int i = thread_index() + 1; i < pixels; i += block_threads()) {
    const double before = __ldg(centre + i - 1), here = __ldg(centre + i);
    edge[i] = 0.5 * (before + here);
    filter.see(before, here);
  }
  if (thread_index() < 2) {
    const int i = thread_index() == 0 ? 0 : pixels;
    edge[i] = pixel_edge(centre, pixels, i);
  }
  return filter.with_gaps(s, max_gap);
}

// Both edges of bin m of `bins`.
__device__ __forceinline__ void bin_edges(const double* grid, int bins, int m, double& low, double& high) {
  if (m > 0 && m + 1 < bins) {
    const double centre = __ldg(grid + m);
    low = 0.5 * (__ldg(grid + m - 1) + centre);
    high = 0.5 * (centre + __ldg(grid + m + 1));
  } else {
    low = pixel_edge(grid, bins, m);
    high = pixel_edge(grid, bins, m + 1);
  }
}

// The first pixel that ends after `start`, which is the same for the whole warp.
__device__ __forceinline__ int pixel_of_warp(Shared<double> edge, int pixels, double start) {
  int low = 0, high = pixels;
  while (low < high) {
    const int step = (high - low + kWarp - 1) / kWarp, probe = low + lane_index() * step;
    const int behind = __popc(__ballot_sync(kAllLanes, probe < high && edge[probe + 1] <= start));
    if (behind == 0) break;
    high = low + behind * step < high ? low + behind * step : high;
    low += (behind - 1) * step + 1;
  }
  return low;
}

// The first pixel that ends after `start`. The search begins where it would lie if all pixels were as wide as the one
// at `origin`.
__device__ __forceinline__ int pixel_near(Shared<double> edge, int pixels, double start, int origin) {
  constexpr float kRoom = 0.3f;  // pixels by which the guess may be too high, as widths differ
  const double from = edge[origin];
  const float per_width = reciprocal(static_cast<float>(edge[origin + 1] - from));
  const int guess = origin + static_cast<int>(static_cast<float>(start - from) * per_width - kRoom);
  int i = guess < 0 ? 0 : guess < pixels ? guess : pixels - 1;
  i += edge[i + 1] <= start;
  if ((i == 0 || edge[i] <= start) && (i == pixels || edge[i + 1] > start)) return i;
  int low = 0, high = pixels;
  while (low < high) {
    const int middle = (low + high) / 2;
    if (edge[middle + 1] <= start) low = middle + 1;
    else high = middle;
  }
  return low;
}

// Calls put(m, flux, ivar) for all bins of a row; see BinSums::finish. The pixels of each bin are searched for in the
// wavelengths.
template <bool kVariance, class Put>
__device__ __forceinline__ void visit_bins_by_search(const ResampleArgs& a, const SpectrumRow& s, const double* grid,
                                                     float required, Put put) {
#pragma unroll 1
  for (int64_t m = thread_index(); m < a.bins; m += block_threads()) {
    const int64_t first = first_pixel(a.method, s.axis(), bin_start(a.method, grid, a.bins, m));
    float flux, ivar = 1.0f;
    resample_bin<kVariance>(a.method, s, grid, a.bins, m, first, required, flux, ivar);
    put(m, flux, ivar);
  }
}

// The same for a row without gaps, from the edges of its pixels. A warp processes neighbouring groups of 32 bins,
// one per lane. The search for the pixels of a group begins where those of the last group end.
template <bool kVariance, class Put>
__device__ __forceinline__ void visit_own_bins(const SpectrumRow& s, Shared<double> edge, const double* grid, int bins,
                                               float required, Put put) {
  const int pixels = static_cast<int>(s.pixels), groups = (bins + kWarp - 1) / kWarp;
  const int each = (groups + block_warps() - 1) / block_warps();
  const int begin = warp_index() * each, end = begin + each < groups ? begin + each : groups;
  const float* row_flux = kept(s.flux);
  const float* row_ivar = kept(s.ivar);
  int origin = 0;
  for (int group = begin; group < end; ++group) {
    const int m = group * kWarp + lane_index(), bin = m < bins ? m : bins - 1;
    double low, high;
    bin_edges(grid, bins, bin, low, high);
    if (group == begin) origin = pixel_of_warp(edge, pixels, __shfl_sync(kAllLanes, low, 0));
    const int first = pixel_near(edge, pixels, low, origin < pixels ? origin : pixels - 1);
    origin = __shfl_sync(kAllLanes, first, kWarp - 1);
    BinSums<kVariance> sums;
    visit_overlaps([&](int i) { return static_cast<double>(edge[i]); },
                   [&](int i) { return static_cast<double>(edge[i + 1]); }, false, pixels, low, high, first,
                   [&](int i, double w) { sums.add(w, __ldg(row_flux + i), __ldg(row_ivar + i)); });
    float flux, ivar;
    sums.finish(required, flux, ivar);
    if (m < bins) put(m, flux, ivar);
  }
}

}  // namespace spectromer
