// One warp: its registers and how it steps through a program. families.h says which method plays which instruction.
#pragma once

#include "block.h"

namespace sass {

class Warp {
 public:
  Warp(const Program& program, Block* block, std::vector<Counter>* counts, int number)
      : program_(program), block_(*block), counts_(*counts), number_(number), local_(kLanes * kLocalBytes, kUnset) {}

  bool done() const { return alive_ == 0; }
  void pass_barrier() { arrived_ = 0; }

  // Runs until all lanes have ended or wait at the block's barrier.
  void run() {
    for (;;) {
      const Mask ready = alive_ & ~waiting_ & ~arrived_;
      if (ready != 0) step(ready);
      else if (arrived_ == alive_) return;
      else if (arrived_ != 0) fail("some lanes wait at the block's barrier, others for lanes of the warp" + where());
      else fail("lanes wait for one another" + where());
    }
  }

  // Finds how to play each of a program's instructions (families.h).
  static void bind(Program* program);

 private:
  struct Family;
  static const std::map<std::string, Family>& families();
  static void bind(Instruction* instruction);

  // ---- Steps ----

  // The ready lanes that are furthest behind play their instruction.
  void step(Mask ready) {
    int low = INT32_MAX;
    each(ready, [&](int lane) { low = std::min(low, next_[lane]); });
    active_ = 0;
    each(ready, [&](int lane) { active_ |= next_[lane] == low ? bit(lane) : 0; });
    now_ = static_cast<size_t>(low);
    if (now_ >= program_.code.size()) fail("the program ends without EXIT, warp " + std::to_string(number_));
    const Instruction& i = program_.code[now_];
    const Mask lanes = guarded(i);
    ++counter(i).executed;
    counter(i).lanes += static_cast<uint64_t>(count(lanes));
    each(active_, [&](int lane) { ++next_[lane]; });
    if (lanes == 0) return;
    try {
      play(i, lanes);
    } catch (const std::exception& error) { fail(error.what() + where()); }
  }

  Mask guarded(const Instruction& i) const {
    if (i.guard_uniform) return uniform_predicate_[i.guard] != i.guard_negated ? active_ : 0;
    return active_ & (i.guard_negated ? ~predicate_[i.guard] : predicate_[i.guard]);
  }

  void play(const Instruction& i, Mask lanes) {
    if (!i.problem.empty()) fail(i.problem);
    if (i.lanes != nullptr) (this->*i.lanes)(i, lanes);
    else play_lane_by_lane(i, i.uniform ? lanes & (0 - lanes) : lanes);
  }

  // The call through a pointer keeps the compiler from moving arithmetic out of the rounding mode.
  void play_lane_by_lane(const Instruction& i, Mask lanes) {
    const Rounding rounding(i.rounding);
    each(lanes, [&](int lane) { (this->*i.lane)(i, lane); });
  }

  class Rounding {
   public:
    explicit Rounding(int mode) : changed_(mode != FE_TONEAREST) {
      if (changed_) std::fesetround(mode);
    }
    ~Rounding() {
      if (changed_) std::fesetround(FE_TONEAREST);
    }
    Rounding(const Rounding&) = delete;
    Rounding& operator=(const Rounding&) = delete;

   private:
    const bool changed_;
  };

  std::string where() const {
    std::ostringstream text;
    const Instruction& i = program_.code[now_];
    text << " (" << i.full << " at 0x" << std::hex << i.address << std::dec << ", warp " << number_ << " of block "
         << block_.number << ")";
    return text.str();
  }

  Counter& counter(const Instruction& i) { return counts_[i.number]; }

  // ---- Operands ----

  template <class Value>
  Value constant(const Operand& o, int lane, int64_t further = 0) const {
    if (o.index != 0) fail("constant bank " + std::to_string(o.index) + " is not given");
    const int64_t place = place_32(o, lane) + further;
    if (place < 0 || place + static_cast<int64_t>(sizeof(Value)) > static_cast<int64_t>(block_.constants.size()))
      fail("constant " + std::to_string(place) + " is outside of the bank");
    Value value;
    std::memcpy(&value, &block_.constants[static_cast<size_t>(place)], sizeof value);
    return value;
  }

  // A word of an operand without its signs; the further words of a wide one follow the first.
  uint32_t raw(const Operand& o, int lane, int word = 0) const {
    switch (o.kind) {
      case Kind::kRegister: return o.index == kZeroRegister ? 0 : register_[o.index + word][lane];
      case Kind::kUniform: return o.index == kZeroUniform ? 0 : uniform_[o.index + word];
      case Kind::kImmediate: return static_cast<uint32_t>(static_cast<uint64_t>(o.value) >> (32 * word));
      case Kind::kConstant: return constant<uint32_t>(o, lane, 4 * word);
      default: fail("operand " + o.text + " is not a value");
    }
  }

