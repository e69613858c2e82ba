"""LAMOST low-resolution files: images (DR1 to DR8) and one-row tables (from DR9 on)."""

from typing import Any

import numpy as np
from astropy.io import fits

from spectromer.readers.common import LayoutError, build, coefficients, log_grid
from spectromer.spectra import Spectrum

_FIRST, _LAST = 2500.0, 11000.0  # Angstrom; anything else is no LAMOST wavelength


def read_medium_resolution(hdus: fits.HDUList) -> Spectrum | None:
    """Refuse `med-*` files, whose tables look like SDSS ones."""
    if any(str(hdu.name).upper().startswith(("COADD_B", "COADD_R")) for hdu in hdus[1:3]):
        raise LayoutError("LAMOST medium resolution (two arms, COADD_B and COADD_R) is not supported")
    return None


def read_image(hdus: fits.HDUList) -> Spectrum | None:
    """Rows flux, inverse variance, wavelength (DR1: something else), andmask, ormask."""
    header = hdus[0].header
    ours = "LAMOST" in f"{header.get('TELESCOP', '')} {header.get('ORIGIN', '')}".upper()
    if not ours or header.get("NAXIS") != 2 or header["NAXIS2"] != 5:
        return None
    rows = np.asarray(hdus[0].data)
    return _build(rows[0], rows[1], rows[2], header)


def read_table(hdus: fits.HDUList) -> Spectrum | None:
    """One row of vectors FLUX, IVAR, WAVELENGTH, ANDMASK, ORMASK in HDU 1."""
    if len(hdus) < 2 or not isinstance(hdus[1], fits.BinTableHDU):
        return None
    columns = {name.upper(): name for name in hdus[1].columns.names}
    if not {"FLUX", "IVAR", "WAVELENGTH"} <= set(columns):
        return None
    table = hdus[1].data
    vectors = [np.asarray(table[columns[name]]) for name in ("FLUX", "IVAR", "WAVELENGTH")]
    if any(v.ndim != 2 or v.shape[0] != 1 for v in vectors):
        raise LayoutError(f"a LAMOST table has one row of vectors, here FLUX has shape {vectors[0].shape}")
    flux, ivar, wavelength = (v[0] for v in vectors)
    return _build(flux, ivar, wavelength, hdus[0].header)


def _build(flux: np.ndarray, ivar: np.ndarray, third: np.ndarray, header: fits.Header) -> Spectrum:
    return build(
        flux,
        ivar,
        _wavelength(third, header),
        header.get("VACUUM") is False,
        "LAMOST",
        _identity(header),
        _labels(header),
    )


def _wavelength(third: np.ndarray, header: fits.Header) -> np.ndarray:
    """The header's log-linear grid where it has one, and the row of wavelengths where that is what the row holds."""
    third = third.astype(np.float64)
    with np.errstate(invalid="ignore"):
        rises = bool((np.diff(third) > 0).all()) and third[0] > _FIRST and third[-1] < _LAST
    found = coefficients(header)
    if found is None:
        if rises:
            return third
        raise LayoutError("it has neither COEFF0 and COEFF1 nor a row of wavelengths")
    grid = log_grid(*found, len(third))
    if rises:
        pixel = grid * np.log(10.0) * found[1]
        off = float((np.abs(grid - third) / pixel).max())
        if off > 0.5:
            raise LayoutError(f"its wavelengths differ from COEFF0 and COEFF1 by up to {off:.1f} pixels")
    return grid


def _identity(header: fits.Header) -> str:
    if "OBSID" in header:
        return str(header["OBSID"])
    parts = [header.get(name) for name in ("LMJD", "PLANID", "SPID", "FIBERID")]
    return "-".join(str(part).strip() for part in parts) if None not in parts else str(header.get("FILENAME", ""))


def _labels(header: fits.Header) -> dict[str, Any]:
    fibre = str(header.get("FIBERTYP", header.get("FIB_TYPE", ""))).strip().upper()
    objtype = str(header.get("OBJTYPE", "")).strip().upper()
    names = {"class": "CLASS", "subclass": "SUBCLASS", "z": "Z", "z_err": "Z_ERR", "ra": "RA", "dec": "DEC"}
    labels = {label: header.get(name) for label, name in names.items()}
    for band in "ugriz":
        labels[f"snr_{band}"] = header.get(f"SNR{band.upper()}")
    if "SKY" in (fibre, objtype):
        labels["sourcetype"] = "SKY"
    return labels
