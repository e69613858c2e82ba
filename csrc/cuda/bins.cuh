// The values of one spectrum at a time in shared memory: resampled to common bins, or as its own pixels.
#pragma once

#include "render_plan.h"

namespace spectromer {

// The source of values. planned: common bins with planned weights, for images that are drawn directly
// (ImageLayout::direct). pixels: the spectra's own pixels. any: either of them, decided at run time.
enum class Source { planned, pixels, any };

template <Source kSource>
class Bins {
 public:
  __device__ Bins(const RenderArgs& args, const RenderPlan& plan) : a_(args), p_(plan) {}

  // Called once per block; the caller must synchronise the block afterwards.
  __device__ void prepare() const {
    if (own_pixels()) return;
    list_panels(p_.bins.most);
    put_padding();
  }

  // Loads a spectrum; the caller must synchronise the block afterwards.
  __device__ __forceinline__ void gather(int row) {
    row_ = row;
    if (own_pixels()) gather_pixels(row);
    else gather_bins(row);
    const unsigned next = static_cast<unsigned>(renewed(row)) + gridDim.x;
    if (next < a_.spectra.rows) prefetch_row(spectrum_row<false>(a_.spectra, next));
  }

  __device__ bool own_pixels() const { return kSource == Source::pixels || (kSource == Source::any && p_.bins.own); }

  // Tells whether points are spaced as NearLayout requires. This is never the case for a spectrum's own pixels.
  __device__ bool even_points() const { return kSource != Source::pixels && p_.near.even; }
  __device__ bool near_points() const { return kSource == Source::planned || (even_points() && p_.near.points); }

  __device__ int count() const { return own_pixels() ? count_ : p_.bins.most; }
  __device__ Panel panel(int k) const { return shared_at<Panel>(p_.panel)[k]; }
  __device__ Shared<float> values() const { return shared_at<float>(p_.value); }

  // The place of a bin in shared memory.
  __device__ int place_of(int bin) const {
    if (p_.bins.padding == 0) return bin;
    return bin + p_.bins.padding * (quotient(bin, p_.bins.per_panel) + 1);
  }

  // The number of all places, including padding.
  __device__ int places() const { return own_pixels() ? count_ : p_.bins.places; }

  // The x of the bins of a panel whose first bin lies at `place`.
  __device__ auto x_of(int place) const {
    if constexpr (kSource == Source::pixels) return Shared<const float>(shared_at<float>(p_.x) + place);
    else return EvenX{p_.bins.step};
  }

  // A value's inverse variance.
  __device__ float ivar_at(int place) const {
    return own_pixels() ? a_.spectra.ivar[row_ * a_.spectra.pixels + first_ + place]
                        : static_cast<float>(shared_at<float>(p_.ivar)[place]);
  }

  // A derivative at a bin, from the values of its neighbours.
  __device__ float derivative(Quantity quantity, int bin) const {
    const auto plain = [&](int k) { return k >= 0 && k < count() ? static_cast<float>(values()[place_of(k)]) : NAN; };
    const auto slope = [&](int k) {
      return k >= 0 && k < count() ? gradient(plain(k - 1), plain(k), plain(k + 1)) : NAN;
    };
    return quantity == Quantity::first ? slope(bin) : gradient(slope(bin - 1), slope(bin), slope(bin + 1));
  }

  // Tells whether a bin is marked: for Quantity::regions if it lies in a region, for Quantity::mask if it has no value.
  __device__ bool marked(Quantity quantity, int bin, int place) const {
    if (quantity == Quantity::regions) {
      const ResampleArgs& s = a_.spectra;
      return a_.marks[(a_.shared_marks ? 0 : row_ * (own_pixels() ? s.pixels : s.bins)) + first_ + bin] != 0;
    }
    const float number = values()[place];
    return number != number;
  }

 private:
  __device__ void list_panels(int count) const {
#pragma unroll 1
    for (int k = thread_index(); k < p_.panels; k += block_threads()) {
      const PanelBins bins = panel_bins(count, p_.panels, k);
      const int begin = static_cast<int>(bins.begin);
      shared_at<Panel>(p_.panel)[k] = Panel{begin, begin + p_.bins.padding * (k + 1), static_cast<int>(bins.count)};
    }
  }

  // Fills the padding with NaN, which stays there.
  __device__ void put_padding() const {
    const int padding = p_.bins.padding, stride = p_.bins.of_panel + padding;
#pragma unroll 1
    for (int i = thread_index(); i < padding * (p_.panels + 1); i += block_threads()) {
      const int place = i / padding * stride + i % padding;
      values()[place] = NAN;
      if (p_.ivar) shared_at<float>(p_.ivar)[place] = NAN;
    }
  }

