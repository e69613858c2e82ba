"""Bring survey files into shards: one pass over the files, one copy of the spectra."""

import fcntl
import glob
import hashlib
import json
import multiprocessing
import os
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import torch
import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

import spectromer
from spectromer.chunks import chunks
from spectromer.cli import exit_code
from spectromer.errors import ReadError
from spectromer.files import atomic, write_rejected
from spectromer.labels import believe
from spectromer.shards.splits import name_objects
from spectromer.shards.store import (
    BLOCK_ROWS,
    INDEX,
    INDEX_SCHEMA,
    MANIFEST,
    block_of,
    index_of,
    read_indexed,
    write_shard,
)
from spectromer.spectra import Spectrum
from spectromer.surveys import find_files, multimodal, read_each
from spectromer.surveys.catalogs import OBJECT, Catalog, path_key, prepare_catalog
from spectromer.surveys.simulated import CHUNK, simulate

__all__ = ["IngestConfig", "Selection", "ingest"]

_PLAN, _SETTINGS, _REJECTED = "files.parquet", "settings.json", "rejected.csv"
_SPECTRUM_BYTES = 1 << 18  # of a file, for each spectrum that is to be expected in it
_HUGGING_FACE = multimodal.STREAM
_SIMULATED = "simulated"  # a "file" simulated:SEED:FIRST stands for CHUNK simulated spectra


@dataclass(frozen=True)
class Selection:
    """Which spectra are kept."""

    surveys: tuple[str, ...] = ()
    """Those of these surveys only: SDSS, LAMOST."""
    classes: tuple[str, ...] = ()
    """Those of these classes only: STAR, GALAXY, QSO."""
    min_snr: float | None = None
    """Those with at least this median S/N per pixel."""
    trusted: bool = False
    """Those with a class worth learning from: no sky fibres, no class Unknown, no ZWARNING."""

    def reason_against(self, spectrum: Spectrum) -> str | None:
        """Why a spectrum is left out; None if it is kept."""
        if self.surveys and spectrum.survey not in self.surveys:
            return "survey"
        if self.classes and spectrum.labels.get("class") not in self.classes:
            return "class"
        if self.min_snr is not None and spectrum.labels.get("snr", spectrum.snr) < self.min_snr:
            return "S/N"
        if self.trusted and "class" not in believe(spectrum.labels):
            return "no trusted class"
        return None


