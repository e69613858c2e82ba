// The CUDA operators, run on the CPU, for the argument types of spectromer._C.
#include <pybind11/pybind11.h>

#include "cuda/raster.cu"
#include "cuda/render.cu"
#include "cuda/resample.cu"

using namespace spectromer;

namespace {

void check(int code) {
  if (code != 0) throw std::runtime_error("code " + std::to_string(code));
}

}  // namespace

PYBIND11_MODULE(EMULATED, m) {
  m.def("bin_plan_bytes", &bin_plan_bytes);
  m.def("make_bin_plan_cuda", [](const ResampleArgs& args, uintptr_t) { check(make_bin_plan_cuda(args, nullptr)); });
  m.def("resample_cuda", [](const ResampleArgs& args, uintptr_t) { check(resample_cuda(args, nullptr)); });
  m.def("resample_backward_cuda",
        [](const ResampleArgs& args, uintptr_t) { check(resample_backward_cuda(args, nullptr)); });
  m.def("rasterize_cuda", [](const RasterizeArgs& args, uintptr_t) { check(rasterize_cuda(args, nullptr)); });
  m.def("render_cuda", [](const RenderArgs& args, uintptr_t) {
    const int code = render_cuda(args, nullptr);
    if (code != kTooLarge) check(code);
    return code == 0;
  });
}
