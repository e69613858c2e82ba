// The area that the edges of an outline cover, summed as Anti-Grain Geometry does. One target's code.
#include <cstring>

#include "simd/vector.h"

#if defined(SPECTROMER_CPU_AGG_AREA_INL_H) == defined(SPECTROMER_TARGET_TOGGLE)
#ifdef SPECTROMER_CPU_AGG_AREA_INL_H
#undef SPECTROMER_CPU_AGG_AREA_INL_H
#else
#define SPECTROMER_CPU_AGG_AREA_INL_H
#endif

SPECTROMER_BEGIN_TARGET;
namespace spectromer::SPECTROMER_TARGET {

constexpr int64_t kTile = 16;       // columns written to the image together
constexpr int kRows = kShortLanes;  // rows processed together; few edges cross more

// Adds to kRows values.
SPECTROMER_INLINE void add_short(float* to, const Short& v) {
  Short sum;
  std::memcpy(&sum, to, sizeof sum);
  sum += v;
  std::memcpy(to, &sum, sizeof sum);
}

// The signed area of each pixel that edges cover, as differences from column to column. Their prefix sum is the winding
// integral. The rows of a column are contiguous.
//
// The edges in all lanes are cut into parts at the borders of columns, and the parts into blocks of kRows rows. The
// blocks are queued in a list, so that they are added without branches.
class Area {
 public:
  // cells: [width + 2, column_stride], where the stride is the height, rounded up to a multiple of kTile. room: kRoom
  // values.
  SPECTROMER_INLINE Area(float* cells, int64_t column_stride, int64_t image_height, int64_t image_width, float* room)
      : cell(cells), stride(column_stride), height(static_cast<float>(image_height)),
        width(static_cast<float>(image_width)), parts_(room), part_count_(0), block_count_(0) {}

  float* const cell;
  const int64_t stride;
  const float height, width;

  static constexpr int64_t kFields = 5,
                           kMost = 1024;  // values of a part; maximum number of parts or blocks in the list
  static constexpr int64_t kRoom = kFields * kMost;

  // Adds edges from (x0, y0) to (x1, y1), or reversed if `side` is -1.
  SPECTROMER_INLINE void add_edges(const Float& x0, const Float& y0, const Float& x1, const Float& y1, float side,
                                   const Mask& wanted) {
    const Mask down = lt(y0, y1);
    const Float upper_x = select(down, x0, x1), upper_y = select(down, y0, y1);
    const Float lower_x = select(down, x1, x0), lower_y = select(down, y1, y0);
    const Float top = max(upper_y, Float{}), bottom = min(lower_y, splat(height));
    const Mask drawn = wanted & lt(top, bottom);
    if (!any_true(drawn)) return;
    const Float slope = (lower_x - upper_x) / select(drawn, lower_y - upper_y, splat(1.0f));
    const Float from = select(lt(upper_y, Float{}), upper_x - slope * upper_y, upper_x);
    const Float to = select(lt(splat(height), lower_y), upper_x + slope * (height - upper_y), lower_x);
    const Float sign = select(down, splat(side), splat(-side));
    const Mask inside = drawn & le(Float{}, min(from, to)) & le(max(from, to), splat(width));
    add_inside(from, top, to, bottom, slope, sign, inside);
    for (unsigned bits = bits_from_mask(drawn & ~inside); bits != 0; bits &= bits - 1) {
      const int k = __builtin_ctz(bits);
      add_across(from[k], top[k], to[k], bottom[k], slope[k], sign[k]);
    }
  }

  // Adds a single edge, of a cap.
  SPECTROMER_INLINE void add_edge(float x0, float y0, float x1, float y1) {
    add_edges(splat(x0), splat(y0), splat(x1), splat(y1), 1.0f, mask_from_bits(1));
  }

  // Adds all blocks in the list to the cells.
  inline void flush() {
    Short ramp;
    for (int k = 0; k < kRows; ++k) ramp[k] = static_cast<float>(k);
    for (int64_t i = 0; i < block_count_; ++i) {
      const float* part = parts_ + (blocks_[i] & 0xffff);
      const Short row = static_cast<float>(blocks_[i] >> 16) + ramp;
      const Short from = max(row, part[0]), to = min(row + 1.0f, part[kMost]);
      const Short covered = part[4 * kMost] * max(to - from, 0.0f);
      const Short right = covered * (part[2 * kMost] + part[3 * kMost] * (from + to));
      add_short(cell + places_[i], covered - right);
      add_short(cell + places_[i] + stride, right);
    }
    block_count_ = 0;
  }

