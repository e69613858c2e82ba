#include "../core/render.h"

#include <cfloat>

#include "../core/resample.h"
#include "../ops.h"
#include "launch.h"
#include "strip.cuh"

namespace spectromer {
namespace {

constexpr int kMostQuantities = 16;
constexpr int kKept = 4096;  // bins whose first pixel is kept from spectrum to spectrum, at most
constexpr int kDigits = 256;

// What a block of threads shares, as offsets in bytes, and what follows from the arguments alone.
struct RenderPlan {
  int quantities[kMostQuantities];
  int lines[kMostQuantities];  // which of the lines a quantity's is; an error's has two
  int quantity_count, line_count;
  int bins;         // of a spectrum, at most
  bool own;         // pixels as they are
  bool kept;        // first pixels are kept
  bool in_place;    // heights take the place of values
  int parts;        // panels that are drawn together, being under one another
  int sheets;       // panels that are not
  int plane_count, channels;
  int canvas, rows; // height of a panel, and how much of it is drawn at a time
  int bounds, state, digits, cells, ranges, table, first, value, ivar, x, y, sides, levels, planes;
  int bytes;
};

__device__ bool is_columns(int quantity) {
  return quantity == static_cast<int>(Quantity::mask) || quantity == static_cast<int>(Quantity::regions);
}

// Where numbers that a block works out together are found.
enum State { kFirst, kEnd, kFinite, kPrefix, kRank = kPrefix + 2, kNext = kRank + 2, kEqual = kNext + 2, kStates = kEqual + 2 };

// A level as the image's type, as bits.
__device__ uint32_t level_bits(PixelType type, int level, float factor, float offset) {
  if (type == PixelType::uint8) return static_cast<uint32_t>(level);
  uint32_t bits;
  if (type == PixelType::bfloat16) {
    uint16_t half;
    put_level(level, factor, offset, half);
    bits = half;
  } else {
    float value;
    put_level(level, factor, offset, value);
    memcpy(&bits, &value, sizeof bits);
  }
  return bits;
}

// One block of threads, drawing spectrum after spectrum: their own pixels or common bins, lines as AGG draws them or by
// true area.
template <bool kOwn, bool kAgg>
struct Painter {
  const RenderArgs& a;
  const RenderPlan& p;
  int* const state;
  unsigned* const digits;   // [2, 256]
  ValueRange* const ranges; // [quantities, panels]
  uint32_t* const table;    // [channels, 256] what levels become, unless inks are laid over one another
  int* const first;         // [bins]
  float* const value;       // [bins] good fluxes, NaN elsewhere
  float* const x;           // [bins] of own pixels
  float* const y;           // [lines, bins]
  Sides* const sides;       // [lines, bins]
  uint8_t* const levels;    // [quantities, bins] of squares
  uint8_t* const planes;    // [planes, rows, 32], where inks are laid over one another
  const float step;         // from bin to bin, pixels, where all spectra have the same
  Strip strip;
  const float* ivar;        // [bins]
  const uint8_t* marks;
  int64_t image;
  int count;  // bins of this spectrum

  template <class T>
  static __device__ T* at(int offset) { return reinterpret_cast<T*>(shared_bytes() + offset); }

  __device__ Painter(const RenderArgs& args, const RenderPlan& plan)
      : a(args), p(plan), state(at<int>(plan.state)), digits(at<unsigned>(plan.digits)),
        ranges(at<ValueRange>(plan.ranges)), table(at<uint32_t>(plan.table)), first(at<int>(plan.first)),
        value(at<float>(plan.value)), x(at<float>(plan.x)), y(at<float>(plan.y)), sides(at<Sides>(plan.sides)),
        levels(at<uint8_t>(plan.levels)), planes(at<uint8_t>(plan.planes)),
        step(static_cast<float>(static_cast<double>(args.size) / static_cast<double>(plan.bins / args.panels))),
        strip{0, static_cast<int>(args.size), plan.canvas, plan.parts, plan.rows, 0, at<int>(plan.cells),
              at<int>(plan.bounds), at<int>(0)} {
    clear_strip(strip);
    const ResampleArgs& s = a.spectra;
    for (int m = thread(); p.kept && m < p.bins; m += kThreads) {
      first[m] = static_cast<int>(first_pixel(s.method, s.wavelength, s.pixels, bin_start(s.method, s.grid, s.bins, m)));
    }
    const float ground = a.light ? 255.0f : 0.0f;
    for (int i = thread(); a.inks == nullptr && i < p.channels * 256; i += kThreads) {
      const int channel = i / 256, level = i % 256;
      const float mixed = inked(ground, 255.0f - ground, a.alpha[a.colormap != nullptr ? 0 : channel] / 255.0f,
                                static_cast<uint8_t>(level));
      const int shown = a.colormap != nullptr ? a.colormap[3 * level + channel] : static_cast<int>(mixed + 0.5f);
      table[i] = level_bits(a.type, shown, a.factor[channel], a.offset[channel]);
    }
  }

