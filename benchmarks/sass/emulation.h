// Takes the place of tests/emulation/emulation.h. A launch does not run the C++ kernel, but is passed to Python, which
// plays the kernel's machine code.
#pragma once

#define launch played_launch
#include "../../tests/emulation/emulation.h"
#undef launch

#include <dlfcn.h>
#include <pybind11/pybind11.h>

#include <string>

namespace spectromer {

inline PyObject* listener = nullptr;

// Calls listener(place, blocks, threads, shared, arguments) with the kernel's place in this library, the bytes of
// shared memory, and the kernel's arguments as bytes, aligned as a kernel takes them.
template <class... Parameters>
int launch(void (*kernel)(Parameters...), Grid grid, void*, Parameters... arguments) {
  std::string bytes;
  const auto add = [&](const auto& argument) {
    while (bytes.size() % alignof(decltype(argument)) != 0) bytes.push_back(0);
    bytes.append(reinterpret_cast<const char*>(&argument), sizeof argument);
  };
  (add(arguments), ...);
  Dl_info library;
  dladdr(reinterpret_cast<void*>(kernel), &library);
  const int64_t place = reinterpret_cast<char*>(kernel) - static_cast<char*>(library.dli_fbase);
  const pybind11::handle tell = listener;
  tell(place, grid.blocks, grid.threads, grid.shared, pybind11::bytes(bytes));
  return 0;
}

}  // namespace spectromer

extern "C" __attribute__((visibility("default"))) void listen(PyObject* listener) { spectromer::listener = listener; }
