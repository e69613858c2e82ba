// The part of a rendering that depends only on its arguments and not on the spectra, including the layout of a block's
// shared memory.
#pragma once

#include <cmath>

#include "../core/render.h"
#include "../ops.h"
#include "bin_plan.cuh"
#include "image_writer.cuh"
#include "own_edges.cuh"
#include "percentiles.cuh"
#include "strip_agg.cuh"
#include "strip_union.cuh"

namespace spectromer {

constexpr int kMostQuantities = 16;
constexpr int kFewThreads = 256, kManyThreads = 512;  // threads of a block

// A quantity of a spectrum, which is drawn once for each panel, or once with all panels stacked vertically.
struct DrawnQuantity {
  Quantity quantity;
  int line;    // the first of its lines: one, or two for the edges of an error's band; for squares, its row of levels
  int stroke;  // its number among the lines that have sides
  int range;   // its scale: that of the flux (0), of the first (1) or of the second derivative (2)
  bool first;  // the first quantity that needs this range
  bool measures;  // the first quantity that needs the rounding of the fluxes
};

// The layout of a spectrum's bins. Common bins are stored panel after panel, with `padding` values of NaN before the
// first panel and after each panel.
struct BinLayout {
  bool own;      // the bins are own pixels, from the first good one to the last
  int most;      // maximum number of bins of a spectrum
  int of_panel;  // common bins of a panel
  int padding;
  int places;       // number of bins and padding values
  int room;         // places, rounded up to a multiple of 4
  float step;       // pixels from bin to bin, for common bins
  float per_panel;  // 1 / of_panel
};

// One of a spectrum's panels.
struct alignas(16) Panel {
  int begin;  // the first of its bins
  int place;  // where that bin lies in shared memory
  int count;  // number of its bins
};

// One line of a panel, and the sides of its segments.
struct alignas(16) PanelLine {
  int y, sides;  // index of its first point in RenderPlan::y and RenderPlan::sides
  int points;
  unsigned gaps;  // bit set of the strips near whose columns the line has a gap
};

// An image is drawn in passes, each of as many rows as fit in a strip. A pass covers several stacked panels, one panel,
// or a part of a panel.
struct PassLayout {
  int canvas;          // height of a panel
  int shown;           // rows of a panel that are drawn at a time, at most
  float height;        // shown, as a float
  int panels;          // panels in one pass; 1 if a panel needs several passes
  int rows;            // rows of all of them
  int stacked_panels;  // panels that are stacked vertically
  int sheets;          // panels that are drawn as separate planes
  bool at_once;        // all rows are drawn together
};

// Pictures of squares, with `side` squares per line.
struct SquareLayout {
  int block, side, lines;       // pixels of a square's side; lines of squares, the last of which may be cut off
  int pieces;                   // pieces of 16 columns
  int lines_step, pieces_step;  // from a thread's piece to its next
  float per_block, per_piece;   // 1 / block, 1 / pieces

