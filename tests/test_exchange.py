"""Arrays of other libraries are taken by DLPack, without a copy and on their device."""

from typing import Any

import pytest
import torch
from torch import Tensor

import spectromer
from spectromer.arrays import exchanged


class Foreign:
    """An array that can do nothing but be shared, as one of another library on a GPU."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor

    def __dlpack__(self, **options: Any) -> Any:
        return self._tensor.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._tensor.__dlpack_device__()


@pytest.fixture
def arrays(device: str) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    flux = torch.randn(3, 400, generator=generator).cumsum(1)
    axis = torch.linspace(4000.0, 9000.0, 400, dtype=torch.float64)
    return flux.to(device), torch.ones(3, 400).to(device), axis.to(device)


def test_it_is_the_same_memory() -> None:
    tensor = torch.arange(4.0)
    assert exchanged(Foreign(tensor)).data_ptr() == tensor.data_ptr()
    assert exchanged([1.0]) == [1.0] and exchanged(None) is None


def test_operators_take_them(arrays: tuple[Tensor, Tensor, Tensor], device: str) -> None:
    flux, ivar, wavelength = arrays
    grid = torch.linspace(4500.0, 8500.0, 100, dtype=torch.float64, device=device)
    foreign = [Foreign(tensor) for tensor in arrays]
    for got, want in zip(
        spectromer.resample(*foreign, Foreign(grid)), spectromer.resample(flux, ivar, wavelength, grid), strict=True
    ):
        assert got.device == flux.device and torch.equal(got, want)
    curves = flux + 100.0
    assert torch.equal(
        spectromer.rasterize(Foreign(curves), height=64, width=64), spectromer.rasterize(curves, height=64, width=64)
    )
    found = spectromer.render(foreign[0], ivar=foreign[1], wavelength=foreign[2], size=64)
    assert torch.equal(found, spectromer.render(flux, ivar=ivar, wavelength=wavelength, size=64))


def test_jax(arrays: tuple[Tensor, Tensor, Tensor]) -> None:
    jax = pytest.importorskip("jax")
    flux = arrays[0].cpu()
    given = jax.numpy.asarray(flux.numpy())
    assert torch.equal(
        spectromer.rasterize(given + 100.0, height=64, width=64),
        spectromer.rasterize(flux + 100.0, height=64, width=64),
    )
