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

// Pixels are made ready, and looked at through windows, this many at a time.
constexpr int64_t kPiece = 2 * kLanes;

// Pixels are made ready this far ahead, so that none is loaded that has just been stored.
constexpr int64_t kAhead = 2 * kPiece;

// After the pixels that a row has, scratch has room for those that windows reach, and what is made ready ahead.
constexpr int64_t kRoom = 4 * kPiece + kAhead;

// Pieces are counted from kPiece pixels before the first.
SPECTROMER_INLINE int64_t piece_of(int64_t pixel) {
  return static_cast<int64_t>(static_cast<uint64_t>(pixel + kPiece) / kPiece);
}
SPECTROMER_INLINE int64_t start_of_piece(int64_t pixel) { return piece_of(pixel) * kPiece - kPiece; }

// Asks memory for values that will be wanted soon.
template <int64_t kCount, class Value>
SPECTROMER_INLINE void fetch(const Value* values) {
  constexpr int64_t kLine = 64 / sizeof(Value);
  for (int64_t k = 0; k < kCount; k += kLine) __builtin_prefetch(values + k);
}

// The flux nearer to 0.
SPECTROMER_INLINE float nearer(float a, float b) { return std::fabs(b) < std::fabs(a) ? b : a; }

// kPiece pixels of one row.
struct Window {
  Pair flux;      // from a level, 0 where not good
  Pair variance;  // times the row's scale, 1 where variances are not asked for; 0 where not good
};

// The pixels of one row, of which pieces are made just before bins come to them.
template <bool kVariance>
class Pixels {
 public:
  SPECTROMER_INLINE Pixels(const SpectrumRow& row, PixelScratch& scratch)
      : limits(row, kVariance), flux_(row.flux), ivar_(row.ivar), begin_(row.begin), end_(row.end),
        variance_(scratch.variance.data() + kPiece), pieces_(scratch.pieces.data() + 1) {}

  const Usual limits;
  bool unusual = false;  // are some of which pieces were made good and yet not usual?

  SPECTROMER_INLINE void make_piece(int64_t pixel) {
    const int64_t at = pixel - begin_, end = end_ - begin_;
    const float *f = flux_ + at, *i = ivar_ + at;
    float values[2 * kPiece];
    if (at < 0 || at + kPiece > end) {
      copy_between(flux_, at, end, values, kPiece);
      copy_between(ivar_, at, end, values + kPiece, kPiece);
      f = values;
      i = values + kPiece;
    }
    const Pair flux = {load(f), load(f + kLanes)}, ivar = {load(i), load(i + kLanes)};
    fetch<kPiece>(flux_ + at + 128);
    fetch<kPiece>(ivar_ + at + 128);
    const Pair bright = {magnitude(flux.low), magnitude(flux.high)};
    const Mask low = usual(flux.low, ivar.low), high = usual(flux.high, ivar.high);
    float* to = variance_ + pixel;
    const bool whole = every(low & high);
    if (whole) {
      if (kVariance) store(to, variance(ivar.low));
      if (kVariance) store(to + kLanes, variance(ivar.high));
      add_piece(pixel, true, std::copysign(least_of(least(bright.low, bright.high)), f[0]));
      return;
    }
    if (kVariance) store(to, kept(low, variance(ivar.low)));
    if (kVariance) store(to + kLanes, kept(high, variance(ivar.high)));
    unusual |= any(good(flux.low, ivar.low) & ~low) || any(good(flux.high, ivar.high) & ~high);
    const Float none = all(INFINITY);
    const Float least_flux = all(least_of(least(choose(low, bright.low, none), choose(high, bright.high, none))));
    const unsigned lanes = lanes_of(at_most(bright.low, least_flux) & low) |
                           lanes_of(at_most(bright.high, least_flux) & high) << kLanes;
    add_piece(pixel, false, lanes != 0 ? f[__builtin_ctz(lanes)] : INFINITY);
  }

  // Are all pixels of a window good?
  SPECTROMER_INLINE bool whole(int64_t pixel) const { return pieces_[piece_of(pixel)].whole; }

