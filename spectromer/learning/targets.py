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
from spectromer.subclasses import LETTERS, is_subtype, spectral_type

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
        The possible values of class and subclass, each in alphabetical order. A subclass can be a spectral type as a
        whole, such as "AGN" or "M", if its parts were too rare or not told apart.
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

        A subclass that is rarer counts as its spectral type. But every subtype of a letter is learnt, however rare, if
        `least` spectra have any subtype of this letter, because subtypes learn from their neighbours.

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
                vocabulary[name] = (_subclasses if name == "subclass" else _frequent)(Counter(values), least)
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
        learnt = _merge(labels["subclass"], vocabulary.get("subclass", []))
        pairs = set(zip(labels["class"], learnt, strict=True))
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

    @property
    def spectral_types(self) -> list[str]:
        """The spectral types of the subclasses in the vocabulary, in alphabetical order."""
        return sorted({spectral_type(value) for value in self.vocabulary.get("subclass", [])})

    def merge(self, subclasses: Iterable[str]) -> np.ndarray:
        """Express subclasses by the vocabulary, [B] object.

        A subclass that is not in the vocabulary becomes its spectral type if that is in it, and otherwise "".
        """
        return np.array(_merge(subclasses, self.vocabulary["subclass"]), dtype=object)

    @property
    def members(self) -> np.ndarray:
        """Tell which subclasses of the vocabulary belong to each of `spectral_types`, [types, values] bool."""
        found = np.array([spectral_type(value) for value in self.vocabulary["subclass"]])
        return np.asarray(np.array(self.spectral_types)[:, None] == found)

    def sum_types(self, p: np.ndarray) -> np.ndarray:
        """Sum probabilities [B, values] of the subclasses to those of `spectral_types`, [B, types]."""
        return np.stack([p[:, chosen].sum(1) for chosen in self.members], 1)

    def encode(self, labels: BelievedLabels) -> dict[str, Tensor]:
        """Labels as tensors [B]: categories are int64, -1 if missing; numbers are float32, NaN if missing.

        A subclass of which only the spectral type is known, and this is no value of its own, has the code n + i, where
        n is the length of the vocabulary and i the index in `spectral_types`.
        """
        encoded = {}
        for name in self.names:
            if name in CATEGORIES:
                code = {value: i for i, value in enumerate(self.vocabulary[name])}
                found = labels[name].tolist()
                if name == "subclass":
                    types = {f"{value}*": len(code) + i for i, value in enumerate(self.spectral_types)}
                    found = [value if value in code else _coarse(value, code) for value in found]
                    code |= types
                encoded[name] = torch.tensor([code.get(value, -1) for value in found], dtype=torch.int64)
            else:
                encoded[name] = torch.from_numpy(labels[name].astype(np.float32))
        return encoded


def _frequent(counts: Counter[str], least: int) -> list[str]:
    return sorted(value for value, count in counts.items() if count >= least)


def _subclasses(counts: Counter[str], least: int) -> list[str]:
    """The vocabulary of the subclass, given how often each canonical subclass occurs."""
    of_type, typed = Counter[str](), Counter[str]()
    for value, count in counts.items():
        kind = spectral_type(value)
        typed[kind] += count if is_subtype(value) else 0
        of_type[kind] += count if is_subtype(value) or count < least or value == kind else 0
    learnt = {value for value, count in counts.items() if is_subtype(value) and typed[spectral_type(value)] >= least}
    learnt |= {value for value, count in counts.items() if value != spectral_type(value) and count >= least}
    learnt |= {kind for kind, count in of_type.items() if count >= least and typed[kind] < least}
    return sorted(learnt)


def _merge(subclasses: Iterable[str], vocabulary: Iterable[str]) -> list[str]:
    known = set(vocabulary)
    at = {value: value if value in known else spectral_type(value) for value in set(subclasses)}
    return [at[value] if at[value] in known else "" for value in subclasses]


def _coarse(value: str, code: Iterable[str]) -> str:
    """A subclass outside the vocabulary: its spectral type, marked with "*" if this is no value of its own.

    The kinds of an unordered spectral type exclude each other, so that an unknown kind is none of them.
    """
    kind = spectral_type(value) if value else ""
    return kind if kind in code or not (len(kind) == 1 and kind in LETTERS) else f"{kind}*"


def _check_keys(what: str, found: Iterable[str], possible: Sequence[str]) -> None:
    if unknown := sorted(set(found) - set(possible)):
        raise ArgumentError(f"{what} must be of {', '.join(possible) or 'nothing'}, got {', '.join(unknown)}")
