// What the operating system is told of memory.
#pragma once

#include <cstdint>

namespace spectromer {

// Asks for huge pages behind memory that is about to be written for the first time, where the system has them: a page
// fault every 4 KiB takes as long as drawing does.
void prefer_huge_pages(uintptr_t address, uint64_t bytes);

}  // namespace spectromer