  // The flux from which those of windows from `pixel` to `last` are counted, so that single precision does: none near
  // them is nearer to 0, so that spikes spoil nothing, and what is constant stays exactly so.
  SPECTROMER_INLINE float level(int64_t pixel, int64_t last) const {
    float value = pieces_[piece_of(pixel)].level;
    for (int64_t next = piece_of(pixel) + 2; next <= piece_of(last) + 1; ++next) {
      value = nearer(value, pieces_[next].level);
    }
    return std::fabs(value) <= FLT_MAX ? value : 0.0f;
  }

  template <bool kWhole>
  SPECTROMER_INLINE Window window(int64_t pixel, float level) const {
    const int64_t at = pixel - begin_, next = at + kLanes, end = end_ - begin_;
    Pair v = {load(variance_ + pixel), load(variance_ + pixel + kLanes)};
    if (kWhole) return {{load(flux_ + at) - level, load(flux_ + next) - level}, v};
    const Float low = load_between(flux_, at, end), high = load_between(flux_, next, end);
    if (!kVariance) {
      v = {kept(usual(low, load_between(ivar_, at, end)), all(1.0f)),
           kept(usual(high, load_between(ivar_, next, end)), all(1.0f))};
    }
    return {{kept(less(Float{}, v.low), low - level), kept(less(Float{}, v.high), high - level)}, v};
  }

 private:
  SPECTROMER_INLINE Mask usual(const Float& flux, const Float& ivar) const {
    return at_most(magnitude(flux), all(limits.bright)) & at_most(all(limits.lowest), ivar) &
           at_most(ivar, all(limits.highest));
  }

  SPECTROMER_INLINE Float variance(const Float& ivar) const {
    return kVariance ? reciprocal(ivar * limits.per_scale) : all(1.0f);
  }

  // Each piece also tells of the next, where the windows end that begin in it.
  SPECTROMER_INLINE void add_piece(int64_t pixel, bool whole, float level) {
    PixelPiece* made = pieces_ + piece_of(pixel);
    made[0] = {level, whole};
    made[-1].whole &= whole;
    made[-1].level = nearer(made[-1].level, level);
  }

  static SPECTROMER_INLINE Mask good(const Float& flux, const Float& ivar) {
    const Float most = all(FLT_MAX);
    return at_most(magnitude(flux), most) & less(Float{}, ivar) & at_most(ivar, most);
  }

  const float *const flux_, *const ivar_;  // of pixels [begin_, end_)
  const int64_t begin_, end_;
  float* const variance_;
  PixelPiece* const pieces_;
};

// Weights of kLanes bins, and 1 / weight.
struct Weight {
  Float value, reciprocal;
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

  // `total`: the weight of bins all of whose pixels are good. Where no variances are wanted, masked bins become NaN.
  template <bool kAllGood, bool kVariance>
  SPECTROMER_INLINE void finish(const Weight& total, float required, float level, float scale, int64_t count,
                                float* out_flux, float* out_ivar) const {
    Weight w = total;
    if (!kAllGood) {
      const Mask part = less(Float{}, lost);
      w.value = choose(part, weight, w.value);
      w.reciprocal = choose(part, reciprocal(choose(less(Float{}, weight), weight, all(1.0f))), w.reciprocal);
    }
    const Mask good = at_most(all(required), w.value);
    const Float mean = product_sum(flux, w.reciprocal, all(level));
    if (!kVariance) {
      store_some(out_flux, choose(good, mean, all(std::numeric_limits<float>::quiet_NaN())), count);
      return;
    }
    store_some(out_flux, kept(good, mean), count);
    store_some(out_ivar, kept(good, w.value * w.value * scale * reciprocal(variance)), count);
  }
};

// Asks memory for the place of bins that will be written soon.
SPECTROMER_INLINE void ask_for_room(const float* bins) { __builtin_prefetch(bins + 128, 1); }

// One row by a plan, or two, which share the loads from the plan.
template <bool kVariance, int kRows>
struct PlannedRows {
  Pixels<kVariance> one, other;
  int64_t ready;  // of the pixels before this one, pieces have been made
  const int64_t bins;
  const PlanWindow* window;  // the next one, and its terms
  const uint8_t* indices;
  const float *weights, *const totals, *const per_totals;
  const float required;
  float* const* out_flux;
  float* const* out_ivar;

