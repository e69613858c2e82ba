"""rasterize of 4096 points to 224 x 224, compared with common ways to draw a line."""

from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch

import spectromer
import spectromer.reference

POINTS, SIZE = 4096, 224
GROUP = f"rasterize {POINTS} points to {SIZE} x {SIZE}"
X = (np.arange(POINTS) + 0.5) * SIZE / POINTS
MOVED = 4 * POINTS + SIZE * SIZE


@pytest.fixture(scope="module")
def lines() -> torch.Tensor:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(64, POINTS))
    return torch.from_numpy((112 + 6 * noise + 40 * noise.cumsum(1) / np.sqrt(POINTS)).astype(np.float32))


@lru_cache(maxsize=1)
def _area(line: bytes) -> np.ndarray:
    return 255.0 * spectromer.reference.rasterize(np.frombuffer(line, np.float32), subcolumns=64)


def off(image: Any, lines: torch.Tensor) -> str:
    """Mean and maximum error of the first image, in grey levels, relative to the area by the float64 reference."""
    error = np.abs(np.asarray(image, np.float64) - _area(lines[0].numpy().tobytes()))
    return f"{error.mean():.2f} levels, {error.max():.0f} at most, to the true area"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("spectromer", {}),
        ("spectromer, subcolumns=64", {"subcolumns": 64}),
        ('spectromer, coverage="agg"', {"coverage": "agg"}),
    ],
)
def test_spectromer(rate: Any, lines: torch.Tensor, name: str, options: dict) -> None:
    def work() -> torch.Tensor:
        return spectromer.rasterize(lines, **options)

    image = work()[0, 0].numpy()
    if not options:
        assert np.abs(image - _area(lines[0].numpy().tobytes())).mean() <= 1.0
    rate(GROUP, name, len(lines), work, size=MOVED, error=off(image, lines))


def _figure() -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.24, 2.24), dpi=100)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, SIZE), ylim=(SIZE, 0))
    axes.set_axis_off()
    return canvas, axes


def _grey(canvas: Any) -> np.ndarray:
    canvas.draw()
    return 255 - np.asarray(canvas.buffer_rgba())[..., 0]


def test_matplotlib_fresh(rate: Any, lines: torch.Tensor) -> None:
    """Time matplotlib with a new figure for each spectrum, as in most scripts."""

    def work() -> list:
        images = []
        for y in lines[:4].numpy():
            canvas, axes = _figure()
            axes.plot(X, y, color="k", lw=0.72)
            images.append(_grey(canvas))
        return images

    rate(GROUP, "matplotlib, a figure each", 4, work, error=off(work()[0], lines))


def test_matplotlib_reused(rate: Any, lines: torch.Tensor) -> None:
    """Time matplotlib with one figure whose line data are replaced, which is its fastest way."""
    canvas, axes = _figure()
    (line,) = axes.plot(X, lines[0], color="k", lw=0.72)

    def work() -> list:
        images = []
        for y in lines[:8].numpy():
            line.set_ydata(y)
            images.append(_grey(canvas))
        return images

    rate(GROUP, "matplotlib, figure reused", 8, work, error=off(work()[0], lines))


def test_opencv(rate: Any, peer: Any, lines: torch.Tensor) -> None:
    cv2 = peer("cv2", "OpenCV")
    cv2.setNumThreads(1)
    points = np.stack((np.broadcast_to(X, lines.shape), lines.numpy()), 2)
    shifted = np.round((points - 0.5) * 256).astype(np.int32)

    def work() -> list:
        images = []
        for row in shifted:
            image = np.zeros((SIZE, SIZE), np.uint8)
            cv2.polylines(image, [row[:, None]], False, 255, 1, cv2.LINE_AA, 8)
            images.append(image)
        return images

    rate(GROUP, "OpenCV LINE_AA", len(lines), work, error=off(work()[0], lines))


def test_pillow(rate: Any, peer: Any, lines: torch.Tensor) -> None:
    """Time Pillow, which has no antialiased lines."""
    pil, draw = peer("PIL.Image", "Pillow"), peer("PIL.ImageDraw", "Pillow")
    points = np.stack((np.broadcast_to(X, lines.shape), lines.numpy()), 2)

    def work() -> list:
        images = []
        for row in points:
            image = pil.new("L", (SIZE, SIZE))
            draw.Draw(image).line(row.ravel().tolist(), fill=255, width=1)
            images.append(np.asarray(image))
        return images

    rate(GROUP, "Pillow, aliased", len(lines), work, error=off(work()[0], lines))


def test_cairo(rate: Any, peer: Any, lines: torch.Tensor) -> None:
    cairo = peer("cairocffi", "cairo")

    def draw(y: np.ndarray) -> np.ndarray:
        surface = cairo.ImageSurface(cairo.FORMAT_A8, SIZE, SIZE)
        context = cairo.Context(surface)
        context.set_line_width(1.0)
        context.set_line_join(cairo.LINE_JOIN_ROUND)
        context.set_line_cap(cairo.LINE_CAP_ROUND)
        for px, py in zip(X.tolist(), y.tolist(), strict=True):
            context.line_to(px, py)
        context.stroke()
        return np.frombuffer(surface.get_data(), np.uint8).reshape(SIZE, -1)[:, :SIZE].copy()

    some = lines[:4].numpy()
    rate(GROUP, "cairo", len(some), lambda: [draw(y) for y in some], error=off(draw(some[0]), lines))


def test_datashader(rate: Any, peer: Any, lines: torch.Tensor) -> None:
    datashader = peer("datashader", "datashader")
    import pandas as pd

    canvas = datashader.Canvas(plot_width=SIZE, plot_height=SIZE, x_range=(0, SIZE), y_range=(0, SIZE))
    frames = [pd.DataFrame({"x": X, "y": y}) for y in lines[:8].numpy()]

    def work() -> list:
        return [canvas.line(f, "x", "y", agg=datashader.any(), line_width=1).values for f in frames]

    rate(GROUP, "datashader", len(frames), work, error=off(255.0 * np.nan_to_num(work()[0]), lines))
