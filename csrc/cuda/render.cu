#include "launch.h"
#include "painter.cuh"
#include "render_plan.h"

namespace spectromer {
namespace {

template <Source kSource, Shapes kShapes>
__global__ void __launch_bounds__(kSource == Source::planned ? kFor48Registers : kFor64Registers, 2)
    render_kernel(const __grid_constant__ RenderArgs args, const __grid_constant__ RenderPlan plan) {
  Painter<kSource, kShapes> painter(args, plan);
  for (int64_t row = blockIdx.x; row < args.spectra.rows; row += gridDim.x) painter.draw(row);
}

auto kernel_for(const RenderArgs& args, const RenderPlan& plan) {
  const bool own_pixels = plan.bins.own;
  if (args.block != 0) return render_kernel<Source::any, Shapes::squares>;
  if (args.coverage == Coverage::agg) {
    return own_pixels ? render_kernel<Source::pixels, Shapes::outlines> : render_kernel<Source::any, Shapes::outlines>;
  }
  if (own_pixels) return render_kernel<Source::pixels, Shapes::areas>;
  return plan.image.direct ? render_kernel<Source::planned, Shapes::areas> : render_kernel<Source::any, Shapes::areas>;
}

}  // namespace

int render_cuda(const RenderArgs& args, void* stream) {
  if (args.spectra.rows == 0) return 0;
  RenderPlan plan;
  if (const int error = RenderPlanner(args).make(plan)) return error;
  const auto kernel = kernel_for(args, plan);
  const int64_t blocks = resident_blocks(kernel, plan.threads, plan.bytes, args.spectra.rows);
  return launch(kernel, Grid{blocks, plan.threads, plan.bytes}, stream, args, plan);
}

}  // namespace spectromer
