// CUDA's blocks of threads, played by one thread of the CPU: every thread of a block is a coroutine that runs until it
// waits for others. Blocks follow one another. In place of <cuda_runtime.h>; see csrc/cuda/launch.h.
//
// Shared memory is hostile. Every access is checked: it must lie within its reservation, be aligned, read only what
// has been written, and be ordered by a barrier with every access of another thread to the same byte, unless both only
// read or both are atomic. Barriers that some threads of a block never reach are errors too.
#pragma once

#include <math.h>
#include <ucontext.h>

#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#define __global__
#define __device__
#define __forceinline__ inline
#define __noinline__
#define __grid_constant__
#define __launch_bounds__(...)

namespace spectromer {

struct Dim {
  unsigned x = 0;
};

inline Dim threadIdx, blockIdx, blockDim, gridDim;

namespace emulated {

constexpr int kStack = 1 << 16, kNobody = -1, kMany = -2;

// Threads that wait for all of them.
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

// The last access of some kind to a byte: by whom, and after how many barriers.
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
  std::vector<uint64_t> exchanged;  // what each thread shows the others of its warp
  Barrier all;
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

// Shows a value to the warp and returns what combine(values of all lanes) makes of them.
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

// ---- shared memory ----

enum class Access { read, write, atomic };

[[noreturn]] inline void fail(const std::string& what, int64_t at) {
  throw std::runtime_error(what + " at byte " + std::to_string(at) + " of shared memory, by thread " +
                           std::to_string(threadIdx.x));
}

// Whether a barrier lies between an earlier access and what this thread does now.
inline bool ordered(const Trace& earlier) {
  if (earlier.thread == kNobody || earlier.thread == static_cast<int>(threadIdx.x)) return true;
  if (earlier.block_barriers < me().block_barriers) return true;
  return earlier.warp == static_cast<int>(threadIdx.x) / kWarp && earlier.warp_barriers < me().warp_barriers;
}

inline Trace trace() {
  return Trace{static_cast<int>(threadIdx.x), static_cast<int>(threadIdx.x) / kWarp, me().block_barriers,
               me().warp_barriers};
}

inline void note_reader(Trace& reader) {
  Trace now = trace();
  if (!ordered(reader)) {
    now.thread = kMany;
    if (reader.warp != now.warp) now.warp = kMany;
  }
  reader = now;
}

inline void check(int64_t at, int64_t size, int64_t alignment, int64_t begin, int64_t end, Access access) {
  if (begin < 0) fail("access to what is not reserved", at);
  if (at < begin || at + size > end) fail("access beyond its reservation", at);
  if (at % alignment != 0) fail("misaligned access", at);
  for (int64_t i = at; i < at + size; ++i) {
    Byte& byte = block->bytes[static_cast<size_t>(i)];
    const bool both_atomic = access == Access::atomic && byte.atomically;
    if (!both_atomic && !ordered(byte.writer)) fail("race with a write of thread " + std::to_string(byte.writer.thread), i);
    if (access != Access::write && !byte.written) fail("uninitialised read", i);
    if (access == Access::read) {
      note_reader(byte.reader);
      continue;
    }
    if (!ordered(byte.reader)) fail("race with a read", i);
    byte.writer = trace();
    byte.atomically = access == Access::atomic;
    byte.written = true;
  }
}

}  // namespace emulated

template <class T>
class Shared {
 public:
  Shared() = default;
  Shared(int64_t at, int64_t begin, int64_t end) : at_(at), begin_(begin), end_(end) {}

  template <class U, class = std::enable_if_t<std::is_same_v<T, const U>>>
  Shared(const Shared<U>& other) : at_(other.at_), begin_(other.begin_), end_(other.end_) {}

  class Reference {
   public:
    explicit Reference(const Shared& place) : place_(place) {}
    operator std::remove_const_t<T>() const { return place_.read(); }
    const Reference& operator=(const T& value) const {
      place_.write(value);
      return *this;
    }
    const Reference& operator=(const Reference& other) const { return *this = static_cast<T>(other); }
    const Reference& operator+=(const T& value) const { return *this = static_cast<T>(*this) + value; }

   private:
    const Shared place_;
  };

  Reference operator[](int64_t i) const { return Reference(*this + i); }
  Reference operator*() const { return Reference(*this); }
  template <class To>
  Shared<To> as() const { return Shared<To>(at_, begin_, end_); }
  Shared operator+(int64_t i) const { return Shared(at_ + i * static_cast<int64_t>(sizeof(T)), begin_, end_); }

  std::remove_const_t<T> read() const {
    std::remove_const_t<T> value;
    emulated::check(at_, sizeof(T), alignof(T), begin_, end_, emulated::Access::read);
    std::memcpy(&value, &emulated::block->shared[static_cast<size_t>(at_)], sizeof(T));
    return value;
  }

  void write(const T& value) const { put(value, emulated::Access::write); }

  // As one step: the old value, after combine(old) has taken its place.
  template <class Combine>
  T update(Combine combine) const {
    T old;
    emulated::check(at_, sizeof(T), alignof(T), begin_, end_, emulated::Access::atomic);
    std::memcpy(&old, &emulated::block->shared[static_cast<size_t>(at_)], sizeof(T));
    put(combine(old), emulated::Access::atomic);
    return old;
  }

