"""One's own spectra: the columns of any table, recognised by their names, and one-dimensional FITS images."""

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from spectromer.errors import LayoutError
from spectromer.grids import survey_grid
from spectromer.spectra import Spectrum
from spectromer.surveys.common import in_air
from spectromer.surveys.fits import Hdu

__all__ = ["columns_needed", "from_columns", "is_spectrum", "read_hdus"]

_WAVELENGTH = ("wavelength", "wave", "lambda", "lam", "wl", "spectral_axis")
_LOGARITHM = ("loglam", "log_lambda")  # log10 of the wavelength in Angstrom
_FLUX = ("flux", "flux_density", "fluxdensity")
_IVAR = ("ivar", "inverse_variance")
_ERROR = ("error", "err", "sigma", "uncertainty", "flux_error", "flux_err", "err_flux", "e_flux", "std")
_VARIANCE = ("variance", "var")
_MASK = ("mask", "bad_pixel", "badpix", "dq", "qual")
_FLAGS = {"true": True, "t": True, "false": False, "f": False}
_UNIT_IN_NAME = re.compile(r"^(.*?)\s*[(\[]\s*([^()\[\]]*)\s*[)\]]$")  # such as "wavelength (nm)"
_UNITS = {"A": "Angstrom", "ANG": "Angstrom", "ANGSTROMS": "Angstrom", "MICRONS": "um", "NANOMETERS": "nm"}
_LEAST, _MOST = 1000.0, 1e6  # Angstrom; the limits of the last of plausible wavelengths without a unit
_IMAGE_AXES = ("", "WAVE", "AWAV", "WAVELENGTH", "LAMBDA", "LINEAR", "PIXEL")
_LEAST_PIXELS = 3  # of fewer, nobody can tell whether they are evenly spaced, or a spectrum at all
_SHOWN = 12  # columns that a message lists


def is_spectrum(names: Iterable[str]) -> bool:
    """Whether columns with these names hold a spectrum."""
    roles = _roles(names)
    return roles.keys() >= {"wavelength", "flux"}


def columns_needed(names: Iterable[str]) -> str:
    """The sentence that refuses a table with these columns."""
    has = ", ".join(list(names)[:_SHOWN]) or "none"
    return f"a table needs a column of wavelengths (wavelength, wave, loglam, ...) and one of flux; it has {has}"


