#include "../core/raster.h"

#include "../core/agg.h"
#include "../ops.h"
#include "launch.h"

namespace spectromer {
namespace {

constexpr int64_t kSharedBytes = 48 * 1024;

// One block per (image, tile of blockDim.x columns), one thread per column, its differences in shared memory.
__global__ void union_kernel(RasterizeArgs a, int64_t tiles) {
  extern __shared__ int difference[];  // [height + 2, blockDim.x]
  const float r = 0.5f * a.linewidth;
  const float step = 1.0f / static_cast<float>(a.subcolumns);
  const int weight = subcolumn_weight(a.subcolumns);
  const float scale = 255.0f / static_cast<float>(weight * a.subcolumns);
  for (int64_t block = blockIdx.x; block < a.images * tiles; block += gridDim.x) {
    const int64_t image = block / tiles, column = (block % tiles) * blockDim.x + threadIdx.x;
    if (column >= a.width) continue;
    const float* x = a.x + image * a.x_stride;
    const float* y = a.y + image * a.points;
    uint8_t* out = a.out + image * a.height * a.width + column;
    for (int64_t row = 0; row < a.height + 2; ++row) difference[row * blockDim.x + threadIdx.x] = 0;
    const auto add = [&](int64_t row, int value) { difference[row * blockDim.x + threadIdx.x] += value; };
    for (int s = 0; s < a.subcolumns; ++s) {
      const float at = static_cast<float>(column) + (static_cast<float>(s) + 0.5f) * step;
      const auto deposit = [&](Interval hit) { deposit_interval(hit, static_cast<float>(a.height), weight, add); };
      if (a.band != nullptr) {
        const Interval hit = band_interval(x, y, a.band + image * a.points, a.points, at);
        if (!hit.empty()) deposit(hit);
      } else {
        visit_column(x, y, a.points, first_point(x, a.points, at, r), at, r, deposit);
      }
    }
    int sum = 0;
    for (int64_t row = 0; row < a.height; ++row) {
      sum += difference[row * blockDim.x + threadIdx.x];
      out[row * a.width] = to_level(sum, scale);
    }
  }
}

// One thread per image: the outline is a chain, and its sums then come out the same on every run.
__global__ void agg_outline_kernel(RasterizeArgs a, float* area) {
  for (int64_t image = first_item(); image < a.images; image += item_step()) {
    AreaAccumulator accumulator{area + image * a.height * (a.width + 1), a.height, a.width};
    stroke_outline(a.x + image * a.x_stride, a.y + image * a.points, a.points, 0.5 * static_cast<double>(a.linewidth),
                   accumulator);
  }
}

__global__ void agg_resolve_kernel(RasterizeArgs a, const float* area) {
  for (int64_t row = first_item(); row < a.images * a.height; row += item_step()) {
    resolve_agg_row(area + row * (a.width + 1), a.width, a.out + row * a.width);
  }
}

}  // namespace

int rasterize_cuda(const RasterizeArgs& args, float* scratch, void* stream_handle) {
  if (args.images * args.height * args.width == 0) return cudaSuccess;
  const cudaStream_t stream = static_cast<cudaStream_t>(stream_handle);
  if (args.coverage == Coverage::agg && args.band == nullptr) {
    agg_outline_kernel<<<blocks_for(args.images, 32), 32, 0, stream>>>(args, scratch);
    if (const int error = cudaGetLastError()) return error;
    agg_resolve_kernel<<<blocks_for(args.images * args.height, 128), 128, 0, stream>>>(args, scratch);
    return cudaGetLastError();
  }
  const int64_t column_bytes = (args.height + 2) * static_cast<int64_t>(sizeof(int));
  const int64_t threads = std::min<int64_t>(32, kSharedBytes / column_bytes);
  if (threads == 0) return cudaErrorInvalidConfiguration;
  const int64_t tiles = (args.width + threads - 1) / threads;
  const unsigned blocks = blocks_for(args.images * tiles, 1);
  union_kernel<<<blocks, static_cast<unsigned>(threads), static_cast<size_t>(threads * column_bytes), stream>>>(args,
                                                                                                            tiles);
  return cudaGetLastError();
}

}  // namespace spectromer
