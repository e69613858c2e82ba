"""DESI coadd files, many objects in each, with the redshifts of the redrock table beside them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from spectromer.errors import LayoutError
from spectromer.spectra import Spectrum
from spectromer.surveys.common import build

_ARMS = ("B", "R", "Z")
_STEP = 0.8  # Angstrom; the three arms share one linear grid
_CLASSES = ("GALAXY", "QSO", "STAR")


def is_coadd(hdus: fits.HDUList) -> bool:
    """Whether a file has the coadded spectra of the three arms."""
    names = {hdu.name for hdu in hdus}
    return {"FIBERMAP", *(f"{arm}_{part}" for arm in _ARMS for part in ("WAVELENGTH", "FLUX", "IVAR"))} <= names


def is_redrock(hdus: fits.HDUList) -> bool:
    """Whether a file is a table of redshifts, without spectra."""
    return any(hdu.name == "REDSHIFTS" for hdu in hdus)


def read_coadd(hdus: fits.HDUList, path: Path) -> Iterator[Spectrum]:
    """The objects of a coadd file, one after the other.

    Where two arms overlap, their pixels are averaged by their inverse variances, as desispec's coadd_cameras does.
    Labels come from the file's FIBERMAP and, where there is one, from the redrock file of the same name.
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
    redshifts = _redshifts(path)
    for i, target in enumerate(targets):
        name = str(target["TARGETID"])
        labels = _labels(target, redshifts.get(name))
        yield build(flux[i], weight[i], wavelength, False, "DESI", name, labels)


def _grid(arms: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    """The grid that covers all arms, and where the pixels of each lie on it."""
    first = min(arm[0] for arm in arms)
    place = [np.rint((arm - first) / _STEP).astype(np.int64) for arm in arms]
    grid = first + _STEP * np.arange(max(pixels[-1] for pixels in place) + 1)
    for arm, pixels in zip(arms, place, strict=True):
        if np.abs(grid[pixels] - arm).max() > 0.01 * _STEP or (np.diff(pixels) != 1).any():
            raise LayoutError(f"its arms do not share a grid of {_STEP} Angstrom")
    return grid, place


def _labels(target: Any, found: Mapping[str, Any] | None) -> dict[str, Any]:
    columns = target.array.dtype.names
    labels = {"ra": target["TARGET_RA"], "dec": target["TARGET_DEC"]}
    if "OBJTYPE" in columns and str(target["OBJTYPE"]).strip() == "SKY":
        labels["sourcetype"] = "SKY"
    return labels | dict(found or {})


def _redshifts(path: Path) -> dict[str, dict[str, Any]]:
    """Labels by target of the redrock file that belongs to a coadd file; empty where there is none."""
    beside = path.with_name(path.name.replace("coadd", "redrock", 1))
    if beside == path or not beside.is_file():
        return {}
    with fits.open(beside, memmap=False) as hdus:
        table = hdus["REDSHIFTS"].data
        return {
            str(row["TARGETID"]): {
                "class": row["SPECTYPE"] if str(row["SPECTYPE"]).strip() in _CLASSES else "",
                "subclass": row["SUBTYPE"],
                "z": row["Z"],
                "z_err": row["ZERR"],
                "zwarning": row["ZWARN"],
            }
            for row in table
        }
