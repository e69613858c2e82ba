"""resample against its float64 reference, spectres, and what must hold by definition."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from noise import spectrum

import spectromer
from spectromer import reference

SDSS = 10.0 ** (3.5526 + 1e-4 * np.arange(4620))


GRIDS = {
    "down": np.linspace(3700.0, 9900.0, 512),
    "same": SDSS,
    "up": np.linspace(4000.0, 4400.0, 3000),
    "log": 10.0 ** np.linspace(3.6, 3.9, 1001),
    "beyond": np.linspace(1000.0, 20000.0, 777),
    "two bins": np.array([5000.0, 6000.0]),
}


@pytest.mark.parametrize("method", ["flux_conserving", "linear"])
@pytest.mark.parametrize("coverage", [0.0, 0.6])
@pytest.mark.parametrize("name", list(GRIDS))
def test_equals_the_reference(name: str, coverage: float, method: str, device: str) -> None:
    flux, ivar = spectrum(1201)
    wavelength = SDSS[::4][:1155]
    flux, ivar = flux[:, :1155], ivar[:, :1155]
    grid = GRIDS[name]
    got = spectromer.resample(
        flux.to(device),
        ivar.to(device),
        torch.from_numpy(wavelength).to(device),
        torch.from_numpy(grid).to(device),
        method=method,
        coverage=coverage,
    )
    for row in range(len(flux)):
        want = reference.resample(flux[row], ivar[row], wavelength, grid, method=method, coverage=coverage)
        np.testing.assert_allclose(got[0][row].cpu(), want[0], rtol=2e-6, atol=1e-6)
        np.testing.assert_allclose(got[1][row].cpu(), want[1], rtol=2e-6)


def test_equals_spectres() -> None:
    """Unmasked and inside the range, where spectres is right."""
    from spectres import spectres

    flux, _ = spectrum(4620, rows=1)
    ivar = torch.from_numpy(np.random.default_rng(1).uniform(0.5, 2.0, (1, 4620)).astype(np.float32))
    grid = np.linspace(3700.0, 9900.0, 2000)
    error = 1.0 / np.sqrt(ivar[0].double().numpy())
    want_flux, want_error = spectres(grid, SDSS, flux[0].double().numpy(), error)
    got_flux, got_ivar = spectromer.resample(flux, ivar, torch.from_numpy(SDSS), torch.from_numpy(grid))
    np.testing.assert_allclose(got_flux[0], want_flux, rtol=1e-6)
    np.testing.assert_allclose(got_ivar[0], 1.0 / want_error**2, rtol=1e-6)


def test_linear_equals_numpy_interp(device: str) -> None:
    flux, _ = spectrum(4620, rows=2)
    grid = np.linspace(3700.0, 9900.0, 2000)
    got, _ = spectromer.resample(
        flux.to(device),
        torch.ones_like(flux).to(device),
        torch.from_numpy(SDSS).to(device),
        torch.from_numpy(grid).to(device),
        method="linear",
    )
    for row in range(2):
        np.testing.assert_allclose(got[row].cpu(), np.interp(grid, SDSS, flux[row]), rtol=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    pixels=st.integers(2, 60),
    bins=st.integers(2, 60),
    seed=st.integers(0, 2**31),
    shared=st.booleans(),
    broken=st.sampled_from([0.0, np.nan, np.inf, -np.inf, 1e30]),
)
def test_random_spectra_equal_the_reference(pixels: int, bins: int, seed: int, shared: bool, broken: float) -> None:
    """Odd sizes, per-row grids, broken flux under a mask or not, rows without a good pixel."""
    rng = np.random.default_rng(seed)
    wavelength = np.cumsum(rng.uniform(0.1, 3.0, (3, pixels)), 1) + 100.0
    grid = np.cumsum(rng.uniform(0.1, 3.0, (3, bins)), 1) + 100.0
    flux = rng.normal(size=(3, pixels)).astype(np.float32)
    ivar = rng.uniform(0.1, 2.0, (3, pixels)).astype(np.float32)
    hit = rng.random((3, pixels)) < 0.3
    flux[hit], ivar[hit] = broken, rng.choice(np.array([0.0, -1.0, np.nan], np.float32))
    ivar[2] = 0.0
    if shared:
        wavelength, grid = wavelength[0], grid[0]
    got = spectromer.resample(*(torch.from_numpy(a) for a in (flux, ivar, wavelength, grid)))
    assert bool(torch.isfinite(got[0]).all()) and bool(torch.isfinite(got[1]).all())
    assert not got[0][2].any() and not got[1][2].any()
    for row in range(3):
        want = reference.resample(
            flux[row], ivar[row], wavelength if shared else wavelength[row], grid if shared else grid[row]
        )
        np.testing.assert_allclose(got[0][row], want[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(got[1][row], want[1], rtol=1e-5)


@pytest.mark.parametrize("method", ["flux_conserving", "linear"])
@pytest.mark.parametrize("own_grid", [False, True])
def test_ragged_rows_equal_the_rows_alone(own_grid: bool, method: str, device: str) -> None:
    """Rows one behind the other, with wavelengths of their own or as stretches of one, come out as each by itself."""
    rng = np.random.default_rng(3)
    lengths, shift = np.array([700, 0, 13, 2, 351, 1, 500, 64, 420]), np.array([0, 5, 600, 30, 100, 8, 77, 0, 280])
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    master = SDSS[:700]
    wavelength = np.concatenate([master[s : s + n] for s, n in zip(shift, lengths, strict=True)])
    flux, ivar = (a[0].to(device) for a in spectrum(int(offsets[-1]), rows=1))
    grid = np.linspace(3560.0, 4160.0, 90)
    grids = grid + rng.uniform(0.0, 5.0, (len(lengths), 1)) if own_grid else grid
    to, where = torch.from_numpy(grids).to(device), torch.from_numpy(offsets).to(device)
    flux.requires_grad_()
    options = {"method": method, "offsets": where}
    own = spectromer.resample(flux, ivar, torch.from_numpy(wavelength).to(device), to, **options)
    shifted = spectromer.resample(
        flux, ivar, torch.from_numpy(master).to(device), to, shift=torch.from_numpy(shift).to(device), **options
    )
    for out, _ in (own, shifted):
        g = torch.randn_like(out)
        (grad,) = torch.autograd.grad(out, flux, g)
        torch.testing.assert_close((g * out).sum(), (grad * flux).sum(), rtol=1e-4, atol=1e-3)
    for row, (first, n) in enumerate(zip(shift, lengths, strict=True)):
        part = slice(offsets[row], offsets[row + 1])
        f, v, g = flux[part].detach().cpu(), ivar[part].cpu(), grids[row] if own_grid else grids
        want = np.zeros((2, 90))
        if n >= 2:
            want = reference.resample(f, v, wavelength[part], g, method=method)
        np.testing.assert_allclose(own[0][row].detach().cpu(), want[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(own[1][row].cpu(), want[1], rtol=1e-5)
        padded_flux, padded_ivar = np.zeros(700, np.float32), np.zeros(700, np.float32)
        padded_flux[first : first + n], padded_ivar[first : first + n] = f, v
        want = reference.resample(padded_flux, padded_ivar, master, g, method=method)
        np.testing.assert_allclose(shifted[0][row].detach().cpu(), want[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(shifted[1][row].cpu(), want[1], rtol=1e-5)


def test_dense_rows_may_be_shifted(device: str) -> None:
    flux, ivar = (a.to(device) for a in spectrum(300, rows=5))
    shift = torch.tensor([0, 7, 100, 3, 50], device=device)
    # Equally spaced, so that a row's own outermost edges lie where the shared wavelength has them.
    master = torch.linspace(3550.0, 3949.0, 400, dtype=torch.float64, device=device)
    grid = torch.linspace(3570.0, 3850.0, 70, device=device)
    got = spectromer.resample(flux, ivar, master, grid, shift=shift)
    own = torch.stack([master[s : s + 300] for s in shift.tolist()])
    want = spectromer.resample(flux, ivar, own, grid)
    torch.testing.assert_close(got[0], want[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(got[1], want[1], rtol=1e-5, atol=0)


def test_a_row_comes_out_the_same_whatever_stands_beside_it() -> None:
    """One plan for all rows, a grid of its own for each, alone or among others: the same values, bit for bit."""
    flux, ivar = spectrum(900, rows=11)
    wavelength, grid = torch.from_numpy(SDSS[:900]), torch.linspace(3600.0, 4400.0, 333, dtype=torch.float64)
    together = spectromer.resample(flux, ivar, wavelength, grid)
    own_grid = spectromer.resample(flux, ivar, wavelength, grid.expand(11, -1))
    own_pixels = spectromer.resample(flux, ivar, wavelength.expand(11, -1), grid)
    for row in range(11):
        alone = spectromer.resample(flux[row : row + 1], ivar[row : row + 1], wavelength, grid)
        for k in range(2):
            assert torch.equal(alone[k][0], together[k][row])
            torch.testing.assert_close(own_grid[k][row], together[k][row], rtol=1e-6, atol=1e-6)
            assert torch.equal(own_grid[k][row], own_pixels[k][row])


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("bins", [150, 900, 4000])
def test_spikes_do_not_spoil_their_neighbours(bins: int, own: bool, device: str) -> None:
    """Cosmic rays and strong lines, beside masks and not, a million times above the noise."""
    flux, ivar = spectrum(900)
    flux[:, ::37], flux[:, 400:412] = 1e6, -1e5
    wavelength, grid = torch.from_numpy(SDSS[:900]), torch.linspace(3600.0, 4300.0, bins, dtype=torch.float64)
    axis = wavelength.expand(flux.shape).contiguous() if own else wavelength
    got = spectromer.resample(flux.to(device), ivar.to(device), axis.to(device), grid.to(device))
    for row in range(len(flux)):
        want = reference.resample(flux[row], ivar[row], wavelength, grid)
        np.testing.assert_allclose(got[0][row].cpu(), want[0], rtol=1e-6, atol=2e-6)
        np.testing.assert_allclose(got[1][row].cpu(), want[1], rtol=1e-5)


def test_what_is_constant_stays_so(device: str) -> None:
    """To the last bit, beside masked pixels too."""
    flux, ivar = spectrum(900)
    wavelength = torch.from_numpy(SDSS[:900]).to(device)
    for axis in (wavelength, wavelength.expand(flux.shape)):
        got = spectromer.resample(torch.full_like(flux, 0.1).to(device), ivar.to(device), axis, wavelength[5:-5:3])
        assert set(got[0].unique().tolist()) <= {0.0, float(np.float32(0.1))}


def test_fluxes_in_cgs_units_keep_their_variance(device: str) -> None:
    """1e-17 erg/s/cm2/A, whose variances single precision cannot square."""
    flux, ivar = spectrum(500)
    wavelength, grid = torch.from_numpy(SDSS[:500]).to(device), torch.linspace(3540.0, 4020.0, 611, device=device)
    want = spectromer.resample(flux.to(device), ivar.to(device), wavelength, grid)
    got = spectromer.resample((flux * 1e-17).to(device), (ivar * 1e34).to(device), wavelength, grid)
    torch.testing.assert_close(got[0] * 1e17, want[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(got[1] * 1e-34, want[1], rtol=1e-5, atol=0)


def test_conserves_flux(device: str) -> None:
    """The integral over a grid that spans the spectrum is the spectrum's."""
    flux, _ = spectrum(4620)
    grid = torch.linspace(3500.0, 10500.0, 700, dtype=torch.float64)
    wavelength = torch.from_numpy(SDSS)
    got, ivar = spectromer.resample(
        flux.to(device), torch.ones_like(flux).to(device), wavelength.to(device), grid.to(device), coverage=0.999
    )
    inside = (ivar[0] > 0).cpu()
    edges = torch.from_numpy(reference.operators._edges(grid.numpy()))
    low, high = edges[:-1][inside][0], edges[1:][inside][-1]
    pixel = torch.from_numpy(reference.operators._edges(SDSS))
    overlap = (torch.minimum(pixel[1:], high) - torch.maximum(pixel[:-1], low)).clamp(min=0)
    torch.testing.assert_close(
        (got.cpu().double() * torch.diff(edges) * inside).sum(1), (flux.double() * overlap).sum(1), rtol=1e-6, atol=0
    )


