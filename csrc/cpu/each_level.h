// Compiles the kernels of one file for several x86-64 levels: define SPECTROMER_KERNELS as the name of a header and
// include this one. Each level's code lies in a namespace of its own, with the vectors of vector.h in its registers;
// SPECTROMER_BEST(f) is the f for the widest level that the processor has. Where the compiler knows no levels (other
// processors, Clang), there is the baseline alone.
//
// What the kernels include, they must find included already: a header that is included here for the first time would
// end up in one of the namespaces.
#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

#include "../core/macros.h"
#include "level.h"

#if SPECTROMER_LEVELS
#include <immintrin.h>
#endif

#define SPECTROMER_LEVEL 1
namespace spectromer {
namespace baseline {
#include "vector.h"
#include SPECTROMER_KERNELS
}  // namespace baseline
}  // namespace spectromer
#undef SPECTROMER_LEVEL

#if SPECTROMER_LEVELS
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v3")
#define SPECTROMER_LEVEL 3
namespace spectromer {
namespace v3 {
#include "vector.h"
#include SPECTROMER_KERNELS
}  // namespace v3
}  // namespace spectromer
#undef SPECTROMER_LEVEL
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("arch=x86-64-v4")
#define SPECTROMER_LEVEL 4
namespace spectromer {
namespace v4 {
#include "vector.h"
#include SPECTROMER_KERNELS
}  // namespace v4
}  // namespace spectromer
#undef SPECTROMER_LEVEL
#pragma GCC pop_options

#define SPECTROMER_BEST(function) \
  (vector_level() == 4 ? v4::function : vector_level() == 3 ? v3::function : baseline::function)
#else
#define SPECTROMER_BEST(function) baseline::function
#endif
