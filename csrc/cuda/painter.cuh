// One block of threads, which draws spectrum after spectrum. See core/render.h and render_plan.h.
#pragma once

#include "render_plan.h"

namespace spectromer {

// What is drawn: common bins whose weights have been planned, in images that levels make as they are (ImageLayout::direct);
// spectra's own pixels, in any image; or anything.
enum class Source { planned, pixels, any };

// What stands for bins: lines by true area or as AGG draws them, or squares.
enum class Shapes { areas, outlines, squares };

template <Source kSource, Shapes kShapes>
class Painter {
 public:
  __device__ Painter(const RenderArgs& args, const RenderPlan& plan)
      : a_(args), p_(plan), writer_(args, plan.image), strip_(plan.strip),
        near_(plan.near, args.linewidth, args.subcolumns, plan.bins.step), agg_(plan.agg) {
    writer_.prepare();
    RangeFinder(p_.finder, values()).clear();
    if (p_.near.points) near_.prepare();
    if (!own_pixels() && p_.starts) find_starts(0);
    put_padding();
    clear_strips();
  }

  __device__ __forceinline__ void draw(int64_t row) {
    __syncthreads();
    writer_.begin(row);
    if (own_pixels()) gather_pixels(row); else gather_bins(row);
    __syncthreads();
    if (p_.edges) clear_strips();  // whose place the edges had
    if (kShapes == Shapes::outlines && p_.segments) find_segments();
    if (own_pixels() && p_.starts) {
#pragma unroll 1
      for (int panel = 0; panel < p_.panels; ++panel) find_starts(panel);
    }
#pragma unroll 1
    for (int q = 0; q < p_.quantity_count; ++q) prepare(q);
    if constexpr (kShapes == Shapes::squares) draw_squares(); else draw_strips();
  }

 private:
  static constexpr bool kLines = kShapes != Shapes::squares;

  __device__ bool own_pixels() const { return kSource == Source::pixels || (kSource == Source::any && p_.bins.own); }

  // ---- where bins lie ----

  __device__ int begin_of(int panel) const {
    return own_pixels() ? static_cast<int>(panel_start(count_, p_.panels, panel)) : panel * p_.bins.of_panel;
  }

  __device__ Shared<float> values() const { return shared_at<float>(p_.value); }
  __device__ Shared<float> lines() const { return shared_at<float>(p_.y); }

  // The first of a panel's bins in shared memory.
  __device__ int place_of_panel(int panel) const { return begin_of(panel) + p_.bins.padding * (panel + 1); }

  __device__ int place_of(int bin) const {
    if (p_.bins.padding == 0) return bin;
    const int panel = static_cast<int>((static_cast<float>(bin) + 0.5f) / static_cast<float>(p_.bins.of_panel));
    return bin + p_.bins.padding * (panel + 1);
  }

  // All of them, with the padding.
  __device__ int places() const { return count_ + p_.bins.padding * (p_.panels + 1); }

  // The x of a panel's bins.
  __device__ auto x_of(int panel) const {
    if constexpr (kSource == Source::pixels) return Shared<const float>(shared_at<float>(p_.x) + begin_of(panel));
    else return EvenX{p_.bins.step};
  }

  // ---- values ----

  __device__ void gather_bins(int64_t row) {
    const ResampleArgs& s = a_.spectra;
    const SpectrumRow spectrum = spectrum_row<false>(s, row);
    const float required = required_weight(s);
    const Shared<float> ivar = shared_at<float>(p_.ivar);
    count_ = p_.bins.most;
    marks_ = a_.marks == nullptr ? nullptr : a_.marks + (a_.shared_marks ? 0 : row * s.bins);
    const auto put = [&](int m, float flux, float variance) {
      const bool good = !p_.variance || (variance > 0.0f && variance <= FLT_MAX);
      const int place = place_of(m);
      values()[place] = good && fabsf(flux) <= FLT_MAX ? flux : NAN;
      if (p_.variance) ivar[place] = variance;
    };
    if (p_.variance) gather<true>(spectrum, required, put); else gather<false>(spectrum, required, put);
    if (row + gridDim.x < s.rows) prefetch_row(spectrum_row<false>(s, row + gridDim.x));
  }

