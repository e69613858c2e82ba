// Drawing on the CPU, for the operator itself and for render. Images whose points share their x are drawn side by side
// in vector lanes.
#pragma once

#include <vector>

#include "../core/raster.h"
#include "../ops.h"

namespace spectromer {

// Size and stroke of the images of one call.
struct Canvas {
  int64_t height, width;
  float linewidth;
  int subcolumns;
};

// Memory of one thread, reused from group to group.
struct RasterScratch {
  struct Rest {  // an interval beyond the one that a lane has there
    int lane;
    int64_t slot;
    Interval hit;
  };
  std::vector<float> x;                  // [points]
  std::vector<float> y, other;           // [points, lanes]; NaN where a line is broken
  std::vector<int64_t> next_break;       // [points] the next point, from there on, at which a line is broken
  std::vector<float> slope, drop;        // [points, lanes] of the segment that begins at a point
  std::vector<float> middle, half;       // [points] of the same, common to all lanes
  std::vector<float> inner;              // [points] closer to its middle than this the sides of a segment do not come
  std::vector<float> reach;              // [points] heights of the discs over one sub-column
  std::vector<int> edges;                // both ends of each sub-column's interval, [sub-columns of a tile, ends, lanes]
  std::vector<int64_t> cells;            // [height + 1, columns of a tile] sums of one image, left zeroed
  std::vector<Rest> rest;
  // Of draw_agg:
  std::vector<int64_t> pieces;           // where each unbroken piece of the line begins
  std::vector<float> area, sums;         // differences from column to column, left zeroed, and their sums
  std::vector<float> parts;              // of edges, that wait to be added
  std::vector<float> tile_rows;          // [2, tiles] the lowest and highest places drawn on
};

// How many images are drawn side by side, and how many it may ever be.
int64_t images_together();
constexpr int64_t kMostLanes = 16;

// Draws lines y[image] [points] at x [points] as out[image] [height, width].
void draw_union(const Canvas& canvas, const float* x, const float* const* y, int64_t points, int64_t images,
                uint8_t* const* out, RasterScratch& scratch);

// Fills the space from upper[image] down to lower[image], both [points] at x, where both are drawable.
void draw_band(const Canvas& canvas, const float* x, const float* const* upper, const float* const* lower,
               int64_t points, int64_t images, uint8_t* const* out, RasterScratch& scratch);

// One line as matplotlib draws it.
void draw_agg(const Canvas& canvas, const float* x, const float* y, int64_t points, uint8_t* out,
              RasterScratch& scratch);

}  // namespace spectromer
