// Resampling on the CPU: plans of weights, the choice of a kernel for each row, and the operators.
#include "resample.h"

#include <algorithm>
#include <atomic>
#include <mutex>

#include "parallel.h"

#define SPECTROMER_TARGET_INCLUDE "../resample-inl.h"
#include "simd/foreach_target.h"

namespace spectromer {
namespace {

// Calls visit(bin, first pixel) for all bins in order. A pixel that ends before a bin also ends before all later bins,
// so each pixel is passed only once.
template <class Visit>
void walk_bins(Method method, const PixelAxis& axis, const double* grid, int64_t bins, Visit visit) {
  int64_t first = 0;
  for (int64_t m = 0; m < bins; ++m) {
    const double start = bin_start(method, grid, bins, m);
    while (first < axis.pixels && pixel_is_behind(method, axis, first, start)) ++first;
    visit(m, first);
  }
}

// The pixels of one bin that have not been assigned to a term of the plan yet.
struct Rest {
  int64_t pixel = 0;
  std::vector<double> weights;
  size_t next = 0;

  bool done() const { return next == weights.size(); }
};

// Assigns the pixels of a block's bins to windows and terms.
void place_block(std::vector<Rest>& bins, ResamplePlan& plan) {
  const int64_t reach = 2 * plan.lanes;
  for (bool left = true; left;) {
    // The window begins with the first pixel that is left or, if there is none, with that of the first bin.
    int64_t pixel = bins[0].pixel;
    const auto waiting = std::find_if(bins.begin(), bins.end(), [](const Rest& bin) { return !bin.done(); });
    if (waiting != bins.end()) pixel = waiting->pixel;
    int32_t terms = 0;
    const auto here = [&](const Rest& bin) { return !bin.done() && bin.pixel < pixel + reach; };
    for (; std::any_of(bins.begin(), bins.end(), here); ++terms) {
      for (Rest& bin : bins) {
        const bool placed = here(bin);
        plan.weight.push_back(placed ? static_cast<float>(bin.weights[bin.next++]) : 0.0f);
        // A lane that has no pixel left reads its last one again, with a weight of 0.
        const int64_t at = placed ? bin.pixel++ : bin.pixel - 1;
        plan.index.push_back(static_cast<uint8_t>(std::clamp<int64_t>(at - pixel, 0, reach - 1)));
      }
    }
    left = !std::all_of(bins.begin(), bins.end(), [](const Rest& bin) { return bin.done(); });
    plan.window.push_back({pixel, terms, !left});
  }
}

std::shared_ptr<const ResamplePlan> make_plan(const ResampleArgs& a, int lanes) {
  auto plan = std::make_shared<ResamplePlan>();
  const bool gaps = has_gap(a.wavelength, a.pixels, a.max_gap);
  const PixelAxis axis{a.wavelength, a.pixels, gaps ? a.max_gap : INFINITY};
  plan->method = a.method;
  plan->max_gap = a.max_gap;
  plan->lanes = lanes;
  plan->wavelength.assign(a.wavelength, a.wavelength + a.pixels);
  plan->grid.assign(a.grid, a.grid + a.bins);
  std::vector<Rest> bins;
  walk_bins(a.method, axis, a.grid, a.bins, [&](int64_t m, int64_t first) {
    Rest bin;
    double total = 0.0;
    visit_bin(a.method, axis, a.grid, a.bins, m, first, [&](int64_t i, double weight) {
      if (bin.weights.empty()) bin.pixel = i;
      bin.weights.resize(static_cast<size_t>(i - bin.pixel));  // pixels without a width are left out
      bin.weights.push_back(weight);
      total += weight;
    });
    if (bin.weights.empty()) bin.pixel = std::min(first, a.pixels - 1);
    plan->total.push_back(static_cast<float>(total));
    plan->per_total.push_back(total > 0.0 ? static_cast<float>(1.0 / total) : 0.0f);
    bins.push_back(bin);
    const bool last = m + 1 == a.bins;
    while (last && static_cast<int>(bins.size()) < lanes) {
      bins.push_back(Rest{bins.back().pixel, {}, 0});
      plan->total.push_back(0.0f);
      plan->per_total.push_back(0.0f);
    }
    if (static_cast<int>(bins.size()) == lanes) {
      place_block(bins, *plan);
      bins.clear();
    }
  });
  return plan;
}

// Returns a plan. The most recently used plans are cached, as most callers reuse the same grids.
std::shared_ptr<const ResamplePlan> plan_for(const ResampleArgs& a, int lanes) {
  static std::mutex mutex;
  static std::vector<std::shared_ptr<const ResamplePlan>> recent;
  constexpr size_t kKept = 8;
  const auto fits = [&](const std::shared_ptr<const ResamplePlan>& plan) {
    return plan->method == a.method && plan->max_gap == a.max_gap && plan->lanes == lanes &&
           static_cast<int64_t>(plan->wavelength.size()) == a.pixels &&
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
  auto plan = make_plan(a, lanes);
  const std::lock_guard<std::mutex> lock(mutex);
  recent.insert(recent.begin(), plan);
  if (recent.size() > kKept) recent.pop_back();
  return plan;
}

// Puts masked pixels into the gaps of a row, one typical step from either end. Returns the row with them.
SpectrumRow fill_gaps(const SpectrumRow& s, FilledRow& filled) {
  filled.flux.clear();
  filled.ivar.clear();
  filled.wavelength.clear();
  SpectrumRow row = s;
  for (int64_t i = 0; i < s.pixels; ++i) {
    const bool within = i >= s.begin && i < s.end;
    if (i == s.begin) row.begin = static_cast<int64_t>(filled.wavelength.size());
    const auto add = [&](double wavelength, float flux, float ivar) {
      filled.wavelength.push_back(wavelength);
      if (!within) return;
      filled.flux.push_back(flux);
      filled.ivar.push_back(ivar);
    };
    add(s.wavelength[i], within ? s.flux[i - s.begin] : 0.0f, within ? s.ivar[i - s.begin] : 0.0f);
    if (i + 1 == s.end) row.end = static_cast<int64_t>(filled.wavelength.size());
    if (const Gap gap = s.axis().gap(i)) {
      add(s.wavelength[i] + gap.before, 0.0f, 0.0f);
      add(s.wavelength[i + 1] - gap.after, 0.0f, 0.0f);
    }
  }
  if (s.begin == s.end) row.end = row.begin;
  row.flux = filled.flux.data();
  row.ivar = filled.ivar.data();
  row.wavelength = filled.wavelength.data();
  row.pixels = static_cast<int64_t>(filled.wavelength.size());
  row.max_gap = INFINITY;
  return row;
}

}  // namespace

Resampler::Resampler(const ResampleArgs& args, bool ivar)
    : args_(args), max_gap_(args.max_gap), required_(required_weight(args)), ivar_(ivar) {
  static std::atomic<int64_t> calls{0};
  call_ = ++calls;
  const bool shared = args.shared_wavelength && args.shared_grid;
  if (args.rows > 0 && args.bins > 0 && shared) plan_ = plan_for(args, SPECTROMER_DISPATCH(kLanes));
  if (args.shared_wavelength && !has_gap(args.wavelength, args.pixels, max_gap_)) max_gap_ = INFINITY;
}

void Resampler::found_bad(int64_t row) const {
  int64_t known = first_bad_.load();
  while (row < known && !first_bad_.compare_exchange_weak(known, row)) {}
}

int64_t Resampler::first_bad() const { return first_bad_.load() == INT64_MAX ? -1 : first_bad_.load(); }

bool Resampler::check(const SpectrumRow& s, int64_t row) const {
  if (args_.shared_wavelength || SPECTROMER_DISPATCH(increases)(s.wavelength, s.pixels)) return true;
  found_bad(row);
  return false;
}

Outcome Resampler::run_own(const SpectrumRow& s, const double* grid, float* out_flux, float* out_ivar,
                           ResampleScratch& scratch) const {
  if (args_.method != Method::flux_conserving || s.pixels == 0) return Outcome::unusual;
  const bool fresh = scratch.call != call_ || scratch.grid != grid;
  scratch.call = call_;
  scratch.grid = grid;
  return SPECTROMER_DISPATCH(resample_own)(s, grid, args_.bins, fresh, required_, ivar_, scratch, out_flux, out_ivar);
}

void Resampler::run(int64_t begin, int64_t count, float* out_flux, float* out_ivar, ResampleScratch& scratch) const {
  constexpr int64_t kPair = 2;
  const auto by_plan = [&](auto resample, const SpectrumRow* spectra, float* const* flux, float* const* ivar) {
    return plan_ != nullptr && resample(*plan_, spectra, required_, ivar_, scratch, flux, ivar);
  };
  for (int64_t r = 0; r < count; r += kPair) {
    const int64_t some = std::min(kPair, count - r);
    SpectrumRow spectra[kPair];
    float *flux[kPair], *ivar[kPair];
    for (int64_t i = 0; i < some; ++i) {
      spectra[i] = spectrum_row(args_, begin + r + i);
      flux[i] = out_flux + (r + i) * args_.bins;
      ivar[i] = ivar_ ? out_ivar + (r + i) * args_.bins : nullptr;
    }
    if (some == kPair && by_plan(SPECTROMER_DISPATCH(resample_pair), spectra, flux, ivar)) continue;
    for (int64_t i = 0; i < some; ++i) {
      SpectrumRow& s = spectra[i];
      const double* grid = grid_row(args_, begin + r + i);
      if (by_plan(SPECTROMER_DISPATCH(resample_row), &s, flux + i, ivar + i)) continue;
      s.max_gap = max_gap_;
      if (plan_ == nullptr) {
        Outcome outcome = run_own(s, grid, flux[i], ivar[i], scratch);
        if (outcome == Outcome::gaps) outcome = run_own(fill_gaps(s, scratch.filled), grid, flux[i], ivar[i], scratch);
        if (outcome == Outcome::not_increasing) found_bad(begin + r + i);
        if (outcome != Outcome::unusual || !check(s, begin + r + i)) continue;
      }
      if (!has_gap(s.wavelength, s.pixels, s.max_gap)) s.max_gap = INFINITY;
      walk_bins(args_.method, s.axis(), grid, args_.bins, [&](int64_t m, int64_t first) {
        float no_ivar;
        if (ivar_) resample_bin<true>(args_.method, s, grid, args_.bins, m, first, required_, flux[i][m], ivar[i][m]);
        else resample_bin<false>(args_.method, s, grid, args_.bins, m, first, required_, flux[i][m], no_ivar);
      });
    }
  }
}

int64_t first_not_increasing(const double* values, int64_t rows, int64_t count, const int64_t* offsets) {
  const auto increases = SPECTROMER_DISPATCH(increases);
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t begin = offsets != nullptr ? offsets[row] : row * count;
    const int64_t end = offsets != nullptr ? offsets[row + 1] : begin + count;
    if (!increases(values + begin, end - begin)) return row;
  }
  return -1;
}

int64_t resample_cpu(const ResampleArgs& args, int threads) {
  const Resampler resampler(args);
  constexpr int64_t kChunk = 8;
  parallel_for<ResampleScratch>(args.rows, threads, kChunk, [&](int64_t begin, int64_t end, ResampleScratch& scratch) {
    resampler.run(begin, end - begin, args.out_flux + begin * args.bins, args.out_ivar + begin * args.bins, scratch);
  });
  return resampler.first_bad();
}

void resample_backward_cpu(const ResampleArgs& args, int threads) {
  const float required = required_weight(args);
  const bool none = args.shared_wavelength && !has_gap(args.wavelength, args.pixels, args.max_gap);
  parallel_for<std::vector<double>>(args.rows, threads, 8, [&](int64_t begin, int64_t end, std::vector<double>& grad) {
    for (int64_t row = begin; row < end; ++row) {
      SpectrumRow s = spectrum_row(args, row);
      if (!none && has_gap(s.wavelength, s.pixels, args.max_gap)) s.max_gap = args.max_gap;
      const double* grid = grid_row(args, row);
      grad.assign(static_cast<size_t>(s.end - s.begin), 0.0);
      walk_bins(args.method, s.axis(), grid, args.bins, [&](int64_t m, int64_t first) {
        const double norm = bin_normalisation(args.method, s, grid, args.bins, m, first, required);
        if (norm == 0.0) return;
        const double scaled = static_cast<double>(args.grad_out[row * args.bins + m]) / norm;
        visit_bin(args.method, s.axis(), grid, args.bins, m, first, [&](int64_t i, double w) {
          if (s.good(i)) grad[static_cast<size_t>(i - s.begin)] += scaled * w;
        });
      });
      std::copy(grad.begin(), grad.end(), args.grad_flux + (s.flux - args.flux));
    }
  });
}

}  // namespace spectromer
