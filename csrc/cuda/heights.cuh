// The conversion of values to heights of lines and sides of their segments, or to levels of squares.
#pragma once

#include <cstddef>

#include "bins.cuh"

namespace spectromer {

// The representation of bins: as lines by true area, as lines like AGG's, or as squares.
enum class Shapes { areas, outlines, squares };

template <Source kSource, Shapes kShapes>
class Heights {
 public:
  __device__ Heights(const RenderArgs& args, const RenderPlan& plan, const Bins<kSource>& bins)
      : a_(args), p_(plan), bins_(bins) {}

  // Called once per block; the caller must synchronise the block afterwards.
  __device__ void prepare() const { RangeFinder(p_.finder, bins_.values()).clear(); }

  // Finds the scale of a quantity, and from it the heights of its lines or the levels of its squares.
  __device__ void find(int q) const {
    const DrawnQuantity& drawn = p_.quantities[q];
    if (is_mark(drawn.quantity)) {
      if (!kLines) put_mark_levels(drawn);
      return;
    }
    Shared<float> series = bins_.values();
    if (is_derivative(drawn.quantity)) {
      series = shared_at<float>(p_.y) + (kLines ? drawn.line * p_.bins.room : 0);
      put_derivative(drawn.quantity, series);
    }
    const Shared<ValueRange> scales = shared_at<ValueRange>(p_.scales) + drawn.range * p_.ranges;
#pragma unroll 1
    for (int r = 0; r < p_.ranges; ++r) {
      // A range includes the padding before it; the last one also includes the padding at the end.
      const int padding = p_.bins.padding;
      const int begin = r == 0 ? 0 : bins_.panel(r).place - padding,
                end = r + 1 == p_.ranges ? bins_.places() : bins_.panel(r + 1).place - padding;
      if (drawn.first) {
        const ValueRange found = find_range(drawn, series, begin, end, shared_at<float>(p_.rounding) + r);
        if (thread_index() == 0) scales[r] = found;
        __syncthreads();
      }
      const ValueRange scale = scales[r];
      if (kLines) put_heights(drawn, series, begin, end, scale);
      else put_levels(drawn, series, begin, end, scale);
    }
    __syncthreads();
    if (kShapes == Shapes::areas && drawn.quantity != Quantity::error) {
      finish_line(drawn);
      __syncthreads();
    }
  }

 private:
  static constexpr bool kLines = kShapes != Shapes::squares;
  static constexpr int kLineWords = sizeof(PanelLine) / sizeof(unsigned),
                       kGapsWord = offsetof(PanelLine, gaps) / sizeof(unsigned);

  __device__ void put_derivative(Quantity quantity, Shared<float> series) const {
#pragma unroll 1
    for (int i = thread_index(); i < bins_.places(); i += block_threads()) series[i] = NAN;
    __syncthreads();
#pragma unroll 1
    for (int i = thread_index(); i < bins_.count(); i += block_threads())
      series[bins_.place_of(i)] = bins_.derivative(quantity, i);
    __syncthreads();
  }

  // Stores the rounding of the fluxes as well, if the quantity is the first that needs it.
  __device__ ValueRange find_range(const DrawnQuantity& drawn, Shared<float> series, int begin, int end,
                                   Shared<float> rounding) const {
    const bool derivative = is_derivative(drawn.quantity);
    if (a_.scale == Scale::fixed && !derivative) return value_range(a_.fixed_low, a_.fixed_high, 0.0f);
    Limits found{0.0f, 0.0f};
#pragma unroll 1
    for (int pass = derivative && drawn.measures ? 0 : 1; pass < 2; ++pass) {
      found = RangeFinder(p_.finder, pass == 0 ? bins_.values() : series).find(begin, end, a_.scale == Scale::minmax);
      if (pass == (derivative ? 0 : 1) && drawn.measures) {
        if (thread_index() == 0) *rounding = rounding_of(found.bottom, found.top);
        __syncthreads();
      }
    }
    return value_range(found.bottom, found.top, *rounding);
  }

  __device__ void put_levels(const DrawnQuantity& drawn, Shared<float> series, int begin, int end,
                             const ValueRange& scale) const {
    const Shared<uint8_t> levels = shared_at<uint8_t>(p_.levels) + drawn.line * p_.bins.room;
    const bool error = drawn.quantity == Quantity::error;
    const float sigma = sigma_share(scale, a_.margin);
#pragma unroll 1
    for (int i = begin + thread_index(); i < end; i += block_threads()) {
      const float number = series[i];
      levels[i] = share_level(!error             ? height_share(number, scale, a_.margin)
                              : number == number ? sigma_reach(bins_.ivar_at(i), sigma)
                                                 : 0.0f);
    }
  }

