"""Text tables (CSV, ECSV, blank-separated), VOTables and Parquet files with one spectrum of one's own."""

import io
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spectromer.errors import ArgumentError, DependencyError, LayoutError, SpectromerError
from spectromer.spectra import Spectrum
from spectromer.surveys.content import Content, open_content
from spectromer.surveys.own import columns_needed, from_columns, is_spectrum

__all__ = ["SUFFIXES", "holds_spectrum", "read_by_specutils", "read_table"]

SUFFIXES = (".csv", ".ecsv", ".txt", ".dat", ".vot", ".xml", ".parquet")
_LARGEST = 8 << 20  # bytes of text; reading takes many times as much memory
_PIXELS = 1 << 20  # the largest number of rows in a Parquet file, whose size does not limit them
_HEAD = 1 << 16  # bytes in which the names of the columns must appear for a file in a folder to be taken as a spectrum
_ROWS = 5  # rows of a table without names that must be numbers for it to be taken as a spectrum
_COMMENT = ("#", "%", "!", ";", "\\")
_ECSV = "# %ECSV"
_FIELD = re.compile(rb"<FIELD\b[^>]*?\bname\s*=\s*[\"']([^\"']*)[\"']", re.IGNORECASE)


def read_table(content: Content, name: str) -> Spectrum:
    """The spectrum in a text table, a VOTable or a Parquet file.

    Raises
    ------
    LayoutError
        When the file is none of these, or has no valid columns of wavelength and flux.
    """
    if content.kind == "Parquet":
        columns, units, meta = _read_parquet(content.data)
        return from_columns(columns, units, meta, name)
    if content.kind not in ("text", "VOTable"):
        raise LayoutError("neither a FITS or HDF5 file nor a table of text")
    if len(content.data) > _LARGEST:
        raise LayoutError(
            f"a table of text with one spectrum may have {_LARGEST >> 20} MiB, this has {len(content.data) >> 20}"
        )
    table = _read_votable(content.data) if content.kind == "VOTable" else _read_text(_decoded(content.data))
    return from_columns({column: table[column] for column in table.colnames}, {}, table.meta, name)


def holds_spectrum(path: Path) -> bool:
    """Whether a table in a folder is a spectrum.

    It is one if it names a wavelength and a flux, or if it has no names, and two or three columns of numbers of which
    the first increases or decreases. A large file is none, and is not opened.
    """
    try:
        if path.stat().st_size > _LARGEST:
            return False
        content = open_content(path)
        if content.kind == "Parquet":
            return is_spectrum(_parquet_file(content.data).schema_arrow.names)
        head = bytes(content.data[:_HEAD])
        if content.kind == "VOTable":
            return is_spectrum(name.decode("utf-8", "replace") for name in _FIELD.findall(head))
        if content.kind != "text":
            return False
        lines = head.decode("utf-8", "replace").splitlines()[: None if len(content.data) <= _HEAD else -1]
        names, _, rows = _outline(lines)
        if names:
            return is_spectrum(names)
        first = np.array([float(row[0]) for row in rows[:_ROWS]])
        steps = np.diff(first)
        return len(first) == _ROWS and len(rows[0]) in (2, 3) and bool((steps > 0).all() or (steps < 0).all())
    except Exception:  # a file that cannot be read is no spectrum, as far as a folder is concerned
        return False


def _decoded(data: Any) -> str:
    try:
        return bytes(data).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LayoutError("a table of text must be in UTF-8") from error


def _outline(lines: Sequence[str]) -> tuple[list[str], str | None, list[list[str]]]:
    """The names of a text table's columns, if it has any; its delimiter (None for blanks); its first rows, split.

    The names stand in the first line that is no comment, or in the last comment before the numbers.
    """
    comment = ""
    for i, line in enumerate(lines):
        text = line.strip()
        if not text or text.startswith(_COMMENT):
            comment = text.lstrip("".join(_COMMENT)).strip() or comment
            continue
        delimiter = next((mark for mark in (",", "|", "\t", ";") if mark in text), None)
        rows = [_split(row, delimiter) for row in lines[i : i + _ROWS + 1] if row.strip()]
        if not all(_is_number(word) for word in rows[0]):
            return rows[0], delimiter, rows[1:]
        for mark in (delimiter, None):
            names = _split(comment, mark)
            if len(names) == len(rows[0]) and is_spectrum(names):
                return names, delimiter, rows
        return [], delimiter, rows
    return [], None, []


