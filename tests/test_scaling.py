"""A spectrum is drawn between percentiles, extremes or fixed values."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from spectromer import _C, SpectrumBatch, reference, render
from spectromer.ops.composite import composite
from spectromer.ops.scaling import limits
from spectromer.picture import Picture
from spectromer.transforms import Normalize


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


PIXELS = np.arange(10)
FLAT = {  # fluxes whose first or second derivatives are 0 but for rounding, and where those show
    "constant": (np.full(10, 0.1), ("first", "second")),
    "large": (np.full(10, 3.1e9), ("first", "second")),
    "tiny": (np.full(10, 1.7e-17), ("first", "second")),
    "nearly constant": (1.7 + 1e-7 * (PIXELS % 3), ("first", "second")),
    "steps": (np.repeat([1.3, -0.7], 5), ("first", "second")),
    "line": (1000.1 + 0.31 * PIXELS, ("second",)),
}


@pytest.fixture
def targets() -> Iterator[list[str]]:
    """The vector targets, the widest of which is in use again afterwards."""
    used = _C.target()
    yield _C.supported_targets()
    _C.set_target(used)


@pytest.mark.parametrize("scale", ["percentile", "minmax", (-5.0, 5.0)])
@pytest.mark.parametrize("style", ["plot", "panels", "overlap", "folded"])
@pytest.mark.parametrize("name", list(FLAT))
def test_rounding_is_not_drawn(name: str, style: str, scale: str | tuple[float, float], targets: list[str]) -> None:
    """Pictures of derivatives are the same in any company and by any implementation."""
    values, channels = FLAT[name]
    flux = torch.from_numpy(np.tile(values, (3, 1)).astype(np.float32))
    flux[1] += 10.0 * torch.arange(10) * flux[1]
    ivar = torch.ones(3, 10)
    ivar[2, 4:6] = 0.0
    wavelength = torch.linspace(3650.0, 9900.0, 10, dtype=torch.float64) ** 1.001
    batch = SpectrumBatch(flux, ivar, wavelength)
    for per_panel in (False, True):
        options = {"style": style, "size": 48, "scale": scale, "channels": channels, "per_panel": per_panel}
        options |= {"panels": 2} if style == "overlap" else {}
        want = render(batch, **options)
        others = [composite(flux, ivar, wavelength, Picture.of(**options))]
        others.append(render(SpectrumBatch(flux, ivar, wavelength.expand(3, -1)), **options))
        others.append(torch.cat([render(batch.select([row]), **options) for row in range(3)]))
        for target in targets:
            _C.set_target(target)
            others.append(render(batch, **options))
        for other in others:
            assert int((other.int() - want.int()).abs().max()) <= 1
        image = reference.render(flux[0].numpy(), ivar[0].numpy(), wavelength.numpy(), **options)
        assert np.abs(255.0 * image - want[0].numpy()).max() <= 1.6


def test_flat_is_told_by_the_rounding_of_the_values() -> None:
    """A spectrum that differs by rounding is drawn in the middle, one that differs by more from margin to margin."""
    wavelength = torch.linspace(4000.0, 9000.0, 64, dtype=torch.float64)
    options = {"style": "folded", "wavelength_range": None, "size": 8, "block": 1, "scale": "minmax"}
    for size in (1e-3, 1.0, 1e6):
        for contrast, levels in ((1e-6, {127, 128}), (1e-5, {0, 255})):
            flux = torch.full((1, 64), size)
            flux[0, ::2] *= 1.0 + contrast
            batch = SpectrumBatch(flux, torch.ones(1, 64), wavelength)
            assert set(render(batch, **options).unique().tolist()) <= levels
            assert bool(Normalize(0.0, 100.0)(batch).flux.any()) == (contrast > 4e-6)