  __device__ __forceinline__ void gather_bins(int row) {
    const SpectrumRow spectrum = spectrum_row<false>(a_.spectra, row);
    if (p_.variance) resample<true>(spectrum);
    else resample<false>(spectrum);
  }

  template <bool kVariance>
  __device__ __forceinline__ void resample(const SpectrumRow& spectrum) const {
    const ResampleArgs& s = a_.spectra;
    const float required = required_weight(s);
    const Shared<float> values = this->values(), ivars = shared_at<float>(p_.ivar);
    const auto put = [&](int m, float flux, float ivar) {
      const bool good = (!kVariance || (ivar > 0.0f && ivar <= FLT_MAX)) && fabsf(flux) <= FLT_MAX;
      const int place = place_of(m);
      values[place] = good ? flux : NAN;
      if (kVariance) ivars[place] = ivar;
    };
    if (kSource == Source::planned || s.plan != nullptr) {
      const SpectrumRow kept_row{kept(spectrum.flux), kept(spectrum.ivar), spectrum.wavelength,
                                 spectrum.pixels,     spectrum.begin,      spectrum.end};
#pragma unroll 1
      for (int group = warp_index(); group < p_.weights.groups; group += block_warps()) {
        const int m = group * kWarp + lane_index();
        const BinSums<kVariance> sums = planned_sums<kVariance, false>(p_.weights, group, kept_row);
        float flux, ivar = 1.0f;
        sums.finish(required, flux, ivar);
        if (m < p_.bins.most) put(m, flux, ivar);
      }
    } else {
      const Shared<double> edge = shared_at<double>(p_.edges);
      const SpectrumRow row = p_.edges ? put_edges(spectrum, s.max_gap, edge) : with_gaps(spectrum, s.max_gap);
      if (p_.edges && !row.axis().gaps()) {
        visit_own_bins<kVariance>(row, edge, s.grid, p_.bins.most, required, put);
      } else {
        visit_bins_by_search<kVariance>(
            s, row, s.grid, required, [&](int64_t m, float flux, float ivar) { put(static_cast<int>(m), flux, ivar); });
      }
    }
  }

  // Loads the spectrum's own pixels, from the first good one to the last.
  __device__ void gather_pixels(int row) {
    const SpectrumRow s = spectrum_row<false>(a_.spectra, row);
    const Shared<int> state = shared_at<int>(p_.state);
    const int pixels = static_cast<int>(s.pixels);
    if (thread_index() == 0) state[0] = INT_MAX, state[1] = 0;
    __syncthreads();
    int low = INT_MAX, end = 0;
#pragma unroll 1
    for (int i = thread_index(); i < pixels; i += block_threads()) {
      if (!good_pixel(s.flux[i], s.ivar[i])) continue;
      low = i < low ? i : low;
      end = i + 1;
    }
    low = warp_min(low);
    end = warp_max(end);
    if (lane_index() == 0) atomicMin(state, low), atomicMax(state + 1, end);
    __syncthreads();
    first_ = state[0] < state[1] ? state[0] : 0;
    count_ = state[0] < state[1] ? state[1] - first_ : 0;
    list_panels(count_);
    __syncthreads();
    const float* flux = s.flux + first_;
    const float* ivar = s.ivar + first_;
#pragma unroll 1
    for (int i = thread_index(); i < count_; i += block_threads())
      values()[i] = good_pixel(flux[i], ivar[i]) ? flux[i] : NAN;
    const Shared<float> x = shared_at<float>(p_.x);
    const double* wavelength = s.wavelength + first_;
#pragma unroll 1
    for (int k = 0; k < p_.panels && p_.x; ++k) {
      const Panel panel = this->panel(k);
      const int end = panel.begin + panel.count;
      if (panel.count == 0) continue;
      const OwnAxis axis(a_, wavelength[panel.begin], wavelength[end - 1], panel.count);
#pragma unroll 1
      for (int i = panel.begin + thread_index(); i < end; i += block_threads()) x[i] = axis.x(wavelength[i]);
    }
  }

  const RenderArgs& a_;
  const RenderPlan& p_;
  int row_ = 0;                // row of the current spectrum
  int first_ = 0, count_ = 0;  // first of its own pixels, and their number
};

}  // namespace spectromer
