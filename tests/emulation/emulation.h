// CUDA's blocks of threads, played by one thread of the CPU: every thread of a block is a coroutine that runs until it
// waits for others. Blocks follow one another. Barriers that some threads of a block never reach, and bytes written
// beyond the shared memory, end in an error. In place of <cuda_runtime.h>; see csrc/cuda/launch.h.
#pragma once

#include <math.h>
#include <ucontext.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <stdexcept>
#include <vector>

#define __global__
#define __device__
#define __grid_constant__
#define __launch_bounds__(...)

namespace spectromer {

struct Dim {
  unsigned x = 0;
};

inline Dim threadIdx, blockIdx, blockDim, gridDim;

namespace emulated {

constexpr int kGuard = 64, kStack = 1 << 16;
constexpr unsigned char kUnset = 0xcd;

// Threads that wait for all of them.
struct Barrier {
  int members = 0, waiting = 0;
  int64_t passed = 0;
};

struct Thread {
  ucontext_t context;
  std::unique_ptr<char[]> stack{new char[kStack]};
  bool done = false;
};

struct Block {
  std::vector<Thread> threads;
  std::vector<Barrier> warps;
  std::vector<uint64_t> exchanged;  // what each thread shows the others of its warp
  Barrier all;
  ucontext_t scheduler;
  std::vector<unsigned char> shared;
  std::function<void()> body;
  int64_t steps = 0;  // barriers passed and threads ended
};

inline Block* block = nullptr;

inline void wait(Barrier& barrier) {
  const int64_t before = barrier.passed;
  const unsigned me = threadIdx.x;
  if (++barrier.waiting == barrier.members) {
    barrier.waiting = 0;
    ++barrier.passed;
    ++block->steps;
  }
  while (barrier.passed == before) {
    swapcontext(&block->threads[me].context, &block->scheduler);
    threadIdx.x = me;
  }
}

inline void run_thread() {
  const unsigned me = threadIdx.x;
  block->body();
  block->threads[me].done = true;
  ++block->steps;
}

template <class T>
T exchange(T value, int from) {
  Barrier& warp = block->warps[threadIdx.x / kWarp];
  std::memcpy(&block->exchanged[threadIdx.x], &value, sizeof value);
  wait(warp);
  T found;
  std::memcpy(&found, &block->exchanged[threadIdx.x / kWarp * kWarp + static_cast<unsigned>(from)], sizeof found);
  wait(warp);
  return found;
}

inline void run_block(Block& b, int64_t shared) {
  b.shared.assign(static_cast<size_t>(shared + kGuard), kUnset);
  b.all = Barrier{kThreads};
  b.warps.assign(kThreads / kWarp, Barrier{kWarp});
  for (Thread& thread : b.threads) {
    thread.done = false;
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
    }
    if (alive && b.steps == before) throw std::runtime_error("threads of a block wait at different barriers");
  }
  for (int i = 0; i < kGuard; ++i) {
    if (b.shared[static_cast<size_t>(shared + i)] != kUnset) throw std::runtime_error("written beyond shared memory");
  }
}

}  // namespace emulated

inline unsigned char* shared_bytes() { return emulated::block->shared.data(); }

template <class... Parameters>
int launch(void (*kernel)(Parameters...), int64_t blocks, int64_t shared, void*, Parameters... arguments) {
  emulated::Block b;
  b.threads = std::vector<emulated::Thread>(size_t{kThreads});
  b.exchanged.resize(size_t{kThreads});
  b.body = [&] { kernel(arguments...); };
  emulated::block = &b;
  blockDim.x = kThreads;
  gridDim.x = static_cast<unsigned>(blocks);
  for (blockIdx.x = 0; blockIdx.x < gridDim.x; ++blockIdx.x) emulated::run_block(b, shared);
  return 0;
}

inline int most_shared_bytes() { return 227 * 1024; }

template <class Kernel>
int64_t resident_blocks(Kernel, int64_t items, int64_t) { return items < 3 ? items : 3; }

using cudaError_t = int;
inline const char* cudaGetErrorString(cudaError_t) { return "none"; }

inline void __syncthreads() { emulated::wait(emulated::block->all); }
inline void __syncwarp() { emulated::wait(emulated::block->warps[threadIdx.x / kWarp]); }

template <class T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  return emulated::exchange(value, static_cast<int>(threadIdx.x % kWarp) ^ mask);
}

template <class T>
T __shfl_up_sync(unsigned, T value, unsigned step) {
  const int lane = static_cast<int>(threadIdx.x % kWarp), from = lane - static_cast<int>(step);
  return emulated::exchange(value, from < 0 ? lane : from);
}

template <class T>
T atomicAdd(T* to, T value) {
  const T old = *to;
  *to += value;
  return old;
}

template <class T>
T atomicMin(T* to, T value) {
  const T old = *to;
  *to = value < old ? value : old;
  return old;
}

template <class T>
T atomicMax(T* to, T value) {
  const T old = *to;
  *to = value > old ? value : old;
  return old;
}

}  // namespace spectromer
