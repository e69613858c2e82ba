// Kernels of render.cpp, for one level.

// ---- values ----

// The good fluxes, NaN elsewhere.
inline void mask_values(const float* flux, const float* ivar, int64_t count, float* to) {
  for (int64_t i = 0; i < count; ++i) {
    const bool good = std::fabs(flux[i]) <= FLT_MAX && ivar[i] > 0.0f && ivar[i] <= FLT_MAX;
    to[i] = good ? flux[i] : std::numeric_limits<float>::quiet_NaN();
  }
}

inline void take_gradient(const float* values, int64_t count, float* to) {
  const auto at = [&](int64_t i) SPECTROMER_INLINE_LAMBDA { return i >= 0 && i < count ? values[i] : NAN; };
  if (count > 0) to[0] = gradient(NAN, values[0], at(1));
  for (int64_t i = 1; i + 1 < count; ++i) to[i] = gradient(values[i - 1], values[i], values[i + 1]);
  if (count > 1) to[count - 1] = gradient(at(count - 2), values[count - 1], NAN);
}

// ---- percentiles ----

constexpr int kNone = std::numeric_limits<int>::max();

// Values in the order of whole numbers.
SPECTROMER_INLINE Int order_of(const Float& v) {
  const Int bits = (Int)v;
  return bits ^ ((bits >> 31) & 0x7fffffff);
}

