"""Calibrated intervals and flags of redshifts, by class."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

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
_LEAST = 30  # minimum number of spectra for a class to have its own shares, and its own threshold of the flag
_ONE_SIGMA = 0.6827
_FLAGGED_GOOD = 0.05  # fraction of the good redshifts that may be flagged
_SURE = 0.999  # probability of a right redshift above which none is flagged
_OTHERS = ""  # the group of all spectra, for classes without their own numbers


@dataclass
class Intervals:
    """Corrections of the intervals of redshift distributions, and the thresholds of their flag, by predicted class.

    Each dictionary has an entry "" for the classes that it does not name. If it is empty, nothing is corrected.

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
            The distributions by class. A class may have several groups.
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

        def chosen(name: str, parts: Sequence[Tensor]) -> Tensor:
            """The values of the spectra of a class whose redshift is known."""
            own = [p[k] for p, k, g in zip(parts, known, groups, strict=True) if name in (_OTHERS, g.name)]
            return torch.cat(own)

        own = [kindred[group.rows] for group in groups]
        limits = [catastrophic_limits([group.name] * len(group.rows)) for group in groups]
        z_found = [group.distribution.z for group in groups]
        good = [(f - t).abs() <= limit * (1.0 + t) for f, t, limit in zip(z_found, truth, limits, strict=True)]
        off = [(torch.log1p(t) - torch.log1p(f)).abs() for f, t in zip(z_found, truth, strict=True)]
        sigma = [group.distribution.sigma for group in groups]
        for name in (_OTHERS, *names):
            right, errors, widths = (chosen(name, values) for values in (good, off, sigma))
            used = _used(chosen(name, own)) & right
            floors = [_floor(errors[rows], widths[rows]) for rows in (used, right) if rows.any()]
            if floors:
                found.floor[name] = floors[0] if used.sum() >= _LEAST else max(floors)
        wide = [found.widened(group.name, group.distribution) for group in groups]
        level = [(2.0 * w.cdf(t[:, None])[:, 0] - 1.0).abs().clamp(max=1.0) for w, t in zip(wide, truth, strict=True)]
        probability = [w.within(limit) for w, limit in zip(wide, limits, strict=True)]
        shares = torch.tensor(SHARES, dtype=torch.float64)
        for name in (_OTHERS, *names):
            used = _used(chosen(name, own))
            if name == _OTHERS or used.sum() >= _LEAST:
                levels = conformal(chosen(name, level)[used], shares)
                levels[0], levels[-1] = 0.0, 1.0
                found.central[name] = levels.tolist()
            else:  # the floor is all that so few spectra can tell
                found.central[name] = list(SHARES)
            fine = chosen(name, probability)[chosen(name, good)]
            if name == _OTHERS or len(fine) >= _LEAST:
                found.least[name] = min(_SURE, float(fine.quantile(_FLAGGED_GOOD))) if len(fine) else 0.0
        return found

    def widened(self, name: str, distribution: RedshiftDistribution) -> RedshiftDistribution:
        """The distributions of a class with the floor of its errors."""
        floor = self.floor.get(name, self.floor.get(_OTHERS, 0.0))
        return distribution.widened(floor) if floor else distribution

    def threshold(self, classes: Iterable[str]) -> Tensor:
        """The thresholds [B] of the probability that a redshift is right."""
        others = self.least.get(_OTHERS, 0.0)
        return torch.tensor([self.least.get(name, others) for name in classes], dtype=torch.float64)

    def levels(self, shares: Iterable[float], classes: Iterable[str]) -> Tensor:
        """The probabilities [B, K] float64 at which each distribution has the calibrated quantiles `shares` [K]."""
        wanted = torch.tensor(list(shares), dtype=torch.float64)
        rows = {} if self.central else {_OTHERS: wanted}
        nominal = torch.tensor(SHARES, dtype=torch.float64)
        for name, central in self.central.items():
            width = (2.0 * wanted - 1.0).abs()
            right = torch.searchsorted(nominal, width).clamp(1, len(nominal) - 1)
            left, known = right - 1, torch.tensor(central, dtype=torch.float64)
            part = (width - nominal[left]) / (nominal[right] - nominal[left])
            taken = known[left] + part * (known[right] - known[left])
            rows[name] = 0.5 + 0.5 * torch.sign(wanted - 0.5) * taken
        return torch.stack([rows.get(name, rows[_OTHERS]) for name in classes])

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
