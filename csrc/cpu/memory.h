// Advice to the operating system about memory.
#pragma once

#include <cstdint>

namespace spectromer {

// Requests huge pages, if the system has them, for memory that is about to be written for the first time. Page faults
// every 4 KiB would take as long as drawing does.
void prefer_huge_pages(uintptr_t address, uint64_t bytes);

}  // namespace spectromer
