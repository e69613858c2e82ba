"""render draws each style as numpy does, and as the operators that it is made of do."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spectromer import SpectrumBatch, reference, render
from spectromer.errors import ArgumentError
from spectromer.ops.composite import composite
from spectromer.ops.tables import wavelength_grid
from spectromer.picture import STYLES, Picture
from spectromer.regions import mark_regions


@pytest.mark.parametrize("style", list(STYLES))
def test_shapes_and_dtype(batch: SpectrumBatch, style: str, device: str) -> None:
    images = render(batch.to(device), style=style, size=96)
    channels = {"plot": 1, "panels": 1, "folded": 1, "thesis-map-regions": 2}.get(style, 3)
    assert images.shape == (len(batch), channels, 96, 96) and images.dtype == torch.uint8
    contrast = images.amax((1, 2, 3)) - images.amin((1, 2, 3))
    least = 10 if style.startswith("thesis-") else 100 if style == "strips" else 200  # inks are pale, or scales wide
    assert bool((contrast > least).all())


@pytest.mark.parametrize(
    "options",
    [
        {"style": "plot"},
        {"style": "plot", "axis": "linear", "scale": "minmax", "margin": 0.1, "points": 3, "linewidth": 2.0},
        {"style": "panels", "panels": 4, "per_panel": True, "percentiles": (5.0, 95.0)},
        {"style": "overlap", "scale": (-5.0, 40.0)},
        {"style": "folded", "block": 3},
        {"style": "plot", "channels": ("flux", "error", "mask", "first", "second")},
        {
            "style": "plot",
            "channels": ("regions", "error"),
            "regions": ((4000, 4200), (5000, 7000.0)),
            "ground": "light",
        },
        {"style": "panels", "panels": 2, "channels": ("flux", "error", "mask"), "per_panel": True, "dtype": "float32"},
        {"style": "folded", "channels": ("error", "mask", "first", "second"), "order": "boustrophedon", "block": 5},
        {"style": "folded", "channels": ("flux", "regions"), "regions": "lines", "block": 1},
        {"style": "strips", "panels": 3, "channels": ("flux", "error", "mask", "lines", "continuum", "snr")},
        {"style": "strips", "panels": 6, "block": 1, "channels": ("first", "lines"), "per_panel": True},
        {"style": "panels", "panels": 3, "channels": ("lines", "continuum", "snr"), "scale": (-5.0, 40.0)},
        {"style": "folded", "channels": ("lines", "snr"), "ground": "light"},
        {"style": "overlap", "colors": ("red", "C1", "#00ff00"), "alpha": (0.5, 1.0, 0.3), "dtype": "float32"},
        {"style": "plot", "colormap": "viridis", "scale": (-1.0, 20.0), "channels": ("first",)},
        {"style": "thesis-plot", "coverage": "union"},
        {"style": "thesis-overlap", "coverage": "union", "axis": "log", "mean": (0.4, 0.5, 0.6), "dtype": "float32"},
        {"style": "thesis-plot", "channels": ("error", "mask"), "panels": 3, "colors": None, "coverage": "union"},
        {"style": "thesis-map"},
        {"style": "thesis-map-channels", "block": 1},
        {"style": "thesis-map-regions", "block": 1},
    ],
)
def test_equals_the_reference(batch: SpectrumBatch, options: dict, device: str) -> None:
    picture = Picture.of(size=48, **options)
    spectra = (batch.flux, batch.ivar, batch.wavelength)
    marks = mark_regions(*spectra, wavelength_grid(picture), picture.regions or ())
    got = render(batch.to(device), size=48, **options).float().cpu().numpy()
    level = 1.0 if picture.dtype == "uint8" else 1.0 / 255.0
    for row in (0, 3, 7):
        s = batch.spectrum(row)
        mark = marks if marks.ndim == 1 else marks[row]
        want = reference.render(s.flux, s.ivar, s.wavelength, size=48, marks=mark, **options)
        off = np.abs(got[row] - (255.0 * want if picture.dtype == "uint8" else want))
        # Rounding takes a level, and one more where a steep segment magnifies float32's rounding of its flux; a
        # level is up to three in a colour map.
        most = 3.0 if picture.colormap else 1.6
        assert off.mean() <= 0.3 * level and off.max() <= most * level, options


@pytest.mark.parametrize("style", list(STYLES))
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"coverage": "union", "linewidth": 2.5, "subcolumns": 3},
        {"points": 18, "scale": "percentile", "percentiles": (20.0, 61.5)},
        {"scale": (0.0, 20.0), "dtype": "bfloat16", "mean": 0.5, "std": 0.25, "alpha": 1.0, "colormap": None},
    ],
)
def test_one_pass_equals_the_operators_one_by_one(batch: SpectrumBatch, style: str, options: dict) -> None:
    """resample, torch and rasterize together draw the same picture, for every style and any number of spectra."""
    size = 64 if style == "strips" else 60
    picture = Picture.of(style, size, **options)
    many = batch.select([*range(len(batch)), *range(len(batch)), 2])
    want = composite(many.flux, many.ivar, many.wavelength, picture)
    got = render(many, style=style, size=size, **options)
    assert got.dtype == want.dtype
    levels = (got.float() - want.float()).abs() * (255.0 * 0.25 if got.dtype == torch.bfloat16 else 1.0)
    # Another order of operations changes a level here and there; bfloat16 keeps 8 bits of each number.
    assert float((levels > 0.5).float().mean()) <= 1e-3 and float(levels.max()) <= (
        4.0 if options.get("dtype") else 1.0
    )


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(0, 20),
    pixels=st.integers(2, 60),
    size=st.integers(2, 33),
    style=st.sampled_from(
        ["plot", "panels", "overlap", "folded", "thesis-plot", "thesis-overlap", "thesis-map-channels"]
    ),
    scale=st.sampled_from(["percentile", "minmax", (-1.0, 2.0)]),
    masked=st.sampled_from([0.0, 0.3, 0.9, 1.0]),
    seed=st.integers(0, 2**31),
)
def test_random_spectra_are_drawn_alike_both_ways(
    rows: int, pixels: int, size: int, style: str, scale: str | tuple[float, float], masked: float, seed: int
) -> None:
    """Spectra have few pixels, odd sizes, NaN and infinities under masks and beside them, no good pixel, or strides."""
    rng = np.random.default_rng(seed)
    flux = rng.normal(size=(pixels, rows)).astype(np.float32).T
    ivar = rng.uniform(0.1, 2.0, (pixels, rows)).astype(np.float32).T
    flux[rng.random(flux.shape) < masked / 3] = rng.choice([np.nan, np.inf, -np.inf])
    ivar[rng.random(flux.shape) < masked] = rng.choice([0.0, -1.0, np.nan, np.inf])
    wavelength = torch.from_numpy(np.sort(rng.uniform(3500.0, 10500.0, pixels)))
    panels = {"panels": 1, "overlap": 2}.get(style)
    options = {"style": style, "size": size, "scale": scale, "channels": ("flux", "error", "mask"), "colors": None}
    options |= {"block": 1 + (size > 3)} if style in ("folded", "thesis-map-channels") else {}
    options |= {"panels": panels} if panels else {}
    batch = SpectrumBatch(torch.from_numpy(flux), torch.from_numpy(ivar), wavelength)
    got = render(batch, **options)
    want = composite(batch.flux, batch.ivar, wavelength, Picture.of(**options))
    assert got.shape == want.shape and int((got.int() - want.int()).abs().max() if rows else 0) <= 1
    backwards = range(rows - 1, -1, -1)
    again = SpectrumBatch(batch.flux.contiguous(), batch.ivar.contiguous(), wavelength)
    assert torch.equal(render(again.select(backwards), **options), got.flip(0))
    # Wavelengths of each spectrum's own take another way to the same weights, which rounds elsewhere.
    own = SpectrumBatch(batch.flux, batch.ivar, wavelength.expand(rows, -1))
    again = render(own.select(backwards), **options).flip(0)
    assert int((got.int() - again.int()).abs().max() if rows else 0) <= 1


def test_a_spectrum_is_drawn_alike_in_any_company(batch: SpectrumBatch) -> None:
    for style in STYLES:
        together = render(batch, style=style, size=48)
        for row in (0, 5, 7):
            assert torch.equal(render(batch.select([row]), style=style, size=48)[0], together[row]), style
        order = [3, 1, 7, 0]
        assert torch.equal(render(batch.select(order), style=style, size=48), together[order]), style


def test_squares_in_order() -> None:
    """Nine pixels are nine squares of known values; masked squares and those left over are empty."""
    wavelength = torch.arange(5000.0, 5009.0, dtype=torch.float64)
    flux, ivar = torch.arange(9.0)[None], torch.ones(1, 9)
    ivar[0, 4] = 0
    batch = SpectrumBatch(flux, ivar, wavelength)
    options = {"wavelength_range": None, "scale": (0.0, 8.0), "block": 2, "size": 7, "style": "folded"}
    level = np.round(255 * np.arange(9) / 8).astype(np.uint8).reshape(3, 3)
    level[1, 1] = 0
    image = render(batch, **options)[0, 0].numpy()
    np.testing.assert_array_equal(image[:6:2, :6:2], level)
    np.testing.assert_array_equal(image[:6, :6], level.repeat(2, 0).repeat(2, 1))
    assert not image[6].any() and not image[:, 6].any()
    turned = render(batch, order="boustrophedon", **options)[0, 0].numpy()
    level[1] = level[1, ::-1]
    np.testing.assert_array_equal(turned[:6:2, :6:2], level)
    mask, first = render(batch, channels=("mask", "first"), **options | {"scale": "minmax"})[0].numpy()
    assert mask[2, 2] == 255 and np.count_nonzero(mask) == 4
    assert first[2, 2] == 0 and first.max() == 128  # it is 1 everywhere, and without contrast stands in the middle


def test_error_mask_and_regions_are_where_they_should_be() -> None:
    """The spectrum is flat, of sigma 2 on a scale from -10 to 10, and has no data in its second quarter."""
    wavelength = torch.linspace(4000.0, 8000.0, 4001, dtype=torch.float64)
    ivar = torch.where((wavelength > 4999.5) & (wavelength < 6000.5), 0.0, 0.25).float()
    batch = SpectrumBatch(torch.zeros(1, 4001), ivar[None], wavelength)
    image = render(
        batch,
        size=100,
        channels=("error", "mask", "regions"),
        regions=((7000.0, 7500.0),),
        wavelength_range=(4000.0, 8000.0),
        axis="linear",
        scale=(-10.0, 10.0),
        margin=0.0,
        points=2,
    )[0].numpy()
    band, mask, regions = image.astype(int)
    # A bin of 20 A holds 19 pixels and two halves, whose mean has sigma = 2 sqrt(19 + 2 / 4) / 20; 5 pixels are 1.
    ink = band[:, 5:24].sum(0) / 255.0
    np.testing.assert_allclose(ink, 2 * 5 * 2 * np.sqrt(19.5) / 20, atol=0.01)
    np.testing.assert_array_equal(band, band[::-1])
    assert not band[:, 26:49].any()
    np.testing.assert_array_equal(mask[0] // 255, np.repeat([0, 1, 0], [25, 25, 50]))
    np.testing.assert_allclose(
        regions[50] / 255.0, np.repeat([0, 1, 0], [75, 12, 13]) + 0.5 * np.eye(100)[87], atol=0.01
    )
    assert (image[1:] == image[1:, :1]).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_normalised_images_are_the_levels_ones(batch: SpectrumBatch, dtype: torch.dtype, device: str) -> None:
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    levels = render(batch.to(device), style="overlap", size=64).double() / 255.0
    wanted = (levels - torch.tensor(mean).view(3, 1, 1).to(device)) / torch.tensor(std).view(3, 1, 1).to(device)
    images = render(batch.to(device), style="overlap", size=64, dtype=dtype, mean=mean, std=std)
    assert images.dtype == dtype
    torch.testing.assert_close(images.double(), wanted, rtol=2.0 ** (-8 if dtype == torch.bfloat16 else -22), atol=1e-6)


@pytest.mark.parametrize("percentiles", [(0.0, 100.0), (0.5, 99.5), (37.0, 62.3)])
def test_percentiles_in_one_pass_are_numpys(percentiles: tuple[float, float]) -> None:
    """Spectra have far outliers, ties and masks; the scale is read off a map with a square for each pixel."""
    rng = np.random.default_rng(1)
    flux = rng.normal(size=(12, 4000)).astype(np.float32)
    flux[1] = flux[1].round(1)
    flux[2:4, ::7] *= np.float32(1e30)
    flux[4] = np.exp(20 * flux[4])
    flux[5, 100:] = 1.0
    good = rng.random(flux.shape) < np.linspace(0.05, 1.0, 12)[:, None]
    good[:, [0, -1]] = True
    wavelength = torch.arange(4000, dtype=torch.float64) + 4000.0
    batch = SpectrumBatch(torch.from_numpy(flux), torch.from_numpy(good).float(), wavelength)
    options = {"style": "folded", "wavelength_range": None, "size": 64, "block": 1, "percentiles": percentiles}
    images = render(batch, scale="percentile", **options)
    for row in range(12):
        low, high = np.percentile(flux[row][good[row]].astype(np.float64), percentiles)
        alone = SpectrumBatch(batch.flux[[row]], batch.ivar[[row]], wavelength)
        fixed = (low, high) if high > low else (low - 0.5, low + 0.5)
        want = render(alone, **options | {"scale": fixed})[0]
        assert int((images[row].int() - want.int()).abs().max()) <= 1, row


def test_memory_does_not_grow_with_the_batch() -> None:
    """Only the images take more of it. The test has a process of its own, as a process keeps what it has used."""
    code = """
