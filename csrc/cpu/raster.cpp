#include "../core/raster.h"

#include "../core/agg.h"
#include "../ops.h"
#include "parallel.h"

namespace spectromer {
namespace {

// `difference`: [height + 2, width] zeroed floats, left zeroed. Prefix sums run down the columns.
void rasterize_union(const RasterizeArgs& a, const float* x, const float* y, float* difference, uint8_t* out) {
  const float r = 0.5f * a.linewidth;
  const float weight = 1.0f / static_cast<float>(a.subcolumns);
  int64_t first = 0;
  for (int64_t column = 0; column < a.width; ++column) {
    const auto add = [&](int64_t row, float value) { difference[row * a.width + column] += value; };
    for (int s = 0; s < a.subcolumns; ++s) {
      const float at = static_cast<float>(column) + (static_cast<float>(s) + 0.5f) * weight;
      while (first + 1 < a.points && x[first + 1] < at - r) ++first;
      visit_column(x, y, a.points, first, at, r, [&](Interval hit) {
        deposit_edge(hit.bottom, a.height, weight, add);
        deposit_edge(hit.top, a.height, -weight, add);
      });
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
  parallel_for(args.images, threads, 4, [&](int64_t begin, int64_t end) {
    std::vector<float> scratch(static_cast<size_t>((args.height + 2) * (args.width + 1)), 0.0f);
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
