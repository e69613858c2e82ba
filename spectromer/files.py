"""Files and folders: atomic writing, tables, and tensors that are checked when they are read."""

import csv
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from spectromer.errors import ArgumentError, ReadError, RunError

if TYPE_CHECKING:
    from astropy.table import Table
    from torch import Tensor

__all__ = ["atomic", "make_folder", "read_tensors", "table_format", "write_rejected", "write_table"]

_TABLE_FORMATS = {".csv": "ascii.csv", ".ecsv": "ascii.ecsv", ".fits": "fits", ".parquet": "parquet"}


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path that replaces `path`, synced to disk, on success and is deleted on failure.

    Raises
    ------
    ArgumentError
        If the file cannot be written.
    """
    if not path.name or path.is_dir():
        raise ArgumentError(f"{path}: the file cannot be written (it is a folder)")
    part = path.with_name(f".{path.stem}.part-{os.getpid()}{path.suffix}")
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        if error.filename not in (part, os.fspath(part)):
            raise
        raise ArgumentError(f"{path}: the file cannot be written ({error.strerror})") from error
    finally:
        part.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Create the folder of the option `--out` if it does not exist.

    Raises
    ------
    ArgumentError
        If it cannot be created.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArgumentError(f"--out {path}: the folder cannot be made ({error.strerror})") from error


def write_rejected(rejected: Iterable[ReadError], path: Path) -> None:
    """Write a CSV file with the columns path and reason. Without errors it holds only the header."""
    with atomic(path) as part, part.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("path", "reason"))
        table.writerows((error.path, error.reason) for error in rejected)


def table_format(path: Path) -> str:
    """Return astropy's name of the table format for the suffix of `path`.

    Raises
    ------
    ArgumentError
        If the suffix is not .csv, .ecsv, .fits or .parquet.
    """
    if path.suffix not in _TABLE_FORMATS:
        raise ArgumentError(f"--out {path}: the ending must be one of {', '.join(_TABLE_FORMATS)}")
    return _TABLE_FORMATS[path.suffix]


def write_table(table: "Table", path: Path) -> None:
    """Write a table as .csv, .ecsv, .fits or .parquet, depending on the suffix of `path`."""
    make_folder(path.parent)
    with atomic(path) as part:
        table.write(part, format=table_format(path), overwrite=True)


def read_tensors(path: Path) -> "tuple[dict[str, Tensor], dict[str, str]]":
    """Read the tensors and the metadata of a safetensors file.

    Raises
    ------
    RunError
        If the file is not a complete safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise RunError(f"{path}: not a whole safetensors file ({error})") from error
