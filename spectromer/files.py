"""Files that are written whole or not at all."""

import csv
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from spectromer.errors import ArgumentError, ReadError

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["atomic", "table_format", "write_rejected", "write_table"]

_TABLE_FORMATS = {".csv": "ascii.csv", ".ecsv": "ascii.ecsv", ".fits": "fits", ".parquet": "parquet"}


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A path to write to that takes the place of `path`, safe on the disk, when all is well, and vanishes when not."""
    part = path.with_name(f".{path.stem}.part-{os.getpid()}{path.suffix}")
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_rejected(rejected: Iterable[ReadError], path: Path) -> None:
    """Write the columns path and reason; of no errors, a file with the header alone."""
    with atomic(path) as part, part.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("path", "reason"))
        table.writerows((error.path, error.reason) for error in rejected)


def table_format(path: Path) -> str:
    """Astropy's name of the format that the ending of `path` asks for.

    Raises
    ------
    ArgumentError
        For another ending.
    """
    if path.suffix not in _TABLE_FORMATS:
        raise ArgumentError(f"--out {path}: the ending must be one of {', '.join(_TABLE_FORMATS)}")
    return _TABLE_FORMATS[path.suffix]


def write_table(table: "Table", path: Path) -> None:
    """Write .csv, .ecsv, .fits or .parquet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as part:
        table.write(part, format=table_format(path), overwrite=True)
