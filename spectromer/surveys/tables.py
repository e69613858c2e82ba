"""FITS, CSV and Parquet tables, accessed by the upper-case names of their columns."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from astropy.io import fits

from spectromer.errors import CatalogError, SpectromerError

__all__ = ["Columns", "open_table", "text", "whole_numbers"]

_NAMED = 12  # columns that an error message lists
_FIRST_LINE = 4096  # bytes at the beginning of a text file that contain its first line


class Columns(Mapping[str, np.ndarray]):
    """The columns of a table. Each is read on access.

    Parameters
    ----------
    names : mapping
        The original column names by the upper-case ones.
    get : callable
        A function that returns the column [rows] with a given original name.
    """

    def __init__(self, names: Mapping[str, str], get: Callable[[str], np.ndarray]) -> None:
        self._names, self._get = names, get

    def __getitem__(self, name: str) -> np.ndarray:
        return self._get(self._names[name])

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __str__(self) -> str:
        return ", ".join(list(self._names.values())[:_NAMED])


@contextmanager
def open_table(path: Path) -> Iterator[Columns]:
    """Open a FITS, CSV or Parquet table, and close it when the block ends.

    Raises
    ------
    CatalogError
        When the file is missing or cannot be read, or when a column cannot be read in the block; the message names the
        file.
    """
    if not path.is_file():
        raise CatalogError(f"{path}: no such file")
    try:
        name = path.name.lower().removesuffix(".gz")
        if name.endswith((".fits", ".fit")):
            with fits.open(path) as hdus:
                yield _fits_columns(hdus)
        else:
            yield _arrow_columns(path, name)
    except (CatalogError, OSError, TypeError, LookupError, pa.ArrowException) as error:
        raise CatalogError(f"{path}: {error}") from error
    except ValueError as error:
        if isinstance(error, SpectromerError):  # the error does not concern the table
            raise
        raise CatalogError(f"{path}: {error}") from error


def _fits_columns(hdus: fits.HDUList) -> Columns:
    """The columns of the first binary table of a FITS file."""
    table = next((hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU)), None)
    if table is None:
        raise CatalogError("a FITS catalogue needs a table, this has none")
    return Columns({name.upper(): name for name in table.columns.names}, lambda name: np.array(table.data[name]))


def _arrow_columns(path: Path, name: str) -> Columns:
    """The columns of a Parquet file, or of a text file whose first line names them."""
    if name.endswith(".parquet"):
        table = pyarrow.parquet.read_table(path)
    elif name.endswith((".csv", ".txt", ".dat")):
        with pa.input_stream(str(path)) as stream:
            first = stream.read(_FIRST_LINE).split(b"\n", 1)[0]
        delimiter = next((mark for mark in ("|", "\t", ";") if mark.encode() in first), ",")
        table = pyarrow.csv.read_csv(
            path,
            parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter),
            convert_options=pyarrow.csv.ConvertOptions(strings_can_be_null=True),
        )
    else:
        raise CatalogError("its ending must be one of .fits, .csv, .txt, .dat, .parquet, or these with .gz")
    return Columns({c.strip().upper(): c for c in table.column_names}, lambda name: _numpy(table[name]))


def _numpy(column: Any) -> np.ndarray:
    values: np.ndarray = column.to_numpy()
    return values


def text(values: np.ndarray) -> np.ndarray:
    """A column as text, stripped of blanks. A missing value becomes an empty string."""
    if values.dtype.kind in "SU":
        return np.char.strip(values.astype(str))
    return np.array(["" if v is None or v != v else str(v).strip() for v in values.tolist()], dtype=str)


def whole_numbers(values: np.ndarray) -> np.ndarray:
    """A column of whole numbers as text, whether the table keeps them as integers, floats or text."""
    try:
        whole = values.astype(np.int64)
    except OverflowError:  # too large for 64 bits
        return text(values)
    except (TypeError, ValueError):  # such as "51602.0"
        whole = values.astype(np.float64).astype(np.int64)
    return np.char.mod("%d", whole)
