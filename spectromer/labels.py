"""Labels of spectra: their names, how surveys mark missing values, and which values are reliable enough to learn."""

import math
import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spectromer.errors import ArgumentError, LayoutError
from spectromer.subclasses import canonical_subclass

__all__ = [
    "BUNDLES",
    "CATEGORIES",
    "CLASSES",
    "LABELS",
    "MANY_OUTLIERS",
    "MISSING_TEXTS",
    "PARAMETERS",
    "SCALARS",
    "TARGETS",
    "BelievedLabels",
    "believe",
    "check_targets",
    "clean_labels",
    "is_possible",
    "is_sky",
    "replace_labels",
]

#: Parameters of stars, with their errors.
PARAMETERS = ("teff", "teff_err", "logg", "logg_err", "feh", "feh_err")
#: Names of all labels, with the types of their values.
LABELS: dict[str, type] = {
    **dict.fromkeys(("class", "subclass", "sourcetype"), str),
    **dict.fromkeys(("z", "z_err"), float),
    "zwarning": int,
    **dict.fromkeys(("ra", "dec", "snr", *(f"snr_{band}" for band in "ugriz")), float),
    **dict.fromkeys(PARAMETERS, float),
}
#: Labels that one fit or one measurement gives together. They are replaced together, and never mixed.
BUNDLES = (
    ("class", "subclass", "z", "z_err", "zwarning"),
    PARAMETERS,
    ("ra", "dec"),
)
CLASSES = ("STAR", "GALAXY", "QSO")

#: Labels that a model can learn: categories, the redshift z and scalars.
CATEGORIES = ("class", "subclass")
SCALARS = ("teff", "logg", "feh")
TARGETS = (*CATEGORIES, "z", *SCALARS)

_MISSING = -999.0  # Surveys mark missing numbers with -999, -9999 and the like.
MISSING_TEXTS = ("", "--", "nan", "none", "null", "n/a", "\\n")
_CLASS_SPELLINGS = {"QUASAR": "QSO"}
# The possible values of numbers. What lies outside stands for a missing value, such as a declination of -99.
_POSSIBLE = {
    "z": (-0.9, 100.0),
    "ra": (-360.0, 360.0),
    "dec": (-90.0, 90.0),
    "teff": (0.0, 1e6),
    "logg": (-5.0, 15.0),
    "feh": (-20.0, 20.0),
}
_LARGEST = 10**300  # larger whole numbers may exceed the range of float
_FLAGS = {"true": 1, "t": 1, "false": 0, "f": 0}
MANY_OUTLIERS = 1 << 4  # the only bit of ZWARNING with which a redshift is still usable


def check_targets(names: Sequence[str]) -> None:
    """Raise ArgumentError unless `names` is a non-empty subset of `TARGETS` without repetitions."""
    if not names or not set(names) <= set(TARGETS) or len(set(names)) < len(names):
        raise ArgumentError(f"targets must be some of {', '.join(TARGETS)}, each once; got {' '.join(names) or 'none'}")