@dataclass(frozen=True)
class IngestConfig:
    """Bring survey files into shards, from which training reads any number of spectra.

    Stopped at any moment, the same command goes on where it was; more paths can be added later.
    """

    paths: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Survey files, folders of them (at any depth), patterns such as 'spec-*.fits', .txt files with a path a line; or
    hf:NAME (hf:NAME:SPLIT), spectra of the Multimodal Universe streamed from Hugging Face."""
    out: Path = Path("shards")
    """The folder of shards."""
    catalog: tuple[Path, ...] = ()
    """Catalogues with labels, which go before those in the files: SDSS specObj or spAll, LAMOST's, or a table with a
    column `path`. Later ones go before earlier ones."""
    select: tyro.conf.OmitArgPrefixes[Selection] = Selection()
    simulated: int = 0
    """So many simulated spectra, besides any files."""
    seed: int = 0
    """Of the simulated spectra."""
    shard_size: int = 4096
    """Spectra per shard, about: what is done again at most when the work is cut off."""
    workers: int = os.cpu_count() or 1
    """Processes on this machine."""
    scheduler: str | None = None
    """The address of a dask.distributed scheduler whose workers do the work instead; all must see the same files."""


def _listed(paths: Sequence[str]) -> Iterator[str]:
    """Every file that the paths stand for."""
    for path in paths:
        if os.path.exists(path) and path.endswith(".txt"):
            yield from _listed([line.strip() for line in Path(path).read_text().splitlines() if line.strip()])
        elif glob.has_magic(path) and not os.path.exists(path):
            found = sorted(glob.glob(path, recursive=True))
            if not found:
                raise ValueError(f"{path}: no file fits this pattern")
            yield from _listed(found)
        elif not os.path.exists(path):
            raise ValueError(f"{path}: no such file or folder")
        else:
            yield from (os.path.abspath(file) for file in find_files(path))


def _sources(config: IngestConfig) -> Iterator[tuple[str, int]]:
    """Files and pieces of the simulated survey, with the spectra in each."""
    for path in (path for path in config.paths if path.startswith(f"{_HUGGING_FACE}:")):
        for source in multimodal.stream_parts(path):
            yield source, config.shard_size
    for file in _listed([path for path in config.paths if not path.startswith(f"{_HUGGING_FACE}:")]):
        yield file, max(1, -(-os.path.getsize(file) // _SPECTRUM_BYTES))
    for first in range(0, config.simulated, CHUNK):
        yield f"{_SIMULATED}:{config.seed}:{first}:{min(CHUNK, config.simulated - first)}", CHUNK


def _plan(config: IngestConfig) -> list[list[str]]:
    """The sources of each shard. What an earlier call has planned stays; what is new follows in further shards."""
    path = config.out / _PLAN
    shards: list[list[str]] = []
    if path.is_file():
        table = pyarrow.parquet.read_table(path)
        for source, shard in zip(table["source"].to_pylist(), table["shard"].to_pylist(), strict=True):
            if shard == len(shards):
                shards.append([])
            shards[shard].append(source)
    known = {source for shard in shards for source in shard}
    room = 0
    for source, spectra in _sources(config):
        if source in known:
            continue
        known.add(source)
        if room < spectra:
            shards.append([])
            room = config.shard_size
        shards[-1].append(source)
        room -= spectra
    numbers = np.repeat(np.arange(len(shards), dtype=np.int32), [len(shard) for shard in shards])
    table = pa.table({"source": pa.array([s for shard in shards for s in shard], pa.string()), "shard": numbers})
    with atomic(path) as part:
        pyarrow.parquet.write_table(table, part, compression="zstd")
    return shards


def _spectra(sources: Sequence[str]) -> Iterator[tuple[str, Spectrum | ReadError]]:
    for source in sources:
        if source.startswith(f"{_SIMULATED}:"):
            seed, first, count = (int(part) for part in source.split(":")[1:])
            yield from ((source, spectrum) for spectrum in simulate(count, seed=seed, first=first))
        elif source.startswith(f"{_HUGGING_FACE}:"):
            for result in multimodal.read_stream(source):
                yield source, result if isinstance(result, Spectrum) else ReadError(source, str(result))
        else:
            yield from ((str(path), result) for path, result in read_each([source]))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _shard_path(out: Path, shard: int) -> Path:
    return out / f"shard-{shard:05d}.arrow"


def _record_path(out: Path, shard: int) -> Path:
    """What is known of a finished shard; a shard without it is not finished."""
    return _shard_path(out, shard).with_suffix(".json")


def _chosen(
    results: Iterator[tuple[str, Spectrum | ReadError]], tables: Sequence[Catalog], select: Selection, record: "_Record"
) -> Iterator[tuple[str, Spectrum, str | None]]:
    """Path, spectrum with its labels, and object, where a catalogue names it, of what is kept; the rest is noted."""
    for part in chunks(results, BLOCK_ROWS):
        record.rejected += [(path, result.reason) for path, result in part if isinstance(result, ReadError)]
        read = [(path, result) for path, result in part if isinstance(result, Spectrum)]
        labels: list[dict[str, Any]] = [dict(spectrum.labels) for _, spectrum in read]
        for table in tables:
            for keys in ([f"{s.survey}:{s.id}" for _, s in read], [path_key(path) for path, _ in read]):
                for known, more in zip(labels, table.labels(keys), strict=True):
                    known.update(more)
        for (path, spectrum), known in zip(read, labels, strict=True):
            name = known.pop(OBJECT, None)
            spectrum = replace(spectrum, labels=known)
            reason = select.reason_against(spectrum)
            if reason is not None:
                record.left_out[reason] += 1
                continue
            record.surveys[spectrum.survey] += 1
            record.classes[known.get("class", "")] += 1
            yield path, spectrum, name


@dataclass
class _Record:
    """What is known of a finished shard, in its JSON file."""

    name: str = ""
    rows: int = 0
    bytes: int = 0
    sha256: str = ""
    sources: int = 0
    surveys: Counter[str] = field(default_factory=Counter)
    classes: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    rejected: list[tuple[str, str]] = field(default_factory=list)

    @classmethod
    def of(cls, out: Path, shard: int) -> "_Record | None":
        """The record of a shard; None if it is not finished, or its file is not what was written."""
        path, record = _shard_path(out, shard), _record_path(out, shard)
        if not record.is_file():
            return None
        found = cls(**json.loads(record.read_text()))
        return found if path.is_file() and path.stat().st_size == found.bytes else None


def ingest_shard(out: Path, shard: int, sources: Sequence[str], catalogs: Sequence[Path], select: Selection) -> int:
    """Make one shard and, last of all, its record; returns the number of its sources.

    It runs in any process of any machine that sees the files, and makes the same shard wherever and whenever it runs.
    """
    target = _shard_path(out, shard)
    record = _Record(target.name, sources=len(sources))
    chosen = _chosen(_spectra(sources), [Catalog(path) for path in catalogs], select, record)

    def blocks() -> Iterator[pa.RecordBatch]:
        for rows in chunks(chosen, BLOCK_ROWS):
            paths, spectra, objects = zip(*rows, strict=True)
            yield block_of(spectra, paths, objects)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a simulated spectrum's last bits depend on it
    try:
        record.rows = write_shard(blocks(), target)
    finally:
        torch.set_num_threads(threads)
    record.bytes = target.stat().st_size
    record.sha256 = _sha256(target)
    with atomic(_record_path(out, shard)) as part:
        part.write_text(json.dumps(vars(record)))
    return len(sources)


def _finish(out: Path, shards: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Write what belongs to all shards together: the index, the rejected files and, last of all, the manifest."""
    records = [record for i in range(shards) if (record := _Record.of(out, i)) is not None]
    tables = [read_indexed(out / record.name) for record in records]
    rows = pa.concat_tables(tables) if tables else INDEX_SCHEMA.empty_table()
    given = rows["object"].to_pylist()
    if (out / INDEX).is_file():  # an earlier, shorter one: its names stay
        with pa.memory_map(str(out / INDEX)) as file:
            named = pa.ipc.open_file(file).read_all()["object"].to_pylist()
        given = named + given[len(named) :]
    ra, dec = (rows[name].to_numpy() for name in ("ra", "dec"))
    ids = zip(rows["survey"].to_pylist(), rows["object_id"].to_pylist(), strict=True)
    objects = name_objects(ra, dec, given, [f"{survey}-{name}" for survey, name in ids])
    index = index_of(rows, objects)
    with atomic(out / INDEX) as part, pa.OSFile(str(part), "wb") as sink, pa.ipc.new_file(sink, INDEX_SCHEMA) as writer:
        writer.write_table(index)
    rejected = [ReadError(path, reason) for record in records for path, reason in record.rejected]
    write_rejected(rejected, out / _REJECTED)

    def total(name: str) -> dict[str, int]:
        return dict(sorted(sum((Counter(getattr(record, name)) for record in records), Counter()).items()))

    manifest = {
        "format": 1,
        "spectromer": spectromer.__version__,
        "pyarrow": pa.__version__,
        "spectra": len(rows),
        "objects": len(set(objects)),
        "surveys": total("surveys"),
        "classes": total("classes"),
        "sources": sum(record.sources for record in records),
        "rejected": len(rejected),
        "left_out": total("left_out"),
        "settings": settings,
        "shards": [{name: getattr(record, name) for name in ("name", "rows", "bytes", "sha256")} for record in records],
    }
    with atomic(out / MANIFEST) as part:
        part.write_text(json.dumps(manifest, indent=1) + "\n")
    return manifest


