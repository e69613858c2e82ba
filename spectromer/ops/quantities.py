r"""Quantities that a picture can show besides the flux, which are relative to the smooth continuum of a spectrum.

The continuum c of a bin is the mean flux of the good bins around it, smoothed once more: two running means over windows
of `2 * HALF_WIDTH` in ln(wavelength). With the standard deviation s, the root of the mean variance over the same
windows, the scale of a bin is max(c, s), so that noise without a continuum does not look like lines. The quantities are

- lines: :math:`\operatorname{asinh}(8 (f - c) / \max(c, s)) / \operatorname{asinh}(32)`, limited to [-1, 1]. Weak lines
  are shown in proportion to their depth, and strong emission lines by its logarithm;
- continuum: :math:`x / (1 + x)` with :math:`x = \max(c, 0) / m`, where m is the mean of |c| over all good bins;
- snr: :math:`\ln(1 + r) / \ln(301)` with the signal-to-noise ratio of the continuum in a bin,
  :math:`r = \max(c, 0) \sqrt{ivar}`, limited to [0, 1].
"""

import math

import torch
from torch import Tensor

__all__ = ["HALF_WIDTH", "LIMITS", "relative"]

#: Half the width of the windows of the running mean, in ln(wavelength). It is 9400 km/s.
HALF_WIDTH = 1.0 / 32.0
#: Values at the bottom and the top of a picture of each quantity.
LIMITS = {"lines": (-1.0, 1.0), "continuum": (0.0, 1.0), "snr": (0.0, 1.0)}
_GAIN, _LARGEST = 8.0, 4.0  # the gain of weak lines, and the largest (f - c) / max(c, s) that is shown
_BRIGHTEST = 300.0  # the largest signal-to-noise ratio that is shown


def relative(flux: Tensor, ivar: Tensor, step: float) -> dict[str, Tensor]:
    """Compute the quantities of `LIMITS` for spectra on a grid that is uniform in ln(wavelength).

    Parameters
    ----------
    flux, ivar : Tensor [B, N]
        Flux density and its inverse variance. Bins without a positive ivar are masked.
    step : float
        Width of a bin in ln(wavelength).

    Returns
    -------
    dict of Tensor [B, N] float32
        Each quantity by its name. Masked bins are NaN.
    """
    good = ivar > 0
    # The values are divided by their largest, so that no square over- or underflows.
    size = flux.abs().masked_fill(~good, 0.0).amax(1, keepdim=True).double()
    size = torch.where(size > 0, size, torch.ones_like(size))
    value = flux.double().masked_fill(~good, 0.0) / size
    precision = ivar.double().masked_fill(~good, 1.0) * size**2
    variance = precision.reciprocal().masked_fill(~good, 0.0)
    half = max(1, round(HALF_WIDTH / step))
    total, spread, count = _smoothed(torch.stack((value, variance, good.double())), half).unbind()
    count = count.clamp(min=1.0)
    continuum, sigma = total / count, (spread / count).clamp(min=0.0).sqrt()

    scale = torch.maximum(continuum, sigma)
    depth = ((value - continuum) / torch.where(scale > 0, scale, torch.inf)).float()
    positive = continuum.clamp(min=0.0)
    middle = (continuum.abs() * good).sum(1, keepdim=True) / good.sum(1, keepdim=True).clamp(min=1)
    brightness = positive + middle
    found = {
        "lines": (torch.asinh(_GAIN * depth) / math.asinh(_GAIN * _LARGEST)).clamp(-1.0, 1.0),
        "continuum": positive / torch.where(brightness > 0, brightness, torch.inf),
        "snr": torch.log1p((positive * precision.sqrt()).float()).div(math.log1p(_BRIGHTEST)).clamp(0.0, 1.0),
    }
    return {name: values.float().masked_fill(~good, torch.nan) for name, values in found.items()}


def _smoothed(values: Tensor, half: int) -> Tensor:
    """Sums over 2 half + 1 bins of sums over 2 half + 1 bins, along the last axis. Beyond the ends there is nothing."""
    size = values.shape[-1]
    for _ in range(2):
        total = torch.nn.functional.pad(values.cumsum(-1), (1, 0))
        # The sum up to bin i + half minus the sum before bin i - half.
        total = torch.nn.functional.pad(total, (half, half), mode="replicate")
        values = total[..., 2 * half + 1 :] - total[..., :size]
    return values
