#include "../core/render.h"

#include <algorithm>
#include <limits>

#include "parallel.h"
#include "raster.h"
#include "vector8.h"
#include "resample.h"

namespace spectromer {
namespace {

constexpr int64_t kGroup = kMostLanes;   // spectra handled together, at most
constexpr int kStrip = 64;               // pixels brought together at a time

// ---- values ----

// The good fluxes, NaN elsewhere.
SPECTROMER_WIDE void mask_values(const float* flux, const float* ivar, int64_t count, float* to) {
  for (int64_t i = 0; i < count; ++i) {
    const bool good = std::fabs(flux[i]) <= FLT_MAX && ivar[i] > 0.0f && ivar[i] <= FLT_MAX;
    to[i] = good ? flux[i] : std::numeric_limits<float>::quiet_NaN();
  }
}

SPECTROMER_WIDE void take_gradient(const float* values, int64_t count, float* to) {
  const auto at = [&](int64_t i) SPECTROMER_INLINE_LAMBDA { return i >= 0 && i < count ? values[i] : NAN; };
  if (count > 0) to[0] = gradient(NAN, values[0], at(1));
  for (int64_t i = 1; i + 1 < count; ++i) to[i] = gradient(values[i - 1], values[i], values[i + 1]);
  if (count > 1) to[count - 1] = gradient(at(count - 2), values[count - 1], NAN);
}

// Values in the order of whole numbers, NaN as the greatest; how many are numbers, and the least and the greatest of
// them. `keys` has room for a multiple of kLanes.
SPECTROMER_WIDE void order_keys(const float* values, int64_t count, int* keys, int64_t& finite, int& least, int& most) {
  constexpr int kNone = std::numeric_limits<int>::max();
  Int8 numbers = {}, low = kNone - Int8{}, high = std::numeric_limits<int>::min() - Int8{};
  for (int64_t i = 0; i < count; i += kLanes) {
    Float8 value = all_nan();
    if (i + kLanes <= count) {
      value = load8(values + i);
    } else {
      for (int64_t k = 0; i + k < count; ++k) value[k] = values[i + k];
    }
    const Int8 bits = (Int8)value, number = value == value;
    const Int8 ordered = bits ^ ((bits >> 31) & 0x7fffffff), key = number ? ordered : kNone - Int8{};
    numbers -= number;
    low = key < low ? key : low;
    high = (number & (key > high)) ? key : high;
    std::memcpy(keys + i, &key, sizeof key);
  }
  finite = 0;
  least = low[0];
  most = high[0];
  for (int k = 0; k < kLanes; ++k) {
    finite += numbers[k];
    least = std::min(least, low[k]);
    most = std::max(most, high[k]);
  }
}

float value_of(int key) {
  const int bits = key ^ ((key >> 31) & 0x7fffffff);
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// Memory of one thread for the search of ranks.
struct Ranking {
  std::vector<int> keys, members;
};

SPECTROMER_WIDE int64_t count_up_to(const int* keys, int64_t count, int key) {
  Int8 sums = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    Int8 block;
    std::memcpy(&block, keys + i, sizeof block);
    sums -= block <= key;  // a comparison that holds is -1
  }
  int64_t sum = 0;
  for (int k = 0; k < kLanes; ++k) sum += sums[k];
  for (; i < count; ++i) sum += keys[i] <= key;
  return sum;
}

// The keys from `low` to `high`; few of the blocks have any, for the percentiles that people ask for.
SPECTROMER_WIDE int64_t take_members(const int* keys, int64_t count, int low, int high, int* members) {
  int64_t size = 0, begin = 0;
  for (; begin + kLanes <= count; begin += kLanes) {
    Int8 key;
    std::memcpy(&key, keys + begin, sizeof key);
    const Int8 inside = (key >= low) & (key <= high);
    int64_t parts[4];
    std::memcpy(parts, &inside, sizeof parts);
    if ((parts[0] | parts[1] | parts[2] | parts[3]) == 0) continue;
    for (int k = 0; k < kLanes; ++k) {
      if (inside[k] != 0) members[size++] = key[k];
    }
  }
  for (; begin < count; ++begin) {
    if (keys[begin] >= low && keys[begin] <= high) members[size++] = keys[begin];
  }
  return size;
}

// A few of the keys, in order, without those that stand for no number.
std::vector<int> sample_keys(const int* keys, int64_t count) {
  constexpr int64_t kMost = 64;
  std::vector<int> sample;
  for (int64_t i = 0; i < kMost; ++i) {
    const int key = keys[i * count / kMost];
    if (key != std::numeric_limits<int>::max()) sample.push_back(key);
  }
  std::sort(sample.begin(), sample.end());
  return sample;
}

// The keys of rank `rank` and, if there is one, `rank + 1`, from 0, among `finite` keys from `low` to `high`: bounds are
// drawn closer until few keys lie between, and these are put in order.
void select_ranks(const int* keys, int64_t count, int64_t finite, int low, int high, int64_t rank,
                  const std::vector<int>& sample, std::vector<int>& room, int* found) {
  constexpr int64_t kFew = 32, kNear = 4;
  const int most = high;
  int64_t below = 0, up_to_high = finite;
  const auto draw_closer = [&](int key) {
    const int64_t up_to_key = count_up_to(keys, count, key);
    if (up_to_key > rank) {
      high = key;
      up_to_high = up_to_key;
    } else {
      low = key + 1;
      below = up_to_key;
    }
  };
  const int64_t sampled = static_cast<int64_t>(sample.size()), place = rank * sampled / finite;
  if (finite > kFew && place + kNear < sampled) draw_closer(sample[place + kNear]);
  if (finite > kFew && place >= kNear && sample[place - kNear] < high) draw_closer(sample[place - kNear]);
  while (low < high && up_to_high - below > kFew) {
    draw_closer(static_cast<int>((static_cast<int64_t>(low) + high) >> 1));
  }
  room.resize(static_cast<size_t>(count));
  int* members = room.data();
  int* nth = members + (rank - below);
  int* end = members + take_members(keys, count, low, high, members);
  std::nth_element(members, nth, end);
  found[0] = *nth;
  if (nth + 1 < end) {
    found[1] = *std::min_element(nth + 1, end);
    return;
  }
  found[1] = most;
  for (int64_t i = 0; i < count; ++i) found[1] = keys[i] > found[0] ? std::min(found[1], keys[i]) : found[1];
}

// numpy's linear percentiles of the values that are numbers.
void percentiles(const float* values, int64_t count, const double* percent, Ranking& s, float* found) {
  found[0] = found[1] = 0.0f;
  if (static_cast<int64_t>(s.keys.size()) < count + kLanes) s.keys.resize(static_cast<size_t>(count + kLanes));
  int64_t finite;
  int least, most;
  order_keys(values, count, s.keys.data(), finite, least, most);
  if (finite == 0) return;
  const std::vector<int> sample = sample_keys(s.keys.data(), count);
  for (int k = 0; k < 2; ++k) {
    const double position = percent[k] / 100.0 * static_cast<double>(finite - 1);
    const int64_t rank = static_cast<int64_t>(position);
    int keys[2];
    select_ranks(s.keys.data(), count, finite, least, most, rank, sample, s.members, keys);
    const float a = value_of(keys[0]), b = rank + 1 < finite ? value_of(keys[1]) : a;
    found[k] = a + (b - a) * static_cast<float>(position - static_cast<double>(rank));
  }
}

SPECTROMER_WIDE void extremes(const float* values, int64_t count, float* found) {
  float low = INFINITY, high = -INFINITY;
  for (int64_t i = 0; i < count; ++i) {
    low = values[i] < low ? values[i] : low;
    high = values[i] > high ? values[i] : high;
  }
  found[0] = low;
  found[1] = high;
}

SPECTROMER_WIDE void to_heights(const float* values, int64_t count, ValueRange range, float margin, float height,
                                float* y) {
  for (int64_t i = 0; i < count; ++i) y[i] = height * (1.0f - height_share(values[i], range, margin));
}

// The heights one standard deviation above and below.
SPECTROMER_WIDE void to_band(const float* y, const float* ivar, int64_t count, float per_unit, float* upper,
                             float* lower) {
  for (int64_t i = 0; i < count; ++i) {
    const float reach = per_unit / sqrtf(ivar[i]);
    upper[i] = y[i] - reach;
    lower[i] = y[i] + reach;
  }
}

// ---- levels ----

SPECTROMER_WIDE void value_levels(const float* values, int64_t count, ValueRange range, float margin, uint8_t* levels) {
  for (int64_t i = 0; i < count; ++i) levels[i] = share_level(height_share(values[i], range, margin));
}

SPECTROMER_WIDE void error_levels(const float* values, const float* ivar, int64_t count, float per_unit,
                                  uint8_t* levels) {
  for (int64_t i = 0; i < count; ++i) {
    levels[i] = share_level(values[i] == values[i] ? per_unit / sqrtf(ivar[i]) : 0.0f);
  }
}

// Draws bins as squares, in the order of reading or turning at the end of each row.
void draw_blocks(const uint8_t* levels, int64_t count, const RenderArgs& a, std::vector<uint8_t>& line,
                 uint8_t* plane) {
  constexpr int64_t kStore = 8;  // bytes written at a time; what is too much the next square overwrites
  const int64_t side = a.size / a.block;
  line.resize(static_cast<size_t>(a.size + kStore));
  for (int64_t row = 0; row < side; ++row) {
    std::fill(line.begin(), line.end(), uint8_t{0});
    for (int64_t column = 0; column < side; ++column) {
      const bool back = a.boustrophedon && row % 2 == 1;
      const int64_t i = row * side + (back ? side - 1 - column : column);
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

// Inks the share of each pixel column that marked bins cover; a bin reaches half-way to its neighbours.
void draw_columns(const float* x, const uint8_t* marked, int64_t count, int64_t width, int64_t height,
                  std::vector<float>& cover, uint8_t* plane) {
  cover.assign(static_cast<size_t>(width + 1), 0.0f);
  for (int64_t i = 0; i < count; ++i) {
    if (marked[i] == 0) continue;
    const float step = i + 1 < count ? x[i + 1] - x[i] : i > 0 ? x[i] - x[i - 1] : 2.0f * static_cast<float>(width);
    const float back = i > 0 ? x[i] - x[i - 1] : step;
    const float right = smaller(x[i] + 0.5f * step, static_cast<float>(width));
    float left = larger(x[i] - 0.5f * back, 0.0f);
    while (left < right) {
      const int64_t column = static_cast<int64_t>(left);
      const float end = smaller(right, static_cast<float>(column + 1));
      cover[column] += end - left;
      left = end;
    }
  }
  for (int64_t column = 0; column < width; ++column) plane[column] = share_level(cover[column]);
  for (int64_t row = 1; row < height; ++row) std::memcpy(plane + row * width, plane, static_cast<size_t>(width));
}

// ---- planes to channels ----

// `count` pixels, from `begin` on, of one channel of one image from its planes [planes, pixels]. Most strips of most
// pictures are blank.
template <class Value>
SPECTROMER_INLINE void put_strip(const RenderArgs& a, int64_t channel, const uint8_t* planes, int64_t begin,
                                 int64_t count, Value* to) {
  const int64_t pixels = a.size * a.size;
  const float factor = a.factor[channel], offset = a.offset[channel];
  const int64_t first = a.inks != nullptr || a.colormap != nullptr ? 0 : channel;
  const int64_t end = a.inks != nullptr ? a.planes() : first + 1;
  const float ground = a.light ? 255.0f : 0.0f;
  uint8_t any = 0;
  for (int64_t k = first; k < end; ++k) {
    for (int64_t i = 0; i < count; ++i) any |= planes[k * pixels + begin + i];
  }
  if (any == 0) {
    Value blank;
    put_level(a.colormap != nullptr ? a.colormap[channel] : static_cast<int>(ground), factor, offset, blank);
    for (int64_t i = 0; i < count; ++i) to[i] = blank;
    return;
  }
  int level[kStrip];
  if (a.colormap != nullptr) {
    for (int64_t i = 0; i < count; ++i) level[i] = a.colormap[3 * planes[begin + i] + channel];
  } else {
    float value[kStrip];
    for (int64_t i = 0; i < count; ++i) value[i] = ground;
    for (int64_t k = first; k < end; ++k) {
      const float ink = a.inks != nullptr ? a.inks[3 * k + channel] : 255.0f - ground;
      const float share = a.alpha[k] / 255.0f;
      const uint8_t* plane = planes + k * pixels + begin;
      for (int64_t i = 0; i < count; ++i) value[i] = inked(value[i], ink, share, plane[i]);
    }
    for (int64_t i = 0; i < count; ++i) level[i] = static_cast<int>(value[i] + 0.5f);
  }
  for (int64_t i = 0; i < count; ++i) put_level(level[i], factor, offset, to[i]);
}

template <class Value>
SPECTROMER_INLINE void put_channel(const RenderArgs& a, int64_t channel, const uint8_t* planes, Value* out) {
  const int64_t pixels = a.size * a.size;
  int64_t begin = 0;
  for (; begin + kStrip <= pixels; begin += kStrip) put_strip(a, channel, planes, begin, kStrip, out + begin);
  if (begin < pixels) put_strip(a, channel, planes, begin, pixels - begin, out + begin);
}

// All channels of one image.
SPECTROMER_WIDE void put_image(const RenderArgs& a, const uint8_t* planes, int64_t image) {
  const int64_t pixels = a.size * a.size;
  for (int64_t channel = 0; channel < a.channels(); ++channel) {
    const int64_t at = (image * a.channels() + channel) * pixels;
    if (a.type == PixelType::uint8) {
      put_channel(a, channel, planes, static_cast<uint8_t*>(a.out) + at);
    } else if (a.type == PixelType::float32) {
      put_channel(a, channel, planes, static_cast<float*>(a.out) + at);
    } else {
      put_channel(a, channel, planes, static_cast<uint16_t*>(a.out) + at);
    }
  }
}

// ---- a group of spectra ----

bool shows(const RenderArgs& a, Quantity quantity) {
  return std::find(a.quantities, a.quantities + a.quantity_count, static_cast<int>(quantity)) !=
         a.quantities + a.quantity_count;
}

struct RenderScratch {
  ResampleScratch resample;
  RasterScratch raster;
  std::vector<float> flux, ivar;        // [spectra, bins] resampled
  std::vector<float> x;                 // [spectra, bins] of own pixels
  std::vector<float> value, series;     // [spectra, bins] good fluxes of own pixels, derivatives
  std::vector<float> y, upper, lower;   // [spectra, bins] heights
  std::vector<float> cover;             // [size + 1]
  Ranking ranking;
  std::vector<uint8_t> marked, levels;  // [bins]
  std::vector<uint8_t> line;            // [size] and some, of squares
  std::vector<uint8_t> planes;          // [spectra, planes, size, size], where they are not the image itself
};

class Renderer {
 public:
  explicit Renderer(const RenderArgs& args)
      : a_(args), own_(args.spectra.bins == 0), resampler_(args.spectra, shows(args, Quantity::error)),
        canvas_{args.rows ? args.size / args.panels : args.size, args.size, args.linewidth, args.subcolumns} {
    stride_ = own_ ? args.spectra.pixels : args.spectra.bins;
    direct_ = a_.inks == nullptr && a_.colormap == nullptr && !a_.light && a_.type == PixelType::uint8;
    for (int64_t k = 0; k < a_.planes(); ++k) direct_ = direct_ && a_.alpha[k] == 1.0f;
    if (!own_) {
      const int64_t points = stride_ / a_.panels;
      const float step = static_cast<float>(static_cast<double>(a_.size) / static_cast<double>(std::max<int64_t>(points, 1)));
      for (int64_t i = 0; i < points; ++i) x_.push_back((static_cast<float>(i) + 0.5f) * step);
    }
  }

  // One panel fills the lanes with spectra, several with panels.
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
    for (int64_t r = 0; r < spectra.count; ++r) put_image(a_, planes + r * per_image, begin + r);
  }

 private:
  struct Spectra {
    int64_t begin, count;
    int64_t bins[kGroup];  // of each spectrum, that are drawn
    const float* flux[kGroup];
    const float* ivar[kGroup];
    const uint8_t* marks[kGroup];
    float* value[kGroup];  // the good fluxes, NaN elsewhere; where the flux is scratch, they take its place
  };

  // What is drawn: resampled bins, or own pixels from the first good one to the last.
  void gather(Spectra& spectra, RenderScratch& s) const {
    const size_t values = static_cast<size_t>(group() * stride_);
    s.y.resize(values);
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
      s.ivar.resize(values);
      resampler_.run(spectra.begin, spectra.count, s.flux.data(), s.ivar.data(), s.resample);
      for (int64_t r = 0; r < spectra.count; ++r) {
        spectra.bins[r] = stride_;
        spectra.flux[r] = spectra.value[r] = s.flux.data() + r * stride_;
        spectra.ivar[r] = s.ivar.data() + r * stride_;
        if (a_.marks != nullptr) spectra.marks[r] = a_.marks + (a_.shared_marks ? 0 : (spectra.begin + r) * stride_);
      }
    }
    for (int64_t r = 0; r < spectra.count; ++r) {
      mask_values(spectra.flux[r], spectra.ivar[r], spectra.bins[r], spectra.value[r]);
    }
  }

  void gather_own(Spectra& spectra, int64_t r, float* x) const {
    const SpectrumRow row = spectrum_row(a_.spectra, spectra.begin + r);
    int64_t first = row.begin, end = row.end;
    while (first < end && !row.good(first)) ++first;
    while (end > first && !row.good(end - 1)) --end;
    spectra.bins[r] = end - first;
    spectra.flux[r] = row.flux + (first - row.begin);
    spectra.ivar[r] = row.ivar + (first - row.begin);
    if (a_.marks != nullptr) spectra.marks[r] = a_.marks + (spectra.flux[r] - a_.spectra.flux);
    for (int64_t panel = 0; panel < a_.panels; ++panel) {
      const int64_t from = panel_start(end - first, a_.panels, panel);
      const int64_t to = panel_start(end - first, a_.panels, panel + 1);
      const auto place = [&](int64_t i) {
        return a_.log_axis ? std::log(row.wavelength[first + i]) : row.wavelength[first + i];
      };
      if (from == to) continue;
      const double start = place(from), span = to - from > 1 ? place(to - 1) - start : 1.0;
      const double side = static_cast<double>(a_.side_margin), size = static_cast<double>(a_.size);
      for (int64_t i = from; i < to; ++i) {
        x[i] = static_cast<float>(size * (side + (1.0 - 2.0 * side) * ((place(i) - start) / span)));
      }
    }
  }

  // Where the x of bin i of spectrum r is found; those of the panels repeat unless they are own pixels.
  const float* x_of(const RenderScratch& s, int64_t r, int64_t i) const {
    return own_ ? s.x.data() + r * stride_ + i : x_.data();
  }

  ValueRange range_of(const float* values, int64_t count, Quantity quantity, RenderScratch& s) const {
    float found[2] = {a_.fixed_low, a_.fixed_high};
    const bool derivative = quantity == Quantity::first || quantity == Quantity::second;
    if (a_.scale == Scale::minmax) {
      extremes(values, count, found);
    } else if (a_.scale == Scale::percentile || derivative) {
      percentiles(values, count, a_.percentiles, s.ranking, found);
    }
    return value_range(found[0], found[1]);
  }

  uint8_t* place_of(uint8_t* planes, int64_t r, int64_t quantity, int64_t panel) const {
    const int64_t before = a_.rows ? quantity : quantity * a_.panels + panel;
    const int64_t pixels = a_.size * a_.size;
    return planes + (r * a_.planes() + before) * pixels + (a_.rows ? panel * canvas_.height * canvas_.width : 0);
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
      if (quantity == Quantity::first || quantity == Quantity::second) {
        float* series = s.series.data() + r * stride_;
        take_gradient(values, spectra.bins[r], series);
        if (quantity == Quantity::second) {
          std::copy_n(series, spectra.bins[r], s.y.data() + r * stride_);
          take_gradient(s.y.data() + r * stride_, spectra.bins[r], series);
        }
        values = series;
      }
      const bool columns = quantity == Quantity::mask || quantity == Quantity::regions;
      ValueRange range{0.0f, 1.0f, true};
      if (!columns && !a_.per_panel) range = range_of(values, spectra.bins[r], quantity, s);
      for (int64_t panel = 0; panel < a_.panels; ++panel) {
        const int64_t from = panel_start(spectra.bins[r], a_.panels, panel);
        const int64_t count = panel_start(spectra.bins[r], a_.panels, panel + 1) - from;
        if (!columns && a_.per_panel) range = range_of(values + from, count, quantity, s);
        // One sigma, as a share of the height.
        const float sigma = range.flat ? NAN : (1.0f - 2.0f * a_.margin) / range.span;
        const int64_t at = r * stride_ + from;
        uint8_t* plane = place_of(planes, r, q, panel);
        if (columns) {
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
          error_levels(values + from, spectra.ivar[r] + from, count, sigma, s.levels.data());
        } else if (a_.block != 0) {
          value_levels(values + from, count, range, a_.margin, s.levels.data());
        } else {
          to_heights(values + from, count, range, a_.margin, height, s.y.data() + at);
          if (quantity == Quantity::error) {
            to_band(s.y.data() + at, spectra.ivar[r] + from, count, height * sigma, s.upper.data() + at,
                    s.lower.data() + at);
          }
          continue;
        }
        draw_blocks(s.levels.data(), count, a_, s.line, plane);
      }
    }
    if (a_.block == 0 && quantity != Quantity::mask && quantity != Quantity::regions) {
      draw_lines(spectra, q, quantity, planes, s);
    }
  }

  // Draws the lines or bands whose heights have been found, as many side by side as share their x.
  void draw_lines(const Spectra& spectra, int64_t q, Quantity quantity, uint8_t* planes, RenderScratch& s) const {
    const float *upper[kMostLanes], *lower[kMostLanes];
    uint8_t* out[kMostLanes];
    int64_t images = 0;
    for (int64_t r = 0; r < spectra.count; ++r) {
      for (int64_t panel = 0; panel < a_.panels; ++panel) {
        const int64_t from = panel_start(spectra.bins[r], a_.panels, panel);
        const int64_t count = panel_start(spectra.bins[r], a_.panels, panel + 1) - from;
        const float* heights = (quantity == Quantity::error ? s.upper : s.y).data();
        upper[images] = heights + r * stride_ + from;
        lower[images] = s.lower.data() + r * stride_ + from;
        out[images++] = place_of(planes, r, q, panel);
        const bool last = r + 1 == spectra.count && panel + 1 == a_.panels;
        const bool alone = own_ || (a_.coverage == Coverage::agg && quantity != Quantity::error);
        if (!alone && !last && images < images_together()) continue;
        const float* x = x_of(s, r, from);
        if (quantity == Quantity::error) {
          draw_band(canvas_, x, upper, lower, count, images, out, s.raster);
        } else if (a_.coverage == Coverage::agg) {
          draw_agg(canvas_, x, upper[0], count, out[0], s.raster);
        } else {
          draw_union(canvas_, x, upper, count, images, out, s.raster);
        }
        images = 0;
      }
    }
  }

  const RenderArgs& a_;
  const bool own_;
  const Resampler resampler_;
  const Canvas canvas_;
  bool direct_;
  int64_t stride_;
  std::vector<float> x_;  // of the bins of one panel
};

}  // namespace

void render_cpu(const RenderArgs& args, int threads) {
  const Renderer renderer(args);
  parallel_for<RenderScratch>(args.spectra.rows, threads, renderer.group(),
                              [&](int64_t begin, int64_t end, RenderScratch& scratch) {
                                renderer.run(begin, end, scratch);
                              });
}

}  // namespace spectromer
