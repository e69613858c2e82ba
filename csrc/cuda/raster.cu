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

// Signed area of the outline's cells, as differences along each row: their prefix sum is the winding integral.
struct Area {
  float* cell;  // [height, width + 1]
  int64_t height, width;

  // Any edge, row by row; what lies beside the image is moved to its border, so that the winding stays right.
  __device__ void operator()(float x0, float y0, float x1, float y1) {
    if (y0 == y1) return;
    const float sign = y0 < y1 ? 1.0f : -1.0f, slope = (x1 - x0) / (y1 - y0);
    const float top = larger(smaller(y0, y1), 0.0f), bottom = smaller(larger(y0, y1), static_cast<float>(height));
    for (int64_t row = static_cast<int64_t>(top); static_cast<float>(row) < bottom; ++row) {
      const float from = larger(top, static_cast<float>(row)), to = smaller(bottom, static_cast<float>(row + 1));
      add_crossing(row, x0 + slope * (from - y0), x0 + slope * (to - y0), sign * (to - from));
    }
  }

  // What an edge leaves in a row that it crosses from x = a to x = b with signed height d: in each cell, its share to
  // the right of the edge (as a difference to the cell before), which is the mean over the crossing.
  __device__ void add_crossing(int64_t row, float a, float b, float d) {
    const float left = smaller(a, b), right = larger(a, b), w = static_cast<float>(width);
    float* line = cell + row * (width + 1);
    float before = 0.0f;
    for (int64_t column = static_cast<int64_t>(clamped(left, 0.0f, w)); column <= width && before < 1.0f; ++column) {
      const float c = static_cast<float>(column);
      // Integral over the crossing's x of the cell's part right of it, over the crossing's length.
      const float from = clamped(left, c, c + 1.0f), to = clamped(right, c, c + 1.0f);
      float share = right <= c ? 1.0f : 0.0f;
      if (right > left) {
        const float past = larger(smaller(right, c) - left, 0.0f), within = to - from;
        share = (past + within * (c + 1.0f - 0.5f * (from + to))) / (right - left);
      } else if (right < c + 1.0f) {
        share = smaller(c + 1.0f - right, 1.0f);
      }
      line[column] += d * (share - before);
      before = share;
    }
  }
};

// Draws the outline of one piece of a line as its points come in.
struct Pen {
  const StrokeShape& shape;
  Area& area;
  OutlineSide<Area> left{area, false, 0.0f, 0.0f}, right{area, true, 0.0f, 0.0f};
  float x = 0.0f, y = 0.0f, ux = 0.0f, uy = 0.0f, length = 0.0f;  // the last point and the segment that led there

  __device__ void point(float to_x, float to_y, bool starts) {
    if (starts) {
      finish();
    } else if (to_x == x && to_y == y) {
      return;
    } else {
      const float dx = to_x - x, dy = to_y - y, next = sqrtf(dx * dx + dy * dy);
      if (length > 0.0f) {
        const Join<float, bool> join(shape, ux, uy, length, dx / next, dy / next, next,
                                     [](float v) { return sqrtf(v); });
        visit_join(join, x, y, 1.0f, [&](float px, float py) { left.add(px, py); });
        visit_join(join, x, y, -1.0f, [&](float px, float py) { right.add(px, py); });
      } else {
        const Cap cap = make_cap(x, y, shape.half * dy / next, -shape.half * dx / next, true);
        left.x = cap.left_x, left.y = cap.left_y, right.x = cap.right_x, right.y = cap.right_y;
        area(right.x, right.y, left.x, left.y);
      }
      ux = dx / next, uy = dy / next, length = next;
    }
    x = to_x, y = to_y;
  }

  __device__ void finish() {
    if (length > 0.0f) {
      const Cap cap = make_cap(x, y, shape.half * uy, -shape.half * ux, false);
      left.add(cap.left_x, cap.left_y);
      right.add(cap.right_x, cap.right_y);
      area(left.x, left.y, right.x, right.y);
    }
    length = 0.0f;
  }
};

// One thread per image: the outline is a chain, and its sums then come out the same on every run.
__global__ void agg_outline_kernel(RasterizeArgs a, float* area) {
  const StrokeShape shape(a.linewidth);
  for (int64_t image = first_item(); image < a.images; image += item_step()) {
    Area sink{area + image * a.height * (a.width + 1), a.height, a.width};
    Pen pen{shape, sink};
    visit_pieces(a.x + image * a.x_stride, a.y + image * a.points, a.points, a.width, a.height,
                 [&](float x, float y, bool starts) { pen.point(x, y, starts); });
    pen.finish();
  }
}

__global__ void agg_resolve_kernel(RasterizeArgs a, const float* area) {
  for (int64_t row = first_item(); row < a.images * a.height; row += item_step()) {
    float sum = 0.0f;
    for (int64_t column = 0; column < a.width; ++column) {
      sum += area[row * (a.width + 1) + column];
      a.out[row * a.width + column] = agg_level(sum);
    }
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
