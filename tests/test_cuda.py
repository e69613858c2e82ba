"""The CUDA kernels against the CPU's: on a GPU where there is one, and everywhere compiled for the CPU.

There their threads are played one after the other, in shared memory that is checked at every access (see
tests/emulation). What a GPU alone can show is its compiler's work, its rounding and its speed.
"""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from emulation.play import module, played
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from spectromer import _C, SpectrumBatch, rasterize, render, resample
from spectromer.ops.tables import wavelength_grid
from spectromer.picture import Picture
from spectromer.surveys.simulated import simulate

LEVEL = 1.0  # sums in another order may round to the level beside
slow = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The kernels as a module that takes the arguments of `spectromer._C`."""
    return module(tmp_path_factory.mktemp("emulated"))


def moved(value: Any, device: str) -> Any:
    """Tensors, batches of spectra and tuples of them on another device; anything else as it is."""
    if isinstance(value, tuple):
        return tuple(moved(v, device) for v in value)
    return value.to(device) if isinstance(value, Tensor | SpectrumBatch) else value


@pytest.fixture(params=["emulated", "gpu"])
def by_cuda(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Calls an operator with its CUDA kernels, and brings back what it gives."""

    def on_gpu(operator: Callable[..., Any], *args: Any, **options: Any) -> Any:
        options = {name: moved(value, "cuda") for name, value in options.items()}
        return moved(operator(*moved(args, "cuda"), **options), "cpu")

    if request.param == "gpu":
        if not (_C.has_cuda and torch.cuda.is_available()):
            pytest.skip("no GPU, or a build without CUDA operators")
        return on_gpu
    kernels = request.getfixturevalue("kernels")

    def emulated(operator: Callable[..., Any], *args: Any, **options: Any) -> Any:
        return played(kernels, operator, *args, **options)

    return emulated


@pytest.fixture(scope="module")
def batch() -> SpectrumBatch:
    spectra = list(simulate(252))
    return SpectrumBatch.from_spectra([*spectra[:3], *spectra[-2:]])


STYLES = ["plot", "panels", "overlap", "folded", "thesis-plot", "thesis-overlap", "thesis-map", "thesis-map-channels"]
CHANNELS = [None, ("error",), ("mask",), ("second",), ("flux", "error", "mask", "first", "second"), ("flux", "regions")]


