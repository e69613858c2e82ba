// Resampling of rows with their own wavelengths or grid. Edges of pixels and bins are computed in vector lanes, and
// stored as pairs of single-precision numbers. One target's code.
#include <algorithm>

#include "resample-edges-inl.h"

#if defined(SPECTROMER_CPU_RESAMPLE_OWN_INL_H) == defined(SPECTROMER_TARGET_TOGGLE)
#ifdef SPECTROMER_CPU_RESAMPLE_OWN_INL_H
#undef SPECTROMER_CPU_RESAMPLE_OWN_INL_H
#else
#define SPECTROMER_CPU_RESAMPLE_OWN_INL_H
#endif

SPECTROMER_BEGIN_TARGET;
namespace spectromer::SPECTROMER_TARGET {

// The positions of kLanes wavelengths.
struct Places {
  Int pixel;            // of a window
  Float before, after;  // distances from the left and to the right edge of the pixel
};

// The edges of kPiece pixels.
struct EdgeWindow {
  const float *near, *rest;
  Pair left, left_rest, right, right_rest;

  SPECTROMER_INLINE EdgeWindow(const Edges& edges, int64_t pixel)
      : near(edges.near(pixel)), rest(edges.rest(pixel)), left{load(near), load(near + kLanes)},
        left_rest{load(rest), load(rest + kLanes)}, right{load(near + 1), load(near + 1 + kLanes)},
        right_rest{load(rest + 1), load(rest + 1 + kLanes)} {}

  SPECTROMER_INLINE Pair width() const {
    return {(right.low - left.low) + (right_rest.low - left_rest.low),
            (right.high - left.high) + (right_rest.high - left_rest.high)};
  }

  // Wavelengths outside the window are clamped to its ends.
  SPECTROMER_INLINE Places find_clamped(const Wavelengths& v) const {
    const float first = left.low[0], last = right.high[kLanes - 1];
    Places at = find<false>(v, (v.near - first) * (static_cast<float>(kPiece) / (last - first)));
    const Float all_of_it = table_lookup(width(), at.pixel);
    at.before = min(max(at.before, Float{}), all_of_it);
    at.after = min(max(at.after, Float{}), all_of_it);
    return at;
  }

  // Finds wavelengths, starting from a guess of their pixels. With kInside, all of them must lie in the window.
  template <bool kInside>
  SPECTROMER_INLINE Places find(const Wavelengths& v, const Float& guess) const {
    Places at;
    at.pixel = within(convert_to_int(guess));
    Mask below, above;
    measure<kInside>(v, at, below, above);
    if (!any_true(below | above)) return at;
    at.pixel = within(masked_add(above, masked_add(below, at.pixel, splat(-1)), splat(1)));
    measure<kInside>(v, at, below, above);
    if (!any_true(below | above)) return at;
    at.pixel = splat(-1);
    for (int64_t k = 0; k < kPiece; ++k) {
      at.pixel = masked_add(le((near[k] - v.near) + (rest[k] - v.rest), Float{}), at.pixel, splat(1));
    }
    at.pixel = within(at.pixel);
    measure<kInside>(v, at, below, above);
    return at;
  }

 private:
  static SPECTROMER_INLINE Int within(const Int& pixel) { return min(max(pixel, Int{}), splat(int{kPiece - 1})); }

