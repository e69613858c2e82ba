"""Writing of spectra to shards, in one pass over the sources and with one copy of the spectra.

The work is divided into shards. A shard depends on its sources alone, so that every process and every run makes the
same one. It is finished when its record has been written. An ingestion that was interrupted makes only the missing
shards when it is repeated.

A spectrum that cannot be selected or stored, whatever is odd about it, is listed in rejected.csv with the reason, as a
file is that cannot be read. It does not stop the ingestion.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict, replace
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from spectromer.chunks import chunks
from spectromer.errors import ReadError, ShardError, SpectromerError
from spectromer.files import alone, check_folder, printable
from spectromer.labels import believe, replace_labels
from spectromer.shards.blocks import sha256_of, write_shard
from spectromer.shards.finish import finish
from spectromer.shards.plan import find_sources, plan, read_source
from spectromer.shards.records import FORMAT, SETTINGS, Record, catalog_path, read_settings, shard_path, write_settings
from spectromer.shards.schema import BLOCK_ROWS, block_of
from spectromer.shards.selection import EVERYTHING, LIMITS, Limits, Selection
from spectromer.shards.workers import executor, make_shard
from spectromer.spectra import Spectrum
from spectromer.surveys import survey_named
from spectromer.surveys.catalogs import OBJECT, Catalog, path_key, prepare_catalog

__all__ = ["Position", "build", "build_shard", "reason_against"]


class Position:
    """The place of an ingestion in its sources. A subclass can pass it on; this class does nothing."""

    def set(self, source: int) -> None:
        """Note that the source with this number is read from now on, or none, if it is -1. Called for each spectrum."""


class _Row(NamedTuple):
    """A spectrum for a shard: its path, and the name of its object if a catalogue gives one."""

    path: str
    spectrum: Spectrum
    object: str | None


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


def _read(
    sources: Sequence[str], refused: Mapping[int, str], position: Position
) -> Iterator[tuple[str, Spectrum | ReadError]]:
    """Read all sources except for those that are refused, which become errors."""
    for number, source in enumerate(sources):
        if number in refused:
            yield source, ReadError(source, refused[number])
            continue
        position.set(number)
        for result in read_source(source):
            position.set(-1)
            yield result
            position.set(number)
        position.set(-1)


def _keyed(
    results: Iterator[tuple[str, Spectrum | ReadError]],
) -> Iterator[tuple[str, Spectrum | ReadError, str]]:
    """Each result with the key of its file, which is empty for a file of several spectra."""
    before = ""
    for (path, result), after in pairwise(chain(results, [("", None)])):
        if result is not None:
            yield path, result, "" if path in (before, after[0]) else path_key(path)
        before = path


def _chosen(
    results: Iterator[tuple[str, Spectrum | ReadError]], tables: Sequence[Catalog], select: Selection, record: Record
) -> Iterator[_Row]:
    """The spectra that are kept, with the labels of the catalogues. The others are counted or listed in the record."""
    for part in chunks(_keyed(results), BLOCK_ROWS):
        record.rejected += [(path, result.reason) for path, result, _ in part if isinstance(result, ReadError)]
        rows = [(path, result, key) for path, result, key in part if isinstance(result, Spectrum)]
        read = [(path, spectrum) for path, spectrum, _ in rows]
        labels: list[dict[str, Any]] = [dict(spectrum.labels) for _, spectrum in read]
        for table in tables:
            for keys in ([printable(spectrum.name) for _, spectrum in read], [key for *_, key in rows]):
                found = table.labels(keys)
                labels = [replace_labels(*pair) for pair in zip(labels, found, strict=True)]
        for (path, spectrum), known in zip(read, labels, strict=True):
            name = known.pop(OBJECT, None)
            spectrum = replace(spectrum, labels=known)
            try:
                reason = reason_against(spectrum, select)
            except Exception as error:  # a label may be anything
                record.rejected.append((path, f"its labels are odd ({type(error).__name__}: {error})"))
                continue
            if reason is not None:
                record.left_out[reason] += 1
                continue
            yield _Row(path, spectrum, name)


def _blocks(rows: Iterator[_Row], record: Record) -> Iterator[pa.RecordBatch]:
    """Blocks of `BLOCK_ROWS` rows, and a shorter last one. A row that cannot be stored is rejected."""
    waiting: list[_Row] = []
    while True:
        more = list(islice(rows, BLOCK_ROWS - len(waiting)))
        waiting += more
        if not waiting:
            return
        try:
            block = _block(waiting)
        except Exception:  # find the rows that are to blame
            waiting = [row for row in waiting if _fits(row, record)]
            continue
        for kind, names in ((record.surveys, block["survey"]), (record.classes, block["class"])):
            kind.update(name or "" for name in names.to_pylist())
        yield block
        waiting = []


def _block(rows: Sequence[_Row]) -> pa.RecordBatch:
    paths, spectra, objects = zip(*rows, strict=True)
    return block_of(spectra, paths, objects)


def _fits(row: _Row, record: Record) -> bool:
    """Tell whether a row can be stored. If not, it is listed in the record."""
    try:
        _block([row])
    except Exception as error:
        kind = "" if isinstance(error, SpectromerError) else f"{type(error).__name__}: "
        record.rejected.append((row.path, f"it cannot be stored ({kind}{error})"))
        return False
    return True


def build_shard(
    out: Path,
    shard: int,
    sources: Sequence[str],
    catalogs: Sequence[Path],
    select: Selection,
    refused: Mapping[int, str] | None = None,
    position: Position | None = None,
) -> Record:
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
    refused : mapping, optional
        The numbers of the sources that are not to be read, with the reasons.
    position : Position, optional
        An object that is told which source is read.

    Returns
    -------
    Record
        The description of the shard.
    """
    target = shard_path(out, shard)
    record = Record(target.name, sources=len(sources))
    results = _read(sources, refused or {}, position or Position())
    rows = _chosen(results, [Catalog(path) for path in catalogs], select, record)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the last bits of simulated spectra depend on it
    try:
        written = write_shard(_blocks(rows, record), target)
    finally:
        torch.set_num_threads(threads)
    record.rows, record.bytes, record.sha256, record.blocks, record.index = written
    record.rejected = [(printable(path), printable(reason)) for path, reason in record.rejected]
    record.write(out, shard)
    return record


