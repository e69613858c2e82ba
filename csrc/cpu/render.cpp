// Rendering on the CPU: resampling, scaling and drawing, a group of spectra at a time.
#include "../core/render.h"

#include <algorithm>

#include "parallel.h"
#include "raster.h"
#include "resample.h"

#define SPECTROMER_TARGET_INCLUDE "../render-inl.h"
#include "simd/foreach_target.h"

namespace spectromer {
namespace {

constexpr int64_t kGroup = kMostLanes;  // maximum number of spectra processed together

// Draws bins as squares, row by row from left to right, or with every other row from right to left.
void draw_blocks(const uint8_t* levels, int64_t count, const RenderArgs& a, std::vector<uint8_t>& line,
                 uint8_t* plane) {
  constexpr int64_t kStore = 8;  // bytes written at a time; the next square overwrites the excess
  const int64_t side = a.size / a.block;
  line.resize(static_cast<size_t>(a.size + kStore));
  for (int64_t row = 0; row < side; ++row) {
    std::fill(line.begin(), line.end(), uint8_t{0});
    for (int64_t column = 0; column < side; ++column) {
      const int64_t i = square_bin(row, column, side, a.boustrophedon);
      const uint64_t bytes = i < count ? levels[i] * uint64_t{0x0101010101010101} : 0;
      for (int64_t k = 0; k < a.block; k += kStore) std::memcpy(line.data() + column * a.block + k, &bytes, kStore);
    }
    std::fill(line.begin() + side * a.block, line.end(), uint8_t{0});
    for (int64_t k = 0; k < a.block; ++k) {
      std::memcpy(plane + (row * a.block + k) * a.size, line.data(), static_cast<size_t>(a.size));
    }
  }
  std::memset(plane + side * a.block * a.size, 0, static_cast<size_t>((a.size - side * a.block) * a.size));
}

// Draws each pixel column with a level in proportion to the fraction of it that marked bins cover.
void draw_columns(const float* x, const uint8_t* marked, int64_t count, int64_t width, int64_t height,
                  std::vector<float>& cover, uint8_t* plane) {
  cover.assign(static_cast<size_t>(width + 1), 0.0f);
  for (int64_t i = 0; i < count; ++i) {
    if (marked[i] == 0) continue;
    const Extent extent = bin_extent(x, count, i, static_cast<float>(width));
    const float right = min(extent.right, static_cast<float>(width));
    float left = max(extent.left, 0.0f);
    while (left < right) {
      const int64_t column = static_cast<int64_t>(left);
      const float end = min(right, static_cast<float>(column + 1));
      cover[column] += end - left;
      left = end;
    }
  }
  for (int64_t column = 0; column < width; ++column) plane[column] = share_level(cover[column]);
  for (int64_t row = 1; row < height; ++row) std::memcpy(plane + row * width, plane, static_cast<size_t>(width));
}

bool shows(const RenderArgs& a, Quantity quantity) {
  return std::find(a.quantities, a.quantities + a.quantity_count, static_cast<int>(quantity)) !=
         a.quantities + a.quantity_count;
}

struct RenderScratch {
  ResampleScratch resample;
  RasterScratch raster;
  std::vector<float> flux, ivar;       // [spectra, bins] resampled
  std::vector<float> x;                // [spectra, bins] where own pixels are drawn
  std::vector<float> value, series;    // [spectra, bins] good fluxes of own pixels; derivatives
  std::vector<float> y, upper, lower;  // [spectra, bins] heights
  std::vector<float> rounding;         // [spectra, panels] of fluxes; negative if it is not known yet
  std::vector<float> cover;            // [size + 1]
  std::vector<int> ranking;
  std::vector<uint8_t> marked, levels;  // [bins]
  std::vector<uint8_t> line;            // [size + 8] one row of pixels, of squares
  std::vector<uint8_t> planes;          // [spectra, planes, size, size], unless the planes are the image itself
};

class Renderer {
 public:
  explicit Renderer(const RenderArgs& args)
      : a_(args), own_(args.spectra.bins == 0), errors_(shows(args, Quantity::error)),
        resampler_(args.spectra, errors_),
        canvas_{args.stacked ? args.size / args.panels : args.size, args.size, args.linewidth, args.subcolumns} {
    stride_ = own_ ? args.spectra.pixels : args.spectra.bins;
    direct_ = a_.plain && a_.type == PixelType::uint8;
    if (!own_) {
      const int64_t points = stride_ / a_.panels;
      const float step =
          static_cast<float>(static_cast<double>(a_.size) / static_cast<double>(std::max<int64_t>(points, 1)));
      for (int64_t i = 0; i < points; ++i) x_.push_back((static_cast<float>(i) + 0.5f) * step);
    }
  }