def _roles(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """The column of each role, as its kind (a canonical name of it) and its name in the table."""
    plain: dict[str, str] = {}
    for name in names:
        found = _UNIT_IN_NAME.match(name.strip())
        key = (found[1] if found else name).strip().lower()
        plain.setdefault(key.removesuffix("_air").removesuffix("_vac"), name)
    kinds = {
        "wavelength": (("wavelength", _WAVELENGTH), ("logarithm", _LOGARITHM)),
        "flux": (("flux", _FLUX),),
        "error": (("ivar", _IVAR), ("error", _ERROR), ("variance", _VARIANCE)),
        "mask": (("mask", _MASK),),
    }
    roles = {}
    for role, spellings in kinds.items():
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
        Header cards or metadata, of which VACUUM and AIRORVAC count.
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
    roles = _roles(columns)
    if not roles.keys() >= {"wavelength", "flux"}:
        raise LayoutError(columns_needed(columns))
    found = {
        role: _Values(columns[column], units.get(column) or _unit_of(column), column)
        for role, (_, column) in roles.items()
    }
    wavelength, flux = found["wavelength"], found["flux"]
    if len({len(values) for values in found.values()}) > 1 or len(flux) < _LEAST_PIXELS:
        counts = ", ".join(str(len(values)) for values in found.values())
        raise LayoutError(f"its columns must have equally many values, at least {_LEAST_PIXELS}; got {counts}")
    axis, unit = wavelength.values, wavelength.unit
    if roles["wavelength"][0] == "logarithm":
        if unit.strip() and "ang" not in unit.lower() and unit.strip().upper() not in ("A", "AA"):
            raise LayoutError(
                f"its column {roles['wavelength'][1]} must be log10 of Angstrom, it has the unit {unit!r}"
            )
        axis, unit = _from_logarithm(axis), ""
    bad = flux.bad
    ivar = _ivar(found.get("error"), roles.get("error", ("", ""))[0], flux)
    if "mask" in found:
        bad |= (found["mask"].values != 0) | found["mask"].bad
    there = ~(wavelength.bad | np.isnan(axis))  # a pixel without a wavelength has no place
    axis = _angstrom(axis[there], unit)
    air = in_air({str(key).upper(): value for key, value in header.items()}) or roles["wavelength"][1].lower().endswith(
        "_air"
    )
    try:
        spectrum = Spectrum.from_arrays(flux.values[there], ivar[there], axis, mask=bad[there], air=air, id=name)
    except ValueError as error:
        raise LayoutError(str(error)) from error
    spectrum.labels["snr"] = spectrum.snr
    return spectrum


class _Values:
    """The numbers of a column, those that are missing, and the unit as text."""

    def __init__(self, column: Any, unit: str, name: str) -> None:
        given = getattr(column, "unit", None)
        self.unit = str(given) if given is not None else unit
        mask = getattr(column, "mask", None)
        values = np.asarray(getattr(column, "unmasked", column))
        if values.ndim == 2 and len(values) == 1:  # one row of vectors
            values, mask = values[0], None if mask is None else np.broadcast_to(mask, values.shape)[0]
        if values.dtype.kind in "SU":  # a mask in a table of text, or a logical column of a FITS table
            words = np.char.lower(values.astype(str))
            if np.isin(words, list(_FLAGS)).all():
                values = np.isin(words, [word for word, true in _FLAGS.items() if true])
        if values.ndim != 1 or values.dtype.kind not in "biuf":
            raise LayoutError(
                f"its column {name} must hold one number per pixel, it has shape {values.shape} of {values.dtype}"
            )
        self.values = values.astype(np.float64)
        self.bad = (
            np.zeros(len(values), bool)
            if mask is None
            else np.broadcast_to(np.asarray(mask, bool), values.shape).copy()
        )

    def __len__(self) -> int:
        return len(self.values)


def _unit_of(name: str) -> str:
    """The unit in a column's name."""
    found = _UNIT_IN_NAME.match(name.strip())
    return found[2].strip() if found else ""


def _from_logarithm(loglam: np.ndarray) -> np.ndarray:
    """Wavelengths in Angstrom of their log10; on the grid of SDSS and LAMOST where that is rounded to `loglam`."""
    finite = bool(np.isfinite(loglam).all()) and bool((np.abs(loglam) < 9).all())
    grid = survey_grid(loglam, None, 0.005) if finite and len(loglam) else None
    with np.errstate(over="ignore"):
        return 10.0**loglam if grid is None else grid


def _angstrom(axis: np.ndarray, unit: str) -> np.ndarray:
    """An axis in Angstrom, converted from its unit.

    Raises
    ------
    LayoutError
        When the unit is not one of wavelength, frequency or energy, or there is none and the values are not plausible.
    """
    if unit.strip():
        import astropy.units as u

        try:
            with warnings.catch_warnings(), np.errstate(divide="ignore"):
                warnings.simplefilter("ignore")
                parsed = u.Unit(_UNITS.get(unit.strip().upper(), unit.strip()))
                converted: np.ndarray = (axis * parsed).to_value(u.AA, u.spectral())
        except (ValueError, TypeError) as error:
            raise LayoutError(
                f"its wavelengths have the unit {unit!r}, which is none of wavelength, frequency or energy"
            ) from error
        return converted
    last = float(np.nanmax(axis)) if len(axis) and not np.isnan(axis).all() else 0.0
    if not _LEAST <= last <= _MOST:
        raise LayoutError(
            f"its wavelengths end at {last:g} and have no unit; in Angstrom they must end between {_LEAST:g} and "
            f"{_MOST:g}, otherwise the column needs a unit, or a name such as 'wavelength (nm)'"
        )
    return axis


def _ivar(error: _Values | None, kind: str, flux: _Values) -> np.ndarray:
    """The inverse variance [N] in the unit of the flux, 0 where the uncertainty is missing; 1 if there is no column."""
    if error is None:
        return np.ones(len(flux))
    factor = _to_flux_unit(error.unit, kind, flux.unit)
    good = ~error.bad & np.isfinite(error.values) & (error.values > 0)
    values = np.where(good, error.values * factor, 1.0)
    with np.errstate(over="ignore", under="ignore", divide="ignore"):
        ivar = values if kind == "ivar" else 1.0 / values if kind == "variance" else 1.0 / values / values
    return np.where(good, ivar, 0.0)


def _to_flux_unit(unit: str, kind: str, flux: str) -> float:
    """The factor that converts an uncertainty to the unit of the flux; without a unit it is in that of the flux."""
    power = {"ivar": -2, "error": 1, "variance": 2}[kind]
    if not unit.strip() or unit == flux:  # an ivar or variance labelled with the unit of the flux is taken as its power
        return 1.0
    import astropy.units as u

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float((1.0 * u.Unit(unit)).to_value(u.Unit(flux) ** power))
    except (ValueError, TypeError) as error:
        raise LayoutError(
            f"its {kind} has the unit {unit!r}, which does not fit the unit {flux!r} of the flux"
        ) from error


def read_hdus(hdus: Sequence[Hdu], name: str) -> Spectrum | None:
    """The spectrum in the first table of a FITS file with columns of wavelength and flux, or in an image of one axis.

    Raises
    ------
    LayoutError
        When the columns are not valid, or the image has no valid wavelengths.
    """
    for hdu in hdus[1:]:
        if is_spectrum(hdu.columns):
            roles = [column for _, column in _roles(hdu.columns).values()]
            header = dict(hdus[0].header) | dict(hdu.header)
            air = any("obs.atmos" in str(header.get(f"TUCD{i}", "")) for i in range(1, len(hdu.columns) + 1))
            return from_columns(
                {column: hdu.column(column) for column in roles},
                _units(hdu, roles),
                {"VACUUM": not air}
                if air
                else {card: header[card] for card in ("VACUUM", "AIRORVAC") if card in header},
                name,
            )
    if hdus[0].header.get("NAXIS") == 1 and "CRVAL1" in hdus[0].header:
        return _read_image(hdus, name)
    return None


def _units(hdu: Hdu, columns: Iterable[str]) -> dict[str, str]:
    numbers = range(1, len(hdu.columns) + 1)
    units = {str(hdu.header.get(f"TTYPE{i}", "")).upper(): str(hdu.header.get(f"TUNIT{i}", "")) for i in numbers}
    return {column: units.get(column, "") for column in columns}


def _read_image(hdus: Sequence[Hdu], name: str) -> Spectrum:
    """The spectrum in an image of one axis with linear wavelengths, or log-linear ones as written by IRAF (DC-FLAG)."""
    header = hdus[0].header
    axis = str(header.get("CTYPE1", "")).strip().upper()
    step = header.get("CD1_1", header.get("CDELT1"))
    if len(hdus) > 1 or axis not in _IMAGE_AXES or step is None or header.get("DC-FLAG", 0) not in (0, 1):
        raise LayoutError(
            "an image of one axis whose wavelengths are not linear, or that has further HDUs; it can be read with "
            'format="wcs1d-fits" if specutils is installed'
        )
    flux = hdus[0].image()
    wavelength = header["CRVAL1"] + step * (np.arange(len(flux)) + 1.0 - header.get("CRPIX1", 1.0))
    column = "loglam" if header.get("DC-FLAG", 0) == 1 else "wavelength"
    air = (
        {"VACUUM": False}
        if axis == "AWAV"
        else {card: header[card] for card in ("VACUUM", "AIRORVAC") if card in header}
    )
    units = {column: str(header.get("CUNIT1", "")), "flux": ""}
    return from_columns({column: wavelength, "flux": flux}, units, air, name)
