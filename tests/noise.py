"""Random spectra for the tests of the operators."""

import numpy as np
import torch


def spectrum(pixels: int, rows: int = 3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Flux and ivar [rows, pixels], with a tenth of the pixels masked."""
    rng = np.random.default_rng(seed)
    flux = rng.normal(5.0, 1.0, (rows, pixels)).astype(np.float32)
    ivar = rng.uniform(0.5, 2.0, (rows, pixels)).astype(np.float32)
    ivar[rng.random((rows, pixels)) < 0.1] = 0.0
    return torch.from_numpy(flux), torch.from_numpy(ivar)
