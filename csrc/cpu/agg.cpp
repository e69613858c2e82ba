// The stroke as drawn by matplotlib, on the CPU.
#include "../core/agg.h"

#include "raster.h"

#define SPECTROMER_TARGET_INCLUDE "../agg-inl.h"
#include "simd/foreach_target.h"

namespace spectromer {

void draw_agg(const Canvas& canvas, const float* x, const float* y, int64_t points, uint8_t* out, AggScratch& scratch) {
  SPECTROMER_DISPATCH(draw_stroke)(canvas, x, y, points, out, scratch);
}

}  // namespace spectromer
