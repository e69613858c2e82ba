"""Figures of predictions agree with numbers worked out by hand and with known distributions."""

import math

import numpy as np
import pytest
from astropy.table import Table
from scipy.integrate import quad
from scipy.stats import norm

from spectromer.labels import BelievedLabels
from spectromer.learning.metrics import _categories, _redshifts, _scalars, evaluate_predictions, with_errors
from spectromer.learning.targets import Targets


def test_redshift_metrics_are_the_fields() -> None:
    z = np.array([0.1, 0.2, 0.3, 0.5, 0.7])
    found = _redshifts(0.003336)(z + np.array([0.0, 0.0012, -0.0013, 0.15, 0.0]), z)
    assert found["catastrophic_fraction"] == pytest.approx(0.2) and found["bias"] == 0.0
    assert found["sigma_nmad"] == pytest.approx(1.4826 * 0.001, rel=1e-3)
    residual = 0.0012**2 + 0.0013**2 + 0.15**2
    assert found["r2"] == pytest.approx(1 - residual / ((z - z.mean()) ** 2).sum())


def test_a_missing_subclass_is_wrong_with_probability_0() -> None:
    """A class without subclasses has none, and its probability is NaN."""
    found = _categories(np.array(["", "M"]), np.array(["AGN", "M"]), np.array([np.nan, 1.0]))
    assert (found["accuracy"], found["expected_calibration_error"]) == (0.5, 0.0)


def test_errors_are_those_of_statistics() -> None:
    """The error of a mean is sigma / sqrt(n), also where only some rows are drawn."""
    rng = np.random.default_rng(0)
    for n in (400, 60000):
        found = with_errors(lambda x: {"mean": float(x.mean())}, rng.normal(3.0, 2.0, n))
        assert found["n"] == n and found["errors"]["mean"] == pytest.approx(2.0 / math.sqrt(n), rel=0.25)


def test_crps_is_the_integral() -> None:
    """It integrates (F(x) - 1{x >= truth})^2 over x."""
    mean, sigma, true = 5000.0, 100.0, 5130.0
    below = quad(lambda x: norm.cdf(x, mean, sigma) ** 2, mean - 9 * sigma, true)[0]
    above = quad(lambda x: norm.sf(x, mean, sigma) ** 2, true, mean + 9 * sigma)[0]
    two = [np.array([value, value]) for value in (mean, true, sigma)]
    assert _scalars(*two)["crps"] == pytest.approx(below + above, rel=1e-6)


def test_metrics_leave_out_what_is_not_known() -> None:
    targets = Targets(("class",), {"class": ["QSO", "STAR"]}, {}, {})
    table = Table(
        {
            "survey": ["SDSS"] * 5,
            "class": ["STAR", "QSO", "QSO", "", "STAR"],
            "class_prob": [0.95, 0.75, 0.95, np.nan, 0.5],
            "warning": ["", "", "", "no good pixel", ""],
        }
    )
    labels = [
        {"class": "STAR"},
        {"class": "STAR"},
        {"class": "QSO"},
        {"class": "QSO"},
        {"class": "STAR", "sourcetype": "SKY"},
    ]
    snr = np.array([3.0, 30.0, 30.0, np.nan, np.nan])
    found = evaluate_predictions(table, BelievedLabels.of(labels), snr, targets)["class"]
    assert found["n"] == 3 and found["accuracy"] == pytest.approx(2 / 3)
    assert {name: part["n"] for name, part in found["by_snr"].items()} == {"20-inf": 2}  # a group of one is left out
    assert found["by_snr"]["20-inf"]["accuracy"] == 0.5 and found["by_survey"]["SDSS"]["n"] == 3
    assert found["by_value"]["STAR"]["precision"] == 1.0 and found["by_value"]["STAR"]["recall"] == 0.5
    assert found["reliability"] == {"probability": [0.75, 0.95], "right": [0.0, 1.0], "n": [1, 2]}
    assert found["expected_calibration_error"] == pytest.approx((0.75 + 2 * 0.05) / 3)


def test_flags_are_judged_by_what_they_catch() -> None:
    targets = Targets(("class", "z"), {"class": ["GALAXY", "QSO"]}, {}, {"z": (0.0, 1.0)})
    z = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    wrong = np.array([0.0, 0.01, 0.01, 0.0, 0.01, 0.05])  # 0.01 is within 3000 km/s of a quasar's
    columns = {"z": z + wrong, "z_flag": [0, 1, 0, 4, 0, 1], "survey": ["SDSS"] * 6, "warning": [""] * 6}
    classes = ["GALAXY"] * 4 + ["QSO"] * 2
    labels = [{"class": kind, "z": value} for kind, value in zip(classes, z.tolist(), strict=True)]
    table, snr = Table(columns | {"class": classes}), np.full(6, 9.0)
    found = evaluate_predictions(table, BelievedLabels.of(labels), snr, targets)["z"]
    assert found["galaxy"]["catastrophic_fraction"] == 0.5 and found["qso"]["catastrophic_fraction"] == 0.5
    assert found["galaxy"]["flagged"]["of_catastrophic"] == 0.5 and found["galaxy"]["flagged"]["of_good"] == 0.5
    assert found["flagged"]["catastrophic"] == 3 and found["flagged"]["of_catastrophic"] == pytest.approx(2 / 3)
