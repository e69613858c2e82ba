// One output bin of a resampling: which input pixels it meets and with what weight. Shared by CPU and CUDA.
#pragma once

#include <cmath>
#include <cstdint>

#include "macros.h"
#include "../ops.h"

namespace spectromer {

SPECTROMER_HD bool good_pixel(float flux, float ivar) { return isfinite(flux) && isfinite(ivar) && ivar > 0.0f; }

// Edge i of `n` >= 2 pixels given by their centres: half-way between neighbours, the outer ones mirrored.
SPECTROMER_HD double pixel_edge(const double* centre, int64_t n, int64_t i) {
  if (i <= 0) return centre[0] - 0.5 * (centre[1] - centre[0]);
  if (i >= n) return centre[n - 1] + 0.5 * (centre[n - 1] - centre[n - 2]);
  return 0.5 * (centre[i - 1] + centre[i]);
}

// The stretch of wavelength that decides where bin m starts to meet pixels.
SPECTROMER_HD double bin_start(Method method, const double* grid, int64_t bins, int64_t m) {
  return method == Method::linear ? grid[m] : pixel_edge(grid, bins, m);
}

// Does pixel i end before `start`, so that no later bin needs it either?
SPECTROMER_HD bool pixel_is_behind(Method method, const double* wavelength, int64_t pixels, int64_t i, double start) {
  return method == Method::linear ? i + 1 < pixels && wavelength[i + 1] <= start
                                  : pixel_edge(wavelength, pixels, i + 1) <= start;
}

// First pixel that is not behind `start`, searched for in [from, pixels].
SPECTROMER_HD int64_t first_pixel(Method method, const double* wavelength, int64_t pixels, double start) {
  int64_t low = 0, high = pixels;
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (pixel_is_behind(method, wavelength, pixels, middle, start)) low = middle + 1; else high = middle;
  }
  return low;
}

// Calls visit(pixel, weight) for each pixel that bin m meets, `first` being first_pixel(...) of the bin.
// Weights are overlaps in Angstrom (flux_conserving) or the two interpolation weights (linear).
// Returns the weight of a bin that is covered throughout.
template <class Visit>
SPECTROMER_HD double visit_bin(Method method, const double* wavelength, int64_t pixels, const double* grid,
                               int64_t bins, int64_t m, int64_t first, Visit visit) {
  if (method == Method::linear) {
    const double at = grid[m];
    if (first >= pixels || at < wavelength[first]) return 1.0;
    const double step = first + 1 < pixels ? wavelength[first + 1] - wavelength[first] : 1.0;
    const double t = (at - wavelength[first]) / step;
    if (first + 1 >= pixels && t > 0.0) return 1.0;
    visit(first, 1.0 - t);
    if (t > 0.0) visit(first + 1, t);
    return 1.0;
  }
  const double low = pixel_edge(grid, bins, m), high = pixel_edge(grid, bins, m + 1);
  double left = first < pixels ? pixel_edge(wavelength, pixels, first) : high;
  for (int64_t i = first; i < pixels && left < high; ++i) {
    const double right = pixel_edge(wavelength, pixels, i + 1);
    const double weight = fmin(right, high) - fmax(left, low);
    if (weight > 0.0) visit(i, weight);
    left = right;
  }
  return high - low;
}

// The weight that good pixels must bring to a bin for it not to be masked.
SPECTROMER_HD bool bin_is_good(const ResampleArgs& a, double good_weight, double full_weight) {
  const double required = a.method == Method::linear ? 1.0 : static_cast<double>(a.coverage);
  return good_weight > 0.0 && good_weight >= required * full_weight * (1.0 - 1e-9);
}

// out_flux = sum(w f) / sum(w), out_ivar = sum(w)^2 / sum(w^2 / ivar), over the good pixels of bin m of one row.
SPECTROMER_HD void resample_bin(const ResampleArgs& a, int64_t row, int64_t m, int64_t first) {
  const float* flux = a.flux + row * a.pixels;
  const float* ivar = a.ivar + row * a.pixels;
  double weight = 0.0, sum = 0.0, variance = 0.0;
  const double full = visit_bin(a.method, a.wavelength + row * a.wavelength_stride, a.pixels,
                                a.grid + row * a.grid_stride, a.bins, m, first, [&](int64_t i, double w) {
                                  if (!good_pixel(flux[i], ivar[i])) return;
                                  weight += w;
                                  sum += w * static_cast<double>(flux[i]);
                                  variance += w * w / static_cast<double>(ivar[i]);
                                });
  const bool good = bin_is_good(a, weight, full);
  a.out_flux[row * a.bins + m] = good ? static_cast<float>(sum / weight) : 0.0f;
  a.out_ivar[row * a.bins + m] = good ? static_cast<float>(weight * weight / variance) : 0.0f;
}

// Weight by which one unit of bin m's sum is divided: sum(w) over good pixels, or 0 where the bin is masked.
SPECTROMER_HD double bin_normalisation(const ResampleArgs& a, int64_t row, int64_t m, int64_t first) {
  const float* flux = a.flux + row * a.pixels;
  const float* ivar = a.ivar + row * a.pixels;
  double weight = 0.0;
  const double full = visit_bin(a.method, a.wavelength + row * a.wavelength_stride, a.pixels,
                                a.grid + row * a.grid_stride, a.bins, m, first, [&](int64_t i, double w) {
                                  if (good_pixel(flux[i], ivar[i])) weight += w;
                                });
  return bin_is_good(a, weight, full) ? weight : 0.0;
}

}  // namespace spectromer
