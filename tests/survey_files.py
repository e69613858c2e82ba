"""What the tests of survey files share: comparing spectra, reading them by astropy, and writing odd ones."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from astropy.io import fits

from spectromer import Spectrum
from spectromer.surveys import reading
from spectromer.surveys.fits import astropy_hdus

WITHOUT_CATALOGUE = ("teff", "logg", "feh")  # survey files do not hold them


def equal(found: Spectrum, made: Spectrum) -> None:
    assert torch.equal(found.flux, made.flux) and torch.equal(found.ivar, made.ivar)
    torch.testing.assert_close(found.wavelength, made.wavelength, rtol=1e-12, atol=0)
    assert (found.survey, found.id) == (made.survey, made.id)
    want = {k: v for k, v in made.labels.items() if k not in WITHOUT_CATALOGUE and v != ""}
    for name, value in want.items():
        assert found.labels[name] == (value if isinstance(value, str) else pytest.approx(value, rel=1e-9)), name


def same(a: Spectrum, b: Spectrum) -> bool:
    """Bit for bit, labels and their types included."""
    pixels = all(torch.equal(getattr(a, name), getattr(b, name)) for name in ("flux", "ivar", "wavelength"))
    types = [{k: type(v) for k, v in s.labels.items()} for s in (a, b)]
    return pixels and a.labels == b.labels and types[0] == types[1] and (a.survey, a.id) == (b.survey, b.id)


def through_astropy(path: Path) -> Spectrum | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(path, memmap=False) as hdus:
            return reading._interpret(astropy_hdus(hdus), path)


def write_table(
    path: Path, columns: dict[str, Any], header: dict[str, Any] | None = None, rows: str = "pixels"
) -> Path:
    """A FITS table with one row per pixel, or with one row of vectors (`rows` is "vectors")."""
    arrays = {name: np.asarray(values) for name, values in columns.items()}
    if rows == "vectors":
        made = [fits.Column(name, f"{len(a)}E", array=a[None]) for name, a in arrays.items()]
    else:
        made = [fits.Column(name, "D" if a.dtype == np.float64 else "E", array=a) for name, a in arrays.items()]
    fits.HDUList([fits.PrimaryHDU(header=fits.Header(header or {})), fits.BinTableHDU.from_columns(made)]).writeto(
        path, overwrite=True
    )
    return path


ARMS = {"COADD_B": (3.69008, 4156), "COADD_R": (3.79729, 3802)}  # loglam of the first pixel, and their number


def write_medium(
    path: Path,
    arms: Sequence[str] = ("COADD_B", "COADD_R", "B-84450349", "R-84450349"),
    rows: str = "pixels",
    header: dict[str, Any] | None = None,
) -> Path:
    """A LAMOST file of medium resolution, as of DR7 ("pixels") or later ("vectors")."""
    cards = {"TELESCOP": "LAMOST", "ORIGIN": "NAOC-LAMOST", "OBSID": 747412076, "RA": 292.05, "DEC": 43.93}
    hdus = [fits.PrimaryHDU(header=fits.Header(cards | {"VACUUM": True} | (header or {})))]
    for name in arms:
        first, pixels = ARMS["COADD_B" if "B" in name.split("-")[0].removeprefix("COADD_") else "COADD_R"]
        loglam = (first + 1e-5 * np.arange(pixels)).astype(np.float32)
        flux, ivar = np.linspace(1.0, 2.0, pixels), np.full(pixels, 4.0)
        vectors = [("FLUX", flux), ("IVAR", ivar), ("LOGLAM", loglam), ("ANDMASK", np.zeros(pixels))]
        if rows == "vectors":
            vectors[2] = ("WAVELENGTH", 10.0 ** loglam.astype(np.float64))
            columns = [
                fits.Column(n, f"{pixels}{'D' if n == 'WAVELENGTH' else 'E'}", array=a[None]) for n, a in vectors
            ]
        else:
            columns = [fits.Column(n, "E", array=a) for n, a in vectors]
        hdus.append(fits.BinTableHDU.from_columns(columns, name=name))
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path
