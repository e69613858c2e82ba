"""The simulated survey: seeded, physical, and as noisy as it says."""

import numpy as np
import pytest
import torch

from spectromer import Spectrum
from spectromer.subclasses import canonical_subclass, spectral_type
from spectromer.surveys.simulated import simulate
from spectromer.surveys.simulated.instrument import SPECTROGRAPHS


@pytest.fixture(scope="module")
def survey() -> list[Spectrum]:
    return list(simulate(1024, seed=3))


def test_the_seed_decides_everything(survey: list[Spectrum]) -> None:
    again = list(simulate(300, seed=3))
    for a, b in zip(survey, again, strict=False):
        assert torch.equal(a.flux, b.flux) and torch.equal(a.ivar, b.ivar) and a.labels == b.labels
    other = next(simulate(1, seed=4))
    assert not torch.equal(other.flux, survey[0].flux)
    assert len({(s.survey, s.id) for s in survey}) == len(survey)


def test_holds_every_kind(survey: list[Spectrum]) -> None:
    classes = {s.labels["class"] for s in survey}
    found = [canonical_subclass(s.labels["subclass"]) for s in survey if s.labels["class"] == "STAR"]
    types = {spectral_type(subclass) for subclass in found if subclass is not None}
    assert None not in found
    assert classes == {"STAR", "GALAXY", "QSO"}
    assert types == {"O", "B", "A", "F", "G", "K", "M", "L", "WD", "CV", "C"}
    emission = {s.labels["subclass"] for s in survey if s.labels["class"] == "GALAXY"}
    assert {"", "STARFORMING", "STARBURST", "AGN", "BROADLINE", "AGN BROADLINE"} <= emission
    galaxies = [s.labels["z"] for s in survey if s.labels["class"] == "GALAXY"]
    quasars = [s.labels["z"] for s in survey if s.labels["class"] == "QSO"]
    assert 0 < min(galaxies) < 0.05 and 0.6 < max(galaxies) <= 0.8
    assert min(quasars) < 0.4 and 3.0 < max(quasars) <= 4.0
    assert {s.survey for s in survey} == set(SPECTROGRAPHS)
    assert all(len(s) == SPECTROGRAPHS[s.survey].pixels for s in survey)


def test_ivar_tells_the_noise() -> None:
    """Flux minus a running median, in units of its error, scatters by one where the spectrum is smooth."""
    pulls = []
    for s in simulate(200, seed=5, surveys=("SDSS",)):
        if s.labels["class"] != "STAR" or s.labels.get("teff", 0) < 12000:
            continue  # nearly featureless
        window = (s.wavelength > 6700) & (s.wavelength < 7100) & (s.ivar > 0)
        flux, ivar = s.flux[window].double().numpy(), s.ivar[window].double().numpy()
        trend = np.polyval(np.polyfit(np.arange(len(flux)), flux, 3, w=np.sqrt(ivar)), np.arange(len(flux)))
        pulls.append((flux - trend) * np.sqrt(ivar))
    scatter = np.concatenate(pulls)
    # He I at 7067 A is the only line there, of a few pixels.
    assert np.median(np.abs(scatter)) * 1.4826 == pytest.approx(1.0, abs=0.05)


def test_lines_stand_where_their_redshift_puts_them(survey: list[Spectrum]) -> None:
    """The brightest pixel of strong-lined galaxies is H alpha or [O III] at the labelled z."""
    checked = 0
    for s in survey:
        if s.labels["subclass"] != "STARBURST" or s.labels["snr"] < 8 or s.labels["z"] > 0.3:
            continue
        flux = torch.where(s.ivar > 0, s.flux, 0.0)
        brightest = float(s.wavelength[flux.argmax()]) / (1.0 + s.labels["z"])
        assert min(abs(brightest - line) for line in (6564.6, 5008.2, 4862.7, 3728.5)) < 4.0
        checked += 1
    assert checked >= 5


def test_masked_pixels_hold_junk(survey: list[Spectrum]) -> None:
    """As in real files: whoever lets masked flux in will see it."""
    masked = torch.cat([s.flux[s.ivar == 0] for s in survey[:50]])
    good = torch.cat([s.flux[s.ivar > 0] for s in survey[:50]])
    assert 0.005 < len(masked) / (len(masked) + len(good)) < 0.2
    assert float(masked.std()) > 2.0 * float(good.std())
