// Instructions of the machine code of compute capability 9.0, and the names of their parts.
#pragma once

#include <bitset>
#include <cfenv>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace sass {

using Mask = uint32_t;  // one bit for each lane of a warp

constexpr int kZeroRegister = 255;  // RZ, always zero
constexpr int kZeroUniform = 63;    // URZ
constexpr int kTrue = 7;            // PT and UPT, always true

[[noreturn]] inline void fail(const std::string& what) { throw std::runtime_error(what); }

template <class To, class From>
To bits(From value) {
  static_assert(sizeof(To) == sizeof(From));
  To result;
  std::memcpy(&result, &value, sizeof result);
  return result;
}

// The modifiers that change what an instruction does. The other parts of a name are only checked for being known.
// clang-format off
#define SASS_MODIFIERS(DO)                                                                                    \
  DO(ADD) DO(ALL) DO(AND) DO(ANY) DO(BF) DO(BFLY) DO(CEIL) DO(CLEAR) DO(DIV) DO(DOWN) DO(EX) DO(EX2) DO(EXCH) \
  DO(F32) DO(F64) DO(FLOOR) DO(FTZ) DO(HI) DO(L) DO(LG2) DO(MAX) DO(MIN) DO(NAN) DO(OR) DO(POPC) DO(RCP)      \
  DO(RED) DO(RESULT) DO(RSQ) DO(S16) DO(S32) DO(S64) DO(S8) DO(SAT) DO(SH) DO(SQRT) DO(SUM) DO(SX32) DO(SYNC) \
  DO(TRUNC) DO(U16) DO(U32) DO(U64) DO(U8) DO(UP) DO(W) DO(WIDE) DO(X) DO(XOR) DO(32)
// clang-format on

enum Modifier {
#define SASS_ENUMERATE(name) k##name,
  SASS_MODIFIERS(SASS_ENUMERATE)
#undef SASS_ENUMERATE
      kModifierCount
};

inline const std::map<std::string, Modifier>& modifier_names() {
  static const std::map<std::string, Modifier> names{
#define SASS_NAME(name) {#name, k##name},
      SASS_MODIFIERS(SASS_NAME)
#undef SASS_NAME
  };
  return names;
}

// The relations between two values. A comparison is the set of relations for which it holds.
enum Relation { kLess = 1, kEqual = 2, kGreater = 4, kUnordered = 8 };
constexpr int kNoComparison = -1;

inline const std::map<std::string, int>& comparison_names() {
  static const std::map<std::string, int> names{
      {"F", 0},   {"LT", 1},  {"EQ", 2},   {"LE", 3},   {"GT", 4},   {"NE", 5},   {"GE", 6},   {"NUM", 7},
      {"NAN", 8}, {"LTU", 9}, {"EQU", 10}, {"LEU", 11}, {"GTU", 12}, {"NEU", 13}, {"GEU", 14}, {"T", 15}};
  return names;
}

inline const std::map<std::string, int>& rounding_names() {
  static const std::map<std::string, int> names{
      {"RN", FE_TONEAREST}, {"RM", FE_DOWNWARD}, {"RP", FE_UPWARD}, {"RZ", FE_TOWARDZERO}};
  return names;
}

// The bytes that an access to memory moves, if they are not four.
inline const std::map<std::string, int>& width_names() {
  static const std::map<std::string, int> names{{"U8", 1}, {"S8", 1}, {"U16", 2}, {"S16", 2}, {"64", 8}, {"128", 16}};
  return names;
}

enum Special {
  kThread,
  kBlock,
  kAlwaysZero,
  kSharedWindow,
  kLaneId,
  kLanesBelow,
  kLanesUpTo,
  kThisLane,
  kLanesFrom,
  kLanesAbove
};

inline const std::map<std::string, Special>& special_names() {
  static const std::map<std::string, Special> names{
      {"SR_TID.X", kThread},        {"SR_TID.Y", kAlwaysZero},   {"SR_TID.Z", kAlwaysZero},    {"SR_CTAID.X", kBlock},
      {"SR_CTAID.Y", kAlwaysZero},  {"SR_CTAID.Z", kAlwaysZero}, {"SR_SWINHI", kSharedWindow}, {"SR_LANEID", kLaneId},
      {"SR_CgaCtaId", kAlwaysZero}, {"SR_LTMASK", kLanesBelow},  {"SR_LEMASK", kLanesUpTo},    {"SR_EQMASK", kThisLane},
      {"SR_GTMASK", kLanesAbove},   {"SR_GEMASK", kLanesFrom}};
  return names;
}

enum class Kind {
  kRegister,
  kUniform,
  kPredicate,
  kUniformPredicate,
  kImmediate,
  kConstant,
  kMemory,
  kLabel,
  kBarrier,
  kSpecial,
  kOther
};

struct Operand {
  Kind kind = Kind::kImmediate;
  std::string text;
  bool negated = false, absolute = false, inverted = false;
  int index = 0;  // of the register, predicate, barrier or special register; of the bank for a constant
  int base = kZeroRegister, uniform_base = kZeroUniform;  // registers that are added to a place in memory
  bool wide = false;                                      // the memory's base is a pair of registers
  int part = 0;                                           // which byte or half, as in R1.B2 or R1.H1
  int64_t value = 0;  // immediate, place of a constant or in memory, a label's address

  bool predicate() const { return kind == Kind::kPredicate || kind == Kind::kUniformPredicate; }
  bool signs() const { return !predicate() && (negated || absolute || inverted); }
};

class Warp;
struct Instruction;
using LanesMethod = void (Warp::*)(const Instruction&, Mask lanes);
using LaneMethod = void (Warp::*)(const Instruction&, int lane);

struct Instruction {
  int64_t address = 0;
  size_t number = 0;  // its place in the program
  std::string full;   // the name with its modifiers
  std::string name;
  std::vector<std::string> modifiers;
  int guard = kTrue;
  bool guard_negated = false, guard_uniform = false;
  std::vector<Operand> operands;

  std::bitset<kModifierCount> set;
  int comparison = kNoComparison, rounding = FE_TONEAREST, width = 4;

  // The method that plays it, for all lanes of a warp at once or lane by lane. A uniform one is played for the first
  // lane only.
  LanesMethod lanes = nullptr;
  LaneMethod lane = nullptr;
  bool uniform = false;
  std::string problem;  // why no warp can play it

  bool has(Modifier modifier) const { return set[modifier]; }
  const Operand& operator[](size_t place) const { return operands[place]; }
};

}  // namespace sass