  template <bool kVariance, class Put>
  __device__ __forceinline__ void gather(const SpectrumRow& spectrum, float required, Put put) const {
    const ResampleArgs& s = a_.spectra;
    if (kSource == Source::planned || s.plan != nullptr) {
#pragma unroll 1
      for (int group = warp_index(); group < p_.weights.groups; group += block_warps()) {
        const int m = group * kWarp + lane_index();
        const BinSums<kVariance> sums = planned_sums<kVariance, false>(p_.weights, group, spectrum);
        float flux, ivar = 1.0f;
        sums.finish(required, flux, ivar);
        if (m < count_) put(m, flux, ivar);
      }
    } else if (p_.edges) {
      const Shared<double> edge = shared_at<double>(p_.edges);
      put_edges(spectrum, edge);
      __syncthreads();
      visit_own_bins<kVariance>(spectrum, edge, s.grid, count_, required, put);
    } else {
#pragma unroll 1
      for (int m = thread_index(); m < count_; m += block_threads()) {
        const int64_t first = first_pixel(s.method, spectrum.wavelength, spectrum.pixels, bin_start(s.method, s.grid, s.bins, m));
        float flux, ivar = 1.0f;
        resample_bin<kVariance>(s.method, spectrum, s.grid, s.bins, m, first, required, flux, ivar);
        put(m, flux, ivar);
      }
    }
  }

  // Values of the padding, which stay NaN.
  __device__ void put_padding() const {
    const int padding = p_.bins.padding, stride = p_.bins.of_panel + padding;
#pragma unroll 1
    for (int i = thread_index(); i < padding * (p_.panels + 1); i += block_threads()) {
      const int place = i / padding * stride + i % padding;
      values()[place] = NAN;
      if (p_.ivar) shared_at<float>(p_.ivar)[place] = NAN;
    }
  }

  // The spectrum's own pixels from the first good one to the last.
  __device__ void gather_pixels(int64_t row) {
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
    const int first = state[0] < state[1] ? state[0] : 0;
    count_ = state[0] < state[1] ? state[1] - first : 0;
    ivar_ = s.ivar + first;
    marks_ = a_.marks == nullptr ? nullptr : a_.marks + (row * s.pixels + first);
    const float* flux = s.flux + first;
#pragma unroll 1
    for (int i = thread_index(); i < count_; i += block_threads()) values()[i] = good_pixel(flux[i], ivar_[i]) ? flux[i] : NAN;
    const Shared<float> x = shared_at<float>(p_.x);
    const double* wavelength = s.wavelength + first;
#pragma unroll 1
    for (int panel = 0; panel < p_.panels && p_.x; ++panel) {
      const int from = begin_of(panel), to = begin_of(panel + 1);
      if (from == to) continue;
      const OwnAxis axis(a_, wavelength[from], wavelength[to - 1], to - from);
#pragma unroll 1
      for (int i = from + thread_index(); i < to; i += block_threads()) x[i] = axis.x(wavelength[i]);
    }
    if (row + gridDim.x < a_.spectra.rows) prefetch_row(spectrum_row<false>(a_.spectra, row + gridDim.x));
  }

  // A value's inverse variance.
  __device__ float ivar_at(int place) const {
    return own_pixels() ? ivar_[place] : static_cast<float>(shared_at<float>(p_.ivar)[place]);
  }

  // A derivative of the values between neighbouring bins.
  __device__ float derivative(Quantity quantity, int bin) const {
    const auto plain = [&](int k) { return k >= 0 && k < count_ ? static_cast<float>(values()[place_of(k)]) : NAN; };
    const auto slope = [&](int k) { return k >= 0 && k < count_ ? gradient(plain(k - 1), plain(k), plain(k + 1)) : NAN; };
    return quantity == Quantity::first ? slope(bin) : gradient(slope(bin - 1), slope(bin), slope(bin + 1));
  }

  // ---- heights and levels ----