def _split(line: str, delimiter: str | None) -> list[str]:
    return [word.strip().strip("\"'").strip() for word in line.strip().split(delimiter)]


def _is_number(word: str) -> bool:
    """Whether a word is a number, a missing number or a logical value."""
    if word.lower() in ("true", "false", "null", "none", "n/a", "--"):
        return True
    try:
        float(word or "nan")
    except ValueError:
        return False
    return True


def _read_text(text: str) -> Any:
    """A table of text, as a table of astropy."""
    from astropy.table import Table

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if text.startswith(_ECSV):
            return Table.read(text.splitlines(), format="ascii.ecsv")
        lines = text.splitlines()
        names, delimiter, rows = _outline(lines)
        if names and not is_spectrum(names):
            raise LayoutError(columns_needed(names))
        if not rows:
            raise LayoutError("a table of text without any row of numbers")
        data = [line for line in lines if line.strip() and not line.strip().startswith(_COMMENT)]
        if names and _split(data[0], delimiter) == names:
            del data[0]
        elif not names:
            if len(rows[0]) not in (2, 3):
                raise LayoutError(f"a table of text without names needs two or three columns, this has {len(rows[0])}")
            names = ["wavelength", "flux", "error"][: len(rows[0])]
        missing = [(word, "0") for word in ("", "nan", "NaN", "null", "NULL", "None", "N/A", "--")]
        found = Table.read(
            data,
            format="ascii.fast_no_header",
            names=names,
            delimiter=delimiter or " ",
            guess=False,
            fill_values=missing,
        )
    return found


def _read_votable(data: Any) -> Any:
    """The first table of a VOTable."""
    from astropy.table import Table

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Table.read(io.BytesIO(data), format="votable", table_id=0)


def _parquet_file(data: Any) -> Any:
    import pyarrow as pa
    import pyarrow.parquet

    return pyarrow.parquet.ParquetFile(pa.BufferReader(pa.py_buffer(data)))


def _read_parquet(data: Any) -> tuple[dict[str, Any], dict[str, str], dict[str, Any]]:
    """The columns of a Parquet file, and their units, where astropy has stored them."""
    file = _parquet_file(data)
    rows = file.metadata.num_rows
    if rows > _PIXELS:
        raise LayoutError(f"a Parquet file of one spectrum may have {_PIXELS} rows, this has {rows}")
    names = file.schema_arrow.names
    if not is_spectrum(names):
        return dict.fromkeys(names), {}, {}
    wanted = [name for name in names if str(file.schema_arrow.field(name).type) in _NUMBERS]
    table = file.read(columns=wanted)
    columns = {name: np.ma.masked_invalid(table[name].to_numpy()) for name in wanted}
    return columns, _parquet_units(file), {}


_NUMBERS = (
    "bool",
    "float",
    "double",
    "halffloat",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
)


def _parquet_units(file: Any) -> dict[str, str]:
    """The units in the metadata that astropy writes; empty for other Parquet files."""
    from astropy.table import meta

    text = (file.schema_arrow.metadata or {}).get(b"table_meta_yaml")
    if text is None:
        return {}
    header = meta.get_header_from_yaml(text.decode("utf-8").split("\n"))
    return {str(column["name"]): str(column.get("unit", "")) for column in header.get("datatype", ())}


def read_by_specutils(path: Path, form: str) -> list[Spectrum]:
    """The spectra of a file that one of specutils' loaders reads.

    Raises
    ------
    DependencyError
        When specutils is not installed.
    ArgumentError
        When it has no such loader.
    LayoutError
        When the loader cannot read the file.
    """
    try:
        import specutils
    except ImportError as error:
        raise DependencyError("the option format needs specutils: pip install 'spectromer[specutils]'") from error
    from astropy.io.registry import IORegistryError

    kind = getattr(specutils, "Spectrum", None) or specutils.Spectrum1D
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = kind.read(str(path), format=form)
        except IORegistryError as error:
            raise ArgumentError(f"format must be the name of a loader of specutils, got {form!r}") from error
        name = path.name.split(".")[0]
        if found.flux.ndim > 1:
            rows = [found[index] for index in np.ndindex(found.flux.shape[:-1])]
            return [Spectrum.from_specutils(row, id=f"{name}-{i}") for i, row in enumerate(rows)]
        try:
            return [Spectrum.from_specutils(found, id=name)]
        except SpectromerError as error:
            raise LayoutError(str(error)) from error
