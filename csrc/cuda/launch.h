// Basic definitions for all kernels and launches. The tests run blocks of threads on the CPU, with
// tests/emulation/emulation.h instead of CUDA's own header.
#pragma once

#include <algorithm>
#include <climits>
#include <cstdint>

#include "../core/macros.h"

namespace spectromer {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = ~0u;

// A part of a block's shared memory, in bytes; empty if `offset` is negative.
struct Reserved {
  int offset = -1, bytes = 0;

  SPECTROMER_HD explicit operator bool() const { return offset >= 0; }
};

// The threads of a block for __launch_bounds__(threads, 2), with which two blocks run at once: the maximum that leaves
// each thread the given number of registers.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800  // no more than 1,024 threads run at once
constexpr int kFor48Registers = 512;
#else
constexpr int kFor48Registers = 640;
#endif
constexpr int kFor64Registers = 512;

// The number of blocks, and the threads and shared memory of each.
struct Grid {
  int64_t blocks;
  int threads;  // a power of two
  int64_t shared;
};

}  // namespace spectromer

#ifdef SPECTROMER_EMULATED
#include "emulation.h"
#else
#include <cuda_runtime.h>

#include <vector>

namespace spectromer {

// A pointer into shared memory. The emulation checks every access through it.
template <class T>
using Shared = T*;

template <class T>
__device__ __forceinline__ Shared<T> shared_at(const Reserved& reserved) {
  extern __shared__ __align__(16) unsigned char shared_bytes[];
  return reinterpret_cast<T*>(shared_bytes + reserved.offset);
}

// The same address as a pointer to another type.
template <class To, class From>
__device__ __forceinline__ Shared<To> shared_cast(Shared<From> from) {
  return reinterpret_cast<To*>(from);
}

// A barrier of the block like __syncthreads, except that different warps may wait at different places in the code.
__device__ __forceinline__ void block_barrier() { asm volatile("barrier.sync.aligned 0;" ::: "memory"); }

// The least, the greatest and the sum of a value over a warp.
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
__device__ __forceinline__ int warp_min(int value) { return __reduce_min_sync(kAllLanes, value); }
__device__ __forceinline__ int warp_max(int value) { return __reduce_max_sync(kAllLanes, value); }
__device__ __forceinline__ int warp_sum(int value) { return __reduce_add_sync(kAllLanes, value); }
#else
template <class T, class Combine>
__device__ __forceinline__ T warp_reduce(T value, Combine combine) {
  for (int step = kWarp / 2; step > 0; step /= 2) value = combine(value, __shfl_xor_sync(kAllLanes, value, step));
  return value;
}
__device__ __forceinline__ int warp_min(int value) {
  return warp_reduce(value, [](int a, int b) { return min(a, b); });
}
__device__ __forceinline__ int warp_max(int value) {
  return warp_reduce(value, [](int a, int b) { return max(a, b); });
}
__device__ __forceinline__ int warp_sum(int value) {
  return warp_reduce(value, [](int a, int b) { return a + b; });
}
#endif

// Prefetches the cache line at `address`.
__device__ __forceinline__ void prefetch(const void* address) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(address));
}

// Returns its argument, a number or an address. The compiler then keeps it in a register instead of recomputing it at
// each use.
template <class T>
__device__ __forceinline__ T kept(T number) {
  asm("" : "+l"(number));
  return number;
}

__device__ __forceinline__ float kept(float number) {
  asm("" : "+f"(number));
  return number;
}

// Returns its argument, which is opaque to the compiler. Results that depend on it are then computed at this point.
// They are not hoisted out of a loop, where they would occupy registers throughout.
__device__ __forceinline__ int renewed(int number) {
  asm volatile("" : "+r"(number));
  return number;
}

