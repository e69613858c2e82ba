"""rasterize against its float64 reference, cairo, matplotlib, and geometry."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import spectromer
from spectromer import reference


def wiggle(points: int, rows: int = 4, seed: int = 0, height: int = 224) -> np.ndarray:
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(rows, points))
    return (height * (0.5 + 0.09 * noise) + 0.02 * height * noise.cumsum(1) / math.sqrt(points)).astype(np.float32)


def axis(points: int, width: int = 224) -> np.ndarray:
    return ((np.arange(points) + 0.5) * width / points).astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(
    points=st.integers(1, 40),
    height=st.integers(1, 33),
    width=st.integers(1, 33),
    linewidth=st.sampled_from([0.25, 1.0, 2.5, 8.0]),
    seed=st.integers(0, 2**31),
    gaps=st.booleans(),
)
def test_random_lines_equal_the_reference(
    points: int, height: int, width: int, linewidth: float, seed: int, gaps: bool
) -> None:
    """Odd sizes, uneven and repeated x, values far outside, gaps."""
    rng = np.random.default_rng(seed)
    y = rng.normal(0.5 * height, height, points).astype(np.float32)
    if gaps:
        y[rng.random(points) < 0.3] = rng.choice([np.nan, np.inf, -np.inf, 1e38])
    x = np.sort(rng.uniform(-3.0, width + 3.0, points)).astype(np.float32)
    x[1::5] = x[: len(x[1::5]) * 5 : 5][: len(x[1::5])]
    x.sort()
    got = spectromer.rasterize(
        torch.from_numpy(y)[None], torch.from_numpy(x), height=height, width=width, linewidth=linewidth
    )
    want = reference.rasterize(y, x, height=height, width=width, linewidth=linewidth, subcolumns=8)
    assert got.shape == (1, 1, height, width) and got.dtype == torch.uint8
    # Half a level is rounding; the rest is float32 against float64 where a steep segment meets the line.
    assert np.abs(got[0, 0].numpy() - 255.0 * want).max() <= 1.0


@settings(max_examples=25, deadline=None)
@given(
    points=st.integers(1, 40),
    height=st.integers(1, 33),
    width=st.integers(1, 33),
    seed=st.integers(0, 2**31),
    gaps=st.booleans(),
    rows=st.integers(1, 10),
)
def test_random_bands_equal_the_reference(
    points: int, height: int, width: int, seed: int, gaps: bool, rows: int
) -> None:
    """Between two lines, whichever lies above, and nothing beside a gap in either."""
    rng = np.random.default_rng(seed)
    y, band = rng.normal(0.5 * height, height, (2, rows, points)).astype(np.float32)
    if gaps:
        y[:, rng.random(points) < 0.2] = np.nan
        band[:, rng.random(points) < 0.2] = np.inf
    x = np.sort(rng.uniform(-3.0, width + 3.0, points)).astype(np.float32)
    got = spectromer.rasterize(
        torch.from_numpy(y), torch.from_numpy(x), height=height, width=width, band=torch.from_numpy(band)
    )
    for row in range(rows):
        want = reference.rasterize(y[row], x, height=height, width=width, subcolumns=8, band=band[row])
        assert np.abs(got[row, 0].numpy() - 255.0 * want).max() <= 1.0


@pytest.mark.parametrize("coverage", ["union", "agg"])
def test_a_band_is_a_trapezoid(coverage: str, device: str) -> None:
    """From 2 to 4 pixels high at the left to 2 to 10 at the right; an axis of its own for each line does alike."""
    y, band = torch.tensor([[2.0, 2.0]], device=device), torch.tensor([[4.0, 10.0]], device=device)
    for x in (torch.tensor([1.0, 9.0], device=device), torch.tensor([[1.0, 9.0]], device=device)):
        image = spectromer.rasterize(y, x, height=12, width=10, band=band, coverage=coverage)[0, 0].cpu().double() / 255
        want = torch.tensor([0.0, *(2.0 + 0.75 * (c + 0.5) for c in range(8)), 0.0]).double()
        torch.testing.assert_close(image.sum(0), want, rtol=0, atol=12 * 0.5 / 255)


@pytest.mark.parametrize("points", [1, 2, 224, 4096])
@pytest.mark.parametrize("linewidth", [1.0, 3.0])
def test_union_equals_the_reference(points: int, linewidth: float, device: str) -> None:
    y = wiggle(points, rows=1, height=64)
    got = spectromer.rasterize(torch.from_numpy(y).to(device), height=64, width=48, linewidth=linewidth)
    want = reference.rasterize(y[0], height=64, width=48, linewidth=linewidth, subcolumns=8)
    assert np.abs(got[0, 0].cpu().numpy() - 255.0 * want).max() <= 1.0


def test_union_equals_cairo(device: str) -> None:
    """Cairo's own stroker with round caps and joins; its polygons deviate near sharp turns, hence percentiles."""
    try:
        import cairocffi as cairo
    except (ImportError, OSError) as error:  # the package, or the library it loads
        pytest.skip(f"cairo is missing: {error}")
    for points in (512, 4096):
        y = wiggle(points)
        got = spectromer.rasterize(torch.from_numpy(y).to(device), subcolumns=256)[:, 0].cpu().numpy().astype(int)
        off = []
        for row, image in zip(y, got, strict=True):
            surface = cairo.ImageSurface(cairo.FORMAT_A8, 224, 224)
            context = cairo.Context(surface)
            context.set_antialias(cairo.ANTIALIAS_BEST)
            context.set_tolerance(0.01)
            context.set_line_width(1.0)
            context.set_line_cap(cairo.LINE_CAP_ROUND)
            context.set_line_join(cairo.LINE_JOIN_ROUND)
            for px, py in zip(axis(points), row, strict=True):
                context.line_to(float(px), float(py))
            context.stroke()
            surface.flush()
            want = np.frombuffer(surface.get_data(), np.uint8).reshape(224, surface.get_stride())[:, :224]
            off.append(np.abs(image - want.astype(int))[3:-3, 3:-3])
        assert np.mean(off) <= 0.15
        assert np.percentile(off, 99.9) <= 8


