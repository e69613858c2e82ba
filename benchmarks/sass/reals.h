// A warp's instructions on floating-point numbers, lane by lane, in the rounding mode that their names say.
#pragma once

#include "warp.h"

namespace sass {

// ---- Single precision ----

inline bool Warp::holds(const Instruction& i, double a, double b) {
  if (i.comparison == kNoComparison) fail("there is no comparison");
  const int relation = a < b ? kLess : a > b ? kGreater : a == b ? kEqual : kUnordered;
  return (i.comparison & relation) != 0;
}

inline void Warp::set_real(const Instruction& i, int lane, float value) {
  if (i.has(kSAT)) value = value > 0 ? std::min(value, 1.0f) : 0.0f;
  if (i.has(kFTZ) && std::fpclassify(value) == FP_SUBNORMAL) value = std::copysign(0.0f, value);
  set(i[0], lane, bits<uint32_t>(value));
}

inline void Warp::real_add(const Instruction& i, int lane) {
  set_real(i, lane, real(i[1], lane, i.has(kFTZ)) + real(i[2], lane, i.has(kFTZ)));
}

inline void Warp::real_multiply(const Instruction& i, int lane) {
  set_real(i, lane, real(i[1], lane, i.has(kFTZ)) * real(i[2], lane, i.has(kFTZ)));
}

inline void Warp::real_multiply_add(const Instruction& i, int lane) {
  const bool flush = i.has(kFTZ);
  set_real(i, lane, std::fma(real(i[1], lane, flush), real(i[2], lane, flush), real(i[3], lane, flush)));
}

inline void Warp::real_extreme(const Instruction& i, int lane) {
  const float a = real(i[1], lane, i.has(kFTZ)), b = real(i[2], lane, i.has(kFTZ));
  const bool smaller = truth(i[3], lane);
  float result;
  if (std::isnan(a) || std::isnan(b)) result = i.has(kNAN) ? NAN : std::isnan(a) ? b : a;
  else if (a == b) result = std::signbit(a) == smaller ? a : b;  // zeros may differ in their sign
  else result = (a < b) == smaller ? a : b;
  set(i[0], lane, bits<uint32_t>(result));
}

// FSETP two targets, a, b, a predicate to join.
inline void Warp::real_compare(const Instruction& i, int lane) {
  const bool result = holds(i, real(i[2], lane, i.has(kFTZ)), real(i[3], lane, i.has(kFTZ)));
  const bool other = truth(i[4], lane);
  set_truth(i[0], lane, join(i, result, other));
  set_truth(i[1], lane, join(i, !result, other));
}

inline void Warp::real_set(const Instruction& i, int lane) {
  const bool result = holds(i, real(i[1], lane, i.has(kFTZ)), real(i[2], lane, i.has(kFTZ)));
  const uint32_t one = i.has(kBF) ? bits<uint32_t>(1.0f) : ~0u;
  set(i[0], lane, join(i, result, truth(i[3], lane)) ? one : 0);
}

inline void Warp::real_select(const Instruction& i, int lane) {
  set(i[0], lane, bits<uint32_t>(real(truth(i[3], lane) ? i[1] : i[2], lane)));
}

// FCHK tells by the exponents whether a / b needs the slow way.
inline void Warp::check_division(const Instruction& i, int lane) {
  const int a = static_cast<int>(bits<uint32_t>(std::fabs(real(i[1], lane))) >> 23);
  const int b = static_cast<int>(bits<uint32_t>(std::fabs(real(i[2], lane))) >> 23);
  set_truth(i[0], lane, a == 255 || b == 255 || b == 0 || b >= 253 || a < 24 || a - b >= 126 || a - b <= -125);
}

// MUFU. The machine's functions are exact to about one unit in the last place, while these are correctly rounded.
inline void Warp::function(const Instruction& i, int lane) {
  const double value = real(i[1], lane, true);
  double result;
  if (i.has(kRCP)) result = 1 / value;
  else if (i.has(kRSQ)) result = 1 / std::sqrt(value);
  else if (i.has(kSQRT)) result = std::sqrt(value);
  else if (i.has(kEX2)) result = std::exp2(value);
  else if (i.has(kLG2)) result = std::log2(value);
  else fail("the function is not known");
  const float rounded = static_cast<float>(result);
  set(i[0], lane, bits<uint32_t>(std::fpclassify(rounded) == FP_SUBNORMAL ? std::copysign(0.0f, rounded) : rounded));
}

// MUFU.RCP64H and MUFU.RSQ64H take the upper half of a double and give the upper half of the result.
inline void Warp::reciprocal_high(const Instruction& i, int lane) {
  const double value = bits<double>(join_words(0, raw(i[1], lane)));
  set(i[0], lane, static_cast<uint32_t>(bits<uint64_t>(1 / value) >> 32));
}

inline void Warp::root_high(const Instruction& i, int lane) {
  const double value = bits<double>(join_words(0, raw(i[1], lane)));
  set(i[0], lane, static_cast<uint32_t>(bits<uint64_t>(1 / std::sqrt(value)) >> 32));
}

// ---- Conversions ----

template <class Real>
Real rounded_whole(const Instruction& i, Real value) {
  if (i.has(kFLOOR)) return std::floor(value);
  if (i.has(kCEIL)) return std::ceil(value);
  return i.has(kTRUNC) ? std::trunc(value) : std::rint(value);
}

inline void Warp::round(const Instruction& i, int lane) {
  set(i[0], lane, bits<uint32_t>(rounded_whole(i, real(i[1], lane))));
}

// The nearest value of the type; NaN becomes 0.
template <class Whole>
Whole saturated(double value) {
  constexpr Whole kMost = std::numeric_limits<Whole>::max(), kLeast = std::numeric_limits<Whole>::min();
  if (std::isnan(value)) return 0;
  if (value <= static_cast<double>(kLeast)) return kLeast;
  return value >= static_cast<double>(kMost) ? kMost : static_cast<Whole>(value);
}

inline void Warp::real_to_whole(const Instruction& i, int lane) {
  const double value = rounded_whole(i, i.has(kF64) ? real_64(i[1], lane) : real(i[1], lane, i.has(kFTZ)));
  if (i.has(kU64)) set_64(i[0], lane, saturated<uint64_t>(value));
  else if (i.has(kS64)) set_64(i[0], lane, static_cast<uint64_t>(saturated<int64_t>(value)));
  else if (i.has(kU32)) set(i[0], lane, saturated<uint32_t>(value));
  else set(i[0], lane, as_word(saturated<int32_t>(value)));
}

inline void Warp::whole_to_real(const Instruction& i, int lane) {
  const auto convert = [&](auto value) {
    if (i.has(kF64)) set_64(i[0], lane, bits<uint64_t>(static_cast<double>(value)));
    else set(i[0], lane, bits<uint32_t>(static_cast<float>(value)));
  };
  const Operand& from = i[1];
  const bool narrow = i.width < 4 && !i.has(kU32) && !i.has(kS32);
  if (from.signs() && (narrow || i.has(kU64) || i.has(kS64))) fail("the sign of " + from.text + " is not known here");
  if (i.has(kU64)) return convert(raw_64(from, lane));
  if (i.has(kS64)) return convert(static_cast<int64_t>(raw_64(from, lane)));
  if (!narrow) return i.has(kU32) ? convert(whole(from, lane)) : convert(as_signed(whole(from, lane)));
  const uint32_t part = raw(from, lane) >> (8 * i.width * from.part);
  if (i.has(kU8)) convert(static_cast<uint8_t>(part));
  else if (i.has(kS8)) convert(static_cast<int8_t>(part));
  else if (i.has(kU16)) convert(static_cast<uint16_t>(part));
  else convert(static_cast<int16_t>(part));
}

inline void Warp::widen(const Instruction& i, int lane) {
  set_64(i[0], lane, bits<uint64_t>(static_cast<double>(real(i[1], lane))));
}

inline void Warp::narrow(const Instruction& i, int lane) {
  set(i[0], lane, bits<uint32_t>(static_cast<float>(real_64(i[1], lane))));
}

// F2FP target, the upper half, the lower half.
inline void Warp::pack_bfloat16(const Instruction& i, int lane) {
  const auto half = [](float value) {
    const uint32_t word = bits<uint32_t>(value);
    return std::isnan(value) ? 0x7fffu : (word + 0x7fffu + (word >> 16 & 1u)) >> 16;
  };
  set(i[0], lane, half(real(i[1], lane)) << 16 | half(real(i[2], lane)));
}

// HFMA2 is only known as the compiler uses it to load constants: zero times zero plus two halves.
inline void Warp::half_constant(const Instruction& i, int lane) {
  for (size_t factor : {1, 2})
    if (i[factor].kind != Kind::kRegister || i[factor].index != kZeroRegister)
      fail("only constants are known of HFMA2");
  set(i[0], lane, raw(i[3], lane) << 16 | raw(i[4], lane));
}

// ---- Double precision ----

inline void Warp::double_add(const Instruction& i, int lane) {
  set_64(i[0], lane, bits<uint64_t>(real_64(i[1], lane) + real_64(i[2], lane)));
}

inline void Warp::double_multiply(const Instruction& i, int lane) {
  set_64(i[0], lane, bits<uint64_t>(real_64(i[1], lane) * real_64(i[2], lane)));
}

inline void Warp::double_multiply_add(const Instruction& i, int lane) {
  set_64(i[0], lane, bits<uint64_t>(std::fma(real_64(i[1], lane), real_64(i[2], lane), real_64(i[3], lane))));
}

inline void Warp::double_compare(const Instruction& i, int lane) {
  if (i.has(kMIN) || i.has(kMAX)) return double_extreme(i, lane);
  const bool result = holds(i, real_64(i[2], lane), real_64(i[3], lane)), other = truth(i[4], lane);
  set_truth(i[0], lane, join(i, result, other));
  set_truth(i[1], lane, join(i, !result, other));
}

// DSETP.MIN and DSETP.MAX set whether to take the first value, and whether the first value is NaN.
inline void Warp::double_extreme(const Instruction& i, int lane) {
  const double a = real_64(i[2], lane), b = real_64(i[3], lane);
  const bool first = std::isnan(b) || (i.has(kMIN) ? a < b : a > b);
  set_truth(i[0], lane, join(i, first, truth(i[4], lane)));
  set_truth(i[1], lane, std::isnan(a));
}

}  // namespace sass
