"""Warnings about spectra that cover little or nothing of the wavelengths that a model reads."""

import math

import numpy as np
import torch
from torch.nn.functional import pad

from spectromer.spectra import SpectrumBatch

__all__ = ["NO_GOOD_PIXEL", "range_warnings"]

#: The beginning of the warning for a spectrum of which nothing can be predicted.
NO_GOOD_PIXEL = "no good pixel"
_OPTICAL = (1000.0, 50000.0)  # Angstrom; the range of a model that draws each spectrum over its own range
_LEAST = 0.5  # fraction of the model's range, in ln(wavelength), below which a spectrum gets a warning
_UNITS = {"nm": 10.0, "um": 1e4}  # in Angstrom


def range_warnings(batch: SpectrumBatch, wavelength_range: tuple[float, float] | None) -> np.ndarray:
    """Compare the good pixels of spectra with the range of wavelengths that a model reads.

    Parameters
    ----------
    batch : SpectrumBatch
        B spectra.
    wavelength_range : (float, float) or None
        The range in Angstrom; None if the model draws each spectrum over its own range.

    Returns
    -------
    ndarray [B] of str
        A warning that begins with `NO_GOOD_PIXEL` if a spectrum has no good pixel at all, or none in the range; a
        warning that names the fraction if its good pixels cover less than half of the range; empty otherwise.
    """
    low, high = wavelength_range or _OPTICAL
    good = batch.ivar > 0
    waves = batch.wavelength.double().expand(good.shape)
    inside = good & (waves >= low) & (waves <= high)
    # A pixel is as wide as the smaller of the steps to its neighbours, so that it does not cover a gap beside it.
    steps = batch.wavelength.double().clamp(min=1e-3).log().diff()
    width = torch.minimum(pad(steps, (0, 1), value=torch.inf), pad(steps, (1, 0), value=torch.inf)).nan_to_num(posinf=0)
    covered = ((inside * width).sum(1) / math.log(high / low)).tolist()
    some, fitting = good.any(1).tolist(), inside.any(1).tolist()
    warnings = [""] * len(batch)
    for i, fraction in enumerate(covered):
        if not some[i]:
            warnings[i] = NO_GOOD_PIXEL
        elif not fitting[i]:
            first, last = waves[i][good[i]].aminmax()
            warnings[i] = (
                f"{NO_GOOD_PIXEL} between {low:g} and {high:g} Angstrom{_hint(float(first), float(last), low, high)}"
            )
        elif wavelength_range is not None and fraction < _LEAST:
            warnings[i] = f"its good pixels cover {fraction:.0%} of {low:g} to {high:g} Angstrom"
    return np.array(warnings, dtype=str)


def _hint(first: float, last: float, low: float, high: float) -> str:
    """The range of a spectrum outside of a model's range, and the unit in which it would lie inside."""
    units = [unit for unit, factor in _UNITS.items() if first * factor < high and last * factor > low]
    return f", but from {first:g} to {last:g}" + (f" (are these {units[0]}?)" if units else "")
