// Kernels of resample.cpp, for one level.

// What good pixels must be like for sums of squares in single precision to be safe.
struct Usual {
  float bright;            // greatest |flux|
  float lowest, highest;   // ivar
  float scale, per_scale;  // a power of two near the greatest ivar, by which variances are multiplied, and 1 / scale

  // Where variances are not wanted, all good ivar are usual.
  Usual(const SpectrumRow& s, bool variance) : scale(1.0f), per_scale(1.0f) {
    bright = std::ldexp(1.0f, 100);
    lowest = std::numeric_limits<float>::denorm_min();
    highest = FLT_MAX;
    if (!variance) return;
    const int64_t count = s.end - s.begin, step = count / 16 + 1;
    float most = FLT_MIN;
    for (int64_t i = 0; i < count; i += step) {
      const float value = s.ivar[i];
      most = value > most && value <= FLT_MAX ? value : most;
    }
    int exponent;
    std::frexp(most, &exponent);
    scale = std::ldexp(1.0f, exponent - 1);
    per_scale = 1.0f / scale;
    lowest = larger(std::ldexp(scale, -40), FLT_MIN);
    highest = smaller(std::ldexp(scale, 40), FLT_MAX);
  }
};

// kLanes pixels.
struct Pixels {
  Float flux;
  Float variance;  // times the row's scale, 1 where variances are not asked for; 0 where not good
  Mask good;

  template <bool kVariance>
  SPECTROMER_INLINE Pixels(const Float& f, const Float& ivar, const Usual& limits, std::bool_constant<kVariance>) {
    good = at_most(magnitude(f), all(limits.bright)) & at_most(all(limits.lowest), ivar) &
           at_most(ivar, all(limits.highest));
    flux = f;
    variance = kept(good, kVariance ? reciprocal(ivar * limits.per_scale) : all(1.0f));
  }

  // Is one good and yet not usual?
  SPECTROMER_INLINE bool unusual(const Float& f, const Float& ivar) const {
    const Float most = all(FLT_MAX);
    return any(at_most(magnitude(f), most) & less(Float{}, ivar) & at_most(ivar, most) & ~good);
  }
};

// 2 * kLanes pixels of one row.
template <bool kVariance>
struct PixelWindow {
  Pair flux, variance;
  Mask low, high;  // the good ones
  bool whole;      // all are good

  // `unusual` becomes true where good pixels are not usual.
  SPECTROMER_INLINE PixelWindow(const SpectrumRow& s, const Usual& limits, int64_t pixel, bool& unusual) {
    const int64_t at = pixel - s.begin, next = at + kLanes, end = s.end - s.begin;
    const bool inside = at >= 0 && next + kLanes <= end;
    const Pair f = {inside ? load(s.flux + at) : load_between(s.flux, at, end),
                    inside ? load(s.flux + next) : load_between(s.flux, next, end)};
    const Pair v = {inside ? load(s.ivar + at) : load_between(s.ivar, at, end),
                    inside ? load(s.ivar + next) : load_between(s.ivar, next, end)};
    const std::bool_constant<kVariance> wanted;
    const Pixels a(f.low, v.low, limits, wanted), b(f.high, v.high, limits, wanted);
    flux = {a.flux, b.flux};
    variance = {a.variance, b.variance};
    low = a.good;
    high = b.good;
    whole = every(low & high);
    if (!whole) unusual |= a.unusual(f.low, v.low) || b.unusual(f.high, v.high);
  }

  // Fluxes from a level, 0 where not good.
  SPECTROMER_INLINE void count_from(float level) {
    flux.low -= level;
    flux.high -= level;
    if (whole) return;
    flux.low = kept(low, flux.low);
    flux.high = kept(high, flux.high);
  }
};

// The flux from which those of a block are counted, so that single precision does: small beside them all, spikes
// included, and by which what is constant stays exactly so.
struct Level {
  float value;
  bool found;

  SPECTROMER_INLINE Level() : value(0.0f), found(false) {}

