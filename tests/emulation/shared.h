// Shared memory that checks every access. An access must lie within its reservation and be aligned, must read only what
// has been written, and must be ordered by a barrier with every access of another thread to the same byte, unless both
// only read or both are atomic.
#pragma once

#include <string>
#include <type_traits>

#include "threads.h"

namespace spectromer {
namespace emulated {

enum class Access { read, write, atomic };

[[noreturn]] inline void fail(const std::string& what, int64_t at) {
  throw std::runtime_error(what + " at byte " + std::to_string(at) + " of shared memory, by thread " +
                           std::to_string(threadIdx.x));
}

// Tells whether a barrier lies between an earlier access and what this thread does now.
inline bool ordered(const Trace& earlier) {
  if (earlier.thread == kNobody || earlier.thread == static_cast<int>(threadIdx.x)) return true;
  if (earlier.block_barriers < me().block_barriers) return true;
  return earlier.warp == static_cast<int>(threadIdx.x) / kWarp && earlier.warp_barriers < me().warp_barriers;
}

inline Trace trace() {
  return Trace{static_cast<int>(threadIdx.x), static_cast<int>(threadIdx.x) / kWarp, me().block_barriers,
               me().warp_barriers};
}

inline void note_reader(Trace& reader) {
  Trace now = trace();
  if (!ordered(reader)) {
    now.thread = kMany;
    if (reader.warp != now.warp) now.warp = kMany;
  }
  reader = now;
}

inline void check(int64_t at, int64_t size, int64_t alignment, int64_t begin, int64_t end, Access access) {
  if (begin < 0) fail("access to what is not reserved", at);
  if (at < begin || at + size > end) fail("access beyond its reservation", at);
  if (at % alignment != 0) fail("misaligned access", at);
  for (int64_t i = at; i < at + size; ++i) {
    Byte& byte = block->bytes[static_cast<size_t>(i)];
    const bool both_atomic = access == Access::atomic && byte.atomically;
    if (!both_atomic && !ordered(byte.writer))
      fail("race with a write of thread " + std::to_string(byte.writer.thread), i);
    if (access != Access::write && !byte.written) fail("uninitialised read", i);
    if (access == Access::read) {
      note_reader(byte.reader);
      continue;
    }
    if (!ordered(byte.reader)) fail("race with a read", i);
    byte.writer = trace();
    byte.atomically = access == Access::atomic;
    byte.written = true;
  }
}

}  // namespace emulated

template <class T>
class Shared {
 public:
  Shared() = default;
  Shared(int64_t at, int64_t begin, int64_t end) : at_(at), begin_(begin), end_(end) {}

  template <class U, class = std::enable_if_t<std::is_same_v<T, const U>>>
  Shared(const Shared<U>& other) : at_(other.at_), begin_(other.begin_), end_(other.end_) {}

  class Reference {
   public:
    explicit Reference(const Shared& place) : place_(place) {}
    operator std::remove_const_t<T>() const { return place_.read(); }
    const Reference& operator=(const T& value) const {
      place_.write(value);
      return *this;
    }
    const Reference& operator=(const Reference& other) const { return *this = static_cast<T>(other); }
    const Reference& operator+=(const T& value) const { return *this = static_cast<T>(*this) + value; }

   private:
    const Shared place_;
  };

  Reference operator[](int64_t i) const { return Reference(*this + i); }
  Reference operator*() const { return Reference(*this); }
  template <class To>
  Shared<To> as() const {
    return Shared<To>(at_, begin_, end_);
  }
  Shared operator+(int64_t i) const { return Shared(at_ + i * static_cast<int64_t>(sizeof(T)), begin_, end_); }

  std::remove_const_t<T> read() const {
    std::remove_const_t<T> value;
    emulated::check(at_, sizeof(T), alignof(T), begin_, end_, emulated::Access::read);
    std::memcpy(&value, &emulated::block->shared[static_cast<size_t>(at_)], sizeof(T));
    return value;
  }

  void write(const T& value) const { put(value, emulated::Access::write); }

  // Replaces the value by combine(value) in one step, and returns the old value.
  template <class Combine>
  T update(Combine combine) const {
    T old;
    emulated::check(at_, sizeof(T), alignof(T), begin_, end_, emulated::Access::atomic);
    std::memcpy(&old, &emulated::block->shared[static_cast<size_t>(at_)], sizeof(T));
    put(combine(old), emulated::Access::atomic);
    return old;
  }

 private:
  template <class U>
  friend class Shared;

  void put(const T& value, emulated::Access access) const {
    emulated::check(at_, sizeof(T), alignof(T), begin_, end_, access);
    std::memcpy(&emulated::block->shared[static_cast<size_t>(at_)], &value, sizeof(T));
  }

  int64_t at_ = -1, begin_ = -1, end_ = -1;  // bytes
};

template <class T>
Shared<T> shared_at(const Reserved& r) {
  return Shared<T>(r.offset, r.offset, r.offset + r.bytes);
}

template <class To, class From>
Shared<To> shared_cast(const Shared<From>& from) {
  return from.template as<To>();
}

template <class T>
T atomicAdd(const Shared<T>& to, T value) {
  return to.update([&](T old) { return old + value; });
}
template <class T>
T atomicMin(const Shared<T>& to, T value) {
  return to.update([&](T old) { return value < old ? value : old; });
}
template <class T>
T atomicMax(const Shared<T>& to, T value) {
  return to.update([&](T old) { return value > old ? value : old; });
}
template <class T>
T atomicOr(const Shared<T>& to, T value) {
  return to.update([&](T old) { return old | value; });
}

// In global memory.
template <class T>
T atomicAdd(T* to, T value) {
  const T old = *to;
  *to += value;
  return old;
}

}  // namespace spectromer
