"""Figures of predictions agree with numbers worked out by hand and with known distributions."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from astropy.stats import mad_std
from astropy.table import Table
from scipy.integrate import quad
from scipy.stats import norm
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support, r2_score

from spectromer.labels import BelievedLabels
from spectromer.learning.bootstrap import mean, median, median_and_nmad, r_squared, rmse, with_errors
from spectromer.learning.metrics import _codes, _one_value, _redshifts, _scalars, categories, evaluate_predictions
from spectromer.learning.targets import Targets


def of_all(measure: Callable[..., Any], *columns: np.ndarray) -> dict[str, float]:
    """The figures of all rows."""
    return {name: float(value[0]) for name, value in measure(np.ones((1, len(columns[0]))), *columns).items()}


def test_redshift_metrics_are_the_fields() -> None:
    z = np.array([0.1, 0.2, 0.3, 0.5, 0.7])
    found = of_all(_redshifts(0.003336), z + np.array([0.0, 0.0012, -0.0013, 0.15, 0.0]), z)
    assert found["catastrophic_fraction"] == pytest.approx(0.2) and found["bias"] == 0.0
    assert found["sigma_nmad"] == pytest.approx(1.4826 * 0.001, rel=1e-3)
    residual = 0.0012**2 + 0.0013**2 + 0.15**2
    assert found["r2"] == pytest.approx(1 - residual / ((z - z.mean()) ** 2).sum())


def test_a_missing_subclass_is_wrong_with_probability_0() -> None:
    """A class without subclasses has none, and its probability is NaN."""
    found = of_all(categories, np.array(["", "M"]), np.array(["AGN", "M"]), np.array([np.nan, 1.0]))
    assert (found["accuracy"], found["expected_calibration_error"]) == (0.5, 0.0)


def test_errors_are_those_of_statistics() -> None:
    """The error of a mean is sigma / sqrt(n), also where only some rows are drawn."""
    rng = np.random.default_rng(0)
    for n in (400, 60000):
        found = with_errors(lambda weights, x: {"mean": mean(weights, x)}, rng.normal(3.0, 2.0, n))
        assert found["n"] == n and found["errors"]["mean"] == pytest.approx(2.0 / math.sqrt(n), rel=0.25)


def test_crps_is_the_integral() -> None:
    """It integrates (F(x) - 1{x >= truth})^2 over x."""
    mean, sigma, true = 5000.0, 100.0, 5130.0
    below = quad(lambda x: norm.cdf(x, mean, sigma) ** 2, mean - 9 * sigma, true)[0]
    above = quad(lambda x: norm.sf(x, mean, sigma) ** 2, true, mean + 9 * sigma)[0]
    two = [np.array([value, value]) for value in (mean, true, sigma)]
    assert of_all(_scalars, *two)["crps"] == pytest.approx(below + above, rel=1e-6)


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


def test_the_second_redshift_is_judged_where_there_is_one() -> None:
    targets = Targets(("class", "z"), {"class": ["GALAXY", "QSO"]}, {}, {"z": (0.0, 1.0)})
    z = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    scan = z + np.array([0.0, 0.1, 0.0, 0.0, np.nan])
    columns = {"z": z, "z_scan": scan, "z_scan_flag": [0, 1, 1, 0, 1], "survey": ["SDSS"] * 5, "warning": [""] * 5}
    labels = [{"class": "GALAXY", "z": value} for value in z.tolist()]
    found = evaluate_predictions(Table(columns), BelievedLabels.of(labels), np.full(5, 9.0), targets)
    assert found["z"]["galaxy"]["n"] == 5 and found["z"]["galaxy"]["catastrophic_fraction"] == 0.0
    second = found["z_scan"]["galaxy"]
    assert second["n"] == 4 and second["catastrophic_fraction"] == 0.25
    assert second["flagged"]["of_catastrophic"] == 1.0 and second["flagged"]["of_good"] == pytest.approx(1 / 3)
    assert second["by_survey"]["SDSS"]["n"] == 4


def test_subtypes_are_judged_by_distance() -> None:
    """B3 is no value of the model: its distance counts, and its letter does. M alone counts as a letter."""
    targets = Targets(("subclass",), {"subclass": ["A0", "A9", "B9", "F0", "M3", "WD"]})
    true = ["A9", "A9", "A0", "B3", "M", "WDhotter", "A9", "CV", ""]
    predicted = ["F0", "A9", "B9", "B9", "M3", "WD", "WD", "WD", "A0"]
    types = ["F", "A", "B", "B", "M", "WD", "WD", "WD", "A"]
    table = Table({"survey": ["SDSS"] * 9, "subclass": predicted, "spectral_type": types, "warning": [""] * 9})
    labels = BelievedLabels.of([{"class": "STAR", "subclass": name} for name in true])
    found = evaluate_predictions(table, labels, np.full(9, np.nan), targets)
    subclass, letter, distance = found["subclass"], found["spectral_type"], found["subclass"]["subtypes"]
    assert (subclass["n"], subclass["accuracy"]) == (5, 0.4)  # A9 A9 A0 WD A9
    assert (letter["n"], letter["accuracy"]) == (7, pytest.approx(4 / 7))  # all but CV, which the model does not know
    assert distance["n"] == 4 and distance["median"] == 1.0  # 1, 0, 1 and 6
    assert (distance["within_1"], distance["within_2"], distance["bias"]) == (0.75, 0.75, 1.5)


def test_a_model_of_letters_is_judged_by_letters() -> None:
    targets = Targets(("subclass",), {"subclass": ["A", "AGN", "F"]})
    names = ["A", "F", "AGN"]
    table = Table({"survey": ["SDSS"] * 3, "subclass": names, "spectral_type": names, "warning": [""] * 3})
    rows = [("STAR", "A5"), ("STAR", "A7"), ("GALAXY", "AGN BROADLINE")]
    labels = BelievedLabels.of([{"class": kind, "subclass": name} for kind, name in rows])
    found = evaluate_predictions(table, labels, np.full(3, np.nan), targets)
    assert found["subclass"]["accuracy"] == found["spectral_type"]["accuracy"] == pytest.approx(2 / 3)
    assert "subtypes" not in found["subclass"]


def test_precision_recall_and_f1_are_those_of_sklearn() -> None:
    rng = np.random.default_rng(0)
    for rate in (0.0, 0.3, 1.0):
        for chance in (0.0, 0.5, 1.0):
            predicted, true = (rng.random(50) < rate).astype(int), (rng.random(50) < chance).astype(int)
            values = np.unique(true)
            want = precision_recall_fscore_support(true, predicted, labels=values, zero_division=0)[:3]
            found = _one_value(*_codes(predicted, true, np.ones((1, 50))))
            assert np.allclose([value[0] for value in found.values()], want)


def test_figures_of_resamples_are_those_of_the_rows_that_they_hold() -> None:
    """A weight of 3 is as good as three rows, and 0 as none. Libraries compute the figures of such rows."""
    rng = np.random.default_rng(0)
    true = rng.normal(5.0, 2.0, 40)
    predicted = np.round(true + rng.standard_cauchy(40), 1)  # with ties and far ones
    names = np.array(["A", "F", "G"])
    kinds = names[rng.integers(0, 3, 40)]
    found_kinds = np.where(rng.random(40) < 0.7, kinds, names[rng.integers(0, 3, 40)])
    weights = rng.multinomial(40, np.full(40, 1 / 40), size=30).astype(float)
    weights[0] = 0.0
    weights[0, :2] = 20.0, 1.0  # nearly all is one row
    error = predicted - true
    got = {
        "r2": r_squared(weights, predicted, true),
        "rmse": rmse(weights, error),
        "median": median(weights, error),
        **dict(zip(("centre", "nmad"), median_and_nmad(weights, error), strict=True)),
        **categories(weights, found_kinds, kinds),
    }
    for i, row in enumerate(weights.astype(int)):
        t, p, e, k, f = (np.repeat(column, row) for column in (true, predicted, error, kinds, found_kinds))
        want = {
            "r2": r2_score(t, p),
            "rmse": np.sqrt(np.mean(e**2)),
            "median": np.median(e),
            "centre": np.median(e),
            "nmad": mad_std(e),
            "accuracy": accuracy_score(k, f),
            "macro_f1": f1_score(k, f, labels=np.unique(k), average="macro", zero_division=0),
        }
        assert {name: values[i] for name, values in got.items()} == pytest.approx(want, rel=1e-6, abs=1e-12)


def test_figures_that_are_not_defined_are_left_out() -> None:
    """Their errors are those of the resamples in which they are."""
    few = np.array([True, False, False, False])

    def measure(weights: np.ndarray, flagged: np.ndarray) -> dict[str, np.ndarray]:
        return {"of_few": mean(weights * few, flagged), "of_none": mean(weights * 0.0, flagged)}

    found = with_errors(measure, np.array([1.0, 0.0, 1.0, 0.0]))
    assert found == {"n": 4, "of_few": 1.0, "errors": {"of_few": 0.0}}
    constant = np.full(5, 2.0)
    assert r_squared(np.ones((1, 5)), constant, constant)[0] == 1.0 == r2_score(constant, constant)
    assert r_squared(np.ones((1, 5)), constant + 1.0, constant)[0] == 0.0 == r2_score(constant, constant + 1.0)
