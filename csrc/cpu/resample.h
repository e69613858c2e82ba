// Resampling of rows on the CPU, for the operator itself and for render.
#pragma once

#include <atomic>
#include <memory>
#include <new>
#include <vector>

#include "../core/resample.h"

namespace spectromer {

// Allocates memory aligned to cache lines, so that vectors of a line's size do not straddle two lines.
template <class T>
struct LineAllocator {
  using value_type = T;
  static constexpr std::align_val_t kLine{64};

  LineAllocator() = default;
  template <class U>
  LineAllocator(const LineAllocator<U>&) {}

  T* allocate(size_t count) { return static_cast<T*>(::operator new(count * sizeof(T), kLine)); }
  void deallocate(T* from, size_t) { ::operator delete(from, kLine); }

  bool operator==(const LineAllocator&) const { return true; }
  bool operator!=(const LineAllocator&) const { return false; }
};

using Floats = std::vector<float, LineAllocator<float>>;

// A window of 2 * lanes pixels. In each of its terms, every bin of a block reads one of them.
struct PlanWindow {
  int64_t pixel;  // the first one
  int32_t terms;
  bool ends_block;
};

// The pixels at shared wavelengths that contribute to each bin of a shared grid, and their weights. Bins are processed
// in blocks of `lanes`.
struct ResamplePlan {
  Method method;
  double max_gap;
  int lanes;
  std::vector<double> wavelength, grid;
  std::vector<PlanWindow> window;
  std::vector<uint8_t> index;  // [terms, lanes] pixel within the window
  Floats weight;               // [terms, lanes] 0 where a lane has no pixel left
  Floats total;                // [blocks, lanes] sum of a bin's weights
  Floats per_total;            // [blocks, lanes] 1 / total, or 0 for a bin without pixels
};

// A piece of a row's pixels.
struct PixelPiece {
  float pivot;  // the good flux that is nearest to 0, or infinity if no pixel is good
  bool whole;   // all pixels are good
};

// The pixels of a row, prepared for the kernels.
struct PixelScratch {
  Floats variance;
  Floats near, rest;  // left edges, as the sum of two floats
  std::vector<PixelPiece> pieces;

  void reserve(int64_t pixels) {
    const size_t size = static_cast<size_t>(pixels);
    if (variance.size() >= size) return;
    variance.resize(size);
    near.resize(size);
    rest.resize(size);
    pieces.resize(size);
  }
};

// The edges of bins, prepared for the kernels.
struct BinScratch {
  std::vector<double> edge;
  Floats near, rest;  // the same edges, as the sum of two floats
  Floats share;       // 1 / width
  bool usual;         // single precision is enough for them
};

// A row with masked pixels in its gaps.
struct FilledRow {
  std::vector<float> flux, ivar;
  std::vector<double> wavelength;
};

// Memory of one thread, reused from row to row.
struct ResampleScratch {
  PixelScratch row[2];  // up to two rows are processed at a time
  BinScratch bins;
  FilledRow filled;
  int64_t call = 0;              // the number of the Resampler that last used this memory
  const double* grid = nullptr;  // the grid whose bins are stored here
};

// The result of a row's kernel. For unusual values, single precision may not be sufficient. Gaps must be filled.
enum class Outcome { done, unusual, gaps, not_increasing };

class Resampler {
 public:
  // Without `ivar` no inverse variances are computed, and the fluxes of masked bins are NaN instead of 0.
  explicit Resampler(const ResampleArgs& args, bool ivar = true);

  // Resamples rows [begin, begin + count). Row begin + r goes to out_flux + r * bins and, with `ivar`, to
  // out_ivar + r * bins. Rows whose own wavelengths do not increase are left undefined.
  void run(int64_t begin, int64_t count, float* out_flux, float* out_ivar, ResampleScratch& scratch) const;

  // Returns whether the row's own wavelengths increase, and records the row if not. Shared ones were checked before.
  bool check(const SpectrumRow& s, int64_t row) const;

  // The first row known to have own wavelengths that do not increase, or -1.
  int64_t first_bad() const;

 private:
  void found_bad(int64_t row) const;
  Outcome run_own(const SpectrumRow& s, const double* grid, float* out_flux, float* out_ivar,
                  ResampleScratch& scratch) const;

  const ResampleArgs& args_;
  double max_gap_;  // infinity if it is known that there are no gaps
  float required_;
  bool ivar_;
  int64_t call_;
  std::shared_ptr<const ResamplePlan> plan_;  // if wavelength and grid are shared
  mutable std::atomic<int64_t> first_bad_{INT64_MAX};
};

}  // namespace spectromer
