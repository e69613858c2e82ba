// What every launch needs: enough blocks for a grid-stride loop, and the error it left.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

namespace spectromer {

inline unsigned blocks_for(int64_t items, int threads) {
  return static_cast<unsigned>(std::min<int64_t>((items + threads - 1) / threads, 1 << 20));
}

__device__ inline int64_t first_item() { return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ inline int64_t item_step() { return static_cast<int64_t>(gridDim.x) * blockDim.x; }

}  // namespace spectromer
