// The memory that the warps of a block share, counters for each instruction, and helpers for lanes and words.
#pragma once

#include "program.h"

namespace sass {

constexpr int kLanes = 32;
constexpr int kLocalBytes = 8192;        // of each lane
constexpr int64_t kSharedStart = 0x400;  // address of a block's first byte of shared memory
constexpr uint64_t kWindow = 0x10000;    // upper half of a generic address in shared memory
constexpr uint8_t kUnset = 0xcd;         // what memory holds before anything is written

struct Counter {
  uint64_t executed = 0, lanes = 0;
  uint64_t sectors = 0;     // of 32 bytes of global memory
  uint64_t wavefronts = 0;  // of shared memory: several per access if lanes need different words of a bank
};

// The memory that the warps of a block share.
struct Block {
  int number = 0;
  std::vector<uint8_t> shared;
  const std::string& constants;  // bank 0
  bool shown = false;            // whether a lane has shown true at the barrier that warps wait at
  bool answer = false;           // the same for the last barrier that all have passed
};

template <class Function>
void each(Mask lanes, Function function) {
  for (; lanes != 0; lanes &= lanes - 1) function(__builtin_ctz(lanes));
}

inline int count(Mask lanes) { return __builtin_popcount(lanes); }
inline Mask bit(int lane) { return Mask{1} << lane; }
inline int32_t as_signed(uint32_t value) { return static_cast<int32_t>(value); }
inline uint32_t as_word(int32_t value) { return static_cast<uint32_t>(value); }
inline uint64_t join_words(uint32_t low, uint32_t high) { return static_cast<uint64_t>(high) << 32 | low; }

}  // namespace sass
