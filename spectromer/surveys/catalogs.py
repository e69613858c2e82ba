"""Labels from catalogues as the surveys publish them: SDSS specObj and spAll, LAMOST's, or a table of one's own.

A catalogue is brought into one form, labels by key, sorted, in an Arrow file that any number of processes look into
without reading it whole. A spectrum's keys are `SURVEY:id` and `path:` with its file's absolute path.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from astropy.io import fits

from spectromer.files import atomic
from spectromer.labels import LABELS, clean_labels
from spectromer.surveys.sdss import LABEL_COLUMNS

__all__ = ["OBJECT", "Catalog", "path_key", "prepare_catalog", "read_columns"]

OBJECT = "object_group"  # an own table's name for the object of a spectrum
# Targets selected as galaxies (bits of BOSS_TARGET1: GAL_LOZ, GAL_CMASS, GAL_CMASS_COMM, GAL_CMASS_SPARSE,
# GAL_CMASS_ALL; SOURCETYPE of eBOSS), whose redshifts without quasar templates are the survey's recommended ones.
_GALAXY_TARGETS = sum(1 << bit for bit in (0, 1, 2, 3, 7))
_GALAXY_SOURCES = ("LRG", "GALAXY")
_NOQSO = ("CLASS", "SUBCLASS", "Z", "Z_ERR", "ZWARNING")
_SDSS_COLUMNS = LABEL_COLUMNS | {
    "teff": ("TEFF_ADOP", "TEFF"),
    "logg": ("LOGG_ADOP", "LOGG"),
    "feh": ("FEH_ADOP", "FEH"),
}
_LAMOST_COLUMNS: dict[str, tuple[str, ...]] = {
    **{name: (name.upper(),) for name in LABELS},
    "ra": ("RA", "OBJRA"),
    "dec": ("DEC", "OBJDEC"),
    **{f"snr_{band}": (f"SNR{band.upper()}",) for band in "ugriz"},
    "sourcetype": ("FIBERTYPE", "FIBERTYP"),
}
_OWN_COLUMNS = {name: (name.upper(),) for name in LABELS}


def path_key(path: str | os.PathLike[str]) -> str:
    """The key of a spectrum by its file."""
    return f"path:{os.path.abspath(path)}"


@contextmanager
def read_columns(path: Path) -> Iterator[tuple[dict[str, str], Callable[[str], np.ndarray]]]:
    """Upper-case names of a table's columns to their own, and how to get one."""
    name = path.name.lower().removesuffix(".gz")
    if name.endswith((".fits", ".fit")):
        with fits.open(path) as hdus:
            table = next((hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU)), None)
            if table is None:
                raise ValueError("a FITS catalogue needs a table, this has none")
            yield {c.upper(): c for c in table.columns.names}, lambda column: np.array(table.data[column])
        return
    if name.endswith(".parquet"):
        arrow = pyarrow.parquet.read_table(path)
    elif name.endswith((".csv", ".txt", ".dat")):
        with pa.input_stream(str(path)) as stream:
            first = stream.read(4096).split(b"\n", 1)[0]
        delimiter = next((mark for mark in ("|", "\t", ";") if mark.encode() in first), ",")
        arrow = pyarrow.csv.read_csv(
            path,
            parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter),
            convert_options=pyarrow.csv.ConvertOptions(strings_can_be_null=True),
        )
    else:
        raise ValueError("its ending must be one of .fits, .csv, .txt, .dat, .parquet, or these with .gz")
    yield {c.strip().upper(): c for c in arrow.column_names}, lambda column: arrow[column].to_numpy()


def text(values: np.ndarray) -> np.ndarray:
    """Text without the blanks around it; nothing for what is missing."""
    if values.dtype.kind in "SU":
        return np.char.strip(values.astype(str))
    return np.array(["" if v is None or v != v else str(v).strip() for v in values.tolist()], dtype=str)


def whole_numbers(values: np.ndarray) -> np.ndarray:
    """Whole numbers as text, as some catalogues keep them as text or floats."""
    try:
        whole = values.astype(np.int64)
    except (TypeError, ValueError):  # such as "51602.0"
        whole = values.astype(np.float64).astype(np.int64)
    return np.char.mod("%d", whole)


