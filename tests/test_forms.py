"""Spectra come in many forms: objects of this package and of specutils, arrays, tensors, and lists of these."""

import numpy as np
import pytest
import torch

from spectromer import Spectrum, SpectrumBatch, render, resample
from spectromer.errors import ArgumentError
from spectromer.forms import batch_of


def test_a_batch_of_spectra_in_any_form() -> None:
    """A spectrum, a list, arrays and tensors give one batch; a batch stays itself."""
    flux, waves = np.arange(8.0).reshape(2, 4), np.array([4000.0, 4001.0, 4002.0, 4003.0])
    made = [Spectrum.from_arrays(row, None, waves) for row in flux]
    want = SpectrumBatch.from_spectra(made)
    assert batch_of(want) is want and len(batch_of(made[0])) == 1
    u = pytest.importorskip("astropy.units")
    for found in (
        batch_of(made),
        batch_of(iter(made)),
        batch_of(flux, wavelength=waves),
        batch_of(flux.tolist(), wavelength=waves.tolist()),
        batch_of(flux, np.ones((2, 4)), np.tile(waves, (2, 1))),
        batch_of(flux * u.Jy, np.ones((2, 4)) / u.Jy**2, waves / 10 * u.nm),
        batch_of(torch.from_numpy(flux), torch.ones(2, 4), torch.from_numpy(waves)),
    ):
        assert torch.equal(found.flux, want.flux) and torch.equal(found.ivar, want.ivar)
        torch.testing.assert_close(found.wavelength.broadcast_to(2, 4), want.wavelength.broadcast_to(2, 4))
    masked = batch_of(torch.tensor([1.0, torch.nan, 3.0, 4.0]), wavelength=torch.from_numpy(waves))
    assert masked.ivar.tolist() == [[1.0, 0.0, 1.0, 1.0]] and masked.flux.tolist() == [[1.0, 0.0, 3.0, 4.0]]


def test_specutils_of_every_dimension() -> None:
    specutils = pytest.importorskip("specutils")
    u = pytest.importorskip("astropy.units")
    from astropy.nddata import StdDevUncertainty

    flux, axis = np.arange(12.0).reshape(3, 4) * u.Jy, [4000.0, 4001.0, 4002.0, 4003.0] * u.AA
    sigma = StdDevUncertainty(np.full((3, 4), 500.0), unit=u.mJy)
    rows = specutils.Spectrum(flux=flux, spectral_axis=axis, uncertainty=sigma, spectral_axis_index=1)
    columns = specutils.Spectrum(
        flux=flux.T, spectral_axis=axis, uncertainty=StdDevUncertainty(sigma.array.T, unit=u.mJy), spectral_axis_index=0
    )
    axes = np.tile(axis.value, (3, 1)) * u.AA
    collection = specutils.SpectrumCollection(flux=flux, spectral_axis=axes, uncertainty=sigma)
    each = [
        specutils.Spectrum(flux=f, spectral_axis=axis, uncertainty=StdDevUncertainty([0.5] * 4 * u.Jy)) for f in flux
    ]
    for found in map(batch_of, (rows, columns, collection, each, specutils.SpectrumList(each))):
        assert found.flux.tolist() == flux.value.tolist() and found.ivar.tolist() == [[4.0] * 4] * 3
        assert found.wavelength.tolist() == axis.value.tolist()
    mixed = batch_of([each[0], Spectrum.from_specutils(each[1])])
    assert mixed.flux.tolist() == flux.value[:2].tolist()


def test_operators_take_spectra_in_any_form() -> None:
    """Whatever the form, the values and the pictures are those of the plain tensors."""
    u = pytest.importorskip("astropy.units")
    rng = np.random.default_rng(3)
    flux, ivar, waves = rng.normal(size=(2, 300)), rng.uniform(0.5, 2.0, (2, 300)), np.linspace(4000.0, 9000.0, 300)
    grid = np.linspace(4500.0, 8500.0, 50)
    tensors = [torch.from_numpy(values) for values in (flux, ivar, waves)]
    want, drawn = resample(*tensors, torch.from_numpy(grid)), render(SpectrumBatch(*tensors), size=32)
    made = [Spectrum.from_arrays(f, v, waves) for f, v in zip(flux, ivar, strict=True)]
    for spectra in (made, SpectrumBatch.from_spectra(made), iter(made)):
        kept = list(spectra) if not isinstance(spectra, SpectrumBatch) else spectra
        for found in (
            resample(kept, grid),
            resample(kept, grid=torch.from_numpy(grid)),
            resample(kept, grid / 10 * u.nm),
        ):
            torch.testing.assert_close(found, want, rtol=1e-5, atol=1e-6)
        assert int((render(kept, size=32).int() - drawn.int()).abs().max()) <= 1
    assert torch.equal(resample(made[0], grid)[0], resample(made, grid)[0][:1])
    with_units = resample(flux * u.Jy, ivar / u.Jy**2, waves / 1e4 * u.um, grid)
    torch.testing.assert_close(with_units, want, rtol=1e-5, atol=1e-6)
    masked = np.ma.masked_array(flux, np.broadcast_to((waves > 6000) & (waves < 7000), flux.shape))
    _, weight = resample(masked, ivar, waves, grid)
    assert not weight[:, (grid > 6100) & (grid < 6900)].any() and bool(weight[:, grid < 5900].all())
    one = render(flux[0], ivar=ivar[0], wavelength=waves * u.AA, size=32)
    assert int((one[0].int() - drawn[0].int()).abs().max()) <= 1
    assert torch.equal(resample(flux, None, waves, grid)[0], resample(flux, np.ones_like(flux), waves, grid)[0])


