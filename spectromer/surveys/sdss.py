"""SDSS, BOSS, eBOSS and SDSS-V: `spec-*` files (full and lite), `spSpec-*` files, specObj and spAll catalogues."""

import importlib.util
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from spectromer.errors import ArgumentError, DependencyError, DownloadError, LayoutError
from spectromer.grids import log_grid, survey_grid
from spectromer.labels import is_sky
from spectromer.spectra import Spectrum
from spectromer.surveys.common import build, coefficients, grid_to_write, in_air
from spectromer.surveys.fetching import fetch
from spectromer.surveys.fits import Hdu
from spectromer.surveys.sdss_labels import FIT, SPSPEC_CLASSES, SPSPEC_SKY, TARGET_TYPES, adapted_labels, spspec_warning
from spectromer.surveys.sdss_other import refuse_other
from spectromer.surveys.survey import DOWNLOAD_TIMEOUT, Part, Survey
from spectromer.surveys.tables import Columns, text

__all__ = ["SURVEY"]

_IN_FILES = ("class", "subclass", "z", "z_err", "zwarning", "sourcetype", "ra", "dec")
_MASKS = {"AND_MASK", "OR_MASK"}  # columns that only SDSS has
_ROUNDING = 0.005  # pixels; the largest rounding error of a loglam in single precision is half of this

# SDSS-V has fields instead of plates, and names a target by its catalogue number instead of by its fibre.
_PLATE, _FIELD, _MJD = Part(("PLATE", "PLATEID"), digits=4), Part(("FIELD",), digits=4), Part(("MJD",))
_PLATE_OR_FIELD = Part(_PLATE.spellings + _FIELD.spellings, digits=4)
_FIBRE, _CATALOG_ID = Part(("FIBERID", "FIBER_ID"), digits=4), Part(("CATALOGID",), digits=4)
_SPECTRUM_ID = Part(("SPECOBJID", "SPEC_OBJ_ID"))
_CATALOG_DIGITS = 11  # digits of the catalogue number in the archive's file names
# astroquery finds the files of fields only as of this data release and this major version of the reductions.
_FIELD_RELEASE, _FIELD_VERSION = 18, 6
_PLATE_RELEASE = 17


