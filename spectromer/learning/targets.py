"""The targets of a model: the labels that it learns, with their vocabulary and scale."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from spectromer.errors import ArgumentError
from spectromer.labels import CATEGORIES, SCALARS, BelievedLabels, check_targets

__all__ = ["LOGARITHMIC", "Targets"]

LOGARITHMIC = ("teff",)  # learnt as ln, as it ranges from 2600 to 45,000 K with errors in proportion
# The ratio of the highest 1 + z that a model can predict to the highest 1 + z in training.
_HEADROOM = 1.05


@dataclass(frozen=True)
class Targets:
    """The targets of one model, made from its training spectra alone.

    Attributes
    ----------
    names : tuple of str
        Names of the targets, among class, subclass, z, teff, logg and feh.
    vocabulary : dict
        The possible values of class and subclass, each in alphabetical order.
    subclasses : dict
        The subclasses that occur with each class. If it is empty, a class may have any subclass.
    scale : dict
        Mean and standard deviation of teff (as ln), logg and feh; for z, 0 and the highest z that can be predicted.

    Raises
    ------
    ArgumentError
        When a target is unknown or repeated, or when a vocabulary or a scale is invalid or does not belong to a target.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - no field

    names: tuple[str, ...]
    vocabulary: dict[str, list[str]] = field(default_factory=dict)
    subclasses: dict[str, list[str]] = field(default_factory=dict)
    scale: dict[str, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_targets(self.names)
        for name in self.names:
            values = self.vocabulary.get(name, [])
            if name in CATEGORIES and (not values or len(set(values)) < len(values) or "" in values):
                raise ArgumentError(f"the vocabulary of {name} must name each value once, got {values}")
            if values != sorted(values):
                raise ArgumentError(f"the vocabulary of {name} must be in alphabetical order, got {values}")
            mean, width = self.scale.get(name, (0.0, 0.0))
            if name not in CATEGORIES and not (math.isfinite(mean) and 0.0 < width < math.inf):
                raise ArgumentError(f"the scale of {name} must be two numbers, the second above 0, got {mean}, {width}")
            if name == "z" and mean != 0.0:
                raise ArgumentError(f"the scale of z must begin with 0, got {mean}")
        _check_keys("vocabulary", self.vocabulary, [name for name in self.names if name in CATEGORIES])
        _check_keys("scale", self.scale, [name for name in self.names if name not in CATEGORIES])
        classes, values = self.vocabulary.get("class", []), self.vocabulary.get("subclass", [])
        _check_keys("subclasses", self.subclasses, classes)
        if self.subclasses and values and len(self.subclasses) < len(classes):
            raise ArgumentError(f"subclasses must have each class, got {', '.join(self.subclasses)}")
        unknown = {value for found in self.subclasses.values() for value in found} - set(values)
        if unknown:
            raise ArgumentError(f"subclasses must be of the vocabulary of subclass, got {', '.join(sorted(unknown))}")
        if any(found != sorted(set(found)) for found in self.subclasses.values()):
            raise ArgumentError(f"subclasses must be in alphabetical order, each once, got {self.subclasses}")

    @classmethod
    def fit(cls, names: Sequence[str], labels: BelievedLabels, least: int = 5) -> "Targets":
        """Derive vocabulary and scale from labels. Values that occur fewer than `least` times are not learnt.

        Raises
        ------
        ArgumentError
            When a target is unknown, or too few spectra have it.
        """
        check_targets(names)
        vocabulary, scale = {}, {}
        for name in names:
            values = labels[name][labels.known(name)]
            if name in CATEGORIES:
                vocabulary[name] = sorted(value for value, count in Counter(values).items() if count >= least)
                enough = bool(vocabulary[name])
            else:
                enough = len(values) >= least
                values = np.log(values) if name in LOGARITHMIC else values
                if enough and name in SCALARS:
                    scale[name] = (float(values.mean()), float(values.std()) or 1.0)
                elif enough:
                    scale[name] = (0.0, float((1.0 + values.max()) * _HEADROOM - 1.0))
            if not enough:
                raise ArgumentError(
                    f"target {name!r} has too few labels to learn from: {len(values)} of {len(labels)} training "
                    f"spectra have one, and each value is needed at least {least} times"
                )
        pairs = set(zip(labels["class"], labels["subclass"], strict=True))
        subclasses = {
            kind: [value for value in vocabulary.get("subclass", []) if (kind, value) in pairs]
            for kind in vocabulary.get("class", [])
        }
        return cls(tuple(names), vocabulary, subclasses, scale)

    def with_scales_of(self, other: "Targets") -> "Targets":
        """Copy these targets with the scales of `other` where it has them, to continue a model trained on those."""
        scale = {name: other.scale.get(name, own) if name in SCALARS else own for name, own in self.scale.items()}
        if "z" in scale and "z" in other.scale and other.scale["z"][1] >= scale["z"][1]:
            scale["z"] = other.scale["z"]
        return replace(self, scale=scale)

    def encode(self, labels: BelievedLabels) -> dict[str, Tensor]:
        """Labels as tensors [B]: categories are int64, -1 if missing; numbers are float32, NaN if missing."""
        encoded = {}
        for name in self.names:
            if name in CATEGORIES:
                index = {value: i for i, value in enumerate(self.vocabulary[name])}
                encoded[name] = torch.tensor([index.get(value, -1) for value in labels[name]], dtype=torch.int64)
            else:
                encoded[name] = torch.from_numpy(labels[name].astype(np.float32))
        return encoded


def _check_keys(what: str, found: Iterable[str], possible: Sequence[str]) -> None:
    if unknown := sorted(set(found) - set(possible)):
        raise ArgumentError(f"{what} must be of {', '.join(possible) or 'nothing'}, got {', '.join(unknown)}")
