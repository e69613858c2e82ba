// Images from the intersections of strokes or bands with sub-columns, kLanes images at a time. One target's code.
#include <algorithm>
#include <cstring>
#include <type_traits>
#include <vector>

#include "raster.h"
#include "simd/vector.h"

#if defined(SPECTROMER_CPU_RASTER_CELLS_INL_H) == defined(SPECTROMER_TARGET_TOGGLE)
#ifdef SPECTROMER_CPU_RASTER_CELLS_INL_H
#undef SPECTROMER_CPU_RASTER_CELLS_INL_H
#else
#define SPECTROMER_CPU_RASTER_CELLS_INL_H
#endif

SPECTROMER_BEGIN_TARGET;
namespace spectromer::SPECTROMER_TARGET {

constexpr int kTile = 16;  // columns drawn together

// The interval of one vertical line that the stroke covers, in each lane.
struct Hits {
  Float top, bottom;

  SPECTROMER_INLINE Hits() : top(splat(INFINITY)), bottom(splat(-INFINITY)) {}

  // NaN, which stands for a broken line, changes nothing.
  SPECTROMER_INLINE void widen(const Float& upper, const Float& lower) {
    top = min(upper, top);
    bottom = max(lower, bottom);
  }
};

// Enlarges a table if necessary. Its old content may be lost, and new elements are not initialised.
template <class T>
inline void make_room(std::vector<T>& table, int64_t values) {
  if (static_cast<int64_t>(table.size()) < values) table.resize(static_cast<size_t>(values));
}

// The sum of two cells. Before all ends have been added, it may be too large and wrap round.
template <class Cell>
SPECTROMER_INLINE Cell sum_of(Cell a, Cell b) {
  typedef std::make_unsigned_t<Cell> Unsigned;
  return static_cast<Cell>(static_cast<Unsigned>(a) + static_cast<Unsigned>(b));
}

// Storage and summation of the ends of intervals. An end at height e in row j adds the fraction e - j ("part") to that
// row, and subtracts a whole sub-column ("weight") from that row and all rows below. A cell, for one row and column,
// holds both sums: the parts in its lower half, and the weights in its upper half.
//
// 16 bits for each are enough for few sub-columns and rows, which is the usual case.
struct NarrowCells {
  typedef int Cell;
  static constexpr int kMostSubcolumns = 16;
  static constexpr int64_t kMostRows = (1 << 15) / kTile - 1;
  static constexpr int kBits = 7;    // of the fraction of a grey level
  static constexpr int kValues = 1;  // per end in the table: its place (upper 16 bits) and its part (lower 16 bits)

  static SPECTROMER_INLINE int weight(int subcolumns) { return (255 << kBits) / subcolumns; }
  static SPECTROMER_INLINE Cell cell(int weight, int part) { return (weight << 16) + part; }

  static SPECTROMER_INLINE void put(int* to, const Int& place, const Int& part) { store(to, (place << 16) | part); }

  static SPECTROMER_INLINE Cell take(const int* from, Cell weight, int64_t& place) {
    place = *from >> 16;
    return weight + (*from & 0xffff);
  }

  // Converts the cells of a row to grey levels and zeroes them.
  struct Columns {
    Int above[kTile / kLanes];  // sums of the weights, from the top row to the last one

    SPECTROMER_INLINE Columns() : above{} {}

    SPECTROMER_INLINE void next_row(Cell* cells, float, uint8_t* level) {
      for (int v = 0; v < kTile / kLanes; ++v) {
        const Int cell = load(cells + v * kLanes), part = (cell << 16) >> 16;
        store(cells + v * kLanes, Int{});
        above[v] += cell - part;
        store_bytes(level + v * kLanes, (part - (above[v] >> 16) + (1 << (kBits - 1))) >> kBits);
      }
    }
  };
};

// 32 bits for each, for any number of sub-columns and rows.
struct WideCells {
  typedef int64_t Cell;
  static constexpr int kValues = 2;

  static SPECTROMER_INLINE int weight(int subcolumns) { return subcolumn_weight(subcolumns); }
  static SPECTROMER_INLINE Cell cell(int weight, int part) { return weight * (int64_t{1} << 32) + part; }

  static SPECTROMER_INLINE void put(int* to, const Int& place, const Int& part) {
    store(to, place);
    store(to + kLanes, part);
  }

  static SPECTROMER_INLINE Cell take(const int* from, Cell weight, int64_t& place) {
    place = *from;
    return weight + from[kLanes];
  }

  struct Columns {
    int64_t above[kTile];  // as in NarrowCells

    SPECTROMER_INLINE Columns() : above{} {}

