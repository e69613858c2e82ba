"""Download of the files that a table names: several at a time, each completely or not at all, with retries."""

import time
import urllib.error
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from rich.progress import track

from spectromer.errors import DownloadError, ReadError
from spectromer.files import atomic, check_folder, check_writable, write_rejected
from spectromer.surveys.fetching import FITS_STARTS, check_fits
from spectromer.surveys.survey import surveys
from spectromer.surveys.tables import open_table

__all__ = ["FAILED", "Downloaded", "download"]

FAILED = "failed.csv"
_PAUSE = 1.0  # seconds before the second attempt, twice as long before each further one


class Downloaded(NamedTuple):
    """The result of a download.

    Attributes
    ----------
    fetched, present : int
        The number of files fetched, and of those that existed already.
    failed : list of ReadError
        The files that could not be fetched, with reasons.
    """

    fetched: int
    present: int
    failed: list[ReadError]


def download(
    table: Path,
    out: Path,
    *,
    release: str | None = None,
    token: str | None = None,
    connections: int = 4,
    attempts: int = 3,
) -> Downloaded:
    """Fetch the spectra that a table names, except for those that exist already.

    Parameters
    ----------
    table : Path
        A FITS, CSV or Parquet table with the columns by which an archive names spectra.
    out : Path
        The folder for the files, and for failed.csv, which lists the files that could not be fetched.
    release : str, optional
        The data release of the survey; each survey has a default.
    token : str, optional
        The access token of the user, for an archive that requires one.
    connections : int
        The number of files that are fetched at the same time.
    attempts : int
        The number of attempts for each file.

    Raises
    ------
    CatalogError
        When the table cannot be read.
    DownloadError
        When the table lacks columns, or the archive of its survey cannot be queried.
    ArgumentError, DependencyError
        When the release or the token is missing or wrong, or a package is not installed.
    """
    check_folder(out)  # before the work, not after it
    with open_table(table) as columns:
        survey = next((survey for survey in surveys() if survey.identity_column(columns) is not None), None)
        if survey is None:
            known = ", or ".join(survey.download_columns for survey in surveys() if survey.download_columns)
            raise DownloadError(f"{table}: it needs columns {known}; it has {columns}")
        wanted = survey.downloads(columns, release, token)
    check_writable(out / FAILED)
    for name in wanted:
        if Path(name).name != name or "\0" in name:
            raise DownloadError(f"{table}: it names the file {name!r}, which cannot be the name of a file in {out}")
    missing = {name: get for name, get in wanted.items() if not (out / name).exists()}
    with ThreadPoolExecutor(connections) as pool:
        results = pool.map(lambda item: _fetch(item[1], out / item[0], attempts), missing.items())
        failed = [result for result in track(results, "downloading", total=len(missing)) if result is not None]
    write_rejected(failed, out / FAILED)
    return Downloaded(len(missing) - len(failed), len(wanted) - len(missing), failed)


def _fetch(get: Callable[[], bytes], path: Path, attempts: int) -> ReadError | None:
    """Fetch one file, completely or not at all. Returns the reason if it cannot be fetched."""
    reason = ""
    for attempt in range(attempts):
        if attempt:
            time.sleep(_PAUSE * 2 ** (attempt - 1))
        try:
            content = get()
            if not content.startswith(FITS_STARTS):
                return ReadError(path, "the server sent something else than a FITS file (is the token right?)")
            check_fits(content)
        except Exception as error:  # anything may fail on the network or at the archive
            reason = str(error) if isinstance(error, DownloadError) else f"{type(error).__name__}: {error}"
            if isinstance(error, urllib.error.HTTPError):
                error.close()  # it holds the connection
            continue
        with atomic(path) as part:
            part.write_bytes(content)
        return None
    return ReadError(path, f"{reason} ({attempts} attempts)")