  int64_t first_bad() const { return resampler_.first_bad(); }

  // The number of spectra processed together. The lanes hold spectra if there is one panel, otherwise panels.
  int64_t group() const { return a_.panels > 1 ? kGroup / 2 : images_together(); }

  void run(int64_t begin, int64_t end, RenderScratch& s) const {
    Spectra spectra{};
    spectra.begin = begin;
    spectra.count = end - begin;
    gather(spectra, s);
    const int64_t per_image = a_.planes() * a_.size * a_.size;
    uint8_t* planes = static_cast<uint8_t*>(a_.out) + begin * per_image;
    if (!direct_) {
      s.planes.resize(static_cast<size_t>(group() * per_image));
      planes = s.planes.data();
    }
    for (int64_t q = 0; q < a_.quantity_count; ++q) draw_quantity(spectra, q, planes, s);
    if (direct_) return;
    for (int64_t r = 0; r < spectra.count; ++r) SPECTROMER_DISPATCH(put_image)(a_, planes + r * per_image, begin + r);
  }

 private:
  struct Spectra {
    int64_t begin, count;
    int64_t bins[kGroup];  // the number of bins that are drawn of each spectrum
    const float* flux[kGroup];
    const float* ivar[kGroup];
    const uint8_t* marks[kGroup];
    float* value[kGroup];  // the good fluxes, with NaN elsewhere; resampled fluxes are replaced in place
  };

  // Collects what is drawn: resampled bins, or own pixels from the first good one to the last.
  void gather(Spectra& spectra, RenderScratch& s) const {
    const size_t values = static_cast<size_t>(group() * stride_);
    s.y.resize(values);
    s.rounding.assign(static_cast<size_t>(spectra.count * a_.panels), -1.0f);
    if (shows(a_, Quantity::first) || shows(a_, Quantity::second)) s.series.resize(values);
    s.marked.resize(static_cast<size_t>(stride_));
    s.levels.resize(static_cast<size_t>(stride_));
    if (own_) {
      s.x.resize(values);
      s.value.resize(values);
      for (int64_t r = 0; r < spectra.count; ++r) {
        gather_own(spectra, r, s.x.data() + r * stride_);
        spectra.value[r] = s.value.data() + r * stride_;
      }
    } else {
      s.flux.resize(values);
      if (errors_) s.ivar.resize(values);
      resampler_.run(spectra.begin, spectra.count, s.flux.data(), s.ivar.data(), s.resample);
      for (int64_t r = 0; r < spectra.count; ++r) {
        spectra.bins[r] = stride_;
        spectra.flux[r] = spectra.value[r] = s.flux.data() + r * stride_;
        if (errors_) spectra.ivar[r] = s.ivar.data() + r * stride_;
        if (a_.marks != nullptr) spectra.marks[r] = a_.marks + (a_.shared_marks ? 0 : (spectra.begin + r) * stride_);
      }
    }
    // Heights overwrite values that are used only once.
    if (!own_ && a_.quantity_count == 1) s.y.swap(s.flux);
    if (!own_ && !errors_) return;  // masked fluxes are NaN already
    for (int64_t r = 0; r < spectra.count; ++r) {
      SPECTROMER_DISPATCH(mask_values)(spectra.flux[r], spectra.ivar[r], spectra.bins[r], spectra.value[r]);
    }
  }

