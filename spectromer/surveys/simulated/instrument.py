"""The spectrographs of SDSS and LAMOST: throughput, noise, sky residuals, flux calibration errors and masks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spectromer.surveys.simulated.draw import Draw
from spectromer.surveys.simulated.sky import interstellar, night_sky, sky_lines, telluric

__all__ = ["SPECTROGRAPHS", "Spectrograph", "observe"]

# Wavelengths in A and relative throughput there. The throughputs were fitted by eye to the median errors, in bins of
# 150 A, of 311 spectra of LAMOST, 53 of BOSS and 26 of the first SDSS spectrographs. Each has a minimum at the
# dichroic.
_LAMOST = (
    (3700, 3850, 4000, 4300, 4600, 5000, 5500, 5800, 5900, 5950, 6100, 6400, 6700, 7000, 7500, 8000, 8500, 9000, 9100),
    (0.031, 0.084, 0.15, 0.26, 0.36, 0.46, 0.43, 0.33, 0.35, 0.72, 1.0, 1.4, 1.8, 2.1, 2.1, 1.8, 1.4, 0.9, 0.7),
)
_BOSS = (
    (
        3570,
        3700,
        3850,
        4000,
        4300,
        4600,
        5000,
        5500,
        5670,
        5770,
        5870,
        5980,
        6190,
        6300,
        6400,
        6700,
        7500,
        8500,
        9500,
        10300,
    ),
    (0.06, 0.1, 0.19, 0.25, 0.46, 0.68, 0.92, 1.05, 0.95, 0.9, 0.72, 0.7, 0.84, 1.1, 1.5, 1.95, 2.4, 2.1, 1.1, 0.25),
)
_LEGACY = (
    (3800, 3850, 4000, 4300, 4600, 5000, 5500, 5800, 6000, 6400, 6700, 7000, 7500, 8000, 8500, 9000, 9200),
    (0.11, 0.15, 0.24, 0.39, 0.54, 0.7, 0.73, 0.58, 1.0, 1.29, 1.5, 1.45, 1.35, 1.1, 0.8, 0.55, 0.5),
)


@dataclass(frozen=True)
class Spectrograph:
    """A spectrograph with its log-linear grid, and the properties of its survey.

    Attributes
    ----------
    survey : str
    coeff0, coeff1 : float
        log10 of the first wavelength in Angstrom, and its step from pixel to pixel.
    pixels : int
    throughput : pair of tuples
        Wavelengths in A, and the relative number of photons that are counted at them.
    tilt : float
        Scatter of the slope of the flux calibration error, per e-fold of wavelength.
    ripple : float
        Scatter of the flux calibration error on scales of a few hundred Angstrom.
    join : (float, float)
        Limits in Angstrom of the region where the two arms meet.
    step : float
        Scatter of the step in ln flux at the join.
    bump : float
        Scatter of the bump in ln flux that a poor correction of the dichroic leaves redward of the join.
    telluric : float
        Scatter of the residual optical depth of the telluric bands.
    masked : (float, float)
        Shares of bad pixels in the blue and the red arm.
    reddening : float
        Mean of E(B-V) in mag. It is larger for LAMOST, which observes in the plane of the Galaxy.
    efficiency : float
        Scatter of the difference of ln throughput between the arms. The scatter of its slope, per e-fold of wavelength,
        is twice as large.
    star_snr : (float, float)
        Mean and scatter of the natural logarithm of the S/N of stars.
    redshift_reach : float
        Factor by which the redshifts of galaxies are scaled. With 1 they reach about 0.8.
    legacy : bool
        Whether some of the spectra are from the first SDSS spectrographs (3800 to 9220 A).
    labels : mapping
        Labels that every spectrum of the survey has.
    """

    survey: str
    coeff0: float
    coeff1: float
    pixels: int
    throughput: tuple[tuple[float, ...], tuple[float, ...]]
    tilt: float
    ripple: float
    join: tuple[float, float]
    step: float
    bump: float
    telluric: float
    masked: tuple[float, float]
    reddening: float
    efficiency: float
    star_snr: tuple[float, float]
    redshift_reach: float
    legacy: bool = False
    labels: Mapping[str, Any] = field(default_factory=dict)

    @property
    def loglam(self) -> np.ndarray:
        """log10 wavelength of the pixels, [N]."""
        return self.coeff0 + self.coeff1 * np.arange(self.pixels)


#: The spectrographs by survey. Their order is part of the seed, so new ones must be added at the end.
SPECTROGRAPHS = {
    "SDSS": Spectrograph(
        "SDSS",
        3.5526,
        1e-4,
        4620,
        _BOSS,
        tilt=0.08,
        ripple=0.005,
        join=(5900.0, 6200.0),
        step=0.01,
        bump=0.0,
        telluric=0.02,
        masked=(0.001, 0.001),
        reddening=0.04,
        efficiency=0.1,
        star_snr=(2.7, 0.7),
        redshift_reach=1.0,
        legacy=True,
        labels={"zwarning": 0},
    ),
    "LAMOST": Spectrograph(
        "LAMOST",
        3.5682,
        1e-4,
        3909,
        _LAMOST,
        tilt=0.15,
        ripple=0.005,
        join=(5700.0, 5950.0),
        step=0.02,
        bump=0.07,
        telluric=0.015,
        masked=(0.028, 0.007),
        reddening=0.15,
        efficiency=0.25,
        star_snr=(3.7, 1.0),
        redshift_reach=0.6,
    ),
}


def _calibrate(flux: Tensor, spectrograph: Spectrograph, wave: Tensor, draw: Draw) -> Tensor:
    """Apply errors of the flux calibration: slope, curvature, ripples, and a step and a bump where the arms meet."""
    rows = flux.shape[0]
    x = torch.log(wave / 6000.0)
    error = draw.normal(rows, 0.0, spectrograph.tilt) * x + draw.normal(rows, 0.0, spectrograph.tilt) * x**2
    waves = torch.cos(math.pi * torch.arange(4, 16)[:, None] * (wave - wave[0]) / (wave[-1] - wave[0]))
    size = spectrograph.ripple * torch.exp(draw.normal(rows, 0.0, 0.5)) / 2.0  # twelve waves of mean square 1/2
    error = error + (size * draw.field(rows, 12)) @ waves
    middle = sum(spectrograph.join) / 2.0
    error = error + draw.normal(rows, 0.0, spectrograph.step) * (wave > middle)
    start = spectrograph.join[1] - 50.0
    past = ((wave - start) / 120.0).clamp(min=0.0)
    bump = torch.sigmoid((wave - start) / 20.0) * torch.exp(-past)
    error = error + spectrograph.bump * draw.normal(rows, 0.3, 0.8) * bump
    return flux * torch.exp(error - telluric(wave, draw, rows, spectrograph.telluric))


def _snr(labels: Sequence[Mapping[str, Any]], spectrograph: Spectrograph, draw: Draw) -> Tensor:
    """Signal-to-noise ratios [B, 1], which are higher for stars and near galaxies than for distant objects."""
    kinds = [
        0 if row["class"] == "STAR" else 1 if row["class"] == "GALAXY" and row["z"] < 0.35 else 2 for row in labels
    ]
    mean = np.array([spectrograph.star_snr[0], 2.8, 1.6])[kinds]
    sigma = np.array([spectrograph.star_snr[1], 0.6, 0.75])[kinds]
    return torch.exp(draw.column(mean) + draw.column(sigma) * draw.normal(len(labels))).clamp(1.5, 600.0)


def observe(
    flux: Tensor,  # [B, N]
    labels: Sequence[Mapping[str, Any]],  # [B], with class and z
    spectrograph: Spectrograph,
    wave: Tensor,  # [N] Angstrom
    draw: Draw,
) -> tuple[Tensor, Tensor]:
    """Redden the light of objects, and add calibration errors, noise and masks.

    Returns
    -------
    Tensor, Tensor
        flux and ivar [B, N], in 1e-17 erg/s/cm2/A and its inverse square.
    """
    rows, pixels = flux.shape
    band = (wave > 5500.0) & (wave < 7000.0)
    ebv = draw.column(draw.rng.exponential(spectrograph.reddening, rows))
    # LAMOST's standard stars are reddened too, and its calibration attributes their reddening to the instrument (Xiang
    # et al. 2015, MNRAS 448, 822). Only the difference from their reddening remains.
    standard = spectrograph.reddening if spectrograph.survey == "LAMOST" else 0.0
    light = flux * torch.exp(-interstellar(wave, ebv, ebv - standard))
    flux = _calibrate(light, spectrograph, wave, draw)
    snr = _snr(labels, spectrograph, draw)
    flux = flux / flux[:, band].median(1, keepdim=True).values

    near = draw.column([row["class"] != "QSO" and row["z"] < 0.3 for row in labels])  # most of them are legacy
    legacy = (draw.uniform(rows) < torch.where(near > 0, 0.7, 0.1)) & spectrograph.legacy
    seen = torch.where(legacy, _interpolate(wave, _LEGACY), _interpolate(wave, spectrograph.throughput))
    # The efficiencies of the arms vary from fibre to fibre and from night to night.
    arm = torch.sigmoid((wave - sum(spectrograph.join) / 2.0) / 30.0)
    x = torch.log(wave / 6000.0)
    seen = seen * torch.exp(draw.normal(rows, 0.0, spectrograph.efficiency) * (arm + 2.0 * x))
    sky = night_sky(wave, torch.exp(draw.normal(rows, -0.5, 0.3)))
    # The variance is that of the photons of object and sky. The object's share grows with its brightness. Its median
    # in the band follows from the S/N.
    share = snr / (snr + 15.0)
    variance = (share * flux.clamp(min=0.05) + (1.0 - share) * sky) / seen
    variance = variance / variance[:, band].median(1, keepdim=True).values / snr**2
    error = variance.sqrt()
    # Resampling to the common grid correlates neighbours by 0.39, as the second differences of real spectra show.
    white = torch.nn.functional.pad(draw.field(rows, pixels), (1, 1), mode="replicate")
    flux = flux + (0.957 * white[:, 1:-1] + 0.205 * (white[:, :-2] + white[:, 2:])) * error
    # Sky lines are subtracted to 2 % at best. The residual is coherent over the pixels of a line.
    peaks, shapes = sky_lines(wave)
    left = draw.field(rows, len(peaks)) * peaks.sqrt() * 0.35
    flux = flux + (left @ shapes) * error

    bad = _bad_pixels(labels, spectrograph, wave, draw)
    bad |= legacy & ((wave < 3806.0) | (wave > 9215.0))
    flux = torch.where(bad, flux + 20.0 * draw.field(rows, pixels) * error, flux)
    if spectrograph.survey == "LAMOST":  # the last pixels of half of its files have no data
        end = draw.column(draw.rng.exponential(15.0, rows)) * (draw.uniform(rows) < 0.5)
        absent = wave > wave[-1] - end
        flux, bad = flux.masked_fill(absent, 0.0), bad | absent
    brightness = 0.6 * snr * torch.exp(draw.normal(rows, 0.0, 0.3))
    ivar = torch.where(bad, 0.0, 1.0 / (variance * brightness**2))
    return flux * brightness, ivar


def _interpolate(wave: Tensor, table: tuple[tuple[float, ...], tuple[float, ...]]) -> Tensor:
    """Interpolate the second row of a table at wavelengths `wave` [N]."""
    return torch.from_numpy(np.interp(wave.numpy(), *table)).float()


def _bad_pixels(labels: Sequence[Mapping[str, Any]], spectrograph: Spectrograph, wave: Tensor, draw: Draw) -> Tensor:
    """Mask [B, N] of cosmic rays, dead columns, a bright sky line, the join of the arms and the blue end."""
    rows, pixels = len(labels), len(wave)
    arm = (wave > sum(spectrograph.join) / 2.0).float()
    share = spectrograph.masked[0] * (1.0 - arm) + spectrograph.masked[1] * arm
    # A cosmic ray hits three pixels. One spectrum in thirty has many hits, in up to a quarter of its pixels.
    crowd = torch.where(draw.uniform(rows) < 0.03, 8.0, torch.exp(draw.normal(rows, -0.3, 0.7)))
    hit = torch.from_numpy(draw.rng.random((rows, pixels), dtype=np.float32)) < (share * crowd / 3.0).clamp(max=0.1)
    bad = hit | hit.roll(1, 1) | hit.roll(-1, 1)
    # A third of the bad pixels come in runs of thirteen, as where the sky subtraction fails.
    run = (torch.from_numpy(draw.rng.random((rows, pixels), dtype=np.float32)) < share * crowd / 39.0).float()
    bad |= torch.nn.functional.max_pool1d(run[:, None], 13, 1, 6)[:, 0] > 0
    column = draw.uniform(rows, 0.0, float(pixels)).long()
    bad |= ((torch.arange(pixels) - column).abs() < 4) & (draw.uniform(rows) < 0.1)
    bad |= ((wave - 5578.9).abs() < 7.0) & (draw.uniform(rows) < 0.04)
    join = (wave > spectrograph.join[0]) & (wave < spectrograph.join[1])
    bad |= join & (draw.uniform(rows) < 0.01)
    bad |= (torch.arange(pixels) < 80) & (draw.uniform(rows) < 0.1)
    return bad