  template <bool kVariance>
  SPECTROMER_INLINE void subtract_from(PixelWindow<kVariance>& pixels, const SpectrumRow& s, int64_t pixel) {
    if (!found && pixels.whole) {
      const float least_flux = least_of(least(magnitude(pixels.flux.low), magnitude(pixels.flux.high)));
      value = std::copysign(least_flux, s.flux[pixel - s.begin]);
      found = true;
    } else if (!found) {
      const Float low = choose(pixels.low, magnitude(pixels.flux.low), all(INFINITY));
      const Float high = choose(pixels.high, magnitude(pixels.flux.high), all(INFINITY));
      const Float least_flux = all(least_of(least(low, high)));
      const unsigned at = lanes_of(at_most(low, least_flux) & pixels.low) |
                          lanes_of(at_most(high, least_flux) & pixels.high) << kLanes;
      found = at != 0;
      if (found) value = s.flux[pixel - s.begin + __builtin_ctz(at)];
    }
    pixels.count_from(value);
  }
};

// Sums over the pixels of kLanes bins, fluxes from a level.
struct Sums {
  Float weight, lost;  // of pixels that are good, and of those that are not
  Float flux, variance;

  // (Spelled out, as GCC compiles an implicit one for the baseline.)
  SPECTROMER_INLINE Sums() : weight{}, lost{}, flux{}, variance{} {}

  template <bool kAllGood>
  SPECTROMER_INLINE void add(const Float& w, const Float& f, const Float& v) {
    if (!kAllGood) {
      const Mask good = less(Float{}, v);
      weight = sum_where(good, weight, w);
      lost = sum_where(~good, lost, w);
    }
    flux = product_sum(w, f, flux);
    variance = product_sum(w * w, v, variance);
  }

  SPECTROMER_INLINE void add(const Sums& other) {
    weight += other.weight;
    lost += other.lost;
    flux += other.flux;
    variance += other.variance;
  }

  // `total`: the weight of bins all of whose pixels are good.
  template <bool kAllGood, bool kVariance>
  SPECTROMER_INLINE void finish(const Float& total, float required, float level, float scale, int64_t count,
                                float* out_flux, float* out_ivar) const {
    const Float w = kAllGood ? total : choose(less(Float{}, lost), weight, total);
    const Mask good = at_most(all(required), w);
    const Float divisor = choose(good, w, all(1.0f));
    store_some(out_flux, kept(good, product_sum(flux, reciprocal(divisor), all(level))), count);
    store_some(out_ivar, kept(good, kVariance ? scale * w * w * reciprocal(variance) : all(1.0f)), count);
  }
};

// Asks memory for the place of bins that will be written soon.
SPECTROMER_INLINE void ask_for_room(const float* bins) { __builtin_prefetch(bins + 128, 1); }

// One row by a plan, or two, which share the loads from the plan.
template <bool kVariance, int kRows>
struct PlannedRows {
  const ResamplePlan& plan;
  const SpectrumRow* s;
  const Usual limits[2];
  const float required;
  float* const* out_flux;
  float* const* out_ivar;
  bool unusual = false;

  SPECTROMER_INLINE PlannedRows(const ResamplePlan& used, const SpectrumRow* rows, float least_weight,
                                float* const* to_flux, float* const* to_ivar)
      : plan(used), s(rows), limits{Usual(rows[0], kVariance), Usual(rows[kRows - 1], kVariance)},
        required(least_weight), out_flux(to_flux), out_ivar(to_ivar) {}

  // Tells whether single precision does.
  SPECTROMER_INLINE bool run() {
    const int64_t bins = static_cast<int64_t>(plan.grid.size());
    for (int64_t bin = 0; bin < bins; bin += kLanes) run_block(bin, bins - bin);
    return !unusual;
  }

 private:
  SPECTROMER_INLINE void run_block(int64_t bin, int64_t count) {
    const int64_t block = bin / kLanes, window = plan.block[block], end = plan.block[block + 1];
    for (int r = 0; r < kRows; ++r) {
      ask_for_room(out_flux[r] + bin);
      ask_for_room(out_ivar[r] + bin);
    }
    PixelWindow<kVariance> one(s[0], limits[0], plan.pixel[window], unusual);
    PixelWindow<kVariance> other(s[kRows - 1], limits[kRows - 1], plan.pixel[window], unusual);
    Level level[2];
    level[0].subtract_from(one, s[0], plan.pixel[window]);
    level[1].subtract_from(other, s[kRows - 1], plan.pixel[window]);
    Sums sums[kRows];
    if (window + 1 == end && one.whole && other.whole) {
      add<true>(window, one, other, sums);
      finish<true>(bin, count, level, sums);
      return;
    }
    add<false>(window, one, other, sums);
    for (int64_t next = window + 1; next < end; ++next) {
      Sums part[kRows];
      one = PixelWindow<kVariance>(s[0], limits[0], plan.pixel[next], unusual);
      other = PixelWindow<kVariance>(s[kRows - 1], limits[kRows - 1], plan.pixel[next], unusual);
      level[0].subtract_from(one, s[0], plan.pixel[next]);
      level[1].subtract_from(other, s[kRows - 1], plan.pixel[next]);
      add<false>(next, one, other, part);
      for (int r = 0; r < kRows; ++r) sums[r].add(part[r]);
    }
    finish<false>(bin, count, level, sums);
  }

