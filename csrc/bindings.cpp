// The only file that knows Python. Tensors arrive as addresses (Tensor.data_ptr()), checked by spectromer/ops.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <stdexcept>
#include <string>

#include "cpu/level.h"
#include "cpu/memory.h"
#include "ops.h"

namespace py = pybind11;
using namespace spectromer;

namespace {

template <class T>
T* pointer(uintptr_t address) {
  return reinterpret_cast<T*>(address);
}

#ifdef SPECTROMER_CUDA
constexpr bool kCuda = true;
void check(int code) {
  if (code == kTooLarge) throw std::runtime_error("too large for the CUDA operators: an image, or the number of images");
  if (code != 0) throw std::runtime_error(std::string("CUDA launch failed: ") + cuda_error_string(code));
}
#else
constexpr bool kCuda = false;
#endif

}  // namespace

PYBIND11_MODULE(_C, m) {
  m.doc() = "Native operators of spectromer; call them through spectromer.ops, which checks the arguments.";
  m.attr("has_cuda") = kCuda;

  py::class_<ResampleArgs>(m, "ResampleArgs")
      .def(py::init([](uintptr_t flux, uintptr_t ivar, uintptr_t wavelength, uintptr_t grid, uintptr_t offsets,
                       uintptr_t shift, int64_t rows, int64_t pixels, int64_t bins, bool shared_wavelength,
                       bool shared_grid, float coverage, int method, uintptr_t out_flux, uintptr_t out_ivar,
                       uintptr_t grad_out, uintptr_t grad_flux) {
             return ResampleArgs{pointer<const float>(flux),
                                 pointer<const float>(ivar),
                                 pointer<const double>(wavelength),
                                 pointer<const double>(grid),
                                 pointer<const int64_t>(offsets),
                                 pointer<const int64_t>(shift),
                                 rows,
                                 pixels,
                                 bins,
                                 shared_wavelength,
                                 shared_grid,
                                 coverage,
                                 static_cast<Method>(method),
                                 pointer<float>(out_flux),
                                 pointer<float>(out_ivar),
                                 pointer<const float>(grad_out),
                                 pointer<float>(grad_flux),
                                 nullptr};
           }),
           py::kw_only(), py::arg("flux"), py::arg("ivar"), py::arg("wavelength"), py::arg("grid"),
           py::arg("offsets") = 0, py::arg("shift") = 0, py::arg("rows"), py::arg("pixels"), py::arg("bins"),
           py::arg("shared_wavelength"), py::arg("shared_grid"), py::arg("coverage"), py::arg("method"),
           py::arg("out_flux") = 0, py::arg("out_ivar") = 0, py::arg("grad_out") = 0, py::arg("grad_flux") = 0)
      .def_property_readonly("method", [](const ResampleArgs& args) { return static_cast<int>(args.method); })
      .def_property(
          "plan", [](const ResampleArgs& args) { return reinterpret_cast<uintptr_t>(args.plan); },
          [](ResampleArgs& args, uintptr_t plan) { args.plan = pointer<void>(plan); });

  py::class_<RasterizeArgs>(m, "RasterizeArgs")
      .def(py::init([](uintptr_t y, uintptr_t x, int64_t images, int64_t points, bool shared_x, int64_t height,
                       int64_t width, float linewidth, int subcolumns, int coverage, uintptr_t out, uintptr_t band) {
             return RasterizeArgs{pointer<const float>(y),
                                  pointer<const float>(x),
                                  images,
                                  points,
                                  shared_x ? 0 : points,
                                  pointer<const float>(band),
                                  height,
                                  width,
                                  linewidth,
                                  subcolumns,
                                  static_cast<Coverage>(coverage),
                                  pointer<uint8_t>(out)};
           }),
           py::kw_only(), py::arg("y"), py::arg("x"), py::arg("images"), py::arg("points"), py::arg("shared_x"),
           py::arg("height"), py::arg("width"), py::arg("linewidth"), py::arg("subcolumns"), py::arg("coverage"),
           py::arg("out"), py::arg("band") = 0);

  py::class_<RenderArgs>(m, "RenderArgs")
      .def(py::init([](int64_t size, int64_t panels, bool rows, bool log_axis, uintptr_t quantities,
                       int64_t quantity_count, int64_t block, bool boustrophedon, int scale,
                       std::pair<float, float> fixed, std::pair<double, double> percentiles, bool per_panel,
                       float margin, float side_margin, float linewidth, int subcolumns, int coverage, uintptr_t alpha,
                       uintptr_t inks, bool light, bool plain, uintptr_t colormap, int type, uintptr_t factor,
                       uintptr_t offset) {
             return RenderArgs{{},
                               size,
                               panels,
                               rows,
                               log_axis,
                               pointer<const int>(quantities),
                               quantity_count,
                               block,
                               boustrophedon,
                               static_cast<Scale>(scale),
                               fixed.first,
                               fixed.second,
                               {percentiles.first, percentiles.second},
                               per_panel,
                               margin,
                               side_margin,
                               linewidth,
                               subcolumns,
                               static_cast<Coverage>(coverage),
                               nullptr,
                               false,
                               pointer<const float>(alpha),
                               pointer<const float>(inks),
                               light,
                               plain,
                               pointer<const uint8_t>(colormap),
                               static_cast<PixelType>(type),
                               pointer<const float>(factor),
                               pointer<const float>(offset),
                               nullptr};
           }),
           py::kw_only(), py::arg("size"), py::arg("panels"), py::arg("rows"), py::arg("log_axis"),
           py::arg("quantities"), py::arg("quantity_count"), py::arg("block"), py::arg("boustrophedon"),
           py::arg("scale"), py::arg("fixed"), py::arg("percentiles"), py::arg("per_panel"), py::arg("margin"),
           py::arg("side_margin"), py::arg("linewidth"), py::arg("subcolumns"), py::arg("coverage"), py::arg("alpha"),
           py::arg("inks"), py::arg("light"), py::arg("plain"), py::arg("colormap"), py::arg("type"), py::arg("factor"),
           py::arg("offset"))
      .def(
          "of",
          [](RenderArgs args, const ResampleArgs& spectra, uintptr_t out, uintptr_t marks, bool shared_marks) {
            args.spectra = spectra;
            args.out = pointer<void>(out);
            args.marks = pointer<const uint8_t>(marks);
            args.shared_marks = shared_marks;
            return args;
          },
          py::arg("spectra"), py::arg("out"), py::arg("marks"), py::arg("shared_marks"))
      .def_readonly("spectra", &RenderArgs::spectra);

  m.def("widest_vector_level", &widest_vector_level);
  m.def(
      "set_vector_level",
      [](int level) {
        const int widest = widest_vector_level();
        if (level < 1 || level > widest) {
          throw std::invalid_argument("level must lie from 1 to " + std::to_string(widest) + ", got " +
                                      std::to_string(level));
        }
        set_vector_level(level);
      },
      py::arg("level"));

  const auto release = py::call_guard<py::gil_scoped_release>();
  m.def(
      "first_not_increasing",
      [](uintptr_t values, int64_t rows, int64_t count, uintptr_t offsets) {
        return first_not_increasing(pointer<const double>(values), rows, count, pointer<const int64_t>(offsets));
      },
      release, py::arg("values"), py::arg("rows"), py::arg("count"), py::arg("offsets") = 0);
  m.def("prefer_huge_pages", &prefer_huge_pages, py::arg("address"), py::arg("bytes"));
  m.def("resample_cpu", &resample_cpu, release, py::arg("args"), py::arg("threads"));
  m.def("resample_backward_cpu", &resample_backward_cpu, release, py::arg("args"), py::arg("threads"));
  m.def("rasterize_cpu", &rasterize_cpu, release, py::arg("args"), py::arg("threads"));
  m.def("render_cpu", &render_cpu, release, py::arg("args"), py::arg("threads"));

#ifdef SPECTROMER_CUDA
  m.def("bin_plan_bytes", &bin_plan_bytes, py::arg("args"));
  m.def(
      "make_bin_plan_cuda",
      [](const ResampleArgs& args, uintptr_t stream) { check(make_bin_plan_cuda(args, pointer<void>(stream))); }, release,
      py::arg("args"), py::arg("stream"));
  m.def(
      "resample_cuda",
      [](const ResampleArgs& args, uintptr_t stream) { check(resample_cuda(args, pointer<void>(stream))); }, release,
      py::arg("args"), py::arg("stream"));
  m.def(
      "resample_backward_cuda",
      [](const ResampleArgs& args, uintptr_t stream) { check(resample_backward_cuda(args, pointer<void>(stream))); },
      release, py::arg("args"), py::arg("stream"));
  m.def(
      "rasterize_cuda",
      [](const RasterizeArgs& args, uintptr_t stream) { check(rasterize_cuda(args, pointer<void>(stream))); }, release,
      py::arg("args"), py::arg("stream"));
  m.def(
      "render_cuda",
      [](const RenderArgs& args, uintptr_t stream) {
        const int code = render_cuda(args, pointer<void>(stream));
        if (code != kTooLarge) check(code);
        return code != kTooLarge;
      },
      release, py::arg("args"), py::arg("stream"));
#endif
}
