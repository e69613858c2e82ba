"""Calibrated intervals and flags of redshifts, by class and survey."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeVar

import torch
from scipy.optimize import brentq
from torch import Tensor

from spectromer.errors import require
from spectromer.learning.evidence import Group
from spectromer.learning.metrics import catastrophic_limits
from spectromer.learning.redshift import RedshiftDistribution

__all__ = ["SHARES", "Intervals", "conformal"]

#: Probabilities of the central intervals whose coverage is measured. Between them, it is interpolated.
SHARES = (0.0, *(i / 20 for i in range(1, 20)), 0.99, 1.0)
_LEAST = 30  # minimum number of spectra for a class, or a class in a survey, to have its own numbers
_ONE_SIGMA = 0.6827
_FLAGGED_GOOD = 0.05  # fraction of the good redshifts that may be flagged
_SURE = 0.999  # probability of a right redshift above which none is flagged
_OTHERS = ""  # the entry of all spectra, for classes without their own
T = TypeVar("T")


@dataclass
class Intervals:
    """Corrections of the intervals of redshift distributions, and the thresholds of their flag.

    Each dictionary has an entry for a class, such as "QSO", and an entry "" for the classes that it does not name.
    `floor` and `central` also have entries for a class in one survey, such as "LAMOST/QSO", if at least 30 held-out
    spectra of the right kind from it have a right redshift. An empty dictionary corrects nothing.

    Attributes
    ----------
    floor : dict
        Standard deviations in ln(1 + z) of an error that is added to the peak of a distribution, such that 68 % of the
        errors of right redshifts are within one deviation.
    central : dict
        The central probabilities of the widened distributions whose intervals contain the fractions `SHARES` of the
        true values (distributional conformal prediction, Chernozhukov et al. 2021).
    least : dict
        Thresholds of the probability that a redshift is right, below which it is flagged.
    """

    floor: dict[str, float] = field(default_factory=dict)
    central: dict[str, list[float]] = field(default_factory=dict)
    least: dict[str, float] = field(default_factory=dict)

    @classmethod
    def fit(cls, groups: Sequence[Group], z: Tensor, kindred: Tensor) -> "Intervals":
        """Fit to the distributions of held-out spectra.

        Parameters
        ----------
        groups : sequence of Group
            The distributions by class and survey. Several groups may have the same class and survey.
        z : Tensor [B]
            The true redshifts, NaN where unknown.
        kindred : Tensor [B] bool
            Which spectra are of the kind that is to be predicted. The others, such as simulated spectra among real
            ones, calibrate the intervals only of classes without spectra of this kind. If a class has fewer than 30,
            they can widen its intervals, but not narrow them.
        """
        found = cls()
        truth = [z[group.rows].double() for group in groups]
        known = [t.isfinite() for t in truth]
        names = sorted({group.name for group in groups} - {_OTHERS})

        def chosen(key: str, parts: Sequence[Tensor]) -> Tensor:
            """The values of the spectra of an entry whose redshift is known."""
            of_key = [key in (_OTHERS, group.name, _in_survey(group)) for group in groups]
            return torch.cat([p[k] for p, k, inside in zip(parts, known, of_key, strict=True) if inside])

        own = [kindred[group.rows] for group in groups]
        limits = [catastrophic_limits([group.name] * len(group.rows)) for group in groups]
        z_found = [group.distribution.z for group in groups]
        good = [(f - t).abs() <= limit * (1.0 + t) for f, t, limit in zip(z_found, truth, limits, strict=True)]
        off = [(torch.log1p(t) - torch.log1p(f)).abs() for f, t in zip(z_found, truth, strict=True)]
        sigma = [group.distribution.sigma for group in groups]
        pairs = sorted({_in_survey(group) for group in groups if group.survey})
        pairs = [pair for pair in pairs if (chosen(pair, own) & chosen(pair, good)).sum() >= _LEAST]
        for key in (_OTHERS, *names, *pairs):
            right, errors, widths = (chosen(key, values) for values in (good, off, sigma))
            used = _used(chosen(key, own)) & right
            floors = [_floor(errors[rows], widths[rows]) for rows in (used, right) if rows.any()]
            if floors:
                found.floor[key] = floors[0] if used.sum() >= _LEAST else max(floors)
        wide = [found.widened(group) for group in groups]
        level = [(2.0 * w.cdf(t[:, None])[:, 0] - 1.0).abs().clamp(max=1.0) for w, t in zip(wide, truth, strict=True)]
        probability = [w.within(limit) for w, limit in zip(wide, limits, strict=True)]
        shares = torch.tensor(SHARES, dtype=torch.float64)
        for key in (_OTHERS, *names, *pairs):
            used = _used(chosen(key, own))
            if key == _OTHERS or used.sum() >= _LEAST:
                levels = conformal(chosen(key, level)[used], shares)
                levels[0], levels[-1] = 0.0, 1.0
                found.central[key] = levels.tolist()
            else:  # the floor is all that so few spectra can tell
                found.central[key] = list(SHARES)
        for name in (_OTHERS, *names):
            fine = chosen(name, probability)[chosen(name, good)]
            if name == _OTHERS or len(fine) >= _LEAST:
                found.least[name] = min(_SURE, float(fine.quantile(_FLAGGED_GOOD))) if len(fine) else 0.0
        return found

    def widened(self, group: Group) -> RedshiftDistribution:
        """The distributions of a group with the floor of its errors."""
        floor = _entry(self.floor, group, 0.0)
        return group.distribution.widened(floor) if floor else group.distribution

    def threshold(self, group: Group) -> float:
        """The threshold of the probability that a redshift of a group is right."""
        return _entry(self.least, group, 0.0)

    def levels(self, shares: Iterable[float], group: Group) -> Tensor:
        """The probabilities [n, K] float64 at which the distributions of a group have the quantiles `shares`."""
        wanted, size = torch.tensor(list(shares), dtype=torch.float64), len(group.rows)
        if not self.central:
            return wanted.expand(size, -1)
        central = _entry(self.central, group, list(SHARES))
        nominal, known = (torch.tensor(values, dtype=torch.float64) for values in (SHARES, central))
        width = (2.0 * wanted - 1.0).abs()
        right = torch.searchsorted(nominal, width).clamp(1, len(nominal) - 1)
        left = right - 1
        part = (width - nominal[left]) / (nominal[right] - nominal[left])
        taken = known[left] + part * (known[right] - known[left])
        return (0.5 + 0.5 * torch.sign(wanted - 0.5) * taken).expand(size, -1)

    def check(self) -> None:
        """Raise ArgumentError unless all numbers are possible."""
        for name, value in self.floor.items():
            require(0.0 <= value < math.inf, f"floor of {name!r} must be at least 0, got {value}")
        for name, value in self.least.items():
            require(0.0 <= value <= 1.0, f"least of {name!r} must lie in [0, 1], got {value}")
        require(not self.central or _OTHERS in self.central, "central must have an entry for all classes together")
        for name, levels in self.central.items():
            rising = all(0.0 <= low <= high <= 1.0 for low, high in pairwise(levels))
            require(
                len(levels) == len(SHARES) and rising,
                f"central of {name!r} must be {len(SHARES)} rising shares within [0, 1]",
            )


def _in_survey(group: Group) -> str:
    """The key of the entries for the class of a group in its survey."""
    return f"{group.survey}/{group.name}"


def _entry(values: dict[str, T], group: Group, default: T) -> T:
    """The entry of a group: that of its class in its survey, of its class, or of all."""
    keys = (_in_survey(group), group.name, _OTHERS)
    return next((values[key] for key in keys if key in values), default)


def _used(own: Tensor) -> Tensor:
    """The mask of the spectra that calibrate: those of the right kind, or all if there are none."""
    return own if own.any() else torch.ones_like(own)


def _floor(off: Tensor, sigma: Tensor) -> float:
    """The least floor with which 68 % of the errors `off` [n] are within one standard deviation.

    The quantile is interpolated between the k-th smallest values, below which a new error lies with probability
    k / (n + 1).
    """
    count = len(off)
    rank = min(max(_ONE_SIGMA * (count + 1) - 1.0, 0.0), count - 1.0)

    def excess(floor: float) -> float:
        pull = (off / torch.hypot(sigma, torch.full_like(sigma, floor)).clamp(min=1e-12)).sort().values
        below = int(rank)
        above = min(below + 1, count - 1)
        return float(pull[below] + (rank - below) * (pull[above] - pull[below])) - 1.0

    return 0.0 if excess(0.0) <= 0.0 else float(brentq(excess, 0.0, 10.0, xtol=1e-9))


def conformal(scores: Tensor, shares: Tensor) -> Tensor:
    """The upper bound of a new score for each probability in `shares` (split conformal prediction)."""
    rank = torch.ceil((len(scores) + 1) * shares.double()).clamp(1, len(scores)).to(torch.int64)
    return scores.double().sort().values[rank - 1]
