"""Functions that the readers and writers of several surveys share."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from spectromer.errors import ArgumentError, LayoutError
from spectromer.grids import log_coefficients
from spectromer.labels import clean_labels
from spectromer.spectra import Spectrum

__all__ = ["build", "coefficients", "grid_to_write"]


def coefficients(header: Mapping[str, Any]) -> tuple[float, float] | None:
    """COEFF0 and COEFF1 of a header; None unless both are present and the axis increases."""
    try:
        coeff0, coeff1 = float(header["COEFF0"]), float(header["COEFF1"])
    except (KeyError, TypeError, ValueError):
        return None
    return (coeff0, coeff1) if coeff1 > 0 else None


def grid_to_write(spectrum: Spectrum) -> tuple[float, float]:
    """COEFF0 and COEFF1 of a spectrum that is to be written.

    Raises
    ------
    ArgumentError
        When the layouts cannot store the spectrum, as it is on another than a log-linear grid, or has a flux_scale.
    """
    if spectrum.flux_scale != 1.0:
        raise ArgumentError(
            f"spectrum {spectrum.id!r} has the flux_scale {spectrum.flux_scale:g}, which survey files cannot store"
        )
    found = log_coefficients(spectrum.wavelength.numpy())
    if found is None:
        raise ArgumentError(f"spectrum {spectrum.id!r} is not on a log-linear grid, which survey files need")
    return found


def build(
    flux: np.ndarray,  # [N]
    ivar: np.ndarray,  # [N]
    wavelength: np.ndarray,  # [N], Angstrom
    air: bool,  # whether the wavelengths are in air
    survey: str,
    name: str,  # the identity within the survey
    labels: Mapping[str, Any],
) -> Spectrum:
    """Make a spectrum, and add the median S/N of its good pixels to the labels.

    Raises
    ------
    LayoutError
        When the arrays do not form a valid spectrum.
    """
    if len(flux) < 2:
        raise LayoutError(f"a spectrum needs at least 2 pixels, this has {len(flux)}")
    try:
        spectrum = Spectrum.from_arrays(flux, ivar, wavelength, air=air, survey=survey, id=name)
    except ValueError as error:
        raise LayoutError(str(error)) from error
    spectrum.labels.update(clean_labels(labels) | {"snr": spectrum.snr})
    return spectrum
