// Plays the machine code of CUDA kernels for compute capability 9.0 (as nvdisasm prints it) warp by warp on the CPU,
// and counts what each instruction executes. Python's module `machine`; global memory is the process's own.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>

#include "families.h"

namespace py = pybind11;

namespace {

// Warps take turns: each runs until it ends or waits at the block's barrier, which opens once all do.
void run_block(const sass::Program& program, sass::Block* block, int warp_count, std::vector<sass::Counter>* counts) {
  std::vector<std::unique_ptr<sass::Warp>> warps;
  for (int k = 0; k < warp_count; ++k) warps.push_back(std::make_unique<sass::Warp>(program, block, counts, k));
  const auto done = [](const std::unique_ptr<sass::Warp>& warp) { return warp->done(); };
  while (!std::all_of(warps.begin(), warps.end(), done)) {
    block->answer = block->shown;
    block->shown = false;
    for (auto& warp : warps) {
      warp->pass_barrier();
      warp->run();
    }
  }
}

// For each instruction its address, how often warps and lanes executed it, sectors of global memory and wavefronts of
// shared memory.
py::list run(const std::vector<std::pair<int64_t, std::string>>& lines, const std::map<std::string, int64_t>& labels,
             int blocks, int threads, size_t shared, const py::bytes& constants) {
  if (threads % sass::kLanes != 0) throw std::invalid_argument("threads is not a multiple of 32");
  sass::Program program(lines, labels);
  sass::Warp::bind(&program);
  std::vector<sass::Counter> counts(program.code.size());
  const std::string bank = constants;
  for (int number = 0; number < blocks; ++number) {
    sass::Block block{number, std::vector<uint8_t>(shared, sass::kUnset), bank};
    run_block(program, &block, threads / sass::kLanes, &counts);
  }
  py::list rows;
  for (const sass::Instruction& i : program.code) {
    const sass::Counter& c = counts[i.number];
    rows.append(py::make_tuple(i.address, c.executed, c.lanes, c.sectors, c.wavefronts));
  }
  return rows;
}

}  // namespace

PYBIND11_MODULE(machine, module) {
  module.def("run", &run, py::arg("lines"), py::arg("labels"), py::arg("blocks"), py::arg("threads"), py::arg("shared"),
             py::arg("constants"));
}