 private:
  // Adds edges from (from, top) down to (to, bottom) within the image, column by column.
  SPECTROMER_INLINE void add_inside(const Float& from, const Float& top, const Float& to, const Float& bottom,
                                    const Float& slope, const Float& sign, Mask inside) {
    const Int last = convert_to_int(select(inside, to, Float{}));
    Int column = convert_to_int(select(inside, from, Float{}));
    const Mask forward = lt(column, last);
    const Int step = select(forward, splat(1), splat(-1)), beyond = select(forward, splat(1), splat(0));
    const Float per_column = (bottom - top) / (to - from);
    Float y = top;
    while (any_true(inside)) {
      const Mask ends = eq(column, last);
      const Float border = convert_to_float(column + beyond);
      const Float end = select(ends, bottom, min(max(top + (border - from) * per_column, y), bottom));
      add_parts(column, from - slope * top - convert_to_float(column), y, end, slope, sign, inside);
      inside = inside & ~ends;
      y = end;
      column += step;
    }
  }

  // Adds an edge that leaves the image at the left or at the right. Its part left of the image is moved to the border,
  // and its part right of the image is ignored.
  inline void add_across(float from, float top, float to, float bottom, float slope, float sign) {
    const float x0 = from, y0 = top;
    const auto y_at = [&](float x) { return clamp(y0 + (x - x0) / slope, top, bottom); };
    if (max(from, to) > width) {
      if (min(from, to) > width) return;
      const float at = y_at(width);
      (from > width ? top : bottom) = at;
      (from > width ? from : to) = width;
    }
    if (min(from, to) < 0.0f) {
      const bool outside = max(from, to) < 0.0f, enters = from < to;
      const float at = outside ? (enters ? bottom : top) : y_at(0.0f);
      add_parts(Int{}, Float{}, splat(enters ? top : at), splat(enters ? at : bottom), Float{}, splat(sign),
                mask_from_bits(1));
      if (outside) return;
      (enters ? top : bottom) = at;
      (enters ? from : to) = 0.0f;
    }
    // (An edge that is not finite would lie outside the cells.)
    if (!(from >= 0.0f && from <= width && to >= 0.0f && to <= width)) return;
    add_inside(splat(from), splat(top), splat(to), splat(bottom), splat(slope), splat(sign), mask_from_bits(1));
  }

  // Adds parts of edges that lie in one column each; x is the position of a part's line at y = 0, relative to the
  // column.
  SPECTROMER_INLINE void add_parts(const Int& column, const Float& x, const Float& top, const Float& bottom,
                                   const Float& slope, const Float& sign, Mask wanted) {
    if (part_count_ > kMost - kLanes) {
      flush();
      part_count_ = 0;
    }
    float* part = parts_ + part_count_;
    store(part, top);
    store(part + kMost, bottom);
    store(part + 2 * kMost, x);
    store(part + 3 * kMost, 0.5f * slope);
    store(part + 4 * kMost, sign);
    Int row = convert_to_int(select(wanted, top, Float{})) & ~(kRows - 1);
    const Int number = iota() + static_cast<int>(part_count_), place = column * static_cast<int>(stride);
    part_count_ += kLanes;
    for (wanted = wanted & lt(top, bottom); any_true(wanted); wanted = wanted & lt(convert_to_float(row), bottom)) {
      if (block_count_ > kMost - kLanes) flush();
      compress_store(blocks_ + block_count_, wanted, (row << 16) | number);
      compress_store(places_ + block_count_, wanted, place + row);
      block_count_ += __builtin_popcount(bits_from_mask(wanted));
      row += kRows;
    }
  }

  float* parts_;  // [kFields, kMost] top, bottom, x at y = 0, half the growth of x per row, and 1 or -1
  int64_t part_count_;
  int blocks_[kMost],
      places_[kMost];  // the first row (upper 16 bits) and the number of the part (lower 16 bits); the cell
  int64_t block_count_;
};

}  // namespace spectromer::SPECTROMER_TARGET
SPECTROMER_END_TARGET;

#endif
