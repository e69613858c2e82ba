// A block of CUDA's threads, run by one thread of the CPU. Every thread of the block is a coroutine that runs until it
// waits for others. Blocks run one after the other.
#pragma once

#include <ucontext.h>

#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <vector>

namespace spectromer {

struct Dim {
  unsigned x = 0;
};

inline Dim threadIdx, blockIdx, blockDim, gridDim;

namespace emulated {

constexpr int kStack = 1 << 16, kNobody = -1, kMany = -2;

// A barrier at which its members wait for one another.
struct Barrier {
  int members = 0, waiting = 0;
  int64_t passed = 0;
};

struct Thread {
  ucontext_t context;
  std::unique_ptr<char[]> stack{new char[kStack]};
  bool done = false;
  int64_t block_barriers = 0, warp_barriers = 0;  // passed
};

// The last access of some kind to a byte: by which thread, and after how many barriers.
struct Trace {
  int thread = kNobody, warp = kNobody;
  int64_t block_barriers = 0, warp_barriers = 0;
};

struct Byte {
  bool written = false, atomically = false;
  Trace writer, reader;
};

struct Block {
  std::vector<Thread> threads;
  std::vector<Barrier> warps;
  std::vector<uint64_t> exchanged;  // the value that each thread shows to its warp
  Barrier all;
  std::vector<char> shown;  // the value that each thread shows to the block
  ucontext_t scheduler;
  std::vector<unsigned char> shared;
  std::vector<Byte> bytes;
  std::function<void()> body;
  std::exception_ptr error;
  int64_t steps = 0;  // barriers passed and threads ended
};

inline Block* block = nullptr;

inline Thread& me() { return block->threads[threadIdx.x]; }

inline void wait(Barrier& barrier) {
  const int64_t before = barrier.passed;
  const unsigned index = threadIdx.x;
  if (++barrier.waiting == barrier.members) {
    barrier.waiting = 0;
    ++barrier.passed;
    ++block->steps;
  }
  while (barrier.passed == before) {
    swapcontext(&block->threads[index].context, &block->scheduler);
    threadIdx.x = index;
  }
}

// Waits for all threads of the block, and tells them whether any of their values is true.
inline bool any_of_block(bool value) {
  block->shown[threadIdx.x] = value;
  wait(block->all);
  bool any = false;
  for (const char one : block->shown) any = any || one != 0;
  wait(block->all);
  return any;
}

inline Barrier& my_warp() { return block->warps[threadIdx.x / kWarp]; }

inline void run_thread() {
  const unsigned index = threadIdx.x;
  try {
    block->body();
  } catch (...) {
    if (block->error == nullptr) block->error = std::current_exception();
  }
  block->threads[index].done = true;
  ++block->steps;
}

// Shows a value to the warp and returns combine(values of all lanes).
template <class T, class Combine>
auto together(T value, Combine combine) {
  std::memcpy(&block->exchanged[threadIdx.x], &value, sizeof value);
  wait(my_warp());
  T values[kWarp];
  const unsigned first = threadIdx.x / kWarp * kWarp;
  for (unsigned i = 0; i < kWarp; ++i) std::memcpy(&values[i], &block->exchanged[first + i], sizeof value);
  const auto result = combine(values);
  wait(my_warp());
  return result;
}

template <class T, class Combine>
T reduced(T value, Combine combine) {
  return together(value, [&](const T* values) {
    T result = values[0];
    for (int i = 1; i < kWarp; ++i) result = combine(result, values[i]);
    return result;
  });
}

template <class T>
T shown_by(T value, int from) {
  return together(value, [&](const T* values) { return values[from]; });
}

inline void run_block(Block& b, Grid grid) {
  b.shared.assign(static_cast<size_t>(grid.shared), 0xcd);
  b.bytes.assign(static_cast<size_t>(grid.shared), Byte{});
  b.all = Barrier{grid.threads};
  b.shown.assign(static_cast<size_t>(grid.threads), 0);
  b.warps.assign(static_cast<size_t>(grid.threads / kWarp), Barrier{kWarp});
  for (Thread& thread : b.threads) {
    thread.done = false;
    thread.block_barriers = thread.warp_barriers = 0;
    getcontext(&thread.context);
    thread.context.uc_stack.ss_sp = thread.stack.get();
    thread.context.uc_stack.ss_size = kStack;
    thread.context.uc_link = &b.scheduler;
    makecontext(&thread.context, run_thread, 0);
  }
  for (bool alive = true; alive;) {
    const int64_t before = b.steps;
    alive = false;
    for (unsigned i = 0; i < b.threads.size(); ++i) {
      if (b.threads[i].done) continue;
      alive = true;
      threadIdx.x = i;
      swapcontext(&b.scheduler, &b.threads[i].context);
      if (b.error != nullptr) std::rethrow_exception(b.error);
    }
    if (alive && b.steps == before) throw std::runtime_error("threads of a block wait at different barriers");
  }
}

}  // namespace emulated

}  // namespace spectromer
