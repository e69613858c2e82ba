// The interface between Python and the native code: one struct of arguments per operator, and one function per operator
// and device.
//
// Python (spectromer/ops) validates arguments and allocates memory. Native code works on the given memory and does not
// depend on torch. Every tensor is dense and row-major, offsets are int64, and launches are asynchronous on `stream`.
// bindings.cpp exports the enums and the fields of the structs under the same names.
#pragma once

#include <cstdint>

namespace spectromer {

enum class Method : int { flux_conserving, linear };
enum class Coverage : int { area_union, agg };  // the first is called "union" in Python
enum class Quantity : int { flux, first, second, error, mask, regions };
enum class Scale : int { percentile, minmax, fixed };
enum class PixelType : int { uint8, float32, bfloat16 };

// A pixel is good if its flux is finite and its ivar finite and positive. No other pixel contributes to an output.
// Spectra are stored contiguously. Each has `pixels` values, or, if ragged, spectrum r has the values from offsets[r]
// to offsets[r + 1].
struct ResampleArgs {
  const float* flux;         // [rows, pixels] or [offsets[rows]] flux density, any unit
  const float* ivar;         // like flux: inverse variance, 1 / flux unit^2; 0 = masked
  const double* wavelength;  // [pixels] if shared, else like flux: pixel centres, Angstrom, increasing
  const double* grid;        // [bins] if shared, else [rows, bins]: bin centres, Angstrom, increasing
  const int64_t* offsets;    // [rows + 1], or null
  const int64_t* shift;      // [rows] index into the shared wavelength at which each spectrum begins; null means 0
  int64_t rows, pixels, bins;
  bool shared_wavelength, shared_grid;
  float coverage;  // share of a bin, in [0, 1], that good pixels must cover for it not to be masked
  Method method;
  double max_gap;         // in steps between pixels; wider ones are gaps (see core/gaps.h). Infinity: nothing is a gap
  float* out_flux;        // [rows, bins]; 0 where masked. Not used by the backward operator.
  float* out_ivar;        // [rows, bins]; 0 where masked. Not used by the backward operator.
  const float* grad_out;  // [rows, bins] gradient of out_flux. Used by the backward operator only.
  float* grad_flux;       // like flux: gradient of flux. Used by the backward operator only.
  void* plan;             // written by make_bin_plan_cuda for this wavelength and grid, or null. CUDA only.
};

// Coordinates are pixels: x from the left edge, y down from the top edge; the pixel in row j and column c is the unit
// square at (c, j). A point whose y is not finite, or beyond 1e9, breaks the line.
struct RasterizeArgs {
  const float* y;  // [images, points]
  const float* x;  // [points] or [images, points], within 1e9, not decreasing
  int64_t images, points;
  int64_t x_stride;   // 0 if x is shared, else points
  const float* band;  // like y, or null: the other edge of a band, which is then filled in place of drawing a line
  int64_t height, width;
  float linewidth;  // pixels
  int subcolumns;   // samples of each pixel column; not used by Coverage::agg
  Coverage coverage;
  uint8_t* out;  // [images, height, width]; 0 = empty, 255 = fully covered
};

// Rendering of spectra as images. Each quantity of a spectrum is drawn as planes of grey levels from 0 to 255: one
// plane per panel, or one plane with all panels stacked vertically. Planes are converted to channels of the image in
// one of three ways: each plane is a channel, all planes are composited as inks, or a colour map is applied to a single
// plane.
struct RenderArgs {
  ResampleArgs spectra;   // the spectra and the bins in which they are drawn; its outputs are not used. With bins = 0,
                          // each spectrum's own pixels are drawn, from its first good one to its last.
  int64_t size;           // height and width of the image
  int64_t panels;         // segments of the wavelength range, with equally many bins
  bool stacked;           // all panels are stacked vertically in one plane (size is a multiple of panels)
  bool log_axis;          // the horizontal axis of own pixels is ln(wavelength)
  const int* quantities;  // [quantity_count] of Quantity
  int64_t quantity_count;
  int64_t block;       // height and width of the square that represents a bin; 0 draws lines
  bool boustrophedon;  // every other row of squares runs from right to left
  Scale scale;
  float fixed_low, fixed_high;  // flux at the bottom and at the top, for Scale::fixed
  double percentiles[2];        // for Scale::percentile, and for derivatives unless the scale is Scale::minmax
  bool per_panel;               // each panel has a scale of its own
  float margin;                 // share of the height left free at the bottom and at the top
  float side_margin;            // share of the width left free on the left and on the right, for own pixels
  float linewidth;              // pixels
  int subcolumns;               // as in RasterizeArgs
  Coverage coverage;
  const uint8_t* marks;  // whether bins lie in regions: [bins] if shared, else [rows, bins]; for own pixels like flux
  bool shared_marks;
  const float* alpha;       // [planes] opacity, 0 to 1
  const float* inks;        // [planes, 3] levels of R, G, B; null if planes are channels
  bool light;               // the ground is 255 and (without inks) the ink 0, instead of 0 and 255
  bool plain;               // each plane is an opaque channel on the dark ground, so that levels are output unchanged
  const uint8_t* colormap;  // [256, 3] levels of R, G, B for each level of the only plane, or null
  PixelType type;
  const float* factor;  // [channels] of the output, which is factor * level + offset unless uint8
  const float* offset;  // [channels]
  void* out;            // [rows, channels, size, size]

  int64_t planes() const { return quantity_count * (stacked ? 1 : panels); }
  int64_t channels() const { return inks != nullptr || colormap != nullptr ? 3 : planes(); }
};

// Index of the first row that is not finite and strictly increasing, or -1. values: [rows, count], or ragged if
// `offsets` [rows + 1] is not null.
int64_t first_not_increasing(const double* values, int64_t rows, int64_t count, const int64_t* offsets);

// Both return the first row whose own wavelengths are not finite and strictly increasing, or -1. The results of all
// other rows are valid.
int64_t resample_cpu(const ResampleArgs& args, int threads);
int64_t render_cpu(const RenderArgs& args, int threads);

void resample_backward_cpu(const ResampleArgs& args, int threads);
void rasterize_cpu(const RasterizeArgs& args, int threads);

// The CUDA operators return a CUDA error code, which is 0 for success, or kTooLarge, in which case nothing has been
// launched. The tables of RenderArgs are in device memory, except for `quantities`.
constexpr int kTooLarge = -1;  // a spectrum or image does not fit in a block's shared memory, or there are more than
                               // 2^31 of them

// The size of a plan in bytes, or 0 if none is needed. A plan holds the weights that resample shared wavelengths to a
// shared grid, for resampling and rendering. It is valid for any flux, ivar, offsets, shifts and coverage.
int64_t bin_plan_bytes(const ResampleArgs& args);
int make_bin_plan_cuda(const ResampleArgs& args, void* stream);

int resample_cuda(const ResampleArgs& args, void* stream);
int resample_backward_cuda(const ResampleArgs& args, void* stream);
int rasterize_cuda(const RasterizeArgs& args, void* stream);
int render_cuda(const RenderArgs& args, void* stream);
const char* cuda_error_string(int code);

}  // namespace spectromer