def gappy(rows: int, pixels: int, shared: bool) -> SpectrumBatch:
    """Noise with masked pixels: the second row is nothing else, the fourth has gaps as wide as a third of it."""
    rng = np.random.default_rng(5)
    flux = rng.normal(size=(rows, pixels)).astype(np.float32)
    ivar = rng.uniform(0.1, 2.0, (rows, pixels)).astype(np.float32)
    ivar[rng.random(ivar.shape) < 0.2] = 0.0
    ivar[1] = 0.0
    ivar[3, : pixels // 3] = ivar[3, pixels // 2 : pixels // 2 + 2] = 0.0
    wavelength = np.sort(rng.uniform(3500.0, 10500.0, pixels if shared else (rows, pixels)))
    return SpectrumBatch(torch.from_numpy(flux), torch.from_numpy(ivar), torch.from_numpy(wavelength))


@pytest.mark.parametrize("coverage", ["union", "agg"])
@pytest.mark.parametrize("style", STYLES)
def test_every_kind_of_picture(by_cuda: Callable[..., Any], style: str, coverage: str) -> None:
    """All channels, in common bins and in own pixels, with shared and with own wavelengths; squares with gaps."""
    for channels, wavelength_range, shared in itertools.product(CHANNELS, [None, (3600.0, 10000.0)], [True, False]):
        options: dict[str, Any] = {"style": style, "size": 24, "coverage": coverage}
        options |= {"wavelength_range": wavelength_range}
        if wavelength_range is not None:
            options |= {"side_margin": 0.0}
        if channels is not None:
            options |= {"channels": channels, "colors": None, "colormap": None, "alpha": 1.0, "regions": None}
        if channels is not None and "regions" in channels:
            options |= {"regions": ((4000.0, 4200.0), (5000.0, 7000.0))}
        spectra = gappy(4, 61, shared)
        off = (render(spectra, **options).int() - by_cuda(render, spectra, **options).int()).abs()
        assert int(off.max()) <= LEVEL, (channels, wavelength_range, shared)


@pytest.mark.parametrize("pixels", [2, 3, 10])
def test_derivatives_that_are_rounding(by_cuda: Callable[..., Any], pixels: int) -> None:
    """Of constant spectra, of lines, and of few pixels that are many bins each."""
    spectra = gappy(4, pixels, True)
    spectra.flux[0], spectra.flux[2] = 3.3, 1000.1 + 0.31 * torch.arange(pixels)
    spectra = SpectrumBatch(spectra.flux, torch.ones_like(spectra.ivar), spectra.wavelength)
    for style, scale in itertools.product(["plot", "panels", "folded"], ["percentile", (-1.0, 2.0)]):
        for channels in (("second", "first", "flux"), ("flux", "first"), ("second",)):
            options: dict[str, Any] = {"style": style, "size": 24, "scale": scale, "channels": channels}
            options |= {"per_panel": style == "panels"}
            off = (render(spectra, **options).int() - by_cuda(render, spectra, **options).int()).abs()
            assert int(off.max()) <= LEVEL, (style, scale, channels)


# A scale by percentiles shows in the levels of squares: 1,600 pixels of values that are hard to bring in order.
HARD = {
    "ties": lambda rng: rng.integers(0, 3, 1600).astype(np.float32),
    "equal": lambda rng: np.full(1600, 7.25, np.float32),
    "one is good": lambda rng: np.where(np.arange(1600) == 900, np.float32(3.0), np.float32(np.nan)),
    "two are good": lambda rng: np.where(np.arange(1600) % 1000 == 99, np.arange(1600), np.nan).astype(np.float32),
    "an outlier": lambda rng: np.where(np.arange(1600) == 5, 1e30, rng.normal(size=1600)).astype(np.float32),
    "outliers on both sides": lambda rng: (rng.normal(size=1600) * 10.0 ** rng.integers(-30, 30, 1600)).astype(
        np.float32
    ),
    "largest and least": lambda rng: rng.choice(np.float32([3.4e38, -3.4e38, 1e-45, 0.0, -0.0]), 1600),
    "infinities": lambda rng: np.where(rng.random(1600) < 0.5, np.inf, rng.normal(size=1600)).astype(np.float32),
    "next to one another": lambda rng: (
        np.float32(1.0) + rng.integers(0, 40, 1600).astype(np.float32) * np.float32(2**-23)
    ),
}


@pytest.mark.parametrize("percentiles", [(0.5, 99.5), (0.0, 100.0), (49.9, 50.1)])
@pytest.mark.parametrize("values", HARD)
def test_percentiles_to_the_last_bit(
    by_cuda: Callable[..., Any], values: str, percentiles: tuple[float, float]
) -> None:
    flux = torch.from_numpy(HARD[values](np.random.default_rng(3)))[None]
    spectra = SpectrumBatch(flux, torch.ones_like(flux), torch.linspace(4000.0, 9000.0, 1600, dtype=torch.float64))
    options: dict[str, Any] = {"style": "folded", "size": 40, "block": 1, "wavelength_range": None}
    options |= {"dtype": "float32", "percentiles": percentiles}
    assert torch.equal(by_cuda(render, spectra, **options), render(spectra, **options))


@pytest.mark.parametrize(
    ("style", "size", "options"),
    [
        ("plot", 48, {}),
        ("plot", 300, {"points": 1}),
        ("plot", 518, {"linewidth": 3.0, "subcolumns": 4}),
        ("panels", 300, {"panels": 12, "channels": ("flux", "mask"), "dtype": "bfloat16"}),
        ("plot", 48, {"axis": "linear", "scale": "minmax", "margin": 0.1, "points": 3, "linewidth": 2.0}),
        ("plot", 33, {"channels": ("flux", "error", "mask", "first", "second"), "subcolumns": 5}),
        ("plot", 33, {"channels": ("regions", "error"), "regions": ((4000, 4200), (5000, 7000)), "ground": "light"}),
        ("plot", 48, {"channels": ("first",), "scale": (-1.0, 20.0), "dtype": "bfloat16", "mean": 0.4, "std": 0.2}),
        ("plot", 48, {"coverage": "agg", "points": 9}),
        ("panels", 48, {"panels": 4, "per_panel": True, "percentiles": (5.0, 95.0)}),
        ("panels", 48, {"panels": 16, "coverage": "agg"}),
        ("panels", 48, {"panels": 2, "channels": ("flux", "error", "mask"), "dtype": "float32"}),
        ("overlap", 48, {"colors": ("red", "C1", "#00ff00"), "alpha": (0.5, 1.0, 0.3)}),
        ("folded", 60, {"channels": ("error", "mask", "first", "second"), "order": "boustrophedon", "block": 7}),
        ("thesis-plot", 48, {}),
        ("thesis-plot", 280, {}),
        ("thesis-plot", 48, {"coverage": "union", "channels": ("error", "mask"), "panels": 3, "colors": None}),
        ("thesis-overlap", 48, {"axis": "log"}),
        ("thesis-map-channels", 210, {}),
        ("thesis-map-regions", 210, {}),
    ],
)
def test_draws_what_the_cpu_draws(
    by_cuda: Callable[..., Any], batch: SpectrumBatch, style: str, size: int, options: dict[str, Any]
) -> None:
    want = render(batch, style=style, size=size, **options)
    got = by_cuda(render, batch, style=style, size=size, **options)
    assert got.dtype == want.dtype
    unit = {torch.uint8: 1.0, torch.float32: 1.0 / 255.0, torch.bfloat16: 2.0 / 255.0 / 0.2}[want.dtype]
    off = (got.float() - want.float()).abs() / unit
    assert float(off.max()) <= LEVEL * 1.001 and float((off > 0.5).float().mean()) <= 2e-3


@pytest.mark.parametrize("subcolumns", [3, 4, 6, 12])
def test_lines_with_gaps_in_panels(by_cuda: Callable[..., Any], subcolumns: int) -> None:
    """However the sub-columns of several lines are divided among the warps."""
    flux, ivar = torch.randn(2, 3000, generator=torch.Generator().manual_seed(1)), torch.ones(2, 3000)
    ivar[:, torch.arange(3000) % 17 < 9] = 0.0
    spectra = SpectrumBatch(flux, ivar, torch.linspace(3500.0, 10100.0, 3000, dtype=torch.float64))
    options: dict[str, Any] = {"style": "panels", "panels": 4, "size": 64, "linewidth": 2.0, "subcolumns": subcolumns}
    off = (render(spectra, **options).int() - by_cuda(render, spectra, **options).int()).abs()
    assert int(off.max()) <= LEVEL


def test_ground_is_positive_zero(by_cuda: Callable[..., Any]) -> None:
    """Without a mean, also where nothing is drawn."""
    spectra = SpectrumBatch(torch.ones(1, 50), torch.ones(1, 50), torch.linspace(3500.0, 10100.0, 50).double())
    assert not torch.signbit(by_cuda(render, spectra, size=64, dtype="bfloat16")).any()


def test_draws_in_the_colours_of_a_map(by_cuda: Callable[..., Any], batch: SpectrumBatch) -> None:
    """Levels that are the same have the same colour."""
    want, got = render(batch, style="thesis-map", size=210), by_cuda(render, batch, style="thesis-map", size=210)
    assert torch.equal(want, got)


@slow
@given(
    rows=st.integers(1, 5),
    pixels=st.integers(2, 60),
    size=st.integers(2, 40),
    style=st.sampled_from(["plot", "panels", "overlap", "folded", "thesis-plot", "thesis-overlap"]),
    coverage=st.sampled_from(["union", "agg"]),
    scale=st.sampled_from(["percentile", "minmax", (-1.0, 2.0)]),
    masked=st.sampled_from([0.0, 0.3, 0.9, 1.0]),
    shared=st.booleans(),
    seed=st.integers(0, 2**31),
)
@example(  # a constant spectrum that has to stay one
    rows=2, pixels=2, size=2, style="plot", coverage="union", scale="percentile", masked=0.3, shared=False, seed=0
)
@example(  # whose bins with a value share one pixel
    rows=3, pixels=44, size=14, style="plot", coverage="union", scale="percentile", masked=0.9, shared=False, seed=44
)
def test_random_spectra(
    by_cuda: Callable[..., Any],
    rows: int,
    pixels: int,
    size: int,
    style: str,
    coverage: str,
    scale: Any,
    masked: float,
    shared: bool,
    seed: int,
) -> None:
    """Few pixels, odd sizes, NaN and infinities, gaps, equal values, nothing good at all."""
    rng = np.random.default_rng(seed)
    flux = rng.normal(size=(rows, pixels)).round(1).astype(np.float32)
    ivar = rng.uniform(0.1, 2.0, (rows, pixels)).astype(np.float32)
    flux[rng.random(flux.shape) < masked / 3] = rng.choice([np.nan, np.inf, -np.inf])
    ivar[rng.random(flux.shape) < masked] = rng.choice([0.0, -1.0, np.nan, np.inf])
    wavelength = np.sort(rng.uniform(3500.0, 10500.0, pixels if shared else (rows, pixels)))
    panels = {"panels": 1, "overlap": 2}.get(style)
    options = {"style": style, "size": size, "scale": scale, "channels": ("flux", "error", "mask"), "colors": None}
    options |= {"alpha": 1.0, "coverage": coverage} | ({} if panels is None else {"panels": panels})
    options |= {"block": 1 + (size > 3)} if style == "folded" else {}
    spectra = SpectrumBatch(torch.from_numpy(flux), torch.from_numpy(ivar), torch.from_numpy(wavelength))
    off = (render(spectra, **options).int() - by_cuda(render, spectra, **options).int()).abs()
    assert bool((off[contrasted(spectra, Picture.of(**options))] <= LEVEL).all())


def contrasted(spectra: SpectrumBatch, picture: Picture) -> Tensor:
    """Which rows do not owe all their contrast to rounding, so that it shows what they are."""
    grid = wavelength_grid(picture)
    if grid is None:
        return torch.ones(len(spectra.flux), dtype=torch.bool)
    flux, ivar = resample(spectra.flux, spectra.ivar, spectra.wavelength, grid)
    low, high = torch.where(ivar > 0, flux, torch.inf).amin(1), torch.where(ivar > 0, flux, -torch.inf).amax(1)
    return (high <= low) | (high - low > 1e-5 * torch.maximum(high.abs(), low.abs()))


@slow
@given(
    points=st.integers(1, 60),
    height=st.sampled_from([1, 7, 33, 300]),
    width=st.integers(1, 70),
    linewidth=st.sampled_from([0.25, 1.0, 2.5, 8.0]),
    coverage=st.sampled_from(["union", "agg"]),
    band=st.booleans(),
    gaps=st.booleans(),
    seed=st.integers(0, 2**31),
)
@example(  # vertices that lie half-way between where they may be snapped to
    points=21, height=300, width=1, linewidth=0.25, coverage="agg", band=False, gaps=False, seed=1
)
def test_random_lines(
    by_cuda: Callable[..., Any],
    points: int,
    height: int,
    width: int,
    linewidth: float,
    coverage: str,
    band: bool,
    gaps: bool,
    seed: int,
) -> None:
    """Uneven and repeated x, values far outside, gaps, images higher than what is drawn at a time."""
    rng = np.random.default_rng(seed)
    y, other = rng.normal(0.5 * height, height, (2, 3, points)).astype(np.float32)
    if gaps:
        y[rng.random(y.shape) < 0.3] = rng.choice([np.nan, np.inf, -np.inf, 1e38])
    x = np.sort(rng.uniform(-3.0, width + 3.0, (3, points))).astype(np.float32)
    x[:, 1::5] = x[:, : len(x[0, 1::5]) * 5 : 5][:, : len(x[0, 1::5])]
    x.sort()
    options: dict[str, Any] = {"height": height, "width": width, "linewidth": linewidth, "coverage": coverage}
    options |= {"band": torch.from_numpy(other)} if band else {}
    lines = torch.from_numpy(y), torch.from_numpy(x)
    off = (rasterize(*lines, **options).int() - by_cuda(rasterize, *lines, **options).int()).abs()
    assert int(off.max()) <= LEVEL


@pytest.mark.parametrize("rows", ["shared", "own", "own grids", "shifted", "ragged", "ragged and shifted"])
@pytest.mark.parametrize(
    ("method", "coverage", "max_gap"),
    [("flux_conserving", 0.0, 5.0), ("flux_conserving", 0.7, np.inf), ("linear", 0.0, 2.0)],
)
def test_resamples_as_the_cpu_does(
    by_cuda: Callable[..., Any], method: str, coverage: float, max_gap: float, rows: str
) -> None:
    """Grids finer and coarser than the pixels, and beyond their ends; rows that are stretches of the wavelengths.

    The wavelengths have gaps, some of them one beside the other.
    """
    for pixels, bins in [(2, 2), (3, 70), (61, 9), (300, 333)]:
        spectra = gappy(4, pixels, rows != "own" and rows != "ragged")
        flux, ivar, wavelength = spectra.flux, spectra.ivar, spectra.wavelength
        grid = torch.linspace(3600.0, 10000.0, bins, dtype=torch.float64)
        options: dict[str, Any] = {"method": method, "coverage": coverage, "offsets": None, "shift": None}
        options["max_gap"] = max_gap
        if rows == "own grids":
            grid = grid + 3.0 * torch.arange(4)[:, None]
        if rows.startswith("ragged"):
            lengths = torch.tensor([pixels, 0, pixels // 2, pixels])
            flux, ivar = (torch.cat([row[:n] for row, n in zip(t, lengths, strict=True)]) for t in (flux, ivar))
            options["offsets"] = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
        if rows == "ragged":
            wavelength = torch.cat([row[:n] for row, n in zip(wavelength, lengths, strict=True)])
        if rows.endswith("shifted"):
            step = torch.arange(1, 6, dtype=torch.float64)
            wavelength = torch.cat([wavelength[:1] - step.flip(0), wavelength, wavelength[-1:] + step])
            options["shift"] = torch.tensor([0, 3, 10, 5])
        arguments = flux, ivar, wavelength, grid
        for got, want in zip(by_cuda(resample, *arguments, **options), resample(*arguments, **options), strict=True):
            torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6, msg=f"{pixels} pixels, {bins} bins")
        backward, grad = torch.ops.spectromer.resample_backward, torch.ones(4, bins)
        call = grad, *arguments, *options.values()
        torch.testing.assert_close(by_cuda(backward, *call), backward(*call), rtol=1e-5, atol=1e-6)