  SPECTROMER_INLINE PlannedRows(const ResamplePlan& plan, const SpectrumRow* rows, float least_weight,
                                ResampleScratch& scratch, float* const* to_flux, float* const* to_ivar)
      : one(rows[0], scratch.row[0]), other(rows[kRows - 1], scratch.row[kRows - 1]),
        ready(start_of_piece(plan.window[0].pixel)), bins(static_cast<int64_t>(plan.grid.size())),
        window(plan.window.data()), indices(plan.index.data()), weights(plan.weight.data()),
        totals(plan.total.data()), per_totals(plan.per_total.data()), required(least_weight), out_flux(to_flux),
        out_ivar(to_ivar) {}

  // Tells whether single precision does.
  SPECTROMER_INLINE bool run() {
    for (int64_t bin = 0; bin < bins; bin += kLanes) run_block(bin, bins - bin);
    return !one.unusual && !(kRows > 1 && other.unusual);
  }

 private:
  SPECTROMER_INLINE void run_block(int64_t bin, int64_t count) {
    for (int r = 0; r < kRows; ++r) {
      ask_for_room(out_flux[r] + bin);
      if (kVariance) ask_for_room(out_ivar[r] + bin);
    }
    const PlanWindow* end = window;
    while (!end->ends_block) ++end;
    make_ready(end->pixel + kPiece);
    bool whole = true;
    for (const PlanWindow* next = window; next <= end; ++next) {
      whole &= one.whole(next->pixel) && (kRows == 1 || other.whole(next->pixel));
    }
    if (whole) add_block<true>(bin, count, end); else add_block<false>(bin, count, end);
  }

  template <bool kAllGood>
  SPECTROMER_INLINE void add_block(int64_t bin, int64_t count, const PlanWindow* end) {
    const float level = one.level(window->pixel, end->pixel);
    const float other_level = kRows > 1 ? other.level(window->pixel, end->pixel) : level;
    Sums sums[kRows];
    if (window == end) {
      add<kAllGood>(level, other_level, sums);
    } else {
      while (window <= end) {
        Sums part[kRows];
        add<kAllGood>(level, other_level, part);
        for (int r = 0; r < kRows; ++r) sums[r].add(part[r]);
      }
    }
    finish<kAllGood>(bin, count, level, other_level, sums);
  }

  SPECTROMER_INLINE void make_ready(int64_t last) {
    if (ready > last) return;
    for (const int64_t ahead = last + kAhead; ready <= ahead; ready += kPiece) {
      one.make_piece(ready);
      if (kRows > 1) other.make_piece(ready);
    }
  }

  // Adds the window that comes next.
  template <bool kAllGood>
  SPECTROMER_INLINE void add(float level, float other_level, Sums* sums) {
    const Window here = one.template window<kAllGood>(window->pixel, level);
    const Window there = kRows > 1 ? other.template window<kAllGood>(window->pixel, other_level) : here;
    for (const float* end = weights + window->terms * kLanes; weights < end; weights += kLanes, indices += kLanes) {
      const Int index = load(indices);
      const Float weight = load(weights);
      sums[0].template add<kAllGood>(weight, pick(here.flux, index), pick(here.variance, index));
      if (kRows > 1) sums[1].template add<kAllGood>(weight, pick(there.flux, index), pick(there.variance, index));
    }
    ++window;
  }

  template <bool kAllGood>
  SPECTROMER_INLINE void finish(int64_t bin, int64_t count, float level, float other_level, const Sums* sums) const {
    const Weight total = {load(totals + bin), load(per_totals + bin)};
    sums[0].template finish<kAllGood, kVariance>(total, required, level, one.limits.scale, count, out_flux[0] + bin,
                                                 out_ivar[0] + bin);
    if (kRows == 1) return;
    sums[1].template finish<kAllGood, kVariance>(total, required, other_level, other.limits.scale, count,
                                                 out_flux[1] + bin, out_ivar[1] + bin);
  }
};

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

