"""Calibrated uncertainties: corrections of a model's predictions, fitted to spectra held out from its training."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from scipy.optimize import minimize_scalar
from torch import Tensor

from spectromer.documents import SCHEMA, parse_document, parse_json
from spectromer.errors import RunError, require
from spectromer.files import atomic, read_tensors
from spectromer.labels import CATEGORIES, SCALARS
from spectromer.learning.heads import known_mask
from spectromer.learning.metrics import CATASTROPHIC
from spectromer.learning.model import SpectrumModel
from spectromer.learning.redshift import RedshiftDistribution
from spectromer.learning.targets import Targets

__all__ = ["Calibration", "Typicality"]

#: Probabilities of the central intervals whose coverage is measured. Between them, it is interpolated.
SHARES = (0.0, *(i / 20 for i in range(1, 20)), 0.99, 1.0)
_LEAST = 30  # minimum number of spectra for a class to have its own intervals
_FLAGGED_GOOD = 0.05  # fraction of the good redshifts that may be flagged
_UNKNOWN = 0.01  # spectra with a lower p-value than this are called unknown
_NEIGHBOUR, _AXES = 10, 512
_TEMPERATURES = (math.log(0.2), math.log(8.0))
_CHUNK = 256
_LARGE, _HALF = ("whiten", "known"), torch.float16  # the tensors of `Typicality` that can be stored in half precision
_OTHERS = ""  # the group of all spectra, for classes without their own intervals


@dataclass
class Typicality:
    """The typicality of a spectrum, by the distance of its features to the 10th nearest training spectrum.

    Features are scaled to unit variance along their first principal axes (after Sun et al. 2022, who normalise them).

    Attributes
    ----------
    mean : Tensor [D]
        Mean of the features.
    whiten : Tensor [D, K]
        Whitening matrix.
    known : Tensor [N, K]
        Whitened features of the training spectra.
    distances : Tensor [M]
        Distances of the held-out spectra, ascending.
    """

    mean: Tensor
    whiten: Tensor
    known: Tensor
    distances: Tensor

    @classmethod
    def fit(cls, trained: Tensor, held_out: Tensor) -> "Typicality":
        """Fit to the features of training spectra [N, D] and of held-out spectra [M, D]."""
        trained, held_out = trained.double(), held_out.double()
        mean = trained.mean(0)
        _, s, axes = torch.linalg.svd(trained - mean, full_matrices=False)
        sigma = s / math.sqrt(max(1, len(trained) - 1))
        used = (sigma > 1e-3 * sigma[0]) & (torch.arange(len(sigma)) < min(_AXES, len(trained) // 2))
        whiten = axes[used].T / sigma[used]
        found = cls(mean.float(), whiten.float(), ((trained - mean) @ whiten).float(), torch.empty(0))
        found.distances = found.distance(held_out.float()).sort().values
        return found

    def sound(self) -> bool:
        """Tell whether types and shapes are consistent, numbers finite, and distances non-negative and ascending."""
        d, k = self.whiten.shape if self.whiten.ndim == 2 else (-1, -1)
        shapes = self.mean.shape == (d,) and self.known.shape[1:] == (k,) and self.distances.ndim == 1
        filled = shapes and len(self.known) > 0 and len(self.distances) > 0
        numbers = (value.dtype == torch.float32 and bool(torch.isfinite(value).all()) for value in vars(self).values())
        ascending = filled and bool((self.distances.diff(prepend=torch.zeros(1)) >= 0.0).all())
        return ascending and all(numbers)

    def distance(self, features: Tensor) -> Tensor:
        """Distances [B] of features [B, D] to their 10th nearest training spectra."""
        at = (features.float() - self.mean) @ self.whiten
        return (
            torch.cdist(at, self.known)
            .topk(min(_NEIGHBOUR, len(self.known)), 1, largest=False)
            .values[:, -1]
            .contiguous()
        )

    def __call__(self, features: Tensor) -> Tensor:
        """Conformal p-values [B]: the fraction of held-out spectra at least as far from the training spectra."""
        nearer = torch.searchsorted(self.distances, self.distance(features))
        return (len(self.distances) - nearer + 1.0) / (len(self.distances) + 1.0)


@dataclass
class Calibration:
    """Corrections of a model's predictions. By default, there are none.

    Attributes
    ----------
    temperature : dict
        Divisors of the logits of class, subclass and z (Guo et al. 2017).
    sigma : dict
        Factors for the standard deviations of numbers, such that 68 % of the true values are within one deviation.
    central : dict
        For each predicted class, the central probabilities of the predicted distribution of z whose intervals contain
        the fractions `SHARES` of the true values (distributional conformal prediction, Chernozhukov et al. 2021).
    least : float
        Threshold of the probability that a redshift is right, below which it is flagged.
    typicality : Typicality, optional
        The typicality of spectra; by default it is not known.
    """

    temperature: dict[str, float] = field(default_factory=dict)
    sigma: dict[str, float] = field(default_factory=dict)
    central: dict[str, list[float]] = field(default_factory=dict)
    least: float = 0.0
    typicality: Typicality | None = None

    @classmethod
    @torch.no_grad()
    def fit(
        cls, model: SpectrumModel, out: dict[str, Tensor], labels: dict[str, Tensor], trained: Tensor
    ) -> "Calibration":
        """Fit to a model's outputs for held-out spectra, their encoded labels, and the features of training spectra."""
        found = cls(typicality=Typicality.fit(trained, out["features"]))
        for name in model.targets.names:
            known = known_mask(labels[name])
            if known.sum() < _LEAST:
                continue
            given, true, head = out[name][known].float(), labels[name][known], model.head(name)
            score = head.surprise if name in CATEGORIES else head.loss
            if name in SCALARS:
                mean, sigma = head.estimate(given)
                found.sigma[name] = float(_conformal((true - mean).abs() / sigma, torch.tensor([0.6827]))[0])
                continue

            def loss(log_t: float, given: Tensor = given, true: Tensor = true, score: Any = score) -> float:
                pairs = zip(torch.split(given, _CHUNK), torch.split(true, _CHUNK), strict=True)
                return sum(float(score(g / math.exp(log_t), t).sum()) for g, t in pairs) / len(true)

            best = minimize_scalar(loss, bounds=_TEMPERATURES, method="bounded", options={"xatol": 0.01})
            found.temperature[name] = math.exp(best.x)
        if "z" in found.temperature:
            known = known_mask(labels["z"])
            found._fit_redshift(model, {name: value[known] for name, value in out.items()}, labels["z"][known])
        return found

    def _fit_redshift(self, model: SpectrumModel, out: dict[str, Tensor], z: Tensor) -> None:
        classes = self.classes(model, out)
        off, right, good = [], [], []
        for rows in torch.split(torch.arange(len(z)), _CHUNK):
            found = self.redshift(model, out["z"][rows])
            limit = catastrophic_limits([classes[i] for i in rows.tolist()])
            off.append((2.0 * found.cdf(z[rows, None])[:, 0] - 1.0).abs())
            right.append(found.within(limit))
            good.append((found.z - z[rows]).abs() <= limit * (1.0 + z[rows]))
        self.least = float(torch.cat(right)[torch.cat(good)].quantile(_FLAGGED_GOOD)) if torch.cat(good).any() else 0.0
        shares, every = torch.tensor(SHARES, dtype=torch.float64), torch.cat(off)
        for name in {_OTHERS, *classes}:
            own = every[torch.tensor([name in (_OTHERS, one) for one in classes])]
            if len(own) >= _LEAST or name == _OTHERS:
                levels = _conformal(own, shares)
                levels[0], levels[-1] = 0.0, 1.0
                self.central[name] = levels.tolist()

    def classes(self, model: SpectrumModel, out: dict[str, Tensor]) -> list[str]:
        """The predicted class of each spectrum; "" if the model does not predict it."""
        if "class" not in model.targets.names:
            return [_OTHERS] * len(out["pooled"])
        values = model.targets.vocabulary["class"]
        return [values[i] for i in out["class"].argmax(1).tolist()]

    def probabilities(self, name: str, logits: Tensor) -> Tensor:
        """Calibrated probabilities [B, values] float64 of the values of a category."""
        return (logits.double() / self.temperature.get(name, 1.0)).softmax(1)

    def redshift(self, model: SpectrumModel, logits: Tensor) -> RedshiftDistribution:
        """The calibrated redshift distributions of logits [B, bins]."""
        found: RedshiftDistribution = model.head("z").distribution(logits.float() / self.temperature.get("z", 1.0))
        return found

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

    def unknown(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The p-value [B] of each spectrum, and a mask [B] of the spectra that resemble no training spectrum."""
        if self.typicality is None:
            return torch.full((len(features),), torch.nan), torch.zeros(len(features), dtype=torch.bool)
        typical = self.typicality(features)
        return typical, typical < _UNKNOWN

    def save(self, path: Path, half: bool = False) -> None:
        """Write a safetensors file, with the numbers as JSON in its metadata and the typicality as tensors.

        With `half`, the large tensors are in half precision.
        """
        numbers = {"schema": SCHEMA} | {name: getattr(self, name) for name in _NUMBERS}
        tensors = {} if self.typicality is None else dict(vars(self.typicality))
        if half:
            tensors |= {name: tensors[name].half() for name in _LARGE if name in tensors}
        with atomic(path) as part:
            save_file({k: v.contiguous() for k, v in tensors.items()}, part, metadata={"numbers": json.dumps(numbers)})
            part.chmod(0o644)

    @classmethod
    def load(cls, path: Path) -> "Calibration":
        """Load the file that `save` has written.

        Raises
        ------
        RunError
            When the file is damaged, or its numbers are not those of a calibration.
        """
        tensors, metadata = read_tensors(path)
        if "numbers" not in metadata:
            raise RunError(f"{path}: the numbers of a calibration are missing")
        numbers = parse_document(path, parse_json(path, metadata["numbers"]), _Numbers)
        names = {field.name for field in fields(Typicality)}
        if tensors and tensors.keys() != names:
            raise RunError(f"{path}: its tensors must be {', '.join(sorted(names))}, got {', '.join(sorted(tensors))}")
        tensors |= {name: tensors[name].float() for name in _LARGE if name in tensors and tensors[name].dtype == _HALF}
        typicality = Typicality(**tensors) if tensors else None
        if typicality is not None and not typicality.sound():
            raise RunError(f"{path}: its tensors must be finite float32 of shapes that fit, with ascending distances")
        return cls(**vars(numbers), typicality=typicality)

    def check(self, path: Path, targets: Targets, features: int) -> None:
        """Raise RunError unless this calibration, read from `path`, fits a model's targets and number of features."""
        redshift = ["z"] if "z" in targets.names else []
        fitting = {
            "temperature": [*targets.vocabulary, *redshift],
            "sigma": [name for name in SCALARS if name in targets.names],
            "central": [_OTHERS, *targets.vocabulary.get("class", [])] if redshift else [],
        }
        for what, names in fitting.items():
            if unknown := sorted(getattr(self, what).keys() - set(names)):
                raise RunError(f"{path}: {what} has entries that are not the model's: {', '.join(unknown)}")
        if self.typicality is not None and len(self.typicality.mean) != features:
            raise RunError(f"{path}: mean must have the model's {features} features, got {len(self.typicality.mean)}")


@dataclass(frozen=True)
class _Numbers:
    """The numbers of a calibration as they are saved."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - no field

    temperature: dict[str, float]
    sigma: dict[str, float]
    central: dict[str, list[float]]
    least: float

    def __post_init__(self) -> None:
        low, high = (math.exp(bound) for bound in _TEMPERATURES)
        for name, value in self.temperature.items():
            require(low <= value <= high, f"temperature.{name} must lie in [{low:.4g}, {high:.4g}], got {value}")
        for name, value in self.sigma.items():
            require(0.0 < value < math.inf, f"sigma.{name} must be above 0, got {value}")
        require(0.0 <= self.least <= 1.0, f"least must lie in [0, 1], got {self.least}")
        require(not self.central or _OTHERS in self.central, "central must have an entry for all classes together")
        for kind, levels in self.central.items():
            rising = all(0.0 <= low <= high <= 1.0 for low, high in pairwise(levels))
            require(
                len(levels) == len(SHARES) and rising,
                f"central of {kind!r} must be {len(SHARES)} rising shares within [0, 1]",
            )


_NUMBERS = tuple(field.name for field in fields(_Numbers))


def catastrophic_limits(classes: Iterable[str]) -> Tensor:
    """The limits [B] of |dz| / (1 + z) beyond which a redshift is wrong, by class."""
    return torch.tensor([CATASTROPHIC.get(name, CATASTROPHIC["GALAXY"]) for name in classes], dtype=torch.float64)


def _conformal(scores: Tensor, shares: Tensor) -> Tensor:
    """The upper bound of a new score for each probability in `shares` (split conformal prediction)."""
    rank = torch.ceil((len(scores) + 1) * shares.double()).clamp(1, len(scores)).to(torch.int64)
    return scores.double().sort().values[rank - 1]