  // Finds the scale of a quantity, and from it the heights of its lines or the levels of its squares.
  __device__ void prepare(int q) {
    const DrawnQuantity& drawn = p_.quantities[q];
    if (is_mark(drawn.quantity)) {
      if (!kLines) put_mark_levels(q);
      return;
    }
    const int room = p_.bins.room;
    Shared<float> series = values();
    if (is_derivative(drawn.quantity)) {
      series = lines() + (!kLines ? 0 : drawn.line * room);
#pragma unroll 1
      for (int i = thread_index(); i < places(); i += block_threads()) series[i] = NAN;
      __syncthreads();
#pragma unroll 1
      for (int i = thread_index(); i < count_; i += block_threads()) series[place_of(i)] = derivative(drawn.quantity, i);
      __syncthreads();
    }
    const Shared<ValueRange> scales = shared_at<ValueRange>(p_.scales) + drawn.range * p_.ranges;
#pragma unroll 1
    for (int r = 0; r < p_.ranges; ++r) {
      // With the padding before it, and the last one's behind it.
      const int begin = r == 0 ? 0 : place_of_panel(r) - p_.bins.padding;
      const int end = r + 1 == p_.ranges ? places() : place_of_panel(r + 1) - p_.bins.padding;
      if (drawn.first) {
        const ValueRange found = find_range(drawn, series, begin, end);
        if (thread_index() == 0) scales[r] = found;
        __syncthreads();
      }
      const ValueRange scale = scales[r];
      if (!kLines) put_levels(drawn, series, begin, end, scale); else put_heights(drawn, series, begin, end, scale, room);
    }
    __syncthreads();
    if (kShapes == Shapes::areas && drawn.quantity != Quantity::error) {
      finish_line(drawn);
      __syncthreads();
    }
  }

  __device__ ValueRange find_range(const DrawnQuantity& drawn, Shared<float> series, int begin, int end) const {
    if (a_.scale == Scale::fixed && !is_derivative(drawn.quantity)) return value_range(a_.fixed_low, a_.fixed_high);
    return RangeFinder(p_.finder, series).find(begin, end, a_.scale == Scale::minmax);
  }

  __device__ void put_levels(const DrawnQuantity& drawn, Shared<float> series, int begin, int end, const ValueRange& scale) const {
    const Shared<uint8_t> levels = shared_at<uint8_t>(p_.levels) + drawn.line * p_.bins.room;
    const float sigma = sigma_share(scale, a_.margin);
#pragma unroll 1
    for (int i = begin + thread_index(); i < end; i += block_threads()) {
      const float number = series[i];
      const bool error = drawn.quantity == Quantity::error;
      levels[i] = share_level(!error ? height_share(number, scale, a_.margin) : number == number ? sigma / sqrtf(ivar_at(i)) : 0.0f);
    }
  }

  __device__ void put_mark_levels(int q) const {
    const Shared<uint8_t> levels = shared_at<uint8_t>(p_.levels) + p_.quantities[q].line * p_.bins.room;
#pragma unroll 1
    for (int i = thread_index(); i < count_; i += block_threads()) levels[i] = marked(p_.quantities[q].quantity, i) ? 255 : 0;
  }

  // A height that does not belong to a line is NaN, but for AGG, which tells by itself.
  __device__ void put_heights(const DrawnQuantity& drawn, Shared<float> series, int begin, int end, const ValueRange& scale, int room) const {
    const Shared<float> heights = lines() + drawn.line * room;
    const float height = static_cast<float>(p_.passes.canvas);
    if (drawn.quantity == Quantity::error) {
      const float sigma = sigma_share(scale, a_.margin);
#pragma unroll 1
      for (int i = begin + thread_index(); i < end; i += block_threads()) {
        const float at_height = height * (1.0f - height_share(series[i], scale, a_.margin));
        const float reach = height * sigma / sqrtf(ivar_at(i));
        heights[i] = at_height - reach;
        heights[room + i] = at_height + reach;
      }
    } else {
#pragma unroll 1
      for (int i = begin + thread_index(); i < end; i += block_threads()) {
        const float at_height = height * (1.0f - height_share(series[i], scale, a_.margin));
        heights[i] = kShapes == Shapes::outlines || drawable(at_height) ? at_height : NAN;
      }
    }
  }

