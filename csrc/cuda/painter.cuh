// One block of threads, which draws spectrum after spectrum. See core/render.h and render_plan.h.
#pragma once

#include <utility>

#include "heights.cuh"
#include "squares.cuh"

namespace spectromer {

// kType: the pixel type, for images that are drawn directly. kAtOnce: whether all rows are drawn in one pass.
template <Source kSource, Shapes kShapes, PixelType kType, bool kAtOnce>
class Painter {
 public:
  __device__ Painter(const RenderArgs& args, const RenderPlan& plan)
      : a_(args), p_(plan), writer_(args, plan.image), bins_(args, plan), strip_(plan.strip),
        near_(plan.near, args.linewidth, args.subcolumns, plan.bins.step), agg_(plan.agg) {
    writer_.prepare();
    heights().prepare();
    bins_.prepare();
    if (bins_.even_points()) near_.prepare();
    clear_strips();
    __syncthreads();
    if (!bins_.own_pixels() && p_.starts) find_starts(0);
  }

  __device__ __forceinline__ void draw(int row) {
    __syncthreads();
    writer_.begin(static_cast<unsigned>(row));
    bins_.gather(row);
    __syncthreads();
    if (p_.edges) clear_strips();  // the edges overlap their memory
    if (kShapes == Shapes::outlines && p_.segments) find_segments();
    if (bins_.own_pixels() && p_.starts) {
#pragma unroll 1
      for (int k = 0; k < p_.panels; ++k) find_starts(k);
    }
#pragma unroll 1
    for (int q = 0; q < p_.quantity_count; ++q) heights().find(q);
    if constexpr (kShapes == Shapes::squares) {
      __syncthreads();
      const Squares squares(a_, p_, writer_);
      if constexpr (kSource == Source::planned) squares.draw<kType>(bins_.count());
      else squares.draw_any(bins_.count());
    } else {
      draw_strips();
    }
  }

 private:
  __device__ Heights<kSource, kShapes> heights() const { return Heights<kSource, kShapes>(a_, p_, bins_); }

  __device__ void clear_strips() const {
    if (p_.strip.cells) strip_.clear();
    if (p_.agg.cells) agg_.clear();
  }

  __device__ int strips() const { return (p_.image.size + kWarp - 1) / kWarp; }

  // Finds, for each pixel column, the first point of panel k whose segment can touch it.
  __device__ void find_starts(int k) const {
    const Shared<int> starts = shared_at<int>(p_.starts) + k * p_.image.size;
    const Panel panel = bins_.panel(k);
#pragma unroll 1
    for (int column = thread_index(); column < p_.image.size; column += block_threads()) {
      starts[column] =
          first_point(bins_.x_of(panel.place), panel.count, static_cast<float>(column), 0.5f * a_.linewidth);
    }
  }

  // Finds the segments of each panel that lie near each strip.
  __device__ void find_segments() const {
#pragma unroll 1
    for (int i = thread_index(); i < p_.panels * strips(); i += block_threads()) {
      const Panel panel = bins_.panel(i / strips());
      shared_at<SegmentRange>(p_.segments)[i] =
          segments_near(bins_.x_of(panel.place), panel.count, i % strips() * kWarp, p_.shape);
    }
  }

  __device__ __forceinline__ void draw_strips() {
    first_panel_ = 0;
    do {
      top_ = 0;
      do {
        column_ = 0;
        do draw_strip();
        while ((column_ += kWarp) < p_.image.size);
      } while (!kAtOnce && (top_ += kMostRows) < p_.passes.canvas);
    } while (!kAtOnce && (first_panel_ += p_.passes.panels) < p_.passes.stacked_panels);
  }

  __device__ __forceinline__ void draw_strip() {
    int q = 0;
    do {
      int sheet = 0;
      do draw_plane(q, sheet);
      while (++sheet < p_.passes.sheets);
    } while (++q < p_.quantity_count);
    if (kSource != Source::planned && p_.image.mixing == Mixing::layers) put_staged(0);
  }

  // The panels of the current pass, the rows of each panel, all rows, and their beginning in the image.
  __device__ int panels() const {
    return kAtOnce ? p_.passes.panels : min(p_.passes.stacked_panels - first_panel_, p_.passes.panels);
  }
  __device__ int shown() const { return kAtOnce ? p_.passes.shown : min(p_.passes.canvas - top_, p_.passes.shown); }
  __device__ int rows() const { return kAtOnce ? p_.passes.rows : panels() * shown(); }
  __device__ int image_row() const { return first_panel_ * p_.passes.canvas + top_; }