  __device__ void put_mark_levels(const DrawnQuantity& drawn) const {
    const Shared<uint8_t> levels = shared_at<uint8_t>(p_.levels) + drawn.line * p_.bins.room;
#pragma unroll 1
    for (int i = thread_index(); i < bins_.count(); i += block_threads())
      levels[i] = bins_.marked(drawn.quantity, i, bins_.place_of(i)) ? 255 : 0;
  }

  // A height that breaks the line is stored as NaN, except for AGG, which tests heights itself. If either edge of a
  // band is not drawable, both are NaN.
  __device__ void put_heights(const DrawnQuantity& drawn, Shared<float> series, int begin, int end,
                              const ValueRange& scale) const {
    const int room = p_.bins.room;
    const Shared<float> heights = shared_at<float>(p_.y) + drawn.line * room;
    const float canvas = static_cast<float>(p_.passes.canvas), sigma = sigma_share(scale, a_.margin);
    if (drawn.quantity == Quantity::error) {
#pragma unroll 1
      for (int i = begin + thread_index(); i < end; i += block_threads()) {
        const float at_height = line_y(series[i], scale, a_.margin, canvas);
        const float reach = sigma_reach(bins_.ivar_at(i), canvas * sigma);
        const float upper = at_height - reach, lower = at_height + reach;
        const bool drawn_here = drawable(upper) && drawable(lower);
        heights[i] = drawn_here ? upper : NAN;
        heights[room + i] = drawn_here ? lower : NAN;
      }
    } else {
#pragma unroll 1
      for (int i = begin + thread_index(); i < end; i += block_threads()) {
        const float at_height = line_y(series[i], scale, a_.margin, canvas);
        heights[i] = kShapes == Shapes::outlines || drawable(at_height) ? at_height : NAN;
      }
    }
  }

  // Computes the sides of a line's segments, and the positions of its gaps.
  __device__ void finish_line(const DrawnQuantity& drawn) const {
    const Shared<PanelLine> lines = shared_at<PanelLine>(p_.stroke) + drawn.stroke * p_.panels;
#pragma unroll 1
    for (int k = thread_index(); k < p_.panels; k += block_threads()) {
      const Panel panel = bins_.panel(k);
      lines[k] =
          PanelLine{drawn.line * p_.bins.room + panel.place, drawn.stroke * p_.bins.room + panel.place, panel.count, 0};
    }
    __syncthreads();
    const float r = 0.5f * a_.linewidth;
#pragma unroll 1
    for (int k = 0; k < p_.panels; ++k) {
      const Panel panel = bins_.panel(k);
      const int padding = p_.bins.padding, points = panel.count;
      const auto x = bins_.x_of(panel.place);
      const Shared<const float> y = shared_at<float>(p_.y) + (drawn.line * p_.bins.room + panel.place);
      const Shared<Sides> sides = shared_at<Sides>(p_.sides) + (drawn.stroke * p_.bins.room + panel.place);
      // The padding after a panel is also the padding before the next one, and is processed with the latter. Only the
      // padding after the last panel is processed here.
      const int end = padding == 0 ? points - 1 : k + 1 < p_.panels ? points : points + padding - 1;
#pragma unroll 1
      for (int i = thread_index() - padding; i < end; i += block_threads()) {
        const float here = y[i], next = y[i + 1];
        if (bins_.near_points()) sides[i] = sides_of((next - here) * p_.near.per_step, r);
        else if (p_.sides) sides[i] = make_sides(x[i], here, x[i + 1], next, r);
        if (here == here && next != next) {
          note_gap(x, y, points, i, r, p_.image.size, [&](int first, int last) {
            const Shared<unsigned> words = shared_at<unsigned>(p_.stroke) + (drawn.stroke * p_.panels + k) * kLineWords;
            atomicOr(words + kGapsWord, p_.image.size > kWarp * kWarp ? ~0u : (2u << last) - (1u << first));
          });
        }
      }
    }
  }

  const RenderArgs& a_;
  const RenderPlan& p_;
  const Bins<kSource>& bins_;
};

}  // namespace spectromer
