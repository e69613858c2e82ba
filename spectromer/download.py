"""Download spectra from the surveys' archives: SDSS by way of astroquery, LAMOST with one's own token."""

import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro
from rich.progress import track

from spectromer.cli import exit_code
from spectromer.errors import ReadError
from spectromer.files import atomic, write_rejected
from spectromer.surveys.catalogs import read_columns, text, whole_numbers

__all__ = ["DownloadConfig", "download"]

LAMOST = "https://www.lamost.org"
_TIMEOUT = 60.0  # seconds
_PAUSE = 1.0  # seconds before the second attempt, twice as long before each further one
_FAILED = "failed.csv"


@dataclass(frozen=True)
class DownloadConfig:
    """Download the spectra that a table names. Called again, it fetches what is not there yet."""

    table: Annotated[Path, tyro.conf.Positional]
    """What is wanted: columns PLATE, MJD, FIBERID and RUN2D for SDSS, OBSID for LAMOST; FITS, CSV or Parquet."""
    out: Path
    """The folder for the files."""
    release: str | None = None
    """SDSS: the number of a data release, by default 17. LAMOST: release and version, by default dr10/v2.0."""
    token: str | None = None
    """LAMOST's, from one's account there; by default what the environment variable LAMOST_TOKEN holds."""
    connections: int = 4
    """Files fetched at a time."""
    attempts: int = 3
    """For each file, before it is given up."""


def _sdss(columns: dict[str, Sequence[str]], config: DownloadConfig) -> dict[str, Callable[[], bytes]]:
    try:
        from astropy.table import Table
        from astroquery.sdss import SDSS
    except ImportError as error:
        raise ValueError("downloads from SDSS need astroquery: pip install 'spectromer[download]'") from error
    release = int(config.release or 17)

    def fetch(plate: int, mjd: int, fibre: int, run2d: str) -> bytes:
        row = Table({"plate": [plate], "mjd": [mjd], "fiberID": [fibre], "run2d": [run2d]})
        (file,) = SDSS.get_spectra_async(
            matches=row, data_release=release, cache=False, show_progress=False, timeout=_TIMEOUT
        )
        return file.get_string()

    rows = zip(*(columns[name] for name in ("PLATE", "MJD", "FIBERID", "RUN2D")), strict=True)
    return {
        f"spec-{int(plate):04d}-{mjd}-{int(fibre):04d}.fits": partial(fetch, int(plate), int(mjd), int(fibre), run2d)
        for plate, mjd, fibre, run2d in rows
    }


def _lamost(columns: dict[str, Sequence[str]], config: DownloadConfig) -> dict[str, Callable[[], bytes]]:
    token = config.token or os.environ.get("LAMOST_TOKEN", "")
    if not token:
        raise ValueError(
            "downloads from LAMOST need --token, or LAMOST_TOKEN in the environment: see your account there"
        )
    release = config.release or "dr10/v2.0"

    def fetch(obsid: str) -> bytes:
        address = f"{LAMOST}/{release}/spectrum/fits/{obsid}?token={token}"
        with urllib.request.urlopen(address, timeout=_TIMEOUT) as answer:
            return answer.read()

    return {f"{obsid}.fits": partial(fetch, obsid) for obsid in columns["OBSID"]}


def _wanted(config: DownloadConfig) -> dict[str, Callable[[], bytes]]:
    """How to fetch each file, by its name."""
    with read_columns(config.table) as (names, get):
        if "OBSID" in names:
            return _lamost({"OBSID": whole_numbers(get(names["OBSID"])).tolist()}, config)
        needed = ("PLATE", "MJD", "FIBERID", "RUN2D")
        if not set(needed) <= names.keys():
            raise ValueError(
                f"it needs columns OBSID, or {', '.join(needed)}; it has {', '.join(list(names.values())[:12])}"
            )
        found = {name: whole_numbers(get(names[name])).tolist() for name in needed[:3]}
        return _sdss(found | {"RUN2D": text(get(names["RUN2D"])).tolist()}, config)


def _fetch(get: Callable[[], bytes], path: Path, attempts: int) -> ReadError | None:
    """Fetch one file, whole or not at all; the reason where it cannot be had."""
    for attempt in range(attempts):
        if attempt:
            time.sleep(_PAUSE * 2 ** (attempt - 1))
        try:
            content = get()
        except Exception as error:  # whatever may happen between here and there
            reason = f"{type(error).__name__}: {error}"
            if isinstance(error, urllib.error.HTTPError):
                error.close()  # it holds the connection
            continue
        if not content.startswith((b"SIMPLE", b"\x1f\x8b")):
            return ReadError(path, "the server sent something else than a FITS file (is the token right?)")
        with atomic(path) as part:
            part.write_bytes(content)
        return None
    return ReadError(path, f"{reason} ({attempts} attempts)")


def download(config: DownloadConfig) -> tuple[int, int, list[ReadError]]:
    """Fetch what a table names.

    Returns
    -------
    int, int, list of ReadError
        Files fetched, files that were there already, and what could not be had and why (also in failed.csv).

    Raises
    ------
    ValueError
        When the table cannot be read or lacks columns, or there is no token.
    """
    if not config.table.is_file():
        raise ValueError(f"{config.table}: no such file")
    for name in ("connections", "attempts"):
        if getattr(config, name) < 1:
            raise ValueError(f"--{name} must be at least 1, got {getattr(config, name)}")
    try:
        wanted = _wanted(config)
    except OSError as error:
        raise ValueError(f"{config.table}: {error}") from error
    config.out.mkdir(parents=True, exist_ok=True)
    missing = {name: get for name, get in wanted.items() if not (config.out / name).exists()}
    with ThreadPoolExecutor(config.connections) as pool:
        results = pool.map(lambda item: _fetch(item[1], config.out / item[0], config.attempts), missing.items())
        failed = [result for result in track(results, "downloading", total=len(missing)) if result is not None]
    write_rejected(failed, config.out / _FAILED)
    return len(missing) - len(failed), len(wanted) - len(missing), failed


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m spectromer.download TABLE --out FOLDER`."""
    config = tyro.cli(DownloadConfig, prog="spectromer download", args=argv)

    def work() -> None:
        fetched, there, failed = download(config)
        print(f"{fetched} files fetched, {there} were there, {len(failed)} could not be had: {config.out}")
        if failed:
            print(f"the reasons: {config.out / _FAILED}")

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