  uint64_t raw_64(const Operand& o, int lane) const { return join_words(raw(o, lane), raw(o, lane, 1)); }

  uint32_t whole(const Operand& o, int lane) const {
    uint32_t value = raw(o, lane);
    if (o.absolute && as_signed(value) < 0) value = 0 - value;
    if (o.negated) value = 0 - value;
    return o.inverted ? ~value : value;
  }

  float real(const Operand& o, int lane, bool flush = false) const {
    uint32_t value = raw(o, lane);
    if (o.absolute) value &= 0x7fffffffu;
    if (o.negated) value ^= 0x80000000u;
    if (flush && (value & 0x7f800000u) == 0) value &= 0x80000000u;
    return bits<float>(value);
  }

  double real_64(const Operand& o, int lane) const {
    uint64_t value = raw_64(o, lane);
    if (o.absolute) value &= ~(uint64_t{1} << 63);
    if (o.negated) value ^= uint64_t{1} << 63;
    return bits<double>(value);
  }

  bool truth(const Operand& o, int lane) const {
    if (o.kind == Kind::kPredicate) return ((predicate_[o.index] >> lane & 1) != 0) != o.inverted;
    if (o.kind == Kind::kUniformPredicate) return uniform_predicate_[o.index] != o.inverted;
    fail("operand " + o.text + " is not a predicate");
  }

  // Returns whether all predicates among an instruction's operands hold.
  bool truths(const Instruction& i, int lane) const {
    return std::all_of(i.operands.begin(), i.operands.end(),
                       [&](const Operand& o) { return !o.predicate() || truth(o, lane); });
  }

  void set(const Operand& o, int lane, uint32_t value, int word = 0) {
    if (o.kind == Kind::kRegister) {
      if (o.index != kZeroRegister) register_[o.index + word][lane] = value;
    } else if (o.kind == Kind::kUniform) {
      if (o.index != kZeroUniform) uniform_[o.index + word] = value;
    } else fail("operand " + o.text + " is not a register");
  }

  void set_64(const Operand& o, int lane, uint64_t value) {
    set(o, lane, static_cast<uint32_t>(value));
    set(o, lane, static_cast<uint32_t>(value >> 32), 1);
  }

  void set_truth(const Operand& o, int lane, bool value) {
    if (!o.predicate()) fail("operand " + o.text + " is not a predicate");
    if (o.index == kTrue) return;
    if (o.kind == Kind::kUniformPredicate) uniform_predicate_[o.index] = value;
    else predicate_[o.index] = (predicate_[o.index] & ~bit(lane)) | (value ? bit(lane) : 0);
  }

  // ---- Memory (memory.h) ----
  int64_t place_32(const Operand& o, int lane) const;
  uint64_t place_64(const Operand& o, int lane) const;
  uint8_t* shared(int64_t place, int size);
  uint8_t* global(uint64_t place, int size);
  uint8_t* local(int64_t place, int size, int lane);
  void load(const Instruction& i, int lane, const uint8_t* from);
  void store(const Instruction& i, int lane, uint8_t* to) const;
  void measure_global(const Instruction& i, Mask lanes, const Operand& memory);
  void measure_shared(const Instruction& i, Mask lanes, const Operand& memory);
  void load_global(const Instruction& i, Mask lanes);
  void store_global(const Instruction& i, Mask lanes);
  void load_shared(const Instruction& i, Mask lanes);
  void store_shared(const Instruction& i, Mask lanes);
  void load_local(const Instruction& i, int lane);
  void store_local(const Instruction& i, int lane);

  // ---- Control flow (control.h) ----
  void jump(Mask lanes, int64_t address);
  void wait(int lane, Mask needed);
  void settle();
  void branch(const Instruction& i, Mask lanes);
  void exit(const Instruction&, Mask lanes);
  void call(const Instruction& i, Mask lanes);
  void return_from_call(const Instruction& i, Mask lanes);
  void begin_together(const Instruction& i, Mask lanes);
  void end_together(const Instruction& i, Mask lanes);
  void move_barrier(const Instruction& i, Mask lanes);
  void leave_together(const Instruction& i, Mask lanes);
  void synchronize_warp(const Instruction& i, Mask lanes);
  void synchronize_block(const Instruction& i, Mask lanes);
  void barrier_result(const Instruction& i, Mask lanes);
  void nothing(const Instruction&, Mask);

