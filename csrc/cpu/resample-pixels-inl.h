// Resampling in vector lanes, with one bin per lane: the pixels of a row, which are prepared in pieces and read through
// windows, and the sums over them. One target's code (see simd/foreach_target.h).
#include <cfloat>
#include <cmath>
#include <limits>

#include "resample.h"
#include "simd/vector.h"

#if defined(SPECTROMER_CPU_RESAMPLE_PIXELS_INL_H) == defined(SPECTROMER_TARGET_TOGGLE)
#ifdef SPECTROMER_CPU_RESAMPLE_PIXELS_INL_H
#undef SPECTROMER_CPU_RESAMPLE_PIXELS_INL_H
#else
#define SPECTROMER_CPU_RESAMPLE_PIXELS_INL_H
#endif

SPECTROMER_BEGIN_TARGET;
namespace spectromer::SPECTROMER_TARGET {

// The limits within which sums of squares are safe in single precision. Good pixels within them are called usual.
struct Limits {
  float bright;            // greatest |flux|
  float lowest, highest;   // ivar
  float scale, per_scale;  // a power of two near the greatest ivar, by which variances are multiplied; 1 / scale

  // Without variances, the ivar of good pixels is not limited.
  Limits(const SpectrumRow& s, bool variance) : scale(1.0f), per_scale(1.0f) {
    bright = std::ldexp(1.0f, 100);
    lowest = std::numeric_limits<float>::denorm_min();
    highest = FLT_MAX;
    if (!variance) return;
    const int64_t count = s.end - s.begin, step = count / 16 + 1;
    float greatest = FLT_MIN;
    for (int64_t i = 0; i < count; i += step) {
      const float value = s.ivar[i];
      greatest = value > greatest && value <= FLT_MAX ? value : greatest;
    }
    int exponent;
    std::frexp(greatest, &exponent);
    scale = std::ldexp(1.0f, exponent - 1);
    per_scale = 1.0f / scale;
    lowest = max(std::ldexp(scale, -40), FLT_MIN);
    highest = min(std::ldexp(scale, 40), FLT_MAX);
  }
};

// The number of pixels of a piece, and of a window.
constexpr int64_t kPiece = 2 * kLanes;

// The number of pixels that are prepared in advance, so that no pixel is loaded that has just been stored.
constexpr int64_t kAhead = 2 * kPiece;

// The number of pixels after the last one for which scratch memory has room: windows extend beyond it, and pieces are
// prepared in advance.
constexpr int64_t kRoom = 4 * kPiece + kAhead;

// Pieces are counted from kPiece pixels before the first pixel.
SPECTROMER_INLINE int64_t piece_of(int64_t pixel) {
  return static_cast<int64_t>(static_cast<uint64_t>(pixel + kPiece) / kPiece);
}
SPECTROMER_INLINE int64_t start_of_piece(int64_t pixel) { return piece_of(pixel) * kPiece - kPiece; }

// Prefetches values that will be read soon.
template <int64_t kCount, class Value>
SPECTROMER_INLINE void prefetch(const Value* values) {
  constexpr int64_t kLine = 64 / sizeof(Value);
  for (int64_t k = 0; k < kCount; k += kLine) __builtin_prefetch(values + k);
}

// The flux nearer to 0.
SPECTROMER_INLINE float nearer(float a, float b) { return std::fabs(b) < std::fabs(a) ? b : a; }

// kPiece pixels of one row.
struct Window {
  Pair flux;      // minus a pivot; 0 if not good
  Pair variance;  // times the row's scale, or 1 without variances; 0 if not good
};

// The pixels of one row. Pieces of them are prepared just before bins need them.
template <bool kVariance>
class Pixels {
 public:
  SPECTROMER_INLINE Pixels(const SpectrumRow& row, PixelScratch& scratch)
      : limits(row, kVariance), flux_(row.flux), ivar_(row.ivar), begin_(row.begin), end_(row.end),
        variance_(scratch.variance.data() + kPiece), pieces_(scratch.pieces.data() + 1) {}

  const Limits limits;
  bool unusual = false;  // some of the prepared pixels are good but not usual

  SPECTROMER_INLINE void prepare(int64_t pixel) {
    const int64_t at = pixel - begin_, end = end_ - begin_;
    const float *f = flux_ + at, *i = ivar_ + at;
    float values[2 * kPiece];
    if (at < 0 || at + kPiece > end) {
      copy_partial(flux_, at, end, values, kPiece);
      copy_partial(ivar_, at, end, values + kPiece, kPiece);
      f = values;
      i = values + kPiece;
    }
    const Pair flux = {load(f), load(f + kLanes)}, ivar = {load(i), load(i + kLanes)};
    prefetch<kPiece>(flux_ + at + 128);
    prefetch<kPiece>(ivar_ + at + 128);
    const Pair bright = {abs(flux.low), abs(flux.high)};
    const Mask low = usual(flux.low, ivar.low), high = usual(flux.high, ivar.high);
    float* to = variance_ + pixel;
    const bool whole = all_true(low & high);
    if (whole) {
      if (kVariance) store(to, variance(ivar.low));
      if (kVariance) store(to + kLanes, variance(ivar.high));
      add_piece(pixel, true, std::copysign(reduce_min(min(bright.low, bright.high)), f[0]));
      return;
    }
    if (kVariance) store(to, select_or_zero(low, variance(ivar.low)));
    if (kVariance) store(to + kLanes, select_or_zero(high, variance(ivar.high)));
    unusual |= any_true(good(flux.low, ivar.low) & ~low) || any_true(good(flux.high, ivar.high) & ~high);
    const Float none = splat(INFINITY);
    const Float least_flux = splat(reduce_min(min(select(low, bright.low, none), select(high, bright.high, none))));
    const unsigned bits =
        bits_from_mask(le(bright.low, least_flux) & low) | bits_from_mask(le(bright.high, least_flux) & high) << kLanes;
    add_piece(pixel, false, bits != 0 ? f[__builtin_ctz(bits)] : INFINITY);
  }

