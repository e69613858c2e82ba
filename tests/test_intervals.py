"""Intervals of redshifts hold what they promise, also for a class with few spectra."""

import numpy as np
import pytest
import torch

from spectromer.learning.evidence import Group
from spectromer.learning.intervals import Intervals
from spectromer.learning.redshift import RedshiftDistribution

STEP, BINS = 2.3e-4, 2000


def group(
    name: str, rows: range, floor: float, seed: int, wrong: float = 0.0, least: float = 0.9
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
    return Group(name, torch.tensor(list(rows)), found), torch.tensor(np.expm1(STEP * mean + off))


def held(found: Intervals, one: Group, truth: torch.Tensor, low: float, high: float) -> float:
    wide = found.widened(one.name, one.distribution)
    bounds = wide.quantile(found.levels((low, high), [one.name] * len(one.rows)))
    return float(((truth >= bounds[:, 0]) & (truth <= bounds[:, 1])).double().mean())


def test_floors_and_coverage_by_class() -> None:
    parts = [group("GALAXY", range(1000), 0.0, 0), group("QSO", range(1000, 2000), 6e-4, 1, wrong=0.05)]
    found = Intervals.fit([g for g, _ in parts], torch.cat([z for _, z in parts]), torch.ones(2000, dtype=torch.bool))
    assert found.floor["GALAXY"] < 1e-4 and found.floor["QSO"] == pytest.approx(6e-4, rel=0.15)
    for name, floor, wrong in (("GALAXY", 0.0, 0.0), ("QSO", 6e-4, 0.05)):
        one, truth = group(name, range(1000), floor, 7, wrong)
        assert held(found, one, truth, 0.16, 0.84) == pytest.approx(0.68, abs=0.06)
        assert held(found, one, truth, 0.025, 0.975) == pytest.approx(0.95, abs=0.03)
        flagged = found.widened(name, one.distribution).within(torch.full((1000,), 0.0033)) < found.threshold([name])
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
    other = Group("COMET", one.rows, one.distribution)
    assert held(found, other, z, 0.16, 0.84) == held(found, one, z, 0.16, 0.84)
    assert Intervals().widened("STAR", one.distribution) is one.distribution