def test_what_operators_refuse() -> None:
    waves = torch.linspace(4000.0, 5000.0, 9)
    with pytest.raises(ArgumentError, match="grid is missing: resample takes flux, ivar, wavelength and grid"):
        resample(torch.ones(1, 9), torch.ones(1, 9), waves)
    with pytest.raises(ArgumentError, match="grid is missing"):
        resample(Spectrum.from_arrays(np.ones(9), None, waves))
    for call in (render, lambda spectra: resample(spectra, waves)):
        with pytest.raises(ArgumentError, match="or a flux with its wavelength; got Tensor"):
            call(torch.ones(1, 9))


def test_what_is_no_spectrum_is_refused() -> None:
    for spectra, message in (
        (np.ones(4), "or a flux with its wavelength; got ndarray"),
        ("a.fits", "got str"),
        ([1, 2], "got list"),
        (5, "got int"),
    ):
        with pytest.raises(ArgumentError, match=message):
            batch_of(spectra)
    with pytest.raises(ArgumentError, match=r"flux must have the shape \[N\] or \[B, N\], got \(1, 2, 3\)"):
        batch_of(np.ones((1, 2, 3)), wavelength=[4000.0, 4001.0, 4002.0])
    with pytest.raises(ArgumentError, match="flux, ivar and wavelength must have the same length N"):
        batch_of(torch.ones(2, 3), torch.ones(2, 2), torch.arange(3.0))


def test_lists_of_arrays_of_different_lengths() -> None:
    lengths, grid = (5, 3, 7), np.linspace(4000.0, 5000.0, 7)
    flux = [np.arange(1.0, n + 1) for n in lengths]
    waves, ivar = [grid[:n] for n in lengths], [np.full(n, 4.0) for n in lengths]
    want = SpectrumBatch.from_spectra([Spectrum.from_arrays(*row) for row in zip(flux, ivar, waves, strict=True)])
    for change in (list, lambda rows: [torch.from_numpy(row) for row in rows], lambda rows: [r.tolist() for r in rows]):
        found = batch_of(change(flux), change(ivar), change(waves))
        assert torch.equal(found.flux, want.flux) and torch.equal(found.ivar, want.ivar)
        torch.testing.assert_close(found.wavelength, want.wavelength)
    assert batch_of(flux, wavelength=waves).ivar.sum() == sum(lengths)
    assert len(batch_of([], wavelength=[])) == 0 and len(batch_of([], wavelength=grid)) == 0 and len(batch_of([])) == 0
    with pytest.raises(ArgumentError, match="wavelength must have one row for each of the 3 fluxes, got 2"):
        batch_of(flux, ivar, waves[:2])
    with pytest.raises(ArgumentError, match=r"must have the same shape \[N\], got \(5,\), \(5,\) and \(7,\)"):
        batch_of(flux, ivar, grid)


def test_tables_of_pandas() -> None:
    """A DataFrame is an array with a spectrum per row; one of columns is refused in one sentence."""
    pandas = pytest.importorskip("pandas")
    flux, waves = np.arange(1.0, 9.0).reshape(2, 4), np.array([4000.0, 4001.0, 4002.0, 4003.0])
    want = batch_of(flux, wavelength=waves)
    frame = pandas.DataFrame(flux, index=["b", "a"], columns=waves)
    for found in (
        batch_of(frame, wavelength=frame.columns),
        batch_of(frame, frame * 0 + 1, pandas.Series(waves)),
        batch_of([row for _, row in frame.iterrows()], wavelength=waves),
    ):
        assert torch.equal(found.flux, want.flux) and torch.equal(found.ivar, want.ivar)
    missing = pandas.Series([1.0, None, 3.0, 4.0], dtype="Float64", index=[7, 8, 9, 10])
    masked = batch_of(missing, wavelength=pandas.Series(waves))
    assert masked.ivar.tolist() == [[1.0, 0.0, 1.0, 1.0]] and masked.flux.tolist() == [[1.0, 0.0, 3.0, 4.0]]
    columns = pandas.DataFrame({"wavelength": waves, "flux": flux[0]})
    with pytest.raises(ArgumentError, match=r"a table \(DataFrame\) is no spectrum by itself; give the columns"):
        batch_of(columns)
    with pytest.raises(ArgumentError, match="flux must be real numbers, got an array of objects"):
        batch_of(pandas.Series(["a", "b", "c", "d"]), wavelength=waves)
