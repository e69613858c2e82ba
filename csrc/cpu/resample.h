// Resampling of rows on the CPU, for the operator itself and for render.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "../core/resample.h"

namespace spectromer {

// Which pixels each bin of a shared grid meets, and with what weight, for pixels at shared wavelengths. Bins are
// handled `lanes` at a time; each takes its pixels from windows of 2 * lanes of them, one in each term.
struct ResamplePlan {
  Method method;
  int lanes;
  std::vector<double> wavelength, grid;
  std::vector<int64_t> block;  // [blocks + 1] where the windows of a block start
  std::vector<int64_t> pixel;  // [windows] the first pixel in the window
  std::vector<int64_t> term;   // [windows + 1] where the terms of a window start
  std::vector<uint8_t> index;  // [terms, lanes] pixel within the window
  std::vector<float> weight;   // [terms, lanes] 0 where a lane has no pixel left
  std::vector<float> total;    // [blocks, lanes] sum of a bin's weights
};

// Memory of one thread, reused from row to row.
struct ResampleScratch {
  std::vector<double> edges;  // of a row's own pixels
  std::vector<double> bins;   // edges of the bins
  std::vector<float> blocks;  // the same, block by block, as the kernels take them
  int64_t call = 0;              // of the Resampler that last used this
  const double* grid = nullptr;  // whose bins it holds since
};

// How a row's kernel has ended; unusual: single precision may not do for its values.
enum class Outcome { done, unusual, not_increasing };

class Resampler {
 public:
  // Without `ivar` the inverse variances that come out need only be positive where a bin is not masked.
  explicit Resampler(const ResampleArgs& args, bool ivar = true);

  // Resamples rows [begin, begin + count); row r of them goes to out_flux + r * bins, out_ivar alike.
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
