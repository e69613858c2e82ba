"""Spectra that cover little or nothing of a model's wavelengths get a warning that says so."""

import numpy as np
import pytest
import torch

from spectromer import Predictor, Spectrum, SpectrumBatch
from spectromer.learning.coverage import NO_GOOD_PIXEL, range_warnings

RANGE = (3600.0, 10000.0)


def spectrum(low: float, high: float, bad: slice = slice(0)) -> Spectrum:
    waves = np.geomspace(low, high, 1000)
    ivar = np.ones(1000)
    ivar[bad] = 0.0
    return Spectrum.from_arrays(np.sin(waves / 50.0), ivar, waves)


@pytest.mark.parametrize(
    ("made", "warning"),
    [
        (spectrum(3600, 10000), ""),
        (spectrum(3000, 6100), ""),  # ln(6100 / 3600) / ln(10000 / 3600) = 0.516
        (spectrum(3000, 5900), "its good pixels cover 48% of 3600 to 10000 Angstrom"),
        (spectrum(3600, 10000, slice(100, 700)), "its good pixels cover 40% of 3600 to 10000 Angstrom"),
        (spectrum(360, 1000), f"{NO_GOOD_PIXEL} between 3600 and 10000 Angstrom, but from 360 to 1000 (are these nm?)"),
        (spectrum(0.36, 1), f"{NO_GOOD_PIXEL} between 3600 and 10000 Angstrom, but from 0.36 to 1 (are these um?)"),
        (spectrum(15000, 17000), f"{NO_GOOD_PIXEL} between 3600 and 10000 Angstrom, but from 15000 to 17000"),
        (spectrum(3600, 10000, slice(None)), NO_GOOD_PIXEL),
    ],
)
def test_warnings_name_the_range(made: Spectrum, warning: str) -> None:
    shared = SpectrumBatch.from_spectra([made])
    own = SpectrumBatch.from_spectra([spectrum(3600, 10000), made])
    assert shared.wavelength.ndim == 1 and range_warnings(shared, RANGE).tolist() == [warning]
    assert range_warnings(own, RANGE).tolist() == ["", warning]


def test_a_gap_is_not_covered() -> None:
    """The two arms of LAMOST's medium resolution are 15 % of the range."""
    waves = np.concatenate([np.linspace(4950, 5350, 500), np.linspace(6300, 6800, 500)])
    batch = SpectrumBatch.from_spectra([Spectrum.from_arrays(np.ones(1000), None, waves)])
    want = (np.log(5350 / 4950) + np.log(6800 / 6300)) / np.log(10000 / 3600)
    assert range_warnings(batch, RANGE).tolist() == [f"its good pixels cover {want:.0%} of 3600 to 10000 Angstrom"]


def test_a_model_of_own_ranges_asks_for_plausible_wavelengths() -> None:
    assert range_warnings(SpectrumBatch.from_spectra([spectrum(3600, 4000)]), None).tolist() == [""]
    (found,) = range_warnings(SpectrumBatch.from_spectra([spectrum(360, 990)]), None).tolist()
    assert found.endswith("but from 360 to 990 (are these nm?)")


def test_nothing_is_predicted_outside_of_the_range(run: object) -> None:
    """A spectrum in nm that is taken for Angstrom is no confident star; the same arrays with a unit are read."""
    u = pytest.importorskip("astropy.units")
    predictor = Predictor.load(str(run))
    waves, flux = np.linspace(380.0, 920.0, 3000), np.random.default_rng(0).normal(size=3000)
    wrong = predictor.predict(flux, wavelength=waves)
    assert wrong["class"].tolist() == [""] and np.isnan(wrong["class_prob"]).all() and wrong["z_flag"].tolist() == [8]
    assert "are these nm?" in wrong["warning"][0]
    right = predictor.predict(flux, wavelength=waves * u.nm)
    assert right["class"][0] in ("STAR", "GALAXY", "QSO") and right["warning"].tolist() == [""]
    tensor = predictor.predict(torch.from_numpy(flux), wavelength=torch.from_numpy(waves * 10))
    assert tensor["class_prob"][0] == pytest.approx(right["class_prob"][0], rel=1e-4)
    one = predictor.predict(Spectrum.from_arrays(flux, None, waves * 10))
    assert one["z"][0] == pytest.approx(right["z"][0], rel=1e-4)
