"""What a model learns: which labels, their vocabulary and scale, and which of a spectrum's labels to believe."""

import re
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["CATEGORIES", "LOGARITHMIC", "SCALARS", "Targets", "check_names", "trusted", "type_of"]

CATEGORIES = ("class", "subclass")
SCALARS = ("teff", "logg", "feh")
LOGARITHMIC = ("teff",)  # learnt as ln: from 2600 to 45,000 K, with errors in proportion
NAMES = (*CATEGORIES, "z", *SCALARS)

_EMISSION = ("STARBURST", "STARFORMING", "AGN", "BROADLINE")
# Spellings of stellar types: an optional dwarf or giant letter, the type, a digit and what follows.
_STELLAR = re.compile(r"^(?:s?d|g|esd|usd)?(WD|CV|CARBON|OB|[OBAFGKMLTCS](?![a-z]{2,}))", re.IGNORECASE)
# ZWARNING bits that leave a redshift usable: MANY_OUTLIERS.
_HARMLESS = 1 << 4
# Redshifts are told apart up to this much beyond the highest 1 + z of training.
_HEADROOM = 1.05


def type_of(labels: dict[str, Any]) -> str | None:
    """The subclass as one of a few types, whatever the survey's spelling; None where it names none.

    Stars: O, B, A, F, G, K, M, L, T, WD, CV, C (carbon), S ("A7V" is A, "dM5" and "M6III (148783)" are M,
    "WDhotter" is WD, "OB" is O). Galaxies and quasars: STARBURST, STARFORMING, AGN, BROADLINE, the first that the
    subclass names.
    """
    text = str(labels.get("subclass", "")).strip()
    if labels.get("class") in ("GALAXY", "QSO"):
        return next((name for name in _EMISSION if name in text.upper()), None)
    match = _STELLAR.match(text)
    if match is None or text.lower() == "non":
        return None
    found = match.group(1).upper()
    return {"CARBON": "C", "OB": "O"}.get(found, found)


def trusted(labels: dict[str, Any]) -> dict[str, Any]:
    """The labels worth learning from, subclass as its type.

    A sky fibre has none; the class "Unknown" is none, and without a class there is no z; a z that its pipeline warns
    of (ZWARNING other than MANY_OUTLIERS) is none.
    """
    if str(labels.get("sourcetype", "")).upper() == "SKY":
        return {}
    known = {name: labels[name] for name in NAMES if name in labels and name != "subclass"}
    if str(known.get("class", "Unknown")).upper() not in ("STAR", "GALAXY", "QSO"):
        known.pop("class", None)
        known.pop("z", None)
    if int(labels.get("zwarning", 0)) & ~_HARMLESS:
        known.pop("z", None)
        known.pop("class", None)
    if known.get("teff", 1.0) <= 0.0:
        known.pop("teff")
    kind = type_of(labels)
    if kind is not None:
        known["subclass"] = kind
    return known


def check_names(names: Sequence[str]) -> None:
    """Raise ValueError unless `names` are targets, one at least, none twice."""
    wrong = [name for name in names if name not in NAMES]
    if wrong or not names or len(set(names)) < len(names):
        raise ValueError(f"targets must be of {', '.join(NAMES)}, each once; got {' '.join(names) or 'none'}")


@dataclass(frozen=True)
class Targets:
    """The targets of one model; made from its training spectra alone.

    Attributes
    ----------
    names : tuple of str
        Of class, subclass, z, teff, logg, feh.
    vocabulary : dict
        For class and subclass, the values told apart, in alphabetical order.
    subclasses : dict
        For each class, the subclasses it came with.
    scale : dict
        For teff (as ln), logg, feh: mean and standard deviation. For z: 0 and the highest z told apart.
    """

    names: tuple[str, ...]
    vocabulary: dict[str, list[str]] = field(default_factory=dict)
    subclasses: dict[str, list[str]] = field(default_factory=dict)
    scale: dict[str, tuple[float, float]] = field(default_factory=dict)

    @classmethod
    def fit(cls, names: Sequence[str], labels: Iterable[dict[str, Any]], least: int = 5) -> "Targets":
        """Collect vocabulary and scale; a value seen fewer than `least` times is not learnt.

        Raises
        ------
        ValueError
            When a target is unknown, or no spectrum has it.
        """
        check_names(names)
        counts: dict[str, Counter[str]] = {name: Counter() for name in names if name in CATEGORIES}
        values: dict[str, array] = {name: array("d") for name in names if name not in CATEGORIES}
        pairs: set[tuple[str, str]] = set()
        total = 0
        for row in map(trusted, labels):
            total += 1
            for name in counts.keys() & row.keys():
                counts[name][row[name]] += 1
            for name in values.keys() & row.keys():
                values[name].append(row[name])
            if {"class", "subclass"} <= row.keys():
                pairs.add((row["class"], row["subclass"]))
        vocabulary, scale = {}, {}
        for name in names:
            if name in CATEGORIES:
                vocabulary[name] = sorted(value for value, count in counts[name].items() if count >= least)
                known, enough = counts[name].total(), bool(vocabulary[name])
            else:
                found = np.asarray(values[name])
                known, enough = len(found), len(found) >= least
                found = np.log(found) if name in LOGARITHMIC else found
                if enough and name in SCALARS:
                    scale[name] = (float(found.mean()), float(found.std()) or 1.0)
                elif enough:
                    scale[name] = (0.0, float((1.0 + found.max()) * _HEADROOM - 1.0))
            if not enough:
                raise ValueError(
                    f"target {name!r} has too few labels to learn from: {known} of {total} training spectra have one, "
                    f"and each value is needed at least {least} times"
                )
        subclasses = {
            kind: [value for value in vocabulary.get("subclass", []) if (kind, value) in pairs]
            for kind in vocabulary.get("class", [])
        }
        return cls(tuple(names), vocabulary, subclasses, scale)

    def following(self, other: "Targets") -> "Targets":
        """These, in the scales of `other` where it has them, so that a model of its takes up where it was."""
        scale = {name: other.scale.get(name, own) if name in SCALARS else own for name, own in self.scale.items()}
        if "z" in scale and "z" in other.scale and other.scale["z"][1] >= scale["z"][1]:
            scale["z"] = other.scale["z"]
        return replace(self, scale=scale)

    def encode(self, labels: Iterable[dict[str, Any]]) -> dict[str, Tensor]:
        """Labels as tensors [B]: int64 with -1 for missing categories, float32 with NaN for missing numbers."""
        index = {name: {value: i for i, value in enumerate(values)} for name, values in self.vocabulary.items()}
        found: dict[str, array] = {name: array("q" if name in CATEGORIES else "f") for name in self.names}
        for row in map(trusted, labels):
            for name, values in found.items():
                values.append(index[name].get(row.get(name, ""), -1) if name in CATEGORIES else row.get(name, np.nan))
        types = {"q": np.int64, "f": np.float32}
        return {name: torch.from_numpy(np.array(values, types[values.typecode])) for name, values in found.items()}

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> "Targets":
        """Back from `to_json`."""
        scale = {name: (float(m), float(s)) for name, (m, s) in saved["scale"].items()}
        return cls(tuple(saved["names"]), saved["vocabulary"], saved["subclasses"], scale)