def matplotlib_levels(
    x: np.ndarray, y: np.ndarray, linewidth: float, height: int = 224, width: int = 224
) -> np.ndarray:
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.path import Path
    from matplotlib.transforms import IdentityTransform

    renderer = RendererAgg(width, height, 72)
    context = renderer.new_gc()
    context.set_linewidth(linewidth)
    context.set_snap(False)  # upright lines stay where they are
    context.set_joinstyle("round")
    context.set_capstyle("projecting")
    with rc_context({"path.simplify": False}):
        path = Path(np.column_stack((x, height - y)))
    path.should_simplify = False
    renderer.draw_path(context, path, IdentityTransform())
    return np.asarray(renderer.buffer_rgba())[..., 3].astype(int)


@settings(max_examples=60, deadline=None)
@given(
    points=st.integers(2, 40),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    linewidth=st.sampled_from([0.25, 0.7, 1.0, 3.0, 8.0]),
    seed=st.integers(0, 2**31),
    spread=st.sampled_from([0.1, 1.0, 30.0]),
    gaps=st.booleans(),
)
def test_random_lines_equal_matplotlib(
    points: int, height: int, width: int, linewidth: float, seed: int, spread: float, gaps: bool
) -> None:
    """Odd sizes, uneven and repeated x, points outside the image on every side, gaps."""
    rng = np.random.default_rng(seed)
    y = rng.normal(0.5 * height, spread * height, points).astype(np.float32)
    if gaps:
        y[rng.random(points) < 0.2] = np.nan
    x = np.sort(rng.uniform(-0.3 * width - 3.0, 1.3 * width + 3.0, points)).astype(np.float32)
    x[1::5] = x[: len(x[1::5]) * 5 : 5][: len(x[1::5])]
    x.sort()
    got = spectromer.rasterize(
        torch.from_numpy(y)[None],
        torch.from_numpy(x),
        height=height,
        width=width,
        linewidth=linewidth,
        coverage="agg",
    )
    off = np.abs(got[0, 0].numpy() - matplotlib_levels(x, y, linewidth, height, width))
    assert off.max() <= 4