def _settle(
    out: Path, catalogs: Sequence[Path], select: Selection, shard_size: int, simulated: int, seed: int
) -> tuple[dict[str, Any], list[Path]]:
    """The settings that all shards share, and the prepared catalogues.

    Raises
    ------
    ShardError
        When the folder was begun with different settings.
    """
    prepared = [catalog_path(out, i) for i in range(len(catalogs))]
    for path, target in zip(catalogs, prepared, strict=True):
        prepare_catalog(path, target)
    settings: dict[str, Any] = {
        "format": FORMAT,
        "select": asdict(select),
        "shard_size": shard_size,
        "simulated": [simulated, seed],
        "catalogs": [[path.name, sha256_of(target)] for path, target in zip(catalogs, prepared, strict=True)],
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
    limits: Limits = LIMITS,
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
        When the folder was begun with different settings or is damaged, or a shard cannot be made.
    """
    for name in select.surveys:
        survey_named(name)
    out = out.absolute()
    check_folder(out, "shards")
    sources = find_sources(paths, simulated=simulated, seed=seed, shard_size=shard_size)  # before a folder is made
    fresh = not out.exists()
    with alone(out, "ingestion"):
        try:
            settings, prepared = _settle(out, catalogs, select, shard_size, simulated, seed)
        except BaseException:
            if fresh and not (out / SETTINGS).exists():
                shutil.rmtree(out)  # nothing has come of it
            raise
        shards = plan(out, sources, shard_size)
        missing = [i for i in range(len(shards)) if Record.read(out, i) is None]
        total = sum(len(shard) for shard in shards)
        done = total - sum(len(shards[i]) for i in missing)
        columns = (TextColumn("ingesting"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
        with Progress(*columns) as progress:
            bar = progress.add_task("ingesting", total=total, completed=done)
            with executor(workers, scheduler) as pool:
                work = [pool.submit(make_shard, out, i, shards[i], prepared, select, limits) for i in missing]
                try:
                    for future in as_completed(work):
                        progress.advance(bar, future.result())
                finally:
                    for future in work:
                        future.cancel()  # after an error, do not start the rest
        return finish(out, len(shards), settings)
