"""Writing of spectra to shards, in one pass over the sources and with one copy of the spectra.

The work is divided into shards. A shard depends on its sources alone, so that every process and every run makes the
same one. It is finished when its record has been written. An ingestion that was interrupted makes only the missing
shards when it is repeated.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

import spectromer
from spectromer.chunks import chunks
from spectromer.errors import ReadError, ShardError
from spectromer.files import atomic, write_rejected
from spectromer.labels import believe, replace_labels
from spectromer.shards.plan import plan, read_sources
from spectromer.shards.records import (
    FORMAT,
    INDEX,
    Record,
    read_settings,
    shard_path,
    write_manifest,
    write_settings,
)
from spectromer.shards.schema import BLOCK_ROWS, INDEX_SCHEMA, block_of, index_of
from spectromer.shards.selection import EVERYTHING, Selection
from spectromer.shards.splits import name_objects
from spectromer.shards.store import read_arrow, read_indexed, write_shard
from spectromer.shards.workers import alone, executor
from spectromer.spectra import Spectrum, name_of
from spectromer.surveys import survey_named
from spectromer.surveys.catalogs import OBJECT, Catalog, path_key, prepare_catalog

__all__ = ["REJECTED", "build", "build_shard", "reason_against"]

REJECTED = "rejected.csv"


def reason_against(spectrum: Spectrum, select: Selection) -> str | None:
    """The reason for leaving a spectrum out; None if it is kept."""
    if select.surveys and spectrum.survey not in select.surveys:
        return "survey"
    if select.classes and spectrum.labels.get("class") not in select.classes:
        return "class"
    if select.min_snr is not None and spectrum.labels.get("snr", spectrum.snr) < select.min_snr:
        return "S/N"
    if select.trusted and "class" not in believe(spectrum.labels):
        return "no trusted class"
    return None


def _chosen(
    results: Iterator[tuple[str, Spectrum | ReadError]], tables: Sequence[Catalog], select: Selection, record: Record
) -> Iterator[tuple[str, Spectrum, str | None]]:
    """The spectra that are kept, with the labels of the catalogues. The others are counted or listed in the record.

    Yields
    ------
    str, Spectrum, str or None
        The path, the spectrum, and the name of its object if a catalogue gives one.
    """
    for part in chunks(results, BLOCK_ROWS):
        record.rejected += [(path, result.reason) for path, result in part if isinstance(result, ReadError)]
        read = [(path, result) for path, result in part if isinstance(result, Spectrum)]
        labels: list[dict[str, Any]] = [dict(spectrum.labels) for _, spectrum in read]
        for table in tables:
            for keys in ([spectrum.name for _, spectrum in read], [path_key(path) for path, _ in read]):
                labels = [replace_labels(*pair) for pair in zip(labels, table.labels(keys), strict=True)]
        for (path, spectrum), known in zip(read, labels, strict=True):
            name = known.pop(OBJECT, None)
            spectrum = replace(spectrum, labels=known)
            reason = reason_against(spectrum, select)
            if reason is not None:
                record.left_out[reason] += 1
                continue
            record.surveys[spectrum.survey] += 1
            record.classes[known.get("class", "")] += 1
            yield path, spectrum, name


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def build_shard(out: Path, shard: int, sources: Sequence[str], catalogs: Sequence[Path], select: Selection) -> int:
    """Write one shard and then its record.

    This may run in any process of any machine that can access the files. The result is always the same.

    Parameters
    ----------
    out : Path
        The folder of the shards.
    shard : int
        The number of the shard.
    sources : sequence of str
        The sources that `plan` assigns to the shard.
    catalogs : sequence of Path
        Prepared catalogues; the labels of later ones replace those of earlier ones.
    select : Selection
        The criteria for the spectra that are kept.

    Returns
    -------
    int
        The number of sources.
    """
    target = shard_path(out, shard)
    record = Record(target.name, sources=len(sources))
    chosen = _chosen(read_sources(sources), [Catalog(path) for path in catalogs], select, record)

    def blocks() -> Iterator[pa.RecordBatch]:
        for rows in chunks(chosen, BLOCK_ROWS):
            paths, spectra, objects = zip(*rows, strict=True)
            yield block_of(spectra, paths, objects)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the last bits of simulated spectra depend on it
    try:
        record.rows = write_shard(blocks(), target)
    finally:
        torch.set_num_threads(threads)
    record.bytes = target.stat().st_size
    record.sha256 = _sha256(target)
    record.write(out, shard)
    return len(sources)


def _finish(out: Path, shards: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Write the files that describe all shards: the index, the list of rejected files and finally the manifest."""
    records = [record for i in range(shards) if (record := Record.read(out, i)) is not None]
    tables = [read_indexed(out / record.name) for record in records]
    rows = pa.concat_tables(tables) if tables else INDEX_SCHEMA.empty_table()
    given = rows["object"].to_pylist()
    if (out / INDEX).is_file():  # of an earlier ingestion; its names of objects are kept
        named = read_arrow(out / INDEX, INDEX_SCHEMA)["object"].to_pylist()
        given = named + given[len(named) :]
    ra, dec = (rows[name].to_numpy() for name in ("ra", "dec"))
    names = map(name_of, rows["survey"].to_pylist(), rows["object_id"].to_pylist())
    objects = name_objects(ra, dec, given, list(names))
    index = index_of(rows, objects)
    with atomic(out / INDEX) as part, pa.OSFile(str(part), "wb") as sink, pa.ipc.new_file(sink, INDEX_SCHEMA) as writer:
        writer.write_table(index)
    rejected = [ReadError(path, reason) for record in records for path, reason in record.rejected]
    write_rejected(rejected, out / REJECTED)

    def total(name: str) -> dict[str, int]:
        return dict(sorted(sum((Counter(getattr(record, name)) for record in records), Counter()).items()))

    manifest = {
        "format": FORMAT,
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
    write_manifest(manifest, out)
    return manifest


def _settle(
    out: Path, catalogs: Sequence[Path], select: Selection, shard_size: int, simulated: int, seed: int
) -> tuple[dict[str, Any], list[Path]]:
    """The settings that all shards share, and the prepared catalogues.

    Raises
    ------
    ShardError
        When the folder was begun with different settings.
    """
    prepared = [out / f"catalog-{i}.arrow" for i in range(len(catalogs))]
    for path, target in zip(catalogs, prepared, strict=True):
        prepare_catalog(path, target)
    settings: dict[str, Any] = {
        "select": asdict(select),
        "shard_size": shard_size,
        "simulated": [simulated, seed],
        "catalogs": [[path.name, _sha256(target)] for path, target in zip(catalogs, prepared, strict=True)],
    }
    settings = json.loads(json.dumps(settings))  # turns tuples into lists, as in the saved settings
    begun = read_settings(out)
    for name, value in settings.items():
        if begun is not None and begun[name] != value:
            raise ShardError(
                f"--out {out} was begun with other settings ({name}: {begun[name]}, now {value}); "
                "use the same settings, or name another folder"
            )
    write_settings(settings, out)
    return settings, prepared


class _Rate(ProgressColumn):
    """Files per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:,.0f}/s")


def build(
    paths: Sequence[str],
    out: Path,
    *,
    catalogs: Sequence[Path] = (),
    select: Selection = EVERYTHING,
    simulated: int = 0,
    seed: int = 0,
    shard_size: int = 4096,
    workers: int = 1,
    scheduler: str | None = None,
) -> dict[str, Any]:
    """Convert files to shards.

    The parameters are the options of `spectromer.ingest.IngestConfig`.

    Returns
    -------
    dict
        The content of manifest.json.

    Raises
    ------
    ArgumentError, CatalogError, DependencyError, ReadError
        When an option, a path or a catalogue is invalid, or a required package is not installed.
    ShardError
        When the folder was begun with different settings or is damaged, or a worker process has died.
    """
    for name in select.surveys:
        survey_named(name)
    out = out.absolute()
    with alone(out):
        settings, prepared = _settle(out, catalogs, select, shard_size, simulated, seed)
        shards = plan(out, paths, simulated=simulated, seed=seed, shard_size=shard_size)
        missing = [i for i in range(len(shards)) if Record.read(out, i) is None]
        total = sum(len(shard) for shard in shards)
        done = total - sum(len(shards[i]) for i in missing)
        columns = (TextColumn("ingesting"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
        with Progress(*columns) as progress:
            bar = progress.add_task("ingesting", total=total, completed=done)
            with executor(workers, scheduler) as pool:
                work = [pool.submit(build_shard, out, i, shards[i], prepared, select) for i in missing]
                try:
                    for future in as_completed(work):
                        progress.advance(bar, future.result())
                except BrokenProcessPool as error:
                    raise ShardError(
                        "a worker process has died (out of memory?); finished shards are kept: "
                        "repeat the same command to continue"
                    ) from error
                finally:
                    for future in work:
                        future.cancel()  # after an error, do not start the rest
        return _finish(out, len(shards), settings)
