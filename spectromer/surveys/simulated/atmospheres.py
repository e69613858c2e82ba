"""Stellar atmospheres of one layer: continua, and lines by the Saha and Boltzmann equations and a curve of growth.

The strength of a line relative to that in the Sun follows from the number of absorbers per unit of continuous opacity
(Gray 2005, The Observation and Analysis of Stellar Photospheres, chapters 8 and 13). Blends of many faint metal lines,
and bands of molecules, are smooth optical depths.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from spectromer.surveys.simulated.draw import add_line, below, broadened

__all__ = ["balmer_strength", "continuum", "hydrogen_depth", "metal_depth", "molecular_depth", "planck"]

# First and second ionisation energies in eV (NIST), and whether the element is an alpha element.
_ELEMENTS = {
    "Na": (5.14, 47.3, False),
    "Mg": (7.65, 15.0, True),
    "Al": (5.99, 18.8, False),
    "Ca": (6.11, 11.9, True),
    "Ti": (6.83, 13.6, True),
    "Cr": (6.77, 16.5, False),
    "Mn": (7.43, 15.6, False),
    "Fe": (7.90, 16.2, False),
    "Ni": (7.64, 18.2, False),
    "Sr": (5.69, 11.0, False),
    "Ba": (5.21, 10.0, False),
    "CH": (11.0, 99.0, False),
    "CN": (14.0, 99.0, False),
    "K": (4.34, 31.6, False),
    "Si": (8.15, 16.3, True),
    "O": (13.6, 35.1, True),
}
# Strong lines: air wavelength in A; element; stage (0 neutral, 1 ionised); excitation energy in eV; equivalent width in
# A of the line and its close blends in the Sun (Moore, Minnaert & Houtgast 1966, NBS Monograph 61, as listed by Lang
# 1980, Astrophysical Formulae; the weakest are rounded); and the intrinsic sigma of the line in A.
_LINES = (
    (3820.44, "Fe", 0, 0.86, 1.71, 1.0),
    (3825.89, "Fe", 0, 0.91, 1.52, 1.0),
    (3832.31, "Mg", 0, 2.71, 1.69, 1.0),
    (3838.30, "Mg", 0, 2.72, 1.92, 1.0),
    (3859.92, "Fe", 0, 0.00, 1.55, 1.0),
    (3886.29, "Fe", 0, 0.05, 0.92, 1.0),
    (3905.53, "Si", 0, 1.91, 0.82, 0.8),
    (3933.68, "Ca", 1, 0.00, 20.25, 3.5),
    (3944.02, "Al", 0, 0.00, 0.49, 0.7),
    (3961.54, "Al", 0, 0.01, 0.62, 0.7),
    (3968.49, "Ca", 1, 0.00, 15.47, 3.2),
    (4005.25, "Fe", 0, 1.56, 0.41, 0.7),
    (4030.76, "Mn", 0, 0.00, 0.33, 0.7),
    (4033.07, "Mn", 0, 0.00, 0.30, 0.7),
    (4045.83, "Fe", 0, 1.48, 1.17, 0.8),
    (4063.61, "Fe", 0, 1.56, 0.79, 0.8),
    (4071.75, "Fe", 0, 1.61, 0.72, 0.8),
    (4077.72, "Sr", 1, 0.00, 0.43, 0.7),
    (4132.07, "Fe", 0, 1.61, 0.40, 0.8),
    (4143.88, "Fe", 0, 1.56, 0.47, 0.8),
    (4167.28, "Mg", 0, 4.34, 0.20, 0.8),
    (4173.46, "Fe", 1, 2.58, 0.15, 1.0),
    (4202.04, "Fe", 0, 1.48, 0.33, 0.8),
    (4195.00, "CN", 0, 0.30, 0.80, 10.0),
    (4215.54, "Sr", 1, 0.00, 0.23, 0.7),
    (4226.74, "Ca", 0, 0.00, 1.48, 0.9),
    (4233.17, "Fe", 1, 2.58, 0.15, 0.9),
    (4250.45, "Fe", 0, 2.00, 0.74, 0.9),
    (4254.35, "Cr", 0, 0.00, 0.39, 0.8),
    (4260.49, "Fe", 0, 2.40, 0.60, 0.9),
    (4271.77, "Fe", 0, 1.48, 0.76, 0.9),
    (4274.80, "Cr", 0, 0.00, 0.30, 0.8),
    (4289.72, "Cr", 0, 0.00, 0.27, 0.8),
    (4300.05, "CH", 0, 0.30, 4.5, 5.0),
    (4309.00, "CH", 0, 0.30, 4.5, 4.0),
    (4325.78, "Fe", 0, 1.61, 0.79, 0.9),
    (4383.56, "Fe", 0, 1.48, 1.01, 0.9),
    (4395.03, "Ti", 1, 1.08, 0.15, 0.8),
    (4404.76, "Fe", 0, 1.56, 0.90, 0.9),
    (4415.14, "Fe", 0, 1.61, 0.42, 0.9),
    (4443.80, "Ti", 1, 1.08, 0.13, 0.8),
    (4454.78, "Ca", 0, 1.90, 0.40, 1.2),
    (4481.23, "Mg", 1, 8.86, 0.02, 0.9),
    (4501.27, "Ti", 1, 1.12, 0.13, 0.8),
    (4528.63, "Fe", 0, 2.18, 0.28, 1.0),
    (4533.97, "Ti", 1, 1.24, 0.22, 1.5),
    (4549.64, "Ti", 1, 1.58, 0.25, 1.0),
    (4554.04, "Ba", 1, 0.00, 0.16, 0.8),
    (4571.98, "Ti", 1, 1.57, 0.14, 0.8),
    (4583.84, "Fe", 1, 2.81, 0.13, 0.8),
    (4703.00, "Mg", 0, 4.34, 0.33, 0.8),
    (4871.32, "Fe", 0, 2.87, 0.32, 1.0),
    (4891.50, "Fe", 0, 2.85, 0.38, 1.0),
    (4920.51, "Fe", 0, 2.83, 0.47, 1.0),
    (4923.93, "Fe", 1, 2.89, 0.19, 0.8),
    (4957.61, "Fe", 0, 2.81, 0.70, 1.0),
    (5018.44, "Fe", 1, 2.89, 0.21, 0.9),
    (5041.80, "Fe", 0, 1.49, 0.30, 1.5),
    (5167.33, "Mg", 0, 2.71, 0.94, 0.9),
    (5172.70, "Mg", 0, 2.71, 1.26, 0.9),
    (5183.62, "Mg", 0, 2.72, 1.58, 0.9),
    (5169.05, "Fe", 1, 2.89, 0.20, 0.8),
    (5208.00, "Cr", 0, 0.94, 0.55, 2.0),
    (5227.19, "Fe", 0, 1.56, 0.45, 1.0),
    (5232.95, "Fe", 0, 2.94, 0.35, 0.9),
    (5269.55, "Fe", 0, 0.86, 0.78, 1.0),
    (5316.62, "Fe", 1, 3.15, 0.13, 0.8),
    (5328.05, "Fe", 0, 0.91, 0.56, 1.0),
    (5371.50, "Fe", 0, 0.96, 0.30, 0.9),
    (5405.78, "Fe", 0, 0.99, 0.27, 0.9),
    (5429.70, "Fe", 0, 0.96, 0.29, 0.9),
    (5446.92, "Fe", 0, 0.99, 0.24, 0.9),
    (5455.61, "Fe", 0, 1.01, 0.22, 0.9),
    (5528.42, "Mg", 0, 4.35, 0.29, 0.9),
    (5588.76, "Ca", 0, 2.53, 0.16, 0.9),
    (5615.66, "Fe", 0, 3.33, 0.27, 0.9),
    (5857.46, "Ca", 0, 2.93, 0.15, 0.9),
    (5889.97, "Na", 0, 0.00, 0.75, 0.8),
    (5895.94, "Na", 0, 0.00, 0.56, 0.8),
    (6102.73, "Ca", 0, 1.88, 0.13, 0.9),
    (6122.23, "Ca", 0, 1.89, 0.22, 0.9),
    (6136.62, "Fe", 0, 2.45, 0.14, 0.9),
    (6141.73, "Ba", 1, 0.70, 0.11, 0.8),
    (6162.18, "Ca", 0, 1.90, 0.22, 0.9),
    (6191.57, "Fe", 0, 2.43, 0.13, 0.9),
    (6347.10, "Si", 1, 8.12, 0.05, 0.8),
    (6439.08, "Ca", 0, 2.53, 0.16, 0.9),
    (6495.00, "Ca", 0, 2.52, 0.35, 1.5),
    (7664.91, "K", 0, 0.00, 0.25, 0.8),
    (7698.98, "K", 0, 0.00, 0.16, 0.8),
    (7773.50, "O", 0, 9.15, 0.17, 2.5),
    (8183.26, "Na", 0, 2.10, 0.23, 0.9),
    (8194.82, "Na", 0, 2.10, 0.30, 0.9),
    (8498.06, "Ca", 1, 1.69, 1.47, 1.5),
    (8542.14, "Ca", 1, 1.70, 3.67, 1.8),
    (8662.17, "Ca", 1, 1.69, 2.60, 1.6),
    (8688.63, "Fe", 0, 2.18, 0.27, 0.9),
    (8806.77, "Mg", 0, 4.35, 0.50, 1.0),
)
# Lines of helium: vacuum wavelength in A, temperature of the greatest strength in K, and equivalent width in A at this
# temperature (Didelon 1982, A&AS 50, 199, for He I in B stars; Conti & Alschuler 1971, ApJ 170, 325, for He II in O
# stars).
_HELIUM = (
    (4027.3, 20000.0, 1.3),
    (4144.9, 20000.0, 0.7),
    (4389.2, 20000.0, 0.8),
    (4472.7, 20000.0, 1.4),
    (4923.3, 20000.0, 0.8),
    (5017.1, 20000.0, 0.4),
    (5877.2, 21000.0, 0.9),
    (6680.0, 20000.0, 0.8),
    (7067.1, 21000.0, 0.7),
    (4200.9, 42000.0, 0.6),
    (4542.9, 42000.0, 0.8),
    (4687.0, 42000.0, 0.8),
    (5413.0, 42000.0, 1.0),
)
# Bands of TiO, CaH and VO in cool dwarfs: vacuum wavelength of the head in A, decay length to the red in A, and depth
# in an M5 star (heads by Kirkpatrick, Henry & McCarthy 1991, ApJS 77, 417; relative depths estimated from their
# figures).
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
_SUN = (5772.0, 4.44, 0.0)
_BALMER = {3: 0.8, 4: 1.0, 5: 1.0, 6: 1.0, 7: 0.95, 8: 0.85, 9: 0.75, 10: 0.6, 11: 0.45, 12: 0.32, 13: 0.2, 14: 0.12}
_PASCHEN = {10: 0.36, 11: 0.36, 12: 0.34, 13: 0.31, 14: 0.27, 15: 0.22, 16: 0.17, 17: 0.12, 18: 0.08}


def planck(wave: Tensor, teff: Tensor) -> Tensor:
    """Planck's law B_lambda, scaled to 1 at 5500 A."""
    x, x0 = 1.43878e8 / (wave * teff), 1.43878e8 / (5500.0 * teff)
    return (5500.0 / wave) ** 5 * torch.expm1(x0) / torch.expm1(x)


