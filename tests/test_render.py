"""render and the transforms: what each style draws, against numpy and the operators it is made of."""

import numpy as np
import pytest
import torch

from spectromer import Spectrum, SpectrumBatch, rasterize, reference, render, resample
from spectromer.data.simulate import simulate
from spectromer.ops.render import STYLES, limits, render_options, wavelength_grid
from spectromer.transforms import Normalize, Rasterize, Resample, SpectrumToImage


@pytest.fixture(scope="module")
def batch() -> SpectrumBatch:
    spectra = list(simulate(260))
    return SpectrumBatch.from_spectra([*spectra[:6], *spectra[-2:]])  # six of SDSS, two of LAMOST


@pytest.mark.parametrize("style", list(STYLES))
def test_shapes_and_dtype(batch: SpectrumBatch, style: str, device: str) -> None:
    images = render(batch.to(device), style=style, size=96)
    assert images.shape == (len(batch), 3 if style == "overlap" else 1, 96, 96) and images.dtype == torch.uint8
    assert bool((images.amax((1, 2, 3)) > 200).all())


@pytest.mark.parametrize(
    "options",
    [
        {"style": "plot"},
        {"style": "plot", "axis": "linear", "scale": "minmax", "margin": 0.1, "points": 3, "linewidth": 2.0},
        {"style": "panels", "panels": 4, "per_panel": True, "percentiles": (5.0, 95.0)},
        {"style": "overlap", "scale": (-5.0, 40.0)},
        {"style": "thesis", "coverage": "union"},
    ],
)
def test_equals_the_reference(batch: SpectrumBatch, options: dict, device: str) -> None:
    got = render(batch.to(device), size=32, **options).cpu().numpy()
    for row in (0, 3, 7):
        s = batch.spectrum(row)
        want = 255.0 * reference.render(s.flux, s.ivar, s.wavelength, size=32, **options)
        off = np.abs(got[row] - want)
        # A level or two where a steep segment magnifies float32's rounding of its flux.
        assert off.mean() <= 0.3 and off.max() <= 3.0, options


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
    """A line at a known wavelength stands in the column that the axis says, on any grid."""
    for axis in ("log", "linear"):
        for pixels in (3000, 4600):
            wavelength = torch.linspace(3600.0, 10000.0, pixels, dtype=torch.float64)
            flux = torch.exp(-0.5 * ((wavelength - 6564.6) / 8.0) ** 2).float()
            batch = SpectrumBatch(flux[None], torch.ones(1, pixels), wavelength)
            image = render(batch, size=200, axis=axis, scale=(0.0, 1.0), coverage="union")[0, 0]
            column = int((image > 0).int().argmax(0).argmin())  # where the ink begins highest up
            share = (6564.6 - 3600) / 6400 if axis == "linear" else np.log(6564.6 / 3600.0) / np.log(10000.0 / 3600.0)
            assert column == int(200 * share)


def test_thesis_draws_each_spectrum_over_its_own_range(batch: SpectrumBatch) -> None:
    image = render(batch, style="thesis")[0, 0]
    inked = (image > 0).nonzero()
    assert inked[:, 1].min() <= 1 and inked[:, 1].max() >= 222
    spectrum = batch.spectrum(0)
    good = spectrum.ivar > 0
    w, f = spectrum.wavelength[good], spectrum.flux[good]
    x = ((w - w[0]) / (w[-1] - w[0]) * 224).float()
    y = 224 * (0.95 - 0.9 * (f - f.min()) / (f.max() - f.min()))
    joined = rasterize(y[None], x, coverage="agg")[0, 0]
    # The same but for the gaps at masked pixels.
    assert float((joined != image).float().mean()) < 0.05


def test_masked_flux_never_shows(batch: SpectrumBatch, device: str) -> None:
    """Whatever stands under the mask, the picture is the same."""
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
        assert bool(images[0].any()) and not images[1].any(), style
        assert len(render(batch.to(device).select([]), style=style, size=48)) == 0


def test_percentiles_are_numpys(device: str) -> None:
    rng = np.random.default_rng(0)
    flux = rng.normal(size=(5, 101)).astype(np.float32)
    good = rng.random((5, 101)) < 0.7
    low, high = limits(torch.from_numpy(flux).to(device), torch.from_numpy(good).to(device), "percentile", 2.5, 80.0)
    for row in range(5):
        want = np.percentile(flux[row, good[row]], (2.5, 80.0))
        np.testing.assert_allclose([float(low[row, 0]), float(high[row, 0])], want, rtol=1e-5, atol=1e-6)


