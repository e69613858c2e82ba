"""SDSS, BOSS, eBOSS and SDSS-V `spec-*` files, full and lite, and legacy `spSpec-*` files."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from spectromer.errors import LayoutError
from spectromer.grids import log_grid, survey_grid
from spectromer.spectra import Spectrum
from spectromer.surveys.common import build, coefficients
from spectromer.surveys.fits import Hdu

# Label: the columns it is read from, the first that is there.
LABEL_COLUMNS = {
    "class": ("CLASS",),
    "subclass": ("SUBCLASS",),
    "z": ("Z",),
    "z_err": ("Z_ERR",),
    "zwarning": ("ZWARNING",),
    "sourcetype": ("SOURCETYPE",),
    "ra": ("PLUG_RA", "RACAT", "RA", "FIBER_RA"),
    "dec": ("PLUG_DEC", "DECCAT", "DEC", "FIBER_DEC"),
}
_SPSPEC_CLASSES = {1: "STAR", 2: "GALAXY", 3: "QSO", 4: "QSO", 6: "STAR"}  # SPEC_CLN; 0 unknown, 5 sky


def _wavelength(loglam: np.ndarray, header: Mapping[str, Any]) -> np.ndarray:
    """The survey's log-linear grid that `loglam` (float32) rounds, where it is one; else 10**loglam as it stands."""
    loglam = loglam.astype(np.float64)
    grid = survey_grid(loglam, coefficients(header))
    with np.errstate(over="ignore"):  # what is infinite is refused later
        return 10.0**loglam if grid is None else grid


def read_spec(hdus: Sequence[Hdu]) -> Spectrum | None:
    """A `spec-*` file: one row per pixel in HDU 1, the pipeline's labels in HDU 2."""
    if len(hdus) < 2 or not {"FLUX", "LOGLAM", "IVAR"} <= hdus[1].columns.keys():
        return None
    flux, ivar, loglam = (hdus[1].column(name) for name in ("FLUX", "IVAR", "LOGLAM"))
    if flux.ndim != 1:
        raise LayoutError(f"a spec file has one row per pixel, here FLUX has shape {flux.shape}")
    if not len(flux):
        raise LayoutError("its table of pixels is empty")
    header = hdus[0].header
    row = _FirstRow(hdus[2]) if len(hdus) > 2 and "CLASS" in hdus[2].columns and hdus[2].rows else {}
    labels = {label: next((row[name] for name in names if name in row), None) for label, names in LABEL_COLUMNS.items()}
    wavelength = _wavelength(loglam, header)
    air = header.get("VACUUM") is False
    return build(flux, ivar, wavelength, air, "SDSS", _identity(row, header), labels)


class _FirstRow(Mapping[str, Any]):
    """The first row of a table, by upper-case column names; each value is read when it is asked for."""

    def __init__(self, table: Hdu) -> None:
        self._table = table

    def __getitem__(self, name: str) -> Any:
        if name not in self._table.columns:
            raise KeyError(name)
        value = self._table.column(name)[0]
        return value.decode("ascii", "replace") if isinstance(value, bytes) else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._table.columns)

    def __len__(self) -> int:
        return len(self._table.columns)


def _identity(row: Mapping[str, Any], header: Mapping[str, Any]) -> str:
    """Plate (or field), MJD and fibre (or catalogue id), as in the file names of the survey."""

    def find(*names: str) -> str | None:
        for source in (row, header):
            for name in names:
                value = source.get(name)
                if value is not None and str(value).strip() not in ("", "-999"):
                    return str(value).strip()
        return None

    plate, mjd = find("PLATE", "PLATEID", "FIELD"), find("MJD")
    fibre = find("FIBERID") or find("CATALOGID") or find("SPECOBJID")
    if plate is None or mjd is None or fibre is None:
        return find("SPECOBJID") or ""
    return f"{plate.zfill(4)}-{mjd}-{fibre.zfill(4)}"


def read_spspec(hdus: Sequence[Hdu]) -> Spectrum | None:
    """A legacy `spSpec-*` file: an image whose rows are flux, continuum-subtracted flux, error, mask."""
    header = hdus[0].header
    if header.get("NAXIS") != 2 or not ("SPEC_CLN" in header or "ERROR" in str(header.get("ARRAY3", "")).upper()):
        return None
    found = coefficients(header)
    if found is None:
        raise LayoutError("an spSpec file without COEFF0 and COEFF1 has no wavelengths")
    flux, _, error = hdus[0].image()[:3].astype(np.float64)
    ivar = np.where(error > 0, 1.0 / np.where(error > 0, error, 1.0) ** 2, 0.0)
    labels = {
        "class": _SPSPEC_CLASSES.get(header.get("SPEC_CLN", 0), ""),
        "sourcetype": "SKY" if header.get("SPEC_CLN") == 5 else "",
        "z": header.get("Z"),
        "z_err": header.get("Z_ERR"),
        "zwarning": header.get("Z_WARNIN"),
        "ra": header.get("RAOBJ"),
        "dec": header.get("DECOBJ"),
    }
    wavelength = log_grid(*found, flux.shape[0])
    air = header.get("VACUUM") is False
    return build(flux, ivar, wavelength, air, "SDSS", _identity({}, header), labels)