def balmer_strength(teff: Tensor) -> Tensor:
    """The strength of the Balmer lines relative to their maximum, which is at A2 (Gray & Corbally 2009)."""
    offset = torch.log(teff / 9200.0)
    return torch.exp(-0.5 * (offset / torch.where(offset < 0, 0.25, 0.55)) ** 2)


def continuum(wave: Tensor, teff: Tensor, logg: Tensor, feh: Tensor) -> Tensor:
    """Continuum [B, N]: Planck's law, the Balmer jump, and the blanketing by faint metal lines below 5000 A.

    The Paschen continuum of A stars is as blue as that of a hotter black body, because hydrogen absorbs more in the
    red.
    """
    jump = balmer_strength(teff) * torch.sigmoid((teff - 6600.0) / 250.0)
    flux = planck(wave, teff * (1.0 + 0.35 * jump))
    # In the Sun at 4000 A, lines that are too faint to be listed here absorb about a sixth of the light (fitted by
    # eye).
    metals = (_absorbers(["Fe"], [0], [1.5], teff, logg, feh) ** 0.35).clamp(max=2.5)
    blanket = 0.18 * metals * ((5000.0 - wave) / 1000.0).clamp(0.0, 1.6) ** 1.5
    # Below 4000 A the crowded lines of iron cause a break (Bruzual 1983, ApJ 273, 105), which is deeper in cool stars.
    blanket = blanket + 0.05 * metals**2 * below(wave, 3985.0, 15.0)
    return flux * (1.0 - 0.6 * jump * below(wave, 3690.0, 20.0)) * torch.exp(-blanket)