  SquareLayout() = default;
  SquareLayout(int size, int square, int threads)
      : block(square), side(size / square), lines((size + square - 1) / square), pieces((size + kPiece - 1) / kPiece),
        lines_step(threads / pieces), pieces_step(threads % pieces), per_block(1.0f / static_cast<float>(square)),
        per_piece(1.0f / static_cast<float>(pieces)) {}
};

// a / b for integers up to 2^20, where `per` is 1 / b.
__device__ __forceinline__ int quotient(int a, float per) {
  return static_cast<int>((static_cast<float>(a) + 0.5f) * per);
}

struct RenderPlan {
  DrawnQuantity quantities[kMostQuantities];
  int quantity_count, lines, strokes;
  bool bands;          // errors are drawn as bands
  int panels, ranges;  // ranges per quantity: one, or one for each panel
  BinLayout bins;
  BinPlan weights;
  bool variance;  // variances of bins are computed
  PassLayout passes;
  // A warp draws the sub-columns from warp & subcolumn_mask on, of the panels from warp >> part_shift on, with strides.
  int subcolumn_mask, part_shift, parts_step;
  int weight;         // weight of a sub-column
  float step;         // distance between sub-columns
  float level_scale;  // factor from weights to levels
  ImageLayout image;
  RangeLayout finder;
  StripLayout strip;
  AggLayout agg;
  StrokeShape shape{1.0f};  // shape of strokes as drawn by AGG
  NearLayout near;
  SquareLayout squares;
  bool in_place;      // the heights of the only line overwrite the values
  Reserved panel;     // [panels] of Panel
  Reserved value;     // [bins] good fluxes, NaN elsewhere
  Reserved ivar;      // [bins] inverse variances of common bins, for errors
  Reserved x;         // [bins] x of own pixels
  Reserved edges;     // [pixels + 1] while bins are gathered from own wavelengths; overlaps strips and lines
  Reserved state;     // first good one of the own pixels, and end of the last good one
  Reserved scales;    // [3, ranges] ranges of values
  Reserved rounding;  // [ranges] rounding of fluxes
  Reserved y;         // [lines, bins] heights
  Reserved sides;     // [strokes, bins], or none if they are recomputed at each use
  Reserved stroke;    // [strokes, panels] of PanelLine
  Reserved starts;    // [panels or 1, size] first point near each pixel column, without NearPoints
  Reserved segments;  // [panels, strips] of SegmentRange: the segments near each strip, for lines as drawn by AGG
  Reserved columns;   // [panels drawn together, 32] levels of marks
  Reserved levels;    // [quantities, bins] levels of squares
  int threads;
  int64_t bytes;
};

class RenderPlanner {
 public:
  explicit RenderPlanner(const RenderArgs& args) : a_(args) {}

  // Returns kTooLarge, or 0 and a plan.
  int make(RenderPlan& plan) const {
    const int64_t longest = std::max(a_.spectra.bins, a_.spectra.pixels);
    if (a_.spectra.rows > INT_MAX || a_.quantity_count > kMostQuantities || longest > (1 << 20) ||
        a_.planes() > (1 << 10) || a_.size > (1 << 14))
      return kTooLarge;
    if (a_.channels() * a_.size * a_.size > INT_MAX / 4) return kTooLarge;  // bytes of an image are counted in 32 bits
    plan = RenderPlan{};
    if (a_.spectra.plan != nullptr) plan.weights = BinPlan(a_.spectra);
    list_quantities(plan);
    divide(plan);
    // If memory limits the number of blocks that run at once, each block gets more threads.
    plan.threads = kFewThreads;
    lay_out(plan, true);
    if (most_shared_bytes() / (plan.bytes + kReservedByDriver) <= kFewBlocks) {
      plan.threads = kManyThreads;
      lay_out(plan, true);
    }
    if (plan.bytes > most_shared_bytes()) lay_out(plan, false);
    return plan.bytes > most_shared_bytes() ? kTooLarge : 0;
  }

 private:
  static constexpr int kFewBlocks = 3;
  static constexpr int64_t kReservedByDriver = 1024;

  void list_quantities(RenderPlan& p) const {
    bool ranged[3] = {}, measured = false;
    for (int64_t q = 0; q < a_.quantity_count; ++q) {
      const Quantity quantity = static_cast<Quantity>(a_.quantities[q]);
      const int range = is_derivative(quantity) ? static_cast<int>(quantity) : 0;
      DrawnQuantity& drawn = p.quantities[p.quantity_count++];
      drawn = DrawnQuantity{quantity, a_.block != 0 ? static_cast<int>(q) : p.lines, p.strokes,
                            range,    !is_mark(quantity) && !ranged[range],          false};
      if (is_mark(quantity)) continue;
      ranged[range] = true;
      drawn.measures = !measured && (a_.scale != Scale::fixed || is_derivative(quantity));
      measured = measured || drawn.measures;
      p.variance = p.variance || quantity == Quantity::error;
      if (a_.block != 0) {
        if (is_derivative(quantity)) p.lines = 1;  // has room for its values
      } else if (quantity == Quantity::error) {
        p.lines += 2, p.bands = true;
      } else {
        ++p.lines, ++p.strokes;
      }
    }
    p.in_place = p.quantity_count == 1 && p.quantities[0].quantity == Quantity::flux && a_.block == 0;
  }

