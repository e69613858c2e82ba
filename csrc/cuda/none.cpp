// Stubs of the CUDA operators for a build without CUDA. All of them fail.
#include "../ops.h"

namespace spectromer {

constexpr int kNotBuilt = -2;

int64_t bin_plan_bytes(const ResampleArgs&) { return 0; }
int make_bin_plan_cuda(const ResampleArgs&, void*) { return kNotBuilt; }
int resample_cuda(const ResampleArgs&, void*) { return kNotBuilt; }
int resample_backward_cuda(const ResampleArgs&, void*) { return kNotBuilt; }
int rasterize_cuda(const RasterizeArgs&, void*) { return kNotBuilt; }
int render_cuda(const RenderArgs&, void*) { return kNotBuilt; }
const char* cuda_error_string(int) { return "this build has no CUDA operators"; }

}  // namespace spectromer
