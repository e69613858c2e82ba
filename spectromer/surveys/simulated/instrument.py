"""The spectrographs of SDSS and LAMOST: what they make of an object's light, under the sky and with their errors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spectromer.surveys.simulated.draw import Draw, gauss

__all__ = ["SPECTROGRAPHS", "Spectrograph", "observe"]


@dataclass(frozen=True)
class Spectrograph:
    """A spectrograph: its log-linear grid, and the habits of its survey.

    Attributes
    ----------
    survey : str
    coeff0, coeff1 : float
        log10 of the first wavelength in Angstrom, and its step from pixel to pixel.
    pixels : int
    tilt : float
        Scatter of the flux calibration's slope, per e-fold of wavelength.
    join : (float, float)
        Where the two arms meet, Angstrom.
    step : float
        Scatter of the step in ln flux there.
    redshift_reach : float
        The share of z = 0.8 up to which the survey sees galaxies.
    labels : mapping
        The labels that the survey gives every spectrum.
    """

    survey: str
    coeff0: float
    coeff1: float
    pixels: int
    tilt: float
    join: tuple[float, float]
    step: float
    redshift_reach: float
    labels: Mapping[str, Any] = field(default_factory=dict)

    @property
    def loglam(self) -> np.ndarray:
        """log10 wavelength of the pixels, [N]."""
        return self.coeff0 + self.coeff1 * np.arange(self.pixels)


#: The spectrographs by their surveys; their order decides what is drawn, so a new one comes last.
SPECTROGRAPHS = {
    "SDSS": Spectrograph("SDSS", 3.5526, 1e-4, 4620, 0.08, (5900.0, 6200.0), 0.01, 1.0, {"zwarning": 0}),
    "LAMOST": Spectrograph("LAMOST", 3.5682, 1e-4, 3909, 0.20, (5700.0, 5950.0), 0.06, 0.6),
}


def _sky(wave: Tensor) -> Tensor:
    """Sky brightness relative to its continuum at 5500 A, [N]: the same night sky for every seed."""
    rng = np.random.default_rng(5577)
    sky = 0.8 + 0.2 * (wave / 5500.0) ** 2
    named = ((5578.9, 40.0), (5891.6, 5.0), (6302.0, 10.0), (6365.5, 4.0), (6865.0, 3.0))
    hydroxyl = zip(rng.uniform(7200.0, 10400.0, 130), rng.lognormal(1.6, 0.8, 130), strict=True)
    for centre, height in (*named, *hydroxyl):
        sky = sky + height * gauss(wave, float(centre), 1.6)
    return sky


def _throughput(wave: Tensor) -> Tensor:
    """The share of the light that arrives, [N]: less at both ends and where the dichroic parts the arms."""
    blue, red = torch.sigmoid((wave - 3850.0) / 180.0), torch.sigmoid((9700.0 - wave) / 350.0)
    dichroic = 1.0 - 0.25 * gauss(wave, 6000.0, 90.0)
    return (0.04 + 0.96 * blue) * (0.05 + 0.95 * red) * dichroic


def observe(
    flux: Tensor,  # [B, N]
    labels: Sequence[Mapping[str, Any]],  # [B], with class and z
    spectrograph: Spectrograph,
    wave: Tensor,  # [N] Angstrom
    draw: Draw,
) -> tuple[Tensor, Tensor]:
    """Redden and calibrate the light of objects, add noise and masks.

    Returns
    -------
    Tensor, Tensor
        flux and ivar [B, N], in 1e-17 erg/s/cm2/A and its inverse square.
    """
    rows = flux.shape[0]
    band = (wave > 5500.0) & (wave < 7000.0)
    reddening = draw.column(draw.rng.exponential(0.05, rows))
    flux = flux * 10.0 ** (-0.4 * 3.1 * reddening * (5500.0 / wave) ** 1.3)
    x = torch.log(wave / 6000.0)
    flux = flux * torch.exp(
        draw.normal(rows, 0.0, spectrograph.tilt) * x + draw.normal(rows, 0.0, spectrograph.tilt) * x**2
    )
    middle = sum(spectrograph.join) / 2.0
    flux = flux * torch.where(wave > middle, torch.exp(draw.normal(rows, 0.0, spectrograph.step)), 1.0)

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
    join = (wave > spectrograph.join[0]) & (wave < spectrograph.join[1])
    bad |= join & (draw.uniform(rows) < 0.05)
    bad |= (torch.arange(wave.shape[0]) < 80) & (draw.uniform(rows) < 0.3)
    flux = torch.where(bad, flux + 20.0 * draw.field(*flux.shape) * variance.sqrt(), flux)
    brightness = 0.6 * snr * torch.exp(draw.normal(rows, 0.0, 0.3))
    ivar = torch.where(bad, 0.0, 1.0 / (variance * brightness**2))
    return flux * brightness, ivar
