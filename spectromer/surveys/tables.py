"""Tables in FITS, CSV, ECSV, VOTable and Parquet files, accessed by the upper-case names of their columns."""

import re
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from astropy.io import fits

from spectromer.errors import CatalogError, SpectromerError
from spectromer.labels import MISSING_TEXTS
from spectromer.surveys.content import Content
from spectromer.surveys.fits import AstropyHdu, masked_column

__all__ = ["Columns", "flags", "known_text", "numbers", "open_table", "text", "whole_number", "whole_numbers"]

_NAMED = 12  # columns that an error message lists
_FIRST_LINES = 1 << 16  # bytes at the beginning of a text file that contain the line with the names of the columns
_NAMING = frozenset({"PATH"})  # columns that name spectra, in addition to those of the surveys
_MASK = ".mask"
_ECSV = b"# %ECSV"
_DECIMAL_COMMA = re.compile(rb"(?:^|;)\s*[+-]?\d+,\d+\s*(?:;|\r?$)")
_LARGEST = 10**20  # above all identifiers
_EXACT = 2**53  # the whole number from which on float64 rounds
_ROUNDED = (
    "its column {} has identifiers as floating-point numbers, which are rounded; they must be whole numbers or text"
)
_MISSING_NUMBERS = ("-9", "-99", "-999", "-9999", "-9999.0", "-999.0")


class Columns(Mapping[str, np.ndarray]):
    """The columns of a table. Each is read on access.

    Parameters
    ----------
    names : mapping
        The original column names by the upper-case ones.
    get : callable
        A function that returns the column [rows] with a given original name.
    twice : collection of str
        Upper-case names that several columns have. Access to them is an error.
    """

    def __init__(self, names: Mapping[str, str], get: Callable[[str], np.ndarray], twice: Collection[str] = ()) -> None:
        self._names, self._get, self._twice = names, get, twice

    @classmethod
    def of(cls, originals: Iterable[str], get: Callable[[str], np.ndarray]) -> "Columns":
        """The columns with the given original names."""
        counts: Counter[str] = Counter()
        names: dict[str, str] = {}
        for original in originals:
            upper = original.strip("\ufeff# \t").upper()
            counts[upper] += 1
            names.setdefault(upper, original)
        return cls(names, get, {name for name, count in counts.items() if count > 1})

    def __getitem__(self, name: str) -> np.ndarray:
        if name in self._twice:
            raise CatalogError(f"several of its columns are named {name} but for letter case; rename all but one")
        return self._get(self._names[name])

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def without(self, name: str) -> "Columns":
        """The columns other than the one with an upper-case name."""
        names = {upper: original for upper, original in self._names.items() if upper != name}
        return Columns(names, self._get, self._twice)

    def __str__(self) -> str:
        return ", ".join(list(self._names.values())[:_NAMED])


@contextmanager
def open_table(path: Path, exact: Collection[str] = ()) -> Iterator[Columns]:
    """Open a table in a FITS, CSV, ECSV, VOTable or Parquet file, and close it when the block ends.

    The format is known by the content of the file, which may be compressed by gzip if its name ends in .gz.

    Parameters
    ----------
    path : Path
    exact : collection of str
        The upper-case names of columns of a CSV file that are not read as floating-point numbers.

    Raises
    ------
    CatalogError
        When the file is missing or cannot be read, or when a column cannot be read in the block; the message names the
        file.
    """
    if not path.is_file():
        raise CatalogError(f"{path}: no such file")
    try:
        with pa.input_stream(str(path)) as stream:
            head = stream.read(_FIRST_LINES)
        kind = Content(head, len(head)).kind
        if kind == "FITS":
            with fits.open(path) as hdus:
                yield _fits_columns(hdus, exact)
        elif kind == "VOTable" or (kind == "text" and head.lstrip().startswith(_ECSV)):
            yield _astropy_columns(path, kind, exact)
        elif kind in ("Parquet", "text"):
            yield _arrow_columns(pyarrow.parquet.read_table(path) if kind == "Parquet" else _read_text(path, exact))
        else:
            raise CatalogError("it is not a table in a FITS, CSV, ECSV, VOTable or Parquet file")
    except CatalogError as error:
        raise CatalogError(f"{path}: {error}") from error
    except SpectromerError:  # the error does not concern the table
        raise
    except (OSError, TypeError, LookupError, ValueError, pa.ArrowException) as error:
        raise CatalogError(f"{path}: {error}") from error


