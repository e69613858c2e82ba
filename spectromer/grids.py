"""Log-linear wavelength grids. The spectra of SDSS and LAMOST share one."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

__all__ = ["C_KMS", "LogGrid", "common_grid", "extended", "log_coefficients", "log_grid", "survey_grid"]

#: Speed of light in km/s, which turns a distance in ln(wavelength) into a velocity.
C_KMS = 299792.458
_TOLERANCE = 1e-6  # largest offset, in pixels, at which two grids count as equal
_MAX_RATIO = 1.5  # largest length of a common grid, in lengths of the longest spectrum; a longer one is mostly padding


@lru_cache(maxsize=1)
def _survey_grid() -> np.ndarray:
    """Wavelengths in Angstrom at loglam = 0, 1e-4, 2e-4, ... up to 4.5, the pixel grid of SDSS and LAMOST."""
    return 10.0 ** (1e-4 * np.arange(45000))


def log_grid(coeff0: float, coeff1: float, pixels: int, start: int = 0) -> np.ndarray:
    """Wavelengths in Angstrom of a log-linear axis, 10 ** (coeff0 + coeff1 (start + i)), [pixels] float64.

    On the pixel grid of SDSS and LAMOST, overlapping axes agree to the last bit.
    """
    first = coeff0 / 1e-4 + start
    whole = round(first)
    if coeff1 == 1e-4 and abs(first - whole) < _TOLERANCE and whole >= 0 and whole + pixels <= len(_survey_grid()):
        return _survey_grid()[whole : whole + pixels].copy()
    return 10.0 ** (coeff0 + coeff1 * (start + np.arange(pixels)))


def survey_grid(
    loglam: np.ndarray, coefficients: tuple[float, float] | None = None, rounding: float = 0.05
) -> np.ndarray | None:
    """Recover the log-linear grid of a `loglam` [N] that was stored in single precision.

    Parameters
    ----------
    loglam : ndarray [N]
        log10 of the wavelength in Angstrom.
    coefficients : (float, float), optional
        COEFF0, which may belong to any pixel of the grid, and COEFF1. The default is the grid of SDSS and LAMOST.
    rounding : float
        The largest difference between `loglam` and the grid, in pixels.

    Returns
    -------
    ndarray [N] float64, optional
        Wavelengths in Angstrom, or None if `loglam` does not lie on such a grid.
    """
    coeff0, coeff1 = coefficients or (round(float(loglam[0]), 4), 1e-4)
    start = round((float(loglam[0]) - coeff0) / coeff1)
    error = np.abs(coeff0 + coeff1 * np.arange(start, start + len(loglam)) - loglam).max()
    return log_grid(coeff0, coeff1, len(loglam), start) if error < rounding * coeff1 else None


def extended(wavelength: np.ndarray, pixels: int) -> np.ndarray:
    """Extend wavelengths [N] to `pixels` by equal steps, as padding that `spectromer.resample` does not see.

    The step is the last one, unless that leads across a gap to a single pixel: the padding must not fill the gap.
    """
    steps = np.diff(wavelength[-3:]).tolist() or [1.0]
    step = steps[-1] if len(steps) < 2 or steps[-1] <= 2.0 * steps[-2] else steps[-2]
    end = wavelength[-1] if len(wavelength) else 0.0
    return np.concatenate([wavelength, end + step * np.arange(1, pixels - len(wavelength) + 1)])


def log_coefficients(wavelength: np.ndarray) -> tuple[float, float] | None:
    """Return COEFF0 and COEFF1 of a log-linear grid [N], rounded if that is exact enough; None for any other grid."""
    if len(wavelength) < 2 or not wavelength[-1] > wavelength[0] > 0:
        return None
    first, last = np.log10(wavelength[[0, -1]])
    step = (last - first) / (len(wavelength) - 1)
    for coeff0, coeff1 in ((round(first, 7), round(step, 9)), (first, step)):
        error = np.abs(wavelength / log_grid(coeff0, coeff1, len(wavelength)) - 1.0).max()
        if coeff1 > 0 and error <= _TOLERANCE * coeff1 * np.log(10.0):
            return float(coeff0), float(coeff1)
    return None


@dataclass(frozen=True)
class LogGrid:
    """A log-linear grid that contains the pixels of several spectra.

    Attributes
    ----------
    coeff0 : float
        log10 of the first wavelength in Angstrom.
    coeff1 : float
        Step of log10 of the wavelength.
    pixels : int
        Number of pixels.
    """

    coeff0: float
    coeff1: float
    pixels: int

    @property
    def wavelength(self) -> np.ndarray:
        """Wavelengths in Angstrom, [pixels] float64."""
        return log_grid(self.coeff0, self.coeff1, self.pixels)

    def starts(self, coeff0: np.ndarray) -> np.ndarray:
        """Indices of the grid pixels at which spectra with these `coeff0` begin, int64."""
        return np.rint((np.asarray(coeff0) - self.coeff0) / self.coeff1).astype(np.int64)


def common_grid(coeff0: Sequence[float], coeff1: Sequence[float], pixels: Sequence[int]) -> LogGrid | None:
    """Find the log-linear grid that contains the pixels of all spectra with these coefficients and lengths.

    Returns
    -------
    LogGrid, optional
        None if there is no such grid, or if it is more than 1.5 times as long as the longest spectrum.
    """
    first, step, count = np.asarray(coeff0, float), np.asarray(coeff1, float), np.asarray(pixels, np.int64)
    if not len(first) or not np.isfinite(first).all() or not (step == step[0]).all():
        return None
    grid = LogGrid(float(first.min()), float(step[0]), 0)
    offset = (first - grid.coeff0) / grid.coeff1
    if np.abs(offset - np.rint(offset)).max() > _TOLERANCE:
        return None
    total = int((grid.starts(first) + count).max())
    return LogGrid(grid.coeff0, grid.coeff1, total) if total <= _MAX_RATIO * int(count.max()) else None
