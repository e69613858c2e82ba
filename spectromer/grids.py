"""Logarithmic wavelength grids: SDSS and LAMOST spectra are stretches of one of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

__all__ = ["LogGrid", "common_grid", "log_coefficients", "log_grid", "survey_grid"]

_SAME = 1e-6  # of a pixel: what two grids may differ by and be one
_ROUNDING = 0.05  # of a pixel: what single precision may do to a logarithm of a wavelength
_LONGEST = 1.5  # times the longest spectrum: a longer common grid would be padding for the most part


@lru_cache(maxsize=1)
def _survey_grid() -> np.ndarray:
    """Wavelengths at log10 = 0, 1e-4, 2e-4, ... up to 4.5, the pixels that SDSS and LAMOST share."""
    return 10.0 ** (1e-4 * np.arange(45000))


def log_grid(coeff0: float, coeff1: float, pixels: int, start: int = 0) -> np.ndarray:
    """Wavelengths, Angstrom, of a log-linear axis: 10 ** (coeff0 + coeff1 (start + i)), [pixels] float64.

    On the surveys' own pixels they are equal to the last bit, whatever stretch of them is asked for.
    """
    first = coeff0 / 1e-4 + start
    whole = round(first)
    if coeff1 == 1e-4 and abs(first - whole) < _SAME and whole >= 0 and whole + pixels <= len(_survey_grid()):
        return _survey_grid()[whole : whole + pixels].copy()
    return 10.0 ** (coeff0 + coeff1 * (start + np.arange(pixels)))


def survey_grid(loglam: np.ndarray, coefficients: tuple[float, float] | None = None) -> np.ndarray | None:
    """The log-linear grid, Angstrom, of which `loglam` [N] is a stretch in single precision; None where it is not.

    `coefficients` are COEFF0, of any pixel, and COEFF1; by default those of SDSS and LAMOST.
    """
    coeff0, coeff1 = coefficients or (round(float(loglam[0]), 4), 1e-4)
    start = round((float(loglam[0]) - coeff0) / coeff1)
    off = np.abs(coeff0 + coeff1 * (start + np.arange(len(loglam))) - loglam).max()
    return log_grid(coeff0, coeff1, len(loglam), start) if off < _ROUNDING * coeff1 else None


def log_coefficients(wavelength: np.ndarray) -> tuple[float, float] | None:
    """COEFF0 and COEFF1 of a log-linear grid [N], in as few digits as will do; None for any other grid."""
    if len(wavelength) < 2 or not wavelength[-1] > wavelength[0] > 0:
        return None
    first, last = np.log10(wavelength[[0, -1]])
    step = (last - first) / (len(wavelength) - 1)
    for coeff0, coeff1 in ((round(first, 7), round(step, 9)), (first, step)):
        off = np.abs(wavelength / log_grid(coeff0, coeff1, len(wavelength)) - 1.0).max()
        if coeff1 > 0 and off <= _SAME * coeff1 * np.log(10.0):
            return float(coeff0), float(coeff1)
    return None


@dataclass(frozen=True)
class LogGrid:
    """A log-linear grid that several spectra are stretches of."""

    coeff0: float
    coeff1: float
    pixels: int

    @property
    def wavelength(self) -> np.ndarray:
        """Angstrom, [pixels] float64."""
        return log_grid(self.coeff0, self.coeff1, self.pixels)

    def starts(self, coeff0: np.ndarray) -> np.ndarray:
        """Where stretches that begin at `coeff0` lie on the grid, int64."""
        return np.rint((np.asarray(coeff0) - self.coeff0) / self.coeff1).astype(np.int64)


def common_grid(coeff0: Sequence[float], coeff1: Sequence[float], pixels: Sequence[int]) -> LogGrid | None:
    """The grid of which all stretches with these coefficients and lengths are part.

    None where there is none, or it is much longer than the longest of them.
    """
    first, step, count = np.asarray(coeff0, float), np.asarray(coeff1, float), np.asarray(pixels, np.int64)
    if not len(first) or not np.isfinite(first).all() or not (step == step[0]).all():
        return None
    grid = LogGrid(float(first.min()), float(step[0]), 0)
    offset = (first - grid.coeff0) / grid.coeff1
    if np.abs(offset - np.rint(offset)).max() > _SAME:
        return None
    total = int((grid.starts(first) + count).max())
    return LogGrid(grid.coeff0, grid.coeff1, total) if total <= _LONGEST * int(count.max()) else None
