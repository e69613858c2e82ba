// Resampling from shared wavelengths to a shared grid, with precomputed weights. One target's code.
#include "resample-pixels-inl.h"

#if defined(SPECTROMER_CPU_RESAMPLE_PLANNED_INL_H) == defined(SPECTROMER_TARGET_TOGGLE)
#ifdef SPECTROMER_CPU_RESAMPLE_PLANNED_INL_H
#undef SPECTROMER_CPU_RESAMPLE_PLANNED_INL_H
#else
#define SPECTROMER_CPU_RESAMPLE_PLANNED_INL_H
#endif

SPECTROMER_BEGIN_TARGET;
namespace spectromer::SPECTROMER_TARGET {

// Resampling of one row by a plan, or of two rows, which share the loads from the plan.
template <bool kVariance, int kRows>
struct PlannedRows {
  Pixels<kVariance> one, other;
  int64_t ready;  // the pixels before this one have been prepared
  const int64_t bins;
  const PlanWindow* window;  // the next one; the next members point to its terms
  const uint8_t* indices;
  const float *weights, *const totals, *const per_totals;
  const float required;
  float* const* out_flux;
  float* const* out_ivar;

  SPECTROMER_INLINE PlannedRows(const ResamplePlan& plan, const SpectrumRow* spectra, float least_weight,
                                ResampleScratch& scratch, float* const* to_flux, float* const* to_ivar)
      : one(spectra[0], scratch.row[0]), other(spectra[kRows - 1], scratch.row[kRows - 1]),
        ready(start_of_piece(plan.window[0].pixel)), bins(static_cast<int64_t>(plan.grid.size())),
        window(plan.window.data()), indices(plan.index.data()), weights(plan.weight.data()), totals(plan.total.data()),
        per_totals(plan.per_total.data()), required(least_weight), out_flux(to_flux), out_ivar(to_ivar) {}

  // Returns whether single precision was enough.
  SPECTROMER_INLINE bool run() {
    for (int64_t bin = 0; bin < bins; bin += kLanes) run_block(bin, bins - bin);
    return !one.unusual && !(kRows > 1 && other.unusual);
  }

 private:
  SPECTROMER_INLINE void run_block(int64_t bin, int64_t count) {
    for (int r = 0; r < kRows; ++r) {
      prefetch_output(out_flux[r] + bin);
      if (kVariance) prefetch_output(out_ivar[r] + bin);
    }
    const PlanWindow* end = window;
    while (!end->ends_block) ++end;
    prepare(end->pixel + kPiece);
    bool whole = true;
    for (const PlanWindow* next = window; next <= end; ++next) {
      whole &= one.whole(next->pixel) && (kRows == 1 || other.whole(next->pixel));
    }
    if (whole) add_block<true>(bin, count, end);
    else add_block<false>(bin, count, end);
  }

  template <bool kAllGood>
  SPECTROMER_INLINE void add_block(int64_t bin, int64_t count, const PlanWindow* end) {
    const float pivot = one.pivot(window->pixel, end->pixel);
    const float other_pivot = kRows > 1 ? other.pivot(window->pixel, end->pixel) : pivot;
    Sums sums[kRows];
    if (window == end) {
      add<kAllGood>(pivot, other_pivot, sums);
    } else {
      while (window <= end) {
        Sums part[kRows];
        add<kAllGood>(pivot, other_pivot, part);
        for (int r = 0; r < kRows; ++r) sums[r].add(part[r]);
      }
    }
    finish<kAllGood>(bin, count, pivot, other_pivot, sums);
  }

  SPECTROMER_INLINE void prepare(int64_t last) {
    if (ready > last) return;
    for (const int64_t ahead = last + kAhead; ready <= ahead; ready += kPiece) {
      one.prepare(ready);
      if (kRows > 1) other.prepare(ready);
    }
  }

  // Adds the next window.
  template <bool kAllGood>
  SPECTROMER_INLINE void add(float pivot, float other_pivot, Sums* sums) {
    const Window here = one.template window<kAllGood>(window->pixel, pivot);
    const Window there = kRows > 1 ? other.template window<kAllGood>(window->pixel, other_pivot) : here;
    for (const float* end = weights + window->terms * kLanes; weights < end; weights += kLanes, indices += kLanes) {
      const Int index = load_bytes(indices);
      const Float weight = load(weights);
      sums[0].template add<kAllGood>(weight, table_lookup(here.flux, index), table_lookup(here.variance, index));
      if (kRows > 1)
        sums[1].template add<kAllGood>(weight, table_lookup(there.flux, index), table_lookup(there.variance, index));
    }
    ++window;
  }

  template <bool kAllGood>
  SPECTROMER_INLINE void finish(int64_t bin, int64_t count, float pivot, float other_pivot, const Sums* sums) const {
    const Weight total = {load(totals + bin), load(per_totals + bin)};
    sums[0].template finish<kAllGood, kVariance>(total, required, pivot, one.limits.scale, count, out_flux[0] + bin,
                                                 out_ivar[0] + bin);
    if (kRows == 1) return;
    sums[1].template finish<kAllGood, kVariance>(total, required, other_pivot, other.limits.scale, count,
                                                 out_flux[1] + bin, out_ivar[1] + bin);
  }
};

// Returns whether single precision was enough.
template <int kRows>
SPECTROMER_INLINE bool resample_rows(const ResamplePlan& plan, const SpectrumRow* s, float required, bool ivar,
                                     ResampleScratch& scratch, float* const* out_flux, float* const* out_ivar) {
  for (int r = 0; r < kRows; ++r) scratch.row[r].reserve(s[r].pixels + kRoom);
  return ivar ? PlannedRows<true, kRows>(plan, s, required, scratch, out_flux, out_ivar).run()
              : PlannedRows<false, kRows>(plan, s, required, scratch, out_flux, out_ivar).run();
}

inline bool resample_row(const ResamplePlan& plan, const SpectrumRow* s, float required, bool ivar,
                         ResampleScratch& scratch, float* const* out_flux, float* const* out_ivar) {
  return resample_rows<1>(plan, s, required, ivar, scratch, out_flux, out_ivar);
}

inline bool resample_pair(const ResamplePlan& plan, const SpectrumRow* s, float required, bool ivar,
                          ResampleScratch& scratch, float* const* out_flux, float* const* out_ivar) {
  return resample_rows<2>(plan, s, required, ivar, scratch, out_flux, out_ivar);
}

}  // namespace spectromer::SPECTROMER_TARGET
SPECTROMER_END_TARGET;

#endif