  void divide(RenderPlan& p) const {
    const ResampleArgs& s = a_.spectra;
    p.panels = static_cast<int>(a_.panels);
    p.ranges = a_.per_panel ? p.panels : 1;
    BinLayout& bins = p.bins;
    bins.own = s.bins == 0;
    bins.most = static_cast<int>(bins.own ? s.pixels : s.bins);
    bins.of_panel = bins.own ? 0 : bins.most / p.panels;
    bins.step = bins.own ? 0.0f : static_cast<float>(static_cast<double>(a_.size) / static_cast<double>(bins.of_panel));
    bins.per_panel = bins.own ? 0.0f : 1.0f / static_cast<float>(bins.of_panel);
    PassLayout& passes = p.passes;
    passes.stacked_panels = a_.stacked ? p.panels : 1;
    passes.sheets = a_.stacked ? 1 : p.panels;
    passes.canvas = static_cast<int>(a_.size) / passes.stacked_panels;
    passes.shown = std::min(kMostRows, passes.canvas);
    passes.height = static_cast<float>(passes.shown);
    passes.panels = std::min(passes.stacked_panels, kMostRows / passes.shown);
    passes.rows = passes.panels * passes.shown;
    passes.at_once = passes.rows == passes.stacked_panels * passes.canvas;
    p.shape = StrokeShape(a_.linewidth);
    p.weight = subcolumn_weight(a_.subcolumns);
    p.step = 1.0f / static_cast<float>(a_.subcolumns);
    p.level_scale = level_scale(a_.subcolumns);
    ImageLayout& image = p.image;
    image.planes = static_cast<int>(a_.planes());
    image.size = static_cast<int>(a_.size);
    image.pixels = static_cast<unsigned>(a_.channels() * a_.size * a_.size);
    image.mixing = a_.inks != nullptr && image.planes > 1         ? Mixing::layers
                   : a_.inks != nullptr || a_.colormap != nullptr ? Mixing::table
                                                                  : Mixing::channels;
    const int64_t pixel = a_.type == PixelType::uint8 ? 1 : a_.type == PixelType::bfloat16 ? 2 : 4;
    image.access = row_access(a_.out, a_.size * pixel);
    for (int k = 0; k < 2; ++k) p.finder.share[k] = a_.percentiles[k] / 100.0;
  }

