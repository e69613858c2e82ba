"""Simulated stars: a continuum of Planck's law, lines and bands that move with Teff, log g and [Fe/H]; white dwarfs."""

import math
from typing import Any

import torch
from torch import Tensor

from spectromer.surveys.simulated.draw import C_KMS, Draw, below, broadened, gauss

__all__ = ["balmer_depth", "draw_stars", "planck", "stellar_depth"]

# Stellar lines: wavelength, equivalent width at its peak (A), temperature of the peak, ln-widths of the peak towards
# cool and hot stars, power of 10^[Fe/H], power of 10^(log g - 4), own sigma (A).
_STELLAR_LINES = (
    (3934.8, 9.0, 4800, 0.45, 0.30, 0.4, -0.05, 3.0),  # Ca II K
    (3969.6, 8.0, 4800, 0.45, 0.30, 0.4, -0.05, 3.0),  # Ca II H
    (4227.9, 3.0, 3800, 0.25, 0.25, 0.5, 0.15, 2.0),  # Ca I
    (4305.6, 6.0, 5200, 0.18, 0.18, 0.4, -0.05, 7.0),  # CH, the G band
    (4046.9, 1.0, 4700, 0.28, 0.28, 0.6, 0.0, 1.2),  # Fe I and blends
    (4271.8, 1.2, 4700, 0.28, 0.28, 0.6, 0.0, 1.6),
    (4384.8, 1.4, 4700, 0.28, 0.28, 0.6, 0.0, 1.8),
    (4405.9, 0.9, 4700, 0.28, 0.28, 0.6, 0.0, 1.4),
    (4532.0, 1.3, 4700, 0.28, 0.28, 0.6, 0.0, 3.0),
    (4669.0, 1.6, 4600, 0.28, 0.28, 0.6, 0.0, 6.0),
    (5016.0, 1.3, 4600, 0.28, 0.28, 0.6, 0.0, 5.0),
    (5271.0, 1.8, 4600, 0.28, 0.28, 0.6, 0.0, 3.0),
    (5329.6, 1.5, 4600, 0.28, 0.28, 0.6, 0.0, 2.5),
    (5372.9, 0.8, 4600, 0.28, 0.28, 0.6, 0.0, 1.5),
    (5407.3, 0.8, 4600, 0.28, 0.28, 0.6, 0.0, 1.5),
    (6497.0, 1.0, 4500, 0.28, 0.28, 0.6, 0.0, 2.0),
    (5168.8, 1.6, 4500, 0.28, 0.25, 0.5, 0.12, 1.6),  # Mg b
    (5174.1, 2.2, 4500, 0.28, 0.25, 0.5, 0.12, 1.8),
    (5185.0, 2.6, 4500, 0.28, 0.25, 0.5, 0.12, 2.0),
    (5110.0, 14.0, 4000, 0.20, 0.20, 0.3, 0.25, 40.0),  # MgH
    (5891.6, 2.0, 3800, 0.35, 0.35, 0.4, 0.10, 1.6),  # Na D
    (5897.6, 1.7, 3800, 0.35, 0.35, 0.4, 0.10, 1.6),
    (7667.0, 2.5, 3000, 0.20, 0.20, 0.2, 0.20, 2.5),  # K I
    (7701.1, 2.0, 3000, 0.20, 0.20, 0.2, 0.20, 2.5),
    (8185.5, 2.0, 3100, 0.20, 0.20, 0.2, 0.30, 2.0),  # Na I
    (8197.1, 2.4, 3100, 0.20, 0.20, 0.2, 0.30, 2.0),
    (8500.4, 1.3, 5000, 0.50, 0.45, 0.3, -0.12, 1.8),  # Ca II triplet
    (8544.4, 3.3, 5000, 0.50, 0.45, 0.3, -0.12, 2.2),
    (8664.5, 2.6, 5000, 0.50, 0.45, 0.3, -0.12, 2.0),
    (4482.4, 0.6, 10000, 0.30, 0.30, 0.4, 0.0, 1.5),  # Mg II
    (4027.3, 1.1, 20000, 0.35, 0.40, 0.0, 0.0, 2.0),  # He I
    (4472.7, 1.3, 20000, 0.35, 0.40, 0.0, 0.0, 2.0),
    (4923.3, 0.7, 20000, 0.35, 0.40, 0.0, 0.0, 2.0),
    (5877.2, 0.9, 21000, 0.35, 0.40, 0.0, 0.0, 2.0),
    (6680.0, 0.8, 20000, 0.35, 0.40, 0.0, 0.0, 2.0),
    (7067.1, 0.7, 21000, 0.35, 0.40, 0.0, 0.0, 2.0),
    (4542.9, 0.8, 42000, 0.25, 0.40, 0.0, 0.0, 2.0),  # He II
    (4687.0, 0.9, 42000, 0.25, 0.40, 0.0, 0.0, 2.0),
    (5413.0, 0.9, 42000, 0.25, 0.40, 0.0, 0.0, 2.0),
)
# Balmer lines and their relative strength.
_BALMER = ((6564.6, 0.8), (4862.7, 1.0), (4341.7, 1.0), (4102.9, 1.0), (3971.2, 0.9), (3890.2, 0.8), (3836.5, 0.6))
_HELIUM_I = (3890.0, 4027.3, 4122.0, 4389.2, 4472.7, 4714.5, 4923.3, 5017.1, 5877.2, 6680.0, 7067.1)
# Molecular bands of cool stars (TiO, CaH, VO): head, decay length to the red (A), depth.
_BANDS = (
    (4762.0, 120.0, 0.45),
    (4956.0, 120.0, 0.50),
    (5168.0, 150.0, 0.55),
    (5450.0, 130.0, 0.40),
    (5862.0, 180.0, 0.50),
    (6160.0, 200.0, 0.55),
    (6382.0, 60.0, 0.25),
    (6652.0, 180.0, 0.45),
    (6800.0, 80.0, 0.30),
    (7055.0, 200.0, 0.70),
    (7400.0, 90.0, 0.20),
    (7590.0, 150.0, 0.60),
    (8433.0, 150.0, 0.50),
    (8860.0, 120.0, 0.40),
)
# Spectral types: share of the stars, coolest and hottest temperature.
_TYPES = {
    "O": (0.02, 30000, 45000),
    "B": (0.08, 10000, 30000),
    "A": (0.14, 7500, 10000),
    "F": (0.17, 6000, 7500),
    "G": (0.17, 5200, 6000),
    "K": (0.17, 3900, 5200),
    "M": (0.17, 2600, 3900),
    "WD": (0.08, 7000, 40000),
}


