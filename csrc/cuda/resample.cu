#include "../core/resample.h"

#include "launch.h"

namespace spectromer {
namespace {

__device__ int64_t first_pixel_of_bin(const ResampleArgs& a, const SpectrumRow& s, const double* grid, int64_t m) {
  return first_pixel(a.method, s.wavelength, s.pixels, bin_start(a.method, grid, a.bins, m));
}

__global__ void resample_kernel(ResampleArgs a) {
  for (int64_t item = first_item(); item < a.rows * a.bins; item += item_step()) {
    const int64_t row = item / a.bins, m = item % a.bins;
    const SpectrumRow s = spectrum_row(a, row);
    const double* grid = grid_row(a, row);
    resample_bin(a.method, s, grid, a.bins, m, first_pixel_of_bin(a, s, grid, m), required_weight(a),
                 a.out_flux[item], a.out_ivar[item]);
  }
}

// One thread per bin, scattering to the pixels the bin drew from; grad_flux arrives zeroed.
__global__ void resample_backward_kernel(ResampleArgs a) {
  for (int64_t item = first_item(); item < a.rows * a.bins; item += item_step()) {
    const int64_t row = item / a.bins, m = item % a.bins;
    const SpectrumRow s = spectrum_row(a, row);
    const double* grid = grid_row(a, row);
    const int64_t first = first_pixel_of_bin(a, s, grid, m);
    const double norm = bin_normalisation(a.method, s, grid, a.bins, m, first, required_weight(a));
    if (norm == 0.0) continue;
    const double scaled = static_cast<double>(a.grad_out[item]) / norm;
    float* grad = a.grad_flux + (s.flux - a.flux);
    visit_bin(a.method, s.wavelength, s.pixels, grid, a.bins, m, first, [&](int64_t i, double w) {
      if (s.good(i)) atomicAdd(grad + (i - s.begin), static_cast<float>(scaled * w));
    });
  }
}


int launch_over_bins(void (*kernel)(ResampleArgs), const ResampleArgs& args, void* stream) {
  const int64_t items = args.rows * args.bins;
  return items == 0 ? 0 : launch(kernel, blocks_for(items), 0, stream, args);
}

}  // namespace

int resample_cuda(const ResampleArgs& args, void* stream) { return launch_over_bins(resample_kernel, args, stream); }

int resample_backward_cuda(const ResampleArgs& args, void* stream) {
  return launch_over_bins(resample_backward_kernel, args, stream);
}

const char* cuda_error_string(int code) { return cudaGetErrorString(static_cast<cudaError_t>(code)); }

}  // namespace spectromer
