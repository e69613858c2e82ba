"""Figures with bootstrap standard errors, computed for all resamples at once.

A resample of n rows is described by how often each row was drawn. Every figure is a function of such weights [R, n] and
of columns [n], and has the values [R]. The figure itself is that of the weights 1.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.sparse import csr_array

__all__ = ["Figures", "Measure", "confusion", "mean", "median", "median_and_nmad", "r_squared", "rmse", "with_errors"]

Figures = dict[str, np.ndarray]
Measure = Callable[..., Figures]
_RESAMPLES = 100
_MAX_RESAMPLE = 20000  # largest number of rows in a resample; standard errors of larger ones are scaled
_NORMAL = 1.482602218505602  # standard deviation of a normal distribution whose median absolute deviation is 1
_HALVINGS = 45


def with_errors(measure: Measure, *columns: np.ndarray) -> dict[str, Any]:
    """Compute figures with their bootstrap standard errors.

    Parameters
    ----------
    measure : callable
        Function of the weights [R, n] and the columns [n] that returns the values [R] or [R, ...] of figures by name.
    *columns : ndarray [n]
        Columns of predictions and labels.

    Returns
    -------
    dict
        `n`, the number of rows; the figures of `measure`, without those that are not defined; and `errors`, the
        standard deviation of each figure over the resamples in which it is defined (Efron 1979). If n exceeds m =
        20,000, resamples have m rows, and the standard deviations are multiplied by sqrt(m / n).
    """
    n = len(columns[0])
    figures = {name: values[0] for name, values in measure(np.ones((1, n)), *columns).items()}
    figures = {name: value for name, value in figures.items() if not np.all(np.isnan(value))}
    scale = math.sqrt(min(n, _MAX_RESAMPLE) / n)
    spread = measure(_resamples(n), *columns)
    errors = {name: scale * _deviation(spread[name]) for name in figures}
    return {"n": n, **_plain(figures), "errors": _plain(errors)}


def _plain(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: value.tolist() for name, value in figures.items()}


def _deviation(values: np.ndarray) -> np.ndarray:
    """The standard deviation over the resamples, 0 where a figure is defined in none."""
    defined = ~np.isnan(values)
    filled = np.where(defined, values, 0.0)
    count = np.maximum(defined.sum(0), 1)
    centre = filled.sum(0) / count
    deviation: np.ndarray = np.sqrt((np.where(defined, values - centre, 0.0) ** 2).sum(0) / count)
    return deviation


@lru_cache(maxsize=8)  # the targets of a table have groups of the same sizes
def _resamples(n: int) -> np.ndarray:
    """How often each of n rows occurs in each resample, [R, n]."""
    rng = np.random.default_rng(n)
    draws = rng.integers(0, n, (_RESAMPLES, min(n, _MAX_RESAMPLE)))
    return np.stack([np.bincount(drawn, minlength=n) for drawn in draws]).astype(np.float64)


def mean(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Means [R] of values [n]; NaN where all weights are 0."""
    return _ratio(weights @ values.astype(np.float64), weights.sum(1))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Quotient, NaN where the denominator is 0."""
    quotient: np.ndarray = np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole != 0)
    return quotient


def rmse(weights: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Root mean squares [R] of errors [n]."""
    root: np.ndarray = np.sqrt(mean(weights, error**2))
    return root


def r_squared(weights: np.ndarray, predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Coefficients of determination [R]. As in scikit-learn, it is 1 or 0 if all true values are the same."""
    centred = true - true.mean()  # for precision
    total = mean(weights, centred**2) - mean(weights, centred) ** 2
    residual = mean(weights, (true - predicted) ** 2)
    constant = total <= 1e-14 * max(float(np.mean(centred**2)), 1e-300)
    return np.where(constant, residual == 0.0, 1.0 - residual / np.where(constant, 1.0, total))


def median(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Medians [R] of values [n], whose weights are whole numbers."""
    order = np.argsort(values, kind="stable")
    return _medians(values[order], weights[:, order].cumsum(1))


def median_and_nmad(weights: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Medians of values [n], and 1.4826 times the median absolute deviations from them, each [R].

    The deviation is found by bisection, as the distance within which half of the weight is.
    """
    order = np.argsort(values, kind="stable")
    ascending, below = values[order], weights[:, order].cumsum(1)
    centre = _medians(ascending, below)
    below = np.concatenate((np.zeros((len(weights), 1)), below), 1)
    rows, ranks = np.arange(len(weights)), np.stack(_middle(below[:, -1]))
    low, high = np.zeros(ranks.shape), np.full(ranks.shape, ascending[-1] - ascending[0])
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        first = np.searchsorted(ascending, centre - middle, side="left")
        last = np.searchsorted(ascending, centre + middle, side="right")
        enough = below[rows, last] - below[rows, first] > ranks
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return centre, _NORMAL * high.mean(0)


def _middle(total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ranks, from 0, of the two middle ones of a number of values."""
    return np.floor((total - 1.0) / 2.0), np.floor(total / 2.0)


def _medians(ascending: np.ndarray, below: np.ndarray) -> np.ndarray:
    """The means of the two middle values, given cumulative weights [R, n]."""
    low, high = (ascending[(below > rank[:, None]).argmax(1)] for rank in _middle(below[:, -1]))
    medians: np.ndarray = 0.5 * (low + high)
    return medians


def confusion(weights: np.ndarray, predicted: np.ndarray, true: np.ndarray, values: int) -> np.ndarray:
    """Confusion matrices [R, values, values], with true values in rows, of codes [n] from 0 to values - 1."""
    n = len(true)
    cells = csr_array((np.ones(n), (true * values + predicted, np.arange(n))), shape=(values * values, n))
    matrices: np.ndarray = (cells @ weights.T).T.reshape(-1, values, values)
    return matrices
