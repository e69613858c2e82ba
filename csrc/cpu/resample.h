// Resampling of rows on the CPU, for the operator itself and for render.
#pragma once

#include <atomic>
#include <memory>
#include <new>
#include <vector>

#include "../core/resample.h"

namespace spectromer {

// Begins at a cache line, so that vectors of a line's size do not straddle two.
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

// 2 * lanes pixels from which the bins of a block take, one in each term.
struct PlanWindow {
  int64_t pixel;
  int32_t terms;
  bool ends_block;
};

// Which pixels each bin of a shared grid meets, and with what weight, for pixels at shared wavelengths. Bins are
// handled in blocks of `lanes`.
struct ResamplePlan {
  Method method;
  int lanes;
  std::vector<double> wavelength, grid;
  std::vector<PlanWindow> window;
  std::vector<uint8_t> index;    // [terms, lanes] pixel within the window
  Floats weight;     // [terms, lanes] 0 where a lane has no pixel left
  Floats total;      // [blocks, lanes] sum of a bin's weights
  Floats per_total;  // 1 / total, 0 for a bin that meets no pixel
};

// Some pixels of a row.
struct PixelPiece {
  float level;  // the good flux nearest to 0, infinity where none is good
  bool whole;   // are all good?
};

// What a row's pixels come to.
struct PixelScratch {
  Floats variance;
  Floats near, rest;  // their left edges, as the kernels take them
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

// The edges of bins.
struct BinScratch {
  std::vector<double> edge;
  Floats near, rest;  // the same, as the kernels take them
  Floats share;       // 1 / width
};

// Memory of one thread, reused from row to row.
struct ResampleScratch {
  PixelScratch row[2];  // as many are handled at a time
  BinScratch bins;
  int64_t call = 0;              // of the Resampler that last used this
  const double* grid = nullptr;  // whose bins it holds since
};

// How a row's kernel has ended; unusual: single precision may not do for its values.
enum class Outcome { done, unusual, not_increasing };

class Resampler {
 public:
  // Without `ivar` no inverse variances come out, and fluxes of masked bins are NaN instead of 0.
  explicit Resampler(const ResampleArgs& args, bool ivar = true);

  // Resamples rows [begin, begin + count); row r of them goes to out_flux + r * bins, out_ivar (if wanted) alike.
  // Those whose own wavelengths do not increase are left undefined.
  void run(int64_t begin, int64_t count, float* out_flux, float* out_ivar, ResampleScratch& scratch) const;

  // Checks the row's own wavelengths; what is shared has been checked.
  bool check(const SpectrumRow& s, int64_t row) const;

  // The first row whose own wavelengths have been found not to increase, or -1.
  int64_t first_bad() const;

 private:
  void found_bad(int64_t row) const;
  Outcome run_own(const SpectrumRow& s, const double* grid, float* out_flux, float* out_ivar,
                  ResampleScratch& scratch) const;

  const ResampleArgs& args_;
  float required_;
  bool ivar_;
  int64_t call_;
  std::shared_ptr<const ResamplePlan> plan_;  // where wavelength and grid are shared
  mutable std::atomic<int64_t> first_bad_{INT64_MAX};
};

}  // namespace spectromer