  // The sides of a line, and where it has gaps.
  __device__ void finish_line(const DrawnQuantity& drawn) const {
    const Shared<unsigned> gaps = shared_at<unsigned>(p_.gaps) + drawn.stroke * p_.panels;
#pragma unroll 1
    for (int panel = thread_index(); panel < p_.panels; panel += block_threads()) gaps[panel] = 0;
    __syncthreads();
    const float r = 0.5f * a_.linewidth;
#pragma unroll 1
    for (int panel = 0; panel < p_.panels; ++panel) {
      const int points = begin_of(panel + 1) - begin_of(panel), place = place_of_panel(panel), padding = p_.bins.padding;
      const auto x = x_of(panel);
      const Shared<const float> y = lines() + (drawn.line * p_.bins.room + place);
      const Shared<Sides> sides = shared_at<Sides>(p_.sides) + (drawn.stroke * p_.bins.room + place);
      // From the padding before the panel to the padding behind it, which is the next one's before it.
      const int end = padding == 0 ? points - 1 : panel + 1 < p_.panels ? points : points + padding - 1;
#pragma unroll 1
      for (int i = thread_index() - padding; i < end; i += block_threads()) {
        const float here = y[i], next = y[i + 1];
        if (p_.sides) sides[i] = make_sides(x[i], here, x[i + 1], next, r);
        if (here == here && next != next) note_gap(gaps + panel, x, y, points, i, r);
      }
    }
  }

  // A line ends at point i: where it goes on so near that both pieces meet one sub-column, its strips have a gap.
  template <class X>
  __device__ void note_gap(Shared<unsigned> gaps, X x, Shared<const float> y, int points, int i, float r) const {
    constexpr float kRoom = 1e-3f;
#pragma unroll 1
    for (int k = i + 1; k < points && x[k] - x[i] <= 2.0f * r + kRoom; ++k) {
      if (y[k] != y[k]) continue;
      const int first = strip_at(x[k] - r - kRoom), last = strip_at(x[i] + r + kRoom);
      atomicOr(gaps, p_.image.size > kWarp * kWarp ? ~0u : (2u << last) - (1u << first));
      return;
    }
  }

  __device__ int strip_at(float x) const { return static_cast<int>(clamped(x, 0.0f, static_cast<float>(p_.image.size - 1))) / kWarp; }

  // The first point that can touch the line in each pixel column.
  __device__ void find_starts(int panel) const {
    const Shared<int> starts = shared_at<int>(p_.starts) + panel * p_.image.size;
    const int points = begin_of(panel + 1) - begin_of(panel);
#pragma unroll 1
    for (int column = thread_index(); column < p_.image.size; column += block_threads()) {
      starts[column] = first_point(x_of(panel), points, static_cast<float>(column), 0.5f * a_.linewidth);
    }
  }

  // ---- drawing ----

  __device__ void clear_strips() const {
    if (p_.strip.cells) strip_.clear();
    if (p_.agg.cells) agg_.clear();
  }

  __device__ __forceinline__ void draw_strips() {
#pragma unroll 1
    for (int pass = 0; pass < p_.passes.count; ++pass) {
      choose_rows(pass);
#pragma unroll 1
      for (int column = 0; column < p_.image.size; column += kWarp) {
        strip_.column = agg_.column = column;
#pragma unroll 1
        for (int q = 0; q < p_.quantity_count; ++q) {
#pragma unroll 1
          for (int sheet = 0; sheet < p_.passes.sheets; ++sheet) draw_plane(q, sheet);
        }
        if (kSource != Source::planned && p_.image.mixing == Mixing::layers) put_staged(0);
      }
    }
  }

  // The rows of a pass: whole panels, or a part of one.
  __device__ void choose_rows(int pass) {
    const PassLayout& passes = p_.passes;
    const int down = (passes.canvas + kMostRows - 1) / kMostRows, stacked = a_.rows ? p_.panels : 1;
    if (down > 1) {
      first_panel_ = pass / down, panels_ = 1;
      top_ = pass % down * kMostRows;
      shown_ = passes.canvas - top_ < kMostRows ? passes.canvas - top_ : kMostRows;
    } else {
      first_panel_ = pass * passes.panels;
      panels_ = stacked - first_panel_ < passes.panels ? stacked - first_panel_ : passes.panels;
      top_ = 0;
      shown_ = passes.canvas;
    }
    strip_.rows = agg_.rows = panels_ * shown_;
    image_row_ = first_panel_ * passes.canvas + top_;
  }

