#include "launch.h"
#include "painter.cuh"
#include "render_plan.h"

namespace spectromer {
namespace {

template <bool kOwn, bool kAgg, int kThreads>
__global__ void __launch_bounds__(kThreads, kThreads == RenderPlanner::kManyThreads ? 2 : kAgg ? 4 : 5)
    render_kernel(const __grid_constant__ RenderArgs args, const __grid_constant__ RenderPlan plan) {
  Painter<kOwn, kAgg> painter(args, plan);
  for (int64_t row = blockIdx.x; row < args.spectra.rows; row += gridDim.x) painter.draw(row);
}

template <bool kOwn, bool kAgg>
auto kernel_for(int threads) {
  return threads == RenderPlanner::kManyThreads ? render_kernel<kOwn, kAgg, RenderPlanner::kManyThreads>
                                                : render_kernel<kOwn, kAgg, RenderPlanner::kFewThreads>;
}

}  // namespace

int render_cuda(const RenderArgs& args, void* stream) {
  if (args.spectra.rows == 0) return 0;
  RenderPlan plan;
  if (const int error = RenderPlanner(args).make(plan)) return error;
  const bool agg = args.coverage == Coverage::agg;
  const auto kernel = plan.bins.own ? agg ? kernel_for<true, true>(plan.threads) : kernel_for<true, false>(plan.threads)
                      : agg         ? kernel_for<false, true>(plan.threads)
                                    : kernel_for<false, false>(plan.threads);
  const int64_t blocks = resident_blocks(kernel, plan.threads, plan.bytes, args.spectra.rows);
  return launch(kernel, Grid{blocks, plan.threads, plan.bytes}, stream, args, plan);
}

}  // namespace spectromer
