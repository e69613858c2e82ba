"""Tables of any length, which are written part by part, so that one part at a time is in memory."""

import io
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from astropy.io import fits
from astropy.table import Table

from spectromer.files import atomic, table_format

__all__ = ["from_arrow", "to_arrow", "write_parts"]


def to_arrow(table: Table) -> pa.RecordBatch:
    """Convert an astropy table to an Arrow record batch. Units and descriptions are metadata of the fields."""
    columns = {name: np.asarray(table[name]) for name in table.colnames}
    arrays = [pa.array(c.tolist(), pa.string()) if c.dtype.kind == "U" else pa.array(c) for c in columns.values()]
    fields = []
    for name, array in zip(columns, arrays, strict=True):
        info = table[name].info
        known = {"unit": str(info.unit or ""), "description": info.description or ""}
        fields.append(pa.field(name, array.type, metadata={key: value for key, value in known.items() if value}))
    return pa.record_batch(arrays, schema=pa.schema(fields))


def from_arrow(batch: pa.RecordBatch) -> Table:
    """Convert an Arrow record batch to an astropy table."""
    columns = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        text = pa.types.is_string(column.type)
        columns[name] = np.array(column.to_pylist(), str) if text else column.to_numpy(zero_copy_only=False)
    table = Table(columns)
    for field in batch.schema:
        known = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
        table[field.name].unit, table[field.name].description = known.get("unit"), known.get("description")
    return table


def write_parts(parts: Callable[[], Iterable[pa.RecordBatch]], path: Path) -> None:
    """Write a table as .csv, .ecsv, .fits or .parquet, depending on the suffix of `path`.

    Parameters
    ----------
    parts : callable
        A function that returns the parts of the table, at least one, all with the same columns. It is called once, and
        for .fits twice.
    path : Path
        The file to write. It is written completely or not at all.

    Raises
    ------
    ArgumentError
        If the suffix is another one, or the file cannot be written.
    """
    kind = table_format(path)
    with atomic(path) as part:
        if kind == "parquet":
            _write_parquet(parts(), part)
        elif kind == "fits":
            _write_fits(parts, part)
        else:
            _write_text(parts(), part, kind)


def _write_parquet(parts: Iterable[pa.RecordBatch], path: Path) -> None:
    batches = iter(parts)
    first = next(batches)
    with path.open("wb") as file, pyarrow.parquet.ParquetWriter(file, first.schema) as writer:
        for batch in chain([first], batches):
            writer.write_batch(batch)


def _write_text(parts: Iterable[pa.RecordBatch], path: Path, kind: str) -> None:
    """Write CSV or ECSV as astropy does; only the first part has the header."""
    with path.open("w", newline="", encoding="utf-8") as file:
        for number, batch in enumerate(parts):
            text = io.StringIO(newline="")
            from_arrow(batch).write(text, format=kind)
            text.seek(0)
            if number:
                while text.readline().startswith("#"):  # ECSV's description; the line after it has the names
                    pass
            file.write(text.read())


def _write_fits(parts: Callable[[], Iterable[pa.RecordBatch]], path: Path) -> None:
    """Write a binary table. Its number of rows and the lengths of its texts come first in the file."""
    rows, widths = 0, dict[str, int]()
    example = Table()
    for batch in parts():
        example = _in_bytes(from_arrow(batch), {})
        rows += len(example)
        for name in example.colnames:
            if example[name].dtype.kind == "S":
                widths[name] = max(widths.get(name, 1), example[name].dtype.itemsize)
    header = fits.table_to_hdu(_in_bytes(from_arrow(batch), widths)).header
    header["NAXIS2"] = rows
    for i, field in enumerate(batch.schema, 1):
        for key, keyword in ((b"unit", "TUNIT"), (b"description", "TCOMM")):
            if value := (field.metadata or {}).get(key):
                header[f"{keyword}{i}"] = value.decode("ascii")
    with path.open("wb") as file:
        file.write(_header(fits.PrimaryHDU().header))
        file.write(_header(header))
        size = 0
        for batch in parts():
            content = _packed(_in_bytes(from_arrow(batch), widths))
            size += len(content)
            file.write(content)
        file.write(b"\0" * (-size % 2880))


def _packed(table: Table) -> bytes:
    """The rows of a table as FITS stores them: big-endian, and T or F for truth values."""
    columns = {name: np.asarray(table[name]) for name in table.colnames}
    columns = {name: np.where(c, b"T", b"F") if c.dtype.kind == "b" else c for name, c in columns.items()}
    rows = np.empty(len(table), [(name, c.dtype.newbyteorder(">")) for name, c in columns.items()])
    for name, column in columns.items():
        rows[name] = column
    packed: bytes = rows.tobytes()
    return packed


def _header(header: fits.Header) -> bytes:
    content: bytes = header.tostring().encode("ascii")
    return content


def _in_bytes(table: Table, widths: dict[str, int]) -> Table:
    """The table with its texts in ASCII, as FITS demands, of the given lengths in bytes."""
    columns: dict[str, Any] = {}
    for name in table.colnames:
        column = np.asarray(table[name])
        if column.dtype.kind == "U":
            column = np.char.encode(column, "ascii", "backslashreplace")
            column = column.astype(f"S{widths.get(name, max(column.dtype.itemsize, 1))}")
        columns[name] = column
    return Table(columns)
