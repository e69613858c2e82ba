#include "../core/resample.h"

#include "launch.h"

namespace spectromer {
namespace {

__device__ int64_t first_pixel_of_bin(const ResampleArgs& a, int64_t row, int64_t m) {
  const double* wavelength = a.wavelength + row * a.wavelength_stride;
  const double* grid = a.grid + row * a.grid_stride;
  return first_pixel(a.method, wavelength, a.pixels, bin_start(a.method, grid, a.bins, m));
}

__global__ void resample_kernel(ResampleArgs a) {
  for (int64_t item = first_item(); item < a.rows * a.bins; item += item_step()) {
    const int64_t row = item / a.bins, m = item % a.bins;
    resample_bin(a, row, m, first_pixel_of_bin(a, row, m));
  }
}

// One thread per bin, scattering to the pixels the bin drew from; grad_flux arrives zeroed.
__global__ void resample_backward_kernel(ResampleArgs a) {
  for (int64_t item = first_item(); item < a.rows * a.bins; item += item_step()) {
    const int64_t row = item / a.bins, m = item % a.bins;
    const int64_t first = first_pixel_of_bin(a, row, m);
    const double norm = bin_normalisation(a, row, m, first);
    if (norm == 0.0) continue;
    const double scaled = static_cast<double>(a.grad_out[item]) / norm;
    const float* flux = a.flux + row * a.pixels;
    const float* ivar = a.ivar + row * a.pixels;
    float* grad = a.grad_flux + row * a.pixels;
    visit_bin(a.method, a.wavelength + row * a.wavelength_stride, a.pixels, a.grid + row * a.grid_stride, a.bins, m,
              first, [&](int64_t i, double w) {
                if (good_pixel(flux[i], ivar[i])) atomicAdd(grad + i, static_cast<float>(scaled * w));
              });
  }
}

constexpr int kThreads = 256;

template <class Kernel>
int launch(Kernel kernel, const ResampleArgs& args, void* stream) {
  if (args.rows * args.bins == 0) return cudaSuccess;
  kernel<<<blocks_for(args.rows * args.bins, kThreads), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(args);
  return cudaGetLastError();
}

}  // namespace

int resample_cuda(const ResampleArgs& args, void* stream) { return launch(resample_kernel, args, stream); }

int resample_backward_cuda(const ResampleArgs& args, void* stream) {
  return launch(resample_backward_kernel, args, stream);
}

const char* cuda_error_string(int code) { return cudaGetErrorString(static_cast<cudaError_t>(code)); }

}  // namespace spectromer