  template <bool kAllGood>
  SPECTROMER_INLINE void add(int64_t window, const PixelWindow<kVariance>& one, const PixelWindow<kVariance>& other,
                             Sums* sums) const {
    for (int64_t term = plan.term[window] * kLanes; term < plan.term[window + 1] * kLanes; term += kLanes) {
      const Int index = load(plan.index.data() + term);
      const Float weight = load(plan.weight.data() + term);
      sums[0].template add<kAllGood>(weight, pick(one.flux, index), pick(one.variance, index));
      if (kRows > 1) {
        sums[kRows - 1].template add<kAllGood>(weight, pick(other.flux, index), pick(other.variance, index));
      }
    }
  }

  template <bool kAllGood>
  SPECTROMER_INLINE void finish(int64_t bin, int64_t count, const Level* level, const Sums* sums) const {
    const Float total = load(plan.total.data() + bin);
    for (int r = 0; r < kRows; ++r) {
      sums[r].template finish<kAllGood, kVariance>(total, required, level[r].value, limits[r].scale, count,
                                                   out_flux[r] + bin, out_ivar[r] + bin);
    }
  }
};

template <int kRows>
SPECTROMER_INLINE bool resample_rows(const ResamplePlan& plan, const SpectrumRow* s, float required, bool ivar,
                                     float* const* out_flux, float* const* out_ivar) {
  return ivar ? PlannedRows<true, kRows>(plan, s, required, out_flux, out_ivar).run()
              : PlannedRows<false, kRows>(plan, s, required, out_flux, out_ivar).run();
}

inline bool resample_row(const ResamplePlan& plan, const SpectrumRow* s, float required, bool ivar,
                         float* const* out_flux, float* const* out_ivar) {
  return resample_rows<1>(plan, s, required, ivar, out_flux, out_ivar);
}

inline bool resample_pair(const ResamplePlan& plan, const SpectrumRow* s, float required, bool ivar,
                          float* const* out_flux, float* const* out_ivar) {
  return resample_rows<2>(plan, s, required, ivar, out_flux, out_ivar);
}

// Beyond all wavelengths, and yet a number whose differences are numbers.
constexpr double kFar = 1267650600228229401496703205376.0;  // 2^100

// Edges of the pixels: [pixels + 1], after one far below and before 2 * kLanes + 1 far above. Null where the wavelengths
// are not finite and increasing.
inline const double* fill_edges(const SpectrumRow& s, std::vector<double>& room) {
  const size_t size = static_cast<size_t>(s.pixels + 3 + 2 * kLanes);
  if (room.size() < size) room.resize(size);
  double* edge = room.data() + 1;
  const double* w = s.wavelength;
  edge[-1] = -kFar;
  edge[0] = pixel_edge(w, s.pixels, 0);
  Mask rises = ~no_lane();
  bool increasing = std::isfinite(w[0]) && std::isfinite(w[s.pixels - 1]);
  int64_t i = 1;
  for (; i + kLanes <= s.pixels; i += kLanes) {
    const Double before = load(w + i - 1), here = load(w + i);
    store(edge + i, half_way(before, here));
    rises = rises & less(before, here);
  }
  for (; i < s.pixels; ++i) {
    edge[i] = 0.5 * (w[i - 1] + w[i]);
    increasing &= w[i - 1] < w[i];
  }
  edge[s.pixels] = pixel_edge(w, s.pixels, s.pixels);
  std::fill(edge + s.pixels + 1, room.data() + size, kFar);
  return increasing && every(rises) ? edge : nullptr;
}

// Wavelengths from some origin, as a single-precision number and what that leaves.
struct Wavelengths {
  Float near, rest;

  SPECTROMER_INLINE Wavelengths(const Double& v, double origin) {
    const Double from = v - origin;
    near = to_float(from);
    rest = to_float(from - to_double(near));
  }

