"""What the surveys' readers share."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from spectromer.errors import LayoutError
from spectromer.labels import clean_labels
from spectromer.spectra import Spectrum


def coefficients(header: Mapping[str, Any]) -> tuple[float, float] | None:
    """COEFF0 and COEFF1 where both are there and make an increasing axis."""
    try:
        coeff0, coeff1 = float(header["COEFF0"]), float(header["COEFF1"])
    except (KeyError, TypeError, ValueError):
        return None
    return (coeff0, coeff1) if coeff1 > 0 else None


def build(
    flux: np.ndarray,
    ivar: np.ndarray,
    wavelength: np.ndarray,
    air: bool,
    survey: str,
    name: str,
    labels: dict[str, Any],
) -> Spectrum:
    """Make the spectrum; the median S/N of its good pixels joins the labels."""
    if len(flux) < 2:
        raise LayoutError(f"a spectrum needs at least 2 pixels, this has {len(flux)}")
    try:
        spectrum = Spectrum.from_arrays(flux, ivar, wavelength, air=air, survey=survey, id=name)
    except ValueError as error:
        raise LayoutError(str(error)) from error
    spectrum.labels.update(clean_labels(labels) | {"snr": spectrum.snr})
    return spectrum
