"""Simulated quasars: continuum, emission lines, iron, light of the host galaxy, dust and absorption."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spectromer.grids import C_KMS
from spectromer.surveys.simulated.absorption import absorb
from spectromer.surveys.simulated.atmospheres import planck
from spectromer.surveys.simulated.draw import Draw, add_line, broadened
from spectromer.surveys.simulated.galaxies import population_shares, starlight

__all__ = ["balmer_continuum", "draw_quasars", "power_law"]

# Broad lines: vacuum wavelength and equivalent width in A (Vanden Berk et al. 2001, AJ 122, 549, table 2; blends are
# divided by eye), width relative to that of Mg II, and blueshift relative to that of C IV (from the averages of Shen et
# al. 2016, ApJ 831, 7; lines of high ionisation have the largest shifts).
_BROAD = (
    (1033.8, 9.8, 1.1, 0.6),
    (1215.67, 75.0, 1.0, 0.3),
    (1240.14, 18.0, 1.2, 0.6),
    (1262.6, 1.5, 1.0, 0.0),
    (1305.4, 2.0, 0.8, 0.0),
    (1335.3, 0.7, 0.8, 0.0),
    (1398.3, 8.1, 1.1, 0.5),
    (1549.5, 23.8, 1.1, 1.0),
    (1640.4, 4.5, 1.4, 1.1),
    (1664.7, 1.5, 1.0, 0.5),
    (1750.3, 0.8, 1.1, 0.3),
    (1857.4, 1.5, 1.1, 0.5),
    (1892.0, 2.5, 1.0, 0.3),
    (1908.7, 18.0, 1.2, 0.5),
    (2326.4, 2.0, 1.0, 0.0),
    (2798.8, 32.3, 1.0, 0.08),
    (4102.9, 5.1, 0.95, 0.0),
    (4341.7, 12.6, 0.95, 0.0),
    (4687.0, 1.5, 1.2, 0.2),
    (4862.7, 46.2, 1.0, 0.0),
    (5877.3, 4.9, 0.95, 0.0),
    (6564.6, 185.0, 0.9, 0.0),
    (8448.7, 9.0, 0.8, 0.0),
)
# Narrow lines: vacuum wavelength and equivalent width in A, from the same table.
_NARROW = (
    (3346.8, 0.35),
    (3426.8, 1.2),
    (3728.5, 1.56),
    (3869.9, 1.38),
    (3968.6, 0.45),
    (4364.4, 0.46),
    (4862.7, 1.5),
    (4960.3, 3.5),
    (5008.2, 13.2),
    (6302.0, 1.15),
    (6549.9, 0.7),
    (6564.6, 6.0),
    (6585.3, 2.02),
    (6718.3, 1.65),
    (6732.7, 1.49),
)
# Optical iron: air wavelengths in A of lines of Fe II of multiplets 37, 38, 42, 48, 49 and 55, and relative strengths
# (Kovacevic, Popovic & Dimitrijevic 2010, ApJS 189, 15, rounded).
_IRON = (
    (4472.9, 0.3), (4489.2, 0.6), (4491.4, 0.6), (4508.3, 0.9), (4515.3, 0.8), (4522.6, 1.0), (4541.5, 0.4),
    (4549.5, 1.4), (4555.9, 0.9), (4576.3, 0.4), (4583.8, 1.4), (4620.5, 0.3), (4629.3, 1.0), (4666.8, 0.4),
    (4923.9, 1.3), (5018.4, 1.6), (5169.0, 1.7), (5197.6, 0.9), (5234.6, 1.1), (5264.8, 0.7), (5276.0, 1.3),
    (5284.1, 0.6), (5316.6, 1.7), (5362.9, 1.0), (5414.1, 0.3), (5534.8, 0.4),
)  # fmt: skip
# Ultraviolet iron as broad bumps: wavelength and sigma in A, and height relative to the continuum (from the template of
# Vestergaard & Wilkes 2001, ApJS 134, 1, figure 3, at the mean strength).
_IRON_UV = (
    (1785.0, 30.0, 0.02),
    (2090.0, 60.0, 0.05),
    (2250.0, 70.0, 0.07),
    (2400.0, 70.0, 0.14),
    (2510.0, 60.0, 0.14),
    (2620.0, 50.0, 0.08),
    (2750.0, 60.0, 0.06),
    (2870.0, 70.0, 0.05),
    (2960.0, 50.0, 0.05),
    (3190.0, 90.0, 0.04),
)


def power_law(rest: Tensor, slope: Tensor) -> Tensor:
    """A power law, 1 at 3000 A. Beyond 5000 A the slope is larger by 1, because of the emission of hot dust."""
    beyond = (rest / 5000.0).clamp(min=1.0)
    return (rest / 3000.0) ** slope * beyond


def balmer_continuum(rest: Tensor) -> Tensor:
    """Recombination continuum to n = 2 at 15,000 K and an optical depth of 1. It is 1 just below the edge at 3646 A.

    The model is that of Grandi (1982, ApJ 255, 25). Above the edge it fades like the crowded high-order lines of the
    series.
    """
    temperature = torch.tensor(15000.0)
    thick = (1.0 - torch.exp(-((rest / 3646.0) ** 3))) / (1.0 - math.exp(-1.0))
    shape = planck(rest, temperature) / planck(torch.tensor(3646.0), temperature) * thick
    return shape * torch.where(rest < 3646.0, 1.0, torch.exp(-(rest - 3646.0) / 70.0))


def draw_quasars(wave: Tensor, draw: Draw, rows: int) -> tuple[Tensor, list[dict[str, Any]]]:
    """Spectra [B, N] of quasars at wavelengths `wave` [B, N], and labels."""
    z = draw.column(4.0 * draw.rng.beta(1.8, 2.4, rows)).clamp(0.05, 4.0)
    rest = wave / (1.0 + z)
    # The mean slope is that of Vanden Berk et al. (2001), -1.56, and the scatter that of Richards et al. (2003, AJ 126,
    # 1131).
    slope = draw.normal(rows, -1.56, 0.27)
    bright = draw.normal(rows)  # luminosity, in standard deviations of about 0.5 dex
    # The widths and their scatter are from figures 9 and 12 of Shen et al. (2011, ApJS 194, 45).
    fwhm = torch.exp(draw.normal(rows, math.log(4600.0), 0.3)).clamp(1300.0, 15000.0)
    blue = (draw.normal(rows, 650.0, 450.0) + 250.0 * bright) / C_KMS
    # Equivalent widths fall as the power -0.17 of the luminosity (Baldwin 1977).
    strength = 10.0 ** (-0.17 * 0.5 * bright) * torch.exp(draw.normal(rows, 0.0, 0.3))
    lines = torch.zeros_like(rest)
    for centre, width, breadth, shift in _BROAD:
        own = strength * width * torch.exp(draw.normal(rows, 0.0, 0.25))
        sigma = centre * breadth * fwhm / 2.355 / C_KMS
        place = centre * (1.0 - shift * blue)
        # A narrow core, and a base that is more than twice as wide and further to the blue, give wings and asymmetry.
        add_line(lines, rest, place, 0.75 * sigma, 0.55 * own)
        add_line(lines, rest, place * (1.0 - 0.35 * shift * blue), 1.75 * sigma, 0.45 * own)
    # Eigenvector 1 (Boroson & Green 1992, ApJS 80, 109): strong iron comes with weak [O III], and with narrow H beta.
    vector = draw.normal(rows) - 0.7 * torch.log(fwhm / 4600.0) / 0.3
    iron = torch.exp(0.45 * vector + draw.normal(rows, 0.0, 0.2))
    narrow = torch.exp(-0.45 * vector + draw.normal(rows, 0.0, 0.4)) * 10.0 ** (-0.1 * bright)
    velocity = torch.exp(draw.normal(rows, math.log(170.0), 0.3))
    for centre, width in _NARROW:
        add_line(lines, rest, centre, broadened(centre, 0.0, velocity), narrow * width)
    for centre, share in _IRON:
        vacuum = centre * 1.000278
        add_line(lines, rest, vacuum, vacuum * 0.7 * fwhm / 2.355 / C_KMS, 1.5 * iron * share)
    for centre, spread, height in _IRON_UV:
        area = math.sqrt(2.0 * math.pi) * spread * height
        add_line(lines, rest, centre, spread, area * torch.exp(draw.normal(rows, 0.0, 0.2)) * iron)
    flux = power_law(rest, slope) * (1.0 + lines)
    flux += 0.22 * torch.exp(draw.normal(rows, 0.0, 0.5)) * (3646.0 / 3000.0) ** slope * balmer_continuum(rest)
    # The dust is like that of the Small Magellanic Cloud: A = 1.39 E(B-V) / (lambda / 1 um)^1.2 (Richards et al. 2003).
    ebv = draw.column(draw.rng.exponential(0.025, rows))
    flux *= 10.0 ** (-0.4 * 1.39 * ebv * (1e4 / rest) ** 1.2)
    _add_hosts(flux, rest, z, bright, draw)
    flux *= absorb(wave, z, draw)

    chance, near = draw.rng.random(rows), z[:, 0].numpy() < 0.55
    names = np.where(chance < 0.16, "", "BROADLINE")
    names = np.where((chance > 0.96) & near, "STARBURST BROADLINE", names)
    names = np.where((chance > 0.90) & (chance < 0.96) & near, "AGN BROADLINE", names)
    return flux, [{"class": "QSO", "subclass": str(k), "z": float(z[i])} for i, k in enumerate(names)]


def _add_hosts(flux: Tensor, rest: Tensor, z: Tensor, bright: Tensor, draw: Draw) -> None:
    """Add hosts of near quasars, about a third of the light of faint ones at 5100 A (Shen et al. 2011, figure 4)."""
    near = torch.nonzero(z[:, 0] < 0.8)[:, 0]
    if not len(near):
        return
    count = len(near)
    shares = population_shares(torch.exp(draw.normal(count, 0.5, 0.5)))
    feh, alpha = draw.normal(count, 0.0, 0.15), draw.normal(count, 0.1, 0.05)
    stars = starlight(rest[near], shares, feh, alpha, 10.0 ** draw.normal(count, 2.2, 0.1))
    share = (0.3 * 10.0 ** (-0.4 * bright[near]) * torch.exp(draw.normal(count, 0.0, 0.5))).clamp(max=2.0)
    flux[near] += share * (5100.0 / 3000.0) ** -1.5 * stars