  SPECTROMER_INLINE explicit Wavelengths(const float* from) : near(load(from)), rest(load(from + kLanes)) {}

  SPECTROMER_INLINE void put(float* to) const {
    store(to, near);
    store(to + kLanes, rest);
  }
};

// kLanes bins.
struct Bins {
  Wavelengths low, high;  // edges
  Float share;            // 1 / width
  static constexpr int64_t kValues = 5 * kLanes;

  SPECTROMER_INLINE explicit Bins(const float* from)
      : low(from), high(from + 2 * kLanes), share(load(from + 4 * kLanes)) {}
};

// The edges of all bins, and of each block of kLanes, counted from its first, what Bins holds.
inline void fill_bins(const double* grid, int64_t bins, ResampleScratch& scratch) {
  const int64_t blocks = (bins + kLanes - 1) / kLanes;
  scratch.bins.resize(static_cast<size_t>(blocks * kLanes + 1));
  scratch.blocks.resize(static_cast<size_t>(blocks * Bins::kValues));
  double* edge = scratch.bins.data();
  for (int64_t m = 1; m < bins; ++m) edge[m] = 0.5 * (grid[m - 1] + grid[m]);
  edge[0] = pixel_edge(grid, bins, 0);
  std::fill(edge + bins, edge + scratch.bins.size(), pixel_edge(grid, bins, bins));
  float* to = scratch.blocks.data();
  for (int64_t begin = 0; begin < bins; begin += kLanes, to += Bins::kValues, edge += kLanes) {
    const Double low = load(edge), high = load(edge + 1);
    Wavelengths(low, edge[0]).put(to);
    Wavelengths(high, edge[0]).put(to + 2 * kLanes);
    const Float width = to_float(high - low);
    store(to + 4 * kLanes, 1.0f / choose(less(Float{}, width), width, all(1.0f)));
  }
}

// How many of 2 * kLanes increasing edges each lane's value has reached: guessed from the mean distance of the first, and
// counted where the guess is off by more than 1.
SPECTROMER_INLINE Int count_reached(const Pair& edge, const Float& value) {
  const Int none = {}, one = none + 1;
  const float first = edge.low[0];
  const Float guess = (value - first) * (static_cast<float>(kLanes - 1) / (edge.low[kLanes - 1] - first)) + 1.0f;
  Int count = to_int(least(most(guess, Float{}), all(static_cast<float>(2 * kLanes - 1))));
  const auto passes_next = [&]() SPECTROMER_INLINE_LAMBDA { return at_most(pick(edge, count), value); };
  const auto misses_last = [&]() SPECTROMER_INLINE_LAMBDA {
    return less(none, count) & less(value, pick(edge, count - 1));
  };
  const Mask up = passes_next(), down = misses_last();
  count = sum_where(up, count, one);
  count = sum_where(down, count, -one);
  const Mask inside = less(count, all(2 * kLanes));
  if (!any((inside & passes_next()) | misses_last())) return count;
  float edges[2 * kLanes];
  store(edges, edge.low);
  store(edges + kLanes, edge.high);
  count = none;
  for (const float e : edges) count = sum_where(at_most(all(e), value), count, one);
  return count;
}

// Adds what pixels [base, base + 2 * kLanes), of these edges (fill_edges), bring to bins from `reached` on up to their
// ends, wavelengths being counted from `origin`, fluxes from a level. kPlain: all pixels are good, and the bins lie
// within them.
template <bool kPlain>
SPECTROMER_INLINE void add_own(const double* edge, int64_t base, double origin, const PixelWindow<true>& pixels,
                               Wavelengths reached, const Wavelengths& end, const Float& share, Sums& sums) {
  const Int beyond = all(2 * kLanes);
  const Wavelengths low(load(edge + base + 1), origin), high(load(edge + base + 1 + kLanes), origin);
  const Pair near = {low.near, high.near}, rest = {low.rest, high.rest};  // of the pixels' right edges
  Int pixel = count_reached(near, reached.near);
  Mask open;
  do {
    const Float right = pick(near, pixel), right_rest = pick(rest, pixel);
    const Mask ends = less((end.near - right) + (end.rest - right_rest), Float{});
    const Float to = choose(ends, end.near, right), to_rest = choose(ends, end.rest, right_rest);
    const Float width = (to - reached.near) + (to_rest - reached.rest);
    const Mask covers = less(Float{}, width);
    sums.add<kPlain>((kPlain ? width : kept(covers, width)) * share, pick(pixels.flux, pixel),
                     pick(pixels.variance, pixel));
    reached.near = kPlain ? to : choose(covers, to, reached.near);
    reached.rest = kPlain ? to_rest : choose(covers, to_rest, reached.rest);
    open = ~ends;
    pixel += 1;
    if (kPlain) {
      pixel = least(pixel, beyond - 1);  // bins that are done stay where they are
    } else {
      open = open & less(pixel, beyond);
    }
  } while (any(open));
}

