// The edges of pixels, and the gaps between them. CPU and CUDA.
#pragma once

#include <cmath>
#include <cstdint>

#include "macros.h"

namespace spectromer {

// Edge i of `n` >= 2 pixels with these centres. Edges lie half-way between neighbours; the outer ones are mirrored.
SPECTROMER_HD double pixel_edge(const double* centre, int64_t n, int64_t i) {
  if (i <= 0) return centre[0] - 0.5 * (centre[1] - centre[0]);
  if (i >= n) return centre[n - 1] + 0.5 * (centre[n - 1] - centre[n - 2]);
  return 0.5 * (centre[i - 1] + centre[i]);
}

// The smaller of two of the steps between `n` pixels. Step i leads from pixel i to the next; those that do not exist do
// not count. Returns 0 if neither exists.
SPECTROMER_HD double smaller_step(const double* centre, int64_t n, int64_t i, int64_t k) {
  const double one = i >= 0 && i + 1 < n ? centre[i + 1] - centre[i] : 0.0;
  const double other = k >= 0 && k + 1 < n ? centre[k + 1] - centre[k] : 0.0;
  return one > 0.0 && (one < other || !(other > 0.0)) ? one : other;
}

// The typical steps between pixels on both sides of a gap; 0 if there is no gap.
struct Gap {
  double before, after;

  SPECTROMER_HD explicit operator bool() const { return before > 0.0; }
};

// The gap from pixel i to the next one. The step between them is a gap if it is more than `most` times as wide as the
// typical steps on both of its sides. The typical step of a side is the smaller of the two that are nearest to the gap,
// so that a pixel between two gaps is told from a wide one. A side without steps does not count.
//
// Pixels are missing in a gap: it is resampled as if masked pixels lay in it, one typical step from either end.
SPECTROMER_HD_SELDOM Gap gap_after(const double* centre, int64_t n, int64_t i, double most) {
  const double before = smaller_step(centre, n, i - 1, i - 2), after = smaller_step(centre, n, i + 1, i + 2);
  const double larger = before > after ? before : after;
  if (!(larger > 0.0 && centre[i + 1] - centre[i] > most * larger)) return Gap{0.0, 0.0};
  return Gap{before > 0.0 ? before : after, after > 0.0 ? after : before};
}

// Tells whether the pixels have a gap.
SPECTROMER_HD bool has_gap(const double* centre, int64_t n, double most) {
  if (!(most < INFINITY)) return false;
  for (int64_t i = 0; i + 1 < n; ++i) {
    if (gap_after(centre, n, i, most)) return true;
  }
  return false;
}

// The pixels of a spectrum, and their edges.
struct PixelAxis {
  const double* centre;
  int64_t pixels;
  double max_gap;  // see gap_after; infinity if there are no gaps

  SPECTROMER_HD bool gaps() const { return max_gap < INFINITY; }
  SPECTROMER_HD Gap gap(int64_t i) const {
    return gaps() && i >= 0 && i + 1 < pixels ? gap_after(centre, pixels, i, max_gap) : Gap{0.0, 0.0};
  }

  // The edges of pixel i. Half a typical step from its centre if a gap lies there.
  SPECTROMER_HD double left(int64_t i) const {
    if (gaps()) {
      if (const Gap here = gap(i > 0 ? i - 1 : 0)) return centre[i] - 0.5 * (i > 0 ? here.after : here.before);
    }
    return pixel_edge(centre, pixels, i);
  }
  SPECTROMER_HD double right(int64_t i) const {
    if (gaps()) {
      const bool last = i + 1 >= pixels;
      if (const Gap here = gap(last ? i - 1 : i)) return centre[i] + 0.5 * (last ? here.after : here.before);
    }
    return pixel_edge(centre, pixels, i + 1);
  }
};

}  // namespace spectromer
