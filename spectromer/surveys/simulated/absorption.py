"""Absorption in front of quasars: the Lyman alpha forest, damped systems, metal absorbers and broad absorption."""

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from spectromer.grids import C_KMS
from spectromer.surveys.simulated.draw import Draw, add_line, broadened

__all__ = ["absorb", "damped_depth", "mean_depth"]

LYMAN_ALPHA, LYMAN_BETA, LYMAN_LIMIT = 1215.67, 1025.72, 911.75
# Lines of metals in systems of low and of high ionisation: vacuum wavelength in A, and equivalent width relative to the
# strongest line of the system (from the oscillator strengths of Morton 2003, ApJS 149, 205).
_LOW = (
    (1302.2, 0.5),
    (1334.5, 0.6),
    (1526.7, 0.4),
    (1608.5, 0.3),
    (1670.8, 0.5),
    (1854.7, 0.25),
    (2344.2, 0.45),
    (2374.5, 0.3),
    (2382.8, 0.6),
    (2586.7, 0.45),
    (2600.2, 0.6),
    (2796.4, 1.0),
    (2803.5, 0.8),
    (2853.0, 0.2),
)
_HIGH = ((1393.8, 0.5), (1402.8, 0.35), (1548.2, 1.0), (1550.8, 0.7), (1238.8, 0.15), (1242.8, 0.1))
# Broad absorption: vacuum wavelength in A, and depth relative to that of C IV (Trump et al. 2006, ApJS 165, 1).
_BROAD = ((1031.9, 0.8), (1215.67, 0.6), (1240.1, 0.9), (1397.0, 0.6), (1549.1, 1.0), (1857.4, 0.15), (2798.8, 0.08))
# Scatter of ln optical depth of the forest per pixel (Bi & Davidsen 1997, ApJ 479, 523, at 70 km/s, rounded).
_SCATTER = 1.2


def mean_depth(z: Tensor) -> Tensor:
    """Effective optical depth of Lyman alpha at the absorber's redshift.

    At z > 2.2 it is equation 5 of Becker et al. (2013, MNRAS 430, 2067). At lower redshifts it is 0.0018 (1 + z)^3.92
    (Faucher-Giguere et al. 2008, ApJ 681, 831). At z = 2.2 the latter is larger by a sixth.
    """
    becker = 0.751 * ((1.0 + z) / 4.5) ** 2.90 - 0.132
    return torch.where(z > 2.2, becker, 0.0018 * (1.0 + z) ** 3.92)


