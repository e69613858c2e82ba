#include "../core/raster.h"

#include "../core/agg.h"
#include "../ops.h"
#include "parallel.h"
#include "wide.h"

namespace spectromer {
namespace {

constexpr int kLanes = 8;  // sub-columns handled side by side

// Finds where kLanes vertical lines, the first at `at` and the others `step` further each, meet an unbroken stroke.
// Returns false, leaving `hits` unfinished, where the stroke is broken nearby.
SPECTROMER_INLINE bool meet_lanes(const float* x, const float* y, int64_t points, int64_t first, float at, float step,
                                  float r, Interval (&hits)[kLanes]) {
  float top[kLanes], bottom[kLanes];
  for (int k = 0; k < kLanes; ++k) top[k] = INFINITY, bottom[k] = -INFINITY;
  const float end = at + static_cast<float>(kLanes - 1) * step + r;
  if (points < 2 || !drawable(y[first])) return false;
  for (int64_t i = first; i + 1 < points && x[i] <= end; ++i) {
    if (!drawable(y[i + 1])) return false;
    const Segment segment = make_segment(x[i], y[i], x[i + 1], y[i + 1], r);
    for (int k = 0; k < kLanes; ++k) {
      Interval hit{top[k], bottom[k]};
      widen(hit, segment, at + static_cast<float>(k) * step, r);
      top[k] = hit.top;
      bottom[k] = hit.bottom;
    }
  }
  for (int k = 0; k < kLanes; ++k) hits[k] = Interval{top[k], bottom[k]};
  return true;
}

// `difference`: [height + 2, width] zeroed floats, left zeroed. Prefix sums run down the columns.
SPECTROMER_WIDE void rasterize_union(const RasterizeArgs& a, const float* x, const float* y, float* difference,
                                     uint8_t* out) {
  const float r = 0.5f * a.linewidth;
  const float weight = 1.0f / static_cast<float>(a.subcolumns);
  int64_t first = 0;
  for (int64_t column = 0; column < a.width; ++column) {
    const auto add = [&](int64_t row, float value) { difference[row * a.width + column] += value; };
    const auto deposit = [&](Interval hit) {
      deposit_edge(hit.bottom, a.height, weight, add);
      deposit_edge(hit.top, a.height, -weight, add);
    };
    for (int s = 0; s < a.subcolumns; s += kLanes) {
      const float at = static_cast<float>(column) + (static_cast<float>(s) + 0.5f) * weight;
      const int lanes = std::min(kLanes, a.subcolumns - s);
      while (first + 1 < a.points && x[first + 1] < at - r) ++first;
      Interval hits[kLanes];
      if (a.points > 0 && meet_lanes(x, y, a.points, first, at, weight, r, hits)) {
        for (int k = 0; k < lanes; ++k) {
          if (!hits[k].empty()) deposit(hits[k]);
        }
      } else {
        for (int k = 0; k < lanes; ++k) {
          visit_column(x, y, a.points, first, at + static_cast<float>(k) * weight, r, deposit);
        }
      }
    }
  }
  std::vector<float> sum(static_cast<size_t>(a.width), 0.0f);
  for (int64_t row = 0; row < a.height + 2; ++row) {
    float* line = difference + row * a.width;
    if (row < a.height) {
      for (int64_t column = 0; column < a.width; ++column) {
        sum[column] += line[column];
        out[row * a.width + column] = to_level(sum[column]);
      }
    }
    std::fill(line, line + a.width, 0.0f);
  }
}

// `area`: [height, width + 1] zeroed floats, left zeroed. Prefix sums run along the rows.
void rasterize_agg(const RasterizeArgs& a, const float* x, const float* y, float* area, uint8_t* out) {
  AreaAccumulator accumulator{area, a.height, a.width};
  stroke_outline(x, y, a.points, 0.5 * static_cast<double>(a.linewidth), accumulator);
  for (int64_t row = 0; row < a.height; ++row) {
    resolve_agg_row(area + row * (a.width + 1), a.width, out + row * a.width);
  }
  std::fill(area, area + a.height * (a.width + 1), 0.0f);
}

}  // namespace

void rasterize_cpu(const RasterizeArgs& args, int threads) {
  using Scratch = std::vector<float>;
  parallel_for<Scratch>(args.images, threads, 4, [&](int64_t begin, int64_t end, Scratch& scratch) {
    scratch.assign(static_cast<size_t>((args.height + 2) * (args.width + 1)), 0.0f);
    for (int64_t image = begin; image < end; ++image) {
      const float* x = args.x + image * args.x_stride;
      const float* y = args.y + image * args.points;
      uint8_t* out = args.out + image * args.height * args.width;
      if (args.coverage == Coverage::agg) {
        rasterize_agg(args, x, y, scratch.data(), out);
      } else {
        rasterize_union(args, x, y, scratch.data(), out);
      }
    }
  });
}

}  // namespace spectromer
