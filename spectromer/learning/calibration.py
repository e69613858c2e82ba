"""Calibrated uncertainties: corrections of a model's predictions, fitted to spectra held out from its training."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from spectromer.documents import SCHEMA, parse_document, parse_json
from spectromer.errors import RunError, require
from spectromer.files import read_tensors, write_tensors
from spectromer.labels import CATEGORIES, SCALARS
from spectromer.learning.evidence import Group, Scans, grouped, posterior
from spectromer.learning.heads import CategoryHead, known_mask
from spectromer.learning.intervals import Intervals, conformal
from spectromer.learning.model import SpectrumModel
from spectromer.learning.redshift import RedshiftDistribution
from spectromer.learning.targets import Targets
from spectromer.templates import TemplateSet

__all__ = ["Calibration", "Typicality"]

_LEAST = 30  # minimum number of spectra with a label for its temperature or factor
_UNKNOWN = 0.01  # spectra with a lower p-value than this are called unknown
_NEIGHBOUR, _AXES = 10, 512
_TEMPERATURES = (math.log(0.2), math.log(8.0))
_CHUNK = 256
_LARGE, _HALF = ("whiten", "known"), torch.float16  # the tensors of `Typicality` that can be stored in half precision


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


def _smoothed(head: CategoryHead, doubt: float, logits: Tensor, value: Tensor) -> Tensor:
    """Cross-entropy [B] with targets that are `value` with the probability 1 - doubt, and otherwise any value."""
    return (1.0 - doubt) * head.surprise(logits, value) - doubt * logits.log_softmax(1).mean(1)


@dataclass
class Calibration:
    """Corrections of a model's predictions. By default, there are none.

    Attributes
    ----------
    temperature : dict
        Divisors of the logits of class, subclass and z (Guo et al. 2017). That of the class is fitted to smoothed
        targets, because n held-out spectra without an error do not show that there are none (see `fit`).
    sigma : dict
        Factors for the standard deviations of numbers, such that 68 % of the true values are within one deviation.
    alone : Intervals
        Intervals and flags of the model's own redshifts.
    scanned : Intervals, optional
        Those of redshifts that are combined with a scan of templates; by default they are not known.
    typicality : Typicality, optional
        The typicality of spectra; by default it is not known.
    """

    temperature: dict[str, float] = field(default_factory=dict)
    sigma: dict[str, float] = field(default_factory=dict)
    alone: Intervals = field(default_factory=Intervals)
    scanned: Intervals | None = None
    typicality: Typicality | None = None

    @classmethod
    @torch.no_grad()
    def fit(
        cls,
        model: SpectrumModel,
        out: dict[str, Tensor],
        labels: dict[str, Tensor],
        trained: Tensor,
        surveys: Sequence[str],
        kindred: Tensor | None = None,
    ) -> "Calibration":
        """Fit to a model's outputs for held-out spectra.

        The target of the class is its label with the probability (n + 1) / (n + 2), where n is the number of held-out
        spectra, and otherwise any class (Platt 1999). Without this, the temperature of a class that is right in all
        held-out spectra would approach zero. Subclasses are wrong often enough.

        Parameters
        ----------
        model : SpectrumModel
        out : dict of Tensor
            The outputs, as `Predictor.collect` gives them.
        labels : dict of Tensor
            The encoded labels.
        trained : Tensor [N, D]
            The features of training spectra.
        surveys : sequence of str, [B]
            The survey of each spectrum.
        kindred : Tensor [B] bool, optional
            As in `Intervals.fit`; by default all spectra.
        """
        found = cls(typicality=Typicality.fit(trained, out["features"]))
        own = torch.ones(len(out["features"]), dtype=torch.bool) if kindred is None else kindred
        for name in model.targets.names:
            known = known_mask(labels[name])
            if known.sum() < _LEAST:
                continue
            known = known & own if (known & own).sum() >= _LEAST else known
            given, true, head = out[name][known].float(), labels[name][known], model.head(name)
            if name in SCALARS:
                mean, sigma = head.estimate(given)
                found.sigma[name] = float(conformal((true - mean).abs() / sigma, torch.tensor([0.6827]))[0])
                continue

            score = head.surprise if name in CATEGORIES else head.loss
            if name == "class":
                score = partial(_smoothed, head, 1.0 / (len(true) + 2))

            def loss(log_t: float, given: Tensor = given, true: Tensor = true, score: Any = score) -> float:
                pairs = zip(torch.split(given, _CHUNK), torch.split(true, _CHUNK), strict=True)
                return sum(float(score(g / math.exp(log_t), t).sum()) for g, t in pairs) / len(true)

            best = minimize_scalar(loss, bounds=_TEMPERATURES, method="bounded", options={"xatol": 0.01})
            found.temperature[name] = math.exp(best.x)
        if "z" in found.temperature:
            found.alone = Intervals.fit(found.groups(model, out, surveys), labels["z"], own)
        return found

    def classes(self, model: SpectrumModel, out: dict[str, Tensor]) -> list[str]:
        """The predicted class of each spectrum; "" if the model does not predict it."""
        if "class" not in model.targets.names:
            return [""] * len(out["pooled"])
        values = model.targets.vocabulary["class"]
        return [values[i] for i in out["class"].argmax(1).tolist()]

    def probabilities(self, name: str, logits: Tensor) -> Tensor:
        """Calibrated probabilities [B, values] float64 of the values of a category."""
        return (logits.double() / self.temperature.get(name, 1.0)).softmax(1)

    def redshift(self, model: SpectrumModel, logits: Tensor) -> RedshiftDistribution:
        """The calibrated redshift distributions of logits [B, bins]."""
        found: RedshiftDistribution = model.head("z").distribution(logits.float() / self.temperature.get("z", 1.0))
        return found

    def groups(self, model: SpectrumModel, out: dict[str, Tensor], surveys: Sequence[str]) -> list[Group]:
        """The model's own distributions of a batch, by predicted class and survey."""
        found = grouped(list(zip(self.classes(model, out), surveys, strict=True)))
        return [Group(name, survey, rows, self.redshift(model, out["z"][rows])) for (name, survey), rows in found]

    def combined(
        self,
        model: SpectrumModel,
        out: dict[str, Tensor],
        groups: Sequence[Group],
        scans: Scans,
        templates: Sequence[TemplateSet],
    ) -> list[Group]:
        """The `groups` of a batch with distributions that combine the model's outputs with its scans."""
        sets = {one.name: one for one in templates}
        both = []
        for group in groups:
            if group.name in scans.curves:
                tempered = out["z"][group.rows].float() / self.temperature.get("z", 1.0)
                of_class, *curves = scans.curves[group.name]
                own = torch.isin(of_class, group.rows)
                found = posterior(model.head("z"), tempered, sets[group.name], *(curve[own] for curve in curves))
                group = group._replace(distribution=found)
            both.append(group)
        return both

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
        scanned = None if self.scanned is None else vars(self.scanned)
        numbers = {"schema": SCHEMA, "temperature": self.temperature, "sigma": self.sigma}
        numbers |= vars(self.alone) | {"scanned": scanned}
        tensors = {} if self.typicality is None else dict(vars(self.typicality))
        if half:
            tensors |= {name: tensors[name].half() for name in _LARGE if name in tensors}
        write_tensors(path, tensors, {"numbers": json.dumps(numbers)})

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
        return cls(numbers.temperature, numbers.sigma, numbers.alone, numbers.scanned, typicality)

    def check(self, path: Path, targets: Targets, features: int) -> None:
        """Raise RunError unless this calibration, read from `path`, fits a model's targets and number of features."""
        redshift = ["z"] if "z" in targets.names else []
        fitting = {
            "temperature": [*targets.vocabulary, *redshift],
            "sigma": [name for name in SCALARS if name in targets.names],
        }
        given = {name: getattr(self, name) for name in fitting}
        for intervals in (self.alone, self.scanned or Intervals()):
            for name, values in vars(intervals).items():
                fitting[name] = ["", *targets.vocabulary.get("class", [])] if redshift else []
                classes = {key if name == "least" else key.rsplit("/", 1)[-1]: value for key, value in values.items()}
                given[name] = given.get(name, {}) | classes
        for what, names in fitting.items():
            if unknown := sorted(given[what].keys() - set(names)):
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
    least: dict[str, float] | float
    floor: dict[str, float] = field(default_factory=dict)
    scanned: Intervals | None = None

    def __post_init__(self) -> None:
        low, high = (math.exp(bound) for bound in _TEMPERATURES)
        for name, value in self.temperature.items():
            require(low <= value <= high, f"temperature.{name} must lie in [{low:.4g}, {high:.4g}], got {value}")
        for name, value in self.sigma.items():
            require(0.0 < value < math.inf, f"sigma.{name} must be above 0, got {value}")
        for intervals in (self.alone, self.scanned or Intervals()):
            intervals.check()

    @property
    def alone(self) -> Intervals:
        """The intervals of the model's own redshifts. Files of earlier versions have one threshold for all classes."""
        least = self.least if isinstance(self.least, dict) else {"": self.least}
        return Intervals(self.floor, self.central, least)