def test_the_same_grid_changes_nothing(device: str) -> None:
    flux, ivar = spectrum(4620)
    wavelength = torch.from_numpy(SDSS).to(device)
    got = spectromer.resample(flux.to(device), ivar.to(device), wavelength, wavelength)
    torch.testing.assert_close(got[0].cpu(), flux * (ivar > 0), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(got[1].cpu(), ivar, rtol=1e-5, atol=0)


def test_the_order_of_the_batch_does_not_matter(device: str) -> None:
    flux, ivar = (a.to(device) for a in spectrum(999, rows=7))
    wavelength, grid = torch.from_numpy(SDSS[:999]).to(device), torch.linspace(3600.0, 4400.0, 100).to(device)
    one = spectromer.resample(flux, ivar, wavelength, grid)
    other = spectromer.resample(flux.flip(0), ivar.flip(0), wavelength, grid)
    assert torch.equal(one[0], other[0].flip(0)) and torch.equal(one[1], other[1].flip(0))


def test_accepts_what_is_not_contiguous_and_nothing(device: str) -> None:
    flux, ivar = (a.to(device) for a in spectrum(1000, rows=4))
    wavelength, grid = torch.from_numpy(SDSS[:500]).to(device), torch.from_numpy(SDSS[:400:2]).to(device)
    got = spectromer.resample(flux[:, ::2], ivar[:, ::2], wavelength, grid)
    want = spectromer.resample(flux[:, ::2].contiguous(), ivar[:, ::2].contiguous(), wavelength, grid)
    assert torch.equal(got[0], want[0])
    assert spectromer.resample(flux[:0, ::2], ivar[:0, ::2], wavelength, grid)[0].shape == (0, 200)


@pytest.mark.parametrize("method", ["flux_conserving", "linear"])
def test_the_backward_is_the_transpose(method: str, device: str) -> None:
    """<g, A f> = <A' g, f> for the linear map A, and no gradient reaches a masked pixel."""
    flux, ivar = (a.to(device) for a in spectrum(300))
    flux.requires_grad_()
    wavelength, grid = torch.from_numpy(SDSS[:300]).to(device), torch.linspace(3560.0, 3840.0, 97).to(device)
    out, _ = spectromer.resample(flux, ivar, wavelength, grid, method=method)
    g = torch.randn_like(out)
    (grad,) = torch.autograd.grad(out, flux, g)
    offsets = torch.arange(flux.shape[0] + 1, device=device) * 300
    ragged, _ = spectromer.resample(
        flux.flatten(), ivar.flatten(), wavelength.repeat(flux.shape[0]), grid, method=method, offsets=offsets
    )
    torch.testing.assert_close(torch.autograd.grad(ragged, flux, g)[0], grad, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close((g * out).sum(), (grad * flux).sum(), rtol=1e-4, atol=1e-4)
    assert not grad[ivar == 0].any()
    assert bool(grad[ivar > 0].any())


def test_is_a_well_formed_operator(device: str) -> None:
    flux, ivar = (a.to(device) for a in spectrum(64))
    args = (flux.requires_grad_(), ivar, torch.from_numpy(SDSS[:64]).to(device), torch.linspace(3570.0, 3610.0, 20))
    args = (*args[:3], args[3].to(device))
    torch.library.opcheck(torch.ops.spectromer.resample.default, args)
    torch.library.opcheck(
        torch.ops.spectromer.resample.default, args, {"method": "linear", "coverage": 0.5, "max_gap": 9.0}
    )


def test_compiles_without_a_graph_break(device: str) -> None:
    flux, ivar = (a.to(device) for a in spectrum(64))
    wavelength, grid = torch.from_numpy(SDSS[:64]).to(device), torch.linspace(3570.0, 3610.0, 20).to(device)

    def scaled(flux: torch.Tensor) -> torch.Tensor:
        return spectromer.resample(flux * 2.0, ivar, wavelength, grid)[0]

    torch.testing.assert_close(torch.compile(scaled, fullgraph=True, backend="aot_eager")(flux), scaled(flux))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flux": torch.zeros(5)}, r"flux must have shape \[B, N\], or \[T\] with offsets; got \(5,\)"),
        ({"ivar": torch.zeros(3, 4)}, "ivar must have the shape of flux"),
        ({"wavelength": torch.linspace(1, 2, 6)}, r"wavelength must have shape \[N\] or \[B, N\]"),
        ({"wavelength": torch.tensor([1.0, 2, 2, 3, 4])}, "wavelength must be finite and strictly increasing"),
        ({"wavelength": torch.tensor([1.0, 2, np.nan, 3, 4])}, "wavelength must be finite and strictly increasing"),
        ({"grid": torch.tensor([2.0, 1.0])}, "grid must be finite and strictly increasing"),
        ({"grid": torch.tensor([2.0])}, "grid must have at least 2 centres"),
        ({"method": "cubic"}, "method must be one of"),
        ({"max_gap": 1.0}, r"max_gap must be at least 2 steps between pixels, or None, got 1.0"),
        ({"max_gap": float("nan")}, "max_gap must be at least 2 steps"),
        ({"coverage": 1.5}, r"coverage must lie in \[0, 1\], got 1.5"),
        ({"offsets": torch.tensor([0, 15])}, r"flux must have shape \[T\] where offsets are given"),
        ({"flux": torch.zeros(5), "ivar": torch.ones(5), "offsets": torch.tensor([0, 4])}, "offsets must rise from 0"),
        ({"shift": torch.tensor([0, 1, 0])}, "shift \\+ length of a row must lie within"),
        ({"shift": torch.tensor([0, 0])}, r"shift must be int64 of shape \[B\] with B = 3"),
    ],
)
def test_says_what_is_wrong(change: dict, message: str) -> None:
    args = {
        "flux": torch.zeros(3, 5),
        "ivar": torch.ones(3, 5),
        "wavelength": torch.linspace(1, 2, 5),
        "grid": torch.linspace(1, 2, 4),
    } | change
    with pytest.raises(ValueError, match=message):
        spectromer.resample(**args)