def _settle(config: IngestConfig) -> tuple[dict[str, Any], list[Path]]:
    """The settings that all shards share, and the prepared catalogues.

    Raises
    ------
    ValueError
        When the folder was begun with others.
    """
    catalogs = [config.out / f"catalog-{i}.arrow" for i in range(len(config.catalog))]
    for path, prepared in zip(config.catalog, catalogs, strict=True):
        prepare_catalog(path, prepared)
    settings = {
        "select": asdict(config.select),
        "shard_size": config.shard_size,
        "simulated": [config.simulated, config.seed],
        "catalogs": [[path.name, _sha256(prepared)] for path, prepared in zip(config.catalog, catalogs, strict=True)],
    }
    settings = json.loads(json.dumps(settings))  # tuples as lists, as they are read back
    path = config.out / _SETTINGS
    if path.is_file():
        begun = json.loads(path.read_text())
        for name, value in settings.items():
            if begun[name] != value:
                raise ValueError(
                    f"--out {config.out} was begun with other settings ({name}: {begun[name]}, now {value}); "
                    "take the same, or name another folder"
                )
    with atomic(path) as part:
        part.write_text(json.dumps(settings, indent=1) + "\n")
    return settings, catalogs


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """One ingestion at a time in a folder; what one that was killed has left half written is removed."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ValueError(f"--out {out}: another ingestion is at work there") from error
        for part in out.glob(".*.part-*"):
            part.unlink()
        yield


def _begin_worker() -> None:
    """Makes a worker process end with its parent, even if that is killed."""

    def end_with_parent() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


@contextmanager
def _executor(config: IngestConfig) -> Iterator[Executor]:
    if config.scheduler is None and config.workers == 1:
        with ThreadPoolExecutor(1) as pool:
            yield pool
        return
    if config.scheduler is None:
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(config.workers, spawn, _begin_worker) as processes:
            yield processes
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise ValueError("--scheduler needs dask.distributed: pip install 'spectromer[cluster]'") from error
    try:
        client = Client(config.scheduler, timeout=30)
    except OSError as error:
        raise ValueError(f"--scheduler {config.scheduler}: no scheduler answers there ({error})") from error
    with client, client.get_executor() as cluster:
        yield cluster


class _Rate(ProgressColumn):
    """Files per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:,.0f}/s")