def _absorbers(
    elements: Sequence[str],
    stages: Sequence[int],
    excitation: Sequence[float],
    teff: Tensor,
    logg: Tensor,
    metals: Tensor,
) -> Tensor:
    """The number of absorbers of L lines per unit of continuous opacity, relative to the Sun, [B, L].

    `metals` is the logarithm of their abundance, [B, 1] or [B, L].
    """
    first = torch.tensor([_ELEMENTS[name][0] for name in elements])
    second = torch.tensor([_ELEMENTS[name][1] for name in elements])
    ion, energy = torch.tensor(stages) == 1, torch.tensor(excitation)
    sun = [torch.tensor([[value]]) for value in _SUN]
    own = _log_absorbers(first, second, ion, energy, teff, logg, metals)
    return 10.0 ** (own - _log_absorbers(first, second, ion, energy, *sun)).clamp(-8.0, 4.0)


def _log_absorbers(
    first: Tensor, second: Tensor, ion: Tensor, excitation: Tensor, teff: Tensor, logg: Tensor, metals: Tensor
) -> Tensor:
    """The logarithm of `_absorbers` up to a constant, from ionisation and excitation energies [L] in eV."""
    temperature = 0.87 * teff.clamp(2500.0, 45000.0)  # temperature of the layer where lines form
    theta = 5040.0 / temperature
    # Electron pressure grows with gravity and exponentially with temperature (Gray 2005, chapter 9).
    hot = temperature.clamp(max=9500.0) - 5000.0
    pressure = 1.2 + 0.00045 * hot + 0.35 * (logg - 4.44)

    def ionised(energy: Tensor | float) -> Tensor:
        """The ratio of two stages of ionisation by Saha's equation, with equal partition functions."""
        return 10.0 ** (2.5 * torch.log10(temperature) - theta * energy - 0.18 - pressure).clamp(-18.0, 18.0)

    once = ionised(first)
    twice = once * ionised(second)
    share = torch.where(ion, once, torch.ones_like(once)) / (1.0 + once + twice)
    # The opacity is the sum of that of H- by Saha's equation, of bound-free absorption from n = 3, which equals it at
    # Teff = 8000 K, and of scattering by electrons. The unit is 1.9e-17 cm2. The cross-section of an electron is
    # 6.65e-25 cm2.
    neutral = 1.0 / (1.0 + ionised(13.6))
    minus = pressure + 0.754 * theta - 2.5 * torch.log10(temperature)
    bound_free = -12.09 * theta - (-12.09 * 0.724) + (1.2 + 0.00045 * 1960.0 + 0.754 * 0.724 - 2.5 * math.log10(6960.0))
    opacity = neutral * (10.0**minus + 10.0**bound_free) + 3.6e-8 * (1.0 - neutral) + 1e-12
    return metals + torch.log10(share) - theta * excitation - torch.log10(opacity)


