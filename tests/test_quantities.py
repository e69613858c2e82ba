"""Quantities relative to the continuum have the values that their definition gives for simple spectra."""

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter1d

from spectromer.ops.quantities import HALF_WIDTH, LIMITS, relative

STEP = 2.5e-4
HALF = round(HALF_WIDTH / STEP)


def test_a_flat_spectrum() -> None:
    flux, ivar = torch.full((1, 3000), 5.0), torch.full((1, 3000), 4.0)
    found = relative(flux, ivar, STEP)
    assert set(found) == set(LIMITS)
    assert float(found["lines"].abs().max()) < 1e-6
    assert torch.allclose(found["continuum"], torch.tensor(0.5))
    assert torch.allclose(found["snr"], torch.tensor(np.log(11.0) / np.log(301.0)).float())


def test_a_narrow_line_keeps_its_depth() -> None:
    """A line of one bin is a share of 1 / (2 half + 1) of the window, and the continuum is lower by less than that."""
    for depth in (-0.5, -0.05, 0.4, 3.0):
        flux = torch.ones(1, 3000)
        flux[0, 1500] = 1.0 + depth
        found = relative(flux, torch.full((1, 3000), 1e6), STEP)["lines"][0]
        want = np.arcsinh(8.0 * depth) / np.arcsinh(32.0)
        assert float(found[1500]) == pytest.approx(want, abs=2.5 * abs(depth) / HALF)
        assert float(found[:1000].abs().max()) < 1e-6


def test_the_continuum_is_two_running_means() -> None:
    rng = np.random.default_rng(0)
    flux = 3.0 + np.cumsum(rng.standard_normal(2000)) * 0.02 + rng.standard_normal(2000) * 0.1
    ivar = np.full(2000, 100.0)
    ivar[300:340] = 0.0
    flux[310] = 1e9  # a masked pixel counts nothing
    good = ivar > 0

    def means(values: np.ndarray) -> np.ndarray:
        total, count = np.where(good, values, 0.0), good.astype(float)
        for _ in range(2):
            total, count = (uniform_filter1d(x, 2 * HALF + 1, mode="constant") for x in (total, count))
        return total / count

    continuum = means(flux)
    found = relative(torch.tensor(flux)[None], torch.tensor(ivar)[None], STEP)
    middle = np.abs(continuum[good]).mean()
    np.testing.assert_allclose(found["continuum"][0][good], (continuum / (continuum + middle))[good], rtol=1e-5)
    lines = np.arcsinh(8.0 * (flux - continuum) / continuum) / np.arcsinh(32.0)
    np.testing.assert_allclose(found["lines"][0][good], lines[good], atol=1e-5)
    np.testing.assert_allclose(found["snr"][0][good], (np.log1p(10.0 * continuum) / np.log(301.0))[good], rtol=1e-5)
    assert bool(found["lines"][0][~good].isnan().all())


def test_noise_without_a_continuum_is_no_line() -> None:
    """It is scaled by its own standard deviation, and not by a mean near 0."""
    noise = torch.from_numpy(np.random.default_rng(1).standard_normal((1, 4000)))
    found = relative(noise, torch.ones(1, 4000), STEP)
    depth = np.sinh(found["lines"][0].double().numpy() * np.arcsinh(32.0)) / 8.0
    assert float(depth.std()) == pytest.approx(1.0, abs=0.1)
    assert float(found["snr"].max()) < 0.1


@pytest.mark.parametrize("unit", [1e-30, 1e-17, 1e15])
def test_the_unit_of_the_flux_does_not_matter(unit: float) -> None:
    rng = np.random.default_rng(2)
    flux, ivar = (
        torch.from_numpy(5.0 + rng.standard_normal((2, 500))),
        torch.from_numpy(rng.uniform(0.5, 2.0, (2, 500))),
    )
    want, found = relative(flux, ivar, STEP), relative(flux * unit, ivar / unit**2, STEP)
    for name in LIMITS:
        torch.testing.assert_close(found[name], want[name], rtol=1e-5, atol=1e-6)


def test_odd_spectra_stay_within_the_limits() -> None:
    flux = torch.tensor([[0.0] * 50, [-3.0] * 50, [1e30, -1e30] * 25, [torch.nan] * 50, [1.0] * 50])
    ivar = torch.tensor([[1.0] * 50, [1.0] * 50, [1e-30] * 50, [0.0] * 50, [0.0] * 49 + [1e-38]])
    for name, values in relative(flux, ivar, STEP).items():
        low, high = LIMITS[name]
        seen = values[ivar > 0]
        assert bool(((seen >= low) & (seen <= high)).all()), name
        assert bool(values[ivar == 0].isnan().all())