  // Draws one quantity in the strip, for one panel or for all panels of the pass.
  __device__ __forceinline__ void draw_plane(int q, int sheet) {
    const DrawnQuantity& drawn = p_.quantities[q];
    const int first_panel = first_panel_ + sheet, plane = q * p_.passes.sheets + sheet;
    if (is_mark(drawn.quantity)) {
      draw_columns(drawn.quantity, first_panel, row_writer(plane));
    } else if (kShapes == Shapes::outlines && drawn.quantity != Quantity::error) {
      draw_outlines(drawn.line, first_panel);
      agg_.put_levels(rows(), row_writer(plane));
    } else {
      RowRange touched;
      if (drawn.quantity == Quantity::error) draw_bands(drawn, first_panel, touched);
      else if constexpr (kShapes == Shapes::areas) draw_lines(drawn, first_panel, touched);
      strip_.touch(touched);
      strip_.put_levels(rows(), p_.level_scale, row_writer(plane));
    }
    if (kSource != Source::planned && p_.image.mixing != Mixing::layers) put_staged(plane);
  }

  // The writer of a plane's levels.
  __device__ __forceinline__ auto row_writer(int plane) const {
    if constexpr (kSource == Source::planned) {
      return writer_.row_writer<kType>(plane, image_row(), column_ + lane_piece() * kPiece);
    } else {
      const bool layers = p_.image.mixing == Mixing::layers;
      return StagedRowWriter{shared_at<uint4>(p_.image.staged) +
                             ((layers ? plane : 0) * p_.passes.rows * (kWarp / kPiece) + lane_piece())};
    }
  }

  // Stores rows of levels that are written to the image later.
  struct StagedRowWriter {
    Shared<uint4> to;

    __device__ uint4 pixels(const uint4& levels) const { return levels; }
    __device__ uint4 blank() const { return make_uint4(0, 0, 0, 0); }
    __device__ void put(int row, const uint4& levels) const { to[row * (kWarp / kPiece)] = levels; }
  };

  // Writes the staged levels of a strip to the image, for one plane or for all planes composited, by the whole block.
  __device__ void put_staged(int plane) const {
    __syncthreads();
    const Shared<unsigned> staged = shared_at<unsigned>(p_.image.staged);
#pragma unroll 1
    for (int i = thread_index(); i < rows() * (kWarp / kPiece); i += block_threads()) {
      const int row = i / (kWarp / kPiece), piece = i % (kWarp / kPiece);
      if (column_ + piece * kPiece >= p_.image.size) continue;
      writer_.put(plane, image_row() + row, column_ + piece * kPiece, [&](int k, int word) -> unsigned {
        const int layer = p_.image.mixing == Mixing::layers ? k : 0;
        return staged[((layer * p_.passes.rows + row) * (kWarp / kPiece) + piece) * 4 + word];
      });
    }
    __syncthreads();
  }

  // ---- true area: a warp for each sub-column of each panel ----

  // Calls of_part = of_subcolumn(k), and then of_part(part), for the sub-columns and the panels of the pass that are
  // assigned to this warp.
  template <class Draw>
  __device__ __forceinline__ void visit_subcolumns(Draw of_subcolumn) const {
    if (kSource != Source::planned && column_ + lane_index() >= p_.image.size) return;
    const int first_part = warp_index() >> p_.part_shift;
#pragma unroll 1
    for (int k = warp_index() & p_.subcolumn_mask; k < a_.subcolumns; k += block_warps()) {
      const auto of_part = of_subcolumn(k);
#pragma unroll 1
      for (int part = first_part; part < panels(); part += p_.parts_step) of_part(part);
    }
  }

  __device__ __forceinline__ void add(Interval hit, int part, RowRange& touched) const {
    if (hit.empty()) return;
    if (!kAtOnce)
      hit = Interval{hit.top - static_cast<float>(renewed(top_)), hit.bottom - static_cast<float>(renewed(top_))};
    strip_.add(hit, part * p_.passes.shown, p_.passes.height, p_.weight, touched);
  }

  // The middle of sub-column k.
  __device__ float middle_of(int column, int k) const {
    return static_cast<float>(column) + (static_cast<float>(k) + 0.5f) * p_.step;
  }