@lru_cache(maxsize=1)
def _median_depths() -> tuple[np.ndarray, np.ndarray]:
    """Effective optical depths, and the medians of the lognormal distributions of depths that have them."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    median = np.geomspace(1e-5, 100.0, 300)
    mean = np.exp(-median[:, None] * np.exp(_SCATTER * nodes)) @ (weights / weights.sum())
    return -np.log(mean), median


def _forest(wave: Tensor, z: Tensor, draw: Draw) -> Tensor:
    """Optical depth [B, N] of Lyman alpha and beta, with the scatter of a lognormal density."""
    tau = torch.zeros_like(wave)
    rows = torch.nonzero(wave[:, 0] < LYMAN_ALPHA * (1.0 + z[:, 0]))[:, 0]
    if not len(rows):
        return tau
    end = int((wave[0] < LYMAN_ALPHA * float(1.0 + z.max())).sum())
    part = wave[rows, :end]
    noise = draw.field(len(rows), end + 2)
    noise = (noise[:, 2:] + 1.5 * noise[:, 1:-1] + noise[:, :-2]) / math.sqrt(4.25)  # correlated over 200 km/s
    for line, share in ((LYMAN_ALPHA, 1.0), (LYMAN_BETA, 0.16)):  # the ratio of f * lambda
        mean = mean_depth((part / line - 1.0).clamp(min=0.0)) * share
        median = torch.from_numpy(np.interp(mean.numpy(), *_median_depths()).astype(np.float32))
        depth = median * torch.exp(_SCATTER * (noise if share == 1.0 else noise.roll(7, 1)))
        tau[rows, :end] += torch.where(part < line * (1.0 + z[rows]), depth, torch.zeros(()))
    return tau


def damped_depth(rest: Tensor, column: Tensor) -> Tensor:
    """Optical depth of damped Lyman alpha for a logarithmic column of hydrogen atoms in cm-2.

    It falls as the inverse square of the distance from the line centre. The equivalent width is 7.3 A at 10^20 cm-2,
    and grows as the square root of the column (Petitjean 1998, astro-ph/9810418).
    """
    scale = (7.3 * 10.0 ** (0.5 * (column - 20.0)) / 2.0) ** 2 / math.pi
    return (scale / ((rest - LYMAN_ALPHA) ** 2 + 0.05)).clamp(max=30.0)


def _systems(wave: Tensor, z: Tensor, draw: Draw) -> Tensor:
    """Optical depth [B, N] of up to three metal absorbers, some of which are damped, and of the Lyman continua."""
    tau = torch.zeros_like(wave)
    count = len(wave)
    for _ in range(3):
        # About one absorber of 0.3 A or more for each quasar (Nestor, Turnshek & Rao 2005, ApJ 628, 637).
        there = (draw.uniform(count) < 0.33).float()
        own = (1.0 + z) * draw.uniform(count, 0.6, 0.998)
        there = there * (own > 1.05)
        width = draw.column(draw.rng.exponential(0.8, count)) * there
        high = (draw.uniform(count) < 0.45).float()
        for lines, share in ((_LOW, 1.0 - high), (_HIGH, high)):
            for centre, relative in lines:
                sigma = broadened(centre, 0.0, 80.0)
                add_line(tau, wave, centre * own, sigma * own, width * relative * share * own)
        # A fifth of the systems of low ionisation is damped, with neutral columns of 10^20.3 to 10^21.7 cm-2 (Rao,
        # Turnshek & Nestor 2006, ApJ 636, 610).
        column = 20.3 + draw.column(draw.rng.exponential(0.35, count)).clamp(max=1.4)
        damped = there * (1.0 - high) * (draw.uniform(count) < 0.2)
        rows = torch.nonzero((damped[:, 0] > 0) & (LYMAN_ALPHA * own[:, 0] > wave[:, 0] * 0.95))[:, 0]
        tau[rows] += damped_depth(wave[rows] / own[rows], column[rows])
        limit = LYMAN_LIMIT * own
        tau += 3.0 * damped * (wave < limit) * (wave / limit) ** 3
    # The Lyman continuum of the whole forest has a mean free path of 0.1 in ln wavelength (Worseck et al. 2014).
    beyond = torch.log(LYMAN_LIMIT * (1.0 + z) / wave).clamp(min=0.0)
    return tau + beyond / torch.exp(draw.normal(count, math.log(0.1), 0.5))


def _broad(wave: Tensor, z: Tensor, draw: Draw) -> Tensor:
    """Optical depth [B, N] of outflows, in an eighth of the quasars (Trump et al. 2006), at up to 20,000 km/s."""
    tau = torch.zeros_like(wave)
    count = len(wave)
    there = draw.uniform(count) < 0.12
    start, width = draw.uniform(count, 1000.0, 12000.0), torch.exp(draw.normal(count, math.log(4000.0), 0.5))
    depth = torch.exp(draw.normal(count, 0.2, 0.6)) * there
    ragged = draw.uniform(count, 0.6, 1.4)
    rows = torch.nonzero(there[:, 0] & (wave[:, 0] < 1560.0 * (1.0 + z[:, 0])))[:, 0]
    for centre, relative in _BROAD if len(rows) else ():
        velocity = C_KMS * torch.log(centre * (1.0 + z[rows]) / wave[rows])
        inside = (velocity - start[rows]) / width[rows]
        trough = torch.sigmoid(inside / 0.06) * torch.sigmoid((1.0 - inside) / 0.12)
        tau[rows] += relative * depth[rows] * trough * (1.0 + 0.4 * torch.sin(9.0 * ragged[rows] * inside))
    return tau


def absorb(wave: Tensor, z: Tensor, draw: Draw) -> Tensor:
    """Transmission [B, N] at wavelengths `wave` [B, N] towards quasars at redshifts `z` [B, 1]."""
    return torch.exp(-(_forest(wave, z, draw) + _systems(wave, z, draw) + _broad(wave, z, draw)))
