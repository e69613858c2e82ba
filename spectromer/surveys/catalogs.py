"""Labels from the catalogues that surveys publish, or from a user's own table.

A catalogue is converted to an Arrow file of labels sorted by key. Any number of processes can look up keys in this file
without reading it whole. A spectrum has two keys: its name, such as "SDSS-0266-51602-0001", and `path:` followed by the
absolute path of its file.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from spectromer.errors import CatalogError, LayoutError
from spectromer.files import atomic
from spectromer.labels import LABELS, clean_labels
from spectromer.spectra import name_of
from spectromer.surveys.survey import Survey, surveys
from spectromer.surveys.tables import Columns, flags, numbers, open_table, text
from spectromer.words import count

__all__ = ["OBJECT", "Catalog", "path_key", "prepare_catalog"]

OBJECT = "object_group"  # the column of a user's own table that names the object of each spectrum
_PATH = "path:"


def path_key(path: str | os.PathLike[str]) -> str:
    """The key of a spectrum that is identified by its file."""
    return f"{_PATH}{os.path.abspath(path)}"


def _keys_and_labels(table: Columns, folder: Path) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray | None]:
    """The keys [rows] of a catalogue, empty where missing, each of its labels [rows], and the rows to prefer."""
    if "PATH" in table:
        paths = text(table["PATH"])
        keys = np.array([path_key(folder / path) if path else "" for path in paths.tolist()], str)
        survey = max([Survey(), *surveys()], key=lambda survey: survey.count_labels(table))  # the first of equals
    else:
        names = {survey: column for survey in surveys() if (column := survey.identity_column(table)) is not None}
        if len(names) > 1:
            which = _and([survey.name for survey in names])
            raise CatalogError(f"it names spectra of {which}; its labels can be those of one survey only")
        if not names:
            raise CatalogError(f"a catalogue needs {_named_by()}; this has {table}")
        ((survey, column),) = names.items()
        keys = np.where(column == "", "", np.char.add(name_of(survey.name, ""), column))
    labels = {name: values for name, values in survey.catalog_labels(table).items() if values.ndim == 1}
    if OBJECT.upper() in table:
        labels[OBJECT] = table[OBJECT.upper()]
    return keys, labels, survey.preferred(table)


def _named_by() -> str:
    """A phrase that lists the columns by which a catalogue may name spectra."""
    known = [(survey, survey.identities[0]) for survey in surveys() if survey.identities]
    words = [f"{_and([part.spellings[0] for part in parts])} ({survey.name})" for survey, parts in known]
    return ", or ".join(["a column path", *words])


def _and(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def prepare_catalog(path: str | os.PathLike[str], out: Path) -> int:
    """Convert a catalogue to the form that `Catalog` reads.

    Parameters
    ----------
    path : path-like
        SDSS specObj or spAll, a LAMOST catalogue, a DESI catalogue of redshifts, or a user's own table; as FITS, CSV
        (with ",", "|", ";" or a tab), ECSV, VOTable or Parquet. An own table has a column `path`, relative to the
        folder of the table, and columns named after labels. Its optional column `object_group` names the object that
        each spectrum shows. The names of columns are known in all spellings of the surveys, letter case aside; see
        `Survey.label_columns`. For SDSS targets selected as galaxies, the labels come from the *_NOQSO columns. Missing
        values (empty, masked, TNULL, NaN, -9999) are no labels, and a row without an identity is left out.
    out : Path
        The file to write. It is written completely or not at all.

    Returns
    -------
    int
        The number of different keys.

    Raises
    ------
    CatalogError
        When the catalogue cannot be read, none of its columns names spectra, or its identifiers are rounded.
    """
    path = Path(path)
    exact = {name for survey in surveys() for parts in survey.identities for part in parts for name in part.spellings}
    with open_table(path, exact) as table:
        keys, labels, preferred = _keys_and_labels(table, path.parent)
    rows = np.flatnonzero(keys != "")
    if len(keys) and not len(rows):
        number = count(len(keys), "row")
        raise CatalogError(
            f"{path}: none of its rows names a spectrum, as each lacks a part of its identity ({number})"
        )
    if preferred is not None:
        rows = np.concatenate([rows[preferred[rows]], rows[~preferred[rows]]])
    found, first = np.unique(keys[rows], return_index=True)  # sorted; of rows with the same key, the first is kept
    order = rows[first]
    encoded = np.array([os.fsencode(key) for key in found.tolist()] or [b"-"])[: len(order)]
    width = encoded.dtype.itemsize
    columns = {"key": pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(order), [None, pa.py_buffer(encoded)])}
    for name, values in labels.items():
        kept, kind = values[order], LABELS.get(name, str)
        columns[name] = pa.array(text(kept)) if kind is str else _numbers(flags(kept) if kind is int else numbers(kept))
    with atomic(out) as part, pa.OSFile(str(part), "wb") as file:
        prepared = pa.table(columns)
        with pa.ipc.new_file(file, prepared.schema) as writer:
            writer.write_table(prepared)
    return len(order)


def _numbers(values: np.ndarray) -> pa.Array:
    """Numbers in the machine's byte order; missing where a value is masked or NaN."""
    mask, values = np.ma.getmaskarray(values), np.ma.getdata(values)
    return pa.array(values.astype(values.dtype.newbyteorder("=")), mask=mask, from_pandas=True)


class Catalog:
    """A prepared catalogue, mapped into memory."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        with pa.memory_map(str(path)) as file:
            self._table = pa.ipc.open_file(file).read_all()
        width = self._table.schema.field("key").type.byte_width
        chunks = self._table["key"].chunks  # one, or none where there are no rows
        self._keys: np.ndarray = (
            np.frombuffer(chunks[0].buffers()[1], f"S{width}") if len(self._table) else np.empty(0, f"S{width}")
        )

    def paths(self) -> list[str]:
        """The files by which the catalogue identifies spectra, in alphabetical order."""
        keys = (os.fsdecode(key) for key in self._keys.tolist())
        return [key.removeprefix(_PATH) for key in keys if key.startswith(_PATH)]

    def __len__(self) -> int:
        return len(self._keys)

    def first(self) -> str:
        """The first key; empty if there is none."""
        return os.fsdecode(self._keys[0]) if len(self._keys) else ""

    def find(self, keys: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The indices of those keys that the catalogue has, and the rows of the catalogue that have them."""
        if not len(self._keys) or not keys:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        wanted = np.array([os.fsencode(key) for key in keys])
        places = np.searchsorted(self._keys, wanted)
        places[places == len(self._keys)] = 0
        rows = np.flatnonzero(self._keys[places] == wanted)
        return rows, places[rows]

    def labels(self, keys: Sequence[str]) -> list[dict[str, Any]]:
        """The labels of each key; an empty dict for a key that the catalogue does not have."""
        found: list[dict[str, Any]] = [{} for _ in keys]
        rows, places = self.find(keys)
        if not len(rows):
            return found
        table = self._table.drop_columns(["key"]).take(pa.array(places))
        for i, row in zip(rows, table.to_pylist() if table.num_columns else [{}] * len(rows), strict=True):
            group = row.pop(OBJECT, None)
            found[i] = _clean(row) | ({OBJECT: group} if group else {})
        return found


def _clean(row: dict[str, Any]) -> dict[str, Any]:
    """The labels of a row. A zwarning that is no whole number counts as a warning."""
    try:
        return clean_labels(row)
    except LayoutError:
        return clean_labels(row | {"zwarning": 1})
