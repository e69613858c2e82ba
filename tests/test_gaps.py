"""Gaps in the wavelengths: pixels that are missing are as good as masked ones."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from noise import spectrum

import spectromer
from spectromer import Spectrum, SpectrumBatch, reference, render

STEPS = {  # between neighbouring pixels, each with those that are gaps
    "deleted pixels": ([1.0] * 9 + [101.0] + [1.0] * 9, [9]),
    "five steps": ([1.0] * 9 + [5.0] + [1.0] * 9, []),
    "six steps": ([1.0] * 9 + [6.0] + [1.0] * 9, [9]),
    "a pixel by itself": ([1.0] * 5 + [20.0, 30.0] + [1.0] * 5, [5, 6]),
    "two arms": ([1.0] * 8 + [6.0] * 8, []),
    "two arms apart": ([1.0] * 8 + [31.0] + [6.0] * 8, [8]),
    "the first pixel by itself": ([40.0, 1.0, 1.0, 1.0], [0]),
    "the last pixel by itself": ([1.0, 1.0, 1.0, 40.0], [3]),
    "two pixels": ([400.0], []),
    "three pixels": ([1.0, 400.0], [1]),
    "pairs": ([1.0, 50.0, 1.0, 50.0, 1.0], [1, 3]),
    "logarithmic": (list(1.02 ** np.arange(200)), []),
    "ever wider": ([1.0, 2.0, 4.0, 8.0, 16.0], []),
}


@pytest.mark.parametrize("rows", ["shared", "own", "own grids", "shifted"])
@pytest.mark.parametrize("name", list(STEPS))
def test_bins_in_gaps_are_masked(name: str, rows: str, device: str) -> None:
    """The pixels beside a gap keep their widths, and no flux is interpolated across it."""
    steps, gaps = STEPS[name]
    wavelength = 5000.0 + np.concatenate(([0.0], np.cumsum(steps)))
    pixels = len(wavelength)
    inside = [np.linspace(low, high, 12, endpoint=False) for low, high in itertools.pairwise(wavelength)]
    grid = np.concatenate((wavelength[:1] - 2.0, *inside, wavelength[-1:], wavelength[-1:] + 2.0))
    flux, ivar = spectrum(pixels)
    ivar[:2] += 1.0
    axis, bins = torch.from_numpy(wavelength), torch.from_numpy(grid)
    options = {"shift": torch.zeros(3, dtype=torch.int64).to(device)} if rows == "shifted" else {}
    axis = axis.expand(3, -1).contiguous() if rows == "own" else axis
    bins = bins.expand(3, -1).contiguous() if rows in ("own grids", "shifted") else bins
    spectra = (flux.to(device), ivar.to(device), axis.to(device), bins.to(device))
    edges = [(wavelength[i] + steps[i] / 3, wavelength[i + 1] - steps[i] / 3) for i in range(pixels - 1)]
    for method in ("flux_conserving", "linear"):
        got = spectromer.resample(*spectra, method=method, **options)
        covered = spectromer.resample(*spectra, method=method, max_gap=None, **options)
        for row in range(3):
            want = reference.resample(flux[row], ivar[row], wavelength, grid, method=method)
            np.testing.assert_allclose(got[0][row].cpu(), want[0], rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(got[1][row].cpu(), want[1], rtol=1e-5)
            want = reference.resample(flux[row], ivar[row], wavelength, grid, method=method, max_gap=None)
            np.testing.assert_allclose(covered[0][row].cpu(), want[0], rtol=1e-5, atol=1e-6)
        for i, (low, high) in enumerate(edges):
            amid = (grid > low) & (grid < high)
            assert bool((got[1][0].cpu()[amid] == 0).all()) == (i in gaps), (name, i)
            assert bool((covered[1][0].cpu()[amid] > 0).all())


def test_deleting_masked_pixels_changes_nothing(device: str) -> None:
    """Runs of masked pixels, and the same spectra without them, whose pixels left are those beside gaps."""
    flux, ivar = spectrum(600, rows=2)
    ivar[:] = 1.0
    wavelength = torch.linspace(4000.0, 4599.0, 600, dtype=torch.float64)
    for first, count in ((50, 20), (75, 100), (300, 5), (306, 9)):
        ivar[:, first : first + count] = 0.0
    grid = torch.linspace(3990.0, 4610.0, 777, dtype=torch.float64).to(device)
    good = ivar[0] > 0
    for axis in (wavelength, wavelength.expand(2, -1)):
        masked = (flux.to(device), ivar.to(device), axis.to(device))
        left = [t[..., good.to(device)] for t in masked]
        for method in ("flux_conserving", "linear"):
            want = spectromer.resample(*masked, grid, method=method)
            got = spectromer.resample(*left, grid, method=method)
            torch.testing.assert_close(got[0], want[0], rtol=1e-6, atol=1e-6)
            torch.testing.assert_close(got[1], want[1], rtol=1e-5, atol=0)
            assert bool((want[1] == 0).any())


@settings(max_examples=60, deadline=None)
@given(
    pixels=st.integers(2, 90),
    bins=st.integers(2, 90),
    max_gap=st.sampled_from([2.0, 5.0, 30.0, None]),
    shared=st.booleans(),
    method=st.sampled_from(["flux_conserving", "linear"]),
    seed=st.integers(0, 2**31),
)
def test_random_gaps_equal_the_reference(
    pixels: int, bins: int, max_gap: float | None, shared: bool, method: str, seed: int
) -> None:
    """Steps of all sizes, in which gaps follow one another; rows that begin and end beside them; and the transpose."""
    rng = np.random.default_rng(seed)
    step = np.where(
        rng.random(pixels) < 0.2, rng.choice([2.5, 8.0, 40.0, 300.0], pixels), rng.uniform(0.8, 1.2, pixels)
    )
    wavelength, lengths = np.cumsum(step) + 4000.0, rng.integers(0, pixels + 1, 3)
    shift = np.array([rng.integers(0, pixels - n + 1) for n in lengths])
    grid = np.sort(rng.uniform(wavelength[0] - 5.0, wavelength[-1] + 5.0, bins))
    flux, ivar = spectrum(int(lengths.sum()), rows=1, seed=seed % 1000)
    offsets = torch.from_numpy(np.concatenate(([0], np.cumsum(lengths))))
    options = {"method": method, "max_gap": max_gap, "offsets": offsets}
    to = torch.from_numpy(grid if shared else np.tile(grid, (3, 1)))
    flux.requires_grad_()
    got = spectromer.resample(
        flux[0], ivar[0], torch.from_numpy(wavelength), to, shift=torch.from_numpy(shift), **options
    )
    rows = [slice(offsets[row], offsets[row + 1]) for row in range(3)]
    own = np.concatenate([wavelength[s : s + n] for s, n in zip(shift, lengths, strict=True)])
    alone = spectromer.resample(flux[0], ivar[0], torch.from_numpy(own), to, **options)
    for out, _ in (got, alone):
        g = torch.randn(out.shape, generator=torch.Generator().manual_seed(seed % 1000))
        (grad,) = torch.autograd.grad(out, flux, g)
        torch.testing.assert_close((g * out).sum(), (grad * flux).sum(), rtol=1e-4, atol=1e-3)
    for row, (first, n) in enumerate(zip(shift, lengths, strict=True)):
        f, v = np.zeros((2, pixels), np.float32)
        f[first : first + n], v[first : first + n] = flux.detach()[0, rows[row]], ivar[0, rows[row]]
        want = reference.resample(f, v, wavelength, grid, method=method, max_gap=max_gap)
        np.testing.assert_allclose(got[0][row].detach(), want[0], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(got[1][row], want[1], rtol=1e-5)
        if n >= 2:
            w = wavelength[first : first + n]
            want = reference.resample(
                f[first : first + n], v[first : first + n], w, grid, method=method, max_gap=max_gap
            )
            np.testing.assert_allclose(alone[0][row].detach(), want[0], rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(alone[1][row], want[1], rtol=1e-5)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("style", ["plot", "panels", "overlap", "folded"])
def test_pictures_leave_gaps_empty(style: str, own: bool, device: str) -> None:
    """Deleted pixels are drawn as masked ones, as in the reference."""
    flux, ivar = spectrum(2000, rows=2)
    ivar[:] = 1.0
    ivar[:, 300:700] = 0.0
    wavelength = torch.linspace(3500.0, 10100.0, 2000, dtype=torch.float64)
    good = ivar[0] > 0
    masked = SpectrumBatch(flux, ivar, wavelength.expand(2, -1) if own else wavelength).to(device)
    left = SpectrumBatch(*(t[..., good.to(device)] for t in (masked.flux, masked.ivar, masked.wavelength)))
    options = {"size": 48, "channels": ("flux", "error", "mask"), "style": style}
    options |= {"panels": 2} if style == "overlap" else {}
    want, got = render(masked, **options), render(left, **options)
    assert int((want.int() - got.int()).abs().max()) <= 1
    assert bool((got[:, -options.get("panels", 1) :] == 255).any())  # the mask
    image = reference.render(*(t[0].cpu().numpy() for t in (left.flux, left.ivar)), wavelength[good].numpy(), **options)
    assert np.abs(255.0 * image - got[0].cpu().numpy()).max() <= 1.6


def test_padding_does_not_fill_gaps() -> None:
    """A spectrum whose last pixel lies behind a gap is resampled alone as beside longer ones."""
    wavelength = torch.cat((torch.arange(4000.0, 4050.0), torch.tensor([4200.0]))).double()
    grid = torch.arange(3990.0, 4300.0, 3.0)
    short = Spectrum(torch.ones(51), torch.ones(51), wavelength)
    long = Spectrum(torch.ones(99), torch.ones(99), torch.linspace(4001.0, 4250.0, 99, dtype=torch.float64) ** 1.01)
    alone, beside = SpectrumBatch.from_spectra([short]), SpectrumBatch.from_spectra([short, long])
    want = spectromer.resample(alone.flux, alone.ivar, alone.wavelength, grid)
    got = spectromer.resample(beside.flux, beside.ivar, beside.wavelength, grid)
    assert torch.equal(got[1][0] > 0, want[1][0] > 0) and 0 < int((want[1] == 0).sum()) < len(grid)