  // Tells whether all pixels of a window are good.
  SPECTROMER_INLINE bool whole(int64_t pixel) const { return pieces_[piece_of(pixel)].whole; }

  // The pivot of the windows from `pixel` to `last`. It is subtracted from the fluxes, so that single precision
  // suffices. As it is the nearby flux that is nearest to 0, spikes do not degrade the precision, and constant fluxes
  // stay exactly constant.
  SPECTROMER_INLINE float pivot(int64_t pixel, int64_t last) const {
    float value = pieces_[piece_of(pixel)].pivot;
    for (int64_t next = piece_of(pixel) + 2; next <= piece_of(last) + 1; ++next) {
      value = nearer(value, pieces_[next].pivot);
    }
    return std::fabs(value) <= FLT_MAX ? value : 0.0f;
  }

  template <bool kWhole>
  SPECTROMER_INLINE Window window(int64_t pixel, float pivot) const {
    const int64_t at = pixel - begin_, next = at + kLanes, end = end_ - begin_;
    Pair v = {load(variance_ + pixel), load(variance_ + pixel + kLanes)};
    if (kWhole) return {{load(flux_ + at) - pivot, load(flux_ + next) - pivot}, v};
    const Float low = load_partial(flux_, at, end), high = load_partial(flux_, next, end);
    if (!kVariance) {
      v = {select_or_zero(usual(low, load_partial(ivar_, at, end)), splat(1.0f)),
           select_or_zero(usual(high, load_partial(ivar_, next, end)), splat(1.0f))};
    }
    return {{select_or_zero(lt(Float{}, v.low), low - pivot), select_or_zero(lt(Float{}, v.high), high - pivot)}, v};
  }

 private:
  SPECTROMER_INLINE Mask usual(const Float& flux, const Float& ivar) const {
    return le(abs(flux), splat(limits.bright)) & le(splat(limits.lowest), ivar) & le(ivar, splat(limits.highest));
  }

  SPECTROMER_INLINE Float variance(const Float& ivar) const {
    return kVariance ? reciprocal(ivar * limits.per_scale) : splat(1.0f);
  }

  // The properties of a piece include the next one, because windows that begin in a piece end in the next.
  SPECTROMER_INLINE void add_piece(int64_t pixel, bool whole, float pivot) {
    PixelPiece* piece = pieces_ + piece_of(pixel);
    piece[0] = {pivot, whole};
    piece[-1].whole &= whole;
    piece[-1].pivot = nearer(piece[-1].pivot, pivot);
  }

  static SPECTROMER_INLINE Mask good(const Float& flux, const Float& ivar) {
    const Float greatest = splat(FLT_MAX);
    return le(abs(flux), greatest) & lt(Float{}, ivar) & le(ivar, greatest);
  }

  const float *const flux_, *const ivar_;  // values of the pixels [begin_, end_)
  const int64_t begin_, end_;
  float* const variance_;
  PixelPiece* const pieces_;
};

// The weights of kLanes bins.
struct Weight {
  Float value, reciprocal;
};

// Sums over the pixels of kLanes bins, with fluxes minus a pivot.
struct Sums {
  Float weight, lost;  // weights of pixels that are good, and of those that are not
  Float flux, variance;

  // (Written out because GCC compiles an implicit one for the baseline.)
  SPECTROMER_INLINE Sums() : weight{}, lost{}, flux{}, variance{} {}

  template <bool kAllGood>
  SPECTROMER_INLINE void add(const Float& w, const Float& f, const Float& v) {
    if (!kAllGood) {
      const Mask good = lt(Float{}, v);
      weight = masked_add(good, weight, w);
      lost = masked_add(~good, lost, w);
    }
    flux = mul_add(w, f, flux);
    variance = mul_add(w * w, v, variance);
  }

  SPECTROMER_INLINE void add(const Sums& other) {
    weight += other.weight;
    lost += other.lost;
    flux += other.flux;
    variance += other.variance;
  }

  // Stores the first `count` bins. `total` is the weight of a bin if all of its pixels are good. Masked bins become 0,
  // or NaN without variances.
  template <bool kAllGood, bool kVariance>
  SPECTROMER_INLINE void finish(const Weight& total, float required, float pivot, float scale, int64_t count,
                                float* out_flux, float* out_ivar) const {
    Weight w = total;
    if (!kAllGood) {
      const Mask part = lt(Float{}, lost);
      w.value = select(part, weight, w.value);
      w.reciprocal = select(part, reciprocal(select(lt(Float{}, weight), weight, splat(1.0f))), w.reciprocal);
    }
    const Mask good = le(splat(required), w.value);
    const Float mean = mul_add(flux, w.reciprocal, splat(pivot));
    if (!kVariance) {
      store_partial(out_flux, select(good, mean, splat(std::numeric_limits<float>::quiet_NaN())), count);
      return;
    }
    const Float ivar = w.value * w.value * reciprocal(variance) * scale;
    store_partial(out_flux, select_or_zero(good, mean), count);
    store_partial(out_ivar, select_or_zero(good, min(ivar, splat(FLT_MAX))), count);
  }
};

// Prefetches the memory of bins that will be written soon.
SPECTROMER_INLINE void prefetch_output(const float* bins) { __builtin_prefetch(bins + 128, 1); }

}  // namespace spectromer::SPECTROMER_TARGET
SPECTROMER_END_TARGET;

#endif