_GROWTH = np.geomspace(1e-6, 1e7, 400)
_WIDTHS = 0.10 * np.log1p(_GROWTH) + 0.01 * np.sqrt(_GROWTH)


_SOLAR = np.interp([line[4] for line in _LINES], _WIDTHS, _GROWTH)  # position of each line on the Sun's curve of growth


def metal_depth(
    wave: Tensor, teff: Tensor, logg: Tensor, feh: Tensor, alpha: Tensor, dispersion: float | Tensor
) -> Tensor:
    """Optical depth [B, N] of atomic lines, the G band and CN. `alpha` is [alpha/Fe], and `dispersion` is in km/s."""
    tau = torch.zeros_like(wave)
    _, elements, stages, excitation, _, _ = zip(*_LINES, strict=True)
    metals = feh + alpha * torch.tensor([float(_ELEMENTS[name][2]) for name in elements])
    absorbers = _absorbers(elements, stages, excitation, teff, logg, metals)
    # The curve of growth gives equivalent widths. It is linear, then flat, then damped (Gray 2005, chapter 13).
    grown = np.interp(_SOLAR * absorbers.numpy(), _GROWTH, _WIDTHS, left=0.0)
    widths = torch.from_numpy(grown.astype(np.float32))
    for k, (air, element, _, _, solar, sigma) in enumerate(_LINES):
        width = widths[:, k : k + 1]
        if element in ("CH", "CN"):  # dissociated above 7000 K, replaced by CO below 4000 K
            width = width * torch.sigmoid((6300.0 - teff) / 300.0) * torch.sigmoid((teff - 3900.0) / 200.0)
        if float(width.max()) < 0.01:
            continue
        vacuum = air * (1.0 + 2.735182e-4 + 131.4182 / air**2 + 2.76249e8 / air**4)  # Morton (1991, ApJS 77, 119)
        own = sigma * (1.0 + 0.6 * torch.log1p(width / solar))
        add_line(tau, wave, vacuum, broadened(vacuum, 0.0, dispersion).hypot(own), 1.3 * width.clamp(max=15.0))
    for centre, hottest, peak in _HELIUM:
        strength = peak * torch.exp(-0.5 * (torch.log(teff / hottest) / 0.33) ** 2)
        add_line(tau, wave, centre, broadened(centre, 1.5, dispersion), strength)
    return tau


