"""DESI: coadd files of many objects, with redshifts from the redrock file in the same folder; redshift catalogues."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from spectromer.errors import LayoutError
from spectromer.spectra import Spectrum
from spectromer.surveys.common import build
from spectromer.surveys.survey import Part, Survey

__all__ = ["SURVEY"]

_ARMS = ("B", "R", "Z")
_STEP = 0.8  # Angstrom; the three arms share one linear grid
_CLASSES = ("GALAXY", "QSO", "STAR")
_TARGET_COLUMNS = ("TARGETID", "TARGET_RA", "TARGET_DEC", "OBJTYPE")
_REDSHIFT_COLUMNS = ("TARGETID", "SPECTYPE", "SUBTYPE", "Z", "ZERR", "ZWARN")


class Desi(Survey):
    """The Dark Energy Spectroscopic Instrument."""

    name = "DESI"
    layouts = "DESI coadd"
    identities = ((Part(("TARGETID",)),),)
    label_columns: Mapping[str, tuple[str, ...]] = {
        "class": ("SPECTYPE", "CLASS"),
        "subclass": ("SUBTYPE", "SUBCLASS"),
        "z": ("Z",),
        "z_err": ("ZERR", "Z_ERR"),
        "zwarning": ("ZWARN", "ZWARNING"),
        "ra": ("TARGET_RA", "RA"),
        "dec": ("TARGET_DEC", "DEC"),
        **{name: (name.upper(),) for name in ("teff", "teff_err", "logg", "logg_err", "feh", "feh_err")},
    }
    multimodal_mark = "ZWARN"

    def read_many(self, hdus: fits.HDUList, path: Path) -> list[Spectrum] | None:
        """The spectra of a coadd file. A table of redshifts without spectra is refused."""
        names = {hdu.name for hdu in hdus}
        if {"FIBERMAP", *(f"{arm}_{part}" for arm in _ARMS for part in ("WAVELENGTH", "FLUX", "IVAR"))} <= names:
            return list(self._coadd(hdus, path))
        if "REDSHIFTS" in names:
            raise LayoutError("a redrock table of redshifts, read with the coadd file that it belongs to")
        return None

    def _coadd(self, hdus: fits.HDUList, path: Path) -> Iterator[Spectrum]:
        """The spectra of a coadd file, one after the other.

        Where two arms overlap, their pixels are averaged with inverse-variance weights, as in desispec's coadd_cameras.
        Labels come from the file's FIBERMAP and, if it exists, from the redrock file of the same name.
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
            if str(target.get("OBJTYPE", "")).strip() == "SKY":
                labels["sourcetype"] = "SKY"
            yield build(flux[i], weight[i], wavelength, False, self.name, name, labels)

    def _redshifts(self, path: Path) -> dict[str, dict[str, Any]]:
        """The labels of each target in the redrock file that belongs to a coadd file; empty if there is none."""
        beside = path.with_name(path.name.replace("coadd", "redrock", 1))
        if beside == path or not beside.is_file():
            return {}
        with fits.open(beside, memmap=False) as hdus:
            rows = _rows(hdus["REDSHIFTS"].data, _REDSHIFT_COLUMNS)
            found = {self.identity(row): self.labels(row) for row in rows}
        for labels in found.values():
            if str(labels.get("class")).strip() not in _CLASSES:
                labels["class"] = ""
        return found


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
    names = [name for name in columns if name in table.names]
    for row in table:
        yield {name: row[name] for name in names}


SURVEY = Desi()
