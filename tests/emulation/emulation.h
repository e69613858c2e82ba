// What CUDA's kernels need, on the CPU, in place of <cuda_runtime.h>; see csrc/cuda/launch.h. threads.h runs the
// threads of a block, shared.h checks their accesses to shared memory. A barrier that some threads of a block never
// reach is an error.
#pragma once

#include <math.h>

#include <cstdint>
#include <cstring>

#define __global__
#define __device__
#define __forceinline__ inline
#define __noinline__
#define __grid_constant__
#define __launch_bounds__(...)

#include "shared.h"
#include "threads.h"

namespace spectromer {

// ---- warps and blocks ----

inline void __syncthreads() {
  emulated::wait(emulated::block->all);
  ++emulated::me().block_barriers;
}

inline int __syncthreads_or(int value) {
  const int any = emulated::any_of_block(value != 0);
  ++emulated::me().block_barriers;
  return any;
}

inline void block_barrier() { __syncthreads(); }

inline void __syncwarp() {
  emulated::wait(emulated::my_warp());
  ++emulated::me().warp_barriers;
}

inline int warp_min(int value) {
  return emulated::reduced(value, [](int a, int b) { return a < b ? a : b; });
}
inline int warp_max(int value) {
  return emulated::reduced(value, [](int a, int b) { return a > b ? a : b; });
}
inline int warp_sum(int value) {
  return emulated::reduced(value, [](int a, int b) { return a + b; });
}

inline unsigned __ballot_sync(unsigned, bool value) {
  return emulated::together(value, [](const bool* values) {
    unsigned bits = 0;
    for (int i = 0; i < kWarp; ++i) bits |= static_cast<unsigned>(values[i]) << i;
    return bits;
  });
}

inline bool __any_sync(unsigned lanes, bool value) { return __ballot_sync(lanes, value) != 0; }

template <class T>
T __shfl_sync(unsigned, T value, int from) {
  return emulated::shown_by(value, from);
}

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
T __ldg(const T* from) {
  return *from;
}

inline void prefetch(const void*) {}

template <class T>
T kept(T number) {
  return number;
}

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
int64_t resident_blocks(void (*)(Parameters...), int, int64_t, int64_t items) {
  return items < 3 ? items : 3;
}

using cudaError_t = int;
inline const char* cudaGetErrorString(cudaError_t) { return "none"; }

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
