"""resample of 4620 SDSS pixels to 4096 bins, flux and ivar with masks, compared with common packages."""

from typing import Any

import numpy as np
import pytest
import torch

import spectromer
import spectromer.reference
from spectromer import SpectrumBatch

BINS = 4096
LINEAR = np.linspace(3650.0, 10250.0, BINS)
LOG = np.geomspace(3650.0, 10250.0, BINS)
GROUP = f"resample 4620 px to {BINS} bins"
PEERS = 8  # number of spectra for slow peers


def moved(pixels: int, wavelengths: bool = False) -> int:
    """Size of one spectrum in bytes: flux and ivar before and after, and wavelengths if they are separate."""
    return 8 * (pixels + BINS) + (8 * pixels if wavelengths else 0)


def wrong(out: tuple[torch.Tensor, torch.Tensor], batch: SpectrumBatch, grid: np.ndarray, row: int) -> str:
    """Describe the error of a resampled spectrum relative to the float64 reference."""
    flux, ivar = (values[row].double().numpy() for values in out)
    true_flux, true_ivar = spectromer.reference.resample(batch.flux[row], batch.ivar[row], batch.wavelength, grid)
    np.testing.assert_array_equal(ivar > 0, true_ivar > 0)
    sigma = float(np.max(np.abs(flux - true_flux) * np.sqrt(true_ivar)))
    relative = float(np.max(np.abs(ivar - true_ivar) / np.where(true_ivar > 0, true_ivar, 1.0)))
    assert sigma <= 1e-4 and relative <= 1e-5
    return f"flux {sigma:.0e} sigma, ivar {relative:.0e}"


@pytest.mark.parametrize(
    ("name", "grid", "own", "method"),
    [
        ("spectromer, one wavelength for all, linear bins", LINEAR, False, "flux_conserving"),
        ("spectromer, one wavelength for all, log bins", LOG, False, "flux_conserving"),
        ("spectromer, wavelengths of each spectrum's own", LINEAR, True, "flux_conserving"),
        ('spectromer, method="linear"', LINEAR, False, "linear"),
    ],
)
def test_spectromer(rate: Any, batch: SpectrumBatch, name: str, grid: np.ndarray, own: bool, method: str) -> None:
    wavelength = batch.wavelength.expand(batch.flux.shape).contiguous() if own else batch.wavelength
    bins = torch.from_numpy(grid)

    def work() -> tuple[torch.Tensor, torch.Tensor]:
        return spectromer.resample(batch.flux, batch.ivar, wavelength, bins, method=method)

    error = wrong(work(), batch, grid, 3) if method == "flux_conserving" else ""
    rate(GROUP, name, len(batch), work, size=moved(batch.flux.shape[1], own), error=error)


def test_spectres_numba(rate: Any, peer: Any, batch: SpectrumBatch) -> None:
    """Time spectres with numba, without masks, which it does not support."""
    spectres = peer("spectres.spectral_resampling_numba", "spectres with numba").spectres_numba
    wavelength = batch.wavelength.numpy()
    flux, error = batch.flux[:PEERS].double().numpy(), np.ones((PEERS, len(wavelength)))

    def work() -> list:
        return [spectres(LINEAR, wavelength, f, e, verbose=False) for f, e in zip(flux, error, strict=True)]

    work()  # compile
    rate(GROUP, "spectres with numba", PEERS, work, size=moved(len(wavelength)), error="no masks")


def test_specutils(rate: Any, peer: Any, batch: SpectrumBatch) -> None:
    manipulation = peer("specutils.manipulation", "specutils")
    import astropy.units as u
    from astropy.nddata import InverseVariance
    from specutils import Spectrum

    spectra = [
        Spectrum(
            flux=batch.flux[i].double().numpy() * u.Jy,
            spectral_axis=batch.wavelength.numpy() * u.AA,
            uncertainty=InverseVariance(np.ones(len(batch.wavelength))),
        )
        for i in range(2)
    ]
    resampler = manipulation.FluxConservingResampler()
    rate(GROUP, "specutils", 2, lambda: [resampler(s, LINEAR * u.AA) for s in spectra], error="no masks")


def test_scipy(rate: Any, peer: Any, batch: SpectrumBatch) -> None:
    interpolate = peer("scipy.interpolate", "scipy")
    wavelength, flux = batch.wavelength.numpy(), batch.flux.double().numpy()
    rate(
        GROUP,
        "scipy, linear spline",
        len(batch),
        lambda: interpolate.make_interp_spline(wavelength, flux, k=1, axis=1)(LINEAR),
        error="flux alone, no bins",
    )


def test_numpy_interp(rate: Any, batch: SpectrumBatch) -> None:
    wavelength, flux = batch.wavelength.numpy(), batch.flux.numpy()
    rate(
        GROUP,
        "numpy.interp",
        len(batch),
        lambda: [np.interp(LINEAR, wavelength, f) for f in flux],
        error="flux alone, no bins",
    )