def molecular_depth(wave: Tensor, teff: Tensor, logg: Tensor, feh: Tensor) -> Tensor:
    """Optical depth [B, N] of the bands of TiO, CaH and VO in stars below 4100 K, and of MgH below 5300 K."""
    tau = torch.zeros_like(wave)
    magnesium = ((5300.0 - teff) / 1200.0).clamp(0.0, 1.0) * 10.0 ** (0.3 * feh + 0.2 * (logg - 4.4))
    add_line(tau, wave, 5110.0, 40.0, 22.0 * magnesium)
    cool = ((4100.0 - teff) / 1100.0).clamp(0.0, 1.6) * 10.0 ** (0.2 * feh)
    rows = torch.nonzero(cool[:, 0] > 0)[:, 0]
    for head, decay, depth in _BANDS if len(rows) else ():
        red = wave[rows] - head
        tau[rows] += cool[rows] * depth * 1.6 * torch.exp(-red.clamp(min=0.0) / decay) * torch.sigmoid(red / 4.0)
    return tau


def hydrogen_depth(wave: Tensor, strength: Tensor, scale: Tensor) -> Tensor:
    """Optical depth [B, N] of Balmer and Paschen lines with an area `strength` and a Stark width `scale`, both in A."""
    tau = torch.zeros_like(wave)
    for lower, limit, shares in ((2, 3647.05, _BALMER), (3, 8205.87, _PASCHEN)):
        for upper, share in shares.items():
            centre = limit * upper**2 / (upper**2 - lower**2)  # Rydberg's formula, in vacuum
            own = scale * (centre / 4862.7) if lower == 2 else 1.3 * scale
            add_line(tau, wave, centre, own.hypot(broadened(centre, 0.0, 0.0)), share * strength, stark=True)
    return tau
