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

// ---- a grid of its own for each row: pixel and bin edges merged, two rows at a time ----

// Where one row stands in its merge. One more pixel and one more bin than there are end at infinity.
struct Merge {
  const double* pixel;  // [pixels + 1, 4] right edge, and 1, flux, variance: all 0 where not good
  const double* bin;    // [bins + 1, 2] right edge, 1 / width
  double* sums;         // [bins + 1, 4] of each bin: unused, weight, sum, variance
  int64_t pixels, bins;
  int64_t i, m;
  double from;
  Double4 sum;

  // Takes the stretch up to the next edge of either kind.
  SPECTROMER_INLINE void step() {
    const double right = pixel[4 * i], high = bin[2 * m];
    const int64_t pixel_ends = right <= high, bin_ends = high <= right;
    const double to = right < high ? right : high;
    const double w = (to - from) * bin[2 * m + 1];
    Double4 values;
    std::memcpy(&values, pixel + 4 * i, sizeof values);
    const Double4 factor = {w, w, w, w * w};
    sum += factor * values;
    std::memcpy(sums + 4 * m, &sum, sizeof sum);
    sum = (Double4)((Long4)sum & (bin_ends - 1 - Long4{}));
    from = to;
    i += pixel_ends;
    m += bin_ends;
  }

  SPECTROMER_INLINE bool may_take(int64_t steps) const { return i + steps <= pixels && m + steps <= bins; }
};

constexpr int kMerged = 2;

SPECTROMER_WIDE void run_merges(Merge (&merges)[kMerged]) {
  Merge a = merges[0], b = merges[1];
  while (a.may_take(8) && b.may_take(8)) {
    for (int k = 0; k < 8; ++k) {
      a.step();
      b.step();
    }
  }
  while (a.may_take(1)) a.step();
  while (b.may_take(1)) b.step();
  merges[0] = a;
  merges[1] = b;
}

SPECTROMER_WIDE void fill_pixels(const SpectrumRow& s, double* pixel) {
  Float8 flux, variance;
  int64_t i = 0;
  for (; i + kLanes < s.pixels; i += kLanes) {
    load_pixels(s, i, flux, variance);
    Float8 good = 1.0f - Float8{};
    keep(good, variance > 0.0f);
    const double* w = s.wavelength + i;
    store_columns(pixel + 4 * i, 0.5 * (load4(w) + load4(w + 1)), low_half(good), low_half(flux), low_half(variance));
    store_columns(pixel + 4 * i + 16, 0.5 * (load4(w + 4) + load4(w + 5)), high_half(good), high_half(flux),
                  high_half(variance));
  }
  if (i < s.pixels) load_pixels(s, i, flux, variance);
  for (int64_t k = 0; i + k < s.pixels; ++k) {
    double* to = pixel + 4 * (i + k);
    to[0] = pixel_edge(s.wavelength, s.pixels, i + k + 1);
    to[1] = variance[k] > 0.0f ? 1.0 : 0.0;
    to[2] = flux[k];
    to[3] = variance[k];
  }
  double* last = pixel + 4 * s.pixels;
  last[0] = std::numeric_limits<double>::infinity();
  last[1] = last[2] = last[3] = 0.0;
}

SPECTROMER_WIDE void fill_bins(const double* grid, int64_t bins, double* bin) {
  for (int64_t m = 0; m + 1 < bins; ++m) bin[2 * m] = 0.5 * (grid[m] + grid[m + 1]);
  bin[2 * bins - 2] = pixel_edge(grid, bins, bins);
  bin[1] = 1.0 / (bin[0] - pixel_edge(grid, bins, 0));
  for (int64_t m = 1; m < bins; ++m) bin[2 * m + 1] = 1.0 / (bin[2 * m] - bin[2 * m - 2]);
  bin[2 * bins] = std::numeric_limits<double>::infinity();
  bin[2 * bins + 1] = 0.0;
}

SPECTROMER_WIDE void finish_row(const double* sums, int64_t bins, float required, float* flux, float* ivar) {
  for (int64_t m = 0; m < bins; ++m) {
    finish_bin(sums[4 * m + 1], sums[4 * m + 2], sums[4 * m + 3], required, flux[m], ivar[m]);
  }
}

// Up to kMerged rows.
void merge_rows(const ResampleArgs& args, int64_t call, int64_t begin, int64_t count, float required, float* out_flux,
                float* out_ivar, ResampleScratch& scratch) {
  SpectrumRow rows[kMerged];
  Merge merges[kMerged];
  for (int k = 0; k < kMerged; ++k) {
    SpectrumRow& s = rows[k];
    s = spectrum_row(args, begin + std::min<int64_t>(k, count - 1));
    if (s.pixels < 2) s.pixels = s.end = s.begin = 0;
    const double* grid = grid_row(args, begin + std::min<int64_t>(k, count - 1));
    std::vector<double>&pixel = scratch.pixel[k], &bin = scratch.bin[k], &sums = scratch.sums[k];
    pixel.resize(static_cast<size_t>(4 * (s.pixels + 1)));
    sums.resize(static_cast<size_t>(4 * (args.bins + 1)));
    fill_pixels(s, pixel.data());
    if (scratch.call != call || scratch.grid[k] != grid) {  // else it is shared, and its bins are there already
      bin.resize(static_cast<size_t>(2 * (args.bins + 1)));
      fill_bins(grid, args.bins, bin.data());
      scratch.grid[k] = grid;
    }
    const double low = pixel_edge(grid, args.bins, 0);
    const double from = s.pixels > 0 ? std::max(low, pixel_edge(s.wavelength, s.pixels, 0)) : low;
    int64_t i = 0, m = 0;
    while (i < s.pixels && pixel[4 * i] <= from) ++i;
    while (m < args.bins && bin[2 * m] <= from) ++m;
    std::fill_n(sums.begin(), 4 * m, 0.0);
    merges[k] = Merge{pixel.data(), bin.data(), sums.data(), s.pixels, args.bins, i, m, from, Double4{}};
  }
  scratch.call = call;
  run_merges(merges);
  for (int64_t k = 0; k < count; ++k) {
    Merge& merge = merges[k];
    // The pixels may have ended within a bin, whose sums are stored, or at its right edge.
    const bool begun = merge.m < args.bins && merge.sum[1] > 0.0;
    std::fill(merge.sums + 4 * (merge.m + begun), merge.sums + 4 * args.bins, 0.0);
    finish_row(merge.sums, args.bins, required, out_flux + k * args.bins, out_ivar + k * args.bins);
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
    for (int64_t r = 0; r < count; r += kMerged) {
      merge_rows(args_, call_, begin + r, std::min<int64_t>(kMerged, count - r), required_, out_flux + r * args_.bins,
                 out_ivar + r * args_.bins, scratch);
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
