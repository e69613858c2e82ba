"""Simulated galaxies: stars of all ages behind dust, and gas ionised by young stars or by an active nucleus."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spectromer.grids import C_KMS
from spectromer.surveys.simulated.atmospheres import planck
from spectromer.surveys.simulated.draw import Draw, add_line, broadened
from spectromer.surveys.simulated.stars import star_flux

__all__ = ["draw_galaxies", "emission", "population_shares", "starlight"]

# Populations: upper limit of their ages in Gyr; V luminosity per solar mass relative to that of the Sun (Bruzual &
# Charlot 2003, MNRAS 344, 1000, from their figures); and Teff and log g of the stars that emit most of this light.
_POPULATIONS = (
    (0.02, 33.0, 21000.0, 4.0),
    (0.10, 10.0, 14000.0, 4.0),
    (1.0, 2.9, 8600.0, 4.0),
    (4.0, 1.0, 6100.0, 3.9),
    (12.0, 0.33, 4900.0, 2.8),
)
_COOLEST = (3700.0, 1.0, 0.25)  # giants with TiO: Teff, log g, share of the light of the two oldest populations
# Kinds of galaxies: share; ln of the e-folding time of the star formation in Gyr, and its scatter; ln EW(H alpha) in A,
# and its scatter. SDSS calls a galaxy STARBURST if the equivalent width is above 50 A, and BROADLINE if sigma is above
# 200 km/s.
_KINDS = {
    "": (0.34, 0.3, 0.35, 0.0, 0.7),
    "post-starburst": (0.03, 0.6, 0.3, 0.5, 0.6),
    "STARFORMING": (0.26, 1.8, 0.6, 2.9, 0.6),
    "STARBURST": (0.13, 3.2, 0.5, 4.7, 0.5),
    "AGN": (0.10, 1.1, 0.4, 2.9, 0.7),
    "BROADLINE": (0.04, 0.7, 0.4, 1.5, 0.7),
    "AGN BROADLINE": (0.05, 1.1, 0.4, 3.2, 0.6),
    "STARFORMING BROADLINE": (0.03, 1.8, 0.5, 3.2, 0.4),
    "STARBURST BROADLINE": (0.02, 2.6, 0.5, 4.5, 0.3),
}
# Narrow lines: vacuum wavelength in A, the line or ratio that scales it, and its flux relative to that. Recombination
# lines are those of case B at 10,000 K (Osterbrock & Ferland 2006), 5008/4960 and 6585/6550 follow from atomic physics,
# and the faint ones are medians of spectra of H II galaxies (Izotov, Thuan & Lipovetsky 1994, ApJ 435, 647).
_LINES = (
    (3727.09, "O2", 0.42),
    (3729.88, "O2", 0.58),
    (3798.98, "Hb", 0.053),
    (3836.48, "Hb", 0.073),
    (3869.86, "O3", 0.09),
    (3890.15, "Hb", 0.19),
    (3968.59, "O3", 0.028),
    (3971.20, "Hb", 0.159),
    (4102.89, "Hb", 0.259),
    (4341.69, "Hb", 0.468),
    (4364.44, "O3", 0.012),
    (4472.73, "Hb", 0.04),
    (4862.69, "Hb", 1.0),
    (4960.30, "O3", 1.0 / 2.98),
    (5008.24, "O3", 1.0),
    (5877.25, "Hb", 0.12),
    (6302.05, "O1", 1.0),
    (6313.81, "Hb", 0.012),
    (6365.54, "O1", 1.0 / 3.0),
    (6549.86, "N2", 1.0 / 3.05),
    (6564.61, "Hb", 2.86),
    (6585.27, "N2", 1.0),
    (6679.99, "Hb", 0.034),
    (6718.29, "S2", 0.57),
    (6732.67, "S2", 0.43),
    (7067.14, "Hb", 0.025),
    (7137.76, "Hb", 0.10),
    (7321.94, "O2", 0.02),
    (7332.21, "O2", 0.016),
    (9017.38, "Hb", 0.018),
    (9071.09, "Hb", 0.22),
    (9231.55, "Hb", 0.025),
    (9533.20, "Hb", 0.54),
)


def population_shares(fold: Tensor, burst: Tensor | float = 0.0) -> Tensor:
    """Shares [B, 5] of the populations in the V light, for star formation with an e-folding time `fold` [B, 1] in Gyr.

    Star formation began 12 Gyr ago. `burst` is the mass that formed in a burst between 0.1 and 1 Gyr ago, relative to
    the mass without the burst. Star formation stopped after the burst.
    """
    ages = torch.tensor([0.0, *(p[0] for p in _POPULATIONS)])
    formed = torch.exp((ages - 12.0) / fold)  # exp(-t / fold) at t = 12 - age, up to a factor
    mass = formed[:, 1:] - formed[:, :-1]
    mass = mass / mass.sum(1, keepdim=True)
    burst = torch.as_tensor(burst).expand_as(fold)
    quiet = torch.where(burst > 0, torch.tensor([0.0, 0.0, 1.0, 1.0, 1.0]), torch.ones(5))
    mass = mass * quiet + burst * torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0])
    light = mass * torch.tensor([p[1] for p in _POPULATIONS])
    return light / light.sum(1, keepdim=True)


def starlight(wave: Tensor, shares: Tensor, feh: Tensor, alpha: Tensor, dispersion: Tensor) -> Tensor:
    """Light [B, N] of stars whose populations have `shares` [B, 5] of the V light. The continuum is 1 at 5500 A."""
    flux = torch.zeros_like(wave)
    for k, (_, _, teff, logg) in enumerate(_POPULATIONS):
        # Metal-rich giants are cooler: 100 K for 0.3 dex.
        own = torch.full_like(feh, teff) - (330.0 * feh if teff < 7000.0 else 0.0)
        share = shares[:, k : k + 1] * (1.0 - _COOLEST[2] * (k > 2))
        flux += share * star_flux(wave, own, torch.full_like(feh, logg), feh, alpha, dispersion)
    cool = star_flux(wave, torch.full_like(feh, _COOLEST[0]), torch.full_like(feh, _COOLEST[1]), feh, alpha, dispersion)
    return flux + _COOLEST[2] * shares[:, 3:].sum(1, keepdim=True) * cool


def emission(wave: Tensor, ratios: dict[str, Tensor], sigma: Tensor, ebv: Tensor) -> Tensor:
    """Narrow lines [B, N] behind dust, with a velocity dispersion `sigma` in km/s. The area of H beta is 1.

    `ratios` are fluxes [B, 1] of O2, O3, N2, S2 and O1 relative to H beta, before dust.
    """
    lines = torch.zeros_like(wave)
    scale = ratios | {"Hb": torch.ones_like(sigma)}
    for centre, name, factor in _LINES:
        dust = 10.0 ** (-0.4 * 3.1 * ebv * ((5500.0 / centre) ** 1.3 - (5500.0 / 4862.69) ** 1.3))
        add_line(lines, wave, centre, broadened(centre, 0.0, sigma), factor * scale[name] * dust)
    return lines


def _ratios(draw: Draw, active: Tensor, rows: int) -> dict[str, Tensor]:
    """Line ratios [B, 1] on the sequences of the diagram of Baldwin, Phillips & Terlevich (1981)."""
    # Star-forming galaxies lie on equation 3 of Kewley et al. (2013, ApJ 774, 100) at z = 0, with a scatter of 0.1 dex.
    formed = (draw.normal(rows, -0.55, 0.3)).clamp(-1.7, -0.2)
    high = 0.61 / (formed + 0.08) + 1.1 + draw.normal(rows, -0.05, 0.1)
    # Seyfert galaxies and LINERs form two branches (Kewley et al. 2006, MNRAS 372, 961, figures 4 and 5).
    liner = draw.uniform(rows) < 0.45
    nitrogen = draw.normal(rows, 0.0, 0.12)
    seyfert = torch.where(liner, draw.normal(rows, 0.45, 0.12), draw.normal(rows, 0.85, 0.15))
    seyfert = torch.maximum(seyfert, 0.75 - 1.2 * (nitrogen + 0.4))  # SDSS calls galaxies above this line AGN
    n2, o3 = torch.where(active > 0, nitrogen, formed), torch.where(active > 0, seyfert, high)
    strong = active * liner
    o2 = draw.normal(rows, 0.35, 0.15) - 0.4 * (formed + 0.55) * (1.0 - active) + 0.25 * strong
    return {
        "O3": 10.0**o3,
        "N2": 2.86 * 10.0**n2,
        "S2": 2.86 * 10.0 ** (draw.normal(rows, -0.45, 0.1) + 0.25 * active + 0.15 * strong),
        "O1": 2.86 * 10.0 ** (draw.normal(rows, -1.6, 0.15) + 0.6 * active + 0.3 * strong),
        "O2": 10.0**o2,
    }


def draw_galaxies(wave: Tensor, draw: Draw, rows: int, reach: float) -> tuple[Tensor, list[dict[str, Any]]]:
    """Spectra [B, N] of galaxies at redshifts up to `reach` times 0.8, at wavelengths `wave` [B, N], and labels."""
    kinds = draw.choice({k: v[0] for k, v in _KINDS.items()}, rows)
    _, fold, fold_scatter, ew, ew_scatter = (draw.column(v) for v in zip(*(_KINDS[k] for k in kinds), strict=True))
    quiet = draw.column((kinds == "") | (kinds == "BROADLINE"))
    active = draw.column([k.startswith("AGN") for k in kinds])
    broad = draw.column(["BROADLINE" in k for k in kinds])
    after = draw.column(kinds == "post-starburst")
    nearby = draw.uniform(rows) < 0.4
    far = torch.where(quiet > 0, draw.normal(rows, 0.5, 0.13), draw.uniform(rows, 0.0, 0.8))
    z = (reach * torch.where(nearby, draw.normal(rows, 0.12, 0.06).abs(), far)).clamp(0.004, 0.799)
    rest = wave / (1.0 + z)

    dispersion = 10.0 ** (draw.normal(rows, 2.12, 0.13) + 0.15 * quiet)
    # Massive, quiet galaxies are rich in metals and alpha elements (Thomas et al. 2005, ApJ 621, 673).
    feh = draw.normal(rows, -0.2, 0.2) + 0.15 * quiet
    alpha = draw.normal(rows, 0.05, 0.04) + 0.15 * quiet
    shares = population_shares(
        torch.exp(fold + fold_scatter * draw.normal(rows)), after * draw.uniform(rows, 0.05, 0.4)
    )
    ebv = (draw.normal(rows, 0.3, 0.18) * (1.0 - 0.8 * quiet)).clamp(min=0.0)  # of the gas
    # The reddening of stars is 0.44 of that of the gas (Calzetti et al. 2000, ApJ 533, 682). A power law approximates
    # their curve.
    stars = starlight(rest, shares, feh, alpha, dispersion)
    flux = stars * 10.0 ** (-0.4 * 4.05 * 0.44 * ebv * (5500.0 / rest) ** 0.9)

    ratios = _ratios(draw, active, rows)
    weak = quiet * draw.column(draw.rng.random(rows) < 0.6)  # the weak lines of quiescent galaxies are those of LINERs
    ratios = {k: torch.where(weak > 0, r, ratios[k]) for k, r in _ratios(draw, torch.ones(rows, 1), rows).items()}
    temperatures = torch.tensor([p[2] for p in _POPULATIONS])
    halpha = torch.tensor(6564.61)
    level = (shares * planck(halpha, temperatures)).sum(1, keepdim=True)  # the stars' continuum there
    dimmed = 10.0 ** (-0.4 * 4.05 * 0.44 * ebv * (5500.0 / halpha) ** 0.9)
    area = level * dimmed * torch.exp(ew + ew_scatter * draw.normal(rows))  # of H alpha
    decrement = 2.86 * 10.0 ** (-0.4 * 3.1 * ebv * ((5500.0 / halpha) ** 1.3 - (5500.0 / 4862.69) ** 1.3))
    wide = broad * (1.0 - active)
    sigma = torch.where(wide > 0, draw.uniform(rows, 210.0, 400.0), 0.7 * dispersion)
    flux = flux + area / decrement * emission(rest, ratios, sigma, ebv)

    # Active galaxies with broad lines show the Balmer lines of the broad-line region, with a ratio of 3.5 of H alpha to
    # H beta.
    region = active * broad * torch.exp(draw.normal(rows, math.log(40.0), 0.6))
    speed = draw.uniform(rows, 700.0, 2200.0) / C_KMS
    for centre, share in ((6564.61, 1.0), (4862.69, 0.29), (4341.69, 0.12)):
        add_line(flux, rest, centre, centre * speed, region * share * level)
    names = np.where(kinds == "post-starburst", "", kinds)
    labels = [{"class": "GALAXY", "subclass": str(k), "z": float(z[i])} for i, k in enumerate(names)]
    return flux, labels