def ingest(config: IngestConfig) -> dict[str, Any]:
    """Bring files into shards; returns what manifest.json holds.

    Raises
    ------
    ValueError
        When a path, a catalogue or the settings do not allow it, or a process that did the work has died.
    """
    if not config.paths and not config.simulated:
        raise ValueError("name files or folders to ingest, or --simulated N")
    for name in ("shard_size", "workers"):
        if getattr(config, name) < 1:
            raise ValueError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(config, name)}")
    config = replace(config, out=config.out.absolute())
    with _alone(config.out):
        settings, catalogs = _settle(config)
        shards = _plan(config)
        missing = [i for i in range(len(shards)) if _Record.of(config.out, i) is None]
        total = sum(len(shard) for shard in shards)
        done = total - sum(len(shards[i]) for i in missing)
        columns = (TextColumn("ingesting"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
        with Progress(*columns) as progress:
            bar = progress.add_task("ingesting", total=total, completed=done)
            with _executor(config) as pool:
                work = [pool.submit(ingest_shard, config.out, i, shards[i], catalogs, config.select) for i in missing]
                try:
                    for future in as_completed(work):
                        progress.advance(bar, future.result())
                except BrokenProcessPool as error:
                    raise ValueError(
                        "a process that did the work has died (for want of memory?); what it had finished is kept: "
                        "give the same command again"
                    ) from error
                finally:
                    for future in work:
                        future.cancel()  # those that have not begun, if this is no good end
        return _finish(config.out, len(shards), settings)


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m spectromer.ingest PATH... --out SHARDS`."""
    config = tyro.cli(IngestConfig, prog="spectromer ingest", args=argv)

    def work() -> None:
        manifest = ingest(config)
        console = Console()
        kinds = ", ".join(f"{n} {name or 'without a class'}" for name, n in manifest["classes"].items())
        console.print(
            f"{manifest['spectra']} spectra of {manifest['objects']} objects ({kinds}) from {manifest['sources']} "
            f"files, in {len(manifest['shards'])} shards: {config.out}"
        )
        for reason, count in manifest["left_out"].items():
            console.print(f"left out for their {reason}: {count}")
        if manifest["rejected"]:
            console.print(f"could not be read: {manifest['rejected']} files, listed in {config.out / _REJECTED}")

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
