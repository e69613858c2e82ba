// The instructions that a warp can play: by which method, and with which modifiers, signs and numbers of operands. An
// instruction with anything else gets a problem, so that nothing that could change a result is ignored.
#pragma once

#include "control.h"
#include "integers.h"
#include "lanes.h"
#include "memory.h"
#include "reals.h"

namespace sass {

struct Warp::Family {
  LanesMethod lanes;
  LaneMethod lane;
  std::string modifiers;  // the allowed ones, between spaces; "*" if no modifier can change a result
  std::string signs;      // the allowed ones of its operands: -, | and ~, and '.' for a part of a register
  size_t least, most;     // operands
};

inline const std::map<std::string, Warp::Family>& Warp::families() {
  using W = Warp;
  const auto lanes = [](LanesMethod method, std::string modifiers, size_t least, size_t most) {
    return Family{method, nullptr, std::move(modifiers), "", least, most};
  };
  const auto lane = [](LaneMethod method, std::string modifiers, std::string signs, size_t least, size_t most) {
    return Family{nullptr, method, std::move(modifiers), std::move(signs), least, most};
  };
  const std::string orders = "LT LE GT GE EQ NE ", joins = "AND OR XOR ", rounds = "RN RM RP RZ ";
  const std::string comparisons = orders + "LTU LEU GTU GEU EQU NEU NAN NUM T F " + joins;
  const std::string widths = "32 64 128 U8 S8 U16 S16 ";
  const std::string access = "E CONSTANT STRONG WEAK CTA SM GPU SYS EF EL LU NA " + widths;
  const std::string atomics = "ADD MIN MAX OR AND XOR EXCH S32 F32 ";
  const std::string reductions = atomics + "E FTZ RN STRONG CTA SM GPU SYS";
  static const std::map<std::string, Family> table{
      // Control flow.
      {"BRA", lanes(&W::branch, "DIV", 1, 3)},
      {"EXIT", lanes(&W::exit, "", 0, 0)},
      {"CALL", lanes(&W::call, "REL NOINC", 1, 1)},
      {"RET", lanes(&W::return_from_call, "REL NODEC", 1, 2)},
      {"BSSY", lanes(&W::begin_together, "", 2, 2)},
      {"BSYNC", lanes(&W::end_together, "", 1, 1)},
      {"BMOV", lanes(&W::move_barrier, "32 CLEAR", 2, 2)},
      {"BREAK", lanes(&W::leave_together, "", 1, 2)},
      {"WARPSYNC", lanes(&W::synchronize_warp, "ALL COLLECTIVE", 0, 2)},
      {"BAR", lanes(&W::synchronize_block, "SYNC RED OR DEFER_BLOCKING", 1, 2)},
      {"B2R", lanes(&W::barrier_result, "RESULT", 2, 2)},
      // These concern only timing, caches and the order of memory accesses, and do nothing here.
      {"NOP", lanes(&W::nothing, "*", 0, 9)},
      {"YIELD", lanes(&W::nothing, "*", 0, 9)},
      {"ENDCOLLECTIVE", lanes(&W::nothing, "*", 0, 9)},
      {"DEPBAR", lanes(&W::nothing, "*", 0, 9)},
      {"CCTL", lanes(&W::nothing, "*", 0, 9)},
      {"ERRBAR", lanes(&W::nothing, "*", 0, 9)},
      {"MEMBAR", lanes(&W::nothing, "*", 0, 9)},
      {"FENCE", lanes(&W::nothing, "*", 0, 9)},
      {"UBLKPF", lanes(&W::nothing, "*", 0, 9)},
      // Across lanes.
      {"SHFL", lanes(&W::shuffle, "IDX UP DOWN BFLY", 5, 5)},
      {"REDUX", lanes(&W::reduce, "SUM OR AND XOR MIN MAX S32", 2, 2)},
      {"VOTE", lanes(&W::vote, "ANY ALL EQ", 2, 3)},
      {"VOTEU", lanes(&W::vote, "ANY ALL EQ", 2, 3)},
      {"R2UR", lanes(&W::to_uniform, "", 2, 2)},
      // Memory.
      {"LDG", lanes(&W::load_global, access, 2, 2)},
      {"LD", lanes(&W::load_global, access, 2, 2)},
      {"STG", lanes(&W::store_global, access, 2, 2)},
      {"ST", lanes(&W::store_global, access, 2, 2)},
      {"LDS", lanes(&W::load_shared, widths, 2, 2)},
      {"STS", lanes(&W::store_shared, widths, 2, 2)},
      {"LDL", lane(&W::load_local, widths + "LU", "", 2, 2)},
      {"STL", lane(&W::store_local, widths, "", 2, 2)},
      {"ATOMS", lanes(&W::atomic_shared, atomics + "POPC INC 32", 2, 3)},
      {"RED", lanes(&W::atomic_global, reductions, 2, 2)},
      {"REDG", lanes(&W::atomic_global, reductions, 2, 2)},
      // Whole numbers.
      {"MOV", lane(&W::move, "", "", 2, 2)},
      {"S2R", lane(&W::special, "", "", 2, 2)},
      {"CS2R", lane(&W::clear, "32", "", 2, 2)},
      {"LDC", lane(&W::load_constant, widths, "", 2, 2)},
      {"VIADD", lane(&W::add, "", "-", 3, 3)},
      {"IADD3", lane(&W::add_3, "X", "-~", 4, 8)},
      {"IMAD", lane(&W::multiply_add, "MOV SHL IADD U32 WIDE HI X", "-~", 4, 6)},
      {"LEA", lane(&W::shift_add, "HI X SX32", "-~", 4, 7)},
      {"SHF", lane(&W::shift, "L R W U32 S32 U64 S64 HI", "", 4, 4)},
      {"LOP3", lane(&W::logic, "LUT", "~", 5, 7)},
      {"PLOP3", lane(&W::predicate_logic, "LUT", "", 7, 7)},
      {"ISETP", lane(&W::compare_whole, orders + joins + "U32 EX", "-", 5, 6)},
      {"VIMNMX", lane(&W::extreme, "U32 S32", "-", 4, 4)},
      {"VIMNMX3", lane(&W::extreme_3, "U32 S32", "-", 5, 5)},
      {"VIADDMNMX", lane(&W::add_extreme, "U32 S32", "-", 5, 5)},
      {"IABS", lane(&W::absolute, "", "", 2, 2)},
      {"SEL", lane(&W::select, "", "-", 4, 4)},
      {"PRMT", lane(&W::permute, "", "", 4, 4)},
      {"POPC", lane(&W::count_bits, "", "~", 2, 2)},
      {"BREV", lane(&W::reverse_bits, "", "", 2, 2)},
      {"FLO", lane(&W::leading_bit, "U32 SH", "~", 2, 2)},
      {"SGXT", lane(&W::sign_extend, "U32", "", 3, 3)},
      {"BMSK", lane(&W::bit_mask, "", "", 3, 3)},
      {"P2R", lane(&W::from_predicates, "", "", 4, 4)},
      {"R2P", lane(&W::to_predicates, "", "", 3, 3)},
      // Floating point.
      {"FADD", lane(&W::real_add, rounds + "FTZ SAT", "-|", 3, 3)},
      {"FMUL", lane(&W::real_multiply, rounds + "FTZ SAT", "-|", 3, 3)},
      {"FFMA", lane(&W::real_multiply_add, rounds + "FTZ SAT", "-|", 4, 4)},
      {"FMNMX", lane(&W::real_extreme, "FTZ NAN", "-|", 4, 4)},
      {"FSETP", lane(&W::real_compare, comparisons + "FTZ", "-|", 5, 5)},
      {"FSET", lane(&W::real_set, comparisons + "FTZ BF", "-|", 4, 4)},
      {"FSEL", lane(&W::real_select, "", "-|", 4, 4)},
      {"FCHK", lane(&W::check_division, "", "-|", 3, 3)},
      {"MUFU", lane(&W::function, "RCP RSQ SQRT EX2 LG2", "-|", 2, 2)},
      {"MUFU.RCP64H", lane(&W::reciprocal_high, "RCP64H", "", 2, 2)},
      {"MUFU.RSQ64H", lane(&W::root_high, "RSQ64H", "", 2, 2)},
      {"FRND", lane(&W::round, "FLOOR CEIL TRUNC", "-|", 2, 2)},
      {"F2I", lane(&W::real_to_whole, "F64 FTZ NTZ FLOOR CEIL TRUNC U32 S32 U64 S64", "-|", 2, 2)},
      {"I2F", lane(&W::whole_to_real, rounds + "F64 U8 S8 U16 S16 U32 S32 U64 S64", "-|.", 2, 2)},
      {"I2FP", lane(&W::whole_to_real, rounds + "F32 U32 S32", "-|", 2, 2)},
      {"F2F.F64.F32", lane(&W::widen, "F64 F32", "-|", 2, 2)},
      {"F2F.F32.F64", lane(&W::narrow, "F64 F32", "-|", 2, 2)},
      {"F2FP.BF16.F32.PACK_AB", lane(&W::pack_bfloat16, "BF16 F32 PACK_AB", "-|", 3, 3)},
      {"HFMA2", lane(&W::half_constant, "MMA", "-", 5, 5)},
      {"DADD", lane(&W::double_add, rounds, "-|", 3, 3)},
      {"DMUL", lane(&W::double_multiply, rounds, "-|", 3, 3)},
      {"DFMA", lane(&W::double_multiply_add, rounds, "-|", 4, 4)},
      {"DSETP", lane(&W::double_compare, comparisons + "MIN MAX", "-|", 5, 5)},
  };
  return table;
}

// Finds an instruction's family by its full name, its name, or a uniform one's name without the U.
inline void Warp::bind(Instruction* i) {
  auto found = families().find(i->full);
  if (found == families().end()) found = families().find(i->name);
  if (found == families().end() && (i->name[0] == 'U' || i->name == "S2UR")) {
    found = families().find(i->name == "S2UR" ? "S2R" : i->name.substr(1));
    i->uniform = true;
  }
  if (found == families().end() || (i->uniform && found->second.lane == nullptr)) fail("the instruction is not known");
  const Family& family = found->second;
  i->lanes = family.lanes;
  i->lane = family.lane;
  if (family.modifiers == "*") return;
  for (const std::string& modifier : i->modifiers)
    if ((" " + family.modifiers + " ").find(" " + modifier + " ") == std::string::npos)
      fail("modifier " + modifier + " is not known");
  if (i->operands.size() < family.least || i->operands.size() > family.most)
    fail("the number of operands is not known");
  const auto allows = [&](char sign) { return family.signs.find(sign) != std::string::npos; };
  for (const Operand& o : i->operands)
    if ((o.negated && !allows('-')) || (o.absolute && !allows('|')) || (o.part != 0 && !allows('.')) ||
        (o.inverted && !o.predicate() && !allows('~')))
      fail("the sign or part of operand " + o.text + " is not known here");
}

inline void Warp::bind(Program* program) {
  for (Instruction& i : program->code) {
    if (!i.problem.empty()) continue;
    try {
      bind(&i);
    } catch (const std::exception& error) { i.problem = error.what(); }
  }
}

}  // namespace sass
