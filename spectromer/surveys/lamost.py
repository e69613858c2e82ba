"""LAMOST low-resolution files: images (DR1 to DR8) and one-row tables (from DR9 on)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from spectromer.errors import LayoutError
from spectromer.grids import log_grid
from spectromer.spectra import Spectrum
from spectromer.surveys.common import build, coefficients
from spectromer.surveys.fits import Hdu

_FIRST, _LAST = 2500.0, 11000.0  # Angstrom; anything else is no LAMOST wavelength


def read_medium_resolution(hdus: Sequence[Hdu]) -> Spectrum | None:
    """Refuse `med-*` files, whose tables look like SDSS ones."""
    if any(hdu.name.startswith(("COADD_B", "COADD_R")) for hdu in hdus[1:3]):
        raise LayoutError("LAMOST medium resolution (two arms, COADD_B and COADD_R) is not supported")
    return None


def read_image(hdus: Sequence[Hdu]) -> Spectrum | None:
    """Rows flux, inverse variance, wavelength (DR1: something else), andmask, ormask."""
    header = hdus[0].header
    ours = "LAMOST" in f"{header.get('TELESCOP', '')} {header.get('ORIGIN', '')}".upper()
    if not ours or header.get("NAXIS") != 2 or header["NAXIS2"] != 5:
        return None
    rows = hdus[0].image()
    return _build(rows[0], rows[1], rows[2], header)


def read_table(hdus: Sequence[Hdu]) -> Spectrum | None:
    """One row of vectors FLUX, IVAR, WAVELENGTH, ANDMASK, ORMASK in HDU 1."""
    if len(hdus) < 2 or not {"FLUX", "IVAR", "WAVELENGTH"} <= hdus[1].columns.keys():
        return None
    vectors = [hdus[1].column(name) for name in ("FLUX", "IVAR", "WAVELENGTH")]
    if any(v.ndim != 2 or v.shape[0] != 1 for v in vectors):
        raise LayoutError(f"a LAMOST table has one row of vectors, here FLUX has shape {vectors[0].shape}")
    flux, ivar, wavelength = (v[0] for v in vectors)
    return _build(flux, ivar, wavelength, hdus[0].header)


def _build(flux: np.ndarray, ivar: np.ndarray, third: np.ndarray, header: Mapping[str, Any]) -> Spectrum:
    return build(
        flux,
        ivar,
        _wavelength(third, header),
        header.get("VACUUM") is False,
        "LAMOST",
        _identity(header),
        _labels(header),
    )


def _wavelength(third: np.ndarray, header: Mapping[str, Any]) -> np.ndarray:
    """The header's log-linear grid where it has one, and the row of wavelengths where that is what the row holds."""
    third = third.astype(np.float64)
    rises = len(third) > 0 and bool(third[0] > _FIRST and third[-1] < _LAST and (third[1:] > third[:-1]).all())
    found = coefficients(header)
    if found is None:
        if rises:
            return third
        raise LayoutError("it has neither COEFF0 and COEFF1 nor a row of wavelengths")
    grid = log_grid(*found, len(third))
    if rises:
        off = float(np.abs(third / grid - 1.0).max()) / (np.log(10.0) * found[1])
        if off > 0.5:
            raise LayoutError(f"its wavelengths differ from COEFF0 and COEFF1 by up to {off:.1f} pixels")
    return grid


def _identity(header: Mapping[str, Any]) -> str:
    if "OBSID" in header:
        return str(header["OBSID"])
    parts = [header.get(name) for name in ("LMJD", "PLANID", "SPID", "FIBERID")]
    return "-".join(str(part).strip() for part in parts) if None not in parts else str(header.get("FILENAME", ""))


def _labels(header: Mapping[str, Any]) -> dict[str, Any]:
    fibre = str(header.get("FIBERTYP", header.get("FIB_TYPE", ""))).strip().upper()
    objtype = str(header.get("OBJTYPE", "")).strip().upper()
    names = {"class": "CLASS", "subclass": "SUBCLASS", "z": "Z", "z_err": "Z_ERR", "ra": "RA", "dec": "DEC"}
    labels = {label: header.get(name) for label, name in names.items()}
    for band in "ugriz":
        labels[f"snr_{band}"] = header.get(f"SNR{band.upper()}")
    if "SKY" in (fibre, objtype):
        labels["sourcetype"] = "SKY"
    return labels
