// Lines and bands, with a block of threads for each image.
#include <cmath>

#include "launch.h"
#include "strip_agg.cuh"
#include "strip_union.cuh"

namespace spectromer {
namespace {

constexpr int kImageThreads = 256, kImageWarps = kImageThreads / kWarp;

// The layout of a block's shared memory: a strip, and the line if it fits.
struct RasterPlan {
  StripLayout strip;
  AggLayout agg;
  StrokeShape shape{1.0f};
  int weight;          // weight of a sub-column
  float step;          // distance between sub-columns
  float level_scale;   // factor from weights to levels
  Reserved x, y;       // [points] of the line
  Reserved sides;      // [points]
  Reserved starts;     // [width] first point that can touch a pixel column
  Reserved gaps;       // [strips] whether the line has a gap near its columns
  Reserved segments;   // [strips] of SegmentRange: the segments near each strip, for lines as drawn by AGG
  int64_t pixels = 0;  // pixels of an image
  int rows = 0, access = 1;
  int64_t bytes = 0;

  bool staged() const { return static_cast<bool>(y); }
};

RasterPlan make_plan(const RasterizeArgs& a) {
  RasterPlan p;
  p.pixels = a.height * a.width;
  p.shape = StrokeShape(a.linewidth);
  p.weight = subcolumn_weight(a.subcolumns);
  p.step = 1.0f / static_cast<float>(a.subcolumns);
  p.level_scale = level_scale(a.subcolumns);
  SharedLayout layout;
  const bool band = a.band != nullptr, agg = a.coverage == Coverage::agg && !band;
  p.rows = static_cast<int>(std::min<int64_t>(a.height, kMostRows));
  if (agg) p.agg.reserve(layout, a.width, a.height, p.rows, kImageWarps);
  else p.strip.reserve(layout, p.rows, kImageWarps), p.strip.reserve_turned(layout, kImageWarps);
  p.access = row_access(a.out, a.width);
  SharedLayout more = layout;
  const Reserved x = more.reserve<float>(a.points), y = more.reserve<float>(a.points);
  const int64_t strips = (a.width + kWarp - 1) / kWarp;
  Reserved sides, starts, gaps, segments;
  if (agg) segments = more.reserve<SegmentRange>(strips);
  else sides = more.reserve<Sides>(a.points), starts = more.reserve<int>(a.width), gaps = more.reserve<int>(strips);
  if (!band && more.bytes <= most_shared_bytes()) {
    p.x = x, p.y = y, p.sides = sides, p.starts = starts, p.gaps = gaps, p.segments = segments;
    layout = more;
  }
  p.bytes = layout.bytes;
  return p;
}

// Calls draw(column, top, rows) for each strip of an image.
template <class Draw>
__device__ void visit_strips(const RasterizeArgs& a, const RasterPlan& p, Draw draw) {
  const int height = static_cast<int>(a.height), width = static_cast<int>(a.width);
  for (int top = 0; top < height; top += p.rows) {
    const int rows = height - top < p.rows ? height - top : p.rows;
    for (int column = 0; column < width; column += kWarp) draw(column, top, rows);
  }
}

// Writes 16 levels of any row of a strip, from a given column on.
struct RasterRowWriter {
  uint8_t* at;      // its first pixel
  int width, room;  // width of the image, and the number of its columns from there on
  int access;

  __device__ __forceinline__ uint4 pixels(const uint4& levels) const { return levels; }
  __device__ __forceinline__ uint4 blank() const { return make_uint4(0, 0, 0, 0); }

