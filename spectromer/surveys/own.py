"""One's own spectra in FITS files: tables, recognised by the names of their columns, and images of one axis."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from spectromer.errors import LayoutError
from spectromer.spectra import Spectrum
from spectromer.surveys.common import build
from spectromer.surveys.fits import Hdu, masked_column
from spectromer.surveys.own_columns import from_columns, is_spectrum, roles_of
from spectromer.surveys.own_units import is_spectral, parsed

__all__ = ["read_hdus"]

_IMAGE_AXES = ("", "WAVE", "AWAV", "WAVELENGTH", "LAMBDA", "LINEAR", "PIXEL")
_WAVELENGTHS = ("wave", "lambda")  # the beginnings of IRAF's labels of an axis of wavelengths
_IRAF_WORD = re.compile(r"(\w+)\s*=\s*(\"[^\"]*\"|\S+)")
_MOST_ARMS = 16


def read_hdus(hdus: Sequence[Hdu], name: str) -> Spectrum | None:
    """The spectrum in the tables of a FITS file with columns of wavelength and flux, or in an image of one axis.

    Several tables are the arms of one spectrum, and are joined in the order of their wavelengths.

    Raises
    ------
    LayoutError
        When the columns are not valid, the image has no valid wavelengths, or several tables do not form one spectrum.
    """
    tables = [hdu for hdu in hdus[1:] if is_spectrum(hdu.columns)]
    if len(tables) > _MOST_ARMS:
        raise LayoutError(f"a file of one spectrum may have {_MOST_ARMS} tables with wavelength and flux")
    if len(tables) > 1:
        return _join([(hdu, _read_table(hdus[0], hdu, name)) for hdu in tables], name)
    if tables:
        return _read_table(hdus[0], tables[0], name)
    if hdus[0].header.get("NAXIS") == 1 and "CRVAL1" in hdus[0].header:
        return _read_image(hdus, name)
    return None


def _read_table(primary: Hdu, hdu: Hdu, name: str) -> Spectrum:
    """The spectrum in one table."""
    roles = roles_of(hdu.columns)
    columns = {column: masked_column(hdu, column) for _, column in roles.values()}
    header = dict(primary.header) | dict(hdu.header)
    model = str(header.get("DMODCLS", "")).strip()  # the class of a data model of PypeIt, in whose masks 1 is good
    if model and "mask" in roles:
        if model != "OneSpec":
            raise LayoutError(f"a file of PypeIt with the data model {model}, of which only OneSpec is read")
        columns[roles["mask"][1]] = columns[roles["mask"][1]] == 0
    return from_columns(columns, _units(hdu, columns), _medium(header), name)


def _medium(header: Mapping[str, Any]) -> dict[str, Any]:
    return {card: header[card] for card in header if card in ("VACUUM", "AIRORVAC") or card.startswith("TUCD")}


def _units(hdu: Hdu, columns: Iterable[str]) -> dict[str, str]:
    numbers = range(1, len(hdu.columns) + 1)
    units = {str(hdu.header.get(f"TTYPE{i}", "")).upper(): str(hdu.header.get(f"TUNIT{i}", "")) for i in numbers}
    return {column: units.get(column, "") for column in columns}


def _join(arms: list[tuple[Hdu, Spectrum]], name: str) -> Spectrum:
    """The spectrum of several tables, in the order of the wavelengths, with a masked pixel at either side of a gap."""
    arms.sort(key=lambda arm: float(arm[1].wavelength[0]))
    known = set()
    parts: list[tuple[np.ndarray, ...]] = []
    for hdu, arm in arms:
        roles = roles_of(hdu.columns)
        unit = _units(hdu, [roles["flux"][1]])[roles["flux"][1]].strip()
        known.add((parsed(unit) or unit, "error" in roles))
        wavelength = arm.wavelength.numpy()
        if parts:
            left = parts[-1][2]
            after, before = 2.0 * left[-1] - left[-2], 2.0 * wavelength[0] - wavelength[1]
            if not wavelength[0] > left[-1]:
                names = ", ".join(hdu.name or "one without a name" for hdu, _ in arms)
                raise LayoutError(
                    f"it has {len(arms)} tables with wavelength and flux ({names}) that overlap: one ends at "
                    f"{left[-1]:.1f} Angstrom, the next begins at {wavelength[0]:.1f}; a file must hold one spectrum"
                )
            if after < before:
                parts.append((np.zeros(2), np.zeros(2), np.array([after, before])))
        flux, ivar = (values.numpy().astype(np.float64) for values in (arm.flux, arm.ivar))
        parts.append((flux * arm.flux_scale, ivar / arm.flux_scale**2, wavelength))
    if len(known) > 1:
        raise LayoutError(
            f"its {len(arms)} tables with wavelength and flux are no arms of one spectrum: the units of their fluxes "
            "differ, or some have no errors"
        )
    flux, ivar, axis = (np.concatenate(values) for values in zip(*parts, strict=True))
    return build(flux, ivar, axis, False, "", name, {})


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
    iraf = _iraf_axis(header)
    label, unit = iraf.get("label", ""), str(header.get("CUNIT1", "")).strip() or iraf.get("units", "")
    if label and not label.lower().startswith(_WAVELENGTHS) and not is_spectral(unit):
        raise LayoutError(f"an image of one axis that is labelled {label!r}, which is no axis of wavelengths")
    if axis == "PIXEL" and not is_spectral(unit):
        raise LayoutError("an image of one axis of pixels (CTYPE1 is 'PIXEL'), without wavelengths")
    flux = hdus[0].image()
    wavelength = header["CRVAL1"] + step * (np.arange(len(flux)) + 1.0 - header.get("CRPIX1", 1.0))
    column = "loglam" if header.get("DC-FLAG", 0) == 1 else "wavelength"
    return from_columns(
        {column: wavelength, "flux": flux},
        {column: unit, "flux": str(header.get("BUNIT", ""))},
        {"CTYPE1": axis} | _medium(header),
        name,
    )


def _iraf_axis(header: Mapping[str, Any]) -> dict[str, str]:
    """What IRAF says of the first axis in the cards WAT1_001, WAT1_002 and so on, such as its label and units."""
    text, i = "", 1
    while (card := f"WAT1_{i:03d}") in header:
        text += str(header[card]).ljust(68)  # a card's value has lost its trailing blanks
        i += 1
    return {key.lower(): value.strip('"') for key, value in _IRAF_WORD.findall(text)}
