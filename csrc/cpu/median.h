// The median signal-to-noise ratio of a spectrum, which the readers of survey files compute for every spectrum.
#pragma once

#include <cstdint>

namespace spectromer {

// Median of flux * sqrt(ivar) over the pixels with ivar > 0, in single precision as by numpy.median: with an even
// number of values the mean of the middle two, and NaN if a value is NaN. Returns 0 if no pixel is good. flux, ivar:
// [count].
float median_snr(const float* flux, const float* ivar, int64_t count);

}  // namespace spectromer
