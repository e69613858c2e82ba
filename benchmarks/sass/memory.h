// A warp's accesses to global, shared and local memory.
#pragma once

#include <set>

#include "warp.h"

namespace sass {

// A place in shared, local or constant memory.
inline int64_t Warp::place_32(const Operand& o, int lane) const {
  int64_t place = o.value;
  if (o.base != kZeroRegister) place += as_signed(register_[o.base][lane]);
  if (o.uniform_base != kZeroUniform) place += as_signed(uniform_[o.uniform_base]);
  return place;
}

// A place in global memory, which is this process's own.
inline uint64_t Warp::place_64(const Operand& o, int lane) const {
  if (!o.wide && o.base != kZeroRegister) return static_cast<uint64_t>(place_32(o, lane));
  uint64_t place = static_cast<uint64_t>(o.value);
  if (o.base != kZeroRegister) place += join_words(register_[o.base][lane], register_[o.base + 1][lane]);
  if (o.uniform_base != kZeroUniform) place += join_words(uniform_[o.uniform_base], uniform_[o.uniform_base + 1]);
  return place;
}

inline uint8_t* Warp::shared(int64_t place, int size) {
  if (place % size != 0) fail("misaligned access to shared memory at " + std::to_string(place));
  const int64_t offset = place - kSharedStart;
  if (offset < 0 || offset + size > static_cast<int64_t>(block_.shared.size()))
    fail("access outside of shared memory at " + std::to_string(offset));
  return &block_.shared[static_cast<size_t>(offset)];
}

inline uint8_t* Warp::global(uint64_t place, int size) {
  if (place >> 32 == kWindow) return shared(static_cast<int64_t>(place & 0xffffffffu), size);
  if (place % static_cast<uint64_t>(size) != 0) fail("misaligned access to global memory at " + std::to_string(place));
  return reinterpret_cast<uint8_t*>(place);
}

inline uint8_t* Warp::local(int64_t place, int size, int lane) {
  if (place < 0 || place + size > kLocalBytes) fail("access outside of local memory at " + std::to_string(place));
  return &local_[static_cast<size_t>(lane * kLocalBytes + place)];
}

inline void Warp::load(const Instruction& i, int lane, const uint8_t* from) {
  uint32_t words[4] = {};
  std::memcpy(words, from, static_cast<size_t>(i.width));
  if (i.has(kS8)) words[0] = as_word(static_cast<int8_t>(words[0]));
  if (i.has(kS16)) words[0] = as_word(static_cast<int16_t>(words[0]));
  for (int word = 0; word < std::max(i.width / 4, 1); ++word) set(i[0], lane, words[word], word);
}

inline void Warp::store(const Instruction& i, int lane, uint8_t* to) const {
  uint32_t words[4] = {};
  for (int word = 0; word < std::max(i.width / 4, 1); ++word) words[word] = raw(i[1], lane, word);
  std::memcpy(to, words, static_cast<size_t>(i.width));
}

inline void Warp::measure_global(const Instruction& i, Mask lanes, const Operand& memory) {
  std::set<uint64_t> sectors;
  each(lanes, [&](int lane) { sectors.insert(place_64(memory, lane) / 32); });
  counter(i).sectors += sectors.size();
}

// Lanes go together as long as they move up to 128 bytes; each bank then gives one word at a time.
inline void Warp::measure_shared(const Instruction& i, Mask lanes, const Operand& memory) {
  const int words = std::max(i.width / 4, 1), group = kLanes / words;
  for (int first = 0; first < kLanes; first += group) {
    std::set<int64_t> touched;
    for (int lane = first; lane < first + group; ++lane)
      if (lanes & bit(lane))
        for (int word = 0; word < words; ++word) touched.insert(place_32(memory, lane) / 4 + word);
    uint64_t in_bank[32] = {};
    for (int64_t word : touched) ++in_bank[word & 31];
    counter(i).wavefronts += *std::max_element(in_bank, in_bank + 32);
  }
}

inline void Warp::load_global(const Instruction& i, Mask lanes) {
  measure_global(i, lanes, i[1]);
  each(lanes, [&](int lane) { load(i, lane, global(place_64(i[1], lane), i.width)); });
}

inline void Warp::store_global(const Instruction& i, Mask lanes) {
  measure_global(i, lanes, i[0]);
  each(lanes, [&](int lane) { store(i, lane, global(place_64(i[0], lane), i.width)); });
}

inline void Warp::load_shared(const Instruction& i, Mask lanes) {
  measure_shared(i, lanes, i[1]);
  each(lanes, [&](int lane) { load(i, lane, shared(place_32(i[1], lane), i.width)); });
}

inline void Warp::store_shared(const Instruction& i, Mask lanes) {
  measure_shared(i, lanes, i[0]);
  each(lanes, [&](int lane) { store(i, lane, shared(place_32(i[0], lane), i.width)); });
}

inline void Warp::load_local(const Instruction& i, int lane) {
  load(i, lane, local(place_32(i[1], lane), i.width, lane));
}

inline void Warp::store_local(const Instruction& i, int lane) {
  store(i, lane, local(place_32(i[0], lane), i.width, lane));
}

}  // namespace sass