class Sdss(Survey):
    """The Sloan Digital Sky Survey."""

    name = "SDSS"
    layouts = "SDSS spec and spSpec"
    identities = (
        (_PLATE_OR_FIELD, _MJD, _FIBRE),
        (_PLATE_OR_FIELD, _MJD, _CATALOG_ID),
        (_PLATE_OR_FIELD, _MJD, _SPECTRUM_ID),
        (_SPECTRUM_ID,),
    )
    label_columns: Mapping[str, tuple[str, ...]] = {
        **FIT,
        "sourcetype": ("SOURCETYPE",),
        "ra": ("PLUG_RA", "RACAT", "RA", "FIBER_RA"),
        "dec": ("PLUG_DEC", "DECCAT", "DEC", "FIBER_DEC"),
        "teff": ("TEFF_ADOP", "TEFFADOP", "TEFF"),
        "teff_err": ("TEFF_ADOP_UNC", "TEFFADOPUNC", "TEFF_ERR"),
        "logg": ("LOGG_ADOP", "LOGGADOP", "LOGG"),
        "logg_err": ("LOGG_ADOP_UNC", "LOGGADOPUNC", "LOGG_ERR"),
        "feh": ("FEH_ADOP", "FEHADOP", "FEH"),
        "feh_err": ("FEH_ADOP_UNC", "FEHADOPUNC", "FEH_ERR"),
    }
    multimodal_mark = "ZWARNING"
    download_columns = "PLATE, MJD, FIBERID, RUN2D or FIELD, MJD, CATALOGID, RUN2D"

    def read(self, hdus: Sequence[Hdu]) -> Spectrum | None:
        """The spectrum of a `spec-*` or `spSpec-*` file. Other files of the survey are refused."""
        header = hdus[0].header
        columns = next((hdu.columns for hdu in hdus[1:2]), {})
        if {"FLUX", "LOGLAM", "IVAR"} <= columns.keys() and (
            _is_marked(header) or columns.keys() >= _MASKS or _is_fit(hdus[2:3])
        ):
            return self._read_spec(hdus)
        if header.get("NAXIS") == 2 and ("SPEC_CLN" in header or "ERROR" in str(header.get("ARRAY3", "")).upper()):
            return self._read_spspec(hdus[0])
        refuse_other(hdus)
        return None

    def _read_spec(self, hdus: Sequence[Hdu]) -> Spectrum:
        """Read a `spec-*` file, which has one row per pixel in HDU 1 and the pipeline's labels in HDU 2."""
        flux, ivar, loglam = (hdus[1].column(name) for name in ("FLUX", "IVAR", "LOGLAM"))
        if flux.ndim != 1:
            raise LayoutError(f"a spec file has one row per pixel, here FLUX has shape {flux.shape}")
        if not len(flux):
            raise LayoutError("its table of pixels is empty")
        header = hdus[0].header
        row: Mapping[str, Any] = next((_FirstRow(hdu) for hdu in hdus[2:3] if "CLASS" in hdu.columns and hdu.rows), {})
        labels = self.labels(row, _IN_FILES)
        if any(is_sky(str(row.get(name, "")).strip()) for name in TARGET_TYPES):
            labels["sourcetype"] = "SKY"
        name, wavelength = self.identity(row, header), _wavelength(loglam, header)
        return build(flux, ivar, wavelength, in_air(header), self.name, name, labels)

    def _read_spspec(self, hdu: Hdu) -> Spectrum:
        """Read a legacy `spSpec-*` image, whose rows are flux, continuum-subtracted flux, error and mask."""
        header = hdu.header
        found = coefficients(header)
        if found is None:
            raise LayoutError("an spSpec file without COEFF0 and COEFF1 has no wavelengths")
        flux, _, error = hdu.image()[:3].astype(np.float64)
        ivar = np.where(error > 0, 1.0 / np.where(error > 0, error, 1.0) ** 2, 0.0)
        labels = {
            "class": SPSPEC_CLASSES.get(header.get("SPEC_CLN", 0), ""),
            "sourcetype": "SKY" if header.get("SPEC_CLN") == SPSPEC_SKY else "",
            "z": header.get("Z"),
            "z_err": header.get("Z_ERR"),
            "zwarning": spspec_warning(header),
            "ra": header.get("RAOBJ"),
            "dec": header.get("DECOBJ"),
        }
        wavelength = log_grid(*found, flux.shape[0])
        return build(flux, ivar, wavelength, in_air(header), self.name, self.identity(header), labels)

    def catalog_labels(self, table: Columns) -> dict[str, np.ndarray]:
        """The labels of all rows.

        Targets selected as galaxies have those of the *_NOQSO columns. Catalogues of quasars have the class QSO.
        """
        return adapted_labels(table, super().catalog_labels(table))

    def identity_column(self, table: Columns) -> np.ndarray | None:
        """The identities of all rows. Beside CAMCOL, FIELD is a field of the imaging survey, none of SDSS-V."""
        return super().identity_column(table.without("FIELD") if "CAMCOL" in table else table)

    def file_name(self, identity: str) -> str:
        """The file name `spec-PLATE-MJD-FIBRE.fits`."""
        return f"spec-{identity}.fits"

    def write(self, spectrum: Spectrum, path: Path) -> None:
        """Write a `spec-*` lite file with the tables COADD and SPECOBJ."""
        coeff0, coeff1 = grid_to_write(spectrum)
        labels, pixels = spectrum.labels, len(spectrum)
        try:
            plate, mjd, fibre = (int(part) for part in spectrum.id.split("-"))
        except ValueError as error:
            raise ArgumentError(f"a spec file needs an id of plate, MJD and fibre, got {spectrum.id!r}") from error
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

    def simulated_id(self, number: int) -> str:
        """The identity of a simulated spectrum, with a thousand spectra per plate, from plate 1000 on."""
        return f"{1000 + number // 1000:04d}-55000-{number % 1000 + 1:04d}"

    def downloads(self, table: Columns, release: str | None, token: str | None) -> dict[str, Callable[[], bytes]]:
        """Fetch files of plates (by default from data release 17) or of SDSS-V's fields (by default from 18)."""
        plates = [part.column(table) for part in (_PLATE, _MJD, _FIBRE)]
        fields = [part.column(table) for part in (_FIELD, _MJD, _CATALOG_ID)]
        of_fields = any(column is None for column in plates)
        columns = fields if of_fields else plates
        if "RUN2D" not in table or any(column is None for column in columns):
            raise DownloadError(f"downloads from SDSS need the columns {self.download_columns}; the table has {table}")
        if importlib.util.find_spec("astroquery") is None:
            raise DependencyError("downloads from SDSS need astroquery: pip install 'spectromer[download]'")
        number = _release_number(release, _FIELD_RELEASE if of_fields else _PLATE_RELEASE)
        names = ("fieldID", "mjd", "catalogID", "run2d") if of_fields else ("plate", "mjd", "fiberID", "run2d")
        numbers = [np.asarray(column).astype(np.int64).tolist() for column in columns]
        found: dict[str, Callable[[], bytes]] = {}
        for plate, mjd, fibre, run2d in zip(*numbers, text(table["RUN2D"]).tolist(), strict=True):
            if of_fields:
                _check_field(number, run2d)
            row = dict(zip(names, (plate, mjd, fibre, run2d), strict=True))
            name = f"spec-{plate:04d}-{mjd}-{fibre:0{_CATALOG_DIGITS if of_fields else 4}d}.fits"
            found[name] = partial(_fetch, row, number)
        return found


