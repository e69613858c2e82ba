"""How good predictions are, in the field's usual numbers, each with its error."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from astropy.stats import mad_std
from astropy.table import Table
from scipy.stats import norm
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support, r2_score

from spectromer.labels import CATEGORIES, SCALARS, BelievedLabels
from spectromer.learning.targets import Targets

__all__ = ["CATASTROPHIC", "evaluate_predictions", "with_errors"]

#: |dz| / (1 + z) beyond which a redshift is wrong: 1000 km/s for galaxies, 3000 km/s for quasars.
CATASTROPHIC = {"GALAXY": 0.003336, "QSO": 0.010007, "STAR": 0.003336}
_SNR_BINS = (0.0, 5.0, 10.0, 20.0, np.inf)
_ENOUGH = 2  # spectra, for a number to mean anything
_RESAMPLES = 100
_MOST = 20000  # spectra in a resample: more say the same
_CONFIDENCES = 10  # bins of probability

Measure = Callable[..., dict[str, float]]


def with_errors(measure: Measure, *columns: np.ndarray) -> dict[str, Any]:
    """`measure` of columns [B], with the number of rows and the bootstrap's standard error of every figure.

    Returns
    -------
    dict
        n, what `measure` gives, and `errors`: the standard deviation of each figure over resamples of the rows (Efron
        1979); of m = 20,000 rows where there are more, times sqrt(m / n).
    """
    n = len(columns[0])
    m, rng = min(n, _MOST), np.random.default_rng(n)
    figures = measure(*columns)
    spread: dict[str, list[float]] = {name: [] for name in figures}
    for _ in range(_RESAMPLES):
        rows = rng.integers(0, n, m)
        for name, value in measure(*(column[rows] for column in columns)).items():
            if name in spread:
                spread[name].append(value)
    scale = math.sqrt(m / n)
    return {"n": n, **figures, "errors": {name: scale * float(np.std(found)) for name, found in spread.items()}}


def _by(groups: dict[str, np.ndarray], measure: Measure, *columns: np.ndarray) -> dict[str, Any]:
    """`with_errors` of each group of rows that is large enough."""
    return {
        name: with_errors(measure, *(column[rows] for column in columns))
        for name, rows in groups.items()
        if rows.sum() >= _ENOUGH
    }


def _groups(snr: np.ndarray, survey: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """Rows by bin of S/N and by survey."""
    return {
        "by_snr": {f"{low:g}-{high:g}": (snr >= low) & (snr < high) for low, high in pairwise(_SNR_BINS)},
        "by_survey": {name: survey == name for name in np.unique(survey)},
    }


def _categories(predicted: np.ndarray, true: np.ndarray, probability: np.ndarray | None = None) -> dict[str, float]:
    f1 = f1_score(true, predicted, labels=np.unique(true), average="macro", zero_division=0)
    figures = {"accuracy": float(accuracy_score(true, predicted)), "macro_f1": float(f1)}
    if probability is not None:
        said, share, n = _reliability(predicted == true, probability)
        figures["expected_calibration_error"] = float(np.sum(n * np.abs(share - said)) / n.sum())
    return figures


def _one_value(predicted: np.ndarray, true: np.ndarray) -> dict[str, float]:
    found = precision_recall_fscore_support(true, predicted, average="binary", zero_division=0)[:3]
    return dict(zip(("precision", "recall", "f1"), map(float, found), strict=True))


def _numbers(found: np.ndarray, true: np.ndarray, error: np.ndarray) -> dict[str, float]:
    """R² and rms of the numbers, bias and scatter of `error`, which may be scaled."""
    return {
        "r2": float(r2_score(true, found)),
        "rmse": float(np.sqrt(np.mean((found - true) ** 2))),
        "bias": float(np.median(error)),
        "sigma_nmad": float(mad_std(error)),
    }


def _scalars(found: np.ndarray, true: np.ndarray, sigma: np.ndarray | None = None) -> dict[str, float]:
    """With sigma, also how many truths lie within 1 and 1.96 of them, and the CRPS of a normal distribution.

    That is sigma (w (2 Phi(w) - 1) + 2 phi(w) - 1 / sqrt(pi)), w = (true - found) / sigma (Gneiting et al. 2005).
    """
    figures = _numbers(found, true, found - true)
    if sigma is not None:
        w = (true - found) / sigma
        crps = sigma * (w * (2 * norm.cdf(w) - 1) + 2 * norm.pdf(w) - 1 / math.sqrt(math.pi))
        within = {f"coverage_{s}": float(np.mean(np.abs(w) <= k)) for s, k in ((68, 1.0), (95, 1.96))}
        figures |= within | {"crps": float(crps.mean())}
    return figures


def _redshifts(limit: float) -> Measure:
    r"""Redshift errors as the field counts them, with :math:`dz = (z - z_{true}) / (1 + z_{true})`.

    r2 and rmse of z; bias, the median of dz; sigma_nmad, 1.4826 times the median of \|dz - median(dz)\|;
    catastrophic_fraction, the share with \|dz\| > limit; where intervals are given, how many truths they hold, and the
    mean CRPS.
    """

    def measure(
        z: np.ndarray,
        true: np.ndarray,
        lo68: np.ndarray | None = None,
        hi68: np.ndarray | None = None,
        lo95: np.ndarray | None = None,
        hi95: np.ndarray | None = None,
        crps: np.ndarray | None = None,
    ) -> dict[str, float]:
        dz = (z - true) / (1.0 + true)
        figures = _numbers(z, true, dz) | {"catastrophic_fraction": float(np.mean(np.abs(dz) > limit))}
        for share, low, high in ((68, lo68, hi68), (95, lo95, hi95)):
            if low is not None and high is not None:
                figures[f"coverage_{share}"] = float(np.mean((true >= low) & (true <= high)))
        return figures if crps is None else figures | {"crps": float(crps.mean())}

    return measure


def _reliability(right: np.ndarray, probability: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per bin of the probability given: its mean, the share of answers that are right, and how many there are."""
    place = np.minimum((probability * _CONFIDENCES).astype(int), _CONFIDENCES - 1)
    n = np.bincount(place, minlength=_CONFIDENCES)
    filled = n > 0
    sums = (np.bincount(place, weights, _CONFIDENCES)[filled] for weights in (probability, right))
    said, share = (total / n[filled] for total in sums)
    return said, share, n[filled]


