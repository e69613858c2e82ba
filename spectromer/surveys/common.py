"""Functions that the readers and writers of several surveys share."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from spectromer.errors import ArgumentError, LayoutError
from spectromer.grids import log_coefficients
from spectromer.labels import clean_labels
from spectromer.spectra import Spectrum

__all__ = ["build", "coefficients", "grid_to_write", "in_air"]

_AIRORVAC = {"AIR": True, "VAC": False, "VACUUM": False}  # whether each spelling means air
_VACUUM = _AIRORVAC | dict.fromkeys(("T", "TRUE", "1", "1.0", "Y", "YES"), False)
_VACUUM |= dict.fromkeys(("F", "FALSE", "0", "0.0", "N", "NO"), True)


def coefficients(header: Mapping[str, Any]) -> tuple[float, float] | None:
    """COEFF0 and COEFF1 of a header; None unless both are present and the axis increases."""
    try:
        coeff0, coeff1 = float(header["COEFF0"]), float(header["COEFF1"])
    except (KeyError, TypeError, ValueError):
        return None
    return (coeff0, coeff1) if coeff1 > 0 else None


def in_air(header: Mapping[str, Any]) -> bool:
    """Tell whether a header says that the wavelengths are in air, by VACUUM or AIRORVAC; False if it says neither.

    Writers of FITS files spell these flags as logical values, numbers or text.

    Raises
    ------
    LayoutError
        When the flag has a value that cannot be understood.
    """
    for card, spellings in (("VACUUM", _VACUUM), ("AIRORVAC", _AIRORVAC)):
        value = header.get(card)
        if value is not None and (text := str(value).strip().upper()):
            if text not in spellings:
                raise LayoutError(f"its card {card} is {value!r}, which says neither vacuum nor air")
            return spellings[text]
    return False


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
    survey: str,  # "" for a table of unknown origin
    name: str,  # the identity within the survey
    labels: Mapping[str, Any],
) -> Spectrum:
    """Make a spectrum, and add the median S/N of its good pixels to the labels.

    Pixels of a survey with a flux of exactly 0 are masked, as no measured flux is exactly 0. LAMOST fills pixels
    without data with zeros, mostly at the red end, and gives many of them a positive ivar, also in the files of the
    Multimodal Universe.

    Raises
    ------
    LayoutError
        When the arrays do not form a valid spectrum.
    """
    if len(flux) < 2:
        raise LayoutError(f"a spectrum needs at least 2 pixels, this has {len(flux)}")
    try:
        if survey:
            ivar = np.where(flux == 0, 0.0, ivar)
        spectrum = Spectrum.from_arrays(flux, ivar, wavelength, air=air, survey=survey, id=name)
    except ValueError as error:
        raise LayoutError(str(error)) from error
    spectrum.labels.update(clean_labels(labels) | {"snr": spectrum.snr})
    return spectrum