def _fits_columns(hdus: fits.HDUList, exact: Collection[str]) -> Columns:
    """The columns of the first binary table that names spectra or, failing that, of the first one."""
    tables = [hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU)]
    if not tables:
        raise CatalogError("a FITS catalogue needs a table, this has none")
    naming = (table for table in tables if not _NAMING.union(exact).isdisjoint(map(str.upper, table.columns.names)))
    table = next(naming, tables[0])
    return Columns.of(table.columns.names, partial(_fits_column, table))


def _fits_column(table: fits.BinTableHDU, name: str) -> np.ndarray:
    """A column. It is a masked array if TNULL marks missing values."""
    values = masked_column(AstropyHdu(table), name.upper())
    values = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    return values.copy() if values.mask.any() else np.array(values.data)


def _astropy_columns(path: Path, kind: str, exact: Collection[str]) -> Columns:
    """The columns of an ECSV file; or of the first table of a VOTable that names spectra, otherwise of its first."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of harmless oddities
        try:
            tables = _astropy_tables(path, kind)
        except Exception as error:  # a damaged file may make astropy raise anything
            reason = " ".join(str(error).split())
            raise CatalogError(
                f"not a readable {'VOTable' if kind == 'VOTable' else 'ECSV file'} ({reason})"
            ) from error
    if not tables:
        raise CatalogError("a VOTable without any table")
    known = _NAMING.union(exact)
    table = next((table for table in tables if not known.isdisjoint(map(str.upper, table.colnames))), tables[0])

    def column(name: str) -> np.ndarray:
        values = table[name]
        mask = np.ma.getmaskarray(values)
        plain = np.asarray(getattr(values, "data", values) if mask.any() else values)
        return np.ma.masked_array(plain, mask) if mask.any() else plain

    return Columns.of(table.colnames, column)


def _astropy_tables(path: Path, kind: str) -> list[Any]:
    if kind == "VOTable":
        from astropy.io.votable import parse

        return [table.to_table(use_names_over_ids=True) for table in parse(path).iter_tables()]
    from astropy.table import Table

    return [Table.read(path, format="ascii.ecsv")]


def _arrow_columns(table: pa.Table) -> Columns:
    """The columns of a table of Arrow."""
    masks = {name for name in table.column_names if name.removesuffix(_MASK) in table.column_names}
    masks = {name for name in masks if name.endswith(_MASK)}  # in which astropy stores the masks of other columns

    def column(name: str) -> np.ndarray:
        values = _numpy(table[name])
        if name + _MASK in masks:
            mask = np.ma.getmaskarray(values) | table[name + _MASK].to_numpy().astype(bool)
            return np.ma.masked_array(np.ma.getdata(values), mask)
        return values

    return Columns.of([name for name in table.column_names if name not in masks], column)


def _read_text(path: Path, exact: Collection[str]) -> pa.Table:
    """Read a text table. Lines before the header that begin with # and name no spectra are skipped."""
    with pa.input_stream(str(path)) as stream:
        lines = stream.read(_FIRST_LINES).split(b"\n")
    skipped = 0
    while skipped < len(lines) - 1 and lines[skipped].startswith(b"#") and not _names_spectra(lines[skipped], exact):
        skipped += 1
    delimiter = _delimiter(lines[skipped]) or ","
    comma = delimiter == ";" and any(_DECIMAL_COMMA.search(line) for line in lines[skipped + 1 :])
    options = partial(
        pyarrow.csv.ConvertOptions,
        strings_can_be_null=True,
        decimal_point="," if comma else ".",
        null_values=[*pyarrow.csv.ConvertOptions().null_values, "\\N"],
    )
    read = partial(
        pyarrow.csv.read_csv,
        path,
        read_options=pyarrow.csv.ReadOptions(skip_rows=skipped),
        parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter),
    )
    table = read(convert_options=options())
    upper = {name: name.strip("\ufeff# \t").upper() for name in table.column_names}
    rounded = [c for c in table.column_names if upper[c] in exact and pa.types.is_floating(table[c].type)]
    if rounded:  # numbers beyond 64 bits, or written as 51602.0, are read again as they stand
        table = read(convert_options=options(column_types=dict.fromkeys(rounded, pa.string())))
    return table


