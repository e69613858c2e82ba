"""The columns of a table of one's own: what each holds, by its name, and the spectrum in them."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from spectromer.arrays import Plain, inverse_variance
from spectromer.documents import shorten
from spectromer.errors import ArgumentError, LayoutError
from spectromer.grids import survey_grid
from spectromer.spectra import Spectrum
from spectromer.surveys.common import in_air
from spectromer.surveys.own_units import is_logarithmic, parsed, to_angstrom

__all__ = ["UNCERTAINTIES", "columns_needed", "from_columns", "is_air", "is_spectrum", "roles_of"]

_WAVELENGTH = ("wavelength", "wave", "lambda", "lam", "wl", "spectral_axis")
_LOGARITHM = ("loglam", "log_lambda")  # log10 of the wavelength in Angstrom
_FLUX = ("flux", "flux_density", "fluxdensity")
_IVAR = ("ivar", "inverse_variance", "invvar", "flux_ivar", "ivar_flux")
_DEVIATIONS = ("error", "err", "sigma", "uncertainty", "unc", "std", "stddev", "noise")  # alone, or with the flux
_ERROR = (
    *_DEVIATIONS,
    *("errors", "sig", "e_flux", "eflux", "dflux"),
    *(form.format(word) for word in _DEVIATIONS for form in ("flux_{}", "flux{}", "{}_flux")),
)
_VARIANCE = ("variance", "var", "flux_variance", "flux_var", "var_flux")
_MASK = ("mask", "bad_pixel", "badpix", "dq", "qual")
_KINDS = {
    "wavelength": (("wavelength", _WAVELENGTH), ("logarithm", _LOGARITHM)),
    "flux": (("flux", _FLUX),),
    "error": (("ivar", _IVAR), ("error", _ERROR), ("variance", _VARIANCE)),
    "mask": (("mask", _MASK),),
}
UNCERTAINTIES = (*_IVAR, *_VARIANCE)  # those that must not be taken for a standard deviation
_FLAGS = {"true": True, "t": True, "false": False, "f": False}
_UNIT_IN_NAME = re.compile(r"^([^(\[]*?)\s*[(\[]\s*(.*?)\s*[)\]]$")  # such as "wavelength (nm)"
_MEDIA = {"air": True, "vac": False, "vacuum": False}  # whether each, at the end of a name, means air
_AIR_UCD = "obs.atmos"  # of em.wl;obs.atmos
_LEAST_PIXELS = 3  # of fewer, nobody can tell whether they are evenly spaced, or a spectrum at all
_SHOWN = 12  # columns that a message lists


class _Name(NamedTuple):
    """The parts of a column's name."""

    key: str  # in lower case, without unit and medium
    unit: str
    air: bool | None  # None if the name says nothing of the medium


def _parts(name: str) -> _Name:
    found = _UNIT_IN_NAME.match(name.strip())
    base, unit = (found[1], found[2]) if found else (name, "")
    air = _MEDIA.get(unit.lower())
    if air is not None:
        unit = ""
    key = "_".join(base.lower().split())
    start, _, end = key.rpartition("_")
    return _Name(start, unit, _MEDIA[end]) if start and end in _MEDIA else _Name(key, unit, air)


def is_spectrum(names: Iterable[str]) -> bool:
    """Tell whether columns with these names hold a spectrum."""
    return roles_of(names).keys() >= {"wavelength", "flux"}


def columns_needed(names: Iterable[str]) -> str:
    """The sentence that refuses a table with these columns."""
    has = ", ".join(list(names)[:_SHOWN]) or "none"
    return f"a table needs a column of wavelengths (wavelength, wave, loglam, ...) and one of flux; it has {has}"


