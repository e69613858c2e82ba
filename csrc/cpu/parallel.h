// Parallel loops. No thread outlives a call, so that the process may fork at any time (as torch's DataLoader does).
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace spectromer {

// A pool of scratch memory that outlives a call, as fresh memory costs a page fault every 4 KiB. Each scratch is lent
// to one thread at a time.
template <class Scratch>
class Lent {
 public:
  Lent() {
    const std::lock_guard<std::mutex> lock(mutex());
    if (idle().empty()) idle().push_back(std::make_unique<Scratch>());
    scratch_ = std::move(idle().back());
    idle().pop_back();
  }
  ~Lent() {
    const std::lock_guard<std::mutex> lock(mutex());
    idle().push_back(std::move(scratch_));
  }
  Scratch& operator*() { return *scratch_; }

 private:
  static std::mutex& mutex() {
    static std::mutex one;
    return one;
  }
  static std::vector<std::unique_ptr<Scratch>>& idle() {
    static std::vector<std::unique_ptr<Scratch>> all;
    return all;
  }
  std::unique_ptr<Scratch> scratch_;
};

// Runs body(begin, end, scratch) over chunks of [0, count). Each thread has its own Scratch.
template <class Scratch, class Body>
void parallel_for(int64_t count, int threads, int64_t chunk, Body body) {
  const int64_t chunks = (count + chunk - 1) / chunk;
  const int workers = static_cast<int>(std::min<int64_t>(std::max(threads, 1), chunks));
  std::atomic<int64_t> next{0};
  const auto work = [&] {
    Lent<Scratch> scratch;
    for (int64_t i = next.fetch_add(1); i < chunks; i = next.fetch_add(1)) {
      body(i * chunk, std::min(count, (i + 1) * chunk), *scratch);
    }
  };
  std::vector<std::thread> others;
  for (int i = 1; i < workers; ++i) others.emplace_back(work);
  work();
  for (std::thread& other : others) other.join();
}

}  // namespace spectromer