def _names_spectra(line: bytes, exact: Collection[str]) -> bool:
    """Tell whether a line is a header with a column that names spectra."""
    words = line.decode("utf-8", "replace").strip("# \r").upper().split(_delimiter(line) or None)
    return not _NAMING.union(exact).isdisjoint(word.strip() for word in words)


def _delimiter(line: bytes) -> str:
    """The character between the columns of a line; empty if the line has one column."""
    return next((mark for mark in ("|", "\t", ";", ",") if mark.encode() in line), "")


def _numpy(column: Any) -> np.ndarray:
    """A column as an array. Integers with missing values become a masked array, not floats."""
    if pa.types.is_integer(column.type) and column.null_count:
        mask = column.is_null().to_numpy()
        return np.ma.masked_array(column.fill_null(0).to_numpy(), mask)
    values: np.ndarray = column.to_numpy()
    return values


def known_text(value: str) -> str:
    """A text without blanks around it, or an empty string if it stands for a missing value, such as "-9999"."""
    value = value.strip()
    return "" if value.lower() in MISSING_TEXTS or value in _MISSING_NUMBERS else value


def text(values: np.ndarray) -> np.ndarray:
    """A column as text, stripped of blanks. A missing value becomes an empty string."""
    if values.dtype.kind in "SU" and not isinstance(values, np.ma.MaskedArray):
        return np.char.strip(values.astype(str))
    decoded = (v.decode("ascii", "replace") if isinstance(v, bytes) else v for v in values.tolist())
    return np.array(["" if v is None or v != v else str(v).strip() for v in decoded], dtype=str)


def numbers(values: np.ndarray) -> np.ndarray:
    """A column of numbers; a column of text is read as float64, with NaN where it is no number."""
    if values.dtype.kind in "iuf":
        return values
    return np.array([_number(value) for value in text(values).tolist()], dtype=np.float64)


def _number(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return np.nan


def flags(values: np.ndarray) -> np.ndarray:
    """A column of flags as numbers: 1 for true and 0 for false, also where these are words or the letters T and F."""
    if values.dtype.kind in "iuf":
        return values
    words = np.char.lower(text(values))
    return numbers(np.select([np.isin(words, ("true", "t")), np.isin(words, ("false", "f"))], ["1", "0"], words))


def whole_numbers(values: np.ndarray, name: str) -> np.ndarray:
    """A column of whole numbers as text, whether the table keeps them as integers, floats or text.

    A missing or negative number becomes an empty string.

    Parameters
    ----------
    values : ndarray [rows]
    name : str
        The name of the column, for messages.

    Raises
    ------
    CatalogError
        When the numbers are floats, or are written as such, and so large that floats round whole numbers.
    """
    mask = np.ma.getmaskarray(values)
    values = np.ma.getdata(values)
    if values.dtype.kind in "iu":
        return np.where(mask | (values < 0), "", np.char.mod("%d", values))
    if values.dtype.kind == "f":
        known = np.isfinite(values) & (values >= 0) & ~mask
        if (values[known] >= 1.0 / np.finfo(values.dtype).eps).any():
            raise CatalogError(_ROUNDED.format(name))
        return np.where(known, np.char.mod("%d", np.where(known, values, 0).astype(np.int64)), "")
    texts = np.array([whole_number(value, name) for value in text(values).tolist()], dtype=str)
    return np.where(mask, "", texts)


def whole_number(value: str, name: str) -> str:
    """The digits of the whole part of a number, such as "51602.0"; empty if it is none or negative."""
    if value.isdecimal():
        return value.lstrip("0") or "0"
    try:
        number = Decimal(value)
    except InvalidOperation:
        return ""
    if not number.is_finite() or not 0 <= number < _LARGEST:
        return ""
    if number >= _EXACT:
        raise CatalogError(_ROUNDED.format(name))
    return str(int(number))
