// The stroke as matplotlib draws it, on the CPU.
#include "../core/agg.h"

#include "raster.h"

#define SPECTROMER_KERNELS "agg_kernels.h"
#include "each_level.h"

namespace spectromer {

void draw_agg(const Canvas& canvas, const float* x, const float* y, int64_t points, uint8_t* out,
              RasterScratch& scratch) {
  SPECTROMER_BEST(draw_stroke)(canvas, x, y, points, out, scratch);
}

}  // namespace spectromer