    SPECTROMER_INLINE void next_row(Cell* cells, float scale, uint8_t* level) {
      for (int column = 0; column < kTile; ++column) {
        const int64_t part = static_cast<int32_t>(cells[column]);
        above[column] += (cells[column] - part) >> 32;
        cells[column] = 0;
        level[column] = to_level(static_cast<int>(part - above[column]), scale);
      }
    }
  };
};

// Converts the cells of one tile of an image to grey levels. Only the rows [from, to) may have been drawn on; all
// others are 0 already.
template <class Cells>
SPECTROMER_INLINE void resolve_tile(typename Cells::Cell* cells, int64_t from, int64_t to, float scale, int64_t columns,
                                    int64_t height, int64_t width, uint8_t* out) {
  typename Cells::Columns in_columns;
  for (int64_t row = from; row < to; ++row) {
    if (columns == kTile) {
      in_columns.next_row(cells + row * kTile, scale, out + row * width);
    } else {
      uint8_t level[kTile];
      in_columns.next_row(cells + row * kTile, scale, level);
      std::memcpy(out + row * width, level, static_cast<size_t>(columns));
    }
  }
  std::memset(cells + height * kTile, 0, kTile * sizeof *cells);
}

// Draws images tile by tile. Calls prepare(left, right) for each tile, then meet_subcolumn(slot, at) for each of its
// sub-columns, which returns the Hits in all lanes.
template <class Cells, class Prepare, class Meet>
SPECTROMER_INLINE void draw(const Canvas& c, uint8_t* const* out, UnionScratch& s, Prepare prepare,
                            Meet meet_subcolumn) {
  typedef typename Cells::Cell Cell;
  constexpr int64_t kEnd = Cells::kValues * kLanes, kSlot = 2 * kEnd;  // values per end, and per sub-column
  make_room(s.edges, kTile * c.subcolumns * kSlot);
  s.cells.assign(static_cast<size_t>((c.height + 1) * kTile), 0);
  Cell* cells = reinterpret_cast<Cell*>(s.cells.data());
  const int weight = Cells::weight(c.subcolumns);
  const Cell whole = Cells::cell(weight, 0);
  const float scale = 255.0f / static_cast<float>(weight * c.subcolumns);
  const float step = 1.0f / static_cast<float>(c.subcolumns);
  const Float height = splat(static_cast<float>(c.height));
  for (int lane = 0; lane < kLanes; ++lane) {
    if (out[lane] != nullptr) std::memset(out[lane], 0, static_cast<size_t>(c.height * c.width));
  }
  for (int64_t left = 0; left < c.width; left += kTile) {
    const int64_t columns = std::min<int64_t>(kTile, c.width - left);
    prepare(static_cast<float>(left), static_cast<float>(left + columns));
    Float highest = height, lowest = {};
    s.rest.clear();
    int64_t slot = 0;
    for (int column = 0; column < columns; ++column) {
      const auto put = [&](int* to, const Float& end, const Mask& drawn) SPECTROMER_INLINE_LAMBDA {
        const Float inside = min(max(end, Float{}), height);
        const Int row = convert_to_int(inside);
        const Int part = convert_to_int(static_cast<float>(weight) * (inside - convert_to_float(row)) + 0.5f);
        // Where nothing is drawn, both ends lie at the top and cancel.
        Cells::put(to, select(drawn, row * kTile, Int{}) + column, select(drawn, part, Int{}));
      };
      for (int k = 0; k < c.subcolumns; ++k, ++slot) {
        const float at = static_cast<float>(left) + (static_cast<float>(slot) + 0.5f) * step;
        const Hits hits = meet_subcolumn(slot, at);
        const Mask drawn = lt(hits.top, hits.bottom) & lt(Float{}, hits.bottom) & lt(hits.top, height);
        int* to = s.edges.data() + slot * kSlot;
        put(to, hits.bottom, drawn);
        put(to + kEnd, hits.top, drawn);
        highest = select(drawn, min(hits.top, highest), highest);
        lowest = select(drawn, max(hits.bottom, lowest), lowest);
      }
    }
    for (int lane = 0; lane < kLanes; ++lane) {
      if (out[lane] == nullptr) continue;
      int64_t from = static_cast<int64_t>(max(highest[lane], 0.0f));
      int64_t to = std::min(static_cast<int64_t>(min(lowest[lane], height[lane])) + 1, c.height);
      const int* ends = s.edges.data() + lane;
      for (int64_t i = 0; i < slot; ++i, ends += kSlot) {
        int64_t bottom, top;
        const Cell added = Cells::take(ends, whole, bottom), taken = Cells::take(ends + kEnd, whole, top);
        cells[bottom] = sum_of(cells[bottom], added);
        cells[top] = sum_of(cells[top], -taken);
      }
      for (const UnionScratch::Rest& rest : s.rest) {
        if (rest.lane != lane) continue;
        const int64_t column = rest.slot / c.subcolumns;
        const auto add = [&](float end, Cell sign) {
          const Deposit deposit = edge_deposit(end, static_cast<float>(c.height), weight);
          Cell& cell = cells[deposit.row * kTile + column];
          cell = sum_of(cell, sign * Cells::cell(weight, -deposit.next));
        };
        add(rest.hit.bottom, 1);
        add(rest.hit.top, -1);
        from = 0;
        to = c.height;
      }
      resolve_tile<Cells>(cells, std::min(from, to), to, scale, columns, c.height, c.width, out[lane] + left);
    }
  }
}

}  // namespace spectromer::SPECTROMER_TARGET
SPECTROMER_END_TARGET;

#endif