def planck(wave: Tensor, teff: Tensor) -> Tensor:
    """Planck's law B_lambda, scaled to 1 at 5500 A."""
    x, x0 = 1.43878e8 / (wave * teff), 1.43878e8 / (5500.0 * teff)
    return (5500.0 / wave) ** 5 * torch.expm1(x0) / torch.expm1(x)


def stellar_depth(wave: Tensor, teff: Tensor, logg: Tensor, feh: Tensor, dispersion: float | Tensor) -> Tensor:
    """Optical depth of the metal, helium and molecular lines, [B, N]."""
    tau = torch.zeros_like(wave)
    log_t = torch.log(teff)
    for wave0, ew, t0, cool, hot, metal, gravity, sigma in _STELLAR_LINES:
        offset = log_t - math.log(t0)
        strength = torch.exp(-0.5 * (offset / torch.where(offset < 0, cool, hot)) ** 2)
        strength = ew * strength * 10.0 ** (metal * feh + gravity * (logg - 4.0))
        if float(strength.max()) < 0.02:
            continue
        width = broadened(wave0, sigma, dispersion)
        tau += strength / (math.sqrt(2 * math.pi) * width) * gauss(wave, wave0, width)
    cool_bands = ((4100.0 - teff) / 1100.0).clamp(0.0, 1.5) * 10.0 ** (0.2 * feh)
    if float(cool_bands.max()) > 0:
        for head, decay, depth in _BANDS:
            red = wave - head
            shape = torch.exp(-red.clamp(min=0.0) / decay) * torch.sigmoid(red / 4.0)
            tau += cool_bands * depth * 1.6 * shape
    return tau