inline float value_of(int key) {
  const int bits = key ^ ((key >> 31) & 0x7fffffff);
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// Keys in whole vectors, filled up with kNone.
struct Keys {
  int* key;
  int64_t count;

  inline int64_t up_to(int most) const {
    Int sum = {};
    for (int64_t i = 0; i < count; i += kLanes) sum = sum_where(~less(all(most), load(key + i)), sum, all(1));
    return sum_of(sum);
  }

  // The least key above `bound`, and the greatest up to it.
  inline int least_above(int bound) const {
    Int found = all(kNone);
    for (int64_t i = 0; i < count; i += kLanes) {
      found = least(found, choose(less(all(bound), load(key + i)), load(key + i), all(kNone)));
    }
    return least_of(found);
  }

  inline int greatest_up_to(int bound) const {
    const Int none = all(std::numeric_limits<int>::min());
    Int found = none;
    for (int64_t i = 0; i < count; i += kLanes) {
      found = most(found, choose(less(all(bound), load(key + i)), none, load(key + i)));
    }
    return ~least_of(~found);
  }

  // The key of a rank, from 0.
  inline int of_rank(int64_t rank) const {
    int low = least_above(std::numeric_limits<int>::min()), high = greatest_up_to(kNone);
    while (low < high) {
      const int middle = static_cast<int>((static_cast<int64_t>(low) + high) >> 1);
      const int64_t reached = up_to(middle);
      if (reached == rank + 1) return greatest_up_to(middle);
      if (reached > rank) high = middle; else low = middle + 1;
    }
    return low;
  }
};

// The ranks of a series of values. Values lie in sets of about one size; as each set's least is a value of its own, at
// least n values, and seldom many more, are as low as the n-th of these. So few values need to be put in order for
// ranks near either end.
class Ranking {
 public:
  inline Ranking(const float* values, int64_t count, std::vector<int>& room) : values_(values), count_(count) {
    blocks_ = (count + kBlock - 1) / kBlock;
    room.resize(static_cast<size_t>(2 * blocks_ * kLanes + count + 2 * kLanes));
    for (int side = 0; side < 2; ++side) sets_[side] = Keys{room.data() + side * blocks_ * kLanes, blocks_ * kLanes};
    members_ = Keys{room.data() + 2 * blocks_ * kLanes, 0};
    Int numbers = {};
    for (int64_t block = 0; block < blocks_; ++block) {
      Float low = all(INFINITY), high = all(-INFINITY);
      for (int64_t i = block * kBlock; i < (block + 1) * kBlock; i += kLanes) {
        const Float value = at(i);
        low = least(value, low);  // where the value is NaN, what there was
        high = most(value, high);
        numbers = sum_where(~is_nan(value), numbers, all(1));
      }
      store(sets_[0].key + block * kLanes, set_key(low));
      store(sets_[1].key + block * kLanes, set_key(-high));
    }
    finite = sum_of(numbers);
  }

  int64_t finite;  // values that are numbers

  // The values of a rank below `finite` and of the next, or the same if there is none, counted from the lowest (side 0)
  // or from the highest (side 1).
  inline void find(int64_t rank, int side, float* found) {
    const Keys& sets = sets_[side];
    const int bound = sets.up_to(kNone - 1) >= rank + 2 ? sets.of_rank(rank + 1) : kNone - 1;
    const float sign = side == 0 ? 1.0f : -1.0f, highest = bound < kNone - 1 ? value_of(bound) : INFINITY;
    members_.count = 0;
    for (int64_t block = 0; block < blocks_; ++block) {
      if (!any(~less(all(bound), load(sets.key + block * kLanes)))) continue;
      for (int64_t i = block * kBlock; i < (block + 1) * kBlock; i += kLanes) {
        const Float value = sign * at(i);
        const Mask wanted = at_most(value, all(highest));
        store_together(members_.key + members_.count, wanted, order_of(value));
        members_.count += __builtin_popcount(lanes_of(wanted));
      }
    }
    while (members_.count % kLanes != 0) members_.key[members_.count++] = kNone;
    const int key = members_.of_rank(rank);
    const int next = members_.up_to(key) > rank + 1 ? key : members_.least_above(key);
    found[0] = sign * value_of(key);
    found[1] = next == kNone ? found[0] : sign * value_of(next);
  }

 private:
  static constexpr int64_t kBlock = 16 * kLanes;  // values, as many sets as there are lanes

  // kLanes values, NaN behind the last.
  SPECTROMER_INLINE Float at(int64_t i) const {
    if (i + kLanes <= count_) return load(values_ + i);
    const Mask there = mask_of((1u << std::max<int64_t>(count_ - i, 0)) - 1u);
    return choose(there, load_between(values_, i, count_), all(std::numeric_limits<float>::quiet_NaN()));
  }

  static SPECTROMER_INLINE Int set_key(const Float& least_value) {
    return choose(less(least_value, all(INFINITY)), order_of(least_value), all(kNone));
  }

  const float* values_;
  int64_t count_, blocks_;
  Keys sets_[2], members_;
};

// numpy's linear percentiles of the values that are numbers.
inline void percentiles(const float* values, int64_t count, const double* percent, std::vector<int>& room,
                        float* found) {
  found[0] = found[1] = 0.0f;
  Ranking ranking(values, count, room);
  const int64_t finite = ranking.finite;
  for (int k = 0; k < 2 && finite > 0; ++k) {
    const double position = percent[k] / 100.0 * static_cast<double>(finite - 1);
    const int64_t rank = static_cast<int64_t>(position);
    float near[2];  // the values of the rank and the next
    if (rank + 1 < finite && 2 * rank > finite) {
      ranking.find(finite - 2 - rank, 1, near);
      std::swap(near[0], near[1]);
    } else if (rank + 1 < finite) {
      ranking.find(rank, 0, near);
    } else {
      ranking.find(0, 1, near);
      near[1] = near[0];
    }
    found[k] = near[0] + (near[1] - near[0]) * static_cast<float>(position - static_cast<double>(rank));
  }
}

// ---- heights and levels ----

inline void extremes(const float* values, int64_t count, float* found) {
  float low = INFINITY, high = -INFINITY;
  for (int64_t i = 0; i < count; ++i) {
    low = values[i] < low ? values[i] : low;
    high = values[i] > high ? values[i] : high;
  }
  found[0] = low;
  found[1] = high;
}

inline void to_heights(const float* values, int64_t count, ValueRange range, float margin, float height, float* y) {
  for (int64_t i = 0; i < count; ++i) y[i] = height * (1.0f - height_share(values[i], range, margin));
}

// The heights one standard deviation above and below.
inline void to_band(const float* y, const float* ivar, int64_t count, float per_unit, float* upper,
                    float* lower) {
  for (int64_t i = 0; i < count; ++i) {
    const float reach = per_unit / sqrtf(ivar[i]);
    upper[i] = y[i] - reach;
    lower[i] = y[i] + reach;
  }
}

inline void value_levels(const float* values, int64_t count, ValueRange range, float margin, uint8_t* levels) {
  for (int64_t i = 0; i < count; ++i) levels[i] = share_level(height_share(values[i], range, margin));
}

inline void error_levels(const float* values, const float* ivar, int64_t count, float per_unit,
                         uint8_t* levels) {
  for (int64_t i = 0; i < count; ++i) {
    levels[i] = share_level(values[i] == values[i] ? per_unit / sqrtf(ivar[i]) : 0.0f);
  }
}

// ---- planes to channels ----

constexpr int kStrip = 64;  // pixels brought together at a time

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
inline void put_image(const RenderArgs& a, const uint8_t* planes, int64_t image) {
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