// Two floats rounded to bfloat16, the first one in the lower half.
__device__ __forceinline__ uint32_t two_bfloat16(float low, float high) {
  uint32_t both;
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
#else
  const auto nearest = [](float value) {
    const uint32_t bits = __float_as_uint(value);
    return (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  };
  both = nearest(high) << 16 | nearest(low);
#endif
  return both;
}

inline int device_attribute(int device, cudaDeviceAttr attribute) {
  int value = 0;
  return cudaDeviceGetAttribute(&value, attribute, device) == cudaSuccess ? value : 0;
}

// Properties that are queried once for each device.
struct DeviceLimits {
  int device, shared_bytes, multiprocessors;
};

inline const DeviceLimits& device_limits() {
  static thread_local std::vector<DeviceLimits> known;
  int device = 0;
  cudaGetDevice(&device);
  for (const DeviceLimits& limits : known) {
    if (limits.device == device) return limits;
  }
  known.push_back({device, device_attribute(device, cudaDevAttrMaxSharedMemoryPerBlockOptin),
                   device_attribute(device, cudaDevAttrMultiProcessorCount)});
  return known.back();
}

inline int most_shared_bytes() { return device_limits().shared_bytes; }

// Properties that are queried once for each combination of kernel, threads and shared memory.
struct Residency {
  const void* kernel;
  int device, threads;
  int64_t shared;
  int blocks;  // on one multiprocessor
};

// The number of blocks for a loop over `items` with one block per item: as many as run at once, but at most `items`.
// Also sets the limit of the kernel's shared memory.
template <class... Parameters>
int64_t resident_blocks(void (*kernel)(Parameters...), int threads, int64_t shared, int64_t items) {
  static thread_local std::vector<Residency> known;
  const DeviceLimits& limits = device_limits();
  const void* name = reinterpret_cast<const void*>(kernel);
  int blocks = 0;
  for (const Residency& r : known) {
    if (r.kernel == name && r.device == limits.device && r.threads == threads && r.shared == shared) blocks = r.blocks;
  }
  if (blocks == 0) {
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, limits.shared_bytes);
    cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, threads, static_cast<size_t>(shared));
    blocks = std::max(blocks, 1);  // if the driver refuses, the launch reports why
    if (known.size() == 256) known.clear();
    known.push_back({name, limits.device, threads, shared, blocks});
  }
  return std::min<int64_t>(items, static_cast<int64_t>(blocks) * limits.multiprocessors);
}

template <class... Parameters>
int launch(void (*kernel)(Parameters...), Grid grid, void* stream, Parameters... arguments) {
  // clang-format off
  kernel<<<static_cast<unsigned>(grid.blocks), static_cast<unsigned>(grid.threads), static_cast<size_t>(grid.shared),
           static_cast<cudaStream_t>(stream)>>>(arguments...);
  // clang-format on
  return cudaGetLastError();
}

}  // namespace spectromer
#endif

namespace spectromer {

__device__ __forceinline__ int thread_index() { return static_cast<int>(threadIdx.x); }
__device__ __forceinline__ int block_threads() { return static_cast<int>(blockDim.x); }
__device__ __forceinline__ int lane_index() { return static_cast<int>(threadIdx.x % kWarp); }
__device__ __forceinline__ int warp_index() { return static_cast<int>(threadIdx.x / kWarp); }
__device__ __forceinline__ int block_warps() { return static_cast<int>(blockDim.x / kWarp); }

// The inclusive prefix sum of a value over the lanes of a warp.
__device__ __forceinline__ int warp_prefix_sum(int value) {
  for (int step = 1; step < kWarp; step *= 2) {
    const int other = __shfl_up_sync(kAllLanes, value, static_cast<unsigned>(step));
    if (lane_index() >= step) value += other;
  }
  return value;
}

// Lays out a block's shared memory, one reservation after the other.
class SharedLayout {
 public:
  int64_t bytes = 0;

  template <class T>
  Reserved reserve(int64_t count) {
    const int64_t size = count * static_cast<int64_t>(sizeof(T)), start = bytes;
    bytes = (start + size + kAligned - 1) / kAligned * kAligned;
    return Reserved{static_cast<int>(start), static_cast<int>(size)};
  }

 private:
  static constexpr int64_t kAligned = 16;
};

}  // namespace spectromer
