#include "../core/raster.h"

#include "../ops.h"
#include "launch.h"
#include "strip.cuh"

namespace spectromer {
namespace {


// Bytes of shared memory: a strip, and where they fit, the line with its sides.
struct RasterPlan {
  int64_t strip, staged;
  int rows;  // drawn at a time
};

__global__ void __launch_bounds__(kThreads, 3) rasterize_kernel(const __grid_constant__ RasterizeArgs a, const __grid_constant__ RasterPlan plan) {
  const int points = static_cast<int>(a.points), height = static_cast<int>(a.height);
  const int width = static_cast<int>(a.width), tiles = (width + kWarp - 1) / kWarp;
  int* shared = reinterpret_cast<int*>(shared_bytes());
  Strip strip{0, width, height, 1, plan.rows, 0, shared + kThreads + 2, shared + kThreads, shared};
  float* staged_y = reinterpret_cast<float*>(shared_bytes() + plan.strip);
  Sides* staged_sides = reinterpret_cast<Sides*>(staged_y + points + points % 2);
  const float r = 0.5f * a.linewidth;
  const StrokeShape shape(a.linewidth);
  const bool area = a.coverage == Coverage::area_union || a.band != nullptr, staged = plan.staged > 0;
  clear_strip(strip);
  for (int64_t image = blockIdx.x; image < a.images; image += gridDim.x) {
    const float* x = a.x + image * a.x_stride;
    const float* y = a.y + image * a.points;
    const float* band = a.band == nullptr ? nullptr : a.band + image * a.points;
    __syncthreads();
    if (staged) {
      for (int i = static_cast<int>(threadIdx.x); i < points; i += kThreads) {
        staged_y[i] = y[i];
        if (i + 1 < points) staged_sides[i] = make_sides(x[i], y[i], x[i + 1], y[i + 1], r);
      }
      __syncthreads();
    }
    const float* line = staged ? staged_y : y;
    const auto sides = [&](int i) {
      return staged ? staged_sides[i] : make_sides(x[i], y[i], x[i + 1], y[i + 1], r);
    };
    for (int tile = 0; tile < tiles * ((height + plan.rows - 1) / plan.rows); ++tile) {
      strip.column = tile % tiles * kWarp;
      strip.top = tile / tiles * plan.rows;
      strip.height = height - strip.top < plan.rows ? height - strip.top : plan.rows;
      uint8_t* out = a.out + (image * height + strip.top) * width + strip.column + strip.lane();
      const auto put = [&](int row, uint8_t level) { out[static_cast<int64_t>(row) * width] = level; };
      if (!area) {
        if (points > 1) add_outline(strip, 0, x, line, points, shape);
        put_outline(strip, put);
        continue;
      }
      draw_area(strip, a.subcolumns, [&](int, float at, auto emit) {
        if (band != nullptr) {
          const Interval hit = band_interval(x, line, band, points, at);
          if (!hit.empty()) emit(hit);
        } else {
          visit_column(x, line, sides, points, first_point(x, points, at, r), at, r, emit);
        }
      }, put);
    }
  }
}

}  // namespace

int rasterize_cuda(const RasterizeArgs& args, void* stream) {
  if (args.images * args.height * args.width == 0) return 0;
  if (args.points > INT_MAX / 2) return kTooLarge;
  const int64_t most = most_shared_bytes();
  RasterPlan plan{0, 0, static_cast<int>(std::min<int64_t>(args.height, kMostRows))};
  plan.strip = ((strip_cells(1, plan.rows) + kThreads + 2) * static_cast<int64_t>(sizeof(int)) + 15) / 16 * 16;
  const int64_t line = (args.points + 1) * static_cast<int64_t>(sizeof(float) + sizeof(Sides));
  const bool area = args.coverage == Coverage::area_union && args.band == nullptr;
  if (area && plan.strip + line <= most) plan.staged = line;
  const int64_t shared = plan.strip + plan.staged;
  const int64_t blocks = resident_blocks(rasterize_kernel, args.images, shared);
  return launch(rasterize_kernel, blocks, shared, stream, args, plan);
}

}  // namespace spectromer
