"""Metrics of predictions, with their standard errors."""

import math
from collections.abc import Iterable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from astropy.table import Table
from scipy.stats import norm
from torch import Tensor

from spectromer.labels import CATEGORIES, SCALARS, BelievedLabels
from spectromer.learning.bootstrap import (
    Figures,
    Measure,
    confusion,
    mean,
    median,
    median_and_nmad,
    r_squared,
    rmse,
    with_errors,
)
from spectromer.learning.coverage import NO_GOOD_PIXEL
from spectromer.learning.targets import Targets
from spectromer.subclasses import scale_positions, spectral_type

__all__ = ["CATASTROPHIC", "catastrophic_limits", "categories", "evaluate_predictions"]

#: Limit of |dz| / (1 + z) of a catastrophic redshift error: 1000 km/s for galaxies and stars, 3000 km/s for quasars.
CATASTROPHIC = {"GALAXY": 0.003336, "QSO": 0.010007, "STAR": 0.003336}
_SNR_BINS = (0.0, 5.0, 10.0, 20.0, np.inf)
_MIN_COUNT = 2  # smallest number of spectra for which figures are computed
_PROBABILITY_BINS = 10


def catastrophic_limits(classes: Iterable[str]) -> Tensor:
    """The limits [B] of |dz| / (1 + z) beyond which a redshift is wrong, by class."""
    return torch.tensor([CATASTROPHIC.get(name, CATASTROPHIC["GALAXY"]) for name in classes], dtype=torch.float64)


def _by(groups: dict[str, np.ndarray], measure: Measure, *columns: np.ndarray) -> dict[str, Any]:
    """Apply `with_errors` to each group of rows that is large enough."""
    return {
        name: with_errors(measure, *(column[rows] for column in columns))
        for name, rows in groups.items()
        if rows.sum() >= _MIN_COUNT
    }


