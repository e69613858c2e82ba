"""LAMOST medium resolution: `med-*` files with the coadded spectra of two arms, and those of single exposures."""

import re
from collections.abc import Sequence

import numpy as np

from spectromer.errors import LayoutError
from spectromer.grids import survey_grid
from spectromer.surveys.fits import Hdu

__all__ = ["is_medium", "join_arms"]

_ARMS = ("COADD_B", "COADD_R")  # 4950 to 5350 Angstrom, and 6300 to 6800 Angstrom
_EXPOSURE = re.compile(r"[BR]-\d+$")
_FIRST, _LAST = 4000.0, 9000.0  # Angstrom; the limits of valid wavelengths
_STEP = 1e-5  # of loglam, on whole multiples of which the coadded pixels lie
_ROUNDING = 0.05  # pixels; the largest error of loglam in single precision


def is_medium(hdus: Sequence[Hdu]) -> bool:
    """Tell whether a file is one of medium resolution, by the names of its first tables."""
    return any(hdu.name.startswith(_ARMS) or _EXPOSURE.match(hdu.name) for hdu in hdus[1:3])


def join_arms(hdus: Sequence[Hdu]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The coadded spectrum of both arms, or of one if the other has no data.

    Returns
    -------
    flux, ivar, wavelength : ndarray [N]
        In the order of the wavelengths, in Angstrom as in the file. The gap between the arms is bounded by two pixels
        with an ivar of 0; without them, the pixels at its sides would extend to its middle.

    Raises
    ------
    LayoutError
        When the file has no coadded spectrum, or the columns or wavelengths of an arm are not valid.
    """
    coadds = [hdu for hdu in hdus if hdu.name in _ARMS]
    arms = [_arm(hdu) for hdu in coadds if hdu.rows]
    if not arms:
        raise LayoutError("a LAMOST medium-resolution file of single exposures, without a coadded spectrum")
    arms.sort(key=lambda arm: float(arm[2][0]))
    joined = arms[0]
    for arm in arms[1:]:
        joined = _join(joined, arm)
    return joined


def _join(blue: tuple[np.ndarray, ...], red: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two arms in one, with a masked pixel at either side of the gap."""
    left, right = blue[2], red[2]
    after, before = 2.0 * left[-1] - left[-2], 2.0 * right[0] - right[1]
    if after >= before:
        raise LayoutError(
            f"its two arms overlap: one ends at {left[-1]:.1f} Angstrom, the other begins at {right[0]:.1f}"
        )
    between = (np.zeros(2), np.zeros(2), np.array([after, before]))
    flux, ivar, wavelength = (np.concatenate(parts) for parts in zip(blue, between, red, strict=True))
    return flux, ivar, wavelength


def _arm(hdu: Hdu) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flux, ivar and wavelength of an arm, from one row of vectors (from DR8 on) or one row per pixel."""
    name = next((name for name in ("LOGLAM", "WAVELENGTH") if name in hdu.columns), None)
    if name is None or not {"FLUX", "IVAR"} <= hdu.columns.keys():
        raise LayoutError(f"its arm {hdu.name} lacks a column FLUX, IVAR, and LOGLAM or WAVELENGTH")
    columns = [hdu.column(column) for column in ("FLUX", "IVAR", name)]
    vectors = [column[0] if column.ndim == 2 and len(column) == 1 else column for column in columns]
    if (
        any(vector.ndim != 1 for vector in vectors)
        or len({len(vector) for vector in vectors}) > 1
        or len(vectors[0]) < 2
    ):
        shapes = ", ".join(str(column.shape) for column in columns)
        raise LayoutError(
            f"the columns of its arm {hdu.name} must have one row of vectors or one row per pixel, got {shapes}"
        )
    flux, ivar, axis = (vector.astype(np.float64) for vector in vectors)
    if axis[0] > axis[-1]:
        flux, ivar, axis = flux[::-1], ivar[::-1], axis[::-1]
    wavelength = axis
    if name == "LOGLAM":
        grid = (
            survey_grid(axis, (round(float(axis[0]) / _STEP) * _STEP, _STEP), _ROUNDING) if abs(axis[0]) < 9 else None
        )
        with np.errstate(over="ignore"):
            wavelength = 10.0**axis if grid is None else grid
    if not (wavelength[0] > _FIRST and wavelength[-1] < _LAST and (wavelength[1:] > wavelength[:-1]).all()):
        raise LayoutError(
            f"the wavelengths of its arm {hdu.name} do not increase from {_FIRST:.0f} to {_LAST:.0f} Angstrom"
        )
    return flux, ivar, wavelength