  // One quantity, of one panel or of those of the pass, in the strip.
  __device__ __forceinline__ void draw_plane(int q, int sheet) {
    const int plane = q * p_.passes.sheets + sheet;
    if constexpr (kSource == Source::planned) {
      const ImageWriter::Place place = writer_.place(plane, image_row_, strip_.column);
      if (a_.type == PixelType::uint8) draw_into(q, sheet, writer_.template rows<PixelType::uint8>(place));
      else draw_into(q, sheet, writer_.template rows<PixelType::bfloat16>(place));
    } else {
      const bool layers = p_.image.mixing == Mixing::layers;
      draw_into(q, sheet, StagedRows{shared_at<uint4>(p_.image.staged) + (layers ? plane : 0) * p_.passes.rows * (kWarp / kPiece)});
      if (!layers) put_staged(plane);
    }
  }

  // Rows of levels that are put into the image later on.
  struct StagedRows {
    Shared<uint4> to;

    __device__ void put(int row, int piece, const uint4& levels) const { to[row * (kWarp / kPiece) + piece] = levels; }
    __device__ void put_blank(int row, int piece) const { put(row, piece, make_uint4(0, 0, 0, 0)); }
  };

  template <class Rows>
  __device__ __forceinline__ void draw_into(int q, int sheet, const Rows& rows) {
    const DrawnQuantity& drawn = p_.quantities[q];
    const int panel = first_panel_ + sheet;
    if (is_mark(drawn.quantity)) {
      draw_columns(drawn.quantity, panel, rows);
    } else if (kShapes == Shapes::outlines && drawn.quantity != Quantity::error) {
      draw_outlines(drawn.line, panel);
      agg_.put_levels(rows);
    } else {
      draw_areas(drawn, panel);
      strip_.put_levels(p_.level_scale, rows);
    }
  }

  // The staged levels of a strip: those of one plane, or all planes over one another. By the whole block.
  __device__ void put_staged(int plane) const {
    __syncthreads();
    const Shared<unsigned> staged = shared_at<unsigned>(p_.image.staged);
#pragma unroll 1
    for (int i = thread_index(); i < strip_.rows * (kWarp / kPiece); i += block_threads()) {
      const int row = i / (kWarp / kPiece), piece = i % (kWarp / kPiece);
      if (strip_.column + piece * kPiece >= p_.image.size) continue;
      writer_.put(plane, image_row_ + row, strip_.column + piece * kPiece, [&](int k, int word) -> unsigned {
        const int layer = p_.image.mixing == Mixing::layers ? k : 0;
        return staged[((layer * p_.passes.rows + row) * (kWarp / kPiece) + piece) * 4 + word];
      });
    }
    __syncthreads();
  }

  // True area: a warp for each sub-column of each panel. With more warps than sub-columns, they take several panels at once.
  __device__ __forceinline__ void draw_areas(const DrawnQuantity& drawn, int first_panel) const {
    const int column = strip_.column + lane_index(), warps = block_warps();
    const bool several = p_.subcolumn_shift >= 0 && warps > a_.subcolumns;
    const int first_k = several ? warp_index() & (a_.subcolumns - 1) : warp_index(), first_part = several ? warp_index() >> p_.subcolumn_shift : 0;
    const int parts_step = several ? warps >> p_.subcolumn_shift : 1;
    const float top = static_cast<float>(top_), height = static_cast<float>(shown_);
    unsigned touched = 0;
#pragma unroll 1
    for (int k = first_k; k < a_.subcolumns; k += warps) {
#pragma unroll 1
      for (int part = first_part; part < panels_; part += parts_step) {
        const auto emit = [&](Interval hit) {
          if (!hit.empty()) touched |= strip_.add(Interval{hit.top - top, hit.bottom - top}, part * shown_, height, p_.weight);
        };
        if (column >= p_.image.size) continue;
        if (drawn.quantity == Quantity::error) draw_band(drawn, first_panel + part, column, k, emit);
        else if constexpr (kShapes == Shapes::areas) draw_line(drawn, first_panel + part, column, k, emit);
      }
    }
    strip_.touch(touched);
  }

