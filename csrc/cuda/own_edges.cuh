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

// Tells whether the step to pixel i may be a gap, as it is much wider than one of the two before it or, at the
// beginning, as one of the two after it.
__device__ __forceinline__ bool may_be_gap(const double* centre, int pixels, int i, double step, double per_step) {
  if (i > 1) return step > per_step * (__ldg(centre + i - 1) - __ldg(centre + i - 2));
  return i + 1 < pixels && gap_after(centre, pixels, 0, per_step);
}

// The same spectrum, with what is known of its gaps.
__device__ __forceinline__ SpectrumRow with_gaps(SpectrumRow s, bool gaps, double max_gap) {
  s.max_gap = gaps ? max_gap : INFINITY;
  return s;
}

// Tells all threads of the block whether a spectrum has a gap.
__device__ __forceinline__ bool block_has_gap(const SpectrumRow& s, double max_gap) {
  bool found = false;
  if (max_gap < INFINITY) {
    for (int64_t i = thread_index(); i + 1 < s.pixels; i += block_threads())
      found = found || gap_after(s.wavelength, s.pixels, i, max_gap);
  }
  return __syncthreads_or(found) != 0;
}

// Computes the right edges of all pixels, `edge[1]` to `edge[pixels]`, and the left edge of the first. Returns whether
// there are gaps, so that other left edges are not the right edges of the pixels before. Synchronises the block.
__device__ __forceinline__ bool put_edges(const SpectrumRow& s, double max_gap, Shared<double> edge) {
  const int pixels = static_cast<int>(s.pixels);
  const double* centre = kept(s.wavelength);
  // If a step is a gap, it or the one before it is wider than the one before that by this factor.
  const double per_step = 0.999 * sqrt(max_gap);
  bool gaps = false;
  for (int i = thread_index() + 1; i < pixels; i += block_threads()) {
    const double before = __ldg(centre + i - 1), here = __ldg(centre + i);
    edge[i] = 0.5 * (before + here);
    gaps = gaps || may_be_gap(centre, pixels, i, here - before, per_step);
  }
  if (thread_index() < 2) {
    const int i = thread_index() == 0 ? 0 : pixels;
    edge[i] = pixel_edge(centre, pixels, i);
  }
  if (__syncthreads_or(gaps) == 0) return false;
  gaps = false;
  const PixelAxis axis = with_gaps(s, true, max_gap).axis();
#pragma unroll 1
  for (int i = thread_index(); i < pixels; i += block_threads()) {
    if (!axis.gap(i > 0 ? i - 1 : 0) && !axis.gap(i)) continue;
    gaps = true;
    edge[i + 1] = axis.right(i);
    if (i == 0) edge[0] = axis.left(0);
  }
  return __syncthreads_or(gaps) != 0;
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

// Calls put(m, flux, ivar) for all bins of a row; see BinSums::finish. A warp processes neighbouring groups of 32 bins,
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
    visit_overlaps([&](int i) { return s.axis().gaps() ? s.axis().left(i) : static_cast<double>(edge[i]); },
                   [&](int i) { return static_cast<double>(edge[i + 1]); }, s.axis().gaps(), pixels, low, high, first,
                   [&](int i, double w) { sums.add(w, __ldg(row_flux + i), __ldg(row_ivar + i)); });
    float flux, ivar;
    sums.finish(required, flux, ivar);
    if (m < bins) put(m, flux, ivar);
  }
}

}  // namespace spectromer
