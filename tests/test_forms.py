"""Spectra come in many forms: objects of this package and of specutils, arrays, tensors, and lists of these."""

import numpy as np
import pytest
import torch

from spectromer import Spectrum, SpectrumBatch
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
