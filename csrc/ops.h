// The contract between Python and the native code: one argument struct and one function per op and device.
//
// Python (spectromer/ops) validates and allocates; native code reads and writes what it is given and knows nothing
// of torch. Every tensor is dense and row-major. Offsets are int64. Launches are asynchronous on `stream`.
#pragma once

#include <cstdint>

namespace spectromer {

enum class Method : int { flux_conserving = 0, linear = 1 };
enum class Coverage : int { area_union = 0, agg = 1 };

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
};

// Coordinates are pixels: x from the left edge, y down from the top edge; pixel (row j, column c) is the unit square
// at (c, j). A point whose y is not finite, or beyond 1e9, breaks the line.
struct RasterizeArgs {
  const float* y;  // [images, points]
  const float* x;  // [points] or [images, points], within 1e9, not decreasing
  int64_t images, points;
  int64_t x_stride;  // 0 (shared) or points
  int64_t height, width;
  float linewidth;  // pixels
  int subcolumns;   // samples of each column (union only)
  Coverage coverage;
  uint8_t* out;  // [images, height, width]; 0 = empty, 255 = fully covered
};

// Index of the first row that is not strictly increasing (or not finite), or -1. values: [rows, count], or ragged
// where `offsets` [rows + 1] is not null.
int64_t first_not_increasing(const double* values, int64_t rows, int64_t count, const int64_t* offsets);

void resample_cpu(const ResampleArgs& args, int threads);
void resample_backward_cpu(const ResampleArgs& args, int threads);
void rasterize_cpu(const RasterizeArgs& args, int threads);

// Each returns a CUDA error code, 0 for success. `scratch`: [images, height, width + 1] zeroed floats (agg only).
int resample_cuda(const ResampleArgs& args, void* stream);
int resample_backward_cuda(const ResampleArgs& args, void* stream);
int rasterize_cuda(const RasterizeArgs& args, float* scratch, void* stream);
const char* cuda_error_string(int code);

}  // namespace spectromer