  __device__ __forceinline__ void put(int row, const uint4& levels) const {
    uint8_t* to = at + uint64_t{static_cast<unsigned>(row)} * static_cast<unsigned>(width);
    if (access == 16) {
      if (room > 0) *reinterpret_cast<uint4*>(to) = levels;
    } else {
      store_word(to, levels.x, room, access);
      store_word(to + 4, levels.y, room - 4, access);
      store_word(to + 8, levels.z, room - 8, access);
      store_word(to + 12, levels.w, room - 12, access);
    }
  }
};

__device__ __forceinline__ RasterRowWriter row_writer(const RasterizeArgs& a, const RasterPlan& p, unsigned image,
                                                      int column, int top) {
  const int width = static_cast<int>(a.width), own = column + lane_piece() * kPiece;
  uint8_t* at = a.out + image * p.pixels + uint64_t{static_cast<unsigned>(top)} * static_cast<unsigned>(width) + own;
  return RasterRowWriter{kept(at), width, width - own, p.access};
}

// Calls cover(column, at, emit) for each sub-column of the strip. `cover` calls emit(interval) for what is covered.
template <class Cover>
__device__ __forceinline__ void draw_subcolumns(const Strip& strip, const RasterizeArgs& a, const RasterPlan& p,
                                                int column, int top, int rows, Cover cover) {
  const int own = column + lane_index(), width = static_cast<int>(a.width);
  const float above = static_cast<float>(top), height = static_cast<float>(rows);
  RowRange touched;
  for (int k = warp_index(); own < width && k < a.subcolumns; k += kImageWarps) {
    cover(own, static_cast<float>(own) + (static_cast<float>(k) + 0.5f) * p.step, [&](Interval hit) {
      if (!hit.empty()) strip.add(Interval{hit.top - above, hit.bottom - above}, 0, height, p.weight, touched);
    });
  }
  strip.touch(touched);
}

__global__ void __launch_bounds__(kFor64Registers, 2)
    rasterize_band_kernel(const __grid_constant__ RasterizeArgs a, const __grid_constant__ RasterPlan p) {
  const Strip strip(p.strip);
  strip.clear();
  for (unsigned image = blockIdx.x; image < a.images; image += gridDim.x) {
    const int points = static_cast<int>(a.points);
    const float* x = a.x + image * a.x_stride;
    const float* y = a.y + image * a.points;
    const float* band = a.band + image * a.points;
    visit_strips(a, p, [&](int column, int top, int rows) {
      __syncthreads();
      draw_subcolumns(strip, a, p, column, top, rows,
                      [&](int, float at, auto emit) { emit(band_interval(x, y, band, points, at)); });
      strip.put_levels(rows, p.level_scale, row_writer(a, p, image, column, top));
    });
  }
}

// A line in shared memory, with all data needed to draw it.
struct StagedLine {
  Shared<float> x, y;
  Shared<Sides> sides;
  Shared<int> starts, gaps;
  int points, width;
  float r;

  __device__ StagedLine(const RasterizeArgs& a, const RasterPlan& p)
      : x(shared_at<float>(p.x)), y(shared_at<float>(p.y)), sides(shared_at<Sides>(p.sides)),
        starts(shared_at<int>(p.starts)), gaps(shared_at<int>(p.gaps)), points(static_cast<int>(a.points)),
        width(static_cast<int>(a.width)), r(0.5f * a.linewidth) {}

