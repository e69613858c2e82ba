"""render of spectra to images, compared with its stages, by style, by size and by number of threads."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from spectromer import SpectrumBatch, rasterize, render, resample
from spectromer.ops.scaling import limits
from spectromer.ops.tables import wavelength_grid
from spectromer.picture import STYLES, Picture

SIZE = 224


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def moved(batch: SpectrumBatch, image: torch.Tensor) -> int:
    """Size of one spectrum and its image in bytes."""
    return 8 * batch.flux.shape[1] + image[0].nbytes


def drawn(rate: Any, group: str, name: str, batch: SpectrumBatch, **options: Any) -> None:
    images = render(batch, **options)
    levels = images.amax((1, 2, 3)).float() - images.amin((1, 2, 3)).float()
    assert bool((levels > 0).all())  # the images are not empty
    rate(group, name, len(batch), lambda: render(batch, **options), size=moved(batch, images))


POINTS = 18
STAGES = f"one pass and its stages, {SIZE * POINTS} points"


def test_one_pass(rate: Any, batch: SpectrumBatch) -> None:
    drawn(rate, STAGES, "spectromer.render", batch, points=POINTS)


def test_one_pass_on_all_threads(rate: Any, batch: SpectrumBatch) -> None:
    count = os.cpu_count() or 1
    with threads(count):
        drawn(rate, STAGES, f"spectromer.render, {count} threads", batch, points=POINTS)


@pytest.fixture(scope="module")
def heights(batch: SpectrumBatch) -> torch.Tensor:
    """Heights of the lines that `render` draws, in pixels."""
    flux, ivar = resample(batch.flux, batch.ivar, batch.wavelength, wavelength_grid(Picture(points=POINTS)))
    flux = flux.masked_fill(ivar == 0, torch.nan)
    low, high = limits(flux, "percentile", (0.5, 99.5))
    return SIZE * (0.95 - 0.9 * (flux - low) / (high - low))


def test_resample_alone(rate: Any, batch: SpectrumBatch) -> None:
    grid = wavelength_grid(Picture(points=POINTS))
    rate(STAGES, "resample alone", len(batch), lambda: resample(batch.flux, batch.ivar, batch.wavelength, grid))


def test_rasterize_alone(rate: Any, heights: torch.Tensor) -> None:
    rate(STAGES, "rasterize alone", len(heights), lambda: rasterize(heights))


@pytest.mark.parametrize("style", list(STYLES))
def test_styles(rate: Any, batch: SpectrumBatch, style: str) -> None:
    some = batch.select(
        range(16 if style == "thesis-map-regions" else 256)
    )  # scipy finds the regions of this style, slowly
    drawn(rate, f"render by style, {SIZE} x {SIZE}", style, some, style=style)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("uint8", {}),
        ("float32, normalised", {"dtype": "float32", "mean": 0.5, "std": 0.25}),
        ("bfloat16, normalised", {"dtype": "bfloat16", "mean": 0.5, "std": 0.25}),
        ("R, G, B on white", {"colors": ("C0",), "ground": "light"}),
        ("flux, error and mask", {"channels": ("flux", "error", "mask")}),
    ],
)
def test_images(rate: Any, batch: SpectrumBatch, name: str, options: dict) -> None:
    drawn(rate, "render by kind of image, style plot", name, batch.select(range(64)), **options)


@pytest.mark.parametrize("count", [1, 16, 256])
def test_batch_size(rate: Any, batch: SpectrumBatch, count: int) -> None:
    drawn(
        rate, "render by batch size", f"{count} {'spectrum' if count == 1 else 'spectra'}", batch.select(range(count))
    )


@pytest.mark.parametrize("pixels", [1000, 4620, 10000])
def test_pixels(rate: Any, pixels: int) -> None:
    rng = np.random.default_rng(0)
    flux = torch.from_numpy(rng.normal(10.0, 1.0, (256, pixels)).astype(np.float32))
    wavelength = torch.from_numpy(np.geomspace(3600.0, 10000.0, pixels))
    drawn(rate, "render by pixels per spectrum", f"{pixels} px", SpectrumBatch(flux, torch.ones_like(flux), wavelength))


@pytest.mark.parametrize("size", [128, 224, 384, 518])
def test_image_size(rate: Any, batch: SpectrumBatch, size: int) -> None:
    drawn(rate, "render by image size", f"{size} x {size}", batch.select(range(64)), size=size)
