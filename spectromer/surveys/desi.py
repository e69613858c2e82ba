"""DESI: coadd files of many objects, with redshifts from the redrock file in the same folder; redshift catalogues."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from spectromer.errors import LayoutError
from spectromer.labels import CLASSES, PARAMETERS
from spectromer.spectra import Spectrum
from spectromer.surveys.common import build
from spectromer.surveys.content import open_content
from spectromer.surveys.fits import open_by_astropy
from spectromer.surveys.survey import REDSHIFT, Part, Survey
from spectromer.surveys.tables import Columns, flags, numbers, text

__all__ = ["SURVEY"]

_ARMS = ("B", "R", "Z")
_STEP = 0.8  # Angstrom; the three arms share one linear grid
_REDSHIFT_TABLES = ("REDSHIFTS", "ZBEST")
# Not 0 for a fibre that is known to be bad. The first one found counts, as that of a coadd leaves bad exposures out.
_STATUS = ("COADD_FIBERSTATUS", "FIBERSTATUS")
_TARGET, _SKY = _OBJECT_TYPES = ("TGT", "SKY")  # values of OBJTYPE; other fibres are not placed on a target
_PARAMETER_FLAGS = {"RVS_WARN": 0, "SUCCESS": 1}  # their values where the stellar parameters are reliable
_BAD_TARGET, _POOR_DATA = 1 << 8, 1 << 11  # bits of ZWARN
_TARGET_COLUMNS = ("TARGETID", "TARGET_RA", "TARGET_DEC", "OBJTYPE", *_STATUS)
_REDSHIFT_COLUMNS = ("TARGETID", "SPECTYPE", "SUBTYPE", "Z", "ZERR", "ZWARN")


class Desi(Survey):
    """The Dark Energy Spectroscopic Instrument."""

    name = "DESI"
    layouts = "DESI coadd"
    identities = ((Part(("TARGETID",)),),)
    label_columns: Mapping[str, tuple[str, ...]] = {
        "class": ("SPECTYPE", "CLASS"),
        "subclass": ("SUBTYPE", "SUBCLASS"),
        "z": REDSHIFT,
        "z_err": ("ZERR", "Z_ERR"),
        "zwarning": ("ZWARN", "ZWARNING"),
        "ra": ("TARGET_RA", "RA"),
        "dec": ("TARGET_DEC", "DEC"),
        **{name: (name.upper(),) for name in PARAMETERS},
    }
    multimodal_mark = "ZWARN"
    multimodal_warning = False  # its dataset has ZWARN = not bool(flag)

    def catalog_labels(self, table: Columns) -> dict[str, np.ndarray]:
        """The labels of all rows.

        A fibre that is bad or not placed on its target counts as a warning. Stellar parameters of a fit that failed are
        missing.
        """
        labels = super().catalog_labels(table)
        column = next((name for name in _STATUS if name in table), None)
        status = np.zeros(1) if column is None else np.nan_to_num(np.ma.filled(numbers(table[column]), 0))
        kinds = np.char.upper(text(table["OBJTYPE"])) if "OBJTYPE" in table else np.array([_TARGET])
        warning = np.where(status != 0, _POOR_DATA, 0) | np.where(np.isin(kinds, _OBJECT_TYPES), 0, _BAD_TARGET)
        if warning.any():
            labels["zwarning"] = np.where(warning > 0, warning, np.ma.filled(labels.get("zwarning", 0), 0))
        failed = [flags(table[name]) != good for name, good in _PARAMETER_FLAGS.items() if name in table]
        for label in PARAMETERS:
            if label in labels and failed:
                labels[label] = np.ma.masked_array(labels[label], np.any(failed, axis=0))
        if "OBJTYPE" in table:
            labels["sourcetype"] = np.where(kinds == _SKY, _SKY, "")
        return labels

    def preferred(self, table: Columns) -> np.ndarray | None:
        """The rows of the best redshift of each target, which ZCAT_PRIMARY marks."""
        return flags(table["ZCAT_PRIMARY"]) == 1 if "ZCAT_PRIMARY" in table else None

    def read_many(self, hdus: fits.HDUList, path: Path) -> list[Spectrum | LayoutError] | None:
        """The spectra of a coadd file. A table of redshifts without spectra is refused."""
        names = {hdu.name for hdu in hdus}
        if {"FIBERMAP", *(f"{arm}_{part}" for arm in _ARMS for part in ("WAVELENGTH", "FLUX", "IVAR"))} <= names:
            return list(self._coadd(hdus, path))
        if not names.isdisjoint(_REDSHIFT_TABLES):
            raise LayoutError("a redrock table of redshifts, read with the coadd file that it belongs to")
        return None

    def _coadd(self, hdus: fits.HDUList, path: Path) -> Iterator[Spectrum | LayoutError]:
        """The spectra of a coadd file, one after the other.

        Where two arms overlap, their pixels are averaged with inverse-variance weights, as in desispec's coadd_cameras.
        Labels come from the file's FIBERMAP and, if it exists, from the redrock or zbest file of the same name. A fibre
        that is bad or not placed on its target counts as a warning about the redshift.
        """
        wavelength, place = _grid([np.asarray(hdus[f"{arm}_WAVELENGTH"].data, np.float64) for arm in _ARMS])
        targets = hdus["FIBERMAP"].data
        shape = (len(targets), len(wavelength))
        weight, total = np.zeros(shape), np.zeros(shape)
        for arm, pixels in zip(_ARMS, place, strict=True):
            flux, ivar = (np.asarray(hdus[f"{arm}_{part}"].data, np.float64) for part in ("FLUX", "IVAR"))
            if flux.shape != ivar.shape or flux.shape != (shape[0], len(pixels)):
                raise LayoutError(f"its arm {arm} has flux {flux.shape} and ivar {ivar.shape} for {shape[0]} targets")
            good = np.isfinite(flux) & (ivar > 0) & np.isfinite(ivar)
            if f"{arm}_MASK" in hdus:
                good &= hdus[f"{arm}_MASK"].data == 0
            weight[:, pixels] += np.where(good, ivar, 0.0)
            total[:, pixels] += np.where(good, ivar * flux, 0.0)
        flux = total / np.where(weight > 0, weight, 1.0)
        redshifts = self._redshifts(path)
        for i, target in enumerate(_rows(targets, _TARGET_COLUMNS)):
            name = self.identity(target)
            labels = self.labels(target, ("ra", "dec")) | redshifts.get(name, {})
            kind = str(target.get("OBJTYPE", _TARGET)).strip()
            if kind == _SKY:
                labels["sourcetype"] = _SKY
            status = next((target[name] for name in _STATUS if name in target), 0)
            warning = (_POOR_DATA if status else 0) | (0 if kind in _OBJECT_TYPES else _BAD_TARGET)
            if warning:
                labels["zwarning"] = warning
            try:
                yield build(flux[i], weight[i], wavelength, False, self.name, name, labels)
            except LayoutError as error:
                yield LayoutError(f"target {name}: {error}")

    def _redshifts(self, path: Path) -> dict[str, dict[str, Any]]:
        """The labels of each target in the redrock or zbest file that belongs to a coadd file; empty if there is none.

        Raises
        ------
        LayoutError
            When that file has no table of redshifts.
        """
        name = path.name.removesuffix(".gz")
        names = [name.replace("coadd", kind, 1) + ending for kind in ("redrock", "zbest") for ending in ("", ".gz")]
        beside = next((found for other in names if (found := path.with_name(other)).is_file()), None)
        if "coadd" not in name or beside is None:
            return {}
        with open_by_astropy(open_content(beside), beside) as hdus:
            table = next((hdus[kind].data for kind in _REDSHIFT_TABLES if kind in hdus), None)
            if table is None:
                raise LayoutError(f"{beside.name}, which belongs to it, has no table {' or '.join(_REDSHIFT_TABLES)}")
            redshifts = {self.identity(row): self.labels(row) for row in _rows(table, _REDSHIFT_COLUMNS)}
        for labels in redshifts.values():
            if str(labels.get("class")).strip() not in CLASSES:
                labels["class"] = ""
        return redshifts


def _grid(arms: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    """The grid that covers all arms, and the indices of each arm's pixels on it."""
    if not all(arm.ndim == 1 and len(arm) and np.isfinite(arm).all() for arm in arms):
        raise LayoutError("its arms have wavelengths that are not finite")
    first, last = min(float(arm.min()) for arm in arms), max(float(arm.max()) for arm in arms)
    if last - first > _STEP * sum(len(arm) for arm in arms):
        raise LayoutError(f"its arms extend from {first:g} to {last:g} Angstrom, further than their pixels do")
    place = [np.rint((arm - first) / _STEP).astype(np.int64) for arm in arms]
    grid = first + _STEP * np.arange(max(pixels[-1] for pixels in place) + 1)
    for arm, pixels in zip(arms, place, strict=True):
        if np.abs(grid[pixels] - arm).max() > 0.01 * _STEP or (np.diff(pixels) != 1).any():
            raise LayoutError(f"its arms do not share a grid of {_STEP} Angstrom")
    return grid, place


def _rows(table: fits.FITS_rec, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of a table, restricted to those of the given columns that it has."""
    names = {name.upper(): name for name in table.names}
    nulls = {name: table.columns[names[name]].null for name in columns if name in names}
    for row in table:
        values = {name: row[names[name]] for name in nulls}
        yield {name: value for name, value in values.items() if nulls[name] is None or value != nulls[name]}


SURVEY = Desi()
