"""The interface of a survey, and the registry of the known surveys.

Each survey has one module in this package, whose `SURVEY` describes it. The modules are discovered automatically, so
that a new survey is one new file.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from spectromer.errors import ArgumentError, CatalogError, DownloadError, LayoutError
from spectromer.labels import LABELS, PARAMETERS, clean_labels, is_possible
from spectromer.spectra import Spectrum
from spectromer.surveys.fits import Hdu
from spectromer.surveys.tables import Columns, known_text, numbers, text, whole_number, whole_numbers

__all__ = ["DOWNLOAD_TIMEOUT", "REDSHIFT", "Part", "Survey", "survey_named", "surveys"]

# Columns of the redshift. A column Z beside one of the others is a magnitude.
REDSHIFT = ("REDSHIFT", "Z_SPEC", "ZSPEC", "SPEC_Z", "SPECZ", "Z")
DOWNLOAD_TIMEOUT = 60.0  # seconds to wait for an answer from an archive


@dataclass(frozen=True)
class Part:
    """One part of a spectrum's identity, such as the number of a plate.

    Attributes
    ----------
    spellings : tuple of str
        The columns or header cards that may hold this part; the first one found counts.
    digits : int
        The length to which shorter numbers are padded with leading zeros.
    whole : bool
        Whether this part is a whole number, even if a table stores it as text or as a float.
    """

    spellings: tuple[str, ...]
    digits: int = 0
    whole: bool = True

    def find(self, sources: Sequence[Mapping[str, Any]]) -> str | None:
        """The value from the first header or row that has it, as text; None if none has it."""
        for source in sources:
            for name in self.spellings:
                value = source.get(name)
                if value is not None and (found := known_text(str(value))):
                    return ((whole_number(found, name) if self.whole else "") or found).zfill(self.digits)
        return None

    def column(self, table: Columns) -> np.ndarray | None:
        """The values of all rows of a table, as text [rows], empty if missing; None if no column holds them.

        Raises
        ------
        CatalogError
            When the column holds numbers that floating point has rounded.
        """
        names = [name for name in self.spellings if name in table]
        found = [whole_numbers(table[name], name) if self.whole else text(table[name]) for name in names]
        if not found:
            return None
        values = found[0]
        for more in found[1:]:
            values = np.where(values == "", more, values)
        return np.where(values == "", "", np.char.zfill(values, self.digits))


class Survey:
    """Base class of the surveys.

    A survey overrides the methods for what it supports. The defaults are for a survey without such support; they
    return None or raise an error that says so.
    """

    #: The name that its spectra carry; empty for spectra of no survey.
    name: str = ""
    #: The name of its file layouts in messages, such as "DESI coadd"; empty if none of its files can be read.
    layouts: str = ""
    #: The ways to name a spectrum. Each is a series of parts; the first way whose parts are all found counts.
    identities: tuple[tuple[Part, ...], ...] = ()
    #: The columns or cards that may hold each label, in upper case; the first one found counts. Coordinates that stand
    #: at the same place of their lists belong together: both are taken from the place that has most of them, in tables
    #: for each row. So are the parameters of stars. These defaults are for a user's own table.
    label_columns: Mapping[str, tuple[str, ...]] = {
        "class": ("CLASS", "SPECTYPE"),
        "subclass": ("SUBCLASS", "SUBTYPE"),
        "z": REDSHIFT,
        "z_err": ("Z_ERR", "ZERR", "REDSHIFT_ERR"),
        "zwarning": ("ZWARNING", "ZWARN", "Z_WARNING"),
        "ra": ("RA", "RAJ2000"),
        "dec": ("DEC", "DEJ2000"),
        **{name: (name.upper(),) for name in (*PARAMETERS, "sourcetype", "snr", *(f"snr_{band}" for band in "ugriz"))},
    }
    #: The column that marks a row of the Multimodal Universe as one of this survey; None for a survey of which the
    #: Multimodal Universe has no dataset.
    multimodal_mark: str | None = None
    #: The value of a true or false zwarning in the Multimodal Universe that stands for a warning.
    multimodal_warning: bool = True
    #: The columns of a table of spectra to download, for messages; empty if downloads are not supported.
    download_columns: str = ""

    def read(self, hdus: Sequence[Hdu]) -> Spectrum | None:
        """The spectrum of a file, given its HDUs; None if the file does not have a layout of this survey.

        Raises
        ------
        LayoutError
            When the file has a layout of this survey, but its content is inconsistent.
        """
        return None

    def read_many(self, hdus: fits.HDUList, path: Path) -> Iterable[Spectrum | LayoutError] | None:
        """The spectra of a file of many, and an error for each that is inconsistent; None for another layout.

        Raises
        ------
        LayoutError
            When the file has a layout of this survey, but its content is inconsistent.
        """
        return None

    def identity(self, *sources: Mapping[str, Any]) -> str:
        """The identity in the headers or rows of a file, earlier sources first; empty if they do not give one."""
        for parts in self.identities:
            found = [value for part in parts if (value := part.find(sources)) is not None]
            if len(found) == len(parts):
                return "-".join(found)
        return ""

    def identity_column(self, table: Columns) -> np.ndarray | None:
        """The identities of all rows of a table, as text [rows], empty if missing; None if no column gives them.

        Raises
        ------
        CatalogError
            When a column holds numbers that floating point has rounded.
        """
        for parts in self.identities:
            found = [column for part in parts if (column := part.column(table)) is not None]
            if len(found) == len(parts):
                names, known = found[0], found[0] != ""
                for column in found[1:]:
                    names, known = np.char.add(np.char.add(names, "-"), column), known & (column != "")
                return np.where(known, names, "")
        return None

    def labels(self, row: Mapping[str, Any], wanted: tuple[str, ...] = tuple(LABELS)) -> dict[str, Any]:
        """The labels, or some of them, in a row or header that maps upper-case names of columns or cards to values."""
        single, groups = self._columns_of(wanted)
        found: dict[str, Any] = {}
        for label, names in single:
            for name in names:
                if (value := row.get(name)) is not None:
                    found[label] = value
                    break
        for places in groups:
            best: dict[str, Any] = {}
            for place in places:
                given = {label: value for label, name in place if _is_known(label, value := row.get(name))}
                best = given if len(given) > len(best) else best
                if len(best) == len(place):
                    break
            found |= best
        return found

    @lru_cache(maxsize=64)  # noqa: B019 - there are few surveys, and they are never deleted
    def _columns_of(
        self, wanted: tuple[str, ...]
    ) -> tuple[list[tuple[str, tuple[str, ...]]], list[list[list[tuple[str, str]]]]]:
        """Labels with their names; and for each bundle of labels, the places that may give it: labels with one name."""
        columns = {label: names for label, names in self.label_columns.items() if label in wanted}
        bundles = [[label for label in bundle if label in columns] for bundle in (PARAMETERS, ("ra", "dec"))]
        groups = []
        for bundle in bundles:
            count = max((len(columns[label]) for label in bundle), default=0)
            groups.append([[(n, columns[n][i]) for n in bundle if i < len(columns[n])] for i in range(count)])
        return [item for item in columns.items() if item[0] not in chain(*bundles)], groups

    def catalog_labels(self, table: Columns) -> dict[str, np.ndarray]:
        """The labels of a table, each [rows]. Beside columns g and r, a column z is a magnitude, no redshift.

        Raises
        ------
        CatalogError
            When the classes are numbers.
        """
        labels = self.labels(table.without("Z") if {"G", "R"} <= table.keys() else table)
        _, groups = self._columns_of(tuple(LABELS))
        for places in groups:
            labels |= _first_known(table, places)
        kind = labels["class"].dtype.kind if "class" in labels else "U"
        if kind in "iu" or (kind == "f" and np.isfinite(labels["class"]).any()):
            raise CatalogError("its column of the class must hold texts such as STAR, it holds numbers")
        return labels

    def count_labels(self, table: Columns) -> int:
        """The number of labels of which a table has a column."""
        return sum(any(name in table for name in names) for names in self.label_columns.values())

    def preferred(self, table: Columns) -> np.ndarray | None:
        """Mask [rows] of the rows to prefer where several have one identity; None if a table does not tell."""
        return None

    def file_name(self, identity: str) -> str:
        """The name of the file that holds a spectrum.

        Raises
        ------
        ArgumentError
            When no files of the survey are written.
        """
        raise ArgumentError(f"this package does not write files of {self.name}")

    def write(self, spectrum: Spectrum, path: Path) -> None:
        """Write a spectrum in the survey's layout.

        Raises
        ------
        ArgumentError
            When no files of the survey are written, or the layout cannot hold the spectrum.
        """
        raise ArgumentError(f"this package does not write files of {self.name}")

    def downloads(self, table: Columns, release: str | None, token: str | None) -> dict[str, Callable[[], bytes]]:
        """The functions that fetch the spectra of a table, by the name of each file.

        Raises
        ------
        DownloadError
            When downloads are not supported, or the table lacks a required column.
        """
        raise DownloadError(f"this package does not download spectra of {self.name}")

    def simulated_id(self, number: int) -> str:
        """The identity of a simulated spectrum by its number, counted from 0.

        Raises
        ------
        ArgumentError
            When no spectra of the survey are simulated.
        """
        raise ArgumentError(f"this package does not simulate spectra of {self.name}")


def _is_known(label: str, value: Any) -> bool:
    """Tell whether a value of a row or header is there and possible. The column of a table counts as known."""
    return value is not None and (np.ndim(value) > 0 or label in clean_labels({label: value}))


def _first_known(table: Columns, places: list[list[tuple[str, str]]]) -> dict[str, np.ndarray]:
    """The labels of a bundle, each [rows], in each row from the first place that has most of them.

    The result is empty if the table has all columns of fewer than two places.
    """
    places = [place for place in places if all(name in table for _, name in place)]
    if len(places) < 2:
        return {}
    columns = [{label: numbers(table[name]) for label, name in place} for place in places]
    if any(values.ndim != 1 for place in columns for values in place.values()):
        return {}
    known = [{label: is_possible(label, values) for label, values in place.items()} for place in columns]
    best = np.argmax([np.sum([*place.values()], axis=0) for place in known], axis=0)
    found: dict[str, np.ndarray] = {}
    for label in dict.fromkeys(label for place in columns for label in place):
        found[label] = np.full(len(best), np.nan)
        for i, place in enumerate(columns):
            chosen = (best == i) & known[i][label] if label in place else np.zeros(len(best), bool)
            found[label][chosen] = np.ma.getdata(place[label])[chosen] if label in place else np.nan
    return found


def surveys() -> tuple[Survey, ...]:
    """The known surveys, in the alphabetical order of their modules."""
    package = importlib.import_module("spectromer.surveys")  # not imported above, as it imports this module
    return _surveys(tuple(package.__path__))


@lru_cache(maxsize=8)
def _surveys(path: tuple[str, ...]) -> tuple[Survey, ...]:
    names = sorted({module.name for module in pkgutil.iter_modules(path) if not module.ispkg})
    modules = [importlib.import_module(f"spectromer.surveys.{name}") for name in names]
    return tuple(module.SURVEY for module in modules if hasattr(module, "SURVEY"))


def survey_named(name: str) -> Survey:
    """The survey with the given name.

    Raises
    ------
    ArgumentError
        When no survey has this name.
    """
    for survey in surveys():
        if survey.name == name:
            return survey
    raise ArgumentError(f"a survey must be one of {', '.join(survey.name for survey in surveys())}; got {name!r}")