def balmer_depth(wave: Tensor, ew: Tensor, width: Tensor) -> Tensor:
    """Optical depth of the Balmer lines with pressure-broadened wings of half-width `width` (A)."""
    tau = torch.zeros_like(wave)
    for wave0, share in _BALMER:
        scale = width * (wave0 / 4862.7)
        tau += ew * share / (2.0 * scale) * (1.0 + ((wave - wave0) / scale) ** 2) ** -1.5
    return tau


def draw_stars(wave: Tensor, draw: Draw, rows: int) -> tuple[Tensor, list[dict[str, Any]]]:
    """Spectra [B, N] of stars, shifted by their velocities, at wavelengths `wave` [B, N], and labels."""
    kinds = draw.choice({k: v[0] for k, v in _TYPES.items()}, rows)
    low = draw.column([_TYPES[k][1] for k in kinds])
    high = draw.column([_TYPES[k][2] for k in kinds])
    place = draw.uniform(rows)  # 0 = the coolest of its type
    teff = low * (high / low) ** place
    dwarf = draw.column(kinds == "WD")
    giant = ((teff < 5900) & (draw.uniform(rows) < 0.35) & (dwarf == 0)).float()
    logg = torch.where(giant > 0, draw.uniform(rows, 1.0, 3.2), draw.normal(rows, 4.4, 0.2))
    logg = torch.where((teff > 7500) & (dwarf == 0), draw.normal(rows, 3.9, 0.25), logg)
    logg = torch.where(dwarf > 0, draw.normal(rows, 8.0, 0.2), logg)
    feh = draw.normal(rows, -0.3, 0.4).clamp(-2.5, 0.5)
    z = draw.normal(rows, 0.0, 60.0 / C_KMS)
    rest = wave / (1.0 + z)

    flux = planck(rest, teff)
    cool = ((6500.0 - teff) / 2500.0).clamp(0.0, 1.4) * 10.0 ** (0.3 * feh)
    flux = flux * torch.exp(-0.5 * cool * ((4500.0 - rest) / 500.0).clamp(0.0, 3.0))
    log_ratio = torch.log(teff / 9300.0)
    balmer = torch.exp(-0.5 * (log_ratio / torch.where(log_ratio < 0, 0.30, 0.62)) ** 2)
    jump = 0.35 * balmer * (teff > 6500) * (1.0 - dwarf)
    flux = flux * (1.0 - jump * below(rest, 3680.0, 25.0))
    tau = stellar_depth(rest, teff, logg, feh, 5.0) * (1.0 - dwarf)
    width = (2.0 + 9.0 * balmer) * 10.0 ** (0.15 * (logg - 4.0)).clamp(max=0.3)
    tau = tau + (1.0 - dwarf) * balmer_depth(rest, 13.0 * balmer, width)

    # White dwarfs: hydrogen (DA), helium (DB), or nothing (DC).
    kind = draw.uniform(rows)
    da, db = dwarf * (kind < 0.78), dwarf * ((kind >= 0.78) & (kind < 0.95))
    strength = torch.exp(-0.5 * (torch.log(teff / 12500.0) / 0.55) ** 2)
    tau = tau + da * balmer_depth(rest, 38.0 * strength + 3.0, 28.0 + 14.0 * strength)
    if float(db.sum()) > 0:
        for wave0 in _HELIUM_I:
            tau = tau + db * 0.45 * (1.0 + ((rest - wave0) / 18.0) ** 2) ** -1.5

    labels: list[dict[str, Any]] = []
    for i, name in enumerate(kinds):
        digit = min(9, int(10 * (1.0 - float(place[i]))))  # subtypes run from hot to cool
        subclass = name if name in ("O", "WD") else f"{name}{digit}"
        labels.append({"class": "STAR", "subclass": str(subclass), "z": float(z[i])})
        if name != "WD":
            labels[i] |= {"teff": float(teff[i]), "logg": float(logg[i]), "feh": float(feh[i])}
    return flux * torch.exp(-tau), labels
