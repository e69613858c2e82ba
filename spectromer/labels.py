"""Labels of spectra: their names, how surveys mark missing values, and which values are reliable enough to learn."""

import re
import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spectromer.errors import ArgumentError

__all__ = [
    "CATEGORIES",
    "CLASSES",
    "LABELS",
    "SCALARS",
    "SUBCLASSES",
    "TARGETS",
    "BelievedLabels",
    "believe",
    "check_targets",
    "clean_labels",
    "subclass_type",
]

#: Names of all labels, with the types of their values.
LABELS: dict[str, type] = {
    **dict.fromkeys(("class", "subclass", "sourcetype"), str),
    **dict.fromkeys(("z", "z_err"), float),
    "zwarning": int,
    **dict.fromkeys(("ra", "dec", "snr", *(f"snr_{band}" for band in "ugriz")), float),
    **dict.fromkeys(("teff", "teff_err", "logg", "logg_err", "feh", "feh_err"), float),
}
CLASSES = ("STAR", "GALAXY", "QSO")
#: Subclasses that a model distinguishes: emission types of galaxies and quasars, and spectral types of stars.
EMISSION = ("STARBURST", "STARFORMING", "AGN", "BROADLINE")
STELLAR_TYPES = ("WD", "CV", "O", "B", "A", "F", "G", "K", "M", "L", "T", "C", "S")
SUBCLASSES = (*EMISSION, *STELLAR_TYPES)

#: Labels that a model can learn: categories, the redshift z and scalars.
CATEGORIES = ("class", "subclass")
SCALARS = ("teff", "logg", "feh")
TARGETS = (*CATEGORIES, "z", *SCALARS)

_MISSING = -999.0  # Surveys mark missing numbers with -999, -9999 and the like.
_MANY_OUTLIERS = 1 << 4  # the only bit of ZWARNING with which a redshift is still usable
# Prefixes for dwarfs, subdwarfs and giants may precede a spectral type.
_STELLAR = re.compile(r"^(?:s?d|g|esd|usd)?(WD|CV|CARBON|OB|[OBAFGKMLTCS](?![a-z]{2,}))", re.IGNORECASE)
_SPELLINGS = {"CARBON": "C", "OB": "O"}


def check_targets(names: Sequence[str]) -> None:
    """Raise ArgumentError unless `names` is a non-empty subset of `TARGETS` without repetitions."""
    if not names or not set(names) <= set(TARGETS) or len(set(names)) < len(names):
        raise ArgumentError(f"targets must be some of {', '.join(TARGETS)}, each once; got {' '.join(names) or 'none'}")


def clean_labels(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Convert labels to plain Python values, and drop missing ones, such as empty strings, NaN and -9999."""
    labels: dict[str, Any] = {}
    for name, value in raw.items():
        if isinstance(value, bytes):
            value = value.decode("ascii", "replace")
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, str):
            value = value.strip()
            if LABELS.get(name) is str:
                if value:
                    labels[name] = value
                continue
            try:
                value = float(value)
            except ValueError:
                continue
        if value is None or isinstance(value, bool) or not np.isfinite(value) or value <= _MISSING:
            continue
        labels[name] = value
    return labels


def subclass_type(labels: Mapping[str, Any]) -> str | None:
    """Map a survey's spelling of the subclass to one of `SUBCLASSES`; return None if none of them matches.

    The subclass of a star is its spectral type: "A7V" is A, "dM5" and "M6III (148783)" are M, "WDhotter" is WD, "OB" is
    O, and carbon stars are C. The subclass of a galaxy or quasar is the first emission type that the text contains.
    """
    text = str(labels.get("subclass", "")).strip()
    if labels.get("class") in ("GALAXY", "QSO"):
        return next((name for name in EMISSION if name in text.upper()), None)
    match = _STELLAR.match(text)
    if match is None or text.lower() == "non":
        return None
    kind = match.group(1).upper()
    return _SPELLINGS.get(kind, kind)


def believe(labels: Mapping[str, Any]) -> dict[str, Any]:
    """Select the labels of one spectrum that are reliable enough to learn, with the subclass mapped by `subclass_type`.

    Sky fibres have no labels. The class "Unknown" is dropped, and z is dropped with it. Class and z are also dropped if
    the pipeline warns about the redshift, that is, if ZWARNING has a bit other than MANY_OUTLIERS.
    """
    if str(labels.get("sourcetype", "")).upper() == "SKY":
        return {}
    known = {name: labels[name] for name in TARGETS if name in labels and name != "subclass"}
    if str(known.get("class", "Unknown")).upper() not in CLASSES:
        known.pop("class", None)
        known.pop("z", None)
    if int(labels.get("zwarning", 0)) & ~_MANY_OUTLIERS:
        known.pop("z", None)
        known.pop("class", None)
    if known.get("teff", 1.0) <= 0.0:
        known.pop("teff")
    kind = subclass_type(labels)
    if kind is not None:
        known["subclass"] = kind
    return known


@dataclass(frozen=True)
class BelievedLabels:
    """Reliable labels of a set of spectra, as one column for each of `TARGETS`.

    Attributes
    ----------
    columns : dict of ndarray [B]
        class and subclass as strings, empty where unknown; z, teff, logg and feh as float64, NaN where unknown.
    """

    columns: dict[str, np.ndarray]

    @classmethod
    def of(cls, labels: Iterable[Mapping[str, Any]]) -> "BelievedLabels":
        """Apply `believe` to the labels of each spectrum, in order."""
        text: dict[str, list[str]] = {name: [] for name in CATEGORIES}
        numbers = {name: array("d") for name in TARGETS if name not in CATEGORIES}
        for row in map(believe, labels):
            for name, values in text.items():
                values.append(sys.intern(row.get(name, "")))
            for name, column in numbers.items():
                column.append(row.get(name, np.nan))
        columns = {name: np.array(values, dtype=object) for name, values in text.items()}
        return cls(columns | {name: np.array(column) for name, column in numbers.items()})

    def __len__(self) -> int:
        return len(self.columns["z"])

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]

    def known(self, name: str) -> np.ndarray:
        """Mask of the spectra whose label `name` is known, [B] bool."""
        column = self.columns[name]
        return column.astype(bool) if name in CATEGORIES else np.isfinite(column)

    def take(self, rows: np.ndarray) -> "BelievedLabels":
        """Return the labels of the spectra at `rows`, in that order."""
        return BelievedLabels({name: column[rows] for name, column in self.columns.items()})