  __device__ __forceinline__ void draw_bands(const DrawnQuantity& drawn, int first_panel, RowRange& touched) const {
    const int room = p_.bins.room, column = renewed(column_) + lane_index();
    visit_subcolumns([&](int k) {
      return [&, k](int part) {
        const Panel panel = bins_.panel(first_panel + part);
        const Shared<const float> upper = shared_at<float>(p_.y) + (drawn.line * room + panel.place);
        if (kSource == Source::planned || (bins_.even_points() && p_.near.shares))
          add(near_.band(column, k, upper, upper + room), part, touched);
        else
          add(band_interval(bins_.x_of(panel.place), upper, upper + room, panel.count, middle_of(column, k)), part,
              touched);
      };
    });
  }

  __device__ __forceinline__ void draw_lines(const DrawnQuantity& drawn, int first_panel, RowRange& touched) const {
    const Shared<PanelLine> lines = shared_at<PanelLine>(p_.stroke) + (drawn.stroke * p_.panels + first_panel);
    const int strip = renewed(column_), column = strip + lane_index();
    const unsigned here = 1u << (static_cast<unsigned>(strip) / kWarp & 31u);  // of PanelLine::gaps
    // The gaps of all lines that this warp visits. A warp without a sub-column visits none here, so it must check all
    // lines below.
    unsigned gaps = (warp_index() & p_.subcolumn_mask) < a_.subcolumns ? 0u : ~0u;
    visit_subcolumns([&](int k) {
      const NearPoints near = bins_.near_points() ? near_.points(column, k) : NearPoints{};
      return [&, near, k](int part) {
        const PanelLine line = lines[part];
        gaps |= line.gaps;
        if ((line.gaps & here) != 0) return;
        if (bins_.near_points()) {
          add(near_.line(near, shared_at<float>(p_.y) + line.y, shared_at<Sides>(p_.sides) + line.sides), part,
              touched);
        } else {
          const AnyLine any(*this, drawn, line);
          add(hit_without_gaps(any.x, any.y, any, line.points, start(first_panel + part, column), middle_of(column, k),
                               any.r),
              part, touched);
        }
      };
    });
    if ((gaps & here) != 0) draw_lines_with_gaps(drawn, first_panel, here, touched);
  }

  // Draws the lines that have gaps near the strip.
  __device__ __forceinline__ void draw_lines_with_gaps(const DrawnQuantity& drawn, int first_panel, unsigned here,
                                                       RowRange& touched) const {
    const int column = renewed(column_) + lane_index();
    if (kSource != Source::planned && column >= p_.image.size) return;
#pragma unroll 1
    for (int i = warp_index(); i < panels() * a_.subcolumns; i += block_warps()) {
      const int part = i / a_.subcolumns, k = i - part * a_.subcolumns;
      const PanelLine line = shared_at<PanelLine>(p_.stroke)[drawn.stroke * p_.panels + first_panel + part];
      if ((line.gaps & here) == 0) continue;
      const auto emit = [&](Interval hit) { add(hit, part, touched); };
      if (bins_.near_points()) {
        near_.visit_pieces(near_.points(column, k), shared_at<float>(p_.y) + line.y,
                           shared_at<Sides>(p_.sides) + line.sides, emit);
      } else {
        const AnyLine any(*this, drawn, line);
        visit_column(any.x, any.y, any, line.points, start(first_panel + part, column), middle_of(column, k), any.r,
                     emit);
      }
    }
  }

  // The first point of a panel near a pixel column.
  __device__ int start(int panel, int column) const {
    return shared_at<int>(p_.starts)[(bins_.own_pixels() ? panel : 0) * p_.image.size + column];
  }

  // A line with arbitrarily spaced points, and the sides of its segments.
  struct AnyLine {
    decltype(std::declval<const Bins<kSource>&>().x_of(0)) x;
    Shared<const float> y;
    Shared<const Sides> sides;
    bool has_sides;
    float r;

    __device__ __forceinline__ AnyLine(const Painter& painter, const DrawnQuantity& drawn, const PanelLine& line)
        : x(painter.bins_.x_of(line.y - drawn.line * painter.p_.bins.room)), y(shared_at<float>(painter.p_.y) + line.y),
          sides(shared_at<Sides>(painter.p_.sides) + line.sides), has_sides(painter.p_.sides),
          r(0.5f * painter.a_.linewidth) {}

