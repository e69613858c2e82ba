"""The median S/N in native code: equal to numpy's, whatever the values are."""

import numpy as np
import pytest
import torch

from spectromer import Spectrum


def by_numpy(flux: np.ndarray, ivar: np.ndarray) -> float:
    good = ivar > 0
    with np.errstate(all="ignore"):
        return float(np.median(flux[good] * np.sqrt(ivar[good]))) if good.any() else 0.0


def snr(flux: np.ndarray, ivar: np.ndarray) -> float:
    return Spectrum(torch.from_numpy(flux), torch.from_numpy(ivar), torch.arange(len(flux), dtype=torch.float64)).snr


@pytest.mark.parametrize("largest", [4, 300, 5000])
@pytest.mark.parametrize("decades", [0, 30])
@pytest.mark.parametrize("rounded", [False, True])
def test_it_equals_numpys_median(largest: int, decades: int, rounded: bool) -> None:
    """Of few and many pixels, odd and even numbers of them, equal values, values of any size, masked pixels."""
    rng = np.random.default_rng(largest)
    for _ in range(100):
        pixels = int(rng.integers(1, largest))
        flux = (rng.normal(size=pixels) * 10.0 ** rng.integers(-decades, decades + 1)).astype(np.float32)
        flux = np.round(flux) if rounded else flux
        ivar = np.maximum(rng.normal(size=pixels), 0.0).astype(np.float32)
        assert snr(flux, ivar) == by_numpy(flux, ivar)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("pixels", [1, 2, 3, 1000])
def test_values_that_are_not_finite_count_as_by_numpy(value: float, pixels: int) -> None:
    rng = np.random.default_rng(pixels)
    flux, ivar = rng.normal(size=pixels).astype(np.float32), np.ones(pixels, np.float32)
    flux[0] = value
    np.testing.assert_equal(snr(flux, ivar), by_numpy(flux, ivar))
    ivar[0] = 0.0
    np.testing.assert_equal(snr(flux, ivar), by_numpy(flux, ivar))
    ivar[0] = np.nan
    np.testing.assert_equal(snr(flux, ivar), by_numpy(flux, ivar))


def test_strides_do_not_matter() -> None:
    both = torch.randn(2, 100).abs().T
    found = Spectrum(both[:, 0], both[:, 1], torch.arange(100, dtype=torch.float64)).snr
    assert found == by_numpy(both[:, 0].numpy(), both[:, 1].numpy())