import resource, torch
from spectromer import SpectrumBatch, render
rows = 3000
flux, ivar = torch.rand(rows, 4600), torch.ones(rows, 4600)
batch = SpectrumBatch(flux, ivar, torch.linspace(3600.0, 10000.0, 4600, dtype=torch.float64))
few = render(batch.select(range(64)), style="panels", points=18)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
images = render(batch, style="panels", points=18)
grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 - images.nbytes
print(grown / images.nbytes)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # The images take 150 MB; the resampled spectra would take 770 MB.
    assert float(done.stdout) < 0.05


def test_panels_are_the_pieces_of_one_plot(batch: SpectrumBatch) -> None:
    """Four panels in rows or in channels are four plots of a quarter of the range, scaled alike."""
    fixed = {"scale": (-10.0, 60.0)}
    rows = render(batch, style="panels", size=64, panels=4, **fixed)
    channels = render(batch, style="panels", size=64, panels=4, layout="channels", **fixed)
    assert rows.shape == (8, 1, 64, 64) and channels.shape == (8, 4, 64, 64)
    edges = np.geomspace(3600.0, 10000.0, 5)
    for i in range(4):
        alone = render(batch, size=64, wavelength_range=(edges[i], edges[i + 1]), **fixed)
        assert int((alone[:, 0].int() - channels[:, i].int()).abs().max()) <= 1


