"""Intervals of redshifts hold what they promise, also for a class with few spectra."""

import numpy as np
import pytest
import torch

from spectromer.learning.evidence import Group
from spectromer.learning.intervals import Intervals
from spectromer.learning.redshift import RedshiftDistribution

STEP, BINS = 2.3e-4, 2000


def group(
    name: str, rows: range, floor: float, seed: int, wrong: float = 0.0, least: float = 0.9, survey: str = ""
) -> tuple[Group, torch.Tensor]:
    """Distributions with peaks of one bin, and true redshifts that scatter by `floor` more than that.

    A part of them is wrong by 0.1. Their probability in the peak is 0.5, that of the others `least` to 1.
    """
    rng = np.random.default_rng(seed)
    count = len(rows)
    bad = rng.uniform(size=count) < wrong
    mean = rng.uniform(500.0, 1500.0, count)
    inside = np.where(bad, 0.5, rng.uniform(least, 1.0, count))
    p = np.repeat(((1.0 - inside) / (BINS - 1))[:, None], BINS, 1)
    p[np.arange(count), mean.round().astype(int)] = inside
    found = RedshiftDistribution(
        torch.tensor(p), STEP, 0.0, near=14, peak=(torch.tensor(mean)[:, None], torch.ones(count, 1).double())
    )
    off = np.hypot(STEP, floor) * rng.standard_normal(count) + 0.1 * bad
    return Group(name, survey, torch.tensor(list(rows)), found), torch.tensor(np.expm1(STEP * mean + off))


def held(found: Intervals, one: Group, truth: torch.Tensor, low: float, high: float) -> float:
    bounds = found.widened(one).quantile(found.levels((low, high), one))
    return float(((truth >= bounds[:, 0]) & (truth <= bounds[:, 1])).double().mean())


def test_floors_and_coverage_by_class() -> None:
    parts = [group("GALAXY", range(1000), 0.0, 0), group("QSO", range(1000, 2000), 6e-4, 1, wrong=0.05)]
    found = Intervals.fit([g for g, _ in parts], torch.cat([z for _, z in parts]), torch.ones(2000, dtype=torch.bool))
    assert found.floor["GALAXY"] < 1e-4 and found.floor["QSO"] == pytest.approx(6e-4, rel=0.15)
    for name, floor, wrong in (("GALAXY", 0.0, 0.0), ("QSO", 6e-4, 0.05)):
        one, truth = group(name, range(1000), floor, 7, wrong)
        assert held(found, one, truth, 0.16, 0.84) == pytest.approx(0.68, abs=0.06)
        assert held(found, one, truth, 0.025, 0.975) == pytest.approx(0.95, abs=0.03)
        flagged = found.widened(one).within(torch.full((1000,), 0.0033)) < found.threshold(one)
        bad = (one.distribution.z - truth).abs() > 0.01
        assert bool(flagged[bad].all()) and float(flagged[~bad].double().mean()) == pytest.approx(0.05, abs=0.03)


def test_a_few_spectra_of_the_right_kind_count_more_than_many_others() -> None:
    """Real quasars scatter more than simulated ones, and the interval of five of them is right on average."""
    shares = []
    for seed in range(60):
        simulated, z_simulated = group("QSO", range(300), 0.0, 1000 + seed, least=1.0)
        real, z_real = group("QSO", range(300, 305), 6e-4, 2000 + seed, least=1.0)
        kindred = torch.arange(305) >= 300
        found = Intervals.fit([simulated, real], torch.cat((z_simulated, z_real)), kindred)
        one, truth = group("QSO", range(500), 6e-4, 3000 + seed, least=1.0)
        shares.append(held(found, one, truth, 0.16, 0.84))
    assert np.mean(shares) == pytest.approx(0.68, abs=0.05)


def test_without_spectra_of_the_right_kind_the_others_count() -> None:
    simulated, z = group("QSO", range(400), 3e-4, 5)
    found = Intervals.fit([simulated], z, torch.zeros(400, dtype=torch.bool))
    assert found.floor["QSO"] == pytest.approx(3e-4, rel=0.25)
    one, truth = group("QSO", range(1000), 3e-4, 6)
    assert held(found, one, truth, 0.16, 0.84) == pytest.approx(0.68, abs=0.06)


def test_unknown_redshifts_are_left_out_and_other_classes_use_the_numbers_of_all() -> None:
    one, z = group("STAR", range(200), 4e-4, 8)
    nothing = torch.where(torch.arange(200) < 100, z, torch.nan)
    found = Intervals.fit([one], nothing, torch.ones(200, dtype=torch.bool))
    assert found.floor["STAR"] == pytest.approx(4e-4, rel=0.4)
    other = one._replace(name="COMET")
    assert held(found, other, z, 0.16, 0.84) == held(found, one, z, 0.16, 0.84)
    assert Intervals().widened(one) is one.distribution


def test_a_survey_with_enough_spectra_has_its_own_intervals() -> None:
    """The others have those of the class."""
    parts = [
        group("QSO", range(1500), 2e-4, 10, survey="SDSS"),
        group("QSO", range(1500, 3000), 8e-4, 11, survey="LAMOST"),
        group("QSO", range(3000, 3020), 8e-4, 12, survey="DESI"),
    ]
    found = Intervals.fit([g for g, _ in parts], torch.cat([z for _, z in parts]), torch.ones(3020, dtype=torch.bool))
    assert set(found.floor) == set(found.central) == {"", "QSO", "SDSS/QSO", "LAMOST/QSO"}
    assert set(found.least) == {"", "QSO"}
    for survey, floor in (("SDSS", 2e-4), ("LAMOST", 8e-4)):
        one, truth = group("QSO", range(1000), floor, 13, survey=survey)
        assert held(found, one, truth, 0.16, 0.84) == pytest.approx(0.68, abs=0.06)
    assert torch.equal(
        found.levels((0.16,), one._replace(survey="DESI")), found.levels((0.16,), one._replace(survey=""))
    )


def test_spectra_of_another_kind_are_no_survey() -> None:
    simulated, z = group("QSO", range(300), 1e-4, 14, survey="SDSS")
    real, z_real = group("QSO", range(300, 340), 6e-4, 15, survey="LAMOST")
    found = Intervals.fit([simulated, real], torch.cat((z, z_real)), torch.arange(340) >= 300)
    assert set(found.floor) == {"", "QSO", "LAMOST/QSO"}
