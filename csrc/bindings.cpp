// The only file that depends on Python. Tensors are passed as addresses (Tensor.data_ptr()), checked by spectromer/ops.
#include <pybind11/native_enum.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <cstring>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "core/render.h"
#include "cpu/median.h"
#include "cpu/memory.h"
#include "cpu/simd/dispatch.h"
#include "ops.h"

namespace py = pybind11;
using namespace spectromer;

namespace {

#ifdef SPECTROMER_CUDA
constexpr bool kCuda = true;
constexpr const char* kCudaArchitectures = SPECTROMER_CUDA_ARCHITECTURES;
#else
constexpr bool kCuda = false;
constexpr const char* kCudaArchitectures = "";
#endif

// The value of a field in Python. Pointers become addresses, arrays become sequences, and other values stay the same.
template <class Value>
struct InPython {
  using type = Value;
  static type get(const Value& value) { return value; }
  static void set(Value& to, const type& value) { to = value; }
};

template <class Value>
struct InPython<Value*> {
  using type = uintptr_t;
  static type get(Value* value) { return reinterpret_cast<uintptr_t>(value); }
  static void set(Value*& to, type value) { to = reinterpret_cast<Value*>(value); }
};

template <class Value, size_t kCount>
struct InPython<Value[kCount]> {
  using type = std::array<Value, kCount>;
  static type get(const Value (&values)[kCount]) {
    type copy;
    std::memcpy(copy.data(), values, sizeof values);
    return copy;
  }
  static void set(Value (&to)[kCount], const type& values) { std::memcpy(to, values.data(), sizeof to); }
};

enum class Given { always, optionally };  // an optional field defaults to 0, false or null

// Binds a struct of arguments field by field. In Python, its fields are the keywords of its constructor, and
// properties.
template <class Args>
class Struct {
 public:
  Struct(py::module_& m, const char* name) : class_(m, name) {
    name_ = name;
    class_.def(py::init(&construct));
  }

  template <auto kField>
  Struct& field(const char* name, Given given = Given::always) {
    using Value = std::remove_reference_t<decltype(std::declval<Args>().*kField)>;
    using Python = InPython<Value>;
    using Type = typename Python::type;
    fields_.push_back({py::reinterpret_steal<py::object>(PyUnicode_InternFromString(name)), given,
                       [](Args& args, py::handle value) { Python::set(args.*kField, py::cast<Type>(value)); }});
    class_.def_property(
        name, [](const Args& args) { return Python::get(args.*kField); },
        [](Args& args, Type value) { Python::set(args.*kField, value); });
    return *this;
  }

  py::class_<Args>& bound() { return class_; }

 private:
  struct Field {
    py::object name;
    Given given;
    void (*set)(Args&, py::handle);
  };

  static Args construct(const py::kwargs& values) {
    Args args{};
    size_t taken = 0;
    for (const Field& field : fields_) {
      PyObject* value = PyDict_GetItemWithError(values.ptr(), field.name.ptr());
      if (value == nullptr) {
        if (field.given == Given::always) fail("needs the field ", field.name);
        continue;
      }
      try {
        field.set(args, value);
      } catch (const py::cast_error&) {
        fail("cannot take type " + std::string(Py_TYPE(value)->tp_name) + " as the field ", field.name);
      }
      ++taken;
    }
    if (taken < values.size()) refuse_unknown(values);
    return args;
  }

  static void refuse_unknown(const py::kwargs& values) {
    for (const auto& item : values) {
      bool known = false;
      for (const Field& field : fields_) known |= field.name.equal(item.first);
      if (!known) fail("has no field ", item.first);
    }
  }

  [[noreturn]] static void fail(const std::string& what, py::handle field) {
    throw py::type_error(name_ + " " + what + std::string(py::repr(field)));
  }

