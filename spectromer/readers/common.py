"""What the surveys' readers share."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from spectromer.spectra import Spectrum

TEXT_LABELS = ("class", "subclass", "sourcetype")


class LayoutError(ValueError):
    """A file is of a known layout but its content does not hold together; the message is one sentence."""


def clean_labels(found: dict[str, Any]) -> dict[str, Any]:
    """Labels as plain Python values, without what the survey marks as missing: empty, NaN, -9999 and the like."""
    labels: dict[str, Any] = {}
    for name, value in found.items():
        if isinstance(value, bytes):
            value = value.decode("ascii", "replace")
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, str):
            value = value.strip()
            if name in TEXT_LABELS:
                if value:
                    labels[name] = value
                continue
            try:
                value = float(value)
            except ValueError:
                continue
        if value is None or isinstance(value, bool) or not np.isfinite(value) or value <= -999.0:
            continue
        labels[name] = value
    return labels


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
