// The input pixels that overlap an output bin, and their weights. CPU and CUDA.
#pragma once

#include <cfloat>
#include <cmath>
#include <cstdint>

#include "../ops.h"
#include "gaps.h"
#include "macros.h"

namespace spectromer {

SPECTROMER_HD bool good_pixel(float flux, float ivar) {
  return fabsf(flux) <= FLT_MAX && ivar > 0.0f && ivar <= FLT_MAX;
}

// The variance of a good pixel. A variance too large for a float is FLT_MAX.
SPECTROMER_HD float pixel_variance(float ivar) {
  const float variance = 1.0f / ivar;
  return variance <= FLT_MAX ? variance : FLT_MAX;
}

// One spectrum and its wavelengths. Pixel i has the values flux[i - begin] and ivar[i - begin].
struct SpectrumRow {
  const float* flux;
  const float* ivar;
  const double* wavelength;  // [pixels]
  int64_t pixels;
  int64_t begin, end;         // the pixels for which the spectrum has values, within [0, pixels]
  double max_gap = INFINITY;  // see PixelAxis

  SPECTROMER_HD PixelAxis axis() const { return PixelAxis{wavelength, pixels, max_gap}; }

  SPECTROMER_HD bool good(int64_t i) const {
    return i >= begin && i < end && good_pixel(flux[i - begin], ivar[i - begin]);
  }
};

// Spectrum `row` of the arguments. Only with kStretch may spectra be ragged or begin at a shift.
template <bool kStretch = true>
SPECTROMER_HD SpectrumRow spectrum_row(const ResampleArgs& a, int64_t row) {
  if (!kStretch) {
    return SpectrumRow{a.flux + row * a.pixels,
                       a.ivar + row * a.pixels,
                       a.wavelength + (a.shared_wavelength ? 0 : row * a.pixels),
                       a.pixels,
                       0,
                       a.pixels};
  }
  const int64_t start = a.offsets != nullptr ? a.offsets[row] : row * a.pixels;
  const int64_t count = a.offsets != nullptr ? a.offsets[row + 1] - start : a.pixels;
  const float* flux = a.flux + start;
  const float* ivar = a.ivar + start;
  if (!a.shared_wavelength) {
    const int64_t pixels = count >= 2 ? count : 0;  // a single pixel has no width
    return SpectrumRow{flux, ivar, a.wavelength + start, pixels, 0, pixels};
  }
  const int64_t begin = a.shift != nullptr ? a.shift[row] : 0;
  return SpectrumRow{flux, ivar, a.wavelength, a.pixels, begin, begin + count};
}

SPECTROMER_HD const double* grid_row(const ResampleArgs& a, int64_t row) {
  return a.shared_grid ? a.grid : a.grid + row * a.bins;
}

// The wavelength from which on pixels contribute to bin m.
SPECTROMER_HD double bin_start(Method method, const double* grid, int64_t bins, int64_t m) {
  return method == Method::linear ? grid[m] : pixel_edge(grid, bins, m);
}

// Tells whether pixel i ends before `start`, so that it contributes to no later bin either.
SPECTROMER_HD bool pixel_is_behind(Method method, const PixelAxis& axis, int64_t i, double start) {
  return method == Method::linear ? i + 1 < axis.pixels && axis.centre[i + 1] <= start : axis.right(i) <= start;
}

// The first pixel that is not behind `start`, or the number of pixels.
SPECTROMER_HD int64_t first_pixel(Method method, const PixelAxis& axis, double start) {
  int64_t low = 0, high = axis.pixels;
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (pixel_is_behind(method, axis, middle, start)) low = middle + 1;
    else high = middle;
  }
  return low;
}

// Calls visit(pixel, share) for each pixel, from `first` on, that covers a fraction of the bin from `low` to `high`.
// right(i) is the right edge of pixel i. Its left edge is left(i), which is the right edge of the previous pixel unless
// there are `gaps`.
template <class Left, class Right, class Index, class Visit>
SPECTROMER_HD void visit_overlaps(Left left_of, Right right_of, bool gaps, Index pixels, double low, double high,
                                  Index first, Visit visit) {
  const double per_width = 1.0 / (high - low);
  double left = first < pixels ? left_of(first) : high;
  for (Index i = first; i < pixels && left < high; ++i) {
    const double right = right_of(i);
    const double overlap = (right < high ? right : high) - (left > low ? left : low), share = overlap * per_width;
    if (share > 0.0) visit(i, share);
    left = gaps && i + 1 < pixels ? left_of(i + 1) : right;
  }
}

// Calls visit(pixel, weight) for each pixel that contributes to a value at `at`, which lies between the centres of
// pixel `first` and the next one. The weights are those of linear interpolation, and sum to 1 except in a gap.
template <class Visit>
SPECTROMER_HD void visit_neighbours(const PixelAxis& axis, double at, int64_t first, Visit visit) {
  const double* centre = axis.centre;
  if (first >= axis.pixels || at < centre[first]) return;
  if (const Gap here = axis.gap(first)) {
    const double before = (at - centre[first]) / here.before, after = (centre[first + 1] - at) / here.after;
    if (before < 1.0) visit(first, 1.0 - before);
    if (after < 1.0) visit(first + 1, 1.0 - after);
    return;
  }
  const double step = first + 1 < axis.pixels ? centre[first + 1] - centre[first] : 1.0;
  const double t = (at - centre[first]) / step;
  if (first + 1 >= axis.pixels && t > 0.0) return;
  visit(first, 1.0 - t);
  if (t > 0.0) visit(first + 1, t);
}