def _groups(snr: np.ndarray, survey: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """Masks of the rows in each bin of S/N and of each survey."""
    return {
        "by_snr": {f"{low:g}-{high:g}": (snr >= low) & (snr < high) for low, high in pairwise(_SNR_BINS)},
        "by_survey": {name: survey == name for name in np.unique(survey)},
    }


def categories(
    weights: np.ndarray, predicted: np.ndarray, true: np.ndarray, probability: np.ndarray | None = None
) -> Figures:
    """Figures of categories: accuracy, macro_f1 and, with probabilities, expected_calibration_error.

    The macro F1 is the mean over the values that are among the true ones.
    """
    right = predicted == true
    parts = _one_value(*_codes(predicted, true, weights))
    figures = {"accuracy": mean(weights, right), "macro_f1": np.nanmean(parts["f1"], axis=1)}
    if probability is not None:
        probability = np.nan_to_num(probability)
        bins = np.arange(_PROBABILITY_BINS) == _bin_of(probability)[:, None]
        excess = weights @ (bins * (right - probability)[:, None])
        figures["expected_calibration_error"] = np.abs(excess).sum(1) / weights.sum(1)
    return figures


def _codes(predicted: np.ndarray, true: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Confusion matrices [R, values, values] of all values, and a mask [values] of those that are among the true."""
    values, codes = np.unique(np.concatenate([true, predicted]), return_inverse=True)
    found = confusion(weights, codes[len(true) :], codes[: len(true)], len(values))
    return found, np.isin(values, true)


def _one_value(matrices: np.ndarray, wanted: np.ndarray) -> Figures:
    """Precision, recall and F1 of each wanted value, [R, wanted].

    Precision and F1 are 0 where a value was not predicted. All are NaN where it is not among the true ones.
    """
    right = np.diagonal(matrices, axis1=1, axis2=2)[:, wanted]
    true, predicted = matrices.sum(2)[:, wanted], matrices.sum(1)[:, wanted]
    figures = {
        "precision": right / np.maximum(predicted, 1.0),
        "recall": right / np.maximum(true, 1.0),
        "f1": 2.0 * right / np.maximum(true + predicted, 1.0),
    }
    return {name: np.where(true > 0, value, np.nan) for name, value in figures.items()}


def _subtypes(weights: np.ndarray, predicted: np.ndarray, true: np.ndarray) -> Figures:
    """Figures of positions on the scale of subtypes: the median distance, and the fractions within 1 and 2 subtypes."""
    distance = np.abs(predicted - true)
    return {
        "median": median(weights, distance),
        "within_1": mean(weights, distance <= 1),
        "within_2": mean(weights, distance <= 2),
        "bias": mean(weights, predicted - true),
    }


def _numbers(weights: np.ndarray, predicted: np.ndarray, true: np.ndarray, error: np.ndarray) -> Figures:
    """R² and root mean square error of predictions, and bias and scatter of `error`, which may be scaled."""
    bias, sigma_nmad = median_and_nmad(weights, error)
    r2 = r_squared(weights, predicted, true)
    return {"r2": r2, "rmse": rmse(weights, predicted - true), "bias": bias, "sigma_nmad": sigma_nmad}


def _scalars(weights: np.ndarray, predicted: np.ndarray, true: np.ndarray, sigma: np.ndarray | None = None) -> Figures:
    """Figures of a scalar.

    With sigma, these include the fractions of true values within 1 and 1.96 sigma, and the mean CRPS of a normal
    distribution, sigma (w (2 Phi(w) - 1) + 2 phi(w) - 1 / sqrt(pi)) with w = (true - predicted) / sigma (Gneiting et
    al. 2005).
    """
    figures = _numbers(weights, predicted, true, predicted - true)
    if sigma is not None:
        w = (true - predicted) / sigma
        crps = sigma * (w * (2 * norm.cdf(w) - 1) + 2 * norm.pdf(w) - 1 / math.sqrt(math.pi))
        within = {f"coverage_{s}": mean(weights, np.abs(w) <= k) for s, k in ((68, 1.0), (95, 1.96))}
        figures |= within | {"crps": mean(weights, crps)}
    return figures


def _redshifts(limit: float) -> Measure:
    r"""Return a function that computes figures of redshifts, with :math:`dz = (z - z_{true}) / (1 + z_{true})`.

    The figures are r2 and rmse of z; bias, the median of dz; sigma_nmad, 1.4826 times the median of \|dz -
    median(dz)\|; catastrophic_fraction, the fraction with \|dz\| > limit; and, if the columns are given, coverage_68
    and coverage_95, the fractions of true redshifts within the intervals, and crps, the mean CRPS.
    """

    def measure(
        weights: np.ndarray,
        z: np.ndarray,
        true: np.ndarray,
        lo68: np.ndarray | None = None,
        hi68: np.ndarray | None = None,
        lo95: np.ndarray | None = None,
        hi95: np.ndarray | None = None,
        crps: np.ndarray | None = None,
    ) -> Figures:
        dz = (z - true) / (1.0 + true)
        figures = _numbers(weights, z, true, dz) | {"catastrophic_fraction": mean(weights, np.abs(dz) > limit)}
        for percent, low, high in ((68, lo68, hi68), (95, lo95, hi95)):
            if low is not None and high is not None:
                figures[f"coverage_{percent}"] = mean(weights, (true >= low) & (true <= high))
        return figures if crps is None else figures | {"crps": mean(weights, crps)}

    return measure


def _bin_of(probability: np.ndarray) -> np.ndarray:
    """The bins [n] of probabilities."""
    bins: np.ndarray = np.minimum((probability * _PROBABILITY_BINS).astype(int), _PROBABILITY_BINS - 1)
    return bins


def _reliability(right: np.ndarray, probability: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean probability, accuracy and count for each bin of predicted probability that is not empty.

    A spectrum whose predicted class has no subclass has no predicted subclass: its probability is NaN, and counts as 0.
    """
    probability = np.nan_to_num(probability)
    bin_ = _bin_of(probability)
    n = np.bincount(bin_, minlength=_PROBABILITY_BINS)
    filled = n > 0
    sums = (np.bincount(bin_, weights, _PROBABILITY_BINS)[filled] for weights in (probability, right))
    confidence, accuracy = (total / n[filled] for total in sums)
    return confidence, accuracy, n[filled]


def _flags(weights: np.ndarray, flagged: np.ndarray, wrong: np.ndarray) -> Figures:
    """Flagged fraction of the catastrophic redshifts and of the good ones, each if there are any."""
    sets = {"of_catastrophic": wrong, "of_good": ~wrong}
    return {name: mean(weights * chosen, flagged) for name, chosen in sets.items()}


def _column(table: Table, name: str) -> np.ndarray | None:
    return np.asarray(table[name], dtype=np.float64) if name in table.colnames else None


def _category_metrics(table: Table, name: str, true: np.ndarray, groups: Any) -> dict[str, Any]:
    values, codes = np.unique(np.concatenate([true, np.asarray(table[name])]), return_inverse=True)
    true, predicted = codes[: len(true)], codes[len(true) :]
    columns = [predicted, true, *(c for c in (_column(table, f"{name}_prob"),) if c is not None)]
    figures = with_errors(categories, *columns)
    matrices = partial(_codes, predicted, true)
    each = with_errors(lambda weights, *_: _one_value(*matrices(weights)), true)
    names = ("precision", "recall", "f1")
    figures["by_value"] = {
        str(values[code]): {
            "n": int((true == code).sum()),
            **{part: each[part][i] for part in names},
            "errors": {part: each["errors"][part][i] for part in names},
        }
        for i, code in enumerate(np.unique(true))
    }
    figures |= {by: _by(rows, categories, *columns) for by, rows in groups.items()}
    if len(columns) == 3:
        curve = _reliability(predicted == true, columns[2])
        figures["reliability"] = dict(
            zip(("probability", "right", "n"), (part.tolist() for part in curve), strict=True)
        )
    return figures


def _of_category(
    table: Table, name: str, labels: np.ndarray, predictable: np.ndarray, snr: np.ndarray, targets: Targets
) -> dict[str, Any]:
    """The entries of class, or of spectral type and subclass, as far as there are labels."""
    true = {name: np.where(np.isin(labels, targets.vocabulary[name]), labels, "")}
    if name == "subclass":
        types = np.array([spectral_type(value) for value in labels], dtype=str)
        true = {"spectral_type": np.where(np.isin(types, targets.spectral_types), types, "")}
        true |= {name: targets.merge(labels).astype(str)}
    results = {}
    for what, values in true.items():
        rows = np.flatnonzero((values != "") & predictable)
        if what in table.colnames and len(rows) >= _MIN_COUNT:
            groups = _groups(snr[rows], np.asarray(table["survey"])[rows])
            results[what] = _category_metrics(table[rows], what, values[rows], groups)
    if "subclass" in results:
        places = [scale_positions(column) for column in (np.asarray(table[name]), labels)]
        ordered = np.isfinite(places[0] + places[1]) & predictable
        if ordered.sum() >= _MIN_COUNT:
            results["subclass"]["subtypes"] = with_errors(_subtypes, *(column[ordered] for column in places))
    return results


def _redshift_metrics(table: Table, true: np.ndarray, classes: np.ndarray, groups: Any) -> dict[str, Any]:
    names = ("z_lo68", "z_hi68", "z_lo95", "z_hi95", "z_crps")
    z = np.asarray(table["z"], dtype=np.float64)
    columns = [z, true, *(c for name in names if (c := _column(table, name)) is not None)]
    results: dict[str, Any] = {}
    for kind, limit in CATASTROPHIC.items():
        chosen = classes == kind
        if chosen.sum() < _MIN_COUNT:
            continue
        selected = [column[chosen] for column in columns]
        figures = with_errors(_redshifts(limit), *selected)
        figures |= {
            by: _by({name: rows[chosen] for name, rows in sets.items()}, _redshifts(limit), *selected)
            for by, sets in groups.items()
        }
        if "z_flag" in table.colnames:
            flagged = np.asarray(table["z_flag"])[chosen] != 0
            wrong = np.abs(z - true)[chosen] > limit * (1.0 + true[chosen])
            figures["flagged"] = with_errors(_flags, flagged, wrong)
            figures["flagged"]["catastrophic"] = int(wrong.sum())
        results[kind.lower()] = figures
    if "z_flag" in table.colnames and results:
        limits = np.array([CATASTROPHIC.get(kind, math.inf) for kind in classes])
        wrong, flagged = np.abs(z - true) > limits * (1.0 + true), np.asarray(table["z_flag"]) != 0
        results["flagged"] = with_errors(_flags, flagged, wrong) | {"catastrophic": int(wrong.sum())}
    return results


def evaluate_predictions(table: Table, labels: BelievedLabels, snr: np.ndarray, targets: Targets) -> dict[str, Any]:
    """Compare predictions with reliable labels.

    Parameters
    ----------
    table : Table [B]
        Predictions, as `Predictor.predict_batches` returns them. Columns of uncertainties are optional.
    labels : BelievedLabels [B]
        Reliable labels.
    snr : ndarray [B]
        Median S/N of the spectra, NaN where unknown.
    targets : Targets
        Targets of the model.

    Returns
    -------
    dict
        One entry per target, and one of the spectral type, with figures as `with_errors` returns them, for all spectra,
        by_snr and by_survey.

        - class, subclass: accuracy, macro_f1, by_value (precision, recall and f1 of each value), reliability and
          expected_calibration_error. A label that the vocabulary lacks counts as its spectral type if this is in the
          vocabulary, and is left out otherwise.
        - spectral_type: the same figures of the spectral types, which follow from the subclasses.
        - `subtypes` in subclass: the distance between predicted and true subtypes, where both are on the ordered scale.
          It holds the median, the fractions within_1 and within_2, and the bias, which is positive if the predictions
          are too cool.
        - z: an entry for each true class (galaxy, qso, star) with r2, rmse, bias, sigma_nmad, catastrophic_fraction,
          coverage_68, coverage_95, crps and flagged. `flagged` holds the flagged fractions of the catastrophic and of
          the good redshifts. An entry `flagged` holds them for all classes.
        - z_scan: the same figures, as far as they apply, of the redshifts by templates.
        - teff, logg, feh: r2, rmse, bias, sigma_nmad, coverage_68, coverage_95 and crps.
    """
    predictable = np.array([not text.startswith(NO_GOOD_PIXEL) for text in table["warning"]], dtype=bool)
    results: dict[str, Any] = {}
    for name in targets.names:
        if name in CATEGORIES:
            results |= _of_category(table, name, labels[name].astype(str), predictable, snr, targets)
            continue
        rows = np.flatnonzero(labels.known(name) & predictable)
        if len(rows) < _MIN_COUNT:
            continue
        true, part = labels[name][rows], table[rows]
        groups = _groups(snr[rows], np.asarray(part["survey"]))
        if name in SCALARS:
            columns = [np.asarray(part[name], np.float64), true]
            columns += [c for c in (_column(part, f"{name}_err"),) if c is not None]
            results[name] = with_errors(_scalars, *columns)
            results[name] |= {by: _by(sets, _scalars, *columns) for by, sets in groups.items()}
        else:
            results[name] = _redshift_metrics(part, true, labels["class"][rows], groups)
            if "z_scan" in part.colnames:
                found = np.flatnonzero(np.isfinite(np.asarray(part["z_scan"])))
                scan = Table({"z": part["z_scan"][found], "z_flag": part["z_scan_flag"][found]})
                sets = {by: {what: mask[found] for what, mask in masks.items()} for by, masks in groups.items()}
                results["z_scan"] = _redshift_metrics(scan, true[found], labels["class"][rows[found]], sets)
    return results
