"""The path to the telescope: interstellar dust and gas, lines of the night sky, and residuals of telluric bands."""

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from spectromer.surveys.simulated.draw import Draw, gauss

__all__ = ["interstellar", "night_sky", "sky_lines", "telluric"]

# Lines of airglow and lamps: vacuum wavelength in A (Hanuschik 2003, A&A 407, 1157), and peak relative to the continuum
# of the dark sky at R = 2000. They are O I 5577, Na D, O I 6300 and 6364, and mercury lamps at 4047, 4358, 5461.
_AIRGLOW = ((4047.7, 0.4), (4359.6, 1.0), (5462.3, 1.5), (5578.9, 40.0), (5893.6, 5.0), (6302.0, 10.0), (6365.5, 4.0))
# Heads of the OH Meinel bands in vacuum A, and the peaks of their strongest lines (Osterbrock et al. 1996, PASP 108,
# 277), from the band 9-3 to beyond 3-0.
_MEINEL = (
    (6257.0, 1.0),
    (6498.0, 1.5),
    (6861.0, 3.0),
    (7276.0, 6.0),
    (7521.0, 3.0),
    (7716.0, 13.0),
    (7912.0, 15.0),
    (8342.0, 21.0),
    (8760.0, 25.0),
    (9376.0, 22.0),
    (9788.0, 20.0),
    (10083.0, 10.0),
)
# Lines of a Meinel band: distance from its head as a fraction of the head's wavelength, and relative height. The Q
# branch comes first, then P1 and P2 of N = 2 to 7, which are spaced by the rotational constant of OH, about 17 to 20
# cm-1 (Herzberg 1950).
_BRANCH = (
    (0.0000, 0.9),
    (0.0033, 0.5),
    (0.0047, 1.0),
    (0.0075, 0.9),
    (0.0103, 0.7),
    (0.0135, 0.5),
    (0.0168, 0.5),
    (0.0205, 0.4),
)
# Telluric bands: first and last vacuum wavelength in A, and relative depth. They are the B and A bands of O2, and water
# (Stevenson 1994, MNRAS 267, 904).
_BANDS = (
    (6869.0, 6945.0, 0.6),
    (7595.0, 7700.0, 1.6),
    (7165.0, 7340.0, 0.4),
    (8130.0, 8350.0, 0.4),
    (8930.0, 9150.0, 0.9),
)
_BANDS_RED = ((9300.0, 9700.0, 1.5),)
# Interstellar lines: vacuum wavelength in A, equivalent width in A per magnitude of E(B-V), and sigma in A. Na D
# saturates (Poznanski et al. 2012, MNRAS 426, 1465); the diffuse bands are those of Friedman et al. 2011 (ApJ 727, 33).
_DIFFUSE = ((4430.1, 2.2, 8.0), (5782.1, 0.48, 1.2), (5798.7, 0.20, 1.0), (6285.6, 1.1, 1.8), (6615.4, 0.21, 1.0))
_SODIUM = ((5891.6, 1.1), (5897.6, 0.8))


@lru_cache(maxsize=4)
def _line_shapes(first: float, last: float, pixels: int) -> tuple[Tensor, Tensor]:
    """Peaks [L] of the sky lines, and their profiles [L, N] on a logarithmic grid."""
    wave = torch.from_numpy(np.geomspace(first, last, pixels)).float()
    lines = list(_AIRGLOW)
    lines += [(head * (1.0 + place), peak * share) for head, peak in _MEINEL for place, share in _BRANCH]
    centres = torch.tensor([c for c, _ in lines])[:, None]
    shapes = gauss(wave, centres, 1.2 + wave / 9000.0)  # R = 1900 in both arms
    return torch.tensor([p for _, p in lines]), shapes


def sky_lines(wave: Tensor) -> tuple[Tensor, Tensor]:
    """Peaks [L] of the sky lines relative to the sky's continuum, and their profiles [L, N] at `wave` [N]."""
    return _line_shapes(float(wave[0]), float(wave[-1]), len(wave))


def night_sky(wave: Tensor, strength: Tensor) -> Tensor:
    """Brightness of the sky [B, N] relative to its continuum at 5500 A, with lines of `strength` [B, 1]."""
    peaks, shapes = sky_lines(wave)
    return 0.8 + 0.2 * (wave / 5500.0) ** 2 + strength * (peaks @ shapes)


def telluric(wave: Tensor, draw: Draw, rows: int, scatter: float) -> Tensor:
    """Residual optical depth [B, N] of telluric bands that were corrected too much or too little."""
    tau = torch.zeros(rows, len(wave))
    for low, high, depth in (*_BANDS, *_BANDS_RED):
        # A band is deepest near its head and fades to the red.
        red = (wave - low) / (high - low)
        shape = torch.sigmoid((wave - low) / 4.0) * torch.exp(-2.0 * red.clamp(min=0.0)) * (red < 2.0)
        tau += draw.normal(rows, 0.0, scatter * depth) * shape
    return tau


def interstellar(wave: Tensor, ebv: Tensor, dust: Tensor) -> Tensor:
    """Optical depth [B, N] of gas for E(B-V) [B, 1], and of dust for the uncorrected reddening `dust` [B, 1].

    The extinction law is A/A_V = (5500/lambda)^1.3 in the optical, within 4 % of Cardelli, Clayton & Mathis (1989, ApJ
    345, 245).
    """
    tau = 0.4 * math.log(10.0) * 3.1 * dust * (5500.0 / wave) ** 1.3
    spread = math.sqrt(2.0 * math.pi)
    gas = torch.zeros_like(wave)
    for centre, width, sigma in _DIFFUSE:
        sigma = math.hypot(sigma, 1.2)
        gas += width / (spread * sigma) * gauss(wave, centre, sigma)
    sodium = torch.zeros_like(wave)
    for centre, width in _SODIUM:
        sodium += width / (spread * 1.3) * gauss(wave, centre, 1.3)
    return tau + ebv * gas + (1.0 - torch.exp(-3.0 * ebv)) * sodium
