"""rasterize: 4096 points to 224 x 224, against matplotlib and OpenCV."""

from typing import Any

import numpy as np
import pytest
import torch

import spectromer

POINTS = 4096
GROUP = "rasterize 4096 points to 224 x 224"


@pytest.fixture(scope="module")
def lines() -> torch.Tensor:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(32, POINTS))
    return torch.from_numpy((112 + 6 * noise + 40 * noise.cumsum(1) / np.sqrt(POINTS)).astype(np.float32))


@pytest.mark.parametrize("coverage", ["union", "agg"])
def test_spectromer(rate: Any, lines: torch.Tensor, coverage: str) -> None:
    name = "spectromer" if coverage == "union" else "spectromer, coverage=agg"
    images = rate(GROUP, name, len(lines), lambda: spectromer.rasterize(lines, coverage=coverage))
    assert images.shape == (32, 1, 224, 224) and bool((images.amax((1, 2, 3)) == 255).all())


def test_matplotlib_reused(rate: Any, lines: torch.Tensor) -> None:
    """One figure, its line's data replaced: matplotlib at its best."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.24, 2.24), dpi=100)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, 224), ylim=(224, 0))
    axes.set_axis_off()
    (line,) = axes.plot((np.arange(POINTS) + 0.5) * 224 / POINTS, lines[0], color="k", lw=0.72)

    def work() -> list:
        images = []
        for y in lines[:8].numpy():
            line.set_ydata(y)
            canvas.draw()
            images.append(np.asarray(canvas.buffer_rgba())[..., 0].copy())
        return images

    images = rate(GROUP, "matplotlib, figure reused", 8, work)
    assert images[0].shape == (224, 224) and images[0].min() == 0


def test_opencv(rate: Any, lines: torch.Tensor) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed (extra bench)")
    x = (np.arange(POINTS) + 0.5) * 224 / POINTS
    points = np.stack((np.broadcast_to(x, lines.shape), lines.numpy()), 2)
    shifted = np.round((points - 0.5) * 256).astype(np.int32)

    def work() -> list:
        images = []
        for row in shifted:
            image = np.zeros((224, 224), np.uint8)
            cv2.polylines(image, [row[:, None]], False, 255, 1, cv2.LINE_AA, 8)
            images.append(image)
        return images

    rate(GROUP, "OpenCV LINE_AA", len(lines), work)
