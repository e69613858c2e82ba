#pragma once

#include <cmath>

#ifdef __CUDACC__
#define SPECTROMER_HD __host__ __device__ inline
#else
#define SPECTROMER_HD inline
#endif

namespace spectromer {
using std::isfinite;  // the C macro of the same name does not exist in C++'s headers
}
