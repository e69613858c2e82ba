// Drawing on the CPU, for rasterize and render. Images whose points share their x are drawn side by side in vector
// lanes.
#pragma once

#include <vector>

#include "../core/raster.h"
#include "../ops.h"

namespace spectromer {

// The size and the stroke of the images of one call.
struct Canvas {
  int64_t height, width;
  float linewidth;
  int subcolumns;
};

// Memory of one thread for lines and bands by true area, reused from group to group.
struct UnionScratch {
  struct Rest {  // an interval that a lane has in addition to the one in `edges`
    int lane;
    int64_t slot;
    Interval hit;
  };
  std::vector<float> x;             // [points]
  std::vector<float> y, other;      // [points, lanes]; NaN where a line is broken
  std::vector<int64_t> next_break;  // [points] the next point, from a point on, at which a line is broken
  std::vector<float> slope, drop;   // [points, lanes] of the segment that begins at a point
  std::vector<float> middle, half;  // [points] of the same segment, common to all lanes
  std::vector<float> inner;         // [points] minimum distance of the sides of a segment from its middle
  std::vector<float> reach;         // [points] heights of the discs over one sub-column
  std::vector<int> edges;           // both ends of each sub-column's interval, [sub-columns of a tile, ends, lanes]
  std::vector<int64_t> cells;       // [height + 1, columns of a tile] sums of one image, left zeroed
  std::vector<Rest> rest;
};

// Memory of one thread for lines as drawn by matplotlib, reused from line to line.
struct AggScratch {
  std::vector<float> x, y;                   // [2 points] the line, cut into pieces
  std::vector<int64_t> pieces;               // [points + 1] where each piece begins
  std::vector<float> ux, uy, length;         // [points] directions and lengths of the segments of a piece
  std::vector<float> area, sums;             // differences from column to column, left zeroed, and their sums
  std::vector<float> waiting;                // parts of edges that are yet to be added
  std::vector<float> tile_bottom, tile_top;  // [tiles] the range of heights that may have been drawn on
};

struct RasterScratch {
  UnionScratch by_area;
  AggScratch agg;
};

// The number of images that are drawn side by side with the target in use, and its maximum.
int64_t images_together();
constexpr int64_t kMostLanes = 16;

// Draws the lines through y[image] [points] at x [points] as out[image] [height, width].
void draw_union(const Canvas& canvas, const float* x, const float* const* y, int64_t points, int64_t images,
                uint8_t* const* out, UnionScratch& scratch);

// Fills the space from upper[image] down to lower[image], both [points] at x, where both are drawable.
void draw_band(const Canvas& canvas, const float* x, const float* const* upper, const float* const* lower,
               int64_t points, int64_t images, uint8_t* const* out, UnionScratch& scratch);

// Draws one line as matplotlib does.
void draw_agg(const Canvas& canvas, const float* x, const float* y, int64_t points, uint8_t* out, AggScratch& scratch);

}  // namespace spectromer