@pytest.mark.parametrize("method", ["flux_conserving", "linear"])
@pytest.mark.parametrize("broken", [[3600.0, 3600.0], [3601.0, 3600.0], [3600.0, np.nan], [3600.0, np.inf]])
def test_names_the_row_whose_wavelengths_do_not_increase(broken: list[float], method: str) -> None:
    """On its way through them, at the beginning, amid and at the end of a row; forwards and backwards."""
    flux, ivar = spectrum(50)
    grid = torch.linspace(3570.0, 3600.0, 20, dtype=torch.float64)
    for at in (0, 17, 48):
        wavelength = torch.from_numpy(SDSS[:50]).expand(3, -1).clone()
        wavelength[1, at : at + 2] = torch.tensor(broken, dtype=torch.float64)
        message = r"wavelength must be finite and strictly increasing; it is not \(row 1\)"
        with pytest.raises(ValueError, match=message):
            spectromer.resample(flux, ivar, wavelength, grid, method=method)
        with pytest.raises(ValueError, match=message):
            torch.ops.spectromer.resample_backward(torch.ones(3, 20), flux, ivar, wavelength, grid, method)
        for style in ("plot", "thesis-plot"):
            with pytest.raises(ValueError, match=message):
                torch.ops.spectromer.render(flux, ivar, wavelength, _picture(style))


def _picture(style: str) -> str:
    from spectromer.picture import Picture

    return Picture.of(style, 32).to_json()
