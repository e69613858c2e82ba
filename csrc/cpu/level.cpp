#include "level.h"

#include <atomic>

namespace spectromer {
namespace {

int detect() {
#if SPECTROMER_LEVELS
  __builtin_cpu_init();
  const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  return v4 ? 4 : v3 ? 3 : 1;
#else
  return 1;
#endif
}

std::atomic<int> chosen{widest_vector_level()};

}  // namespace

int widest_vector_level() {
  static const int level = detect();
  return level;
}

int vector_level() { return chosen.load(std::memory_order_relaxed); }

void set_vector_level(int level) { chosen.store(level, std::memory_order_relaxed); }

}  // namespace spectromer
