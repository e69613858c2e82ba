"""Random numbers, and the shapes of lines and edges that the simulated objects share."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

__all__ = ["C_KMS", "Draw", "below", "broadened", "gauss"]

C_KMS = 299792.458
RESOLUTION_KMS = 66.0  # sigma of both spectrographs, R of about 1900


class Draw:
    """Random numbers of one chunk, as float32 columns [B, 1] ready to meet wavelengths [B, N]."""

    def __init__(self, *seed: int) -> None:
        """Start from a seed of several numbers."""
        self.rng = np.random.default_rng(seed)

    def column(self, values: np.ndarray | Sequence[float]) -> Tensor:
        """Values of each row as a column [B, 1]."""
        return torch.from_numpy(np.asarray(values, dtype=np.float32)).reshape(-1, 1)

    def normal(self, count: int, mean: float = 0.0, sigma: float = 1.0) -> Tensor:
        """Normal deviates [B, 1]."""
        return self.column(self.rng.normal(mean, sigma, count))

    def uniform(self, count: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Numbers evenly spread from `low` to `high`, [B, 1]."""
        return self.column(self.rng.uniform(low, high, count))

    def field(self, rows: int, pixels: int) -> Tensor:
        """Standard normal noise [rows, pixels]."""
        return torch.from_numpy(self.rng.standard_normal((rows, pixels), dtype=np.float32))

    def choice(self, shares: dict[str, float], count: int) -> np.ndarray:
        """Names [B] drawn by their shares."""
        weights = np.array(list(shares.values()))
        return self.rng.choice(list(shares), count, p=weights / weights.sum())


def gauss(wave: Tensor, centre: float | Tensor, sigma: float | Tensor) -> Tensor:
    """A line of Gaussian shape and height 1."""
    return torch.exp(-0.5 * ((wave - centre) / sigma) ** 2)


def below(wave: Tensor, edge: float, width: float) -> Tensor:
    """A smooth step: 1 well below `edge`, 0 well above."""
    return torch.sigmoid((edge - wave) / width)


def broadened(wave0: float, sigma: float, dispersion: float | Tensor) -> Tensor:
    """Sigma, Angstrom, of a line with a `sigma` of its own (A), a velocity dispersion (km/s) and the instrument's."""
    total = torch.as_tensor(dispersion) ** 2 + RESOLUTION_KMS**2
    return torch.sqrt(sigma**2 + (wave0 / C_KMS) ** 2 * total)