  // The middle of sub-column k.
  __device__ float middle_of(int column, int k) const {
    const float step = 1.0f / static_cast<float>(a_.subcolumns);
    return static_cast<float>(column) + (static_cast<float>(k) + 0.5f) * step;
  }

  template <class Emit>
  __device__ __forceinline__ void draw_band(const DrawnQuantity& drawn, int panel, int column, int k, Emit emit) const {
    const int points = begin_of(panel + 1) - begin_of(panel);
    const Shared<const float> upper = lines() + (drawn.line * p_.bins.room + place_of_panel(panel)), lower = upper + p_.bins.room;
    emit(band_interval(x_of(panel), upper, lower, points, middle_of(column, k)));
  }

  template <class Emit>
  __device__ __forceinline__ void draw_line(const DrawnQuantity& drawn, int panel, int column, int k, Emit emit) const {
    const unsigned gaps = shared_at<unsigned>(p_.gaps)[drawn.stroke * p_.panels + panel];
    const bool gap = (gaps >> (strip_.column / kWarp & 31) & 1u) != 0;
    const int place = place_of_panel(panel);
    const Shared<const float> y = lines() + (drawn.line * p_.bins.room + place);
    const Shared<const Sides> sides = shared_at<Sides>(p_.sides) + (drawn.stroke * p_.bins.room + place);
    if (!gap && p_.near.points && p_.sides) {
      emit(near_.hit(column, k, y, sides));
      return;
    }
    column = renewed(column);  // what follows is seldom needed
    const int points = begin_of(panel + 1) - begin_of(panel);
    const auto x = x_of(panel);
    const float r = 0.5f * a_.linewidth, at = middle_of(column, k);
    const auto sides_of = [&](int i) -> Sides { return p_.sides ? static_cast<Sides>(sides[i]) : make_sides(x[i], y[i], x[i + 1], y[i + 1], r); };
    const int first = p_.starts ? static_cast<int>(shared_at<int>(p_.starts)[(own_pixels() ? panel : 0) * p_.image.size + column])
                                : first_point(x, points, at, r);
    if (gap) visit_column(x, y, sides_of, points, first, at, r, emit);
    else emit(hit_without_gaps(x, y, sides_of, points, first, at, r));
  }

  __device__ __forceinline__ void draw_outlines(int line, int first_panel) const {
    const Shared<SegmentRange> segments = shared_at<SegmentRange>(p_.segments) + strip_.column / kWarp;
    unsigned touched = 0;
#pragma unroll 1
    for (int part = 0; part < panels_; ++part) {
      const int panel = first_panel + part;
      const Shared<const float> y = lines() + (line * p_.bins.room + place_of_panel(panel));
      const SegmentRange range = segments[panel * strips()];
      const Vertex origin{static_cast<float>(strip_.column), static_cast<float>(top_)};
      const OutlinedLine<decltype(x_of(panel)), Shared<const float>> outlined{x_of(panel), y, range, p_.image.size, p_.passes.canvas, p_.shape, origin};
      touched |= agg_.add_line(outlined, part * shown_, static_cast<float>(shown_));
    }
    agg_.touch(touched);
  }

  __device__ int strips() const { return (p_.image.size + kWarp - 1) / kWarp; }

  __device__ void find_segments() const {
#pragma unroll 1
    for (int i = thread_index(); i < p_.panels * strips(); i += block_threads()) {
      const int panel = i / strips(), points = begin_of(panel + 1) - begin_of(panel);
      shared_at<SegmentRange>(p_.segments)[i] = segments_near(x_of(panel), points, i % strips() * kWarp, p_.shape);
    }
  }

  __device__ bool marked(Quantity quantity, int bin) const {
    if (quantity == Quantity::regions) return marks_[bin] != 0;
    const float number = values()[place_of(bin)];
    return number != number;
  }

