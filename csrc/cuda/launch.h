// What every kernel and every launch needs. The tests play blocks of threads on the CPU with a header of their own.
#pragma once

#include <algorithm>
#include <cstdint>

namespace spectromer {
constexpr int kWarp = 32, kThreads = 256;  // of a warp, of a block
}

#ifdef SPECTROMER_EMULATED
#include "emulation.h"
#else
#include <cuda_runtime.h>

namespace spectromer {

// The bytes that the threads of a block share, as many as the launch asked for.
__device__ inline unsigned char* shared_bytes() {
  extern __shared__ __align__(16) unsigned char bytes[];
  return bytes;
}

template <class Kernel>
int allow_shared(Kernel kernel, int64_t bytes) {
  return bytes <= 48 * 1024 ? cudaSuccess
                            : cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                   static_cast<int>(bytes));
}

template <class... Parameters>
int launch(void (*kernel)(Parameters...), int64_t blocks, int64_t shared, void* stream, Parameters... arguments) {
  if (const int error = allow_shared(kernel, shared)) return error;
  kernel<<<static_cast<unsigned>(blocks), kThreads, static_cast<size_t>(shared), static_cast<cudaStream_t>(stream)>>>(
      arguments...);
  return cudaGetLastError();
}

inline int device_attribute(cudaDeviceAttr attribute) {
  int device = 0, value = 0;
  if (cudaGetDevice(&device) != cudaSuccess || cudaDeviceGetAttribute(&value, attribute, device) != cudaSuccess) return 0;
  return value;
}

inline int most_shared_bytes() { return device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin); }

// As many blocks as run at once, or fewer: for a loop over `items` with a block for each.
template <class Kernel>
int64_t resident_blocks(Kernel kernel, int64_t items, int64_t shared) {
  int blocks = 0;
  allow_shared(kernel, shared);  // an error shows again at the launch
  cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, kThreads, static_cast<size_t>(shared));
  return std::min<int64_t>(items, std::max(1, blocks * device_attribute(cudaDevAttrMultiProcessorCount)));
}

}  // namespace spectromer
#endif

namespace spectromer {

// Enough blocks for a loop in steps of the whole grid.
inline int64_t blocks_for(int64_t items) { return std::min<int64_t>((items + kThreads - 1) / kThreads, 1 << 20); }

__device__ inline int64_t first_item() { return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ inline int64_t item_step() { return static_cast<int64_t>(gridDim.x) * blockDim.x; }

// The least and the greatest of a value over a warp.
__device__ inline int warp_least(int value) {
  for (int step = kWarp / 2; step > 0; step /= 2) {
    const int other = __shfl_xor_sync(~0u, value, step);
    value = other < value ? other : value;
  }
  return value;
}

__device__ inline int warp_most(int value) { return -warp_least(-value); }

// The sum of a value over this lane and those before it.
__device__ inline int warp_sum(int value) {
  for (int step = 1; step < kWarp; step *= 2) {
    const int other = __shfl_up_sync(~0u, value, static_cast<unsigned>(step));
    if (static_cast<int>(threadIdx.x) % kWarp >= step) value += other;
  }
  return value;
}

}  // namespace spectromer
