"""Compact and peculiar stars: white dwarfs, cataclysmic variables, carbon stars and brown dwarfs."""

import torch
from torch import Tensor

from spectromer.grids import C_KMS
from spectromer.surveys.simulated.atmospheres import hydrogen_depth, planck
from spectromer.surveys.simulated.draw import Draw, add_line, below

__all__ = ["WHITE_DWARFS", "brown_dwarf", "carbon_star", "cataclysmic", "white_dwarf"]

#: Shares of the types of white dwarfs: hydrogen, helium, featureless, carbon, metals (Kepler et al. 2019, MNRAS 486,
#: 2169).
WHITE_DWARFS = {"DA": 0.78, "DB": 0.07, "DC": 0.08, "DQ": 0.03, "DZ": 0.04}

_HELIUM_I = (3890.0, 4027.3, 4122.0, 4389.2, 4472.7, 4714.5, 4923.3, 5017.1, 5877.2, 6680.0, 7067.1)
# Swan bands of C2, which fade to the blue: vacuum wavelength of the head (dv = +1, 0, -1 of Johnson 1927) and decay
# length to the blue in A, and depth.
_SWAN = ((4383.0, 60.0, 0.4), (4738.4, 110.0, 0.9), (5166.6, 150.0, 1.0), (5637.1, 150.0, 0.8), (6192.0, 120.0, 0.35))
# Lines of metals in cool helium atmospheres: vacuum wavelength in A and relative area (Dufour et al. 2007, ApJ 663,
# 1291).
_METALS = ((3934.8, 1.0), (3969.6, 0.9), (4227.9, 0.3), (3836.0, 0.3), (3735.9, 0.3), (5175.0, 0.2), (5893.0, 0.1))
# Emission lines of an accretion disc: vacuum wavelength and equivalent width in A (Szkody et al. 2011, AJ 142, 181,
# from their figures).
_DISC = ((6564.6, 60.0), (4862.7, 35.0), (4341.7, 25.0), (4102.9, 18.0), (5877.2, 12.0), (4472.7, 6.0), (4687.0, 4.0))
# Bands of L and T dwarfs: head or centre, decay to the red (A), depth: CrH, FeH, CH4 (Kirkpatrick et al. 1999, ApJ 519,
# 802), and widths of the alkali lines.
_HYDRIDES = ((8613.0, 80.0, 0.8), (8694.0, 60.0, 0.7), (9969.0, 150.0, 0.9))
_ALKALI = ((7701.0, 220.0, 900.0), (5893.0, 220.0, 1500.0), (8523.5, 2.5, 8.0), (8945.9, 2.5, 6.0), (8188.0, 6.0, 10.0))


def white_dwarf(wave: Tensor, teff: Tensor, kind: Tensor) -> Tensor:
    """Spectra [B, N] of white dwarfs. `kind` [B, 1] has the indices of their types in `WHITE_DWARFS`."""
    da, db, _, dq, dz = (((kind == i).float()) for i in range(5))
    # The Balmer lines are widest at 12,500 K (Bergeron, Saffer & Liebert 1992, ApJ 394, 228).
    strength = torch.exp(-0.5 * (torch.log(teff / 12500.0) / 0.55) ** 2)
    tau = hydrogen_depth(wave, da * (45.0 * strength + 3.0), 14.0 + 12.0 * strength)
    for centre in _HELIUM_I:
        add_line(tau, wave, centre, 15.0, 18.0 * db, stark=True)
    for head, decay, depth in _SWAN:
        tau += 1.2 * dq * depth * torch.exp(-(head - wave).clamp(min=0.0) / decay) * torch.sigmoid((head - wave) / 8.0)
    for centre, area in _METALS:
        add_line(tau, wave, centre, 12.0, 45.0 * area * dz, stark=True)
    return planck(wave, teff) * (1.0 - 0.25 * da * strength * below(wave, 3680.0, 40.0)) * torch.exp(-tau)


def carbon_star(wave: Tensor, teff: Tensor, strength: Tensor) -> Tensor:
    """Spectra [B, N] of carbon stars. `strength` scales the bands of C2 and CN, and is typically 1."""
    tau = torch.zeros_like(wave)
    for head, decay, depth in _SWAN:
        blue = head - wave
        tau += 1.5 * strength * depth * torch.exp(-blue.clamp(min=0.0) / decay) * torch.sigmoid(blue / 4.0)
    for head, decay, depth in ((6952.0, 150.0, 0.3), (7876.0, 180.0, 0.5), (9148.0, 250.0, 0.6)):  # the red CN system
        tau += strength * depth * torch.exp(-(wave - head).clamp(min=0.0) / decay) * torch.sigmoid((wave - head) / 5.0)
    add_line(tau, wave, 5893.8, 4.0, 5.0 * strength)
    return planck(wave, teff) * torch.exp(-tau - 1.2 * ((4600.0 - wave) / 500.0).clamp(0.0, 2.0))


def cataclysmic(wave: Tensor, draw: Draw, rows: int) -> Tensor:
    """Spectra [B, N] of cataclysmic variables: a disc with double-peaked lines of hydrogen and helium."""
    flux = planck(wave, draw.uniform(rows, 9000.0, 25000.0))
    strength = torch.exp(draw.normal(rows, 0.0, 0.6))
    split, sigma = draw.uniform(rows, 0.0, 500.0) / C_KMS, draw.uniform(rows, 250.0, 600.0) / C_KMS
    lines = torch.zeros_like(wave)
    for centre, width in _DISC:
        for side in (-1.0, 1.0):
            add_line(lines, wave, centre * (1.0 + side * split), centre * sigma, 0.5 * width * strength)
    return flux * (1.0 + lines)


def brown_dwarf(wave: Tensor, teff: Tensor) -> Tensor:
    """Spectra [B, N] of L and T dwarfs, with bands of hydrides and alkali lines that are hundreds of Angstrom wide."""
    tau = torch.zeros_like(wave)
    cool = ((2400.0 - teff) / 900.0).clamp(0.0, 1.5)
    for head, decay, depth in _HYDRIDES:
        tau += depth * torch.exp(-(wave - head).clamp(min=0.0) / decay) * torch.sigmoid((wave - head) / 5.0)
    for centre, scale, area in _ALKALI:
        add_line(tau, wave, centre, scale, area * (0.3 + cool), stark=True)
    return planck(wave, teff) * torch.exp(-tau)