def _flags(flagged: np.ndarray, wrong: np.ndarray) -> dict[str, float]:
    """Share of the catastrophic redshifts that carry a flag, and of the good ones that do, where there are any."""
    sets = {"of_catastrophic": wrong, "of_good": ~wrong}
    return {name: float(flagged[chosen].mean()) for name, chosen in sets.items() if chosen.any()}


def _column(table: Table, name: str) -> np.ndarray | None:
    return np.asarray(table[name], dtype=np.float64) if name in table.colnames else None


def _category_metrics(table: Table, name: str, true: np.ndarray, groups: Any) -> dict[str, Any]:
    values, codes = np.unique(np.concatenate([true, np.asarray(table[name])]), return_inverse=True)
    true, predicted = codes[: len(true)], codes[len(true) :]
    columns = [predicted, true, *(c for c in (_column(table, f"{name}_prob"),) if c is not None)]
    found = with_errors(_categories, *columns)
    found["by_value"] = {
        str(values[code]): with_errors(_one_value, predicted == code, true == code) | {"n": int((true == code).sum())}
        for code in np.unique(true)
    }
    found |= {by: _by(rows, _categories, *columns) for by, rows in groups.items()}
    if len(columns) == 3:
        curve = _reliability(predicted == true, columns[2])
        found["reliability"] = dict(zip(("probability", "right", "n"), (part.tolist() for part in curve), strict=True))
    return found


def _redshift_metrics(table: Table, true: np.ndarray, classes: np.ndarray, groups: Any) -> dict[str, Any]:
    names = ("z_lo68", "z_hi68", "z_lo95", "z_hi95", "z_crps")
    z = np.asarray(table["z"], dtype=np.float64)
    columns = [z, true, *(c for name in names if (c := _column(table, name)) is not None)]
    results: dict[str, Any] = {}
    for kind, limit in CATASTROPHIC.items():
        chosen = classes == kind
        if chosen.sum() < _ENOUGH:
            continue
        own = [column[chosen] for column in columns]
        found = with_errors(_redshifts(limit), *own)
        found |= {
            by: _by({name: rows[chosen] for name, rows in sets.items()}, _redshifts(limit), *own)
            for by, sets in groups.items()
        }
        if "z_flag" in table.colnames:
            flagged = np.asarray(table["z_flag"])[chosen] != 0
            wrong = np.abs(z - true)[chosen] > limit * (1.0 + true[chosen])
            found["flagged"] = with_errors(_flags, flagged, wrong)
            found["flagged"]["catastrophic"] = int(wrong.sum())
        results[kind.lower()] = found
    if "z_flag" in table.colnames and results:
        limits = np.array([CATASTROPHIC.get(kind, math.inf) for kind in classes])
        wrong, flagged = np.abs(z - true) > limits * (1.0 + true), np.asarray(table["z_flag"]) != 0
        results["flagged"] = with_errors(_flags, flagged, wrong) | {"catastrophic": int(wrong.sum())}
    return results


def evaluate_predictions(table: Table, labels: BelievedLabels, snr: np.ndarray, targets: Targets) -> dict[str, Any]:
    """Compare predictions with the labels that are believed.

    Parameters
    ----------
    table : Table [B]
        Of `Predictor.predict_batches`; columns of uncertainties may be missing.
    labels : BelievedLabels [B]
    snr : ndarray [B]
        The spectra's median S/N; NaN where it is not known.
    targets : Targets

    Returns
    -------
    dict
        One entry per target, of figures as `with_errors` gives them. class, subclass: accuracy, macro_f1, by_value
        (precision, recall, f1), reliability and expected_calibration_error. z: an entry per true class (galaxy, qso,
        star) of r2, rmse, bias, sigma_nmad, catastrophic_fraction, coverage_68, coverage_95, crps, and flagged, the
        shares of catastrophic and of good redshifts that carry a flag; and flagged for all classes. teff, logg, feh:
        r2, rmse, bias, sigma_nmad, coverage_68, coverage_95, crps. Each by_snr and by_survey too.
    """
    predictable = np.array([text == "" for text in table["warning"]], dtype=bool)
    results: dict[str, Any] = {}
    for name in targets.names:
        there = labels.known(name) & predictable
        if name in CATEGORIES:
            there &= np.isin(labels[name].astype(str), targets.vocabulary[name])
        rows = np.flatnonzero(there)
        if len(rows) < _ENOUGH:
            continue
        true, part = labels[name][rows], table[rows]
        true = true.astype(str) if name in CATEGORIES else true
        groups = _groups(snr[rows], np.asarray(part["survey"]))
        if name in CATEGORIES:
            results[name] = _category_metrics(part, name, true, groups)
        elif name in SCALARS:
            columns = [np.asarray(part[name], np.float64), true]
            columns += [c for c in (_column(part, f"{name}_err"),) if c is not None]
            results[name] = with_errors(_scalars, *columns)
            results[name] |= {by: _by(sets, _scalars, *columns) for by, sets in groups.items()}
        else:
            results[name] = _redshift_metrics(part, true, labels["class"][rows], groups)
    return results