def test_is_a_well_formed_operator(batch: SpectrumBatch, device: str) -> None:
    b = batch.to(device)
    grid = wavelength_grid(render_options("panels", 32), 32).to(device)
    args = (b.flux, b.ivar, b.wavelength, grid, 4, False, 32, "percentile", 0.5, 99.5, True, 0.05, 1.0, "union", 8)
    torch.library.opcheck(torch.ops.spectromer.render.default, args)
    args = (b.flux, b.ivar, b.wavelength, None, 1, False, 32, "minmax", 0.0, 0.0, False, 0.05, 1.0, "agg", 8)
    torch.library.opcheck(torch.ops.spectromer.render.default, args)


def test_compiles_without_a_graph_break(batch: SpectrumBatch, device: str) -> None:
    b = batch.to(device)

    def drawn(flux: torch.Tensor) -> torch.Tensor:
        return render(SpectrumBatch(flux, b.ivar, b.wavelength), style="panels", size=32).float() / 255.0

    assert torch.equal(torch.compile(drawn, fullgraph=True, backend="aot_eager")(b.flux), drawn(b.flux))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"style": "pie"}, "style must be one of"),
        ({"colour": "red"}, "render has no option colour"),
        ({"panels": 5}, "size must be a multiple of panels"),
        ({"layout": "circle"}, "layout must be one of"),
        ({"wavelength_range": (9000.0, 4000.0)}, "wavelength_range must be two rising"),
        ({"wavelength_range": None, "panels": 2}, "panels must be 1 where wavelength_range is None"),
        ({"scale": "log"}, "scale must be one of"),
        ({"scale": (1.0, 1.0)}, "scale must be two rising fluxes"),
        ({"percentiles": (90.0, 10.0)}, "percentiles must rise"),
        ({"margin": 0.5}, "margin must lie in"),
        ({"points": 0}, "points must be at least 1"),
        ({"axis": "sqrt"}, "axis must be one of"),
    ],
)
def test_says_what_is_wrong(batch: SpectrumBatch, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        render(batch, **({"size": 32} | options))


def test_modules_do_as_the_functions(batch: SpectrumBatch) -> None:
    grid = torch.linspace(4000.0, 9000.0, 800, dtype=torch.float64)
    out = Resample(grid)(batch)
    want = resample(batch.flux, batch.ivar, batch.wavelength, grid)
    assert torch.equal(out.flux, want[0]) and torch.equal(out.ivar, want[1]) and out.labels == batch.labels
    scaled = Normalize(0.0, 100.0)(out)
    good = out.ivar[0] > 0
    assert float(scaled.flux[0][good].min()) == 0.0 and float(scaled.flux[0][good].max()) == 1.0
    torch.testing.assert_close(
        (scaled.flux * scaled.ivar.sqrt())[0][good].diff(),
        ((out.flux - out.flux[0][good].min()) * out.ivar.sqrt())[0][good].diff(),
        rtol=1e-3,
        atol=1e-3,
    )
    y = 32.0 - 32.0 * scaled.flux
    assert torch.equal(Rasterize(height=32, width=32)(y), rasterize(y, height=32, width=32))
    module = SpectrumToImage(style="overlap", size=32)
    assert module.channels == 3 and torch.equal(module(batch), render(batch, style="overlap", size=32))


def test_eight_subcolumns_are_close_to_the_area(batch: SpectrumBatch) -> None:
    coarse, fine = (render(batch, subcolumns=s, points=18).float() for s in (8, 256))
    assert float((coarse - fine).abs().mean()) <= 1.0


def test_quantities_and_specutils_like_input() -> None:
    u = pytest.importorskip("astropy.units")
    from astropy.nddata import StdDevUncertainty

    class Like:
        """What specutils' Spectrum offers."""

        flux = np.array([1.0, 2.0, 3.0]) * u.Jy
        spectral_axis = np.array([0.5, 0.6, 0.7]) * u.um
        uncertainty = StdDevUncertainty(np.array([0.5, 0.5, 0.5]))
        mask = np.array([False, True, False])

    found = Spectrum.from_specutils(Like(), id="x")
    np.testing.assert_allclose(found.wavelength, [5000.0, 6000.0, 7000.0])
    assert found.ivar.tolist() == [4.0, 0.0, 4.0] and found.id == "x"
    turned = Spectrum.from_arrays([1.0, 2.0], [1.0, 1.0], np.array([5e14, 6e14]) * u.Hz)
    assert turned.flux.tolist() == [2.0, 1.0] and float(turned.wavelength[0]) == pytest.approx(4996.54, abs=0.01)
    sodium = Spectrum.from_arrays([1.0, 1.0], [1.0, 1.0], [5889.951, 5895.924], air=True)
    np.testing.assert_allclose(sodium.wavelength, [5891.583, 5897.558], atol=2e-3)  # NIST vacuum values
    with pytest.raises(ValueError, match="strictly increasing or decreasing"):
        Spectrum.from_arrays([1.0, 1.0, 1.0], [1.0, 1.0, 1.0], [1.0, 3.0, 2.0])