inline bool increases(const double* v, int64_t count) {
  bool increasing = count == 0 || (std::isfinite(v[0]) && std::isfinite(v[count - 1]));
  Mask rises = at_most(Float{}, Float{});
  int64_t i = 1;
  for (; i + kLanes <= count; i += kLanes) rises = rises & less(load(v + i - 1), load(v + i));
  for (; i < count; ++i) increasing &= v[i - 1] < v[i];
  return increasing && every(rises);
}

// Beyond all wavelengths, and yet a number whose differences are numbers.
constexpr float kFar = 1267650600228229401496703205376.0f;  // 2^100

// Wavelengths as single-precision numbers and what those leave, 48 bits together.
struct Wavelengths {
  Float near, rest;

  SPECTROMER_INLINE explicit Wavelengths(const Double& v) {
    const Double cut = cut_to_float(v);
    near = to_float(cut);
    rest = to_float(v - cut);
  }

  SPECTROMER_INLINE Wavelengths(const float* from_near, const float* from_rest)
      : near(load(from_near)), rest(load(from_rest)) {}

  SPECTROMER_INLINE void put(float* to_near, float* to_rest) const {
    store(to_near, near);
    store(to_rest, rest);
  }
};

// The edges of all bins, up to whole blocks, as double and single precision, and 1 / width.
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
    const Float width = to_float(high - low);
    store(scratch.share.data() + m, 1.0f / choose(less(Float{}, width), width, all(1.0f)));
  }
  Wavelengths(load(edge + padded)).put(scratch.near.data() + padded, scratch.rest.data() + padded);
}

// Edge i of a row's pixels; what lies before the first and behind the last reaches to infinity.
SPECTROMER_INLINE double edge_of(const SpectrumRow& s, int64_t i) {
  return i < 0 ? -INFINITY : i > s.pixels ? INFINITY : pixel_edge(s.wavelength, s.pixels, i);
}

// The left edges of one row's own pixels, made as Pixels are.
class Edges {
 public:
  SPECTROMER_INLINE Edges(const SpectrumRow& row, PixelScratch& scratch)
      : s_(row), wavelength_(row.wavelength), near_(scratch.near.data() + kPiece), rest_(scratch.rest.data() + kPiece),
        rises_(~no_lane()) {}

  SPECTROMER_INLINE void make_piece(int64_t pixel) {
    if (pixel > 0 && pixel + kPiece <= s_.pixels) {
      make_lanes(pixel);
      make_lanes(pixel + kLanes);
    } else {
      make_ends(s_, pixel, near_ + pixel, rest_ + pixel, increasing_);
    }
  }

  // Are the wavelengths finite and increasing, pieces having been made of pixels [begin, end) alone?
  SPECTROMER_INLINE bool increase(int64_t begin, int64_t end) const {
    const double* w = s_.wavelength;
    end = std::min(end, s_.pixels);
    return std::isfinite(w[0]) && std::isfinite(w[s_.pixels - 1]) && increasing_ && every(rises_) &&
           increases(w, std::max<int64_t>(begin, 0)) && increases(w + end - 1, s_.pixels - end + 1);
  }

  SPECTROMER_INLINE const float* near(int64_t pixel) const { return near_ + pixel; }
  SPECTROMER_INLINE const float* rest(int64_t pixel) const { return rest_ + pixel; }

 private:
  SPECTROMER_INLINE void make_lanes(int64_t pixel) {
    const Double before = load(wavelength_ + pixel - 1), here = load(wavelength_ + pixel);
    Wavelengths(half_way(before, here)).put(near_ + pixel, rest_ + pixel);
    fetch<kLanes>(wavelength_ + pixel + 192);
    rises_ = rises_ & less(before, here);
  }

  // (Seldom needed, so not compiled along.)
  __attribute__((noinline)) static void make_ends(const SpectrumRow& s, int64_t pixel, float* near, float* rest,
                                                  bool& increasing) {
    for (int64_t i = pixel; i < pixel + kPiece; ++i) {
      const double edge = std::clamp<double>(edge_of(s, i), -kFar, kFar);
      *near++ = static_cast<float>(edge);
      *rest++ = static_cast<float>(edge - static_cast<double>(near[-1]));
      increasing &= i <= 0 || i >= s.pixels || s.wavelength[i - 1] < s.wavelength[i];
    }
  }

