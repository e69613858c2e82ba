"""How good predictions are, in the field's usual numbers."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from astropy.stats import mad_std
from astropy.table import Table
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support, r2_score

from spectromer.data.targets import CATEGORIES, SCALARS, Targets, trusted

__all__ = ["CATASTROPHIC", "evaluate_predictions", "redshift_metrics"]

#: |dz| / (1 + z) beyond which a redshift is wrong: 1000 km/s for galaxies, 3000 km/s for quasars.
CATASTROPHIC = {"GALAXY": 0.003336, "QSO": 0.010007, "STAR": 0.003336}
_SNR_BINS = (0.0, 5.0, 10.0, 20.0, np.inf)
_ENOUGH = 2  # spectra, for a number to mean anything


def redshift_metrics(z: np.ndarray, z_true: np.ndarray, limit: float) -> dict[str, float]:
    r"""Redshift errors as the field counts them, with :math:`dz = (z - z_{true}) / (1 + z_{true})`.

    Parameters
    ----------
    z, z_true : ndarray [B]
    limit : float
        |dz| beyond which a redshift is catastrophically wrong.

    Returns
    -------
    dict
        n; r2 (of z); rmse (of z); bias, the median of dz; sigma_nmad, 1.4826 times the median of |dz - median(dz)|;
        catastrophic_fraction.
    """
    dz = (z - z_true) / (1.0 + z_true)
    return _regression_metrics(z, z_true, dz) | {"catastrophic_fraction": float(np.mean(np.abs(dz) > limit))}


def _regression_metrics(found: np.ndarray, true: np.ndarray, error: np.ndarray) -> dict[str, float]:
    """R² and rms of the numbers, bias and scatter of `error`, which may be scaled."""
    return {
        "n": len(true),
        "r2": float(r2_score(true, found)),
        "rmse": float(np.sqrt(np.mean((found - true) ** 2))),
        "bias": float(np.median(error)),
        "sigma_nmad": float(mad_std(error)),
    }


def _category_metrics(predicted: np.ndarray, true: np.ndarray, snr: np.ndarray) -> dict[str, Any]:
    values = sorted(set(true))
    precision, recall, f1, support = precision_recall_fscore_support(true, predicted, labels=values, zero_division=0)
    return {
        "n": len(true),
        "accuracy": float(accuracy_score(true, predicted)),
        "macro_f1": float(f1_score(true, predicted, labels=values, average="macro", zero_division=0)),
        "by_value": {
            value: {"precision": float(p), "recall": float(r), "f1": float(f), "n": int(n)}
            for value, p, r, f, n in zip(values, precision, recall, f1, support, strict=True)
        },
        "by_snr": {
            f"{low:g}-{high:g}": {"n": int(chosen.sum()), "accuracy": float(np.mean((predicted == true)[chosen]))}
            for low, high in pairwise(_SNR_BINS)
            if (chosen := (snr >= low) & (snr < high)).any()
        },
    }


def _interval_coverage(table: Table, true: np.ndarray) -> dict[str, float]:
    return {
        f"coverage_{share}": float(np.mean((true >= table[f"z_lo{share}"]) & (true <= table[f"z_hi{share}"])))
        for share in (68, 95)
    }


def evaluate_predictions(table: Table, labels: Sequence[dict[str, Any]], targets: Targets) -> dict[str, Any]:
    """Compare predictions with the labels that are there to be believed.

    Parameters
    ----------
    table : Table [B]
        Of `Predictor.predict_all`.
    labels : sequence of dict [B]
        The spectra's own.
    targets : Targets

    Returns
    -------
    dict
        One entry per target. class, subclass: n, accuracy, macro_f1, by_value, by_snr. z: an entry per true class
        (galaxy, qso, star) of `redshift_metrics` and of the 68 % and 95 % intervals' coverage. teff, logg, feh: n,
        r2, rmse, bias, sigma_nmad.
    """
    known = [trusted(row) for row in labels]
    snr = np.array([row.get("snr", np.nan) for row in labels], dtype=np.float64)
    predictable = np.array([text == "" for text in table["warning"]], dtype=bool)
    results: dict[str, Any] = {}
    for name in targets.names:
        there = np.array([name in row for row in known], dtype=bool) & predictable
        if name in CATEGORIES:
            there &= np.array([row.get(name) in targets.vocabulary[name] for row in known], dtype=bool)
        rows = np.flatnonzero(there)
        if len(rows) < _ENOUGH:
            continue
        true = np.array([known[i][name] for i in rows])
        part = table[rows]
        if name in CATEGORIES:
            results[name] = _category_metrics(np.asarray(part[name]), true, snr[rows])
        elif name in SCALARS:
            found = np.asarray(part[name])
            results[name] = _regression_metrics(found, true, found - true)
        else:
            classes = np.array([known[i].get("class", "") for i in rows])
            results[name] = {}
            for kind, limit in CATASTROPHIC.items():
                chosen = np.flatnonzero(classes == kind)
                if len(chosen) >= _ENOUGH:
                    results[name][kind.lower()] = redshift_metrics(
                        np.asarray(part[name])[chosen], true[chosen], limit
                    ) | _interval_coverage(part[chosen], true[chosen])
    return results
