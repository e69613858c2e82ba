// Runs body(begin, end, scratch) over chunks of [0, count) on several threads, each with a Scratch of its own. No pool
// survives the call, so a process may fork (as torch's DataLoader does) at any time.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace spectromer {

template <class Scratch, class Body>
void parallel_for(int64_t count, int threads, int64_t chunk, Body body) {
  const int64_t chunks = (count + chunk - 1) / chunk;
  const int workers = static_cast<int>(std::min<int64_t>(std::max(threads, 1), chunks));
  std::atomic<int64_t> next{0};
  const auto work = [&] {
    Scratch scratch;
    for (int64_t i = next.fetch_add(1); i < chunks; i = next.fetch_add(1)) {
      body(i * chunk, std::min(count, (i + 1) * chunk), scratch);
    }
  };
  std::vector<std::thread> others;
  for (int i = 1; i < workers; ++i) others.emplace_back(work);
  work();
  for (std::thread& other : others) other.join();
}

}  // namespace spectromer