  const SpectrumRow& s_;
  const double* const wavelength_;
  float *const near_, *const rest_;
  Mask rises_;
  bool increasing_ = true;
};

// Where kLanes wavelengths lie: in which pixel of a window, and how far from its edges.
struct Places {
  Int pixel;
  Float before, after;
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

  // Those outside count as at the window's ends.
  SPECTROMER_INLINE Places find_clamped(const Wavelengths& v) const {
    const float first = left.low[0], last = right.high[kLanes - 1];
    Places at = find<false>(v, (v.near - first) * (static_cast<float>(kPiece) / (last - first)));
    const Float all_of_it = pick(width(), at.pixel);
    at.before = least(most(at.before, Float{}), all_of_it);
    at.after = least(most(at.after, Float{}), all_of_it);
    return at;
  }

  // kInside: they all lie in the window.
  template <bool kInside>
  SPECTROMER_INLINE Places find(const Wavelengths& v, const Float& guess) const {
    Places at;
    at.pixel = within(to_int(guess));
    Mask below, above;
    measure<kInside>(v, at, below, above);
    if (!any(below | above)) return at;
    at.pixel = within(sum_where(above, sum_where(below, at.pixel, all(-1)), all(1)));
    measure<kInside>(v, at, below, above);
    if (!any(below | above)) return at;
    at.pixel = all(-1);
    for (int64_t k = 0; k < kPiece; ++k) {
      at.pixel = sum_where(at_most((near[k] - v.near) + (rest[k] - v.rest), Float{}), at.pixel, all(1));
    }
    at.pixel = within(at.pixel);
    measure<kInside>(v, at, below, above);
    return at;
  }

 private:
  static SPECTROMER_INLINE Int within(const Int& pixel) { return least(most(pixel, Int{}), all(int{kPiece - 1})); }

  template <bool kInside>
  SPECTROMER_INLINE void measure(const Wavelengths& v, Places& at, Mask& below, Mask& above) const {
    at.before = (v.near - pick(left, at.pixel)) + (v.rest - pick(left_rest, at.pixel));
    at.after = (pick(right, at.pixel) - v.near) + (pick(right_rest, at.pixel) - v.rest);
    below = less(at.before, Float{});
    above = at_most(at.after, Float{});
    if (kInside) return;
    below = below & less(Int{}, at.pixel);
    above = above & less(at.pixel, all(int{kPiece - 1}));
  }
};

// Adds what the pixels of a window bring to bins from `low` to `high`.
template <bool kInside>
SPECTROMER_INLINE void add_between(const Window& window, const EdgeWindow& edges, const Places& low,
                                   const Places& high, const Float& share, Sums& sums) {
  const Mask one = same(low.pixel, high.pixel);
  const Float after = low.after * share, before = high.before * share;
  const Float whole = kInside ? all(1.0f) : least(all(1.0f), least(after, before));
  sums.add<kInside>(choose(one, whole, after), pick(window.flux, low.pixel), pick(window.variance, low.pixel));
  sums.add<kInside>(kept(~one, before), pick(window.flux, high.pixel), pick(window.variance, high.pixel));
  Int pixel = low.pixel + 1;
  Mask inner = less(pixel, high.pixel);
  if (!any(inner)) return;
  const Pair width = edges.width();
  do {
    sums.add<kInside>(kept(inner, pick(width, pixel) * share), pick(window.flux, pixel), pick(window.variance, pixel));
    pixel += 1;
    inner = less(pixel, high.pixel);
  } while (any(inner));
}

