"""A simulated survey: stars, galaxies and quasars as SDSS and LAMOST would see them.

Simple physics, honest difficulty: continua, lines and bands that move with temperature, gravity, metallicity, age and
redshift, under each survey's grid, resolution, sky, masks and calibration errors. What is drawn depends on the seed
alone. Wavelengths are vacuum Angstrom, widths of lines in Angstrom or km/s as named, temperatures in K.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spectromer.spectra import Spectrum

__all__ = ["SURVEYS", "Survey", "simulate"]

C_KMS = 299792.458
CHUNK = 256  # objects simulated at a time


@dataclass(frozen=True)
class Survey:
    """A spectrograph: its log-linear grid (log10 Angstrom) and its habits."""

    name: str
    coeff0: float
    coeff1: float
    pixels: int
    tilt: float  # scatter of the flux calibration's slope, per e-fold of wavelength
    join: tuple[float, float]  # where the two arms meet, Angstrom
    step: float  # scatter of the flux step there, ln flux
    redshift_reach: float  # galaxies reach this share of z = 0.8

    @property
    def loglam(self) -> np.ndarray:
        """log10 wavelength of the pixels, [N]."""
        return self.coeff0 + self.coeff1 * np.arange(self.pixels)


SURVEYS = {
    "SDSS": Survey("SDSS", 3.5526, 1e-4, 4620, 0.08, (5900.0, 6200.0), 0.01, 1.0),
    "LAMOST": Survey("LAMOST", 3.5682, 1e-4, 3909, 0.20, (5700.0, 5950.0), 0.06, 0.6),
}
RESOLUTION_KMS = 66.0  # sigma of both spectrographs, R of about 1900

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
# Galaxies: share, old stars' share of the light, ln EW(H alpha) and its scatter, log [OIII]/Hb, log [NII]/Ha.
_GALAXIES = {
    "": (0.40, (0.85, 1.0), 0.0, 0.6, 0.2, -0.1),
    "STARFORMING": (0.30, (0.2, 0.7), 3.2, 0.6, -0.3, -0.4),
    "STARBURST": (0.18, (0.0, 0.25), 4.5, 0.5, 0.4, -0.9),
    "AGN": (0.12, (0.4, 0.85), 3.0, 0.6, 0.8, 0.0),
}
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
_CLASSES = {"STAR": 0.45, "GALAXY": 0.33, "QSO": 0.22}


class _Draw:
    """Random numbers of one chunk, as float32 columns [B, 1] ready to meet wavelengths [B, N]."""

    def __init__(self, *seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def column(self, values: np.ndarray | Sequence[float]) -> Tensor:
        return torch.from_numpy(np.asarray(values, dtype=np.float32)).reshape(-1, 1)

    def normal(self, count: int, mean: float = 0.0, sigma: float = 1.0) -> Tensor:
        return self.column(self.rng.normal(mean, sigma, count))

    def uniform(self, count: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return self.column(self.rng.uniform(low, high, count))

    def field(self, rows: int, pixels: int) -> Tensor:
        """Standard normal noise [rows, pixels]."""
        return torch.from_numpy(self.rng.standard_normal((rows, pixels), dtype=np.float32))

    def choice(self, shares: dict[str, float], count: int) -> np.ndarray:
        weights = np.array(list(shares.values()))
        return self.rng.choice(list(shares), count, p=weights / weights.sum())


def _gauss(wave: Tensor, centre: float | Tensor, sigma: float | Tensor) -> Tensor:
    return torch.exp(-0.5 * ((wave - centre) / sigma) ** 2)


def _sigmoid_below(wave: Tensor, edge: float, width: float) -> Tensor:
    """1 well below `edge`, 0 well above."""
    return torch.sigmoid((edge - wave) / width)


def _planck(wave: Tensor, teff: Tensor) -> Tensor:
    """B_lambda, 1 at 5500 A."""
    x, x0 = 1.43878e8 / (wave * teff), 1.43878e8 / (5500.0 * teff)
    return (5500.0 / wave) ** 5 * torch.expm1(x0) / torch.expm1(x)


def _broadened(wave0: float, sigma: float, dispersion: float | Tensor) -> Tensor:
    """Sigma in Angstrom of a line of its own `sigma` (A) under a velocity dispersion (km/s) and the instrument."""
    total = torch.as_tensor(dispersion) ** 2 + RESOLUTION_KMS**2
    return torch.sqrt(sigma**2 + (wave0 / C_KMS) ** 2 * total)


def _stellar_depth(wave: Tensor, teff: Tensor, logg: Tensor, feh: Tensor, dispersion: float | Tensor) -> Tensor:
    """Optical depth of the metal, helium and molecular lines, [B, N]."""
    tau = torch.zeros_like(wave)
    log_t = torch.log(teff)
    for wave0, ew, t0, cool, hot, metal, gravity, sigma in _STELLAR_LINES:
        offset = log_t - math.log(t0)
        strength = torch.exp(-0.5 * (offset / torch.where(offset < 0, cool, hot)) ** 2)
        strength = ew * strength * 10.0 ** (metal * feh + gravity * (logg - 4.0))
        if float(strength.max()) < 0.02:
            continue
        width = _broadened(wave0, sigma, dispersion)
        tau += strength / (math.sqrt(2 * math.pi) * width) * _gauss(wave, wave0, width)
    cool_bands = ((4100.0 - teff) / 1100.0).clamp(0.0, 1.5) * 10.0 ** (0.2 * feh)
    if float(cool_bands.max()) > 0:
        for head, decay, depth in _BANDS:
            red = wave - head
            shape = torch.exp(-red.clamp(min=0.0) / decay) * torch.sigmoid(red / 4.0)
            tau += cool_bands * depth * 1.6 * shape
    return tau


def _balmer_depth(wave: Tensor, ew: Tensor, width: Tensor) -> Tensor:
    """Optical depth of the Balmer lines with pressure-broadened wings of half-width `width` (A)."""
    tau = torch.zeros_like(wave)
    for wave0, share in _BALMER:
        scale = width * (wave0 / 4862.7)
        tau += ew * share / (2.0 * scale) * (1.0 + ((wave - wave0) / scale) ** 2) ** -1.5
    return tau


def _stars(wave: Tensor, draw: _Draw, rows: int) -> tuple[Tensor, list[dict[str, Any]]]:
    """Rest-frame spectra [B, N] at wavelengths [B, N] shifted by each star's velocity, and labels."""
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

    flux = _planck(rest, teff)
    cool = ((6500.0 - teff) / 2500.0).clamp(0.0, 1.4) * 10.0 ** (0.3 * feh)
    flux = flux * torch.exp(-0.5 * cool * ((4500.0 - rest) / 500.0).clamp(0.0, 3.0))
    log_ratio = torch.log(teff / 9300.0)
    balmer = torch.exp(-0.5 * (log_ratio / torch.where(log_ratio < 0, 0.30, 0.62)) ** 2)
    jump = 0.35 * balmer * (teff > 6500) * (1.0 - dwarf)
    flux = flux * (1.0 - jump * _sigmoid_below(rest, 3680.0, 25.0))
    tau = _stellar_depth(rest, teff, logg, feh, 5.0) * (1.0 - dwarf)
    width = (2.0 + 9.0 * balmer) * 10.0 ** (0.15 * (logg - 4.0)).clamp(max=0.3)
    tau = tau + (1.0 - dwarf) * _balmer_depth(rest, 13.0 * balmer, width)

    # White dwarfs: hydrogen (DA), helium (DB), or nothing (DC).
    kind = draw.uniform(rows)
    da, db = dwarf * (kind < 0.78), dwarf * ((kind >= 0.78) & (kind < 0.95))
    strength = torch.exp(-0.5 * (torch.log(teff / 12500.0) / 0.55) ** 2)
    tau = tau + da * _balmer_depth(rest, 38.0 * strength + 3.0, 28.0 + 14.0 * strength)
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


