#include "resample.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <mutex>

#include "parallel.h"

namespace spectromer {
namespace {

// Walks bins in order; pixels behind a bin are behind all later ones, so each is passed once.
template <class Visit>
void walk_bins(Method method, const double* wavelength, int64_t pixels, const double* grid, int64_t bins,
               Visit visit) {
  int64_t first = 0;
  for (int64_t m = 0; m < bins; ++m) {
    const double start = bin_start(method, grid, bins, m);
    while (first < pixels && pixel_is_behind(method, wavelength, pixels, first, start)) ++first;
    visit(m, first);
  }
}

// ---- shared wavelengths and grid: one plan, spectra side by side in vector lanes ----

std::shared_ptr<const ResamplePlan> make_plan(const ResampleArgs& a) {
  auto plan = std::make_shared<ResamplePlan>();
  plan->method = a.method;
  plan->wavelength.assign(a.wavelength, a.wavelength + a.pixels);
  plan->grid.assign(a.grid, a.grid + a.bins);
  plan->start.push_back(0);
  walk_bins(a.method, a.wavelength, a.pixels, a.grid, a.bins, [&](int64_t m, int64_t first) {
    int64_t met = -1;
    double total = 0.0;
    visit_bin(a.method, a.wavelength, a.pixels, a.grid, a.bins, m, first, [&](int64_t i, double weight) {
      if (met < 0) met = i;
      plan->weight.push_back(weight);
      total += weight;
    });
    plan->pixel.push_back(met < 0 ? std::min(first, a.pixels) : met);
    plan->start.push_back(static_cast<int64_t>(plan->weight.size()));
    plan->total.push_back(static_cast<float>(total));
  });
  return plan;
}

// The plans last used, as most callers come back with the same grids.
std::shared_ptr<const ResamplePlan> plan_for(const ResampleArgs& a) {
  static std::mutex mutex;
  static std::vector<std::shared_ptr<const ResamplePlan>> recent;
  constexpr size_t kKept = 8;
  const auto fits = [&](const std::shared_ptr<const ResamplePlan>& plan) {
    return plan->method == a.method && static_cast<int64_t>(plan->wavelength.size()) == a.pixels &&
           static_cast<int64_t>(plan->grid.size()) == a.bins &&
           std::equal(plan->wavelength.begin(), plan->wavelength.end(), a.wavelength) &&
           std::equal(plan->grid.begin(), plan->grid.end(), a.grid);
  };
  {
    const std::lock_guard<std::mutex> lock(mutex);
    const auto found = std::find_if(recent.begin(), recent.end(), fits);
    if (found != recent.end()) {
      std::rotate(recent.begin(), found, found + 1);
      return recent.front();
    }
  }
  auto plan = make_plan(a);
  const std::lock_guard<std::mutex> lock(mutex);
  recent.insert(recent.begin(), plan);
  if (recent.size() > kKept) recent.pop_back();
  return plan;
}

// Eight pixels from `i` on: flux and variance, both 0 where the pixel is not good. (Where only flux is asked for, the
// inverse variance, which is as positive as the variance, takes its place: a division costs as much as all the rest.)
template <bool kVariance = true>
SPECTROMER_INLINE void load_pixels(const SpectrumRow& s, int64_t i, Float8& flux, Float8& variance) {
  Float8 ivar = {};
  flux = Float8{};
  if (i >= s.begin && i + kLanes <= s.end) {
    flux = load8(s.flux + (i - s.begin));
    ivar = load8(s.ivar + (i - s.begin));
  } else {
    for (int k = 0; k < kLanes; ++k) {
      const bool inside = i + k >= s.begin && i + k < s.end;
      flux[k] = inside ? s.flux[i + k - s.begin] : 0.0f;
      ivar[k] = inside ? s.ivar[i + k - s.begin] : 0.0f;
    }
  }
  const Float8 most = FLT_MAX - Float8{};
  const Int8 good = (flux <= most) & (flux >= -most) & (ivar > 0.0f) & (ivar <= most);
  variance = ivar;
  if (kVariance) {
    variance = 1.0f / ivar;
    variance = variance <= most ? variance : most;
  }
  keep(flux, good);
  keep(variance, good);
}

constexpr int64_t kTilePixels = 128;    // handled at a time, about, so that they stay in the first cache
constexpr int64_t kPixel = 3 * kLanes;  // values of one pixel in the tile: good, flux, variance of each row

// Fills the tile with pixels [first, last) of kLanes rows; tells whether all of them are good.
template <bool kVariance>
SPECTROMER_INLINE bool load_tile(const SpectrumRow* rows, int64_t first, int64_t last, std::vector<double>& tile) {
  const size_t needed = static_cast<size_t>((last - first + kLanes - 1) / kLanes * kLanes * kPixel);
  if (tile.size() < needed) tile.resize(needed);
  double* to = tile.data();
  Float8 least = FLT_MAX - Float8{};
  for (int64_t i = first; i < last; i += kLanes) {
    Float8 flux[kLanes], variance[kLanes];
    for (int r = 0; r < kLanes; ++r) load_pixels<kVariance>(rows[r], i, flux[r], variance[r]);
    transpose(flux);
    transpose(variance);
    for (int k = 0; k < kLanes; ++k, to += kPixel) {
      Float8 good = 1.0f - Float8{};
      keep(good, variance[k] > 0.0f);
      least = variance[k] < least && i + k < last ? variance[k] : least;
      store8(to, good);
      store8(to + kLanes, flux[k]);
      if (kVariance) store8(to + 2 * kLanes, variance[k]);
    }
  }
  bool all = true;
  for (int r = 0; r < kLanes; ++r) all &= least[r] > 0.0f;
  return all;
}

// finish_bin of eight rows.
SPECTROMER_INLINE void finish_lanes(const Double8& weight, const Double8& sum, const Double8& variance, float required,
                                    Float8& flux, Float8& ivar) {
  const Float8 one = 1.0f - Float8{};
  const Float8 w = __builtin_convertvector(weight, Float8);
  const Int8 good = w >= required;
  const Double8 per_weight = __builtin_convertvector(one / (good ? w : one), Double8);
  flux = __builtin_convertvector(sum * per_weight, Float8);
  ivar = one / __builtin_convertvector(variance * per_weight * per_weight, Float8);
  keep(flux, good);
  keep(ivar, good);
}

// Bin m of kLanes rows. Where all pixels are good, their weights add up to what the plan knows. Without variances, the
// ivar of a bin that is not masked is positive and no more.
template <bool kAllGood, bool kVariance>
SPECTROMER_INLINE void sum_bin(const ResamplePlan& plan, int64_t m, const double* from, float required, Float8& flux,
                               Float8& ivar) {
  Double8 weight = {}, sum = {}, variance = {};
  for (int64_t k = plan.start[m]; k < plan.start[m + 1]; ++k, from += kPixel) {
    const double w = plan.weight[k];
    if (!kAllGood) weight += w * load8(from);
    sum += w * load8(from + kLanes);
    if (kVariance) variance += w * w * load8(from + 2 * kLanes);
  }
  if (!kVariance) variance = 1.0 - Double8{};
  if (kAllGood && plan.total[m] >= required) {
    const double per_weight = static_cast<double>(1.0f / plan.total[m]);
    flux = __builtin_convertvector(sum * per_weight, Float8);
    ivar = 1.0f / __builtin_convertvector(variance * per_weight * per_weight, Float8);
  } else if (kAllGood) {
    flux = ivar = Float8{};
  } else {
    finish_lanes(weight, sum, variance, required, flux, ivar);
  }
}

// kLanes rows at once; out_flux[r] and out_ivar[r] are where row r's bins go.
template <bool kVariance>
SPECTROMER_INLINE void apply_plan(const ResamplePlan& plan, const SpectrumRow* rows, float required,
                                  std::vector<double>& tile, float* const* out_flux, float* const* out_ivar) {
  const int64_t bins = static_cast<int64_t>(plan.grid.size());
  const int64_t pixels = static_cast<int64_t>(plan.wavelength.size());
  const int64_t step = std::max(kTilePixels * bins / pixels / kLanes, int64_t{1}) * kLanes;
  for (int64_t begin = 0; begin < bins; begin += step) {
    const int64_t end = std::min(begin + step, bins);
    const int64_t first = plan.pixel[begin];
    const int64_t last = plan.pixel[end - 1] + plan.start[end] - plan.start[end - 1];
    const bool all_good = load_tile<kVariance>(rows, first, last, tile);
    for (int64_t block = begin; block < end; block += kLanes) {
      Float8 flux[kLanes] = {}, ivar[kLanes] = {};
      const int count = static_cast<int>(std::min<int64_t>(kLanes, end - block));
      for (int b = 0; b < count; ++b) {
        const double* from = tile.data() + (plan.pixel[block + b] - first) * kPixel;
        if (all_good) {
          sum_bin<true, kVariance>(plan, block + b, from, required, flux[b], ivar[b]);
        } else {
          sum_bin<false, kVariance>(plan, block + b, from, required, flux[b], ivar[b]);
        }
      }
      transpose(flux);
      transpose(ivar);
      for (int r = 0; r < kLanes; ++r) {
        if (count == kLanes) {
          store8(out_flux[r] + block, flux[r]);
          store8(out_ivar[r] + block, ivar[r]);
        } else {
          std::copy_n(&flux[r][0], count, out_flux[r] + block);
          std::copy_n(&ivar[r][0], count, out_ivar[r] + block);
        }
      }
    }
  }
}

SPECTROMER_WIDE void apply_plan_fully(const ResamplePlan& plan, const SpectrumRow* rows, float required,
                                      std::vector<double>& tile, float* const* out_flux, float* const* out_ivar) {
  apply_plan<true>(plan, rows, required, tile, out_flux, out_ivar);
}

SPECTROMER_WIDE void apply_plan_to_flux(const ResamplePlan& plan, const SpectrumRow* rows, float required,
                                        std::vector<double>& tile, float* const* out_flux, float* const* out_ivar) {
  apply_plan<false>(plan, rows, required, tile, out_flux, out_ivar);
}

// ---- wavelengths or a grid of its own for each row: bin by bin, four pixels at a time ----

constexpr int64_t kQuad = 4;  // pixels, or bins, in a vector of doubles

// The pixels of one row as doubles, padded for vectors that begin at any of them. (Double4 means one load each.)
struct PixelRow {
  const double* edge;                     // [pixels + 1] and infinities
  const double *good, *flux, *variance;   // [pixels] and zeros; all 0 where the pixel is not good
};

SPECTROMER_INLINE Double4 sums_of_four(const Double4 (&v)[kQuad]) {
  const Double4 ab = __builtin_shufflevector(v[0], v[1], 0, 4, 2, 6) + __builtin_shufflevector(v[0], v[1], 1, 5, 3, 7);
  const Double4 cd = __builtin_shufflevector(v[2], v[3], 0, 4, 2, 6) + __builtin_shufflevector(v[2], v[3], 1, 5, 3, 7);
  return __builtin_shufflevector(ab, cd, 0, 1, 4, 5) + __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
}

SPECTROMER_WIDE PixelRow fill_pixels(const SpectrumRow& s, std::vector<double>& room) {
  // The last bins look at four pixels from one behind the last.
  const int64_t stride = (s.pixels + 2 * kLanes) / kLanes * kLanes + kLanes;
  if (static_cast<int64_t>(room.size()) < 4 * stride) room.resize(static_cast<size_t>(4 * stride));
  double *edge = room.data(), *good = edge + stride, *flux = good + stride, *variance = flux + stride;
  const double* w = s.wavelength;
  for (int64_t i = 1; i < s.pixels; ++i) edge[i] = 0.5 * (w[i - 1] + w[i]);
  edge[0] = pixel_edge(w, s.pixels, 0);
  edge[s.pixels] = pixel_edge(w, s.pixels, s.pixels);
  std::fill(edge + s.pixels + 1, edge + stride, std::numeric_limits<double>::infinity());
  for (int64_t i = 0; i < stride; i += kLanes) {
    Float8 f = {}, v = {}, g = 1.0f - Float8{};
    if (i < s.pixels) load_pixels(s, i, f, v);
    keep(g, v > 0.0f);
    store8(good + i, g);
    store8(flux + i, f);
    store8(variance + i, v);
  }
  return PixelRow{edge, good, flux, variance};
}

// [bins + 1] edges, then [bins] of 1 / width, both padded to whole vectors.
SPECTROMER_WIDE void fill_bins(const double* grid, int64_t bins, std::vector<double>& room) {
  const int64_t stride = bins + 1 + kQuad;
  room.resize(static_cast<size_t>(2 * stride));
  double *edge = room.data(), *per_width = edge + stride;
  for (int64_t m = 1; m < bins; ++m) edge[m] = 0.5 * (grid[m - 1] + grid[m]);
  edge[0] = pixel_edge(grid, bins, 0);
  edge[bins] = pixel_edge(grid, bins, bins);
  std::fill(edge + bins + 1, edge + stride, edge[bins]);
  for (int64_t m = 0; m < bins; ++m) per_width[m] = 1.0 / (edge[m + 1] - edge[m]);
  std::fill(per_width + bins, per_width + stride, 0.0);
}

// finish_bin of four bins.
SPECTROMER_INLINE void finish_quad(const Double4& weight, const Double4& sum, const Double4& variance, float required,
                                   Float4& flux, Float4& ivar) {
  const Float4 one = {1.0f, 1.0f, 1.0f, 1.0f}, w = __builtin_convertvector(weight, Float4);
  const auto good = w >= required;
  const Double4 per_weight = __builtin_convertvector(one / (good ? w : one), Double4);
  flux = good ? __builtin_convertvector(sum * per_weight, Float4) : Float4{};
  ivar = good ? one / __builtin_convertvector(variance * per_weight * per_weight, Float4) : Float4{};
}

// One row; `bin` is what fill_bins has left.
SPECTROMER_WIDE void sum_row(const PixelRow& p, const double* bin, int64_t bins, float required, float* out_flux,
                             float* out_ivar) {
  const double* per_width = bin + bins + 1 + kQuad;
  int64_t i = 0;  // the first pixel that the bin meets
  for (int64_t begin = 0; begin < bins; begin += kQuad) {
    Double4 weights[kQuad], sums[kQuad], variances[kQuad];
    for (int64_t b = 0; b < kQuad; ++b) {
      const double low = bin[begin + b], high = bin[begin + b + 1];
      while (p.edge[i + 1] <= low) ++i;
      Double4 weight = {}, sum = {}, variance = {};
      int64_t k = i;
      do {
        const Double4 left = load4(p.edge + k), right = load4(p.edge + k + 1);
        Double4 w = (right < high ? right : high - Double4{}) - (left > low ? left : low - Double4{});
        w = w > 0.0 ? w : Double4{};
        weight += w * load4(p.good + k);
        sum += w * load4(p.flux + k);
        variance += w * w * load4(p.variance + k);
        k += kQuad;
      } while (p.edge[k] < high);
      weights[b] = weight, sums[b] = sum, variances[b] = variance;
    }
    const Double4 share = load4(per_width + begin);
    Float4 flux, ivar;
    finish_quad(sums_of_four(weights) * share, sums_of_four(sums) * share, sums_of_four(variances) * share * share,
                required, flux, ivar);
    const size_t bytes = static_cast<size_t>(std::min(kQuad, bins - begin)) * sizeof(float);
    if (bytes == sizeof flux) {
      std::memcpy(out_flux + begin, &flux, sizeof flux);
      std::memcpy(out_ivar + begin, &ivar, sizeof ivar);
    } else {
      std::memcpy(out_flux + begin, &flux, bytes);
      std::memcpy(out_ivar + begin, &ivar, bytes);
    }
  }
}

}  // namespace

Resampler::Resampler(const ResampleArgs& args, bool ivar) : args_(args), required_(required_weight(args)), ivar_(ivar) {
  static std::atomic<int64_t> calls{0};
  call_ = ++calls;
  if (args.rows > 0 && args.shared_wavelength && args.shared_grid) plan_ = plan_for(args);
}

void Resampler::run(int64_t begin, int64_t count, float* out_flux, float* out_ivar, ResampleScratch& scratch) const {
  if (plan_ != nullptr) {
    SpectrumRow rows[kLanes];
    float *flux[kLanes], *ivar[kLanes];
    for (int64_t r = 0; r < kLanes; ++r) {
      const int64_t row = std::min(r, count - 1);  // lanes left over repeat the last row
      rows[r] = spectrum_row(args_, begin + row);
      flux[r] = out_flux + row * args_.bins;
      ivar[r] = out_ivar + row * args_.bins;
    }
    (ivar_ ? apply_plan_fully : apply_plan_to_flux)(*plan_, rows, required_, scratch.tile, flux, ivar);
    return;
  }
  if (args_.method == Method::flux_conserving) {
    for (int64_t r = 0; r < count; ++r) {
      const SpectrumRow s = spectrum_row(args_, begin + r);
      float *flux = out_flux + r * args_.bins, *ivar = out_ivar + r * args_.bins;
      if (s.pixels == 0) {
        std::fill_n(flux, args_.bins, 0.0f);
        std::fill_n(ivar, args_.bins, 0.0f);
        continue;
      }
      const double* grid = grid_row(args_, begin + r);
      if (scratch.call != call_ || scratch.grid != grid) {  // else it is shared, and its bins are there already
        fill_bins(grid, args_.bins, scratch.bins);
        scratch.call = call_;
        scratch.grid = grid;
      }
      sum_row(fill_pixels(s, scratch.pixels), scratch.bins.data(), args_.bins, required_, flux, ivar);
    }
    return;
  }
  for (int64_t r = 0; r < count; ++r) {
    const SpectrumRow s = spectrum_row(args_, begin + r);
    const double* grid = grid_row(args_, begin + r);
    walk_bins(args_.method, s.wavelength, s.pixels, grid, args_.bins, [&](int64_t m, int64_t first) {
      resample_bin(args_.method, s, grid, args_.bins, m, first, required_, out_flux[r * args_.bins + m],
                   out_ivar[r * args_.bins + m]);
    });
  }
}

SPECTROMER_WIDE int64_t first_not_increasing(const double* values, int64_t rows, int64_t count,
                                             const int64_t* offsets) {
  for (int64_t row = 0; row < rows; ++row) {
    const double* v = values + (offsets != nullptr ? offsets[row] : row * count);
    const int64_t n = offsets != nullptr ? offsets[row + 1] - offsets[row] : count;
    bool increasing = n == 0 || (std::isfinite(v[0]) && std::isfinite(v[n - 1]));
    for (int64_t i = 1; i < n; ++i) increasing &= v[i] > v[i - 1];
    if (!increasing) return row;
  }
  return -1;
}

void resample_cpu(const ResampleArgs& args, int threads) {
  const Resampler resampler(args);
  parallel_for<ResampleScratch>(args.rows, threads, kLanes, [&](int64_t begin, int64_t end, ResampleScratch& scratch) {
    resampler.run(begin, end - begin, args.out_flux + begin * args.bins, args.out_ivar + begin * args.bins, scratch);
  });
}

void resample_backward_cpu(const ResampleArgs& args, int threads) {
  const float required = required_weight(args);
  parallel_for<std::vector<double>>(args.rows, threads, 8, [&](int64_t begin, int64_t end, std::vector<double>& grad) {
    for (int64_t row = begin; row < end; ++row) {
      const SpectrumRow s = spectrum_row(args, row);
      const double* grid = grid_row(args, row);
      grad.assign(static_cast<size_t>(s.end - s.begin), 0.0);
      walk_bins(args.method, s.wavelength, s.pixels, grid, args.bins, [&](int64_t m, int64_t first) {
        const double norm = bin_normalisation(args.method, s, grid, args.bins, m, first, required);
        if (norm == 0.0) return;
        const double scaled = static_cast<double>(args.grad_out[row * args.bins + m]) / norm;
        visit_bin(args.method, s.wavelength, s.pixels, grid, args.bins, m, first, [&](int64_t i, double w) {
          if (s.good(i)) grad[static_cast<size_t>(i - s.begin)] += scaled * w;
        });
      });
      std::copy(grad.begin(), grad.end(), args.grad_flux + (s.flux - args.flux));
    }
  });
}

}  // namespace spectromer
