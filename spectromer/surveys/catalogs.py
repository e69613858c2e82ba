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

from spectromer.errors import CatalogError
from spectromer.files import atomic
from spectromer.labels import LABELS, clean_labels
from spectromer.spectra import name_of
from spectromer.surveys.survey import surveys
from spectromer.surveys.tables import Columns, open_table, text

__all__ = ["OBJECT", "Catalog", "path_key", "prepare_catalog"]

OBJECT = "object_group"  # the column of a user's own table that names the object of each spectrum
_PATH = "path:"


def path_key(path: str | os.PathLike[str]) -> str:
    """The key of a spectrum that is identified by its file."""
    return f"{_PATH}{os.path.abspath(path)}"


def _keys_and_labels(table: Columns, folder: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The keys [rows] of a catalogue, and each of its labels [rows]."""
    if "PATH" in table:
        keys = np.array([path_key(folder / path) for path in text(table["PATH"])], str)
        labels = {name: table[name.upper()] for name in LABELS if name.upper() in table}
    else:
        for survey in surveys():
            names = survey.identity_column(table)
            if names is not None:
                keys, labels = np.char.add(name_of(survey.name, ""), names), survey.catalog_labels(table)
                break
        else:
            raise CatalogError(f"a catalogue needs {_named_by()}; this has {table}")
    labels = {name: values for name, values in labels.items() if values.ndim == 1}
    if OBJECT.upper() in table:
        labels[OBJECT] = table[OBJECT.upper()]
    return keys, labels


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
        SDSS specObj or spAll (FITS or CSV), a LAMOST catalogue (FITS, or CSV with "|" or ","), a DESI catalogue of
        redshifts, or a user's own table (CSV or Parquet). An own table has a column `path`, relative to the folder of
        the table, and columns named after labels. Its optional column `object_group` names the object that each
        spectrum shows. For SDSS targets selected as galaxies, the labels come from the *_NOQSO columns.
    out : Path
        The file to write. It is written completely or not at all.

    Returns
    -------
    int
        The number of different keys.

    Raises
    ------
    CatalogError
        When the catalogue cannot be read, or none of its columns names spectra.
    """
    path = Path(path)
    with open_table(path) as table:
        keys, labels = _keys_and_labels(table, path.parent)
    order = np.unique(keys, return_index=True)[1]  # sorted; of several rows with the same key, the first is kept
    texts = [name for name in labels if name == OBJECT or LABELS[name] is str]
    width = max(keys.dtype.itemsize // 4, 1)
    sorted_keys = np.char.encode(keys[order], "utf-8").astype(f"S{width}") if len(keys) else np.empty(0, f"S{width}")
    columns = {
        "key": pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(order), [None, pa.py_buffer(sorted_keys)])
    }
    for name, values in labels.items():
        kept = values[order]
        columns[name] = pa.array(text(kept)) if name in texts else pa.array(_numbers(kept), from_pandas=True)
    with atomic(out) as part, pa.OSFile(str(part), "wb") as file:
        prepared = pa.table(columns)
        with pa.ipc.new_file(file, prepared.schema) as writer:
            writer.write_table(prepared)
    return len(order)


def _numbers(values: np.ndarray) -> np.ndarray:
    """Numbers in the machine's byte order; NaN where a value is not a number."""
    if values.dtype.kind in "iu":
        return values.astype(np.int64)
    if values.dtype.kind == "f":
        return values.astype(np.float64)
    return np.array([_number(value) for value in text(values)], dtype=np.float64)


def _number(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return np.nan


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
        keys = (key.decode() for key in self._keys.tolist())
        return [key.removeprefix(_PATH) for key in keys if key.startswith(_PATH)]

    def labels(self, keys: Sequence[str]) -> list[dict[str, Any]]:
        """The labels of each key; an empty dict for a key that the catalogue does not have."""
        found: list[dict[str, Any]] = [{} for _ in keys]
        if not len(self._keys) or not keys:
            return found
        wanted = np.array([key.encode() for key in keys])
        places = np.searchsorted(self._keys, wanted)
        places[places == len(self._keys)] = 0
        rows = np.flatnonzero(self._keys[places] == wanted)
        table = self._table.drop_columns(["key"]).take(pa.array(places[rows]))
        for i, row in zip(rows, table.to_pylist(), strict=True):
            group = row.pop(OBJECT, None)
            found[i] = clean_labels(row) | ({OBJECT: group} if group else {})
        return found
