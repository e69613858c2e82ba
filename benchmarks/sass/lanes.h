// A warp's instructions that go across its lanes: exchanges, votes, reductions and atomic operations.
#pragma once

#include "warp.h"

namespace sass {

// SHFL predicate, target, source, distance, limits. The limits say where a segment of lanes ends.
inline void Warp::shuffle(const Instruction& i, Mask lanes) {
  uint32_t values[kLanes];
  each(~Mask{0}, [&](int lane) { values[lane] = raw(i[2], lane); });
  each(lanes, [&](int lane) {
    const int by = static_cast<int>(raw(i[3], lane) & 31u);
    const uint32_t limits = raw(i[4], lane);
    const int segment = static_cast<int>(limits >> 8 & 31u), clamp = static_cast<int>(limits & 31u);
    const int first = lane & segment, last = first | (clamp & ~segment);
    int from = first | (by & ~segment);
    if (i.has(kUP)) from = lane - by;
    if (i.has(kDOWN)) from = lane + by;
    if (i.has(kBFLY)) from = lane ^ by;
    const bool inside = i.has(kUP) ? from >= last : from <= last;
    if (inside && (lanes & bit(from)) == 0) fail("lane " + std::to_string(from) + " to take a value from is not there");
    set_truth(i[0], lane, inside);
    set(i[1], lane, values[inside ? from : lane]);
  });
}

inline uint32_t Warp::min(const Instruction& i, uint32_t a, uint32_t b) {
  return i.has(kS32) ? as_word(std::min(as_signed(a), as_signed(b))) : std::min(a, b);
}

inline uint32_t Warp::max(const Instruction& i, uint32_t a, uint32_t b) {
  return i.has(kS32) ? as_word(std::max(as_signed(a), as_signed(b))) : std::max(a, b);
}

// The result of a reduction or an atomic operation for two values.
inline uint32_t Warp::combine(const Instruction& i, uint32_t a, uint32_t b) {
  if (i.has(kADD) || i.has(kSUM)) return a + b;
  if (i.has(kMIN)) return min(i, a, b);
  if (i.has(kMAX)) return max(i, a, b);
  if (i.has(kOR)) return a | b;
  if (i.has(kAND)) return a & b;
  if (i.has(kXOR)) return a ^ b;
  if (i.has(kEXCH)) return b;
  fail("what to do with the values is not known");
}

inline void Warp::reduce(const Instruction& i, Mask lanes) {
  const int first = __builtin_ctz(lanes);
  uint32_t result = raw(i[1], first);
  each(lanes & ~bit(first), [&](int lane) { result = combine(i, result, raw(i[1], lane)); });
  set(i[0], first, result);
}

inline void Warp::vote(const Instruction& i, Mask lanes) {
  Mask votes = 0;
  each(lanes, [&](int lane) { votes |= truth(i.operands.back(), lane) ? bit(lane) : 0; });
  const bool result = i.has(kANY) ? votes != 0 : i.has(kALL) ? votes == lanes : votes == lanes || votes == 0;
  for (size_t target = 0; target + 1 < i.operands.size(); ++target)
    each(lanes, [&](int lane) {
      if (i[target].predicate()) set_truth(i[target], lane, result);
      else set(i[target], lane, votes);
    });
}

inline void Warp::to_uniform(const Instruction& i, Mask lanes) {
  const int first = __builtin_ctz(lanes);
  set(i[0], first, raw(i[1], first));
}

// One lane's atomic operation. The target, if there is one, stands before the memory operand, the value behind it.
inline void Warp::atomic(const Instruction& i, int lane, size_t memory, uint8_t* place) {
  uint32_t old, result;
  std::memcpy(&old, place, 4);
  if (i.has(kPOPC)) {
    result = old + 1;  // each lane counts itself
  } else if (i.has(kADD) && i.has(kF32)) {
    float sum = bits<float>(old) + real(i[memory + 1], lane);
    if (i.has(kFTZ) && std::fpclassify(sum) == FP_SUBNORMAL) sum = std::copysign(0.0f, sum);
    result = bits<uint32_t>(sum);
  } else {
    result = combine(i, old, raw(i[memory + 1], lane));
  }
  std::memcpy(place, &result, 4);
  if (memory > 0) set(i[0], lane, old);
}

inline void Warp::atomic_shared(const Instruction& i, Mask lanes) {
  measure_shared(i, lanes, i[1]);
  each(lanes, [&](int lane) { atomic(i, lane, 1, shared(place_32(i[1], lane), 4)); });
}

inline void Warp::atomic_global(const Instruction& i, Mask lanes) {
  measure_global(i, lanes, i[0]);
  each(lanes, [&](int lane) { atomic(i, lane, 0, global(place_64(i[0], lane), 4)); });
}

}  // namespace sass
