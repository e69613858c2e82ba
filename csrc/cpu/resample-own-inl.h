// Resampling of rows with their own wavelengths or grid. Edges of pixels and bins are computed in vector lanes, and
// stored as pairs of single-precision numbers. One target's code.
#include <algorithm>

#include "resample-pixels-inl.h"

#if defined(SPECTROMER_CPU_RESAMPLE_OWN_INL_H) == defined(SPECTROMER_TARGET_TOGGLE)
#ifdef SPECTROMER_CPU_RESAMPLE_OWN_INL_H
#undef SPECTROMER_CPU_RESAMPLE_OWN_INL_H
#else
#define SPECTROMER_CPU_RESAMPLE_OWN_INL_H
#endif

SPECTROMER_BEGIN_TARGET;
namespace spectromer::SPECTROMER_TARGET {

// Tells whether wavelengths are finite and increasing.
inline bool increases(const double* v, int64_t count) {
  bool increasing = count == 0 || (std::isfinite(v[0]) && std::isfinite(v[count - 1]));
  Mask rises = mask_from_bits(~0u);
  int64_t i = 1;
  for (; i + kLanes <= count; i += kLanes) rises = rises & lt(load(v + i - 1), load(v + i));
  for (; i < count; ++i) increasing &= v[i - 1] < v[i];
  return increasing && all_true(rises);
}

// Larger than all wavelengths, but with finite differences.
constexpr float kFar = 1267650600228229401496703205376.0f;  // 2^100

// Wavelengths as pairs of single-precision numbers, with 48 bits in total: the nearest number and the remainder.
struct Wavelengths {
  Float near, rest;

  SPECTROMER_INLINE explicit Wavelengths(const Double& v) {
    const Double cut = truncate_to_float(v);
    near = convert_to_float(cut);
    rest = convert_to_float(v - cut);
  }

  SPECTROMER_INLINE Wavelengths(const float* from_near, const float* from_rest)
      : near(load(from_near)), rest(load(from_rest)) {}

  SPECTROMER_INLINE void put(float* to_near, float* to_rest) const {
    store(to_near, near);
    store(to_rest, rest);
  }
};

// Fills in the edges of all bins, in double precision and as Wavelengths, and 1 / width, up to a whole number of
// vectors.
inline void fill_bins(const double* grid, int64_t bins, BinScratch& scratch) {
  const int64_t padded = (bins + kLanes - 1) / kLanes * kLanes;
  const size_t size = static_cast<size_t>(padded + kLanes);
  scratch.edge.resize(size);
  scratch.near.resize(size);
  scratch.rest.resize(size);
  scratch.share.resize(size);
  double* edge = scratch.edge.data();
  for (int64_t m = 1; m < bins; ++m) edge[m] = 0.5 * (grid[m - 1] + grid[m]);
  edge[0] = pixel_edge(grid, bins, 0);
  std::fill(edge + bins, edge + size, pixel_edge(grid, bins, bins));
  for (int64_t m = 0; m < padded; m += kLanes) {
    const Double low = load(edge + m), high = load(edge + m + 1);
    Wavelengths(low).put(scratch.near.data() + m, scratch.rest.data() + m);
    const Float width = convert_to_float(high - low);
    store(scratch.share.data() + m, 1.0f / select(lt(Float{}, width), width, splat(1.0f)));
  }
  Wavelengths(load(edge + padded)).put(scratch.near.data() + padded, scratch.rest.data() + padded);
}

// Edge i of a row's pixels. Edges before the first and after the last lie at infinity.
SPECTROMER_INLINE double edge_of(const SpectrumRow& s, int64_t i) {
  return i < 0 ? -INFINITY : i > s.pixels ? INFINITY : pixel_edge(s.wavelength, s.pixels, i);
}

// The left edges of one row's own pixels, prepared in pieces like Pixels.
class Edges {
 public:
  SPECTROMER_INLINE Edges(const SpectrumRow& row, PixelScratch& scratch)
      : s_(row), wavelength_(row.wavelength), near_(scratch.near.data() + kPiece), rest_(scratch.rest.data() + kPiece),
        rises_(mask_from_bits(~0u)), least_(), most_() {
    least_.low += INFINITY;
    least_.high += INFINITY;
  }

  SPECTROMER_INLINE void prepare(int64_t pixel) {
    if (pixel > 0 && pixel + kPiece <= s_.pixels) {
      prepare_lanes(pixel);
      prepare_lanes(pixel + kLanes);
    } else {
      prepare_ends(s_, pixel, near_ + pixel, rest_ + pixel, ends_);
    }
  }

  // Tells whether all wavelengths are finite and increasing, given that the pixels [begin, end) have been prepared.
  SPECTROMER_INLINE bool increase(int64_t begin, int64_t end) const {
    const double* w = s_.wavelength;
    end = std::min(end, s_.pixels);
    return std::isfinite(w[0]) && std::isfinite(w[s_.pixels - 1]) && ends_.increasing && all_true(rises_) &&
           increases(w, std::max<int64_t>(begin, 0)) && increases(w + end - 1, s_.pixels - end + 1);
  }

  // Tells whether there may be a gap beside the prepared pixels: in a gap, a step is much wider than others nearby.
  SPECTROMER_INLINE bool may_have_gaps(double max_gap) const {
    double least = ends_.least, most = ends_.most;
    for (int k = 0; k < kLanes / 2; ++k) {
      least = std::min({least, least_.low[k], least_.high[k]});
      most = std::max({most, most_.low[k], most_.high[k]});
    }
    return most > max_gap * least;
  }

  SPECTROMER_INLINE const float* near(int64_t pixel) const { return near_ + pixel; }
  SPECTROMER_INLINE const float* rest(int64_t pixel) const { return rest_ + pixel; }

 private:
  SPECTROMER_INLINE void prepare_lanes(int64_t pixel) {
    const Double before = load(wavelength_ + pixel - 1), here = load(wavelength_ + pixel);
    Wavelengths(midpoint(before, here)).put(near_ + pixel, rest_ + pixel);
    prefetch<kLanes>(wavelength_ + pixel + 192);
    rises_ = rises_ & lt(before, here);
    least_ = min(here - before, least_);
    most_ = max(here - before, most_);
  }

  // What is known of the pixels near the ends.
  struct Ends {
    bool increasing = true;
    double least = INFINITY, most = 0.0;  // steps between pixels
  };

  // (It is seldom needed and therefore not inlined.)
  __attribute__((noinline)) static void prepare_ends(const SpectrumRow& s, int64_t pixel, float* near, float* rest,
                                                     Ends& ends) {
    for (int64_t i = pixel; i < pixel + kPiece; ++i) {
      const double edge = std::clamp<double>(edge_of(s, i), -kFar, kFar);
      *near++ = static_cast<float>(edge);
      *rest++ = static_cast<float>(edge - static_cast<double>(near[-1]));
      if (i <= 0 || i >= s.pixels) continue;
      const double step = s.wavelength[i] - s.wavelength[i - 1];
      ends.increasing &= s.wavelength[i - 1] < s.wavelength[i];
      ends.least = std::min(ends.least, step);
      ends.most = std::max(ends.most, step);
    }
  }

  const SpectrumRow& s_;
  const double* const wavelength_;
  float *const near_, *const rest_;
  Mask rises_;
  Double least_, most_;  // steps between pixels
  Ends ends_;
};

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
  if (s.max_gap < INFINITY && edges.may_have_gaps(s.max_gap) && has_gap(s.wavelength, s.pixels, s.max_gap)) {
    return Outcome::gaps;
  }
  return pixels.unusual ? Outcome::unusual : Outcome::done;
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