def _galaxies(wave: Tensor, draw: _Draw, rows: int, reach: float) -> tuple[Tensor, list[dict[str, Any]]]:
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
    old_light = _planck(rest, teff) * (1.0 - 0.45 * _sigmoid_below(rest, 3990.0, 35.0))
    old_light = old_light * torch.exp(-0.7 * ((3300.0 - rest) / 600.0).clamp(min=0.0)) + 0.02
    old_light = old_light * torch.exp(-_stellar_depth(rest, teff, torch.full_like(teff, 3.0), feh, dispersion))
    slope = draw.normal(rows, -1.9, 0.3)
    young = (rest / 5500.0) ** slope * (1.0 - 0.28 * _sigmoid_below(rest, 3680.0, 30.0))
    young = young * torch.exp(-_balmer_depth(rest, torch.full_like(slope, 5.0), torch.full_like(slope, 7.0)))
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
        sigma = _broadened(wave0, 0.0, 0.7 * dispersion)
        gas += ew / (math.sqrt(2 * math.pi) * sigma) * _gauss(rest, wave0, sigma)
    labels = [{"class": "GALAXY", "subclass": str(k), "z": float(z[i])} for i, k in enumerate(kinds)]
    return flux * (1.0 + gas), labels


def _quasars(wave: Tensor, draw: _Draw, rows: int) -> tuple[Tensor, list[dict[str, Any]]]:
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
        sigma = _broadened(wave0, 0.0, breadth * fwhm / 2.355 if breadth else 180.0)
        own = torch.exp(draw.normal(rows, 0.0, 0.25))
        lines += ew * strength * own / (math.sqrt(2 * math.pi) * sigma) * _gauss(rest, wave0, sigma)
    iron = torch.exp(draw.normal(rows, 0.0, 0.4))
    for centre, width, height in _QUASAR_BUMPS:
        lines += iron * height * _gauss(rest, float(centre), float(width))
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


