"""Spectra as survey files: what the readers read, for trying things out and for tests."""

import csv
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from astropy.io import fits

from spectromer.grids import log_coefficients
from spectromer.spectra import Spectrum

__all__ = ["write_lamost", "write_sdss", "write_survey"]

_CATALOGUE = ("path", "survey", "class", "subclass", "z", "ra", "dec", "teff", "logg", "feh")


def _log_grid(spectrum: Spectrum) -> tuple[float, float]:
    """COEFF0 and COEFF1 of a spectrum on a log-linear grid.

    Raises
    ------
    ValueError
        For any other grid: these layouts cannot hold it.
    """
    found = log_coefficients(spectrum.wavelength.numpy())
    if found is None:
        raise ValueError(f"spectrum {spectrum.id!r} is not on a log-linear grid, which survey files need")
    return found


def write_sdss(spectrum: Spectrum, path: str | os.PathLike[str]) -> None:
    """Write an SDSS `spec-*` lite file: COADD, SPECOBJ."""
    coeff0, coeff1 = _log_grid(spectrum)
    labels, pixels = spectrum.labels, len(spectrum)
    plate, mjd, fibre = (int(part) for part in spectrum.id.split("-"))
    primary = fits.PrimaryHDU()
    primary.header.update(
        {"TELESCOP": "SDSS 2.5-M", "PLATEID": plate, "MJD": mjd, "FIBERID": fibre, "VACUUM": True}
        | {"COEFF0": coeff0, "COEFF1": coeff1}
    )
    flux, ivar = spectrum.flux.numpy(), spectrum.ivar.numpy()
    mask = np.where(ivar > 0, 0, 1 << 24).astype(np.int32)  # NODATA
    loglam = (coeff0 + coeff1 * np.arange(pixels)).astype(np.float32)
    columns = [("flux", "E", flux), ("loglam", "E", loglam), ("ivar", "E", ivar), ("and_mask", "J", mask)]
    columns += [("or_mask", "J", mask), ("wdisp", "E", np.ones(pixels)), ("sky", "E", np.zeros(pixels))]
    columns += [("model", "E", flux)]
    row = [
        ("PLATE", "J", plate),
        ("MJD", "J", mjd),
        ("FIBERID", "J", fibre),
        ("CLASS", "6A", labels.get("class", "")),
        ("SUBCLASS", "21A", labels.get("subclass", "")),
        ("Z", "E", labels.get("z", np.nan)),
        ("ZWARNING", "J", labels.get("zwarning", 0)),
        ("SN_MEDIAN_ALL", "E", spectrum.snr),
        ("PLUG_RA", "D", labels.get("ra", np.nan)),
        ("PLUG_DEC", "D", labels.get("dec", np.nan)),
    ]
    coadd = fits.BinTableHDU.from_columns([fits.Column(n, f, array=a) for n, f, a in columns], name="COADD")
    specobj = fits.BinTableHDU.from_columns([fits.Column(n, f, array=[v]) for n, f, v in row], name="SPECOBJ")
    fits.HDUList([primary, coadd, specobj]).writeto(path, overwrite=True)


def write_lamost(spectrum: Spectrum, path: str | os.PathLike[str], layout: str = "table") -> None:
    """Write a LAMOST low-resolution file.

    Parameters
    ----------
    spectrum : Spectrum
    path : path-like
    layout : {"table", "image"}
        Of DR9 and later, or of DR2 to DR8.
    """
    coeff0, coeff1 = _log_grid(spectrum)
    labels, pixels = spectrum.labels, len(spectrum)
    header = fits.Header(
        {"TELESCOP": "LAMOST", "ORIGIN": "NAOC-LAMOST", "OBSID": int(spectrum.id), "OBJTYPE": "Star", "VACUUM": True}
        | {"COEFF0": coeff0, "COEFF1": coeff1}
    )
    header["CLASS"], header["SUBCLASS"] = labels.get("class", "Unknown"), labels.get("subclass", "")
    header["Z"] = labels.get("z", -9999.0)
    for card, name in (("RA", "ra"), ("DEC", "dec")):
        if name in labels:
            header[card] = labels[name]
    mask = np.where(spectrum.ivar.numpy() > 0, 0.0, 1.0).astype(np.float32)
    wavelength = spectrum.wavelength.numpy().astype(np.float32)
    rows = [spectrum.flux.numpy(), spectrum.ivar.numpy(), wavelength, mask, mask]
    if layout == "image":
        hdus = [fits.PrimaryHDU(np.stack(rows), header=header)]
    elif layout == "table":
        names = ("FLUX", "IVAR", "WAVELENGTH", "ANDMASK", "ORMASK")
        columns = [fits.Column(n, f"{pixels}E", array=a[None]) for n, a in zip(names, rows, strict=True)]
        hdus = [fits.PrimaryHDU(header=header), fits.BinTableHDU.from_columns(columns, name="COADD")]
    else:
        raise ValueError(f"layout must be 'table' or 'image', got {layout!r}")
    fits.HDUList(hdus).writeto(path, overwrite=True)


def write_survey(spectra: Iterable[Spectrum], folder: str | os.PathLike[str]) -> Path:
    """Write spectra of SDSS and LAMOST under their surveys' file names, and catalog.csv beside them.

    Returns
    -------
    Path
        Of the catalogue, fit for `--data`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "catalog.csv"
    with path.open("w", newline="") as file:
        catalogue = csv.DictWriter(file, _CATALOGUE, restval="", extrasaction="ignore")
        catalogue.writeheader()
        for spectrum in spectra:
            name = (
                f"spec-{spectrum.id}.fits" if spectrum.survey == "SDSS" else f"spec-55000-SIM_sp01-{spectrum.id}.fits"
            )
            writer = write_sdss if spectrum.survey == "SDSS" else write_lamost
            writer(spectrum, folder / name)
            catalogue.writerow({"path": name, "survey": spectrum.survey} | spectrum.labels)
    return path
