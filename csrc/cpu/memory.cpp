#include "memory.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace spectromer {

void prefer_huge_pages(uintptr_t address, uint64_t bytes) {
#ifdef MADV_HUGEPAGE
  constexpr uint64_t kHuge = uint64_t{1} << 21;  // harmless if the system's huge pages are smaller
  const uint64_t begin = (address + kHuge - 1) / kHuge * kHuge, end = (address + bytes) / kHuge * kHuge;
  // This is only advice, so failure does not matter.
  if (begin < end) (void)madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#else
  (void)address;
  (void)bytes;
#endif
}

}  // namespace spectromer