def _sky(wave: Tensor) -> Tensor:
    """Sky brightness relative to its continuum at 5500 A, [N]: the same night sky for every seed."""
    rng = np.random.default_rng(5577)
    sky = 0.8 + 0.2 * (wave / 5500.0) ** 2
    named = ((5578.9, 40.0), (5891.6, 5.0), (6302.0, 10.0), (6365.5, 4.0), (6865.0, 3.0))
    hydroxyl = zip(rng.uniform(7200.0, 10400.0, 130), rng.lognormal(1.6, 0.8, 130), strict=True)
    for centre, height in (*named, *hydroxyl):
        sky = sky + height * _gauss(wave, float(centre), 1.6)
    return sky


def _throughput(wave: Tensor) -> Tensor:
    blue, red = torch.sigmoid((wave - 3850.0) / 180.0), torch.sigmoid((9700.0 - wave) / 350.0)
    dichroic = 1.0 - 0.25 * _gauss(wave, 6000.0, 90.0)
    return (0.04 + 0.96 * blue) * (0.05 + 0.95 * red) * dichroic


def _observe(flux: Tensor, labels: list[dict[str, Any]], survey: Survey, wave: Tensor, draw: _Draw) -> tuple:
    """Redden, calibrate, add noise and masks: flux and ivar [B, N] in 1e-17 erg/s/cm2/A."""
    rows = flux.shape[0]
    band = (wave > 5500.0) & (wave < 7000.0)
    reddening = draw.column(draw.rng.exponential(0.05, rows))
    flux = flux * 10.0 ** (-0.4 * 3.1 * reddening * (5500.0 / wave) ** 1.3)
    x = torch.log(wave / 6000.0)
    flux = flux * torch.exp(draw.normal(rows, 0.0, survey.tilt) * x + draw.normal(rows, 0.0, survey.tilt) * x**2)
    middle = sum(survey.join) / 2.0
    flux = flux * torch.where(wave > middle, torch.exp(draw.normal(rows, 0.0, survey.step)), 1.0)

    faint = draw.column([row["class"] == "QSO" or row["z"] > 0.35 for row in labels])
    snr = torch.exp(torch.where(faint > 0, draw.normal(rows, 1.9, 0.6), draw.normal(rows, 2.5, 0.75)))
    snr = snr.clamp(2.5, 80.0)
    level = flux[:, band].median(1, keepdim=True).values
    flux = flux / level
    seen = _throughput(wave)
    sky = 1.0 + (_sky(wave) - 1.0) * torch.exp(draw.normal(rows, 0.0, 0.3))
    # Photons of object and sky, the object's share growing with its brightness; 1 in the middle of the band.
    share = snr / (snr + 15.0)
    variance = (share * flux.clamp(min=0.0) + (1.0 - share) * sky) / seen
    variance = variance / variance[:, band].median(1, keepdim=True).values / snr**2
    flux = flux + draw.field(*flux.shape) * variance.sqrt()

    bad = draw.field(*flux.shape) > 2.95  # cosmic rays, each with its neighbours
    bad = bad | bad.roll(1, 1) | bad.roll(-1, 1)
    bad |= ((wave - 5578.9).abs() < 7.0) & (draw.uniform(rows) < 0.4)
    join = (wave > survey.join[0]) & (wave < survey.join[1])
    bad |= join & (draw.uniform(rows) < 0.05)
    bad |= (torch.arange(wave.shape[0]) < 80) & (draw.uniform(rows) < 0.3)
    flux = torch.where(bad, flux + 20.0 * draw.field(*flux.shape) * variance.sqrt(), flux)
    brightness = 0.6 * snr * torch.exp(draw.normal(rows, 0.0, 0.3))
    ivar = torch.where(bad, 0.0, 1.0 / (variance * brightness**2))
    return flux * brightness, ivar