def roles_of(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """The column of each role, as its kind (a canonical name of it) and its name in the table."""
    plain: dict[str, str] = {}
    for name in names:
        plain.setdefault(_parts(name).key, name)
    roles = {}
    for role, spellings in _KINDS.items():
        for kind, known in reversed(spellings):
            for spelling in reversed(known):
                if spelling in plain:
                    roles[role] = (kind, plain[spelling])
    return roles


def from_columns(
    columns: Mapping[str, Any], units: Mapping[str, str], header: Mapping[str, Any], name: str
) -> Spectrum:
    """The spectrum in the columns of a table.

    Parameters
    ----------
    columns : mapping
        The columns by their names; each is an array, or a column or quantity of astropy.
    units : mapping
        The units, as text, of columns that are arrays.
    header : mapping
        Header cards or metadata, of which VACUUM, AIRORVAC and TUCDn count, also those of a mapping within.
    name : str
        The identity of the spectrum.

    Returns
    -------
    Spectrum
        Without an uncertainty, ivar is 1 where the flux is finite.

    Raises
    ------
    LayoutError
        When there are no columns of wavelength and flux, or they are not valid.
    """
    roles = roles_of(columns)
    if not roles.keys() >= {"wavelength", "flux"}:
        raise LayoutError(columns_needed(columns))
    found = {
        role: _Values(columns[column], units.get(column) or _parts(column).unit, column)
        for role, (_, column) in roles.items()
    }
    axis, flux = found["wavelength"], found["flux"]
    if len({len(values) for values in found.values()}) > 1 or len(flux) < _LEAST_PIXELS:
        counts = ", ".join(str(len(values)) for values in found.values())
        raise LayoutError(f"its columns must have equally many values, at least {_LEAST_PIXELS}; got {counts}")
    for values in (flux, found.get("error", flux)):
        if is_logarithmic(values.unit):
            raise LayoutError(f"its column {values.name} must be linear, it has the logarithmic unit {values.unit!r}")
    wavelength, there = _wavelength(axis, roles["wavelength"][0])
    ivar = _ivar(found.get("error"), roles.get("error", ("", ""))[0], flux, wavelength)
    bad = flux.bad
    if "mask" in found:
        bad = bad | (found["mask"].values != 0) | found["mask"].bad
    try:
        spectrum = Spectrum.from_arrays(
            flux.values[there],
            ivar[there],
            wavelength[there],
            mask=bad[there],
            air=_is_air(columns[roles["wavelength"][1]], roles["wavelength"][1], header),
            id=name,
        )
    except ArgumentError as error:
        raise LayoutError(str(error)) from error
    spectrum.labels["snr"] = spectrum.snr
    return spectrum


class _Values:
    """The numbers of a column, those that are missing, and the unit as text."""

    def __init__(self, column: Any, unit: str, name: str) -> None:
        given = getattr(column, "unit", None)
        self.name, self.unit = name, (str(given) if given is not None and str(given) else unit).strip()
        mask = getattr(column, "mask", None)
        values = np.asarray(getattr(column, "unmasked", column))
        if values.ndim == 2 and len(values) == 1:  # one row of vectors
            values, mask = values[0], None if mask is None else np.broadcast_to(mask, values.shape)[0]
        if values.dtype.kind in "SU":  # a mask in a table of text, or a logical column of a FITS table
            words = np.char.lower(values.astype(str))
            if np.isin(words, list(_FLAGS)).all():
                values = np.isin(words, [word for word, true in _FLAGS.items() if true])
        if values.ndim != 1:
            shape = " by ".join(map(str, values.shape)) or "a single one"
            raise LayoutError(f"its column {name} must hold one number per pixel, it has {shape}")
        if values.dtype.kind not in "biuf":
            raise LayoutError(f"its column {name} must hold numbers, it has {_kind_of(values)}")
        self.values = values.astype(np.float64)
        self.bad = (
            np.zeros(len(values), bool)
            if mask is None
            else np.broadcast_to(np.asarray(mask, bool), values.shape).copy()
        )

    def __len__(self) -> int:
        return len(self.values)


def _kind_of(values: np.ndarray) -> str:
    """Describe a column without numbers for a message: by its first text that is no number, or else by its type."""
    for value in values.tolist():
        word = value.decode("ascii", "replace") if isinstance(value, bytes) else value
        try:
            float(word)
        except ValueError:
            return f"the text {shorten(word)}"
        except TypeError:
            break
    return "complex numbers" if values.dtype.kind == "c" else f"values of the type {values.dtype}"


def _is_air(column: Any, name: str, header: Mapping[str, Any]) -> bool:
    """Tell whether the wavelengths are in air, by the name of their column, its UCD, or the header, in this order."""
    air = _parts(name).air
    if air is not None:
        return air
    ucd = (getattr(column, "meta", None) or {}).get("ucd", "")
    return _AIR_UCD in str(ucd) or is_air(header)


def is_air(header: Mapping[str, Any]) -> bool:
    """Tell whether header cards or metadata, also those of a mapping within, say that the wavelengths are in air.

    They do so by the UCD of a column (TUCDn), by the axis AWAV of an image, by VACUUM or by AIRORVAC.

    Raises
    ------
    LayoutError
        When VACUUM or AIRORVAC has a value that cannot be understood.
    """
    cards = _flat(header)
    if any(key.startswith("TUCD") and _AIR_UCD in str(value) for key, value in cards.items()):
        return True
    return str(cards.get("CTYPE1", "")).strip().upper().startswith("AWAV") or in_air(cards)


def _flat(header: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a header in upper case, with those of mappings within it; outer ones count before inner ones."""
    flat: dict[str, Any] = {}
    for key, value in header.items():
        if isinstance(value, Mapping) or hasattr(value, "cards"):  # a header of astropy is no Mapping
            flat = _flat(value) | flat
        else:
            flat[str(key).upper()] = value
    return flat


def _wavelength(axis: _Values, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Wavelengths [N] in Angstrom, and where there are any; a pixel without a wavelength has no place."""
    values, unit = axis.values, axis.unit
    if kind == "logarithm":
        if unit and "ang" not in unit.lower() and parsed(unit) != parsed("Angstrom"):  # such as log(Angstrom)
            raise LayoutError(f"its column {axis.name} must be log10 of Angstrom, it has the unit {unit!r}")
        values, unit = _from_logarithm(values), ""
    there = ~(axis.bad | np.isnan(values))
    wavelength = np.full(len(values), np.nan)
    wavelength[there] = to_angstrom(values[there], unit)
    return wavelength, there


def _from_logarithm(loglam: np.ndarray) -> np.ndarray:
    """Wavelengths in Angstrom of their log10; on the grid of SDSS and LAMOST where that is rounded to `loglam`."""
    finite = bool(np.isfinite(loglam).all()) and bool((np.abs(loglam) < 9).all())
    grid = survey_grid(loglam, None, 0.005) if finite and len(loglam) else None
    with np.errstate(over="ignore"):
        return 10.0**loglam if grid is None else grid


def _ivar(error: _Values | None, kind: str, flux: _Values, wavelength: np.ndarray) -> np.ndarray:
    """The inverse variance [N] in the unit of the flux, 0 where the uncertainty is missing; 1 if there is no column."""
    if error is None:
        return np.ones(len(flux))
    values, unit = error.values, error.unit
    if unit in ("%", "percent") and flux.unit != unit:
        if kind != "error":
            raise LayoutError(f"its {kind} has the unit {unit!r}, which only a standard deviation may have")
        values, unit = values * np.abs(flux.values) / 100.0, ""
    good = ~error.bad & np.isfinite(values) & (values > 0)
    values = np.where(good, values, 1.0)
    with np.errstate(over="ignore", under="ignore", divide="ignore"):
        ivar = values if kind == "ivar" else 1.0 / values if kind == "variance" else 1.0 / values / values
        ivar = _in_flux_unit(ivar, kind, unit, flux, wavelength)
    return np.where(good, ivar, 0.0)


def _in_flux_unit(ivar: np.ndarray, kind: str, unit: str, flux: _Values, wavelength: np.ndarray) -> np.ndarray:
    """The inverse variance [N] of an uncertainty in `unit`, in that of the flux; without one it is in that already."""
    if not unit or unit == flux.unit:  # an ivar or variance labelled with the unit of the flux is taken as its power
        return ivar
    own, of_flux = parsed(unit), parsed(flux.unit)
    refused = f"its {kind} has the unit {unit!r}, which does not fit the unit {flux.unit!r} of the flux"
    if own is None or of_flux is None:
        raise LayoutError(refused)
    if own == of_flux:
        return ivar
    import astropy.units as u

    power = {"ivar": 1, "error": -2, "variance": -1}[kind]
    try:
        return inverse_variance(u.Quantity(ivar, own**power), Plain(flux.values, None, of_flux), wavelength).values
    except ArgumentError as error:
        raise LayoutError(refused) from error