  // Inks the share of each pixel column that marked bins cover, all rows of a panel alike.
  template <class Rows>
  __device__ __forceinline__ void draw_columns(Quantity quantity, int first_panel, const Rows& rows) const {
    const Shared<uint8_t> levels = shared_at<uint8_t>(p_.columns);
    const Shared<uint4> pieces = shared_at<uint4>(p_.columns);
    const int column = strip_.column + lane_index();
    const float low = static_cast<float>(column), high = static_cast<float>(column + 1), width = static_cast<float>(p_.image.size);
#pragma unroll 1
    for (int part = warp_index(); part < panels_; part += block_warps()) {
      const int panel = first_panel + part, from = begin_of(panel), points = begin_of(panel + 1) - from;
      const auto x = x_of(panel);
      float cover = 0.0f;
      for (int i = first_point(x, points, low, 0.0f); i < points && low < width; ++i) {
        const Extent extent = bin_extent(x, points, i, width);
        if (extent.left >= high) break;
        if (marked(quantity, from + i)) cover += larger(smaller(extent.right, high) - larger(extent.left, low), 0.0f);
      }
      levels[part * kWarp + lane_index()] = share_level(cover);
    }
    __syncthreads();
    const float per_row = 1.0f / static_cast<float>(shown_);
#pragma unroll 1
    for (int i = thread_index(); i < panels_ * shown_ * (kWarp / kPiece); i += block_threads()) {
      const int row = i / (kWarp / kPiece), piece = i % (kWarp / kPiece);
      const int part = static_cast<int>((static_cast<float>(row) + 0.5f) * per_row);
      rows.put(row, piece, pieces[part * (kWarp / kPiece) + piece]);
    }
    __syncthreads();
  }

  // Bins as squares. A thread takes 16 columns of one row of squares, which it puts in all rows of pixels that they fill.
  __device__ void draw_squares() const {
    __syncthreads();
    const int size = p_.image.size, block = static_cast<int>(a_.block), side = size / block, pieces = (size + kPiece - 1) / kPiece;
    const bool layers = p_.image.mixing == Mixing::layers;
    const int lines_step = block_threads() / pieces, pieces_step = block_threads() % pieces;
#pragma unroll 1
    for (int plane = 0; plane < (layers ? 1 : p_.image.planes); ++plane) {
      int line = thread_index() / pieces, piece = thread_index() % pieces;
      while (line * block < size) {
        const int column = piece * kPiece, end = (line + 1) * block < size ? (line + 1) * block : size;
        unsigned words[4];
        for (int word = 0; word < 4; ++word) words[word] = layers ? 0 : square_levels(plane, line, column + 4 * word, side, block);
#pragma unroll 1
        for (int row = line * block; row < end; ++row) {
          writer_.put(plane, row, column, [&](int k, int word) -> unsigned {
            return layers ? square_levels(k, line, column + 4 * word, side, block) : words[word];
          });
        }
        line += lines_step, piece += pieces_step;
        if (piece >= pieces) piece -= pieces, ++line;
      }
    }
  }

  // The levels of 4 columns of a row of squares, from `column` on.
  __device__ __forceinline__ unsigned square_levels(int plane, int line, int column, int side, int block) const {
    const Shared<uint8_t> levels = shared_at<uint8_t>(p_.levels) + plane * p_.bins.room;
    int square = column / block, left = (square + 1) * block - column;  // columns that the square still has
    const auto level_of = [&](int k) -> unsigned {
      const int bin = square_bin(line, k, side, a_.boustrophedon);
      return line < side && k < side && bin < count_ ? static_cast<unsigned>(levels[bin]) : 0u;
    };
    unsigned level = level_of(square), word = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      word |= level << (8 * i);
      if (--left == 0) left = block, level = level_of(++square);
    }
    return word;
  }

  const RenderArgs& a_;
  const RenderPlan& p_;
  ImageWriter writer_;
  Strip strip_;
  const NearPainter near_;
  AggStrip agg_;
  // Of the spectrum at hand.
  int count_ = 0;  // bins
  const float* ivar_ = nullptr;
  const uint8_t* marks_ = nullptr;
  // Of the pass at hand.
  int first_panel_ = 0, panels_ = 0;
  int top_ = 0, shown_ = 0;  // rows of each panel's canvas
  int image_row_ = 0;
};

}  // namespace spectromer
