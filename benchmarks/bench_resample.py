"""resample: 4620 SDSS pixels to 4096 linear bins, flux and ivar, against what people use."""

from typing import Any

import numpy as np
import pytest
import torch

import spectromer
import spectromer.reference
from spectromer import SpectrumBatch

GRID = np.linspace(3650.0, 10250.0, 4096)
GROUP = "resample 4620 px to 4096 bins"


def test_spectromer(rate: Any, batch: SpectrumBatch) -> None:
    flux, ivar = batch.flux, batch.ivar
    grid = torch.from_numpy(GRID)
    out, _ = rate(GROUP, "spectromer", len(batch), lambda: spectromer.resample(flux, ivar, batch.wavelength, grid))
    want = spectromer.reference.resample(flux[0], ivar[0], batch.wavelength, GRID)[0]
    np.testing.assert_allclose(out[0], want, rtol=1e-4, atol=1e-4)


def test_spectres_numba(rate: Any, batch: SpectrumBatch) -> None:
    """The same without masks, which it has none of."""
    module = pytest.importorskip("spectres.spectral_resampling_numba", reason="spectres or numba is not installed")
    spectres = module.spectres_numba
    wavelength = batch.wavelength.numpy()
    flux, error = batch.flux[:8].double().numpy(), np.ones((8, len(wavelength)))

    def work() -> list:
        return [spectres(GRID, wavelength, f, e, verbose=False) for f, e in zip(flux, error, strict=True)]

    work()  # compiles
    rate(GROUP, "spectres with numba", 8, work)


def test_numpy_interp(rate: Any, batch: SpectrumBatch) -> None:
    """What many do: no bins, no variance."""
    wavelength, flux = batch.wavelength.numpy(), batch.flux.numpy()
    rate(
        GROUP, "numpy.interp (flux alone, no bins)", len(batch), lambda: [np.interp(GRID, wavelength, f) for f in flux]
    )
