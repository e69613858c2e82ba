"""A spectrum is drawn between percentiles, extremes or fixed values."""

import numpy as np
import torch

from spectromer.ops.scaling import limits


def test_percentiles_are_numpys(device: str) -> None:
    rng = np.random.default_rng(0)
    flux = rng.normal(size=(5, 101)).astype(np.float32)
    good = rng.random((5, 101)) < 0.7
    low, high = limits(torch.from_numpy(np.where(good, flux, np.nan)).to(device), "percentile", (2.5, 80.0))
    for row in range(5):
        want = np.percentile(flux[row, good[row]], (2.5, 80.0))
        np.testing.assert_allclose([float(low[row, 0]), float(high[row, 0])], want, rtol=1e-5, atol=1e-6)


def test_extremes_and_fixed_values() -> None:
    flux = torch.tensor([[3.0, torch.nan, -1.0, 7.0]])
    assert [value.tolist() for value in limits(flux, "minmax", (0.0, 100.0))] == [[[-1.0]], [[7.0]]]
    assert [value.tolist() for value in limits(flux, (-2.0, 5.0), (0.0, 100.0))] == [[-2.0], [5.0]]
