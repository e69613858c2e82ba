"""Random numbers, and the profiles of lines and edges that all simulated objects use."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from spectromer.grids import C_KMS

__all__ = ["Draw", "add_line", "below", "broadened", "gauss"]

RESOLUTION_KMS = 66.0  # sigma of both spectrographs, R of about 1900


class Draw:
    """Random numbers of one chunk, as float32 columns [B, 1] that broadcast with wavelengths [B, N]."""

    def __init__(self, *seed: int) -> None:
        """Seed the generator with one or more numbers."""
        self.rng = np.random.default_rng(seed)

    def column(self, values: np.ndarray | Sequence[float]) -> Tensor:
        """Values of each row as a column [B, 1]."""
        return torch.from_numpy(np.asarray(values, dtype=np.float32)).reshape(-1, 1)

    def normal(self, count: int, mean: float = 0.0, sigma: float = 1.0) -> Tensor:
        """Normal deviates [B, 1]."""
        return self.column(self.rng.normal(mean, sigma, count))

    def uniform(self, count: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Uniform deviates from `low` to `high`, [B, 1]."""
        return self.column(self.rng.uniform(low, high, count))

    def field(self, rows: int, pixels: int) -> Tensor:
        """Standard normal noise [rows, pixels]."""
        return torch.from_numpy(self.rng.standard_normal((rows, pixels), dtype=np.float32))

    def choice(self, shares: dict[str, float], count: int) -> np.ndarray:
        """Names [B], drawn with probabilities proportional to their shares."""
        weights = np.array(list(shares.values()))
        return self.rng.choice(list(shares), count, p=weights / weights.sum())


def gauss(wave: Tensor, centre: float | Tensor, sigma: float | Tensor) -> Tensor:
    """A Gaussian line of height 1."""
    return torch.exp(-0.5 * ((wave - centre) / sigma) ** 2)


def below(wave: Tensor, edge: float, width: float) -> Tensor:
    """A smooth step: 1 well below `edge`, 0 well above."""
    return torch.sigmoid((edge - wave) / width)


def broadened(wave0: float, sigma: float, dispersion: float | Tensor) -> Tensor:
    """Sigma in A of a line of intrinsic `sigma` (A), broadened by a velocity dispersion (km/s) and the instrument."""
    total = torch.as_tensor(dispersion) ** 2 + RESOLUTION_KMS**2
    return torch.sqrt(sigma**2 + (wave0 / C_KMS) ** 2 * total)


def add_line(
    target: Tensor,  # [B, N]
    wave: Tensor,  # [B, N] Angstrom, on a logarithmic grid
    centre: float | Tensor,  # Angstrom
    sigma: float | Tensor,  # [B, 1] Angstrom
    area: float | Tensor,  # [B, 1] Angstrom
    stark: bool = False,
) -> None:
    """Add a line of a given area to `target`, in the pixels that it reaches.

    The line is a Gaussian, or, with `stark`, the profile (1 + x^2)^(-5/4) with the Holtsmark wings of linear Stark
    broadening, which fall as the power -5/2 of the distance. In this case `sigma` is the scale of x.
    """
    rows, pixels = wave.shape
    step = torch.log(wave[:1, -1:] / wave[:1, :1]) / (pixels - 1)
    sigma = torch.as_tensor(sigma, dtype=torch.float32).expand(rows, 1)
    place = (torch.log(torch.as_tensor(centre) / wave[:, :1]) / step).expand(rows, 1)
    width = (sigma / (torch.as_tensor(centre) * step)).clamp(min=0.5)  # in pixels
    half = int((width.max() * (14.0 if stark else 4.0)).clamp(max=pixels)) + 1
    if float(place.max()) < -half or float(place.min()) > pixels + half:
        return
    index = place.round().long() + torch.arange(-half, half + 1)
    x2 = ((index - place) / width) ** 2
    shape = (1.0 + x2) ** -1.25 / 2.396 if stark else torch.exp(-0.5 * x2) / math.sqrt(2.0 * math.pi)
    inside = (index >= 0) & (index < pixels)
    target.scatter_add_(1, index.clamp(0, pixels - 1), shape * inside * (torch.as_tensor(area) / sigma))