  // Lays out shared memory, with room for the sides of lines if `sided`.
  void lay_out(RenderPlan& p, bool sided) const {
    divide_warps(p);
    if (a_.block != 0) p.squares = SquareLayout(p.image.size, static_cast<int>(a_.block), p.threads);
    SharedLayout layout;
    const bool area = p.strokes > 0 && a_.coverage == Coverage::area_union;
    p.finder.reserve(layout);
    p.scales = layout.reserve<ValueRange>(int64_t{3} * p.ranges);
    p.rounding = layout.reserve<float>(p.ranges);
    p.near = NearLayout{};
    if (!p.bins.own && a_.block == 0) p.near = NearLayout(p.bins.step, a_.linewidth, a_.subcolumns, a_.size);
    p.near.reserve(layout, a_.subcolumns, area && sided, p.bands);
    p.bins.padding = p.near.padding(a_.linewidth);
    p.panel = layout.reserve<Panel>(p.panels);
    p.image.direct = a_.spectra.plan != nullptr && a_.plain && a_.type != PixelType::float32 && a_.size % kWarp == 0 &&
                     p.image.access == 16 && (a_.block != 0 || p.strokes == 0 || p.near.points) &&
                     (!p.bands || p.near.shares);
    p.image.shown = Reserved{};
    if (!p.image.direct && p.image.mixing != Mixing::layers)
      p.image.shown = layout.reserve<uint32_t>(int64_t{p.image.planes} * 256);
    p.starts = area && !p.near.points ? layout.reserve<int>((p.bins.own ? p.panels : 1) * a_.size) : Reserved{};
    p.bins.places = p.bins.most + p.bins.padding * (p.panels + 1);
    p.bins.room = (p.bins.places + 3) / 4 * 4;
    const int64_t room = p.bins.room;
    p.value = layout.reserve<float>(room);
    if (p.variance && !p.bins.own) p.ivar = layout.reserve<float>(room);
    if (p.bins.own) p.state = layout.reserve<int>(2);
    if (p.bins.own && a_.block == 0) p.x = layout.reserve<float>(room);
    const SharedLayout gathering = layout;  // the reservations below are not needed while values are gathered
    // The histogram is used only before strips are drawn, so it shares memory with the turned levels.
    SharedLayout drawing = layout;
    p.finder.reserve_histogram(layout);
    if (area || p.bands) p.strip.reserve_turned(drawing, p.threads / kWarp);
    layout.bytes = std::max(layout.bytes, drawing.bytes);
    if (area || p.bands) p.strip.reserve(layout, p.passes.rows, p.threads / kWarp);
    if (p.strokes > 0 && !area) {
      p.agg.reserve(layout, a_.size, p.passes.canvas, p.passes.rows, p.threads / kWarp);
      p.segments = layout.reserve<SegmentRange>(p.panels * ((a_.size + kWarp - 1) / kWarp));
    }
    if (p.in_place) p.y = p.value;
    else if (p.lines > 0) p.y = layout.reserve<float>(p.lines * room);
    p.sides = area && sided ? layout.reserve<Sides>(p.strokes * room) : Reserved{};
    if (area) p.stroke = layout.reserve<PanelLine>(int64_t{p.strokes} * p.panels);
    if (a_.block == 0 && has_marks(p)) p.columns = layout.reserve<uint4>(int64_t{p.passes.panels} * kWarp / kPiece);
    if (a_.block != 0) p.levels = layout.reserve<uint8_t>(a_.quantity_count * room);
    if (!p.image.direct && a_.block == 0) {
      const int planes = p.image.mixing == Mixing::layers ? p.image.planes : 1;
      p.image.staged = layout.reserve<uint4>(int64_t{planes} * p.passes.rows * kWarp / kPiece);
    }
    p.bytes = layout.bytes;
    p.edges = Reserved{};
    if (p.bins.own || !has_own_edges(a_.spectra)) return;
    SharedLayout before = gathering;
    const Reserved edges = before.reserve<double>(a_.spectra.pixels + 1);
    if (before.bytes > most_shared_bytes()) return;
    p.edges = edges;
    p.bytes = std::max(p.bytes, before.bytes);
  }

  // If there are several times as many warps as sub-columns, they draw several panels at once.
  void divide_warps(RenderPlan& p) const {
    const int warps = p.threads / kWarp;
    p.subcolumn_mask = warps - 1, p.part_shift = 31, p.parts_step = 1;
    if (a_.subcolumns >= warps || warps % a_.subcolumns != 0) return;
    p.subcolumn_mask = a_.subcolumns - 1;
    p.parts_step = warps / a_.subcolumns;
    for (p.part_shift = 0; 1 << p.part_shift < a_.subcolumns;) ++p.part_shift;
  }

  static bool has_marks(const RenderPlan& p) {
    for (int q = 0; q < p.quantity_count; ++q) {
      if (is_mark(p.quantities[q].quantity)) return true;
    }
    return false;
  }

  const RenderArgs& a_;
};

}  // namespace spectromer
