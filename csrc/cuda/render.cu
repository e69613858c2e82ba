// Rendering of spectra as images, with one block of threads per spectrum: the choice of a kernel and its launch.
#include "launch.h"
#include "painter.cuh"
#include "render_plan.h"

namespace spectromer {
namespace {

// Images of bytes that are drawn directly are limited to few registers, so that more blocks run at once.
template <Source kSource, Shapes kShapes, PixelType kType = PixelType::uint8, bool kAtOnce = false>
__global__ void __launch_bounds__(kSource == Source::planned && kType == PixelType::uint8 ? kFor48Registers
                                                                                          : kFor64Registers,
                                  2)
    render_kernel(const __grid_constant__ RenderArgs args, const __grid_constant__ RenderPlan plan) {
  Painter<kSource, kShapes, kType, kAtOnce> painter(args, plan);
  for (unsigned row = blockIdx.x; row < args.spectra.rows; row += gridDim.x) painter.draw(static_cast<int>(row));
}

template <Shapes kShapes, bool kAtOnce>
auto direct_kernel(PixelType type) {
  return type == PixelType::uint8 ? render_kernel<Source::planned, kShapes, PixelType::uint8, kAtOnce>
                                  : render_kernel<Source::planned, kShapes, PixelType::bfloat16, kAtOnce>;
}

auto kernel_for(const RenderArgs& args, const RenderPlan& plan) {
  const bool squares = args.block != 0, own_pixels = plan.bins.own;
  if (plan.image.direct) {
    if (squares) return direct_kernel<Shapes::squares, true>(args.type);
    return plan.passes.at_once ? direct_kernel<Shapes::areas, true>(args.type)
                               : direct_kernel<Shapes::areas, false>(args.type);
  }
  if (squares) return render_kernel<Source::any, Shapes::squares>;
  if (args.coverage == Coverage::agg) {
    return own_pixels ? render_kernel<Source::pixels, Shapes::outlines> : render_kernel<Source::any, Shapes::outlines>;
  }
  return own_pixels ? render_kernel<Source::pixels, Shapes::areas> : render_kernel<Source::any, Shapes::areas>;
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
