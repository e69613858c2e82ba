"""LAMOST: images (DR1 to DR8) and one-row tables (from DR9 on) of low resolution, medium resolution, and catalogues."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from spectromer.errors import ArgumentError, DownloadError, LayoutError
from spectromer.grids import log_grid
from spectromer.labels import PARAMETERS
from spectromer.spectra import Spectrum
from spectromer.surveys.common import build, coefficients, grid_to_write, in_air
from spectromer.surveys.fetching import fetch
from spectromer.surveys.fits import Hdu
from spectromer.surveys.lamost_medium import is_medium, join_arms
from spectromer.surveys.survey import REDSHIFT, Part, Survey
from spectromer.surveys.tables import Columns, whole_numbers

__all__ = ["SURVEY"]

ARCHIVE = "https://www.lamost.org"
_RELEASE = "dr10/v2.0"
_FIRST, _LAST = 300.0, 11000.0  # Angstrom; the limits of valid wavelengths, with those in the rest frame of quasars
_UNITS = (1.0, 10.0, 1e4)  # Angstrom, nm and um, in Angstrom
_MOST = 0.9  # fraction of steps in one direction; in the third row of DR1, which is a flux, it is about a half
_ROUNDING = 0.05  # pixels; rounding of COEFF0 and of wavelengths in single precision causes smaller differences
_IN_HEADERS = ("class", "subclass", "z", "z_err", "ra", "dec", *(f"snr_{band}" for band in "ugriz"))
# The columns of the stellar parameters in catalogues of medium resolution.
_MEDIUM = tuple(f"{name}_LASP{error}" for name in ("TEFF", "LOGG", "FEH") for error in ("", "_ERR"))
_VECTORS = ("FLUX", "IVAR", "WAVELENGTH", "ANDMASK", "ORMASK")


class Lamost(Survey):
    """The Large Sky Area Multi-Object Fiber Spectroscopic Telescope."""

    name = "LAMOST"
    layouts = "LAMOST low and medium resolution"
    identities = (
        (Part(("OBSID",)),),
        (Part(("LMJD",)), Part(("PLANID",), whole=False), Part(("SPID",)), Part(("FIBERID",))),
    )
    label_columns: Mapping[str, tuple[str, ...]] = {
        "class": ("CLASS",),
        "subclass": ("SUBCLASS",),
        "z": REDSHIFT,
        "z_err": ("Z_ERR", "ZERR"),
        "ra": ("RA", "OBJRA"),
        "dec": ("DEC", "OBJDEC"),
        **{name: (name.upper(), medium) for name, medium in zip(PARAMETERS, _MEDIUM, strict=True)},
        "snr": ("SNR",),
        **{f"snr_{band}": (f"SNR{band.upper()}",) for band in "ugriz"},
        "sourcetype": ("FIBERTYPE", "FIBERTYP"),
    }
    multimodal_mark = "OBSID"
    download_columns = "OBSID"

    def read(self, hdus: Sequence[Hdu]) -> Spectrum | None:
        """The spectrum of a file of low or medium resolution."""
        header = hdus[0].header
        if is_medium(hdus):
            flux, ivar, wavelength = join_arms(hdus)
            return self._build(flux, ivar, wavelength, header)
        table = next(iter(hdus[1:2]), None)
        if table is not None and {"FLUX", "IVAR", "WAVELENGTH"} <= table.columns.keys():
            marked = _is_marked(header) or {"ANDMASK", "ORMASK"} <= table.columns.keys()
            return self._read_table(table, header) if marked and "LOGLAM" not in table.columns else None
        if header.get("NAXIS") == 2 and header["NAXIS2"] == 5 and _is_marked(header):
            return self._read_image(hdus[0])
        return None

    def _read_image(self, hdu: Hdu) -> Spectrum:
        """Read an image whose rows are flux, inverse variance, wavelength (not in DR1), andmask and ormask."""
        rows = hdu.image()
        return self._build(rows[0], rows[1], _wavelength(rows[2], hdu.header), hdu.header)

    def _read_table(self, hdu: Hdu, header: Mapping[str, Any]) -> Spectrum:
        """Read a table of one row with the vectors FLUX, IVAR, WAVELENGTH, ANDMASK and ORMASK."""
        vectors = [hdu.column(name) for name in ("FLUX", "IVAR", "WAVELENGTH")]
        if any(v.ndim != 2 or v.shape[0] != 1 for v in vectors):
            raise LayoutError(f"a LAMOST table has one row of vectors, here FLUX has shape {vectors[0].shape}")
        flux, ivar, wavelength = (v[0] for v in vectors)
        return self._build(flux, ivar, _wavelength(wavelength, header), header)

    def _build(self, flux: np.ndarray, ivar: np.ndarray, wavelength: np.ndarray, header: Mapping[str, Any]) -> Spectrum:
        labels = self.labels(header, _IN_HEADERS)
        fibre = str(header.get("FIBERTYP", header.get("FIB_TYPE", ""))).strip().upper()
        if "SKY" in (fibre, str(header.get("OBJTYPE", "")).strip().upper()):
            labels["sourcetype"] = "SKY"
        identity = self.identity(header) or str(header.get("FILENAME", ""))
        return build(flux, ivar, wavelength, in_air(header), self.name, identity, labels)

    def file_name(self, identity: str) -> str:
        """The file name of a simulated spectrum in the style of the archive, with SIM as the observing plan."""
        return f"spec-55000-SIM_sp01-{identity}.fits"

    def write(self, spectrum: Spectrum, path: Path, layout: str = "table") -> None:
        """Write a low-resolution file.

        Parameters
        ----------
        spectrum : Spectrum
        path : Path
        layout : {"table", "image"}
            The layout: "table" as in DR9 and later, or "image" as in DR2 to DR8.
        """
        coeff0, coeff1 = grid_to_write(spectrum)
        labels, pixels = spectrum.labels, len(spectrum)
        if not spectrum.id.isdigit():
            raise ArgumentError(f"a LAMOST file needs a whole number as id, got {spectrum.id!r}")
        header = fits.Header(
            {"TELESCOP": "LAMOST", "ORIGIN": "NAOC-LAMOST", "OBSID": int(spectrum.id), "OBJTYPE": "Star"}
            | {"VACUUM": True, "COEFF0": coeff0, "COEFF1": coeff1}
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
            columns = [fits.Column(n, f"{pixels}E", array=a[None]) for n, a in zip(_VECTORS, rows, strict=True)]
            hdus = [fits.PrimaryHDU(header=header), fits.BinTableHDU.from_columns(columns, name="COADD")]
        else:
            raise ArgumentError(f"layout must be 'table' or 'image', got {layout!r}")
        fits.HDUList(hdus).writeto(path, overwrite=True)

    def simulated_id(self, number: int) -> str:
        """The OBSID, counted from 1."""
        return f"{number + 1}"

    def downloads(self, table: Columns, release: str | None, token: str | None) -> dict[str, Callable[[], bytes]]:
        """Fetch files by OBSID with the user's token, by default from release dr10/v2.0."""
        if "OBSID" not in table:
            raise DownloadError(f"downloads from LAMOST need the column OBSID; the table has {table}")
        token = token or os.environ.get("LAMOST_TOKEN", "")
        if not token:
            raise ArgumentError(
                "downloads from LAMOST need --token, or LAMOST_TOKEN in the environment: see your account there"
            )
        address = f"{ARCHIVE}/{release or _RELEASE}/spectrum/fits/{{}}?token={token}"
        obsids = whole_numbers(table["OBSID"], "OBSID").tolist()
        return {f"{obsid}.fits": partial(fetch, address.format(obsid)) for obsid in obsids}