def _chunk(survey: Survey, rows: int, seed: int, number: int) -> list[Spectrum]:
    draw = _Draw(seed, list(SURVEYS).index(survey.name), number)
    wavelength = torch.from_numpy(10.0**survey.loglam)
    wave = wavelength.to(torch.float32)
    classes = draw.choice(_CLASSES, rows)
    flux = torch.empty(rows, survey.pixels)
    labels: list[dict[str, Any]] = [{}] * rows
    for name in _CLASSES:
        index = np.flatnonzero(classes == name)
        if not len(index):
            continue
        grid = wave.expand(len(index), -1)
        if name == "STAR":
            drawn, rows_of = _stars(grid, draw, len(index))
        elif name == "GALAXY":
            drawn, rows_of = _galaxies(grid, draw, len(index), survey.redshift_reach)
        else:
            drawn, rows_of = _quasars(grid, draw, len(index))
        flux[torch.from_numpy(index)] = drawn
        for i, row in zip(index.tolist(), rows_of, strict=True):
            labels[i] = row
    flux, ivar = _observe(flux, labels, survey, wave, draw)
    ra, dec = draw.rng.uniform(0, 360, rows), np.degrees(np.arcsin(draw.rng.uniform(-0.1, 0.9, rows)))
    spectra = []
    for i in range(rows):
        serial = number * CHUNK + i
        name = (
            f"{1000 + serial // 1000:04d}-55000-{serial % 1000 + 1:04d}" if survey.name == "SDSS" else f"{serial + 1}"
        )
        known: dict[str, Any] = {"ra": float(ra[i]), "dec": float(dec[i])}
        if survey.name == "SDSS":
            known["zwarning"] = 0
        spectrum = Spectrum(flux[i], ivar[i], wavelength, survey.name, name, labels[i] | known)
        spectrum.labels["snr"] = spectrum.snr
        spectra.append(spectrum)
    return spectra


def simulate(
    count: int, *, seed: int = 0, surveys: tuple[str, ...] = ("SDSS", "LAMOST"), first: int = 0
) -> Iterator[Spectrum]:
    """Simulate `count` spectra, alternating between surveys in chunks.

    Parameters
    ----------
    count : int
        Number of spectra.
    seed : int
        Decides everything drawn. A longer survey of the same seed begins with the shorter one's objects.
    surveys : tuple of str
        Of "SDSS" (3570 to 10340 A, 4620 pixels) and "LAMOST" (3700 to 9100 A, 3909 pixels).
    first : int
        Spectra of the survey to leave out at its beginning.

    Yields
    ------
    Spectrum
        With labels class, subclass, z, snr, ra, dec, for SDSS zwarning, for stars but white dwarfs teff, logg, feh.
        45 % are stars, 33 % galaxies and 22 % quasars.
    """
    end = first + count
    while first < end:
        turn = first // CHUNK
        survey = SURVEYS[surveys[turn % len(surveys)]]
        rows = _chunk(survey, CHUNK, seed, turn // len(surveys))[first - turn * CHUNK : end - turn * CHUNK]
        yield from rows
        first += len(rows)