def test_a_pixel_means_one_wavelength() -> None:
    """A line at a known wavelength stands in the column that the axis gives, on any grid."""
    for axis in ("log", "linear"):
        for pixels in (3000, 4600):
            wavelength = torch.linspace(3600.0, 10000.0, pixels, dtype=torch.float64)
            flux = torch.exp(-0.5 * ((wavelength - 6564.6) / 8.0) ** 2).float()
            batch = SpectrumBatch(flux[None], torch.ones(1, pixels), wavelength)
            image = render(batch, size=200, axis=axis, scale=(0.0, 1.0), coverage="union")[0, 0]
            column = int((image > 0).int().argmax(0).argmin())  # the column whose ink begins highest up
            share = (6564.6 - 3600) / 6400 if axis == "linear" else np.log(6564.6 / 3600.0) / np.log(10000.0 / 3600.0)
            assert column == int(200 * share)


def test_masked_flux_never_shows(batch: SpectrumBatch, device: str) -> None:
    """The picture is the same whatever stands under the mask."""
    batch = batch.to(device)
    for junk in (0.0, 1e30, torch.nan, torch.inf):
        flux = torch.where(batch.ivar > 0, batch.flux, junk)
        other = SpectrumBatch(flux, batch.ivar, batch.wavelength)
        for style in STYLES:
            assert torch.equal(render(other, style=style, size=48), render(batch, style=style, size=48)), style


