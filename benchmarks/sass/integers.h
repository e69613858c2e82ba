// A warp's instructions on whole numbers and predicates, lane by lane.
#pragma once

#include "warp.h"

namespace sass {

inline bool Warp::join(const Instruction& i, bool a, bool b) {
  if (i.has(kOR)) return a || b;
  return i.has(kXOR) ? a != b : a && b;
}

inline void Warp::move(const Instruction& i, int lane) { set(i[0], lane, raw(i[1], lane)); }

inline void Warp::special(const Instruction& i, int lane) {
  const auto value = [&]() -> uint32_t {
    switch (i[1].index) {
      case kThread: return as_word(number_ * kLanes + lane);
      case kBlock: return as_word(block_.number);
      case kSharedWindow: return static_cast<uint32_t>(kWindow);
      case kLaneId: return as_word(lane);
      case kLanesBelow: return bit(lane) - 1;
      case kLanesUpTo: return bit(lane) | (bit(lane) - 1);
      case kThisLane: return bit(lane);
      case kLanesFrom: return ~(bit(lane) - 1);
      case kLanesAbove: return ~(bit(lane) | (bit(lane) - 1));
      default: return 0;
    }
  };
  if (i[1].kind != Kind::kSpecial) fail("operand " + i[1].text + " is not a special register");
  set(i[0], lane, value());
}

// CS2R reads special registers, of which only the zero is played.
inline void Warp::clear(const Instruction& i, int lane) {
  if (i[1].kind != Kind::kRegister || i[1].index != kZeroRegister)
    fail("special register " + i[1].text + " is not known");
  set(i[0], lane, 0);
  if (!i.has(k32)) set(i[0], lane, 0, 1);
}

inline void Warp::load_constant(const Instruction& i, int lane) {
  const Operand& from = i[1];
  if (i.width == 1) {
    const uint8_t value = constant<uint8_t>(from, lane);
    set(i[0], lane, i.has(kS8) ? as_word(static_cast<int8_t>(value)) : value);
  } else if (i.width == 2) {
    const uint16_t value = constant<uint16_t>(from, lane);
    set(i[0], lane, i.has(kS16) ? as_word(static_cast<int16_t>(value)) : value);
  } else {
    uint32_t words[4] = {};  // all are read before any is set: the target may be the source's register
    for (int word = 0; word < i.width / 4; ++word) words[word] = constant<uint32_t>(from, lane, 4 * word);
    for (int word = 0; word < i.width / 4; ++word) set(i[0], lane, words[word], word);
  }
}

inline void Warp::add(const Instruction& i, int lane) { set(i[0], lane, whole(i[1], lane) + whole(i[2], lane)); }

// IADD3 target, up to two carries out, three terms, up to two carries in.
inline void Warp::add_3(const Instruction& i, int lane) {
  size_t first = 1;
  while (i[first].predicate()) ++first;
  uint64_t sum = 0;
  for (size_t k = first; k < first + 3; ++k) {
    const uint32_t value = raw(i[k], lane);
    sum += i[k].inverted || i[k].negated ? ~value : value;
    if (i[k].negated && !i.has(kX)) ++sum;  // with X the 1 is added as a carry
  }
  for (size_t k = first + 3; k < i.operands.size(); ++k) sum += truth(i[k], lane);
  set(i[0], lane, static_cast<uint32_t>(sum));
  for (size_t k = 1; k < first; ++k) set_truth(i[k], lane, (sum >> 32) >= k);
}

// IMAD target, a carry out, two factors, a term, a carry in.
inline void Warp::multiply_add(const Instruction& i, int lane) {
  const size_t first = i[1].predicate() ? 2 : 1;
  if (i.has(kWIDE) || i.has(kHI)) return multiply_add_wide(i, lane, first);
  if (first != 1) fail("a carry out is only known for wide products");
  const Operand& term = i[3];
  uint32_t result = whole(i[1], lane) * whole(i[2], lane);
  result += i.has(kX) && term.negated ? ~raw(term, lane) : whole(term, lane);
  if (i.has(kX)) result += truth(i.operands.at(4), lane);
  set(i[0], lane, result);
}

inline void Warp::multiply_add_wide(const Instruction& i, int lane, size_t first) {
  const Operand& last = i[first + 2];
  const uint32_t a = whole(i[first], lane), b = whole(i[first + 1], lane);
  uint64_t product, term;
  if (i.has(kU32)) {
    product = static_cast<uint64_t>(a) * b;
    term = last.kind == Kind::kImmediate ? raw(last, lane) : raw_64(last, lane);
  } else {
    product = static_cast<uint64_t>(static_cast<int64_t>(as_signed(a)) * as_signed(b));
    term = last.kind == Kind::kImmediate ? static_cast<uint64_t>(as_signed(raw(last, lane))) : raw_64(last, lane);
  }
  if (last.inverted || (last.negated && i.has(kX))) fail("the sign of " + last.text + " is not known here");
  if (last.negated) term = 0 - term;
  const uint64_t result = product + term + (i.has(kX) ? truth(i.operands.at(first + 3), lane) : 0);
  if (first == 2) set_truth(i[1], lane, result < product);
  if (i.has(kHI)) set(i[0], lane, static_cast<uint32_t>(result >> 32));
  else set_64(i[0], lane, result);
}

// LEA target, a carry out, a, b, shift. Adds the shifted a to b.
inline void Warp::shift_add(const Instruction& i, int lane) {
  const size_t first = i[1].predicate() ? 2 : 1;
  if (i.has(kHI)) return shift_add_high(i, lane, first);
  if (i.has(kX)) fail("a carry in is only known for the upper half");
  const uint32_t shifted = whole(i[first], lane) << (raw(i[first + 2], lane) & 31u);
  const uint64_t result = static_cast<uint64_t>(shifted) + whole(i[first + 1], lane);
  if (first == 2) set_truth(i[1], lane, result >> 32 != 0);
  set(i[0], lane, static_cast<uint32_t>(result));
}

// LEA.HI target, a carry out, a, b, the upper half of a, shift, a carry in. Adds to b what is shifted out of a's lower
// half. With SX32 the upper half is a's sign.
inline void Warp::shift_add_high(const Instruction& i, int lane, size_t first) {
  if (i[first].signs() || (i[first + 1].negated && i.has(kX))) fail("a sign is not known here");
  const uint32_t low = raw(i[first], lane);
  const size_t by = i.has(kSX32) ? first + 2 : first + 3;
  const uint32_t high = i.has(kSX32) ? as_word(as_signed(low) >> 31) : raw(i[first + 2], lane);
  const uint32_t shifted = static_cast<uint32_t>(join_words(low, high) >> (32 - (raw(i.operands.at(by), lane) & 31u)));
  uint64_t result = static_cast<uint64_t>(shifted) + whole(i[first + 1], lane);
  if (i.has(kX)) result += truth(i.operands.at(by + 1), lane);
  if (first == 2) set_truth(i[1], lane, result >> 32 != 0);
  set(i[0], lane, static_cast<uint32_t>(result));
}

// SHF target, lower half, distance, upper half.
inline void Warp::shift(const Instruction& i, int lane) {
  const uint32_t low = raw(i[1], lane), distance = raw(i[2], lane), high = raw(i[3], lane);
  const bool wide = i.has(kU64) || i.has(kS64), extends = i.has(kS32) || i.has(kS64);
  const uint32_t by = i.has(kW) ? distance & (wide ? 63u : 31u) : std::min(distance, wide ? 63u : 32u);
  const uint32_t unclamped = i.has(kW) ? by : distance;
  const uint64_t both = join_words(low, high);
  uint64_t result;
  if (i.has(kL) && i.has(kHI)) result = unclamped >= 64 ? 0 : (both << by) >> 32;
  else if (i.has(kL)) result = unclamped >= 32 ? 0 : low << by;
  else if (i.has(kHI) && extends) result = as_word(as_signed(high) >> std::min(by, 31u));
  else if (i.has(kHI)) result = unclamped >= 32 ? 0 : high >> by;
  else if (i.has(kS64)) result = static_cast<uint64_t>(static_cast<int64_t>(both) >> by);
  else result = unclamped >= 64 ? 0 : both >> by;
  set(i[0], lane, static_cast<uint32_t>(result));
}

// LOP3 whether any bit is set, target, three values, the truth table for their bits, a predicate.
inline void Warp::logic(const Instruction& i, int lane) {
  const size_t target = i[0].predicate() ? 1 : 0;
  const uint32_t a = whole(i[target + 1], lane), b = whole(i[target + 2], lane), c = whole(i[target + 3], lane);
  const uint32_t table = raw(i.operands.at(target + 4), lane);
  uint32_t result = 0;
  for (uint32_t k = 0; k < 8; ++k)
    if (table >> k & 1) result |= (k & 4 ? a : ~a) & (k & 2 ? b : ~b) & (k & 1 ? c : ~c);
  const bool other = i.operands.size() > target + 5 && truth(i[target + 5], lane);
  if (target == 1) set_truth(i[0], lane, result != 0 || other);
  set(i[target], lane, result);
}

// PLOP3 two targets, three predicates, a truth table for each target.
inline void Warp::predicate_logic(const Instruction& i, int lane) {
  const int place = truth(i[2], lane) * 4 + truth(i[3], lane) * 2 + truth(i[4], lane);
  set_truth(i[0], lane, raw(i[5], lane) >> place & 1);
  set_truth(i[1], lane, raw(i[6], lane) >> place & 1);
}

// ISETP two targets, a, b, a predicate to join, with EX the comparison of the lower halves.
inline void Warp::compare_whole(const Instruction& i, int lane) {
  if (i.comparison == kNoComparison) fail("there is no comparison");
  const uint32_t a = whole(i[2], lane), b = whole(i[3], lane);
  const bool less = i.has(kU32) ? a < b : as_signed(a) < as_signed(b);
  const int relation = a == b ? kEqual : less ? kLess : kGreater;
  bool result = (i.comparison & relation) != 0;
  if (i.has(kEX) && relation == kEqual) result = truth(i.operands.at(5), lane);
  const bool other = truth(i[4], lane);
  set_truth(i[0], lane, join(i, result, other));
  set_truth(i[1], lane, join(i, !result, other));
}

// VIMNMX and its like do not print S32: they are signed unless they say U32.
inline uint32_t signed_extreme(const Instruction& i, bool smaller, uint32_t a, uint32_t b) {
  const bool less = i.has(kU32) ? a < b : as_signed(a) < as_signed(b);
  return less == smaller ? a : b;
}

inline void Warp::extreme(const Instruction& i, int lane) {
  set(i[0], lane, signed_extreme(i, truth(i[3], lane), whole(i[1], lane), whole(i[2], lane)));
}

inline void Warp::extreme_3(const Instruction& i, int lane) {
  const bool smaller = truth(i[4], lane);
  const uint32_t first = signed_extreme(i, smaller, whole(i[1], lane), whole(i[2], lane));
  set(i[0], lane, signed_extreme(i, smaller, first, whole(i[3], lane)));
}

inline void Warp::add_extreme(const Instruction& i, int lane) {
  set(i[0], lane, signed_extreme(i, truth(i[4], lane), whole(i[1], lane) + whole(i[2], lane), whole(i[3], lane)));
}

inline void Warp::absolute(const Instruction& i, int lane) {
  const uint32_t value = raw(i[1], lane);
  set(i[0], lane, as_signed(value) < 0 ? 0 - value : value);
}

inline void Warp::select(const Instruction& i, int lane) {
  set(i[0], lane, whole(truth(i[3], lane) ? i[1] : i[2], lane));
}

// PRMT target, low, selectors, high. Each selector chooses a byte or, with its top bit, that byte's sign.
inline void Warp::permute(const Instruction& i, int lane) {
  const uint64_t value = join_words(raw(i[1], lane), raw(i[3], lane));
  const uint32_t selectors = raw(i[2], lane);
  uint32_t result = 0;
  for (int k = 0; k < 4; ++k) {
    const uint32_t selector = selectors >> (4 * k) & 15u;
    uint32_t byte = static_cast<uint32_t>(value >> (8 * (selector & 7u))) & 255u;
    if (selector & 8u) byte = byte & 128u ? 255u : 0u;
    result |= byte << (8 * k);
  }
  set(i[0], lane, result);
}

inline void Warp::count_bits(const Instruction& i, int lane) { set(i[0], lane, as_word(count(whole(i[1], lane)))); }

inline void Warp::reverse_bits(const Instruction& i, int lane) {
  const uint32_t value = raw(i[1], lane);
  uint32_t result = 0;
  for (int k = 0; k < 32; ++k) result |= (value >> k & 1) << (31 - k);
  set(i[0], lane, result);
}

// FLO finds the highest bit that is not the sign, counted from below or, with SH, from above.
inline void Warp::leading_bit(const Instruction& i, int lane) {
  uint32_t value = whole(i[1], lane);
  if (!i.has(kU32) && as_signed(value) < 0) value = ~value;
  if (value == 0) return set(i[0], lane, ~0u);
  const uint32_t zeros = as_word(__builtin_clz(value));
  set(i[0], lane, i.has(kSH) ? zeros : 31u - zeros);
}

inline void Warp::sign_extend(const Instruction& i, int lane) {
  const uint32_t value = raw(i[1], lane), width = raw(i[2], lane);
  if (width >= 32) return set(i[0], lane, value);
  const uint32_t mask = (1u << width) - 1;
  const bool negative = !i.has(kU32) && width > 0 && (value >> (width - 1) & 1);
  set(i[0], lane, negative ? value | ~mask : value & mask);
}

inline void Warp::bit_mask(const Instruction& i, int lane) {
  const uint32_t first = raw(i[1], lane), width = raw(i[2], lane);
  const uint32_t mask = width >= 32 ? ~0u : (1u << width) - 1;
  set(i[0], lane, first >= 32 ? 0 : mask << first);
}

// P2R target, PR, value, mask. Takes the predicates under the mask, and the value's bits elsewhere.
inline void Warp::from_predicates(const Instruction& i, int lane) {
  const uint32_t mask = raw(i[3], lane);
  uint32_t predicates = 0;
  for (int k = 0; k < kTrue; ++k) predicates |= (predicate_[k] >> lane & 1) << k;
  set(i[0], lane, (raw(i[2], lane) & ~mask) | (predicates & mask));
}

// R2P PR, value, mask.
inline void Warp::to_predicates(const Instruction& i, int lane) {
  const uint32_t value = raw(i[1], lane), mask = raw(i[2], lane);
  for (int k = 0; k < kTrue; ++k)
    if (mask >> k & 1) predicate_[k] = (predicate_[k] & ~bit(lane)) | (value >> k & 1) << lane;
}

}  // namespace sass