def _is_marked(header: Mapping[str, Any]) -> bool:
    """Tell whether a header says that the file is of SDSS."""
    return "SDSS" in str(header.get("TELESCOP", "")).upper() or "PLATEID" in header


def _is_fit(hdus: Sequence[Hdu]) -> bool:
    """Tell whether an HDU is the pipeline's fit, as in the second table of a spec file."""
    return any({"CLASS", "Z", "ZWARNING"} <= hdu.columns.keys() for hdu in hdus)


def _wavelength(loglam: np.ndarray, header: Mapping[str, Any]) -> np.ndarray:
    """The log-linear grid of the survey that `loglam` (float32) is rounded from, if it is one; otherwise 10**loglam."""
    loglam = loglam.astype(np.float64)
    grid = survey_grid(loglam, coefficients(header), _ROUNDING)
    with np.errstate(over="ignore"):  # infinite wavelengths are refused later
        return 10.0**loglam if grid is None else grid


class _FirstRow(Mapping[str, Any]):
    """The first row of a table, by upper-case column names. Each value is read on access."""

    def __init__(self, table: Hdu) -> None:
        self._table = table

    def __getitem__(self, name: str) -> Any:
        if name not in self._table.columns:
            raise KeyError(name)
        value = self._table.column(name)[0]
        if isinstance(value, bytes):
            return value.decode("ascii", "replace")
        if isinstance(value, np.integer):
            number = list(self._table.columns).index(name) + 1
            if self._table.header.get(f"TNULL{number}") == value:
                raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._table.columns)

    def __len__(self) -> int:
        return len(self._table.columns)


def _release_number(release: str | None, default: int) -> int:
    if release is not None and not release.isdigit():
        raise ArgumentError(f"--release must be the number of an SDSS data release, got {release!r}")
    return default if release is None else int(release)


def _check_field(release: int, run2d: str) -> None:
    """Refuse a spectrum of a field that astroquery cannot find in the archive."""
    version = re.match(r"v(\d+)", run2d)
    if release < _FIELD_RELEASE or version is None or int(version[1]) < _FIELD_VERSION:
        raise DownloadError(
            f"spectra that are named by FIELD and CATALOGID can be downloaded from data release {_FIELD_RELEASE} and "
            f"with RUN2D v{_FIELD_VERSION} on, got release {release} and RUN2D {run2d!r}"
        )


def _fetch(row: Mapping[str, Any], release: int) -> bytes:
    from astropy.table import Table
    from astroquery.sdss import SDSS

    (file,) = SDSS.get_spectra_async(
        matches=Table({name: [value] for name, value in row.items()}),
        data_release=release,
        cache=False,
        show_progress=False,
        timeout=DOWNLOAD_TIMEOUT,
    )
    return fetch(file._target)  # its own methods have no limits


SURVEY = Sdss()
