"""Simulated quasars: a power law, broad and narrow lines, blended iron, and the Lyman forest."""

import math
from typing import Any

import torch
from torch import Tensor

from spectromer.surveys.simulated.draw import Draw, broadened, gauss

__all__ = ["draw_quasars"]

# Quasar lines: wavelength, equivalent width (A), width relative to the object's broad lines (0 = narrow).
_QUASAR_LINES = (
    (1033.8, 9.0, 1.0),
    (1215.7, 80.0, 1.0),
    (1240.8, 15.0, 1.0),
    (1305.0, 2.5, 0.8),
    (1398.0, 8.0, 1.0),
    (1549.1, 35.0, 1.0),
    (1640.4, 5.0, 1.2),
    (1857.0, 3.0, 1.0),
    (1908.7, 22.0, 1.2),
    (2799.1, 32.0, 0.8),
    (3426.8, 1.0, 0.0),
    (3728.5, 2.0, 0.0),
    (3869.9, 2.0, 0.0),
    (4102.9, 6.0, 0.9),
    (4341.7, 14.0, 0.9),
    (4862.7, 45.0, 0.9),
    (4960.3, 7.0, 0.0),
    (5008.2, 20.0, 0.0),
    (5877.2, 5.0, 0.9),
    (6564.6, 190.0, 0.9),
)
# Blended iron and the small blue bump: centre, sigma, height over the continuum.
_QUASAR_BUMPS = ((2200, 120, 0.10), (2500, 130, 0.15), (3000, 350, 0.15), (4570, 90, 0.08), (5250, 120, 0.08))


def draw_quasars(wave: Tensor, draw: Draw, rows: int) -> tuple[Tensor, list[dict[str, Any]]]:
    """Spectra [B, N] of quasars at wavelengths `wave` [B, N], and labels."""
    z = draw.column(4.0 * draw.rng.beta(1.8, 2.4, rows)).clamp(0.05, 4.0)
    rest = wave / (1.0 + z)
    slope = draw.normal(rows, -1.55, 0.3)
    flux = (rest / 3000.0) ** slope
    # Beyond 5000 A the host and hot dust flatten the slope.
    flux = torch.where(rest > 5000.0, (5000.0 / 3000.0) ** slope * (rest / 5000.0) ** (slope + 1.0), flux)
    fwhm = torch.exp(draw.normal(rows, math.log(4500.0), 0.35))
    strength = torch.exp(draw.normal(rows, 0.0, 0.35))
    lines = torch.zeros_like(rest)
    for wave0, ew, breadth in _QUASAR_LINES:
        sigma = broadened(wave0, 0.0, breadth * fwhm / 2.355 if breadth else 180.0)
        own = torch.exp(draw.normal(rows, 0.0, 0.25))
        lines += ew * strength * own / (math.sqrt(2 * math.pi) * sigma) * gauss(rest, wave0, sigma)
    iron = torch.exp(draw.normal(rows, 0.0, 0.4))
    for centre, width, height in _QUASAR_BUMPS:
        lines += iron * height * gauss(rest, float(centre), float(width))
    flux = flux * (1.0 + lines)

    # The Lyman forest: a lognormal optical depth around the mean of Faucher-Giguere et al. (2008).
    absorber = wave / 1215.67
    mean_tau = 0.0018 * absorber**3.92
    noise = torch.nn.functional.avg_pool1d(draw.field(rows, wave.shape[1])[:, None], 3, 1, 1)[:, 0] * math.sqrt(3.0)
    tau = mean_tau * torch.exp(1.2 * noise - 0.35)
    flux = flux * torch.where(rest < 1215.67, torch.exp(-tau), 1.0)
    flux = flux * torch.where(rest < 911.8, 0.15, 1.0)
    labels = [{"class": "QSO", "subclass": "BROADLINE", "z": float(z[i])} for i in range(rows)]
    return flux, labels
