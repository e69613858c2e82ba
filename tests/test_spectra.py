"""Spectra come in any unit, in air or vacuum, and with masks; batches of them share a grid where there is one."""

import numpy as np
import pytest
import torch

from spectromer import Spectrum, SpectrumBatch


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
    batch = SpectrumBatch.from_specutils([Like(), Like()])  # a SpectrumList is a list
    assert batch.flux.tolist() == [[1.0, 2.0, 3.0]] * 2 and batch.ivar.tolist() == [[4.0, 0.0, 4.0]] * 2
    turned = Spectrum.from_arrays([1.0, 2.0], [1.0, 1.0], np.array([5e14, 6e14]) * u.Hz)
    assert turned.flux.tolist() == [2.0, 1.0] and float(turned.wavelength[0]) == pytest.approx(4996.54, abs=0.01)
    sodium = Spectrum.from_arrays([1.0, 1.0], [1.0, 1.0], [5889.951, 5895.924], air=True)
    np.testing.assert_allclose(sodium.wavelength, [5891.583, 5897.558], atol=2e-3)  # NIST vacuum values
    with pytest.raises(ValueError, match="strictly increasing or decreasing"):
        Spectrum.from_arrays([1.0, 1.0, 1.0], [1.0, 1.0, 1.0], [1.0, 3.0, 2.0])


def test_what_is_no_number_is_masked() -> None:
    made = Spectrum.from_arrays([1.0, np.nan, 3.0, 4.0], [1.0, 1.0, np.inf, -1.0], [4000.0, 4001.0, 4002.0, 4003.0])
    assert made.ivar.tolist() == [1.0, 0.0, 0.0, 0.0] and bool(torch.isfinite(made.flux).all())
    assert made.snr == 1.0 and Spectrum(made.flux, made.ivar * 0, made.wavelength).snr == 0.0


def test_stretches_of_one_grid_share_it(whole: list[Spectrum]) -> None:
    s = whole[0]
    pieces = [Spectrum(s.flux[i:j], s.ivar[i:j], s.wavelength[i:j], id=f"{i}") for i, j in ((0, 3000), (500, 3400))]
    batch = SpectrumBatch.from_spectra(pieces)
    assert batch.wavelength.shape == (3400,) and batch.ids == ["0", "500"]
    assert torch.equal(batch.flux[1, 500:], s.flux[500:3400]) and not batch.ivar[1, :500].any()
    turned = batch.select([1, 0])
    assert turned.ids == ["500", "0"] and torch.equal(turned.flux, batch.flux.flip(0))
    assert [found.id for found in batch] == ["0", "500"]


def test_grids_of_their_own_stay() -> None:
    made = [Spectrum.from_arrays(np.ones(n), np.ones(n), np.linspace(4000.0, 5000.0, n)) for n in (5, 3)]
    batch = SpectrumBatch.from_spectra(made)
    assert batch.wavelength.tolist() == [
        [4000.0, 4250.0, 4500.0, 4750.0, 5000.0],
        [4000.0, 4500.0, 5000.0, 5500.0, 6000.0],
    ]
    assert batch.ivar.tolist() == [[1.0] * 5, [1.0, 1.0, 1.0, 0.0, 0.0]]
    assert batch.labels == [{}, {}] and batch.surveys == ["", ""]
