"""Convert survey files to shards, in one pass over the files and with one copy of the spectra."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from spectromer.cli import check_least, exit_code, parse
from spectromer.errors import ArgumentError, NothingError
from spectromer.shards.selection import EVERYTHING, Limits, Selection

__all__ = ["IngestConfig", "Selection", "ingest"]


@dataclass(frozen=True)
class IngestConfig:
    """Convert survey files to shards, from which training can read any number of spectra.

    If the command is interrupted, repeat it to continue. More paths can be added later.
    """

    paths: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Survey files, folders of them (at any depth), patterns such as 'spec-*.fits', or .txt files with one path per
    line. hf:NAME or hf:NAME:SPLIT streams a dataset of the Multimodal Universe from Hugging Face."""
    out: Path = Path("shards")
    """Folder for the shards."""
    catalog: tuple[Path, ...] = ()
    """Catalogues whose labels replace those in the files: SDSS specObj or spAll, a LAMOST or DESI catalogue, or a table
    with a column `path`; as CSV, ECSV, FITS, VOTable or Parquet. Labels of later catalogues replace those of earlier
    ones."""
    select: tyro.conf.OmitArgPrefixes[Selection] = EVERYTHING
    simulated: int = 0
    """Number of simulated spectra to add to those of the files."""
    seed: int = 0
    """Seed of the simulated spectra."""
    shard_size: int = 4096
    """Approximate number of spectra in a shard. After an interruption, at most one shard per worker is redone."""
    workers: int = os.cpu_count() or 1
    """Number of processes on this machine."""
    scheduler: str | None = None
    """Address of a dask.distributed scheduler to use instead. Its workers must have access to the same files."""
    file_timeout: float = 60.0
    """Seconds for each spectrum of a file. A file that takes longer, twice, is rejected."""
    file_memory: int = 4096
    """Memory in MiB for the reading of a file. A file that takes more, twice, is rejected."""


def ingest(config: IngestConfig) -> dict[str, Any]:
    """Convert files to shards, and return the content of manifest.json.

    Raises
    ------
    SpectromerError
        When an option, a path, a catalogue or the folder is invalid; see `spectromer.shards.build.build`.
    """
    from spectromer.shards.build import build

    if not config.paths and not config.simulated:
        raise ArgumentError("name files or folders to ingest, or --simulated N")
    check_least(config, shard_size=1, workers=1, simulated=0, seed=0, file_timeout=0.1, file_memory=64)
    return build(
        config.paths,
        config.out,
        catalogs=config.catalog,
        select=config.select,
        simulated=config.simulated,
        seed=config.seed,
        shard_size=config.shard_size,
        workers=config.workers,
        scheduler=config.scheduler,
        limits=Limits(config.file_timeout, config.file_memory),
    )


def _report(manifest: dict[str, Any], out: Path) -> None:
    from rich.console import Console

    from spectromer.files import read_rejected
    from spectromer.shards.finish import REJECTED
    from spectromer.shards.matching import match_catalogs
    from spectromer.words import count

    console = Console()
    kinds = ", ".join(f"{n:,} {name or 'without a class'}" for name, n in manifest["classes"].items())
    sources = count(manifest["sources"], "file")
    spectra, objects = count(manifest["spectra"], "spectrum"), count(manifest["objects"], "object")
    shards = count(len(manifest["shards"]), "shard")
    if manifest["spectra"]:
        console.print(f"{spectra} of {objects} ({kinds}) from {sources}, in {shards}: {out}")
    for reason, number in manifest["left_out"].items():
        console.print(f"left out for {'its' if number == 1 else 'their'} {reason}: {number:,}")
    if manifest["rejected"]:
        rejected = count(manifest["rejected"], "file or spectrum", "files or spectra")
        console.print(f"rejected: {rejected}, listed with reasons in {out / REJECTED}")
    names = [name for name, *_ in manifest["settings"]["catalogs"]]
    for name, match in zip(names, match_catalogs(out, len(names), read_rejected(out / REJECTED)), strict=True):
        console.print(match.describe(name), soft_wrap=True, markup=False, highlight=False)
    if not manifest["spectra"]:
        raise NothingError(f"--out {out}: no spectrum was ingested from {sources}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run `python -m spectromer.ingest PATH... --out SHARDS`."""
    config = parse(IngestConfig, "ingest", argv)
    return exit_code(lambda: _report(ingest(config), config.out))


if __name__ == "__main__":
    sys.exit(main())
