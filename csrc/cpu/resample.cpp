#include "../core/resample.h"

#include <cmath>

#include "parallel.h"

namespace spectromer {
namespace {

// Walks the bins of one row in order; pixels behind a bin are behind all later ones, so each is passed once.
template <class Visit>
void walk_bins(const ResampleArgs& a, int64_t row, Visit visit) {
  const double* wavelength = a.wavelength + row * a.wavelength_stride;
  const double* grid = a.grid + row * a.grid_stride;
  int64_t first = 0;
  for (int64_t m = 0; m < a.bins; ++m) {
    const double start = bin_start(a.method, grid, a.bins, m);
    while (first < a.pixels && pixel_is_behind(a.method, wavelength, a.pixels, first, start)) ++first;
    visit(m, first);
  }
}

}  // namespace

int64_t first_not_increasing(const double* values, int64_t rows, int64_t count) {
  for (int64_t row = 0; row < rows; ++row) {
    const double* v = values + row * count;
    bool increasing = count == 0 || (std::isfinite(v[0]) && std::isfinite(v[count - 1]));
    for (int64_t i = 1; i < count; ++i) increasing &= v[i] > v[i - 1];
    if (!increasing) return row;
  }
  return -1;
}

void resample_cpu(const ResampleArgs& args, int threads) {
  parallel_for(args.rows, threads, 8, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      walk_bins(args, row, [&](int64_t m, int64_t first) { resample_bin(args, row, m, first); });
    }
  });
}

void resample_backward_cpu(const ResampleArgs& args, int threads) {
  parallel_for(args.rows, threads, 8, [&](int64_t begin, int64_t end) {
    std::vector<double> grad(static_cast<size_t>(args.pixels));
    for (int64_t row = begin; row < end; ++row) {
      std::fill(grad.begin(), grad.end(), 0.0);
      const float* flux = args.flux + row * args.pixels;
      const float* ivar = args.ivar + row * args.pixels;
      walk_bins(args, row, [&](int64_t m, int64_t first) {
        const double norm = bin_normalisation(args, row, m, first);
        if (norm == 0.0) return;
        const double scaled = static_cast<double>(args.grad_out[row * args.bins + m]) / norm;
        visit_bin(args.method, args.wavelength + row * args.wavelength_stride, args.pixels,
                  args.grid + row * args.grid_stride, args.bins, m, first, [&](int64_t i, double w) {
                    if (good_pixel(flux[i], ivar[i])) grad[static_cast<size_t>(i)] += scaled * w;
                  });
      });
      std::copy(grad.begin(), grad.end(), args.grad_flux + row * args.pixels);
    }
  });
}

}  // namespace spectromer
