// The contract between Python and the native code: one argument struct and one function per op and device.
//
// Python (spectromer/ops) validates and allocates; native code reads and writes what it is given and knows nothing
// of torch. Every tensor is dense and row-major. Offsets are int64. Launches are asynchronous on `stream`.
#pragma once

#include <cstdint>

namespace spectromer {

enum class Method : int { flux_conserving = 0, linear = 1 };
enum class Coverage : int { area_union = 0, agg = 1 };
enum class Quantity : int { flux = 0, first = 1, second = 2, error = 3, mask = 4, regions = 5 };
enum class Scale : int { percentile = 0, minmax = 1, fixed = 2 };
enum class PixelType : int { uint8 = 0, float32 = 1, bfloat16 = 2 };

// A pixel is good when its flux is finite and its ivar finite and positive; no other pixel reaches an output.
// Rows lie one behind the other: all of `pixels`, or (ragged) row r from offsets[r] to offsets[r + 1].
struct ResampleArgs {
  const float* flux;         // [rows, pixels] or [offsets[rows]] flux density, any unit
  const float* ivar;         // like flux: inverse variance, 1 / flux unit^2; 0 = masked
  const double* wavelength;  // [pixels] if shared, else like flux: pixel centres, Angstrom, increasing
  const double* grid;        // [bins] if shared, else [rows, bins]: bin centres, Angstrom, increasing
  const int64_t* offsets;    // [rows + 1], or null
  const int64_t* shift;      // [rows] index into the shared wavelength at which each row begins, or null: 0
  int64_t rows, pixels, bins;
  bool shared_wavelength, shared_grid;
  float coverage;  // least covered share of a bin, [0, 1]; below it the bin is masked
  Method method;
  float* out_flux;        // [rows, bins]; 0 where masked. Unused by the backward.
  float* out_ivar;        // [rows, bins]; 0 where masked. Unused by the backward.
  const float* grad_out;  // [rows, bins] gradient of out_flux. Used by the backward alone.
  float* grad_flux;       // like flux: gradient of flux. Used by the backward alone.
  void* plan;             // what make_bin_plan_cuda has written for this wavelength and grid, or null. CUDA alone.
};

// Coordinates are pixels: x from the left edge, y down from the top edge; pixel (row j, column c) is the unit square
// at (c, j). A point whose y is not finite, or beyond 1e9, breaks the line.
struct RasterizeArgs {
  const float* y;  // [images, points]
  const float* x;  // [points] or [images, points], within 1e9, not decreasing
  int64_t images, points;
  int64_t x_stride;  // 0 (shared) or points
  const float* band;  // like y, or null: the other edge of a band, which is filled in place of drawing a line
  int64_t height, width;
  float linewidth;  // pixels
  int subcolumns;   // samples of each column (union only)
  Coverage coverage;
  uint8_t* out;  // [images, height, width]; 0 = empty, 255 = fully covered
};

// From spectra to images. Each quantity of a spectrum is drawn as planes of levels 0 to 255: one for each panel, or one
// of all panels under one another. Planes become channels of the image: each by itself, or all together as inks over
// one another, or one of them through a colour map.
struct RenderArgs {
  ResampleArgs spectra;  // what is drawn, and on what bins; bins = 0: each spectrum's own pixels, from its first good
                         // one to its last. Outputs are unused.
  int64_t size;          // height and width of the image
  int64_t panels;        // segments, of equal numbers of bins
  bool rows;             // panels lie under one another (size is a multiple of them), else each is a plane
  bool log_axis;         // own pixels lie along ln(wavelength)
  const int* quantities; // [quantity_count] of Quantity
  int64_t quantity_count;
  int64_t block;       // 0: lines; else the height and width of the squares that stand for the bins, one for each
  bool boustrophedon;  // every other row of blocks runs from right to left
  Scale scale;
  float fixed_low, fixed_high;    // flux at the bottom and the top, for Scale::fixed
  double percentiles[2];          // for Scale::percentile, and for derivatives unless Scale::minmax
  bool per_panel;                 // each panel has a scale of its own
  float margin;                   // share of the height left free at the bottom and at the top
  float side_margin;              // share of the width left free left and right, of own pixels
  float linewidth;                // pixels
  int subcolumns;                 // as in RasterizeArgs
  Coverage coverage;
  const uint8_t* marks;  // the bins in regions: [bins] if shared, else [rows, bins]; of own pixels, like flux
  bool shared_marks;
  const float* alpha;       // [planes] opacity, 0 to 1
  const float* inks;        // [planes, 3] levels of R, G, B, or null: planes are channels
  bool light;               // the ground is 255 and (without inks) the ink 0, else the other way round
  bool plain;               // every plane is a channel by itself, opaque and on the dark ground: levels are shown as they are
  const uint8_t* colormap;  // [256, 3] levels of R, G, B for one plane's levels, or null
  PixelType type;
  const float* factor;  // [channels] of the output, which is factor * level + offset unless uint8
  const float* offset;  // [channels]
  void* out;            // [rows, channels, size, size]

  int64_t planes() const { return quantity_count * (rows ? 1 : panels); }
  int64_t channels() const { return inks != nullptr || colormap != nullptr ? 3 : planes(); }
};

// Index of the first row that is not strictly increasing (or not finite), or -1. values: [rows, count], or ragged
// where `offsets` [rows + 1] is not null.
int64_t first_not_increasing(const double* values, int64_t rows, int64_t count, const int64_t* offsets);

// Return the first row whose own wavelengths are not finite and increasing, or -1. (The others' results stand.)
int64_t resample_cpu(const ResampleArgs& args, int threads);
int64_t render_cpu(const RenderArgs& args, int threads);
void resample_backward_cpu(const ResampleArgs& args, int threads);
void rasterize_cpu(const RasterizeArgs& args, int threads);

// Each returns a CUDA error code, 0 for success, or kTooLarge and has done nothing. The tables of RenderArgs lie on the
// device, but for `quantities`.
constexpr int kTooLarge = -1;  // one spectrum or image takes more than the memory that a block of threads shares, or there
                               // are more than 2^31 of them

// Bytes of a plan of the weights of a shared grid over shared wavelengths, which resampling and rendering read; 0 where
// they do without one. A plan serves all flux, ivar, offsets and shifts.
int64_t bin_plan_bytes(const ResampleArgs& args);
int make_bin_plan_cuda(const ResampleArgs& args, void* stream);

int resample_cuda(const ResampleArgs& args, void* stream);
int resample_backward_cuda(const ResampleArgs& args, void* stream);
int rasterize_cuda(const RasterizeArgs& args, void* stream);
int render_cuda(const RenderArgs& args, void* stream);
const char* cuda_error_string(int code);

}  // namespace spectromer
