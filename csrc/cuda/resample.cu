// Resampling, with one block of threads per spectrum, and the construction of plans.
#include "bin_plan.cuh"
#include "launch.h"
#include "own_edges.cuh"

namespace spectromer {
namespace {

constexpr int kRowThreads = 256, kPlanThreads = 128;
constexpr int kFor48RegistersPerRow = 5;  // blocks of kRowThreads that run at once

// Makes a plan, with one warp per group of bins.
__global__ void __launch_bounds__(kPlanThreads)
    bin_plan_kernel(const __grid_constant__ ResampleArgs a, const __grid_constant__ BinPlan plan) {
  const int group = static_cast<int>(blockIdx.x) * block_warps() + warp_index();
  const PixelAxis axis = with_gaps({nullptr, nullptr, a.wavelength, a.pixels, 0, 0}, a.max_gap).axis();
  if (group >= plan.groups) return;
  const int m = group * kWarp + lane_index(), pixels = static_cast<int>(a.pixels);
  int from = pixels, to = 0;  // range of pixels that overlap the bin
  int64_t searched = 0;
  if (m < a.bins) {
    searched = first_pixel(a.method, axis, bin_start(a.method, a.grid, a.bins, m));
    from = static_cast<int>(searched);
    visit_bin(a.method, axis, a.grid, a.bins, m, searched, [&](int64_t i, double) {
      if (to == 0) from = static_cast<int>(i);
      to = static_cast<int>(i) + 1;
    });
  }
  const int steps = warp_max(to > from ? to - from : 0), wanted = warp_min(from) + 2 * group, last = plan.rows - steps;
  const int start = wanted < last ? wanted : last;  // harmless even if wavelengths do not increase
  const int first = from < pixels - steps ? from : pixels - steps;
  double* weight = plan.weight + static_cast<int64_t>(start) * kWarp + lane_index();
  for (int step = 0; step < steps; ++step) weight[step * kWarp] = 0.0;
  if (to > from) {
    visit_bin(a.method, axis, a.grid, a.bins, m, searched,
              [&](int64_t i, double w) { weight[(i - first) * kWarp] = w; });
  }
  plan.first[m] = first;
  if (lane_index() == 0) plan.steps[group] = int2{start, steps};
}

// Resamples spectra with shared wavelengths to a shared grid, with one lane per bin.
template <bool kStretch>
__global__ void __launch_bounds__(kRowThreads)
    resample_planned_kernel(const __grid_constant__ ResampleArgs a, const __grid_constant__ BinPlan plan) {
  const int bins = static_cast<int>(a.bins);
  const float required = required_weight(a);
  for (int64_t row = blockIdx.x; row < a.rows; row += gridDim.x) {
    const SpectrumRow s = spectrum_row<kStretch>(a, row);
    if (row + gridDim.x < a.rows) prefetch_row(spectrum_row<kStretch>(a, row + gridDim.x));
    float* out_flux = a.out_flux + row * bins;
    float* out_ivar = a.out_ivar + row * bins;
    for (int group = warp_index(); group < plan.groups; group += block_warps()) {
      const int m = group * kWarp + lane_index();
      const BinSums<true> sums = planned_sums<true, kStretch>(plan, group, s);
      float flux, ivar;
      sums.finish(required, flux, ivar);
      if (m < bins) out_flux[m] = flux, out_ivar[m] = ivar;
    }
  }
}

// Resamples one spectrum, which has gaps, or none if `max_gap` is infinity.
__device__ __noinline__ void resample_row(const ResampleArgs& a, int64_t row, double max_gap) {
  SpectrumRow s = spectrum_row(a, row);
  s.max_gap = max_gap;
  float* out_flux = a.out_flux + row * a.bins;
  float* out_ivar = a.out_ivar + row * a.bins;
  visit_bins_by_search<true>(a, s, grid_row(a, row), required_weight(a), [&](int64_t m, float flux, float ivar) {
    out_flux[m] = flux;
    out_ivar[m] = ivar;
  });
}

// Resamples spectra with their own wavelengths, if the edges of their pixels fit in shared memory.
__global__ void __launch_bounds__(kRowThreads, kFor48RegistersPerRow)
    resample_own_kernel(const __grid_constant__ ResampleArgs a, const __grid_constant__ Reserved reserved) {
  const Shared<double> edge = shared_at<double>(reserved);
  const float required = required_weight(a);
  for (int64_t row = blockIdx.x; row < a.rows; row += gridDim.x) {
    const SpectrumRow s = spectrum_row<false>(a, row);
    __syncthreads();
    if (put_edges(s, a.max_gap, edge).axis().gaps()) {
      resample_row(a, row, a.max_gap);
      continue;
    }
    if (row + gridDim.x < a.rows) prefetch_row(spectrum_row<false>(a, row + gridDim.x));
    float* out_flux = kept(a.out_flux + row * a.bins);
    float* out_ivar = kept(a.out_ivar + row * a.bins);
    visit_own_bins<true>(s, edge, grid_row(a, row), static_cast<int>(a.bins), required,
                         [&](int m, float flux, float ivar) {
                           out_flux[m] = flux;
                           out_ivar[m] = ivar;
                         });
  }
}

__device__ int64_t first_pixel_of_bin(const ResampleArgs& a, const SpectrumRow& s, const double* grid, int64_t m) {
  return first_pixel(a.method, s.axis(), bin_start(a.method, grid, a.bins, m));
}

// Resamples any spectra, with one thread per bin.
__global__ void __launch_bounds__(kRowThreads, kFor48RegistersPerRow)
    resample_any_kernel(const __grid_constant__ ResampleArgs a) {
  for (int64_t row = blockIdx.x; row < a.rows; row += gridDim.x)
    resample_row(a, row, with_gaps(spectrum_row(a, row), a.max_gap).max_gap);
}

// The gradient of the flux, with one thread per bin, which adds to all pixels that overlap the bin. grad_flux must be
// zeroed beforehand.
__global__ void __launch_bounds__(kRowThreads, 4) resample_backward_kernel(const __grid_constant__ ResampleArgs a) {
  const float required = required_weight(a);
  for (int64_t row = blockIdx.x; row < a.rows; row += gridDim.x) {
    const SpectrumRow s = with_gaps(spectrum_row(a, row), a.max_gap);
    const double* grid = grid_row(a, row);
    float* grad = a.grad_flux + (s.flux - a.flux);
    for (int64_t m = thread_index(); m < a.bins; m += block_threads()) {
      const int64_t first = first_pixel_of_bin(a, s, grid, m);
      const double norm = bin_normalisation(a.method, s, grid, a.bins, m, first, required);
      if (norm == 0.0) continue;
      const double scaled = static_cast<double>(a.grad_out[row * a.bins + m]) / norm;
      visit_bin(a.method, s.axis(), grid, a.bins, m, first, [&](int64_t i, double w) {
        if (s.good(i)) atomicAdd(grad + (i - s.begin), static_cast<float>(scaled * w));
      });
    }
  }
}

template <class... Parameters>
int launch_over_rows(void (*kernel)(Parameters...), const ResampleArgs& args, int64_t shared, void* stream,
                     Parameters... arguments) {
  const int64_t blocks = resident_blocks(kernel, kRowThreads, shared, args.rows);
  return launch(kernel, Grid{blocks, kRowThreads, shared}, stream, arguments...);
}

}  // namespace

int64_t bin_plan_bytes(const ResampleArgs& args) { return BinPlan::serves(args) ? BinPlan(args).bytes() : 0; }

int make_bin_plan_cuda(const ResampleArgs& args, void* stream) {
  const BinPlan plan(args);
  const int64_t blocks = (int64_t{plan.groups} * kWarp + kPlanThreads - 1) / kPlanThreads;
  return launch(bin_plan_kernel, Grid{blocks, kPlanThreads, 0}, stream, args, plan);
}

int resample_cuda(const ResampleArgs& args, void* stream) {
  if (args.rows * args.bins == 0) return 0;
  if (args.plan != nullptr) {
    const auto kernel = args.offsets != nullptr ? resample_planned_kernel<true> : resample_planned_kernel<false>;
    return launch_over_rows(kernel, args, 0, stream, args, BinPlan(args));
  }
  SharedLayout layout;
  if (has_own_edges(args) && args.pixels <= kMostOwnPixels && args.bins <= INT_MAX / 2) {
    const Reserved edges = layout.reserve<double>(args.pixels + 1);
    if (layout.bytes <= most_shared_bytes())
      return launch_over_rows(resample_own_kernel, args, layout.bytes, stream, args, edges);
  }
  return launch_over_rows(resample_any_kernel, args, 0, stream, args);
}

int resample_backward_cuda(const ResampleArgs& args, void* stream) {
  return args.rows * args.bins == 0 ? 0 : launch_over_rows(resample_backward_kernel, args, 0, stream, args);
}

const char* cuda_error_string(int code) { return cudaGetErrorString(static_cast<cudaError_t>(code)); }

}  // namespace spectromer