  // Loads a line, by the whole block. A height that does not belong to the line becomes NaN.
  __device__ void load(const RasterizeArgs& a, unsigned image) const {
    const float* from_x = a.x + image * a.x_stride;
    const float* from_y = a.y + image * a.points;
    for (int i = thread_index(); i < points; i += kImageThreads) {
      const float height = from_y[i];
      x[i] = from_x[i];
      y[i] = drawable(height) ? height : NAN;
    }
    for (int i = thread_index(); i * kWarp < width; i += kImageThreads) gaps[i] = 0;
    __syncthreads();
    for (int i = thread_index(); i + 1 < points; i += kImageThreads) {
      sides[i] = make_sides(x[i], y[i], x[i + 1], y[i + 1], r);
      if (y[i] == y[i] && y[i + 1] != y[i + 1]) {
        note_gap(x, y, points, i, r, width, [&](int first, int last) {
          for (int strip = first; strip <= last; ++strip) atomicOr(gaps + strip, 1);
        });
      }
    }
    for (int column = thread_index(); column < width; column += kImageThreads) {
      starts[column] = first_point(Shared<const float>(x), points, static_cast<float>(column), r);
    }
    __syncthreads();
  }
};

template <bool kStaged>
__global__ void __launch_bounds__(kFor48Registers, 2)
    rasterize_kernel(const __grid_constant__ RasterizeArgs a, const __grid_constant__ RasterPlan p) {
  const Strip strip(p.strip);
  strip.clear();
  const StagedLine line(a, p);
  for (unsigned image = blockIdx.x; image < a.images; image += gridDim.x) {
    __syncthreads();
    if (kStaged) line.load(a, image);
    visit_strips(a, p, [&](int column, int top, int rows) {
      const bool gap = kStaged && line.gaps[column / kWarp] != 0;
      draw_subcolumns(strip, a, p, column, top, rows, [&](int own, float at, auto emit) {
        if constexpr (kStaged) {
          const Shared<const float> x = line.x, y = line.y;
          const auto sides = [&](int i) -> Sides { return line.sides[i]; };
          const int first = line.starts[own];
          if (gap) visit_column(x, y, sides, line.points, first, at, line.r, emit);
          else emit(hit_without_gaps(x, y, sides, line.points, first, at, line.r));
        } else {
          const float* x = a.x + image * a.x_stride;
          const float* y = a.y + image * a.points;
          const auto sides = [&](int i) { return make_sides(x[i], y[i], x[i + 1], y[i + 1], line.r); };
          visit_column(x, y, sides, line.points, first_point(x, line.points, at, line.r), at, line.r, emit);
        }
      });
      strip.put_levels(rows, p.level_scale, row_writer(a, p, image, column, top));
    });
  }
}

template <bool kStaged>
__global__ void __launch_bounds__(kFor64Registers, 2)
    rasterize_agg_kernel(const __grid_constant__ RasterizeArgs a, const __grid_constant__ RasterPlan p) {
  const AggStrip strip(p.agg);
  strip.clear();
  const int points = static_cast<int>(a.points);
  for (unsigned image = blockIdx.x; image < a.images; image += gridDim.x) {
    const float* from_x = a.x + image * a.x_stride;
    const float* from_y = a.y + image * a.points;
    const Shared<float> staged_x = shared_at<float>(p.x), staged_y = shared_at<float>(p.y);
    __syncthreads();
    for (int i = thread_index(); kStaged && i < points; i += kImageThreads)
      staged_x[i] = from_x[i], staged_y[i] = from_y[i];
    __syncthreads();
    const Shared<SegmentRange> segments = shared_at<SegmentRange>(p.segments);
    for (int i = thread_index(); kStaged && i * kWarp < a.width; i += kImageThreads) {
      segments[i] = segments_near(Shared<const float>(staged_x), points, i * kWarp, p.shape);
    }
    __syncthreads();
    visit_strips(a, p, [&](int column, int top, int rows) {
      const auto add = [&](auto x, auto y) {
        const SegmentRange range =
            kStaged ? static_cast<SegmentRange>(segments[column / kWarp]) : segments_near(x, points, column, p.shape);
        const Vertex origin{static_cast<float>(column), static_cast<float>(top)};
        const OutlinedLine<decltype(x), decltype(y)> line{x, y, range, p.agg.right, p.agg.bottom, p.shape, origin};
        RowRange touched;
        strip.add_line(line, 0, static_cast<float>(rows), touched);
        strip.touch(touched);
      };
      if constexpr (kStaged) add(Shared<const float>(staged_x), Shared<const float>(staged_y));
      else add(from_x, from_y);
      strip.put_levels(rows, row_writer(a, p, image, column, top));
    });
  }
}

}  // namespace

int rasterize_cuda(const RasterizeArgs& args, void* stream) {
  if (args.images * args.height * args.width == 0) return 0;
  if (std::max({args.points, args.width, args.height, args.images}) > INT_MAX / 2) return kTooLarge;
  const RasterPlan plan = make_plan(args);
  const auto kernel = args.band != nullptr ? rasterize_band_kernel
                      : args.coverage == Coverage::agg
                          ? plan.staged() ? rasterize_agg_kernel<true> : rasterize_agg_kernel<false>
                      : plan.staged() ? rasterize_kernel<true>
                                      : rasterize_kernel<false>;
  return launch(kernel,
                Grid{resident_blocks(kernel, kImageThreads, plan.bytes, args.images), kImageThreads, plan.bytes},
                stream, args, plan);
}

}  // namespace spectromer