def test_blank_flat_and_empty(device: str) -> None:
    wavelength = torch.linspace(3600.0, 9000.0, 500, dtype=torch.float64)
    flux = torch.ones(2, 500)
    ivar = torch.stack((torch.ones(500), torch.zeros(500)))
    batch = SpectrumBatch(flux, ivar, wavelength).to(device)
    for style in STYLES:
        images = render(batch, style=style, size=48)
        empty = render(batch, style=style, size=48, ground="dark", colormap=None)[1]
        assert bool(images[0].any()) and not empty.any(), style
        assert len(render(batch.to(device).select([]), style=style, size=48)) == 0


def test_wavelengths_whose_logarithms_are_equal(device: str) -> None:
    """They have one place on the axis, and AGG draws nothing outside its memory."""
    wavelength = torch.from_numpy(5000.0 + np.arange(9) * np.spacing(5000.0))
    batch = SpectrumBatch(torch.randn(3, 9), torch.ones(3, 9), wavelength).to(device)
    for coverage in ("union", "agg"):
        images = render(batch, style="thesis-plot", axis="log", size=48, coverage=coverage)
        assert bool((images[..., 24:] == 255).all()) and bool((images < 255).any())
    with pytest.raises(ArgumentError, match="wavelength must be above 0 on a logarithmic axis"):
        render(SpectrumBatch(batch.flux.cpu(), batch.ivar.cpu(), wavelength - 5000.0), style="thesis-plot", axis="log")


