// Lines and bands on the CPU. Images whose points share their x are drawn side by side.
#include "raster.h"

#include <algorithm>

#include "parallel.h"

#define SPECTROMER_TARGET_INCLUDE "../raster-inl.h"
#include "simd/foreach_target.h"

namespace spectromer {
namespace {

// The lines of `images` images, one for each lane as the kernels require, with the last one repeated.
struct Repeated {
  const float* line[kMostLanes];

  Repeated(const float* const* lines, int64_t images) {
    for (int64_t lane = 0; lane < kMostLanes; ++lane) line[lane] = lines[std::min(lane, images - 1)];
  }
};

}  // namespace

int64_t images_together() { return SPECTROMER_DISPATCH(kLanes); }

void draw_union(const Canvas& canvas, const float* x, const float* const* y, int64_t points, int64_t images,
                uint8_t* const* out, UnionScratch& scratch) {
  uint8_t* planes[kMostLanes] = {};
  std::copy_n(out, images, planes);
  SPECTROMER_DISPATCH(draw_lines)(canvas, x, Repeated(y, images).line, points, planes, scratch);
}

void draw_band(const Canvas& canvas, const float* x, const float* const* upper, const float* const* lower,
               int64_t points, int64_t images, uint8_t* const* out, UnionScratch& scratch) {
  uint8_t* planes[kMostLanes] = {};
  std::copy_n(out, images, planes);
  SPECTROMER_DISPATCH(draw_bands)(canvas, x, Repeated(upper, images).line, Repeated(lower, images).line, points, planes,
                                  scratch);
}

void rasterize_cpu(const RasterizeArgs& args, int threads) {
  const Canvas canvas{args.height, args.width, args.linewidth, args.subcolumns};
  const int64_t pixels = args.height * args.width;
  // Only lines that share their x are drawn side by side.
  const bool together = args.x_stride == 0 && (args.band != nullptr || args.coverage == Coverage::area_union);
  const auto draw = [&](int64_t begin, int64_t end, RasterScratch& scratch) {
    const float* x = args.x + begin * args.x_stride;
    const float *y[kMostLanes], *band[kMostLanes];
    uint8_t* out[kMostLanes];
    for (int64_t image = begin; image < end; ++image) {
      y[image - begin] = args.y + image * args.points;
      if (args.band != nullptr) band[image - begin] = args.band + image * args.points;
      out[image - begin] = args.out + image * pixels;
    }
    if (args.band != nullptr) {
      draw_band(canvas, x, y, band, args.points, end - begin, out, scratch.by_area);
    } else if (args.coverage == Coverage::agg) {
      draw_agg(canvas, x, y[0], args.points, out[0], scratch.agg);
    } else {
      draw_union(canvas, x, y, args.points, end - begin, out, scratch.by_area);
    }
  };
  parallel_for<RasterScratch>(args.images, threads, together ? images_together() : 1, draw);
}

}  // namespace spectromer
