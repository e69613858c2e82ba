"""Download spectra from the archives of SDSS (through astroquery) and LAMOST (with the user's token)."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from spectromer.cli import check_least, exit_code, parse
from spectromer.errors import NothingError
from spectromer.words import count

if TYPE_CHECKING:
    from spectromer.surveys.downloads import Downloaded

__all__ = ["DownloadConfig", "download"]


@dataclass(frozen=True)
class DownloadConfig:
    """Download the spectra that a table names. Files that exist already are skipped."""

    table: Annotated[Path, tyro.conf.Positional]
    """Table of the spectra as CSV, ECSV, FITS, VOTable or Parquet, with columns PLATE, MJD, FIBERID and RUN2D for SDSS;
    FIELD, MJD, CATALOGID and RUN2D for SDSS-V; OBSID for LAMOST."""
    out: Path
    """Folder for the files."""
    release: str | None = None
    """Data release: its number for SDSS, by default 17 for plates and 18 for fields; release and version for LAMOST,
    by default dr10/v2.0."""
    token: str | None = None
    """Token of your LAMOST account; by default the value of the environment variable LAMOST_TOKEN."""
    connections: int = 4
    """Number of files to fetch at the same time."""
    attempts: int = 3
    """Number of attempts for each file."""


def download(config: DownloadConfig) -> "Downloaded":
    """Fetch the spectra that a table names.

    Raises
    ------
    SpectromerError
        When the table cannot be read or lacks columns, or there is no token; see `spectromer.surveys.downloads`.
    """
    from spectromer.surveys import downloads

    check_least(config, connections=1, attempts=1)
    return downloads.download(
        config.table,
        config.out,
        release=config.release,
        token=config.token,
        connections=config.connections,
        attempts=config.attempts,
    )


def _report(found: "Downloaded", out: Path) -> None:
    from spectromer.surveys.downloads import FAILED

    failed = len(found.failed)
    print(f"{count(found.fetched, 'file')} fetched, {found.present} existed already, {failed} failed: {out}")
    if failed:
        print(f"the reasons: {out / FAILED}")
    if not found.fetched and not found.present:
        raise NothingError(f"nothing was downloaded: {count(failed, 'file')} failed")


def main(argv: Sequence[str] | None = None) -> int:
    """Run `python -m spectromer.download TABLE --out FOLDER`."""
    config = parse(DownloadConfig, "download", argv)
    return exit_code(lambda: _report(download(config), config.out))


if __name__ == "__main__":
    sys.exit(main())