def _is_marked(header: Mapping[str, Any]) -> bool:
    """Tell whether a header says that the file is of LAMOST."""
    return any("LAMOST" in str(header.get(card, "")).upper() for card in ("TELESCOP", "ORIGIN", "DATA_V"))


def _wavelength(third: np.ndarray, header: Mapping[str, Any]) -> np.ndarray:
    """The wavelengths: the third row, or the log-linear grid of the header that it is rounded from.

    The third row of DR1 holds no wavelengths, and the header's grid is used. Wavelengths that differ from the grid by
    more than rounding, as those that were shifted to the rest frame, are used as they are.

    Raises
    ------
    LayoutError
        When the wavelengths are no axis, or there are none.
    """
    third = third.astype(np.float64)
    found = coefficients(header)
    if found is not None:
        grid = log_grid(*found, len(third))
        rounding = _ROUNDING * np.log(10.0) * found[1]
        if _is_rounded(third, grid, rounding):
            return grid
        if _is_rounded(third, grid[::-1], rounding):
            return grid[::-1]
    steps = np.diff(third)
    axis = len(third) > 1 and bool((third > 0).all() and ((steps > 0).all() or (steps < 0).all()))
    if found is not None and not axis:
        if _was_axis(third):
            raise LayoutError("its wavelengths do not increase throughout, or are missing in some pixels")
        return grid
    if not axis:
        raise LayoutError("it has neither COEFF0 and COEFF1 nor a row of wavelengths")
    first, last = sorted((third[0], third[-1]))
    if not _FIRST < first < last < _LAST:
        raise LayoutError(f"its wavelengths run from {first:g} to {last:g}, which cannot be Angstrom")
    return third


def _is_rounded(third: np.ndarray, grid: np.ndarray, rounding: float) -> bool:
    """Tell whether wavelengths, in any of the units, differ from a grid by no more than a fraction `rounding`."""
    return any(bool(np.abs(unit * third / grid - 1.0).max(initial=0.0) <= rounding) for unit in _UNITS)


def _was_axis(third: np.ndarray) -> bool:
    """Tell whether a row that is no axis was one before pixels were lost, as most of its steps have one direction."""
    steps = np.diff(third[np.isfinite(third) & (third > 0)])
    return len(steps) > len(third) // 2 and max((steps > 0).mean(), (steps < 0).mean()) > _MOST


SURVEY = Lamost()