def test_is_a_well_formed_operator(batch: SpectrumBatch, device: str) -> None:
    b = batch.to(device)
    for picture in (
        Picture.of("panels", 32),
        Picture.of("thesis-plot", 32),
        Picture.of("overlap", 32, dtype="bfloat16"),
    ):
        args = (b.flux, b.ivar, b.wavelength, picture.to_json())
        torch.library.opcheck(torch.ops.spectromer.render.default, args)


def test_compiles_without_a_graph_break(batch: SpectrumBatch, device: str) -> None:
    b = batch.to(device)

    def drawn(flux: torch.Tensor) -> torch.Tensor:
        return render(SpectrumBatch(flux, b.ivar, b.wavelength), style="panels", size=32).float() / 255.0

    assert torch.equal(torch.compile(drawn, fullgraph=True, backend="aot_eager")(b.flux), drawn(b.flux))


def test_says_what_is_wrong(batch: SpectrumBatch) -> None:
    with pytest.raises(ArgumentError, match="sides multiples of block = 4, got rows, standard and 24 x 6"):
        render(batch, size=24, block=4, panels=4)
    with pytest.raises(ArgumentError, match=r"must be rows in standard order, .* got rows, boustrophedon and 32 x 16"):
        render(batch, size=32, block=4, panels=2, order="boustrophedon")
    with pytest.raises(ArgumentError, match="axis log for the channels lines, got None and linear"):
        render(batch, style="thesis-map", channels=("lines",), colormap=None, axis="linear")
    with pytest.raises(ArgumentError, match="render has no option colour; it has channels, panels"):
        render(batch, size=32, colour="red")


def test_eight_subcolumns_are_close_to_the_area(batch: SpectrumBatch) -> None:
    coarse, fine = (render(batch, subcolumns=s, points=18).float() for s in (8, 256))
    assert float((coarse - fine).abs().mean()) <= 1.0