  template <bool kInside>
  SPECTROMER_INLINE void measure(const Wavelengths& v, Places& at, Mask& below, Mask& above) const {
    at.before = (v.near - table_lookup(left, at.pixel)) + (v.rest - table_lookup(left_rest, at.pixel));
    at.after = (table_lookup(right, at.pixel) - v.near) + (table_lookup(right_rest, at.pixel) - v.rest);
    below = lt(at.before, Float{});
    above = le(at.after, Float{});
    if (kInside) return;
    below = below & lt(Int{}, at.pixel);
    above = above & lt(at.pixel, splat(int{kPiece - 1}));
  }
};

// Adds the contributions of a window's pixels to bins from `low` to `high`.
template <bool kInside>
SPECTROMER_INLINE void add_between(const Window& window, const EdgeWindow& edges, const Places& low, const Places& high,
                                   const Float& share, Sums& sums) {
  const Mask one = eq(low.pixel, high.pixel);
  const Float after = low.after * share, before = high.before * share;
  const Float whole = kInside ? splat(1.0f) : min(splat(1.0f), min(after, before));
  sums.add<kInside>(select(one, whole, after), table_lookup(window.flux, low.pixel),
                    table_lookup(window.variance, low.pixel));
  sums.add<kInside>(select_or_zero(~one, before), table_lookup(window.flux, high.pixel),
                    table_lookup(window.variance, high.pixel));
  Int pixel = low.pixel + 1;
  Mask inner = lt(pixel, high.pixel);
  if (!any_true(inner)) return;
  const Pair width = edges.width();
  do {
    sums.add<kInside>(select_or_zero(inner, table_lookup(width, pixel) * share), table_lookup(window.flux, pixel),
                      table_lookup(window.variance, pixel));
    pixel += 1;
    inner = lt(pixel, high.pixel);
  } while (any_true(inner));
}

// The position of a wavelength among a row's own pixels.
struct Spot {
  int64_t pixel;  // -1: before the first
  float before;   // distance from its left edge
  float share;    // the same as a fraction of its width
};

SPECTROMER_INLINE Spot spot_between(double wavelength, int64_t pixel, double left, double right) {
  const float before = static_cast<float>(wavelength - left);
  return {pixel, before, before / static_cast<float>(right - left)};
}

__attribute__((noinline)) inline Spot find_spot(double wavelength, const SpectrumRow& s, int64_t pixel) {
  while (edge_of(s, pixel + 1) <= wavelength) ++pixel;
  while (edge_of(s, pixel) > wavelength) --pixel;
  return spot_between(wavelength, pixel, edge_of(s, pixel), edge_of(s, pixel + 1));
}

// `guess` is the most probable pixel of the wavelength, from -1 to `pixels`.
SPECTROMER_INLINE Spot spot_of(double wavelength, const SpectrumRow& s, int64_t guess) {
  if (guess < 1 || guess + 1 >= s.pixels) return find_spot(wavelength, s, guess);
  const double* w = s.wavelength + guess;
  const double left = 0.5 * (w[-1] + w[0]), right = 0.5 * (w[0] + w[1]);
  if (left <= wavelength && wavelength < right) return spot_between(wavelength, guess, left, right);
  return find_spot(wavelength, s, guess);
}

template <bool kVariance>
SPECTROMER_INLINE Outcome resample_own_as(const SpectrumRow& s, const double* grid, int64_t count, bool fresh,
                                          float required, ResampleScratch& scratch, float* out_flux, float* out_ivar) {
  if (fresh) fill_bins(grid, count, scratch.bins);
  if (!scratch.bins.usual) return Outcome::unusual;
  const double first = s.wavelength[0], last = s.wavelength[s.pixels - 1];
  const double mean_step = (last - first) / static_cast<double>(s.pixels);
  // 48 bits are not enough for pixels that are narrower than this.
  if (!(mean_step > std::ldexp(std::max(std::fabs(first), std::fabs(last)), -20))) return Outcome::unusual;
  scratch.row[0].reserve(s.pixels + kRoom);
  const BinScratch& bins = scratch.bins;
  const double* edge = bins.edge.data();
  Spot here = find_spot(edge[0], s, first_pixel(Method::flux_conserving, {s.wavelength, s.pixels, INFINITY}, edge[0]));
  Pixels<kVariance> pixels(s, scratch.row[0]);
  Edges edges(s, scratch.row[0]);
  const int64_t start = start_of_piece(here.pixel);
  int64_t ready = start;  // the pixels before this one have been prepared
  float reach = 0.0f,
        before = 0.0f;  // the number of pixels by which the last block of bins advanced, and the block before it
  const Weight whole = {splat(1.0f), splat(1.0f)};
  for (int64_t begin = 0; begin < count; begin += kLanes) {
    const float ahead = clamp(here.share + 2.0f * reach - before, 0.0f, static_cast<float>(s.pixels - here.pixel));
    const Spot next = spot_of(edge[begin + kLanes], s, here.pixel + static_cast<int64_t>(ahead));
    if (next.pixel < here.pixel) return Outcome::not_increasing;
    prefetch_output(out_flux + begin);
    if (kVariance) prefetch_output(out_ivar + begin);
    if (ready <= next.pixel + kPiece) {
      for (const int64_t far = next.pixel + kPiece + kAhead; ready <= far; ready += kPiece) {
        pixels.prepare(ready);
        edges.prepare(ready);
      }
    }
    const Float share = load(bins.share.data() + begin);
    const Wavelengths low(bins.near.data() + begin, bins.rest.data() + begin);
    before = begin == 0 ? static_cast<float>(next.pixel - here.pixel) : reach;
    reach = static_cast<float>(next.pixel - here.pixel) + next.share - here.share;
    Sums sums;
    const bool one_window = next.pixel < here.pixel + kPiece;
    const float pivot = pixels.pivot(here.pixel, one_window ? here.pixel : next.pixel);
    if (one_window && pixels.whole(here.pixel)) {
      // In units of pixels, the edges of the bins lie near a parabola through the ends of this block and the last one.
      const float mean = 0.5f * (reach + before);
      const Float part = convert_to_float(iota()) * (1.0f / kLanes);
      const Float gone_on = mul_add(part, splat(reach - mean), splat(mean));
      const EdgeWindow window(edges, here.pixel);
      const Places from = window.find<true>(low, mul_add(part, gone_on, splat(here.share)));
      Places to;
      to.pixel = slide_down(from.pixel, static_cast<int>(next.pixel - here.pixel));
      to.before = slide_down(from.before, next.before);
      add_between<true>(pixels.template window<true>(here.pixel, pivot), window, from, to, share, sums);
      sums.finish<true, kVariance>(whole, required, pivot, pixels.limits.scale, count - begin, out_flux + begin,
                                   out_ivar + begin);
    } else {
      const Wavelengths high(bins.near.data() + begin + 1, bins.rest.data() + begin + 1);
      for (int64_t base = here.pixel; base <= next.pixel; base += kPiece) {
        const EdgeWindow window(edges, base);
        Sums part;
        add_between<false>(pixels.template window<false>(base, pivot), window, window.find_clamped(low),
                           window.find_clamped(high), share, part);
        sums.add(part);
      }
      sums.finish<false, kVariance>(whole, required, pivot, pixels.limits.scale, count - begin, out_flux + begin,
                                    out_ivar + begin);
    }
    here = next;
  }
  if (!edges.increase(start, ready)) return Outcome::not_increasing;
  const auto [least, most] = edges.steps();
  if (pixels.unusual || least <= kNarrow || most >= kFar) return Outcome::unusual;
  // In a gap, a step is much wider than others nearby.
  return most > s.max_gap * least && has_gap(s.wavelength, s.pixels, s.max_gap) ? Outcome::gaps : Outcome::done;
}

// Resamples a row with its own wavelengths or grid. `fresh` means that the scratch does not yet hold the bins of the
// grid.
inline Outcome resample_own(const SpectrumRow& s, const double* grid, int64_t bins, bool fresh, float required,
                            bool ivar, ResampleScratch& scratch, float* out_flux, float* out_ivar) {
  return ivar ? resample_own_as<true>(s, grid, bins, fresh, required, scratch, out_flux, out_ivar)
              : resample_own_as<false>(s, grid, bins, fresh, required, scratch, out_flux, out_ivar);
}

}  // namespace spectromer::SPECTROMER_TARGET
SPECTROMER_END_TARGET;

#endif
