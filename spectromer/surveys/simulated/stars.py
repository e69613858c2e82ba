"""Simulated stars: their types, temperatures, gravities and compositions, and the spectra that follow from them."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from spectromer.grids import C_KMS
from spectromer.surveys.simulated.atmospheres import (
    balmer_strength,
    continuum,
    hydrogen_depth,
    metal_depth,
    molecular_depth,
)
from spectromer.surveys.simulated.draw import Draw
from spectromer.surveys.simulated.dwarfs import WHITE_DWARFS, brown_dwarf, carbon_star, cataclysmic, white_dwarf

__all__ = ["TEMPERATURES", "draw_stars", "star_flux"]

#: Teff in K of dwarfs by their subtypes, 0 to 9 (Pecaut & Mamajek 2013, ApJS 208, 9, table 5, and its online update of
#: E. Mamajek). O stars begin at O3.
TEMPERATURES = {
    "O": (44900, 44900, 44900, 44900, 42900, 41400, 39500, 37100, 35100, 33300),
    "B": (31400, 26000, 20600, 17000, 16400, 15700, 14500, 14000, 12300, 10700),
    "A": (9700, 9300, 8800, 8600, 8250, 8100, 7910, 7760, 7590, 7400),
    "F": (7220, 7020, 6820, 6750, 6670, 6550, 6350, 6280, 6180, 6050),
    "G": (5930, 5860, 5770, 5720, 5680, 5660, 5600, 5550, 5480, 5380),
    "K": (5270, 5170, 5100, 4830, 4600, 4440, 4300, 4100, 3990, 3930),
    "M": (3850, 3660, 3560, 3430, 3210, 3060, 2810, 2680, 2570, 2380),
    "L": (2270, 2160, 2060, 1920, 1870, 1710, 1550, 1530, 1420, 1370),
}
# Shares of the kinds of stars, which are chosen for a training set and differ from those in the sky.
_KINDS = {
    "O": 0.02,
    "B": 0.07,
    "A": 0.15,
    "F": 0.17,
    "G": 0.18,
    "K": 0.14,
    "M": 0.14,
    "WD": 0.07,
    "CV": 0.015,
    "Carbon": 0.02,
    "L": 0.015,
}
_LETTERS = tuple(TEMPERATURES)


def _temperature(letter: np.ndarray, subtype: np.ndarray) -> np.ndarray:
    """Teff [B] of dwarfs. Subtypes may be fractional."""
    places = 10 * np.array([_LETTERS.index(name) if name in _LETTERS else 0 for name in letter]) + subtype
    teff: np.ndarray = np.interp(places, np.arange(10 * len(_LETTERS)), np.concatenate(list(TEMPERATURES.values())))
    return teff


def star_flux(wave: Tensor, teff: Tensor, logg: Tensor, feh: Tensor, alpha: Tensor, vsini: Tensor) -> Tensor:
    """Spectra [B, N] of stars with normal atmospheres, for columns [B, 1] of parameters."""
    balmer = balmer_strength(teff)
    tau = metal_depth(wave, teff, logg, feh, alpha, vsini) + molecular_depth(wave, teff, logg, feh)
    # Stark broadening grows with the pressure, so Balmer lines measure the gravity of A and B stars.
    gravity = torch.where(teff > 7500.0, logg - 4.0, torch.zeros_like(logg))
    scale = (1.8 + 4.7 * balmer) * 10.0 ** (0.2 * gravity)
    tau += hydrogen_depth(wave, 18.0 * balmer * 10.0 ** (0.12 * gravity), scale)
    return continuum(wave, teff, logg, feh) * torch.exp(-tau)


def draw_stars(wave: Tensor, draw: Draw, rows: int, survey: str = "SDSS") -> tuple[Tensor, list[dict[str, Any]]]:
    """Spectra [B, N] of stars, shifted by their velocities, at wavelengths `wave` [B, N], and labels."""
    kinds = draw.choice(_KINDS, rows)
    digit = draw.rng.integers(0, 10, rows)
    digit = np.where((kinds == "O") & (digit < 4), digit + 5, digit)
    teff = draw.column(_temperature(kinds, digit + draw.rng.uniform(-0.5, 0.5, rows)))
    odd = np.isin(kinds, ("WD", "CV", "Carbon", "L"))
    giant = draw.column((draw.rng.random(rows) < 0.3) & np.isin(kinds, ("G", "K", "M")) & (digit > 2)) > 0
    giant &= teff > 3300.0
    # G and K giants are 7 % cooler than dwarfs of the same type (Gray & Corbally 2009, appendix B).
    teff = torch.where(giant & (teff > 3900.0), 0.93 * teff, teff)
    # On the giant branch, gravity falls with temperature. Gravities of dwarfs scatter where stars leave the main
    # sequence.
    branch = 2.6 + 0.0013 * (teff - 4800.0) + draw.normal(rows, 0.0, 0.3)
    main = 4.55 - 0.00008 * (teff - 4500.0).clamp(0.0, 5000.0) + draw.normal(rows, 0.0, 0.12)
    turned = (teff > 5400.0) & (draw.uniform(rows) < 0.4)
    logg = torch.where(giant, branch.clamp(0.3, 3.6), main - turned * draw.uniform(rows, 0.0, 0.6))
    # Metallicities are those of disc and halo (Ivezic et al. 2008, ApJ 684, 287). Metal-poor stars are rich in alpha
    # elements.
    halo = draw.uniform(rows) < 0.08
    feh = torch.where(halo, draw.normal(rows, -1.45, 0.35), draw.normal(rows, -0.25, 0.3)).clamp(-2.8, 0.5)
    feh = torch.where(teff > 7500.0, draw.normal(rows, -0.1, 0.25), feh)
    alpha = (-0.25 * feh).clamp(0.0, 0.35) + draw.normal(rows, 0.0, 0.05)
    vsini = torch.where(teff > 6800.0, draw.uniform(rows, 10.0, 160.0), draw.uniform(rows, 2.0, 12.0))
    z = draw.normal(rows, 0.0, 45.0 / C_KMS) + halo * draw.normal(rows, 0.0, 140.0 / C_KMS)
    rest = wave / (1.0 + z)

    flux = star_flux(rest, teff, logg, feh, alpha, vsini)
    hot = draw.column(draw.rng.uniform(np.log(6500.0), np.log(40000.0), rows)).exp()
    white = draw.choice(WHITE_DWARFS, rows)
    # Helium lines appear only in hot atmospheres, and carbon and metals only in cool ones.
    limits = {"DB": (12000.0, 30000.0), "DC": (5000.0, 10500.0), "DQ": (6500.0, 10500.0), "DZ": (6000.0, 11000.0)}
    low, high = (draw.column([limits.get(k, (6500.0, 60000.0))[i] for k in white]) for i in (0, 1))
    hot = torch.minimum(torch.maximum(hot, low), high)
    number = draw.column([list(WHITE_DWARFS).index(k) for k in white])
    for name in ("WD", "CV", "Carbon", "L"):
        index = torch.from_numpy(np.flatnonzero(kinds == name))
        if not len(index):
            continue
        if name == "WD":
            flux[index] = white_dwarf(rest[index], hot[index], number[index])
        elif name == "CV":
            flux[index] = cataclysmic(rest[index], draw, len(index))
        elif name == "Carbon":
            bands = draw.uniform(len(index), 0.3, 1.3)
            flux[index] = carbon_star(rest[index], draw.uniform(len(index), 2800.0, 4800.0), bands)
        else:
            flux[index] = brown_dwarf(rest[index], teff[index])
    # One star in thirty has a fainter companion, which is another star of the chunk.
    middle = (wave[0] > 5500.0) & (wave[0] < 7000.0)
    level = flux[:, middle].mean(1, keepdim=True)
    pair = (draw.uniform(rows) < 0.03) * draw.uniform(rows, 0.05, 0.3)
    flux = flux / level + pair * (flux / level).roll(1, 0)

    labels: list[dict[str, Any]] = []
    chance = draw.rng.random(rows)
    for i, name in enumerate(kinds.tolist()):
        subclass = _spelling(
            name, int(digit[i]), str(white[i]), float(hot[i]), bool(giant[i]), float(logg[i]), survey, chance[i]
        )
        labels.append({"class": "STAR", "subclass": subclass, "z": float(z[i])})
        if not odd[i]:
            labels[i] |= {"teff": float(teff[i]), "logg": float(logg[i]), "feh": float(feh[i])}
    return flux, labels


def _spelling(
    name: str, digit: int, white: str, hot: float, giant: bool, logg: float, survey: str, chance: float
) -> str:
    """The subclass as a survey spells it, such as "CalciumWD" (SDSS), "dM3" (LAMOST), "A7IV" or, mostly, "G5"."""
    if name == "WD":
        if survey == "LAMOST":
            return white if chance < 0.5 else "WD"
        return {"DZ": "CalciumWD", "DQ": "CarbonWD"}.get(white, "WDhotter" if hot > 20000.0 else "WD")
    if name in ("CV", "Carbon"):
        return name
    if name == "O":
        return "O" if chance < 0.5 else "OB"
    text = f"{name}{digit}"
    if name == "M" and survey == "LAMOST" and chance < 0.5:
        return f"{'g' if giant else 'd'}{text}"
    if name in ("A", "F", "G", "K") and chance < (0.1 if survey == "LAMOST" else 0.3):
        return text + ("III" if logg < 3.5 else "IV" if logg < 4.0 else "V")
    return text
