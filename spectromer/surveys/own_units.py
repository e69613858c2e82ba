"""Units in tables of one's own: in the spellings of files, where A is no ampere; and wavelengths without a unit."""

import re
import warnings
from functools import lru_cache
from typing import Any

import numpy as np

from spectromer.arrays import Plain, wavelength_of
from spectromer.errors import ArgumentError, LayoutError

__all__ = ["is_logarithmic", "is_spectral", "parsed", "to_angstrom"]

_ANGSTROM = re.compile(r"(?<![A-Za-z])(?:A|Ang|Angstroms?|Angstroems?)(?![A-Za-z])", re.IGNORECASE)
# Units as headers write them, in capitals and in the plural. M stays unknown, as it could be the prefix mega.
_SPELLINGS = {
    **dict.fromkeys(("NM", "NANOMETER", "NANOMETERS", "NANOMETRE", "NANOMETRES"), "nm"),
    **dict.fromkeys(("UM", "MICRON", "MICRONS", "MICROMETER", "MICROMETERS", "MICROMETRE", "MICROMETRES"), "um"),
    **{"MM": "mm", "CM": "cm", "HZ": "Hz", "KHZ": "kHz", "GHZ": "GHz", "THZ": "THz", "KEV": "keV"},
    **dict.fromkeys(("CM-1", "CM^-1", "CM**-1", "1/CM"), "cm-1"),
}
_LOGARITHMIC = re.compile(r"mag(nitudes?)?\b|\bdex\b|\bdB\b", re.IGNORECASE)
_FIRST, _LAST = 900.0, 1e6  # Angstrom; the range of plausible wavelengths without a unit


@lru_cache(maxsize=256)
def parsed(text: str) -> Any:
    """The unit of astropy that a text stands for; None if there is none."""
    import astropy.units as u

    text = _SPELLINGS.get(text.strip().upper(), text.strip())
    if not text:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of spellings that astropy advises against
            return u.Unit(_ANGSTROM.sub("Angstrom", text))
    except (ValueError, TypeError):
        return None


def is_spectral(text: str) -> bool:
    """Tell whether a text is a unit of wavelength, frequency, energy or wave number."""
    import astropy.units as u

    unit = parsed(text)
    return unit is not None and bool(unit.is_equivalent(u.AA, equivalencies=u.spectral()))


def is_logarithmic(text: str) -> bool:
    """Tell whether a text is a unit of magnitudes, or another logarithmic one."""
    import astropy.units as u

    unit = parsed(text)
    if unit is None:
        return _LOGARITHMIC.search(text) is not None
    return hasattr(unit, "physical_unit") or any(base in (u.mag, u.dex, u.dB) for base in getattr(unit, "bases", []))


def to_angstrom(axis: np.ndarray, unit: str) -> np.ndarray:
    """Wavelengths [N] in Angstrom, converted from the unit of an axis, in any order.

    Raises
    ------
    LayoutError
        When the unit is not one of wavelength, frequency or energy, or a wavelength is not positive. Also when there is
        no unit and the values are not plausible in Angstrom.
    """
    if unit.strip():
        try:
            converted = wavelength_of(Plain(axis, None, parsed(unit))) if parsed(unit) is not None else None
        except ArgumentError:
            converted = None
        if converted is None:
            raise LayoutError(
                f"its wavelengths have the unit {unit!r}, which is none of wavelength, frequency or energy"
            )
        axis = converted
    known = axis[~np.isnan(axis)]
    first, last = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
    if not unit.strip() and not _FIRST <= first <= last <= _LAST:
        raise LayoutError(
            f"its wavelengths lie between {first:g} and {last:g} and have no unit; in Angstrom they must lie between "
            f"{_FIRST:g} and {_LAST:g}, otherwise the column needs a unit, or a name such as 'wavelength (nm)'"
        )
    if not first > 0.0:
        raise LayoutError(f"its wavelengths must be positive, the smallest is {first:g} Angstrom")
    return axis