def _sdss_keys(names: Mapping[str, str], get: Callable[[str], np.ndarray]) -> np.ndarray:
    plate = next(names[name] for name in ("PLATE", "PLATEID", "FIELD") if name in names)
    fibre = next(names[name] for name in ("FIBERID", "CATALOGID") if name in names)
    parts = [np.char.zfill(whole_numbers(get(column)), 4) for column in (plate, names["MJD"], fibre)]
    return np.char.add(
        "SDSS:", np.char.add(np.char.add(parts[0], "-"), np.char.add(np.char.add(parts[1], "-"), parts[2]))
    )


def _galaxy_targets(names: Mapping[str, str], get: Callable[[str], np.ndarray]) -> np.ndarray | None:
    """Which rows have their recommended labels in the *_NOQSO columns; None where there are none."""
    if not {f"{name}_NOQSO" for name in _NOQSO} <= names.keys():
        return None
    fitted = text(get(names["CLASS_NOQSO"])) != ""
    chosen = np.zeros(len(fitted), bool)
    if "BOSS_TARGET1" in names:
        chosen |= (get(names["BOSS_TARGET1"]).astype(np.int64) & _GALAXY_TARGETS) != 0
    if "SOURCETYPE" in names:
        chosen |= np.isin(text(get(names["SOURCETYPE"])), _GALAXY_SOURCES)
    return fitted & chosen


def _columns(
    folder: Path, names: Mapping[str, str], get: Callable[[str], np.ndarray]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The keys of a catalogue's rows, and its labels."""
    wanted: Mapping[str, tuple[str, ...]]
    better = None
    if "PATH" in names:
        keys = np.array([path_key(folder / p) for p in text(get(names["PATH"]))], str)
        wanted = _OWN_COLUMNS
    elif "OBSID" in names:
        keys, wanted = np.char.add("LAMOST:", whole_numbers(get(names["OBSID"]))), _LAMOST_COLUMNS
    elif "MJD" in names and names.keys() & {"PLATE", "PLATEID", "FIELD"} and names.keys() & {"FIBERID", "CATALOGID"}:
        keys, wanted, better = _sdss_keys(names, get), _SDSS_COLUMNS, _galaxy_targets(names, get)
    else:
        raise ValueError(
            "a catalogue needs a column path, or OBSID (LAMOST), or PLATE, MJD and FIBERID (SDSS); this has "
            + ", ".join(list(names.values())[:12])
        )
    labels: dict[str, np.ndarray] = {}
    for label, candidates in wanted.items():
        found = next((name for name in candidates if name in names), None)
        if found is None:
            continue
        values = get(names[found])
        if better is not None and found in _NOQSO:
            values = np.where(better, get(names[f"{found}_NOQSO"]), values)
        if values.ndim == 1:
            labels[label] = values
    if OBJECT.upper() in names:
        labels[OBJECT] = get(names[OBJECT.upper()])
    return keys, labels


def prepare_catalog(path: str | os.PathLike[str], out: Path) -> int:
    """Bring a catalogue into the form that `Catalog` reads; returns its rows.

    Parameters
    ----------
    path : path-like
        SDSS specObj or spAll (FITS or CSV), a LAMOST catalogue (FITS, or CSV with "|" or ","), or a table of one's own
        (CSV or Parquet) with a column `path`, relative to its folder, and columns named as labels; `object_group` names
        the object that a spectrum shows. Where a target was selected as a galaxy, SDSS's *_NOQSO columns count.
    out : Path
        Written whole or not at all.

    Raises
    ------
    ValueError
        When it cannot be read, or has no column to know a spectrum by.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"catalogue {path}: no such file")
    try:
        with read_columns(path) as (names, get):
            keys, labels = _columns(path.parent, names, get)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise ValueError(f"catalogue {path}: {error}") from error
    order = np.unique(keys, return_index=True)[1]  # sorted; of two rows with one key the first
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
        table = pa.table(columns)
        with pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
    return len(order)


def _numbers(values: np.ndarray) -> np.ndarray:
    """Numbers in the machine's byte order, NaN where there is none."""
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
        self._keys = (
            np.frombuffer(chunks[0].buffers()[1], f"S{width}") if len(self._table) else np.empty(0, f"S{width}")
        )

    def paths(self) -> list[str]:
        """The files that it knows spectra by, in alphabetical order."""
        return [key[5:].decode() for key in self._keys.tolist() if key.startswith(b"path:")]

    def labels(self, keys: Sequence[str]) -> list[dict[str, Any]]:
        """What the catalogue says of each key; empty dicts for keys that it does not have."""
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