  py::class_<Args> class_;
  static inline std::string name_;
  static inline std::vector<Field>& fields_ = *new std::vector<Field>;  // never freed, as Python may finalise first
};

void bind_enums(py::module_& m) {
  py::native_enum<Method>(m, "Method", "enum.Enum")
      .value("flux_conserving", Method::flux_conserving)
      .value("linear", Method::linear)
      .finalize();
  py::native_enum<Coverage>(m, "Coverage", "enum.Enum")
      .value("union", Coverage::area_union)
      .value("agg", Coverage::agg)
      .finalize();
  py::native_enum<Quantity>(m, "Quantity", "enum.Enum")
      .value("flux", Quantity::flux)
      .value("first", Quantity::first)
      .value("second", Quantity::second)
      .value("error", Quantity::error)
      .value("mask", Quantity::mask)
      .value("regions", Quantity::regions)
      .finalize();
  py::native_enum<Scale>(m, "Scale", "enum.Enum")
      .value("percentile", Scale::percentile)
      .value("minmax", Scale::minmax)
      .value("fixed", Scale::fixed)
      .finalize();
  py::native_enum<PixelType>(m, "PixelType", "enum.Enum")
      .value("uint8", PixelType::uint8)
      .value("float32", PixelType::float32)
      .value("bfloat16", PixelType::bfloat16)
      .finalize();
}

void bind_structs(py::module_& m) {
  Struct<ResampleArgs>(m, "ResampleArgs")
      .field<&ResampleArgs::flux>("flux")
      .field<&ResampleArgs::ivar>("ivar")
      .field<&ResampleArgs::wavelength>("wavelength")
      .field<&ResampleArgs::grid>("grid")
      .field<&ResampleArgs::offsets>("offsets", Given::optionally)
      .field<&ResampleArgs::shift>("shift", Given::optionally)
      .field<&ResampleArgs::rows>("rows")
      .field<&ResampleArgs::pixels>("pixels")
      .field<&ResampleArgs::bins>("bins")
      .field<&ResampleArgs::shared_wavelength>("shared_wavelength")
      .field<&ResampleArgs::shared_grid>("shared_grid")
      .field<&ResampleArgs::coverage>("coverage")
      .field<&ResampleArgs::method>("method")
      .field<&ResampleArgs::max_gap>("max_gap")
      .field<&ResampleArgs::out_flux>("out_flux", Given::optionally)
      .field<&ResampleArgs::out_ivar>("out_ivar", Given::optionally)
      .field<&ResampleArgs::grad_out>("grad_out", Given::optionally)
      .field<&ResampleArgs::grad_flux>("grad_flux", Given::optionally)
      .field<&ResampleArgs::plan>("plan", Given::optionally);

  Struct<RasterizeArgs>(m, "RasterizeArgs")
      .field<&RasterizeArgs::y>("y")
      .field<&RasterizeArgs::x>("x")
      .field<&RasterizeArgs::images>("images")
      .field<&RasterizeArgs::points>("points")
      .field<&RasterizeArgs::x_stride>("x_stride")
      .field<&RasterizeArgs::band>("band", Given::optionally)
      .field<&RasterizeArgs::height>("height")
      .field<&RasterizeArgs::width>("width")
      .field<&RasterizeArgs::linewidth>("linewidth")
      .field<&RasterizeArgs::subcolumns>("subcolumns")
      .field<&RasterizeArgs::coverage>("coverage")
      .field<&RasterizeArgs::out>("out");

  Struct<RenderArgs>(m, "RenderArgs")
      .field<&RenderArgs::size>("size")
      .field<&RenderArgs::panels>("panels")
      .field<&RenderArgs::stacked>("stacked")
      .field<&RenderArgs::log_axis>("log_axis")
      .field<&RenderArgs::quantities>("quantities")
      .field<&RenderArgs::quantity_count>("quantity_count")
      .field<&RenderArgs::block>("block")
      .field<&RenderArgs::boustrophedon>("boustrophedon")
      .field<&RenderArgs::scale>("scale")
      .field<&RenderArgs::fixed_low>("fixed_low")
      .field<&RenderArgs::fixed_high>("fixed_high")
      .field<&RenderArgs::percentiles>("percentiles")
      .field<&RenderArgs::per_panel>("per_panel")
      .field<&RenderArgs::margin>("margin")
      .field<&RenderArgs::side_margin>("side_margin")
      .field<&RenderArgs::linewidth>("linewidth")
      .field<&RenderArgs::subcolumns>("subcolumns")
      .field<&RenderArgs::coverage>("coverage")
      .field<&RenderArgs::marks>("marks", Given::optionally)
      .field<&RenderArgs::shared_marks>("shared_marks", Given::optionally)
      .field<&RenderArgs::alpha>("alpha")
      .field<&RenderArgs::inks>("inks")
      .field<&RenderArgs::light>("light")
      .field<&RenderArgs::plain>("plain")
      .field<&RenderArgs::colormap>("colormap")
      .field<&RenderArgs::type>("type")
      .field<&RenderArgs::factor>("factor")
      .field<&RenderArgs::offset>("offset")
      .field<&RenderArgs::out>("out", Given::optionally)
      .bound()
      .def_readonly("spectra", &RenderArgs::spectra)
      .def(
          "with_spectra",  // a copy for one call
          [](RenderArgs args, const ResampleArgs& spectra, uintptr_t out, uintptr_t marks, bool shared_marks) {
            args.spectra = spectra;
            args.out = reinterpret_cast<void*>(out);
            args.marks = reinterpret_cast<const uint8_t*>(marks);
            args.shared_marks = shared_marks;
            return args;
          },
          py::arg("spectra"), py::arg("out"), py::arg("marks"), py::arg("shared_marks"));
}

std::vector<std::string> target_names() {
  std::vector<std::string> names;
  for (const Target target : supported_targets()) names.push_back(target_name(target));
  return names;
}

void set_target_by_name(const std::string& name) {
  std::string known;
  for (const Target target : supported_targets()) {
    if (target_name(target) == name) return set_target(target);
    known += (known.empty() ? "" : ", ") + target_name(target);
  }
  throw std::invalid_argument("target must be one of " + known + ", got " + name);
}

using Released = py::call_guard<py::gil_scoped_release>;

void bind_cpu(py::module_& m) {
  m.def("supported_targets", &target_names);
  m.def("target", [] { return target_name(target()); });
  m.def("set_target", &set_target_by_name, py::arg("name"));
  m.def("prefer_huge_pages", &prefer_huge_pages, py::arg("address"), py::arg("bytes"));
  m.def(
      "first_not_increasing",
      [](uintptr_t values, int64_t rows, int64_t count, uintptr_t offsets) {
        return first_not_increasing(reinterpret_cast<const double*>(values), rows, count,
                                    reinterpret_cast<const int64_t*>(offsets));
      },
      Released(), py::arg("values"), py::arg("rows"), py::arg("count"), py::arg("offsets") = 0);
  m.def(
      "median_snr",
      [](uintptr_t flux, uintptr_t ivar, int64_t count) {
        return median_snr(reinterpret_cast<const float*>(flux), reinterpret_cast<const float*>(ivar), count);
      },
      Released(), py::arg("flux"), py::arg("ivar"), py::arg("count"));
  m.def("resample_cpu", &resample_cpu, Released(), py::arg("args"), py::arg("threads"));
  m.def("resample_backward_cpu", &resample_backward_cpu, Released(), py::arg("args"), py::arg("threads"));
  m.def("rasterize_cpu", &rasterize_cpu, Released(), py::arg("args"), py::arg("threads"));
  m.def("render_cpu", &render_cpu, Released(), py::arg("args"), py::arg("threads"));
}

void check(int code) {
  if (code == kTooLarge)
    throw std::runtime_error("too large for the CUDA operators: an image, or the number of images");
  if (code != 0) throw std::runtime_error(std::string("CUDA launch failed: ") + cuda_error_string(code));
}

// Binds an operator on args and a stream. Errors become Python exceptions.
template <auto kOperator, class Args>
void bind_launch(py::module_& m, const char* name) {
  m.def(
      name, [](const Args& args, uintptr_t stream) { check(kOperator(args, reinterpret_cast<void*>(stream))); },
      Released(), py::arg("args"), py::arg("stream"));
}

void bind_cuda(py::module_& m) {
  m.def("bin_plan_bytes", &bin_plan_bytes, py::arg("args"));
  bind_launch<&make_bin_plan_cuda, ResampleArgs>(m, "make_bin_plan_cuda");
  bind_launch<&resample_cuda, ResampleArgs>(m, "resample_cuda");
  bind_launch<&resample_backward_cuda, ResampleArgs>(m, "resample_backward_cuda");
  bind_launch<&rasterize_cuda, RasterizeArgs>(m, "rasterize_cuda");
  m.def(
      "render_cuda",  // returns whether a block of threads has room for a spectrum; if not, nothing has been drawn
      [](const RenderArgs& args, uintptr_t stream) {
        const int code = render_cuda(args, reinterpret_cast<void*>(stream));
        if (code != kTooLarge) check(code);
        return code != kTooLarge;
      },
      Released(), py::arg("args"), py::arg("stream"));
}
}  // namespace

PYBIND11_MODULE(_C, m) {
  m.doc() = "Native operators of spectromer; call them through spectromer.ops, which checks the arguments.";
  m.attr("has_cuda") = kCuda;
  m.attr("cuda_architectures") = kCudaArchitectures;
  m.attr("rounding") = kRounding;
  bind_enums(m);
  bind_structs(m);
  bind_cpu(m);
  bind_cuda(m);
}