 private:
  template <class U>
  friend class Shared;

  void put(const T& value, emulated::Access access) const {
    emulated::check(at_, sizeof(T), alignof(T), begin_, end_, access);
    std::memcpy(&emulated::block->shared[static_cast<size_t>(at_)], &value, sizeof(T));
  }

  int64_t at_ = -1, begin_ = -1, end_ = -1;  // bytes
};

template <class T>
Shared<T> shared_at(const Reserved& r) {
  return Shared<T>(r.offset, r.offset, r.offset + r.bytes);
}

template <class To, class From>
Shared<To> shared_cast(const Shared<From>& from) { return from.template as<To>(); }

template <class T>
T atomicAdd(const Shared<T>& to, T value) { return to.update([&](T old) { return old + value; }); }
template <class T>
T atomicMin(const Shared<T>& to, T value) { return to.update([&](T old) { return value < old ? value : old; }); }
template <class T>
T atomicMax(const Shared<T>& to, T value) { return to.update([&](T old) { return value > old ? value : old; }); }
template <class T>
T atomicOr(const Shared<T>& to, T value) { return to.update([&](T old) { return old | value; }); }

// In global memory.
template <class T>
T atomicAdd(T* to, T value) {
  const T old = *to;
  *to += value;
  return old;
}

// ---- warps and blocks ----

inline void __syncthreads() {
  emulated::wait(emulated::block->all);
  ++emulated::me().block_barriers;
}

inline void block_barrier() { __syncthreads(); }

inline void __syncwarp() {
  emulated::wait(emulated::my_warp());
  ++emulated::me().warp_barriers;
}

inline int warp_min(int value) { return emulated::reduced(value, [](int a, int b) { return a < b ? a : b; }); }
inline int warp_max(int value) { return emulated::reduced(value, [](int a, int b) { return a > b ? a : b; }); }
inline int warp_sum(int value) { return emulated::reduced(value, [](int a, int b) { return a + b; }); }

inline unsigned __ballot_sync(unsigned, bool value) {
  return emulated::together(value, [](const bool* values) {
    unsigned bits = 0;
    for (int i = 0; i < kWarp; ++i) bits |= static_cast<unsigned>(values[i]) << i;
    return bits;
  });
}

inline bool __any_sync(unsigned lanes, bool value) { return __ballot_sync(lanes, value) != 0; }

template <class T>
T __shfl_sync(unsigned, T value, int from) { return emulated::shown_by(value, from); }

template <class T>
T __shfl_up_sync(unsigned, T value, unsigned step) {
  const int lane = static_cast<int>(threadIdx.x % kWarp), from = lane - static_cast<int>(step);
  return emulated::shown_by(value, from < 0 ? lane : from);
}

template <class T>
T __shfl_down_sync(unsigned, T value, unsigned step) {
  const int lane = static_cast<int>(threadIdx.x % kWarp), from = lane + static_cast<int>(step);
  return emulated::shown_by(value, from >= kWarp ? lane : from);
}

// ---- single instructions ----

inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __ffs(unsigned bits) { return __builtin_ffs(static_cast<int>(bits)); }

inline int __float2int_rn(float value) { return static_cast<int>(lrintf(value)); }

inline unsigned __byte_perm(unsigned low, unsigned high, unsigned selector) {
  const uint64_t bytes = static_cast<uint64_t>(high) << 32 | low;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i) result |= static_cast<unsigned>(bytes >> (8 * (selector >> 4 * i & 7u)) & 255u) << 8 * i;
  return result;
}

template <class T>
T __ldg(const T* from) { return *from; }

inline void prefetch(const void*) {}

template <class T>
T kept(T number) { return number; }

inline int renewed(int number) { return number; }

struct alignas(8) int2 {
  int x, y;
};

struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return uint4{x, y, z, w}; }

inline uint32_t two_bfloat16(float low, float high) {
  const auto nearest = [](float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  };
  return nearest(high) << 16 | nearest(low);
}

// ---- launches ----

inline int most_shared_bytes() { return 227 * 1024; }

template <class... Parameters>
int64_t resident_blocks(void (*)(Parameters...), int, int64_t, int64_t items) { return items < 3 ? items : 3; }

using cudaError_t = int;
inline const char* cudaGetErrorString(cudaError_t) { return "none"; }

namespace emulated {

inline void run_block(Block& b, Grid grid) {
  b.shared.assign(static_cast<size_t>(grid.shared), 0xcd);
  b.bytes.assign(static_cast<size_t>(grid.shared), Byte{});
  b.all = Barrier{grid.threads};
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

template <class... Parameters>
int launch(void (*kernel)(Parameters...), Grid grid, void*, Parameters... arguments) {
  emulated::Block b;
  b.threads = std::vector<emulated::Thread>(static_cast<size_t>(grid.threads));
  b.exchanged.resize(static_cast<size_t>(grid.threads));
  b.body = [&] { kernel(arguments...); };
  emulated::block = &b;
  blockDim.x = static_cast<unsigned>(grid.threads);
  gridDim.x = static_cast<unsigned>(grid.blocks);
  for (blockIdx.x = 0; blockIdx.x < gridDim.x; ++blockIdx.x) emulated::run_block(b, grid);
  return 0;
}

}  // namespace spectromer
