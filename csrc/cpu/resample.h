// Resampling of rows on the CPU, for the operator itself and for render.
#pragma once

#include <memory>
#include <vector>

#include "../core/resample.h"
#include "vector.h"

namespace spectromer {

// Which pixels each bin of a shared grid meets, and with what weight, for pixels at shared wavelengths.
struct ResamplePlan {
  Method method;
  std::vector<double> wavelength, grid;
  std::vector<int64_t> pixel;  // [bins] first pixel that the bin meets
  std::vector<int64_t> start;  // [bins + 1] where the bin's weights start
  std::vector<double> weight;
  std::vector<float> total;  // [bins] sum of the bin's weights
};

// Memory of one thread, reused from row to row.
struct ResampleScratch {
  std::vector<double> tile, pixels, bins;
  int64_t call = 0;              // of the Resampler that last used this
  const double* grid = nullptr;  // whose edges `bins` holds since
};

class Resampler {
 public:
  // Without `ivar` the inverse variances that come out need only be positive where a bin is not masked.
  explicit Resampler(const ResampleArgs& args, bool ivar = true);

  // Resamples rows [begin, begin + count), count <= kLanes; row r of them goes to out_flux + r * bins, out_ivar alike.
  void run(int64_t begin, int64_t count, float* out_flux, float* out_ivar, ResampleScratch& scratch) const;

 private:
  const ResampleArgs& args_;
  float required_;
  bool ivar_;
  int64_t call_;
  std::shared_ptr<const ResamplePlan> plan_;  // where wavelength and grid are shared
};

}  // namespace spectromer
