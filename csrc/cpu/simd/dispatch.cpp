#include "dispatch.h"

#include <atomic>

namespace spectromer {
namespace {

std::vector<Target> detect() {
  std::vector<Target> found{Target::baseline};
#if SPECTROMER_MULTITARGET
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("bmi2"))
    return found;
  found.push_back(Target::avx2);
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    found.push_back(Target::avx512);
  }
#endif
  return found;
}

std::atomic<Target> in_use{supported_targets().back()};

}  // namespace

const std::vector<Target>& supported_targets() {
  static const std::vector<Target> supported = detect();
  return supported;
}

std::string target_name(Target target) {
  return target == Target::avx512 ? "avx512" : target == Target::avx2 ? "avx2" : "baseline";
}

Target target() { return in_use.load(std::memory_order_relaxed); }

void set_target(Target target) { in_use.store(target, std::memory_order_relaxed); }

}  // namespace spectromer