  // ---- Across lanes (lanes.h) ----
  void shuffle(const Instruction& i, Mask lanes);
  void reduce(const Instruction& i, Mask lanes);
  void vote(const Instruction& i, Mask lanes);
  void to_uniform(const Instruction& i, Mask lanes);
  void atomic_shared(const Instruction& i, Mask lanes);
  void atomic_global(const Instruction& i, Mask lanes);
  void atomic(const Instruction& i, int lane, size_t memory, uint8_t* place);
  static uint32_t combine(const Instruction& i, uint32_t a, uint32_t b);

  // ---- Whole numbers (integers.h) ----
  static uint32_t min(const Instruction& i, uint32_t a, uint32_t b);
  static uint32_t max(const Instruction& i, uint32_t a, uint32_t b);
  static bool join(const Instruction& i, bool a, bool b);
  void move(const Instruction& i, int lane);
  void special(const Instruction& i, int lane);
  void clear(const Instruction& i, int lane);
  void load_constant(const Instruction& i, int lane);
  void add(const Instruction& i, int lane);
  void add_3(const Instruction& i, int lane);
  void multiply_add(const Instruction& i, int lane);
  void multiply_add_wide(const Instruction& i, int lane, size_t first);
  void shift_add(const Instruction& i, int lane);
  void shift_add_high(const Instruction& i, int lane, size_t first);
  void shift(const Instruction& i, int lane);
  void logic(const Instruction& i, int lane);
  void predicate_logic(const Instruction& i, int lane);
  void compare_whole(const Instruction& i, int lane);
  void extreme(const Instruction& i, int lane);
  void extreme_3(const Instruction& i, int lane);
  void add_extreme(const Instruction& i, int lane);
  void absolute(const Instruction& i, int lane);
  void select(const Instruction& i, int lane);
  void permute(const Instruction& i, int lane);
  void count_bits(const Instruction& i, int lane);
  void reverse_bits(const Instruction& i, int lane);
  void leading_bit(const Instruction& i, int lane);
  void sign_extend(const Instruction& i, int lane);
  void bit_mask(const Instruction& i, int lane);
  void from_predicates(const Instruction& i, int lane);
  void to_predicates(const Instruction& i, int lane);

  // ---- Floating point (reals.h) ----
  static bool holds(const Instruction& i, double a, double b);
  void set_real(const Instruction& i, int lane, float value);
  void real_add(const Instruction& i, int lane);
  void real_multiply(const Instruction& i, int lane);
  void real_multiply_add(const Instruction& i, int lane);
  void real_extreme(const Instruction& i, int lane);
  void real_compare(const Instruction& i, int lane);
  void real_set(const Instruction& i, int lane);
  void real_select(const Instruction& i, int lane);
  void check_division(const Instruction& i, int lane);
  void function(const Instruction& i, int lane);
  void reciprocal_high(const Instruction& i, int lane);
  void root_high(const Instruction& i, int lane);
  void round(const Instruction& i, int lane);
  void real_to_whole(const Instruction& i, int lane);
  void whole_to_real(const Instruction& i, int lane);
  void widen(const Instruction& i, int lane);
  void narrow(const Instruction& i, int lane);
  void pack_bfloat16(const Instruction& i, int lane);
  void half_constant(const Instruction& i, int lane);
  void double_add(const Instruction& i, int lane);
  void double_multiply(const Instruction& i, int lane);
  void double_multiply_add(const Instruction& i, int lane);
  void double_compare(const Instruction& i, int lane);
  void double_extreme(const Instruction& i, int lane);

  const Program& program_;
  Block& block_;
  std::vector<Counter>& counts_;
  const int number_;

  uint32_t register_[256][kLanes] = {};
  uint32_t uniform_[64] = {};
  Mask predicate_[8] = {0, 0, 0, 0, 0, 0, 0, ~Mask{0}};
  bool uniform_predicate_[8] = {false, false, false, false, false, false, false, true};
  Mask barrier_[16][kLanes] = {};
  std::vector<uint8_t> local_;

  int next_[kLanes] = {};     // the instruction that each lane plays next
  Mask alive_ = ~Mask{0};     // lanes that have not ended
  Mask active_ = 0;           // lanes that play this instruction, before the guard
  Mask arrived_ = 0;          // lanes at the block's barrier
  Mask waiting_ = 0;          // lanes that wait for others of the warp
  Mask needed_[kLanes] = {};  // the lanes that each of these waits for
  size_t now_ = 0;
};

}  // namespace sass