    // The sides of segment i, which are recomputed if there was no room to store them.
    __device__ __forceinline__ Sides operator()(int i) const {
      return has_sides ? static_cast<Sides>(sides[i]) : make_sides(x[i], y[i], x[i + 1], y[i + 1], r);
    }
  };

  // ---- as AGG draws ----

  __device__ __forceinline__ void draw_outlines(int line, int first_panel) const {
    const Shared<SegmentRange> segments = shared_at<SegmentRange>(p_.segments) + column_ / kWarp;
    RowRange touched;
#pragma unroll 1
    for (int part = 0; part < panels(); ++part) {
      const int number = first_panel + part;
      const Panel panel = bins_.panel(number);
      const auto x = bins_.x_of(panel.place);
      const Shared<const float> y = shared_at<float>(p_.y) + (line * p_.bins.room + panel.place);
      const SegmentRange range = segments[number * strips()];
      const Vertex origin{static_cast<float>(column_), static_cast<float>(top_)};
      const OutlinedLine<decltype(bins_.x_of(panel.place)), Shared<const float>> outlined{
          x, y, range, p_.agg.right, p_.agg.bottom, p_.shape, origin};
      agg_.add_line(outlined, part * p_.passes.shown, p_.passes.height, touched);
    }
    agg_.touch(touched);
  }

  // ---- marks ----

  // Draws each pixel column with a level in proportion to the fraction of it that marked bins cover. All rows of a
  // panel are equal.
  template <class RowWriter>
  __device__ __forceinline__ void draw_columns(Quantity quantity, int first_panel, const RowWriter& to) const {
    const Shared<uint8_t> levels = shared_at<uint8_t>(p_.columns);
    const int column = renewed(column_) + lane_index();
#pragma unroll 1
    for (int part = warp_index(); part < panels(); part += block_warps()) {
      levels[part * kWarp + lane_index()] =
          share_level(column < p_.image.size ? marked_share(quantity, bins_.panel(first_panel + part), column) : 0.0f);
    }
    __syncthreads();
    // A thread stays in its lane's half of the strip and iterates over the panels.
    const Shared<uint4> pieces = shared_at<uint4>(p_.columns);
    const int step = block_threads() / (kWarp / kPiece);
    int row = thread_index() / (kWarp / kPiece);
#pragma unroll 1
    for (int part = 0; part < panels(); ++part) {
      const uint4 some = pieces[part * (kWarp / kPiece) + lane_piece()];
      const auto pixels = (some.x | some.y | some.z | some.w) != 0 ? to.pixels(some) : to.blank();
#pragma unroll 1
      for (; row < (part + 1) * shown(); row += step) to.put(row, pixels);
    }
    __syncthreads();
  }

  __device__ __forceinline__ float marked_share(Quantity quantity, const Panel& panel, int column) const {
    if (bins_.even_points()) {  // a pixel column contains whole bins
      const int first = column << p_.near.points_shift, bins = 1 << p_.near.points_shift;
      int marked = 0;
#pragma unroll 1
      for (int i = first; i < first + bins; ++i)
        marked += bins_.marked(quantity, panel.begin + i, panel.place + i) ? 1 : 0;
      return static_cast<float>(marked) * p_.bins.step;
    }
    const float low = static_cast<float>(column), high = static_cast<float>(column + 1),
                width = static_cast<float>(p_.image.size);
    const auto x = bins_.x_of(panel.place);
    float cover = 0.0f;
#pragma unroll 1
    for (int i = first_point(x, panel.count, low, 0.0f); i < panel.count; ++i) {
      const Extent extent = bin_extent(x, panel.count, i, width);
      if (extent.left >= high) break;
      if (bins_.marked(quantity, panel.begin + i, panel.place + i))
        cover += max(min(extent.right, high) - max(extent.left, low), 0.0f);
    }
    return cover;
  }

  const RenderArgs& a_;
  const RenderPlan& p_;
  ImageWriter writer_;
  Bins<kSource> bins_;
  const Strip strip_;
  const NearPainter near_;
  const AggStrip agg_;
  int first_panel_ = 0;  // first panel of the current pass
  int top_ = 0;          // first row of each panel's canvas
  int column_ = 0;       // first column of the current strip
};

}  // namespace spectromer