@pytest.mark.parametrize("points", [512, 1500, 4096])
@pytest.mark.parametrize("linewidth", [1.0, 2.5])
def test_agg_equals_matplotlib(points: int, linewidth: float, device: str) -> None:
    y = wiggle(points)
    y[3, points // 3 : points // 2] = np.nan
    got = spectromer.rasterize(torch.from_numpy(y).to(device), linewidth=linewidth, coverage="agg")
    want = np.stack([matplotlib_levels(axis(points), row, linewidth) for row in y])
    off = np.abs(got[:, 0].cpu().numpy() - want)
    assert off.mean() <= 0.1
    assert np.percentile(off, 99.9) <= 4


@pytest.mark.parametrize("coverage", ["union", "agg"])
def test_one_segments_ink_is_its_area(coverage: str, device: str) -> None:
    """A bar of length l and width w, with two half discs (union) or two half squares (agg) at its ends."""
    a, b, w = np.array([60.3, 50.7]), np.array([160.1, 170.9]), 6.0
    y = torch.tensor([[a[1], b[1]]], dtype=torch.float32, device=device)
    x = torch.tensor([a[0], b[0]], dtype=torch.float32, device=device)
    image = spectromer.rasterize(y, x, linewidth=w, coverage=coverage, subcolumns=64)
    length = np.linalg.norm(b - a)
    area = length * w + (math.pi * w**2 / 4 if coverage == "union" else w**2)
    assert float(image.double().sum()) / 255.0 == pytest.approx(area, rel=2e-3)


@pytest.mark.parametrize("coverage", ["union", "agg"])
def test_mirrored_lines_give_mirrored_images(coverage: str, device: str) -> None:
    y = torch.from_numpy(wiggle(600)).to(device)
    image = spectromer.rasterize(y, coverage=coverage).int()
    upside_down = spectromer.rasterize(224.0 - y, coverage=coverage).int()
    backwards = spectromer.rasterize(y.flip(1), coverage=coverage).int()
    assert int((image - upside_down.flip(2)).abs().max()) <= 2
    # AGG's inner joins depend on the direction of travel; the true area does not.
    assert float((image - backwards.flip(3)).abs().float().mean()) <= (0.01 if coverage == "union" else 0.2)


def test_a_stroke_is_clipped_at_every_border(device: str) -> None:
    """An image is the middle of a larger one of the same line.

    (Not so "agg": matplotlib cuts lines a pixel outside of the image before it strokes them.)
    """
    y = torch.from_numpy(wiggle(900, height=96)).to(device)
    x = torch.linspace(-16.0, 112.0, 900, device=device)
    options = {"linewidth": 3.0}
    small = spectromer.rasterize(y - 30.0, x, height=36, width=96, **options).int()
    large = spectromer.rasterize(y, x + 16.0, height=96, width=128, **options).int()
    assert int((small - large[:, :, 30:66, 16:112]).abs().max()) <= 1


@pytest.mark.parametrize("coverage", ["union", "agg"])
def test_nothing_and_gaps(coverage: str, device: str) -> None:
    assert spectromer.rasterize(torch.zeros(0, 9, device=device), coverage=coverage).shape == (0, 1, 224, 224)
    assert not spectromer.rasterize(torch.zeros(2, 0, device=device), coverage=coverage).any()
    assert not spectromer.rasterize(torch.full((2, 50), torch.nan, device=device), coverage=coverage).any()
    y = torch.full((1, 224), 100.0, device=device)
    y[0, 90:130] = torch.nan
    image = spectromer.rasterize(y, coverage=coverage)[0, 0]
    assert not image[:, 91:128].any() and bool(image[:, :89].any(0).all()) and bool(image[:, 131:].any(0).all())


@pytest.mark.parametrize("coverage", ["union", "agg"])
def test_lines_from_far_outside_are_clipped(coverage: str, device: str) -> None:
    """A line that comes down from 1e9 pixels above is upright where it is seen; one that stays there is not."""
    y = torch.tensor([[-1e9, 1e9], [-1e9, -9e8], [1e9, 9e8]], device=device)
    image = spectromer.rasterize(y, torch.tensor([16.0, 16.0], device=device), height=32, width=32, coverage=coverage)
    assert bool((image[0, 0, :, 15:17] >= 127).all()) and not image[0, 0, :, :15].any() and not image[1:].any()
    assert not spectromer.rasterize(torch.full((1, 9), 3e38, device=device), coverage=coverage).any()


@pytest.mark.parametrize("coverage", ["union", "agg"])
def test_the_order_of_the_batch_does_not_matter(coverage: str, device: str) -> None:
    y = torch.from_numpy(wiggle(300, rows=9)).to(device)
    x = torch.from_numpy(np.stack([axis(300) + i for i in range(9)])).to(device)
    one = spectromer.rasterize(y, x, coverage=coverage)
    assert torch.equal(one, spectromer.rasterize(y.flip(0), x.flip(0), coverage=coverage).flip(0))
    assert torch.equal(
        one[:, 0], torch.cat([spectromer.rasterize(y[i : i + 1], x[i], coverage=coverage)[0] for i in range(9)])
    )


def test_is_a_well_formed_operator(device: str) -> None:
    y = torch.from_numpy(wiggle(30)).to(device)
    torch.library.opcheck(torch.ops.spectromer.rasterize.default, (y,))
    torch.library.opcheck(
        torch.ops.spectromer.rasterize.default, (y, torch.from_numpy(axis(30)).to(device), 20, 31, 2.0, "agg", 4)
    )


def test_compiles_without_a_graph_break(device: str) -> None:
    y = torch.from_numpy(wiggle(30)).to(device)

    def drawn(y: torch.Tensor) -> torch.Tensor:
        return spectromer.rasterize(y + 1.0, height=32, width=32).float() / 255.0

    assert torch.equal(torch.compile(drawn, fullgraph=True, backend="aot_eager")(y), drawn(y))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": torch.zeros(5)}, r"y must have shape \[B, P\], got \(5,\)"),
        ({"x": torch.zeros(4)}, r"x must have shape \[P\] or \[B, P\]"),
        ({"x": torch.tensor([0.0, 2, 1, 3, 4])}, "x must lie within 1e9 and must not decrease"),
        ({"x": torch.tensor([0.0, 2, np.nan, 3, 4])}, "x must lie within 1e9 and must not decrease"),
        ({"height": 0}, "height must be at least 1, got 0"),
        ({"linewidth": 0.0}, "linewidth must lie in"),
        ({"coverage": "both"}, "coverage must be one of"),
        ({"subcolumns": 0}, r"subcolumns must lie in \[1, 1024\], got 0"),
        ({"band": torch.zeros(3, 4)}, r"band must have the shape of y, \(3, 5\), got \(3, 4\)"),
    ],
)
def test_says_what_is_wrong(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        spectromer.rasterize(**({"y": torch.zeros(3, 5)} | change))