  static __device__ int thread() { return static_cast<int>(threadIdx.x); }

  __device__ void draw(int64_t row) {
    image = row;
    __syncthreads();
    if constexpr (kOwn) gather_own(); else gather_bins();
    __syncthreads();
    for (int q = 0; q < p.quantity_count; ++q) {
      if (!is_columns(p.quantities[q])) prepare(q);
    }
    const int across = (strip.width + kWarp - 1) / kWarp, down = (p.canvas + p.rows - 1) / p.rows;
    for (int tile = 0; tile < across * down; ++tile) {
      strip.column = tile % across * kWarp;
      strip.top = tile / across * p.rows;
      strip.height = p.canvas - strip.top < p.rows ? p.canvas - strip.top : p.rows;
      for (int q = 0; q < p.quantity_count; ++q) {
        for (int sheet = 0; sheet < p.sheets; ++sheet) draw_sheet(q, sheet);
      }
      if (a.inks != nullptr) lay_inks();
    }
  }

 private:
  // ---- values ----

  __device__ void gather_bins() {
    const ResampleArgs& s = a.spectra;
    const SpectrumRow row = spectrum_row(s, image);
    const float required = required_weight(s);
    float* kept_ivar = at<float>(p.ivar);
    for (int m = thread(); m < p.bins; m += kThreads) {
      const int64_t from = p.kept ? first[m] : first_pixel(s.method, row.wavelength, row.pixels,
                                                           bin_start(s.method, s.grid, s.bins, m));
      float bin_flux, bin_ivar;
      resample_bin(s.method, row, s.grid, s.bins, m, from, required, bin_flux, bin_ivar);
      const bool good = fabsf(bin_flux) <= FLT_MAX && bin_ivar > 0.0f && bin_ivar <= FLT_MAX;
      value[m] = good ? bin_flux : NAN;
      if (p.ivar >= 0) kept_ivar[m] = bin_ivar;
    }
    ivar = kept_ivar;
    marks = a.marks == nullptr ? nullptr : a.marks + (a.shared_marks ? 0 : image * s.bins);
    count = p.bins;
  }

  // The spectrum's own pixels from the first good one to the last.
  __device__ void gather_own() {
    const SpectrumRow row = spectrum_row(a.spectra, image);
    if (thread() == 0) state[kFirst] = INT_MAX, state[kEnd] = 0;
    __syncthreads();
    int low = INT_MAX, end = 0;
    for (int i = thread(); i < row.end - row.begin; i += kThreads) {
      if (!row.good(row.begin + i)) continue;
      low = i < low ? i : low;
      end = i + 1;
    }
    low = warp_least(low);
    end = warp_most(end);
    if (strip.lane() == 0) atomicMin(state + kFirst, low), atomicMax(state + kEnd, end);
    __syncthreads();
    const int64_t skipped = state[kFirst] < state[kEnd] ? state[kFirst] : 0, start = row.begin + skipped;
    count = state[kFirst] < state[kEnd] ? state[kEnd] - state[kFirst] : 0;
    ivar = row.ivar + skipped;
    marks = a.marks == nullptr ? nullptr : a.marks + (row.flux + skipped - a.spectra.flux);
    for (int i = thread(); i < count; i += kThreads) value[i] = row.good(start + i) ? row.flux[skipped + i] : NAN;
    const auto place = [&](int i) { return a.log_axis ? log(row.wavelength[start + i]) : row.wavelength[start + i]; };
    const double side = static_cast<double>(a.side_margin), size = static_cast<double>(a.size);
    for (int panel = 0; panel < a.panels && a.block == 0; ++panel) {
      const int from = begin_of(panel), to = begin_of(panel + 1);
      if (from == to) continue;
      const double origin = place(from), span = to - from > 1 ? place(to - 1) - origin : 1.0;
      for (int i = from + thread(); i < to; i += kThreads) {
        x[i] = static_cast<float>(size * (side + (1.0 - 2.0 * side) * ((place(i) - origin) / span)));
      }
    }
  }

