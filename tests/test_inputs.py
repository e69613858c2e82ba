"""Operators take tensors of any strides and real type, arrays and lists, and refuse everything else in one sentence."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spectromer import SpectrumBatch, rasterize, render, resample
from spectromer.errors import ArgumentError
from spectromer.ops.inputs import tensor_of
from spectromer.picture import Picture
from spectromer.transforms import Normalize, Rasterize, Resample, SpectrumToImage

LAYOUTS: dict[str, Callable[[Tensor], Any]] = {
    "dense": lambda t: t,
    "transposed": lambda t: t.movedim(0, -1).contiguous().movedim(-1, 0),
    "every other": lambda t: torch.stack([t, torch.full_like(t, 7)], -1)[..., 0],
    "a part": lambda t: torch.nn.functional.pad(t, (3, 2), value=5)[..., 3:-2],
    "flipped twice": lambda t: t.flip(-1).flip(-1),
    "a gradient": lambda t: t.clone().requires_grad_() if t.is_floating_point() else t,
    "an array": lambda t: t.numpy(),
    "a reversed array": lambda t: t.numpy()[..., ::-1].copy()[..., ::-1],
    "a read-only array": lambda t: np.frombuffer(t.numpy().tobytes(), t.numpy().dtype).reshape(t.shape),
    "big-endian": lambda t: t.numpy().astype(t.numpy().dtype.newbyteorder(">")),
    "a list": lambda t: t.tolist(),
}
TYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int16, torch.int64]
layouts = st.sampled_from(list(LAYOUTS))
types = st.sampled_from(TYPES)


def laid_out(values: Tensor, dtype: torch.dtype, layout: str) -> tuple[Any, Tensor]:
    """Values of a type in a layout, and the same as a dense tensor of double precision."""
    typed = values.to(dtype)
    if dtype == torch.bfloat16 and ("array" in layout or layout == "big-endian"):
        layout = "transposed"  # numpy has no such type
    return LAYOUTS[layout](typed), typed.double()


def spectra(rows: int, pixels: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    flux, ivar = 9.0 * torch.randn(rows, pixels, generator=g), 8.0 * torch.rand(rows, pixels, generator=g)
    return flux, ivar * (torch.rand(rows, pixels, generator=g) > 0.2), 4000.0 + 8.0 * torch.arange(pixels)


@settings(max_examples=150, deadline=None)
@given(
    rows=st.integers(1, 5),
    pixels=st.integers(2, 70),
    own=st.booleans(),
    method=st.sampled_from(["flux_conserving", "linear"]),
    forms=st.tuples(*[st.tuples(types, layouts)] * 3, layouts),
    seed=st.integers(0, 2**31),
)
def test_resample_takes_any_layout(
    rows: int, pixels: int, own: bool, method: str, forms: tuple[Any, ...], seed: int
) -> None:
    """The results are those of dense tensors, and so are the gradients."""
    flux, ivar, wavelength = spectra(rows, pixels, seed)
    wavelength = (wavelength + torch.arange(rows)[:, None]) if own else wavelength
    grid = torch.linspace(3990.0, 4600.0, 33, dtype=torch.float64)
    (f, flux), (v, ivar) = (laid_out(t, *form) for t, form in zip((flux, ivar), forms, strict=False))
    (w, wavelength), (g, _) = laid_out(wavelength, torch.float64, forms[2][1]), laid_out(grid, grid.dtype, forms[3])
    got = resample(f, v, w, g, method=method)
    plain = flux.float().requires_grad_()
    want = resample(plain, ivar.float(), wavelength, grid, method=method)
    assert torch.equal(got[0], want[0]) and torch.equal(got[1], want[1])
    if isinstance(f, Tensor) and f.requires_grad:
        (grad,) = torch.autograd.grad(got[0].sum(), f)
        assert grad.dtype == f.dtype
        torch.testing.assert_close(grad, torch.autograd.grad(want[0].sum(), plain)[0].to(f.dtype))


@settings(max_examples=100, deadline=None)
@given(
    rows=st.integers(1, 5),
    pixels=st.integers(60, 90),
    own=st.booleans(),
    style=st.sampled_from(["plot", "folded", "thesis-plot", "thesis-map-regions"]),
    forms=st.tuples(*[st.tuples(types, layouts)] * 3),
    seed=st.integers(0, 2**31),
)
def test_pictures_take_any_layout(
    rows: int, pixels: int, own: bool, style: str, forms: tuple[Any, ...], seed: int
) -> None:
    flux, ivar, wavelength = spectra(rows, pixels, seed)
    wavelength = (wavelength + torch.arange(rows)[:, None]) if own else wavelength
    (f, flux), (v, ivar) = (laid_out(t, *form) for t, form in zip((flux, ivar), forms, strict=False))
    w, wavelength = laid_out(wavelength, torch.float64, forms[2][1])
    options: dict[str, Any] = {"style": style, "size": 24}
    want = render(SpectrumBatch(flux.float(), ivar.float(), wavelength), **options)
    given_ = SpectrumBatch(f, v, w) if isinstance(f, Tensor) else SpectrumBatch(tensor_of(f, "flux"), v, w)
    got = render(given_, **options)
    assert torch.equal(got, want) and not got.requires_grad
    assert torch.equal(SpectrumToImage(**options)(given_), want)


@settings(max_examples=100, deadline=None)
@given(
    points=st.integers(1, 60),
    coverage=st.sampled_from(["union", "agg"]),
    forms=st.tuples(*[st.tuples(types, layouts)] * 3),
    band=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_rasterize_takes_any_layout(points: int, coverage: str, forms: tuple[Any, ...], band: bool, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    lines = 30.0 * torch.rand(3, points, generator=g), 20.0 * torch.rand(points, generator=g).sort().values
    (y, height), (x, at), (b, other) = (
        laid_out(t, *form) for t, form in zip((*lines, lines[0] + 4.0), forms, strict=True)
    )
    options: dict[str, Any] = {"height": 30, "width": 20, "coverage": coverage}
    got = rasterize(y, x, **options, band=b if band else None)
    want = rasterize(height.float(), at.float(), **options, band=other.float() if band else None)
    assert torch.equal(got, want) and not got.requires_grad
    assert torch.equal(Rasterize(**options)(y, x), rasterize(height.float(), at.float(), **options))


def test_rows_may_be_the_same_memory() -> None:
    flux, ivar, wavelength = spectra(1, 50, 0)
    grid = torch.linspace(4010.0, 4380.0, 20)
    want = resample(flux, ivar, wavelength, grid)
    got = resample(flux.expand(4, -1), ivar.expand(4, -1), wavelength.expand(4, -1), grid.expand(4, -1))
    torch.testing.assert_close(got[0], want[0].expand(4, -1), rtol=1e-6, atol=1e-6)
    batch = SpectrumBatch(flux.expand(4, -1), ivar.expand(4, -1), wavelength)
    assert torch.equal(
        render(batch, size=24), render(SpectrumBatch(flux, ivar, wavelength), size=24).expand(4, -1, -1, -1)
    )


def test_modules_take_arrays_and_any_type() -> None:
    flux, ivar, wavelength = spectra(3, 50, 0)
    batch, grid = SpectrumBatch(flux, ivar, wavelength.double()), np.linspace(4010.0, 4380.0, 20)
    want = Resample(torch.from_numpy(grid))(batch)
    for given_ in (grid, grid.astype(">f8"), grid.tolist(), torch.from_numpy(grid).requires_grad_()):
        assert torch.equal(Resample(given_)(batch).flux, want.flux)
    for dtype in TYPES:
        typed = SpectrumBatch(flux.to(dtype), ivar.to(dtype), wavelength)
        scaled = Normalize()(typed)
        plain = Normalize()(SpectrumBatch(typed.flux.float(), typed.ivar.float(), wavelength))
        torch.testing.assert_close(scaled.flux.float(), plain.flux, rtol=1e-5, atol=1e-6)
    assert bool(torch.isfinite(Normalize()(SpectrumBatch(flux / 0.0, ivar, wavelength)).flux).all())
    assert Normalize()(SpectrumBatch(flux.requires_grad_(), ivar, wavelength)).flux.requires_grad


def test_inverse_variances_beyond_single_precision() -> None:
    """Such values are good pixels, whose inverse variances become the ends of the range; none is infinite."""
    wavelength = torch.arange(4000.0, 4040.0, dtype=torch.float64)
    limits = torch.finfo(torch.float32)
    for value in (1e300, 3e38, 1e-300):
        least = (1.0 - 1e-6) * min(max(value, limits.tiny), limits.max)
        ivar = torch.full((2, 40), value, dtype=torch.float64)
        ivar[1, ::7] = 0.0
        for axis in (wavelength, wavelength.expand(2, -1)):
            for grid in (wavelength[2:-2], wavelength[2:-2:4]):
                for method in ("flux_conserving", "linear"):
                    flux, got = resample(torch.full((2, 40), 3e38), ivar, axis, grid, method=method)
                    assert bool(torch.isfinite(got).all()) and bool(torch.isfinite(flux).all())
                    good = got > 0
                    assert bool(good.any()) and bool((flux[good] == np.float32(3e38)).all())
                    assert bool((got[good] >= least).all())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (torch.zeros(3, dtype=torch.complex64), "grid must be real, got torch.complex64"),
        (np.zeros(3, complex), "grid must be a tensor or an array of real numbers, got ndarray"),
        (np.ma.masked_equal([1.0, 2.0], 2.0), "grid must have no masked bins, got MaskedArray"),
        ([[1.0], [2.0, 3.0]], "grid must be a tensor or an array of real numbers, got list"),
        ("4000", "grid must be a tensor or an array of real numbers, got str"),
        (None, "grid is missing: resample takes flux, ivar, wavelength and grid"),
    ],
)
def test_says_what_is_no_input(wrong: Any, message: str) -> None:
    flux, ivar, wavelength = spectra(3, 50, 0)
    with pytest.raises(ArgumentError, match=message):
        resample(flux, ivar, wavelength, wrong)


def test_units_are_not_dropped() -> None:
    """Wavelengths and grids are converted; the tensors beside them keep their gradient."""
    units = pytest.importorskip("astropy.units")
    flux, ivar, wavelength = spectra(3, 50, 0)
    wavelength = wavelength.double()
    grid = wavelength[5:-5:2]
    flux.requires_grad_()
    want = resample(flux, ivar, wavelength, grid)
    found = resample(flux, ivar, wavelength.numpy() / 10 * units.nm, grid.numpy() / 1e4 * units.um)
    torch.testing.assert_close(found, want, rtol=1e-5, atol=1e-6)
    assert found[0].requires_grad
    with pytest.raises(ArgumentError, match="wavelength must have a unit of length, frequency or energy, got Jy"):
        resample(flux, ivar, wavelength.numpy() * units.Jy, grid)
    with pytest.raises(ArgumentError, match="y must be plain numbers, got Quantity"):
        rasterize(flux.detach().numpy() * units.Jy, height=8, width=8)


HUGE = [2**15, 2**31, 2**40, 2**63, 2**70]


@pytest.mark.parametrize("value", [*HUGE, 0, -(2**63)])
def test_sizes_are_refused_in_one_sentence(value: int) -> None:
    limit = "must be at most 32767" if value > 0 else "must be at least 1"
    y, (flux, ivar, wavelength) = torch.rand(2, 5), spectra(3, 50, 0)
    batch = SpectrumBatch(flux, ivar, wavelength)
    for name in ("height", "width"):
        with pytest.raises(ArgumentError, match=f"{name} {limit}, got {value}"):
            rasterize(y, **{name: value})
    for name in ("size", "panels", "points"):
        with pytest.raises(ArgumentError, match=f"{name} {limit}, got {value}"):
            render(batch, **{"size": 24, "layout": "channels", name: value})
    for name in ("subcolumns", "block"):
        with pytest.raises(ArgumentError, match=rf"{name} must lie in \[1, "):
            render(batch, **{"size": 24, name: value})
    if value <= 0:
        return
    shift = torch.tensor([0, value, 0]) if value < 2**63 else torch.tensor([0, 2**63 - 40, -(2**63)])
    with pytest.raises(ArgumentError, match="shift \\+ length of a row must lie within"):
        resample(flux, ivar, torch.arange(4000.0, 4060.0), wavelength, shift=shift)


def test_counts_are_whole() -> None:
    flux, ivar, wavelength = spectra(3, 50, 0)
    batch = SpectrumBatch(flux, ivar, wavelength)
    for name in ("size", "panels", "points"):
        with pytest.raises(ArgumentError, match=f"{name} must be a whole number, got 2.5"):
            render(batch, **{name: 2.5})
    with pytest.raises(ArgumentError, match=r"height must be a whole number, got 2\.5"):
        rasterize(flux, height=2.5)
    assert torch.equal(render(batch, size=np.int64(24)), render(batch, size=24))
    assert torch.equal(rasterize(flux, height=np.int64(24)), rasterize(flux, height=24))


def test_what_exceeds_memory_is_refused_in_one_sentence() -> None:
    with pytest.raises(ArgumentError, match=r"an output of shape \(1048576, 1, 32767, 32767\) does not fit in memory"):
        rasterize(torch.zeros(1, 1).expand(2**20, 1), height=32767, width=32767)
    with pytest.raises(ArgumentError, match="a picture must have at most 2\\^24 bins"):
        Picture.of("plot", 32767, points=513)


def test_the_largest_images_are_right() -> None:
    """A horizontal line, in the last row and up to the last column."""
    for coverage in ("union", "agg"):
        wide = rasterize(
            torch.full((1, 2), 1.5), torch.tensor([-5.0, 32772.0]), height=2, width=32767, coverage=coverage
        )
        assert bool((wide[0, 0, 1] == 255).all()) and not wide[0, 0, 0].any()
        high = rasterize(
            torch.full((1, 2), 32766.5), torch.tensor([-5.0, 9.0]), height=32767, width=3, coverage=coverage
        )
        assert bool((high[0, 0, -1] == 255).all()) and not high[0, 0, :-1].any()