// A row whose pixels have these edges, to the bins that the scratch holds. Tells whether single precision does.
SPECTROMER_INLINE bool sum_bins(const double* edge, const SpectrumRow& s, const ResampleScratch& scratch, int64_t bins,
                                float required, float* out_flux, float* out_ivar) {
  const Usual limits(s, true);
  bool unusual = false;
  // The pixel that a block begins in; -1 lies before the first, one more behind the last. It is looked for from where
  // it would be if it were as far from the one before as that from its own.
  int64_t first = -1, before = -1;
  const float* block = scratch.blocks.data();
  for (int64_t begin = 0; begin < bins; begin += kLanes, block += Bins::kValues) {
    const double *bin = scratch.bins.data() + begin, last = bin[kLanes];
    const int64_t guess = std::min(2 * first - before, s.pixels);
    before = first;
    first = guess;
    while (edge[first + 1] <= bin[0]) ++first;
    while (edge[first] > bin[0]) --first;
    ask_for_room(out_flux + begin);
    ask_for_room(out_ivar + begin);
    // The next row's wavelengths, which are wanted all at once, most often lie behind these.
    const double* next = s.wavelength + s.pixels + std::max<int64_t>(first, 0);
    for (int64_t k = 0; k < 3; ++k) __builtin_prefetch(next + 8 * k, 0, 2);
    const Bins here(block);
    PixelWindow<true> pixels(s, limits, first, unusual);
    Level level;
    level.subtract_from(pixels, s, first);
    Sums sums;
    if (pixels.whole && edge[first + 2 * kLanes] >= last) {
      add_own<true>(edge, first, bin[0], pixels, here.low, here.high, here.share, sums);
      sums.finish<true, true>(all(1.0f), required, level.value, limits.scale, bins - begin, out_flux + begin,
                              out_ivar + begin);
      continue;
    }
    add_own<false>(edge, first, bin[0], pixels, here.low, here.high, here.share, sums);
    for (int64_t base = first + 2 * kLanes; edge[base] < last; base += 2 * kLanes) {
      PixelWindow<true> more(s, limits, base, unusual);
      level.subtract_from(more, s, base);
      // What bins have begun before the window, they have been summed up to it.
      Wavelengths reached(load(bin), edge[base]);
      const Mask begins = less(Float{}, reached.near);
      reached.near = kept(begins, reached.near);
      reached.rest = kept(begins, reached.rest);
      Sums part;
      add_own<false>(edge, base, edge[base], more, reached, Wavelengths(load(bin + 1), edge[base]), here.share, part);
      sums.add(part);
    }
    sums.finish<false, true>(all(1.0f), required, level.value, limits.scale, bins - begin, out_flux + begin,
                             out_ivar + begin);
  }
  return !unusual;
}

// One row whose wavelengths or grid are its own; `fresh` tells that the scratch does not hold the grid's bins.
inline Outcome resample_own(const SpectrumRow& s, const double* grid, int64_t bins, bool fresh, float required,
                            ResampleScratch& scratch, float* out_flux, float* out_ivar) {
  if (fresh) fill_bins(grid, bins, scratch);
  const double* edge = fill_edges(s, scratch.edges);
  if (edge == nullptr) return Outcome::not_increasing;
  return sum_bins(edge, s, scratch, bins, required, out_flux, out_ivar) ? Outcome::done : Outcome::unusual;
}

inline bool increases(const double* v, int64_t count) {
  bool increasing = count == 0 || (std::isfinite(v[0]) && std::isfinite(v[count - 1]));
  Mask rises = at_most(Float{}, Float{});
  int64_t i = 1;
  for (; i + kLanes <= count; i += kLanes) rises = rises & less(load(v + i - 1), load(v + i));
  for (; i < count; ++i) increasing &= v[i - 1] < v[i];
  return increasing && every(rises);
}
