"""Simulated galaxies: old and young stars, dust, and gas with lines of star formation or an active nucleus."""

import math
from typing import Any

import torch
from torch import Tensor

from spectromer.surveys.simulated.draw import Draw, below, broadened, gauss
from spectromer.surveys.simulated.stars import balmer_depth, planck, stellar_depth

__all__ = ["draw_galaxies"]

# Galaxies: share, old stars' share of the light, ln EW(H alpha) and its scatter, log [OIII]/Hb, log [NII]/Ha.
_GALAXIES = {
    "": (0.40, (0.85, 1.0), 0.0, 0.6, 0.2, -0.1),
    "STARFORMING": (0.30, (0.2, 0.7), 3.2, 0.6, -0.3, -0.4),
    "STARBURST": (0.18, (0.0, 0.25), 4.5, 0.5, 0.4, -0.9),
    "AGN": (0.12, (0.4, 0.85), 3.0, 0.6, 0.8, 0.0),
}


def draw_galaxies(wave: Tensor, draw: Draw, rows: int, reach: float) -> tuple[Tensor, list[dict[str, Any]]]:
    """Spectra [B, N] of galaxies at redshifts up to `reach` times 0.8, at wavelengths `wave` [B, N], and labels."""
    kinds = draw.choice({k: v[0] for k, v in _GALAXIES.items()}, rows)
    old = draw.uniform(rows)
    old_low = draw.column([_GALAXIES[k][1][0] for k in kinds])
    old_high = draw.column([_GALAXIES[k][1][1] for k in kinds])
    old = old_low + (old_high - old_low) * old
    nearby = draw.uniform(rows) < 0.4
    far = torch.where(draw.column(kinds == "") > 0, draw.normal(rows, 0.5, 0.13), draw.uniform(rows, 0.0, 0.8))
    z = (reach * torch.where(nearby, draw.normal(rows, 0.12, 0.06).abs(), far)).clamp(0.004, 0.799)
    rest = wave / (1.0 + z)
    dispersion = 10.0 ** draw.normal(rows, 2.2, 0.13)

    teff = draw.normal(rows, 4700.0, 200.0)
    feh = draw.normal(rows, 0.0, 0.15)
    old_light = planck(rest, teff) * (1.0 - 0.45 * below(rest, 3990.0, 35.0))
    old_light = old_light * torch.exp(-0.7 * ((3300.0 - rest) / 600.0).clamp(min=0.0)) + 0.02
    old_light = old_light * torch.exp(-stellar_depth(rest, teff, torch.full_like(teff, 3.0), feh, dispersion))
    slope = draw.normal(rows, -1.9, 0.3)
    young = (rest / 5500.0) ** slope * (1.0 - 0.28 * below(rest, 3680.0, 30.0))
    young = young * torch.exp(-balmer_depth(rest, torch.full_like(slope, 5.0), torch.full_like(slope, 7.0)))
    dust = (draw.normal(rows, 0.15, 0.12) * (1.3 - old)).clamp(min=0.0)  # E(B-V)
    flux = old * old_light + (1.0 - old) * young
    flux = flux * 10.0 ** (-0.4 * 4.05 * dust * ((5500.0 / rest) ** 0.9))

    ln_ew = draw.column([_GALAXIES[k][2] for k in kinds]) + draw.normal(rows) * draw.column(
        [_GALAXIES[k][3] for k in kinds]
    )
    halpha = torch.exp(ln_ew)  # equivalent widths, so ratios below are of light, times the continuum's colour
    hbeta = halpha / 2.86
    oiii = hbeta * 10.0 ** (draw.column([_GALAXIES[k][4] for k in kinds]) + draw.normal(rows, 0.0, 0.25))
    nii = halpha * 10.0 ** (draw.column([_GALAXIES[k][5] for k in kinds]) + draw.normal(rows, 0.0, 0.12))
    oii = halpha * 10.0 ** draw.normal(rows, -0.1, 0.15)
    sii = 0.3 * halpha
    emission = (
        (3727.1, 0.45 * oii),
        (3729.9, 0.55 * oii),
        (3869.9, 0.12 * oiii),
        (4102.9, 0.26 * hbeta),
        (4341.7, 0.47 * hbeta),
        (4862.7, hbeta),
        (4960.3, oiii / 3.0),
        (5008.2, oiii),
        (5877.2, 0.12 * hbeta),
        (6302.0, 0.08 * nii),
        (6549.9, nii / 3.0),
        (6564.6, halpha),
        (6585.3, nii),
        (6718.3, 0.55 * sii),
        (6732.7, 0.45 * sii),
    )
    gas = torch.zeros_like(rest)
    for wave0, ew in emission:
        sigma = broadened(wave0, 0.0, 0.7 * dispersion)
        gas += ew / (math.sqrt(2 * math.pi) * sigma) * gauss(rest, wave0, sigma)
    labels = [{"class": "GALAXY", "subclass": str(k), "z": float(z[i])} for i, k in enumerate(kinds)]
    return flux * (1.0 + gas), labels