// Where a wavelength lies among a row's own pixels.
struct Spot {
  int64_t pixel;  // -1: before the first
  float before;   // from its left edge
  float share;    // of its width
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

// `guess`: where it most probably lies, within [-1, pixels].
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
  // Are 48 bits enough for pixels as narrow as these?
  if (!(mean_step > std::ldexp(std::max(std::fabs(first), std::fabs(last)), -20))) return Outcome::unusual;
  scratch.row[0].reserve(s.pixels + kRoom);
  const BinScratch& bins = scratch.bins;
  const double* edge = bins.edge.data();
  Spot here = find_spot(edge[0], s, first_pixel(Method::flux_conserving, s.wavelength, s.pixels, edge[0]));
  Pixels<kVariance> pixels(s, scratch.row[0]);
  Edges edges(s, scratch.row[0]);
  const int64_t start = start_of_piece(here.pixel);
  int64_t ready = start;              // pieces have been made of the pixels before this one
  float reach = 0.0f, before = 0.0f;  // how many pixels the last block has gone on by, and the one before it
  const Weight whole = {all(1.0f), all(1.0f)};
  for (int64_t begin = 0; begin < count; begin += kLanes) {
    const float ahead = clamped(here.share + 2.0f * reach - before, 0.0f, static_cast<float>(s.pixels - here.pixel));
    const Spot next = spot_of(edge[begin + kLanes], s, here.pixel + static_cast<int64_t>(ahead));
    if (next.pixel < here.pixel) return Outcome::not_increasing;
    ask_for_room(out_flux + begin);
    if (kVariance) ask_for_room(out_ivar + begin);
    if (ready <= next.pixel + kPiece) {
      for (const int64_t far = next.pixel + kPiece + kAhead; ready <= far; ready += kPiece) {
        pixels.make_piece(ready);
        edges.make_piece(ready);
      }
    }
    const Float share = load(bins.share.data() + begin);
    const Wavelengths low(bins.near.data() + begin, bins.rest.data() + begin);
    before = begin == 0 ? static_cast<float>(next.pixel - here.pixel) : reach;
    reach = static_cast<float>(next.pixel - here.pixel) + next.share - here.share;
    Sums sums;
    const bool one_window = next.pixel < here.pixel + kPiece;
    const float level = pixels.level(here.pixel, one_window ? here.pixel : next.pixel);
    if (one_window && pixels.whole(here.pixel)) {
      // Among the pixels the bins' edges lie near a parabola through the ends of this block and the last.
      const float mean = 0.5f * (reach + before);
      const Float part = to_float(lane_numbers()) * (1.0f / kLanes);
      const Float gone_on = product_sum(part, all(reach - mean), all(mean));
      const EdgeWindow window(edges, here.pixel);
      const Places from = window.find<true>(low, product_sum(part, gone_on, all(here.share)));
      Places to;
      to.pixel = moved_back(from.pixel, static_cast<int>(next.pixel - here.pixel));
      to.before = moved_back(from.before, next.before);
      add_between<true>(pixels.template window<true>(here.pixel, level), window, from, to, share, sums);
      sums.finish<true, kVariance>(whole, required, level, pixels.limits.scale, count - begin, out_flux + begin,
                                   out_ivar + begin);
    } else {
      const Wavelengths high(bins.near.data() + begin + 1, bins.rest.data() + begin + 1);
      for (int64_t base = here.pixel; base <= next.pixel; base += kPiece) {
        const EdgeWindow window(edges, base);
        Sums part;
        add_between<false>(pixels.template window<false>(base, level), window, window.find_clamped(low),
                           window.find_clamped(high), share, part);
        sums.add(part);
      }
      sums.finish<false, kVariance>(whole, required, level, pixels.limits.scale, count - begin, out_flux + begin,
                                    out_ivar + begin);
    }
    here = next;
  }
  if (!edges.increase(start, ready)) return Outcome::not_increasing;
  return pixels.unusual ? Outcome::unusual : Outcome::done;
}

// A row whose wavelengths or grid are its own; `fresh` tells that the scratch does not hold the grid's bins.
inline Outcome resample_own(const SpectrumRow& s, const double* grid, int64_t bins, bool fresh, float required,
                            bool ivar, ResampleScratch& scratch, float* out_flux, float* out_ivar) {
  return ivar ? resample_own_as<true>(s, grid, bins, fresh, required, scratch, out_flux, out_ivar)
              : resample_own_as<false>(s, grid, bins, fresh, required, scratch, out_flux, out_ivar);
}
