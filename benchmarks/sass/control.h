// A warp's control flow: jumps, and the barriers at which its lanes wait for one another.
#pragma once

#include "warp.h"

namespace sass {

inline void Warp::jump(Mask lanes, int64_t address) {
  const int target = program_.number_at(address);
  each(lanes, [&](int lane) { next_[lane] = target; });
}

// Lanes wait until all lanes of their masks wait at the same instruction.
inline void Warp::wait(int lane, Mask needed) {
  waiting_ |= bit(lane);
  needed_[lane] = needed;
}

inline void Warp::settle() {
  each(waiting_, [&](int lane) {
    const Mask needed = needed_[lane] & alive_;
    bool together = (waiting_ & bit(lane)) != 0 && (needed & ~waiting_) == 0;
    each(needed, [&](int other) { together = together && next_[other] == next_[lane]; });
    if (together) waiting_ &= ~needed;
  });
}

inline void Warp::branch(const Instruction& i, Mask lanes) {
  if (i.has(kDIV)) {
    if (active_ != alive_) fail("lanes have come apart");
    return;
  }
  Mask taken = 0;
  each(lanes, [&](int lane) { taken |= truths(i, lane) ? bit(lane) : 0; });
  if (taken != 0) jump(taken, i.operands.back().value);
}

inline void Warp::exit(const Instruction&, Mask lanes) {
  alive_ &= ~lanes;
  settle();
}

inline void Warp::call(const Instruction& i, Mask lanes) { jump(lanes, i[0].value); }

inline void Warp::return_from_call(const Instruction& i, Mask lanes) {
  each(lanes, [&](int lane) { jump(bit(lane), raw(i[0], lane)); });
}

// A barrier keeps, for each lane, the lanes that it waits for at BSYNC.
inline void Warp::begin_together(const Instruction& i, Mask lanes) {
  each(lanes, [&](int lane) { barrier_[i[0].index][lane] = lanes; });
}

inline void Warp::end_together(const Instruction& i, Mask lanes) {
  each(lanes, [&](int lane) { wait(lane, barrier_[i[0].index][lane]); });
  settle();
}

inline void Warp::move_barrier(const Instruction& i, Mask lanes) {
  each(lanes, [&](int lane) {
    if (!i.has(kCLEAR)) {
      if (i[0].kind != Kind::kBarrier) fail("operand " + i[0].text + " is not a barrier");
      barrier_[i[0].index][lane] = raw(i[1], lane);
      return;
    }
    set(i[0], lane, barrier_[i[1].index][lane]);
    barrier_[i[1].index][lane] = 0;
  });
}

inline void Warp::leave_together(const Instruction& i, Mask lanes) {
  Mask leaving = 0;
  each(lanes, [&](int lane) { leaving |= truths(i, lane) ? bit(lane) : 0; });
  Mask* barrier = barrier_[i.operands.back().index];
  each(alive_, [&](int lane) {
    if ((barrier[lane] & leaving) == 0) return;
    barrier[lane] &= ~leaving;
    if (waiting_ & bit(lane)) needed_[lane] &= ~leaving;
  });
  settle();
}

inline void Warp::synchronize_warp(const Instruction& i, Mask lanes) {
  each(lanes, [&](int lane) { wait(lane, i.has(kALL) ? ~Mask{0} : raw(i[0], lane)); });
  settle();
}

inline void Warp::synchronize_block(const Instruction& i, Mask lanes) {
  const bool any = i.has(kRED) && i.has(kOR) && i.operands.size() == 2;
  if (!(i.has(kSYNC) || any) || i[0].kind != Kind::kImmediate || i[0].value != 0)
    fail("the block has one barrier, to be waited at");
  if (any) each(lanes, [&](int lane) { block_.shown = block_.shown || truth(i[1], lane); });
  arrived_ |= lanes;
}

// What BAR.RED has found.
inline void Warp::barrier_result(const Instruction& i, Mask lanes) {
  if (!i.has(kRESULT) || !i[1].predicate()) fail("the result of a barrier is a predicate");
  each(lanes, [&](int lane) { set_truth(i[1], lane, block_.answer); });
}

inline void Warp::nothing(const Instruction&, Mask) {}

}  // namespace sass
