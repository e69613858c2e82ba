"""scan_redshift of SDSS spectra over galaxies' redshifts, compared with the same scan written with numpy."""

from typing import Any

import numpy as np
import pytest
import torch

from spectromer import SpectrumBatch, reference, scan_redshift
from spectromer.ops.chisquare import chi_square
from spectromer.templates import TemplateSet, load

GROUP = "chi-square at 3,222 shifts, 10 templates"
ROWS = 16
FEW = 2  # spectra of the slow peers


@pytest.fixture(scope="module")
def galaxies() -> TemplateSet:
    """The package's templates of galaxies."""
    return next(s for s in load() if s.name == "GALAXY")


@pytest.fixture(scope="module")
def problem(batch: SpectrumBatch, galaxies: TemplateSet) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Flux, ivar and the first template bin, relative to the first pixel."""
    start = round(float(batch.wavelength[0].log10()) / galaxies.step)
    return batch.flux[:ROWS].double(), batch.ivar[:ROWS].double(), galaxies.first - start


def numpy_scan(flux: np.ndarray, ivar: np.ndarray, s: TemplateSet, first: int, coverage: float = 0.8) -> np.ndarray:
    """The same scan of one spectrum [N] with numpy.fft and numpy.linalg, [S]."""
    low, high = s.shifts
    count, n = high - low + 1, len(flux)
    window = np.zeros((len(s), n + count - 1))
    inside = np.zeros(n + count - 1)
    kept = s.flux.numpy()[:, max(0, -first - high) :]
    begin = max(0, first + high)
    length = min(kept.shape[1], window.shape[1] - begin)
    window[:, begin : begin + length] = kept[:, :length]
    inside[begin : begin + length] = 1.0
    size = 1 << (window.shape[1] - 1).bit_length()

    def correlated(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        found = np.fft.irfft(np.fft.rfft(x, size).conj() * np.fft.rfft(kernel, size), size)
        return found[..., :count][..., ::-1]

    i, j = np.tril_indices(len(s))
    matrix = np.empty((count, len(s), len(s)))
    matrix[:, i, j] = matrix[:, j, i] = correlated(ivar, window[i] * window[j]).T
    right = correlated(ivar * flux, window).T
    null, pixels = correlated(ivar * flux**2, inside), np.rint(correlated((ivar > 0).astype(float), inside))
    gain = (right * np.linalg.solve(matrix, right[..., None])[..., 0]).sum(1)
    chi2 = (null - gain) * (ivar > 0).sum() / np.maximum(pixels, 1.0)
    valid = (correlated(ivar, inside) >= coverage * ivar.sum() * (1 - 1e-6)) & (pixels > len(s))
    return np.where(valid, chi2, np.inf)


def wrong(got: np.ndarray, problem: Any, s: TemplateSet, row: int = 0) -> str:
    """The largest error of chi-square at some shifts, against a least-squares fit at each."""
    flux, ivar, first = problem
    low, high = s.shifts
    worst = 0.0
    for at in range(low + 40, high, (high - low) // 12):
        want = reference.chi_square(flux[row].numpy(), ivar[row].numpy(), s.flux.numpy(), first, (at, at))[0]
        assert np.isfinite(want) == np.isfinite(got[at - low])
        worst = max(worst, abs(float(got[at - low]) - want) if np.isfinite(want) else 0.0)
    squares = float((ivar[row] * flux[row] ** 2).sum())
    assert worst < 1e-4 * squares
    return f"chi-square {worst:.0e}, {worst / squares:.0e} of the squares"


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_chi_square(rate: Any, problem: Any, galaxies: TemplateSet, dtype: torch.dtype) -> None:
    flux, ivar, templates = problem[0].to(dtype), problem[1].to(dtype), galaxies.flux.to(dtype)

    def work() -> torch.Tensor:
        return chi_square(flux, ivar, templates, problem[2], galaxies.shifts).chi2

    rate(GROUP, f"spectromer, {dtype}", ROWS, work, error=wrong(work()[0].double().numpy(), problem, galaxies))


def test_numpy(rate: Any, problem: Any, galaxies: TemplateSet) -> None:
    flux, ivar = problem[0].numpy(), problem[1].numpy()

    def work() -> list[np.ndarray]:
        return [numpy_scan(flux[i], ivar[i], galaxies, problem[2]) for i in range(FEW)]

    rate(GROUP, "numpy, FFT, a spectrum at a time", FEW, work, error=wrong(work()[0], problem, galaxies))


def test_loop(rate: Any, problem: Any, galaxies: TemplateSet) -> None:
    """Time a fit at every hundredth shift."""
    flux, ivar = problem[0][0].numpy(), problem[1][0].numpy()
    low, high = galaxies.shifts
    shifts = range(low, high + 1, 100)

    def work() -> list[np.ndarray]:
        return [reference.chi_square(flux, ivar, galaxies.flux.numpy(), problem[2], (s, s)) for s in shifts]

    rate(GROUP, "numpy, a fit at each shift", 1, work, error="every 100th shift, so 100 times slower")


def test_scan_of_all_classes(rate: Any, batch: SpectrumBatch) -> None:
    """Time everything: resampling, stars, galaxies and quasars, and the summary."""
    few = batch.select(range(ROWS))
    sets = load()
    found = scan_redshift(few, templates=sets)
    z = torch.tensor([known["z"] for known in few.labels], dtype=torch.float64)
    right = int(((found.z - z).abs() < 0.01 * (1.0 + z)).sum())
    rate(
        "scan_redshift, stars, galaxies and quasars",
        "spectromer, float64",
        ROWS,
        lambda: scan_redshift(few, templates=sets),
        error=f"{right} of {ROWS} within 0.01 (1 + z)",
    )