def clean_labels(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Convert labels to plain Python values, and drop missing ones, such as empty strings, NaN, -9999 and masked ones.

    Numbers that are impossible, such as a declination of -99, count as missing. Classes are converted to the spelling
    of `CLASSES`, letter case aside.

    Raises
    ------
    LayoutError
        When a text is a number, a number is not a single one, or a whole number is a fraction or exceeds 64 bits.
    """
    labels: dict[str, Any] = {}
    for name, value in raw.items():
        kind = LABELS.get(name, float)
        cleaned = _text(name, value) if kind is str else _number(name, value, kind)
        if cleaned is not None:
            labels[name] = cleaned
    return labels


def _text(name: str, value: Any) -> str | None:
    """A label that is a text; None if it is missing."""
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    if value is None or value is np.ma.masked or (isinstance(value, float) and np.isnan(value)):
        return None
    if not isinstance(value, str):
        raise LayoutError(f"its {name} must be a text, got {value!r}")
    value = value.strip()
    if value.lower() in MISSING_TEXTS:
        return None
    return class_of(value) if name == "class" else value


def _number(name: str, value: Any, kind: type) -> float | int | None:
    """A label that is a number; None if it is missing."""
    number = value if type(value) is float else _parsed(name, value, kind)
    if number is None or not math.isfinite(number) or number <= _MISSING:
        return None
    if kind is int:
        if number != int(number) or not -(1 << 63) <= number < 1 << 63:
            raise LayoutError(f"its {name} must be a whole number of 64 bits, got {number!r}")
        return int(number)
    if name in _POSSIBLE:
        low, high = _POSSIBLE[name]
        return float(number) if low <= number <= high else None
    return float(number)


def is_possible(name: str, values: np.ndarray) -> np.ndarray:
    """Tell which numbers [N] of a label are there and possible, as a mask; see `clean_labels`."""
    numbers = np.ma.getdata(values)
    low, high = _POSSIBLE.get(name, (np.nextafter(_MISSING, 0.0), np.inf))
    known: np.ndarray = ~np.ma.getmaskarray(values) & np.isfinite(numbers) & (numbers >= low) & (numbers <= high)
    return known


def _parsed(name: str, value: Any, kind: type) -> float | int | None:
    """The number in a value of any type; None if it is missing, or is text that is no number."""
    if value is None or value is np.ma.masked:
        return None
    if hasattr(value, "item"):  # an array, a tensor, or a number of numpy
        if math.prod(value.shape) != 1:
            raise LayoutError(f"its {name} must be one number, got {math.prod(value.shape)} of them")
        value = value.item()
    if isinstance(value, bool):  # a flag, but no measurement
        return int(value) if kind is int else None
    if isinstance(value, str | bytes):
        value = value.decode("ascii", "replace") if isinstance(value, bytes) else value
        try:
            return float(_FLAGS.get(value.strip().lower(), value) if kind is int else value)
        except ValueError:
            return None
    if not isinstance(value, int | float):
        raise LayoutError(f"its {name} must be a number, got {value!r}")
    return value if abs(value) < _LARGEST else math.inf


def class_of(text: str) -> str:
    """A class in the spelling of `CLASSES`; any other text as it is."""
    upper = text.upper()
    upper = _CLASS_SPELLINGS.get(upper, upper)
    return upper if upper in CLASSES else text


def replace_labels(labels: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Replace labels by those of another source, for example of a catalogue.

    Labels of one bundle belong together (see `BUNDLES`): if the other source has any label of a bundle, none of the
    bundle's earlier labels is kept. The zwarning of a fit, for example, says nothing about a redshift by eye.
    """
    replaced = {name for bundle in BUNDLES if not more.keys().isdisjoint(bundle) for name in bundle}
    return {name: value for name, value in labels.items() if name not in replaced} | dict(more)


def is_sky(sourcetype: str) -> bool:
    """Tell whether a type of target is that of a sky fibre, such as "Sky", or "ops_sky_boss" of SDSS-V."""
    return "SKY" in sourcetype.upper().split("_")


def believe(labels: Mapping[str, Any]) -> dict[str, Any]:
    """Select the labels of one spectrum that are reliable enough to learn, with the subclass in its canonical spelling.

    Sky fibres have no labels. The class "Unknown" is dropped, and z is dropped with it. Class and z are also dropped if
    the pipeline warns about the redshift, that is, if ZWARNING has a bit other than MANY_OUTLIERS.
    """
    if is_sky(labels.get("sourcetype", "")):
        return {}
    known = {name: labels[name] for name in TARGETS if name in labels and name != "subclass"}
    if "class" in known:
        known["class"] = class_of(str(known["class"]))
    if known.get("class") not in CLASSES:
        known.pop("class", None)
        known.pop("z", None)
    if int(labels.get("zwarning", 0)) & ~MANY_OUTLIERS:
        known.pop("z", None)
        known.pop("class", None)
    if known.get("teff", 1.0) <= 0.0:
        known.pop("teff")
    subclass = canonical_subclass(str(labels.get("subclass", "")), class_of(str(labels.get("class", ""))))
    if subclass is not None:
        known["subclass"] = subclass
    return known


@dataclass(frozen=True)
class BelievedLabels:
    """Reliable labels of a set of spectra, as one column for each of `TARGETS`.

    Attributes
    ----------
    columns : dict of ndarray [B]
        class and subclass as strings, empty where unknown, and the subclass in its canonical spelling; z, teff, logg
        and feh as float64, NaN where unknown.
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