  void gather_own(Spectra& spectra, int64_t r, float* x) const {
    const SpectrumRow row = spectrum_row(a_.spectra, spectra.begin + r);
    int64_t first = row.begin, end = row.end;
    if (!resampler_.check(row, spectra.begin + r)) end = first;
    while (first < end && !row.good(first)) ++first;
    while (end > first && !row.good(end - 1)) --end;
    spectra.bins[r] = end - first;
    spectra.flux[r] = row.flux + (first - row.begin);
    spectra.ivar[r] = row.ivar + (first - row.begin);
    if (a_.marks != nullptr) spectra.marks[r] = a_.marks + (spectra.flux[r] - a_.spectra.flux);
    for (int64_t panel = 0; panel < a_.panels; ++panel) {
      const auto [from, count] = panel_bins(end - first, a_.panels, panel);
      if (count == 0) continue;
      const double* wavelength = row.wavelength + first;
      const OwnAxis axis(a_, wavelength[from], wavelength[from + count - 1], count);
      for (int64_t i = from; i < from + count; ++i) x[i] = axis.x(wavelength[i]);
    }
  }

  // The x of the bins of a panel, whose first bin is bin i of spectrum r. All panels have the same x, unless own pixels
  // are drawn.
  const float* x_of(const RenderScratch& s, int64_t r, int64_t i) const {
    return own_ ? s.x.data() + r * stride_ + i : x_.data();
  }

  // The values at the bottom and the top of a scale that is not fixed.
  void find_limits(const float* values, int64_t count, RenderScratch& s, float* found) const {
    if (a_.scale == Scale::minmax) SPECTROMER_DISPATCH(extremes)(values, count, found);
    else SPECTROMER_DISPATCH(percentiles)(values, count, a_.percentiles, s.ranking, found);
  }

  // The rounding of the fluxes of a spectrum, or of one of its panels. It is computed once.
  float& rounding_at(int64_t r, int64_t panel, RenderScratch& s) const {
    return s.rounding[static_cast<size_t>(r * a_.panels + panel)];
  }

  // Finds the rounding of the fluxes of spectrum r, from which its derivatives are taken.
  void find_rounding(const Spectra& spectra, int64_t r, RenderScratch& s) const {
    const int64_t ranges = a_.per_panel ? a_.panels : 1;
    for (int64_t panel = 0; panel < ranges; ++panel) {
      float& rounding = rounding_at(r, panel, s);
      if (rounding >= 0.0f) continue;
      const auto [from, count] = panel_bins(spectra.bins[r], ranges, panel);
      float found[2];
      find_limits(spectra.value[r] + from, count, s, found);
      rounding = rounding_of(found[0], found[1]);
    }
  }

  ValueRange range_of(const float* values, int64_t count, Quantity quantity, float& rounding, RenderScratch& s) const {
    const bool derivative = is_derivative(quantity);
    if (a_.scale == Scale::fixed && !derivative) return value_range(a_.fixed_low, a_.fixed_high, 0.0f);
    float found[2];
    find_limits(values, count, s, found);
    if (!derivative) rounding = rounding_of(found[0], found[1]);
    return value_range(found[0], found[1], rounding);
  }

  uint8_t* place_of(uint8_t* planes, int64_t r, int64_t quantity, int64_t panel) const {
    const int64_t before = a_.stacked ? quantity : quantity * a_.panels + panel;
    const int64_t pixels = a_.size * a_.size;
    return planes + (r * a_.planes() + before) * pixels + (a_.stacked ? panel * canvas_.height * canvas_.width : 0);
  }