// Calls visit(pixel, weight) for each pixel that contributes to bin m; `first` is first_pixel(...) of the bin. The
// weights are the fractions of the bin that the pixels cover (flux_conserving) or two interpolation weights (linear).
template <class Visit>
SPECTROMER_HD void visit_bin(Method method, const PixelAxis& axis, const double* grid, int64_t bins, int64_t m,
                             int64_t first, Visit visit) {
  if (method == Method::linear) return visit_neighbours(axis, grid[m], first, visit);
  visit_overlaps([&](int64_t i) { return axis.left(i); }, [&](int64_t i) { return axis.right(i); }, axis.gaps(),
                 axis.pixels, pixel_edge(grid, bins, m), pixel_edge(grid, bins, m + 1), first, visit);
}

// The least fraction of a bin that counts as covered. Less than that is rounding, and its square would be too small for
// a float.
constexpr float kLeastShare = 1.0f / (1ll << 42);

// The total weight of good pixels below which a bin is masked, with tolerance for rounding.
SPECTROMER_HD float required_weight(const ResampleArgs& a) {
  return max((a.method == Method::linear ? 1.0f : a.coverage) * (1.0f - 1e-6f), kLeastShare);
}

// Tells whether good pixels weigh enough. Only where the inverse width of a bin overflows do they weigh more than 1.
SPECTROMER_HD bool enough(float weight, float required) { return weight >= required && weight <= 2.0f; }

// The sums over the good pixels of a bin. Variances are summed only with kVariance.
//
// The sums are in double precision, as fluxes of 1e-17 have variances outside the range of floats. The division is in
// single precision; one Newton step makes it accurate enough for constant fluxes to stay constant.
template <bool kVariance>
struct BinSums {
  double weight = 0.0, flux = 0.0, variance = 0.0;

  // Adds a pixel if it is good.
  SPECTROMER_HD void add(double w, float pixel_flux, float pixel_ivar) {
    // The variances of nearly all good pixels need no branch on a GPU.
    const bool usual =
        kVariance && fabsf(pixel_flux) <= FLT_MAX && pixel_ivar >= FLT_MIN && pixel_ivar <= 1.0f / FLT_MIN;
    if (usual) {
      add_good(w, pixel_flux, reciprocal(pixel_ivar));
    } else if (good_pixel(pixel_flux, pixel_ivar)) {
      add_good(w, pixel_flux, kVariance ? pixel_variance(pixel_ivar) : 0.0f);
    }
  }

  SPECTROMER_HD void add_good(double w, float pixel_flux, float pixel_variance) {
    weight += w;
    flux += w * static_cast<double>(pixel_flux);
    if (kVariance) variance += w * w * static_cast<double>(pixel_variance);
  }

  // Sets out_flux = sum(w f) / sum(w) and out_ivar = sum(w)^2 / sum(w^2 / ivar), or both to 0 if the good pixels weigh
  // less than required. An out_ivar too large for a float is FLT_MAX. Without variances, out_flux is NaN if masked, and
  // out_ivar is never set.
  SPECTROMER_HD void finish(float required, float& out_flux, float& out_ivar) const {
    const float w = static_cast<float>(weight);
    const bool good = enough(w, required);
    const double guess = static_cast<double>(reciprocal(good ? w : 1.0f));
    const double per_weight = guess * (2.0 - weight * guess);
    out_flux = good ? static_cast<float>(flux * per_weight) : kVariance ? 0.0f : NAN;
    if (!kVariance) return;
    const float mean_variance = static_cast<float>(variance * per_weight * per_weight);
    out_ivar = good ? min(1.0f / mean_variance, FLT_MAX) : 0.0f;
  }
};

// Bin m of one spectrum; see BinSums::finish.
template <bool kVariance>
SPECTROMER_HD void resample_bin(Method method, const SpectrumRow& s, const double* grid, int64_t bins, int64_t m,
                                int64_t first, float required, float& flux, float& ivar) {
  BinSums<kVariance> sums;
  visit_bin(method, s.axis(), grid, bins, m, first, [&](int64_t i, double w) {
    if (i >= s.begin && i < s.end) sums.add(w, s.flux[i - s.begin], s.ivar[i - s.begin]);
  });
  sums.finish(required, flux, ivar);
}

// The weight by which the sum of bin m is divided: sum(w) over good pixels, or 0 if the bin is masked.
SPECTROMER_HD double bin_normalisation(Method method, const SpectrumRow& s, const double* grid, int64_t bins, int64_t m,
                                       int64_t first, float required) {
  double weight = 0.0;
  visit_bin(method, s.axis(), grid, bins, m, first, [&](int64_t i, double w) {
    if (s.good(i)) weight += w;
  });
  return enough(static_cast<float>(weight), required) ? weight : 0.0;
}

}  // namespace spectromer
