"""The thesis's styles are the pictures that the thesis draws with matplotlib and OpenCV."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spectromer import Spectrum, SpectrumBatch, render
from spectromer.regions import find_lines


def _matplotlib(draw: Callable[[Any], None]) -> np.ndarray:
    """The thesis's way to draw a picture of 224 x 224 x 3, with every line drawn in full."""
    import io

    import matplotlib
    import matplotlib.image
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"path.simplify": False}):
        figure = Figure(figsize=(2.24, 2.24))
        axes = figure.subplots()
        draw(axes)
        axes.axis("off")
        if axes.images:
            axes.set_position((0, 0, 1, 1))
        else:
            figure.tight_layout(pad=0)
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=100, bbox_inches="tight", pad_inches=0)
    file.seek(0)
    return np.rint(255 * matplotlib.image.imread(file)[..., :3]).astype(int)


@pytest.mark.parametrize("style", ["thesis-plot", "thesis-overlap"])
def test_line_plots_of_the_thesis_are_matplotlibs(whole: list[Spectrum], style: str) -> None:
    for s in whole:
        w, f = s.wavelength.numpy(), s.flux.numpy()

        def draw(axes: Any, w: np.ndarray = w, f: np.ndarray = f) -> None:
            if style == "thesis-plot":
                axes.plot(w, f, linewidth=0.5)
                return
            for x, y, color in zip(np.array_split(w, 3), np.array_split(f, 3), ("red", "green", "blue"), strict=True):
                axes.plot((x - x[0]) / (x[-1] - x[0]), y, color=color, linewidth=0.5, alpha=0.5)

        want = _matplotlib(draw)
        got = render(SpectrumBatch.from_spectra([s]), style=style)[0].permute(1, 2, 0).numpy()
        assert got.shape == want.shape
        off = np.abs(got - want)
        inked = (want < 255).any(-1)  # elsewhere both are white, and how much there is depends on the spectrum
        assert 0.02 < inked.mean() < 0.5 and (off[~inked] <= 1).all()
        # matplotlib rounds to a level at each line that it blends.
        assert off[inked].mean() <= 1.0 and np.percentile(off, 99.9) <= 4


@pytest.mark.parametrize("block", [3, 4])
@pytest.mark.parametrize("order", ["standard", "boustrophedon"])
def test_maps_of_the_thesis(whole: list[Spectrum], block: int, order: str) -> None:
    side = 224 // block
    for s in whole:
        f = s.flux.double().numpy()
        batch = SpectrumBatch.from_spectra([s])

        def folded(values: np.ndarray) -> np.ndarray:
            cells = np.zeros(side * side)
            cells[: len(values)] = values[: side * side]
            cells = cells.reshape(side, side)
            if order == "boustrophedon":
                cells[1::2] = cells[1::2, ::-1]
            image = np.zeros((224, 224))
            image[: side * block, : side * block] = np.kron(cells, np.ones((block, block)))
            return image

        def scaled(values: np.ndarray) -> np.ndarray:
            return 255 * (values - values.min()) / (values.max() - values.min())

        if order == "standard" and block == 4:  # all squares are filled; the thesis paints a flux of 0 in the others
            want = _matplotlib(lambda axes, f=f: axes.imshow(folded(f), cmap="viridis", vmin=-1.13, vmax=144.97))
            got = render(batch, style="thesis-map", block=block)[0].permute(1, 2, 0).numpy()
            assert np.abs(got - want).max() <= 3  # the colour map's step for one level
        first = np.gradient(f)
        planes = [folded(scaled(v).astype(int)) for v in (f, first, np.gradient(first))]
        got = render(batch, style="thesis-map-channels", block=block, order=order)[0].numpy()
        assert np.abs(got - np.stack(planes)).max() <= 1  # the thesis cuts off where we round
        marks = 50.0 * find_lines(f, np.ones(len(f)), s.wavelength.numpy())
        got = render(batch, style="thesis-map-regions", block=block, order=order)[0].numpy()
        np.testing.assert_array_equal(got[1], folded(marks))
        assert np.abs(got[0] - planes[0]).max() <= 1 and marks.any()