  // Draws one quantity of all spectra, panel by panel.
  void draw_quantity(const Spectra& spectra, int64_t q, uint8_t* planes, RenderScratch& s) const {
    const Quantity quantity = static_cast<Quantity>(a_.quantities[q]);
    if (quantity == Quantity::error) {
      s.upper.resize(s.y.size());
      s.lower.resize(s.y.size());
    }
    const float height = static_cast<float>(canvas_.height);
    for (int64_t r = 0; r < spectra.count; ++r) {
      const float* values = spectra.value[r];
      if (is_derivative(quantity)) {
        find_rounding(spectra, r, s);
        float* series = s.series.data() + r * stride_;
        SPECTROMER_DISPATCH(take_gradient)(values, spectra.bins[r], series);
        if (quantity == Quantity::second) {
          std::copy_n(series, spectra.bins[r], s.y.data() + r * stride_);
          SPECTROMER_DISPATCH(take_gradient)(s.y.data() + r * stride_, spectra.bins[r], series);
        }
        values = series;
      }
      const bool marks = is_mark(quantity);
      ValueRange range{0.0f, 1.0f, true};
      if (!marks && !a_.per_panel) range = range_of(values, spectra.bins[r], quantity, rounding_at(r, 0, s), s);
      for (int64_t panel = 0; panel < a_.panels; ++panel) {
        const auto [from, count] = panel_bins(spectra.bins[r], a_.panels, panel);
        if (!marks && a_.per_panel) range = range_of(values + from, count, quantity, rounding_at(r, panel, s), s);
        const float sigma = sigma_share(range, a_.margin);
        const int64_t at = r * stride_ + from;
        uint8_t* plane = place_of(planes, r, q, panel);
        if (marks) {
          for (int64_t i = 0; i < count; ++i) {
            const bool masked = values[from + i] != values[from + i];
            s.marked[i] = quantity == Quantity::mask ? masked : spectra.marks[r][from + i] != 0;
          }
          if (a_.block == 0) {
            draw_columns(x_of(s, r, from), s.marked.data(), count, canvas_.width, canvas_.height, s.cover, plane);
            continue;
          }
          for (int64_t i = 0; i < count; ++i) s.levels[i] = s.marked[i] != 0 ? 255 : 0;
        } else if (a_.block != 0 && quantity == Quantity::error) {
          SPECTROMER_DISPATCH(error_levels)(values + from, spectra.ivar[r] + from, count, sigma, s.levels.data());
        } else if (a_.block != 0) {
          SPECTROMER_DISPATCH(value_levels)(values + from, count, range, a_.margin, s.levels.data());
        } else {
          SPECTROMER_DISPATCH(to_heights)(values + from, count, range, a_.margin, height, s.y.data() + at);
          if (quantity == Quantity::error) {
            SPECTROMER_DISPATCH(to_band)(s.y.data() + at, spectra.ivar[r] + from, count, height * sigma,
                                         s.upper.data() + at, s.lower.data() + at);
          }
          continue;
        }
        draw_blocks(s.levels.data(), count, a_, s.line, plane);
      }
    }
    if (a_.block == 0 && !is_mark(quantity)) { draw_lines(spectra, q, quantity, planes, s); }
  }

  // Draws the lines or bands whose heights have been computed, side by side if they share their x.
  void draw_lines(const Spectra& spectra, int64_t q, Quantity quantity, uint8_t* planes, RenderScratch& s) const {
    const float *upper[kMostLanes], *lower[kMostLanes];
    uint8_t* out[kMostLanes];
    int64_t images = 0;
    for (int64_t r = 0; r < spectra.count; ++r) {
      for (int64_t panel = 0; panel < a_.panels; ++panel) {
        const auto [from, count] = panel_bins(spectra.bins[r], a_.panels, panel);
        const float* heights = (quantity == Quantity::error ? s.upper : s.y).data();
        upper[images] = heights + r * stride_ + from;
        lower[images] = s.lower.data() + r * stride_ + from;
        out[images++] = place_of(planes, r, q, panel);
        const bool last = r + 1 == spectra.count && panel + 1 == a_.panels;
        const bool alone = own_ || (a_.coverage == Coverage::agg && quantity != Quantity::error);
        if (!alone && !last && images < images_together()) continue;
        const float* x = x_of(s, r, from);
        if (quantity == Quantity::error) {
          draw_band(canvas_, x, upper, lower, count, images, out, s.raster.by_area);
        } else if (a_.coverage == Coverage::agg) {
          draw_agg(canvas_, x, upper[0], count, out[0], s.raster.agg);
        } else {
          draw_union(canvas_, x, upper, count, images, out, s.raster.by_area);
        }
        images = 0;
      }
    }
  }

  const RenderArgs& a_;
  const bool own_, errors_;
  const Resampler resampler_;
  const Canvas canvas_;
  bool direct_;
  int64_t stride_;
  std::vector<float> x_;  // x of the bins of a panel
};

}  // namespace

int64_t render_cpu(const RenderArgs& args, int threads) {
  const Renderer renderer(args);
  parallel_for<RenderScratch>(
      args.spectra.rows, threads, renderer.group(),
      [&](int64_t begin, int64_t end, RenderScratch& scratch) { renderer.run(begin, end, scratch); });
  return renderer.first_bad();
}

}  // namespace spectromer