  // The x of a panel's bins.
  __device__ auto x_from(int from) const {
    if constexpr (kOwn) return static_cast<const float*>(x + from); else return EvenX{step};
  }

  __device__ int begin_of(int panel) const { return static_cast<int>(panel_start(count, a.panels, panel)); }

  // What a quantity draws of a bin: its value, or a derivative.
  __device__ float shown(int quantity, int i) const {
    const auto plain = [&](int k) { return k >= 0 && k < count ? value[k] : NAN; };
    const auto slope = [&](int k) {
      return k >= 0 && k < count ? gradient(plain(k - 1), plain(k), plain(k + 1)) : NAN;
    };
    if (quantity == static_cast<int>(Quantity::first)) return slope(i);
    if (quantity == static_cast<int>(Quantity::second)) return gradient(slope(i - 1), slope(i), slope(i + 1));
    return value[i];
  }

  // ---- scale ----

  // Floats in the order of whole numbers.
  static __device__ unsigned key_of(float number) {
    unsigned bits;
    memcpy(&bits, &number, sizeof bits);
    return (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
  }

  static __device__ float number_of(unsigned key) {
    const unsigned bits = (key >> 31) != 0 ? key & 0x7fffffffu : ~key;
    float number;
    memcpy(&number, &bits, sizeof number);
    return number;
  }

  // The range of what a quantity draws of some bins, which are not NaN, by one thread.
  __device__ void find_range(int quantity, int from, int to, ValueRange* range) {
    const bool derivative =
        quantity == static_cast<int>(Quantity::first) || quantity == static_cast<int>(Quantity::second);
    if (a.scale == Scale::fixed && !derivative) {
      if (thread() == 0) *range = value_range(a.fixed_low, a.fixed_high);
      return;
    }
    if (thread() == 0) state[kFinite] = 0, state[kNext] = state[kNext + 1] = 0;
    __syncthreads();
    int finite = 0;
    unsigned least = ~0u, most = 0;
    for (int i = from + thread(); i < to; i += kThreads) {
      const float number = shown(quantity, i);
      if (number != number) continue;
      ++finite;
      const unsigned key = key_of(number);
      least = key < least ? key : least;
      most = key > most ? key : most;
    }
    finite = warp_sum(finite);
    if (strip.lane() == kWarp - 1) atomicAdd(state + kFinite, finite);
    // Greatest keys, of the numbers and of the numbers' opposites, as atomics know the greatest of unsigned numbers.
    if (finite > 0) {
      atomicMax(reinterpret_cast<unsigned*>(state + kNext), ~least);
      atomicMax(reinterpret_cast<unsigned*>(state + kNext + 1), most);
    }
    __syncthreads();
    finite = state[kFinite];
    const unsigned low = ~static_cast<unsigned>(state[kNext]), high = static_cast<unsigned>(state[kNext + 1]);
    if (finite == 0 || a.scale == Scale::minmax) {
      __syncthreads();
      if (thread() == 0) {
        *range = finite == 0 ? value_range(0.0f, 0.0f) : value_range(number_of(low), number_of(high));
      }
      return;
    }
    float found[2];
    find_percentiles(quantity, from, to, finite, high, found);
    if (thread() == 0) *range = value_range(found[0], found[1]);
  }

  // numpy's linear percentiles, digit by digit of the keys that have the two ranks; all threads learn them.
  __device__ void find_percentiles(int quantity, int from, int to, int finite, unsigned greatest, float* found) {
    double position[2];
    __syncthreads();
    for (int k = 0; k < 2; ++k) {
      position[k] = a.percentiles[k] / 100.0 * static_cast<double>(finite - 1);
      if (thread() == 0) {
        state[kPrefix + k] = 0;
        state[kRank + k] = static_cast<int>(position[k]);
        state[kNext + k] = static_cast<int>(greatest);
      }
    }
    for (int shift = 24; shift >= 0; shift -= 8) {
      for (int i = thread(); i < 2 * kDigits; i += kThreads) digits[i] = 0;
      __syncthreads();
      for (int i = from + thread(); i < to; i += kThreads) {
        const float number = shown(quantity, i);
        if (number != number) continue;
        const unsigned key = key_of(number);
        for (int k = 0; k < 2; ++k) {
          const unsigned above = shift == 24 ? 0u : (key ^ static_cast<unsigned>(state[kPrefix + k])) >> (shift + 8);
          if (above == 0) atomicAdd(digits + k * kDigits + ((key >> shift) & 255u), 1u);
        }
      }
      __syncthreads();
      const int k = thread() / kWarp;
      if (k < 2) take_digit(k, shift);
      __syncthreads();
    }
    for (int i = from + thread(); i < to; i += kThreads) {
      const float number = shown(quantity, i);
      if (number != number) continue;
      const unsigned key = key_of(number);
      for (int k = 0; k < 2; ++k) {
        if (key > static_cast<unsigned>(state[kPrefix + k])) {
          atomicMin(reinterpret_cast<unsigned*>(state + kNext + k), key);
        }
      }
    }
    __syncthreads();
    for (int k = 0; k < 2; ++k) {
      const float here = number_of(static_cast<unsigned>(state[kPrefix + k]));
      const bool again = state[kRank + k] + 1 < state[kEqual + k];
      const float next = again ? here : number_of(static_cast<unsigned>(state[kNext + k]));
      found[k] = here + (next - here) * static_cast<float>(position[k] - static_cast<double>(static_cast<int>(position[k])));
    }
    __syncthreads();
  }

  // One warp finds the digit that the number of rank k has, and its rank among those with that digit.
  __device__ void take_digit(int k, int shift) {
    constexpr int kEach = kDigits / kWarp;
    const unsigned* of_lane = digits + k * kDigits + strip.lane() * kEach;
    int own = 0;
    for (int i = 0; i < kEach; ++i) own += static_cast<int>(of_lane[i]);
    const int rank = state[kRank + k], before = warp_sum(own) - own;
    __syncwarp();
    if (rank < before || rank >= before + own) return;
    int digit = 0, passed = before;
    while (passed + static_cast<int>(of_lane[digit]) <= rank) passed += static_cast<int>(of_lane[digit++]);
    state[kPrefix + k] |= (strip.lane() * kEach + digit) << shift;
    state[kRank + k] = rank - passed;
    state[kEqual + k] = static_cast<int>(of_lane[digit]);
  }

  // ---- heights and levels ----

  // Finds the scale of a quantity, and from it the heights of its lines or the levels of its squares.
  __device__ void prepare(int q) {
    const int quantity = p.quantities[q];
    ValueRange* own_ranges = ranges + q * a.panels;
    if (a.per_panel) {
      for (int panel = 0; panel < a.panels; ++panel) {
        find_range(quantity, begin_of(panel), begin_of(panel + 1), own_ranges + panel);
        __syncthreads();
      }
    } else {
      find_range(quantity, 0, count, own_ranges);
      __syncthreads();
    }
    const bool error = quantity == static_cast<int>(Quantity::error);
    float* heights = y + p.lines[q] * p.bins;
    for (int panel = 0; panel < a.panels; ++panel) {
      const ValueRange range = own_ranges[a.per_panel ? panel : 0];
      const float sigma = range.flat ? NAN : (1.0f - 2.0f * a.margin) / range.span;  // one, as a share of the height
      const float height = static_cast<float>(p.canvas);
      for (int i = begin_of(panel) + thread(); i < begin_of(panel + 1); i += kThreads) {
        const float number = shown(quantity, i);
        const float share = height_share(number, range, a.margin);
        if (a.block != 0) {
          const float reach = error && number == number ? sigma / sqrtf(ivar[i]) : 0.0f;
          levels[q * p.bins + i] = share_level(error ? reach : share);
          continue;
        }
        const float at_height = height * (1.0f - share), reach = error ? height * sigma / sqrtf(ivar[i]) : 0.0f;
        heights[i] = at_height - reach;
        if (error) heights[p.bins + i] = at_height + reach;
      }
    }
    __syncthreads();
    if (p.sides < 0 || error || a.block != 0) return;
    for (int panel = 0; panel < a.panels; ++panel) {
      const int from = begin_of(panel), to = begin_of(panel + 1);
      const auto fill = [&](auto along) {
        for (int i = thread(); i + 1 < to - from; i += kThreads) {
          sides[p.lines[q] * p.bins + from + i] = make_sides(along[i], heights[from + i], along[i + 1],
                                                             heights[from + i + 1], 0.5f * a.linewidth);
        }
      };
      fill(x_from(from));
    }
    __syncthreads();
  }

  // ---- drawing ----

  __device__ void put(int plane, int row, uint8_t level) {
    if (a.inks != nullptr) {
      planes[(plane * p.parts * p.rows + row) * kWarp + strip.lane()] = level;
      return;
    }
    const int64_t pixels = a.size * a.size, at_pixel = (strip.top + row) * a.size + strip.column + strip.lane();
    const int64_t start = image * p.channels * pixels + at_pixel;
    if (a.colormap == nullptr) {
      store(start + plane * pixels, table[plane * 256 + level]);
    } else {
      for (int channel = 0; channel < 3; ++channel) store(start + channel * pixels, table[channel * 256 + level]);
    }
  }

  __device__ void store(int64_t place, uint32_t bits) {
    if (a.type == PixelType::uint8) {
      static_cast<uint8_t*>(a.out)[place] = static_cast<uint8_t>(bits);
    } else if (a.type == PixelType::bfloat16) {
      static_cast<uint16_t*>(a.out)[place] = static_cast<uint16_t>(bits);
    } else {
      static_cast<uint32_t*>(a.out)[place] = bits;
    }
  }

  // One quantity, of one panel or of all under one another, in the strip.
  __device__ void draw_sheet(int q, int sheet) {
    const int plane = q * p.sheets + sheet, quantity = p.quantities[q];
    const auto to_plane = [&](int row, uint8_t level) { put(plane, row, level); };
    if (a.block != 0) {
      draw_squares(q, to_plane);
    } else if (is_columns(quantity)) {
      draw_columns(quantity, sheet, to_plane);
    } else {
      draw_lines(q, sheet, to_plane);
    }
  }

  template <class Put>
  __device__ void draw_lines(int q, int sheet, Put to_plane) {
    const bool error = p.quantities[q] == static_cast<int>(Quantity::error);
    const float* line = y + p.lines[q] * p.bins;
    const float r = 0.5f * a.linewidth;
    if constexpr (kAgg) {
      if (!error) {
        const StrokeShape shape(a.linewidth);
        for (int part = 0; part < p.parts; ++part) {
          const int from = begin_of(sheet + part), points = begin_of(sheet + part + 1) - from;
          if (points > 1) add_outline(strip, part, x_from(from), line + from, points, shape);
        }
        put_outline(strip, to_plane);
        return;
      }
    }
    draw_area(strip, a.subcolumns, [&](int part, float column, auto emit) {
      const int from = begin_of(sheet + part), points = begin_of(sheet + part + 1) - from;
      const auto along = x_from(from);
      if (error) {
        const Interval hit = band_interval(along, line + from, line + p.bins + from, points, column);
        if (!hit.empty()) emit(hit);
        return;
      }
      if constexpr (kAgg) return;
      const Sides* own_sides = sides + p.lines[q] * p.bins + from;
      const auto sides_of = [&](int i) {
        return p.sides >= 0 ? own_sides[i]
                            : make_sides(along[i], line[from + i], along[i + 1], line[from + i + 1], r);
      };
      visit_column(along, line + from, sides_of, points, first_point(along, points, column, r), column, r, emit);
    }, to_plane);
  }

  __device__ bool marked(int quantity, int i) const {
    return quantity == static_cast<int>(Quantity::mask) ? value[i] != value[i] : marks[i] != 0;
  }

  // Inks the share of each pixel column that marked bins cover; a bin reaches half-way to its neighbours.
  template <class Put>
  __device__ void draw_columns(int quantity, int sheet, Put to_plane) {
    const int warp = thread() / kWarp, column = strip.column + strip.lane();
    if (strip.beside()) return;
    for (int part = 0; part < p.parts; ++part) {
      const int from = begin_of(sheet + part), points = begin_of(sheet + part + 1) - from;
      const auto along = x_from(from);
      const float low = static_cast<float>(column), high = static_cast<float>(column + 1);
      float cover = 0.0f;
      for (int i = first_point(along, points, low, 0.0f); i < points; ++i) {
        const float ahead = i + 1 < points ? along[i + 1] - along[i]
                            : i > 0        ? along[i] - along[i - 1]
                                           : 2.0f * static_cast<float>(strip.width);
        const float left = along[i] - 0.5f * (i > 0 ? along[i] - along[i - 1] : ahead), right = along[i] + 0.5f * ahead;
        if (left >= high) break;
        if (marked(quantity, from + i)) cover += larger(smaller(right, high) - larger(left, low), 0.0f);
      }
      for (int row = warp; row < strip.height; row += kThreads / kWarp) {
        to_plane(part * strip.height + row, share_level(cover));
      }
    }
  }

  // Bins as squares, in the order of reading or turning at the end of each row.
  template <class Put>
  __device__ void draw_squares(int q, Put to_plane) {
    if (strip.beside()) return;
    const int quantity = p.quantities[q], block = static_cast<int>(a.block), side = strip.width / block;
    const int column = (strip.column + strip.lane()) / block;
    for (int row = thread() / kWarp; row < strip.height; row += kThreads / kWarp) {
      const int line = (strip.top + row) / block;
      const bool back = a.boustrophedon && line % 2 == 1;
      const int i = line * side + (back ? side - 1 - column : column);
      uint8_t level = 0;
      if (line < side && column < side && i < count) {
        level = !is_columns(quantity) ? levels[q * p.bins + i] : marked(quantity, i) ? 255 : 0;
      }
      to_plane(row, level);
    }
  }

  // All planes of the strip over one another.
  __device__ void lay_inks() {
    __syncthreads();
    const int plane_rows = p.parts * p.rows;
    const float ground = a.light ? 255.0f : 0.0f;
    const int64_t pixels = a.size * a.size;
    for (int row = thread() / kWarp; row < p.parts * strip.height && !strip.beside(); row += kThreads / kWarp) {
      const int64_t at_pixel = (strip.top + row) * a.size + strip.column + strip.lane();
      for (int channel = 0; channel < 3; ++channel) {
        float mixed = ground;
        for (int k = 0; k < p.plane_count; ++k) {
          const uint8_t level = planes[(k * plane_rows + row) * kWarp + strip.lane()];
          mixed = inked(mixed, a.inks[3 * k + channel], a.alpha[k] / 255.0f, level);
        }
        store((image * 3 + channel) * pixels + at_pixel,
              level_bits(a.type, static_cast<int>(mixed + 0.5f), a.factor[channel], a.offset[channel]));
      }
    }
    __syncthreads();
  }
};

template <bool kOwn, bool kAgg>
__global__ void __launch_bounds__(kThreads, kAgg ? 2 : 3) render_kernel(const __grid_constant__ RenderArgs a, const __grid_constant__ RenderPlan p) {
  Painter<kOwn, kAgg> painter(a, p);
  for (int64_t image = blockIdx.x; image < a.spectra.rows; image += gridDim.x) painter.draw(image);
}

// Lays out a block's shared memory; its size is what decides whether it fits.
int64_t lay_out(const RenderArgs& a, RenderPlan& p) {
  p.own = a.spectra.bins == 0;
  const int64_t bins = p.own ? a.spectra.pixels : a.spectra.bins;
  p.bins = static_cast<int>(bins);
  p.parts = static_cast<int>(a.rows ? a.panels : 1);
  p.sheets = static_cast<int>(a.rows ? 1 : a.panels);
  p.canvas = static_cast<int>(a.rows ? a.size / a.panels : a.size);
  p.rows = p.parts == 1 ? std::min(p.canvas, kMostRows) : p.canvas;
  p.plane_count = static_cast<int>(a.planes());
  p.channels = static_cast<int>(a.channels());
  p.quantity_count = static_cast<int>(a.quantity_count);
  bool error = false;
  for (int q = 0; q < p.quantity_count; ++q) {
    p.quantities[q] = a.quantities[q];
    p.lines[q] = p.line_count;
    const Quantity quantity = static_cast<Quantity>(a.quantities[q]);
    error = error || quantity == Quantity::error;
    if (a.block == 0 && quantity != Quantity::mask && quantity != Quantity::regions) {
      p.line_count += quantity == Quantity::error ? 2 : 1;
    }
  }
  p.in_place = p.quantity_count == 1 && p.quantities[0] == static_cast<int>(Quantity::flux) && a.block == 0;
  p.kept = !p.own && a.spectra.shared_wavelength && bins <= kKept;
  const bool sided = p.line_count > 0 && a.coverage == Coverage::area_union;
  int64_t bytes = kThreads * static_cast<int64_t>(sizeof(int));  // sums, at 0
  const auto reserve = [&](bool needed, int64_t numbers, int64_t each) {
    const int64_t start = bytes;
    if (needed) bytes = (bytes + numbers * each + 15) / 16 * 16;
    return needed ? static_cast<int>(start) : -1;
  };
  p.bounds = reserve(true, 2 * p.parts, sizeof(int));
  p.state = reserve(true, kStates, sizeof(int));
  p.digits = reserve(true, 2 * kDigits, sizeof(unsigned));
  p.cells = reserve(true, strip_cells(p.parts, p.rows), sizeof(int));
  p.ranges = reserve(true, a.quantity_count * a.panels, sizeof(ValueRange));
  p.table = reserve(a.inks == nullptr, a.channels() * 256, sizeof(uint32_t));
  p.first = reserve(p.kept, bins, sizeof(int));
  p.value = reserve(true, bins, sizeof(float));
  p.ivar = reserve(!p.own && error, bins, sizeof(float));
  p.x = reserve(p.own && a.block == 0, bins, sizeof(float));
  p.y = p.in_place ? p.value : reserve(p.line_count > 0, p.line_count * bins, sizeof(float));
  p.levels = reserve(a.block != 0, a.quantity_count * bins, 1);
  p.planes = reserve(a.inks != nullptr, a.planes() * p.parts * p.rows * kWarp, 1);
  const int64_t least = bytes, most = most_shared_bytes();
  p.sides = reserve(sided, p.line_count * bins, sizeof(Sides));
  if (bytes > most && least <= most) bytes = least, p.sides = -1;
  p.bytes = static_cast<int>(bytes);
  return bytes;
}

}  // namespace

int render_cuda(const RenderArgs& args, void* stream) {
  if (args.spectra.rows == 0) return 0;
  const int64_t longest = std::max(args.spectra.bins, args.spectra.pixels);
  if (args.quantity_count > kMostQuantities || longest > (1 << 20) || args.planes() > (1 << 10)) return kTooLarge;
  RenderPlan plan{};
  const int64_t bytes = lay_out(args, plan);
  if (bytes > most_shared_bytes()) return kTooLarge;
  const bool agg = args.coverage == Coverage::agg;
  const auto kernel = plan.own ? agg ? render_kernel<true, true> : render_kernel<true, false>
                      : agg    ? render_kernel<false, true>
                               : render_kernel<false, false>;
  return launch(kernel, resident_blocks(kernel, args.spectra.rows, bytes), bytes, stream, args, plan);
}

}  // namespace spectromer
