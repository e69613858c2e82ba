"""Files and folders: atomic writing, tables, and tensors that are checked when they are read."""

import csv
import errno
import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from spectromer.errors import ArgumentError, ReadError, RunError, ShardError, SpectromerError

if TYPE_CHECKING:
    from astropy.table import Table
    from torch import Tensor

__all__ = [
    "alone",
    "atomic",
    "check_folder",
    "check_writable",
    "make_folder",
    "printable",
    "read_rejected",
    "read_tensors",
    "table_format",
    "write_rejected",
    "write_table",
    "writing",
]

_TABLE_FORMATS = {".csv": "ascii.csv", ".ecsv": "ascii.ecsv", ".fits": "fits", ".parquet": "parquet"}
#: The files by which a folder is known that one command has filled and no other may write to.
_FOLDERS = {"a run": ("config.json", "model.json"), "shards": ("settings.json", "files.parquet")}
#: What an operating system says when a file cannot be written any further; such errors need not name the file.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path that replaces `path`, synced to disk, on success and is deleted on failure.

    Raises
    ------
    ArgumentError
        If the file cannot be written.
    """
    part = _part(path)
    try:
        with writing(f"{path}: the file", part):
            yield part
            with part.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(part, path)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _part(path: Path) -> Path:
    """The temporary path beside `path`, under which a file is written."""
    if not path.name or os.path.isdir(path):
        raise ArgumentError(f"{path}: the file cannot be written (it is a folder)")
    return path.with_name(f".{path.stem}.part-{os.getpid()}{path.suffix}")


@contextmanager
def writing(what: str, path: Path) -> Iterator[None]:
    """Convert errors of the operating system while `path`, or a file in it, is written.

    Parameters
    ----------
    what : str
        The kind of the output, which the message names.
    path : Path
        A file or a folder.

    Raises
    ------
    ArgumentError
        When it cannot be written, for example because the disk is full.
    """
    try:
        yield
    except Exception as error:
        reason = None if isinstance(error, SpectromerError) else _unwritable(error, os.fspath(path))
        if reason is None:
            raise
        raise ArgumentError(f"{what} cannot be written ({reason})") from error


def _unwritable(error: Exception, path: str) -> str | None:
    """The reason why `path` could not be written, if the error says so; None if it concerns something else."""
    if isinstance(error, OSError):
        unnamed = error.filename is None and (error.errno in _FULL or path in str(error))
        if unnamed or os.fsdecode(error.filename or "").startswith(path):
            return os.strerror(error.errno) if error.errno else str(error)
        return None
    # Libraries of Rust and C++ raise errors of their own.
    full = os.strerror(errno.ENOSPC)
    return full if full in str(error) else None


def check_folder(path: Path, *belongs: str) -> None:
    """Check that files can be written to the folder of the option `--out`, before the work. Nothing is left behind.

    Parameters
    ----------
    path : Path
        The folder, which need not exist.
    *belongs : str
        The kinds of content, "a run" or "shards", that the folder may hold already. Any other kind is refused.

    Raises
    ------
    ArgumentError
        If the folder cannot be made or written, or belongs to something else.
    """
    for kind, names in _FOLDERS.items():
        if kind not in belongs and all((path / name).is_file() for name in names):
            raise ArgumentError(f"--out {path} is a folder of {kind}; name another folder")
    there = path.absolute()
    while not os.path.lexists(there) and there != there.parent:
        there = there.parent
    part = there / f".spectromer.part-{os.getpid()}"
    try:
        part.mkdir()
        part.rmdir()
    except OSError as error:
        raise ArgumentError(f"--out {path}: the folder cannot be written ({error.strerror})") from error


def check_writable(path: Path) -> None:
    """Check that a file can be written, before the work whose result it will hold. Its folder is made if necessary.

    Raises
    ------
    ArgumentError
        If it cannot be written.
    """
    make_folder(path.parent)
    part = _part(path)
    try:
        part.touch()
        part.unlink()
    except OSError as error:
        raise ArgumentError(f"{path}: the file cannot be written ({error.strerror})") from error


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


@contextmanager
def alone(folder: Path, work: str) -> Iterator[None]:
    """Hold the lock of a folder, which is made if necessary, and remove incomplete files of a process that was killed.

    Parameters
    ----------
    folder : Path
    work : str
        The work of the holder of the lock, such as "ingestion", which the message names.

    Raises
    ------
    ShardError
        When another process holds the lock.
    ArgumentError
        When the folder cannot be written.
    """
    make_folder(folder)
    try:
        file = (folder / ".lock").open("w")
    except OSError as error:
        raise ArgumentError(f"--out {folder}: the folder cannot be written ({error.strerror})") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ShardError(f"--out {folder}: another {work} is at work there") from error
        for part in folder.glob(".*.part-*"):
            part.unlink(missing_ok=True)
        yield


def printable(text: str) -> str:
    """The text, with what is no UTF-8 in the name of a file or in a label as backslash escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def write_rejected(rejected: Iterable[ReadError], path: Path) -> None:
    """Write a CSV file with the columns path and reason. Without errors it holds only the header."""
    with atomic(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("path", "reason"))
        table.writerows((printable(error.path), printable(error.reason)) for error in rejected)


def read_rejected(path: Path) -> list[ReadError]:
    """The errors in a file that `write_rejected` has written."""
    with path.open(newline="", encoding="utf-8") as file:
        return [ReadError(row["path"], row["reason"]) for row in csv.DictReader(file)]


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


def write_tensors(path: Path, tensors: "Mapping[str, Tensor]", metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, completely or not at all."""
    from safetensors.torch import save_file

    with atomic(path) as part:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, part, metadata=dict(metadata))
        part.chmod(0o644)  # safetensors makes files readable only by their owner


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
