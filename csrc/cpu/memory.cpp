#include "memory.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace spectromer {

void prefer_huge_pages(uintptr_t address, uint64_t bytes) {
#ifdef MADV_HUGEPAGE
  constexpr uint64_t kHuge = uint64_t{1} << 21;  // or a multiple of what the system's are, which does no harm
  const uint64_t begin = (address + kHuge - 1) / kHuge * kHuge, end = (address + bytes) / kHuge * kHuge;
  // Advice alone: where it is not taken, nothing changes.
  if (begin < end) (void)madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#else
  (void)address;
  (void)bytes;
#endif
}

}  // namespace spectromer
