"""Files that are written whole or not at all."""

import csv
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from spectromer.errors import ReadError

__all__ = ["atomic", "write_rejected"]


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
