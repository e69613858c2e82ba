"""The sources of each shard: files, parts of Hugging Face datasets and pieces of the simulated survey."""

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from spectromer.errors import ArgumentError, ReadError, ShardError
from spectromer.files import atomic
from spectromer.spectra import Spectrum
from spectromer.surveys import find_files, multimodal, read_each
from spectromer.surveys.simulated import CHUNK, simulate

__all__ = ["plan", "read_sources"]

_PLAN = "files.parquet"
_PLAN_SCHEMA = pa.schema([pa.field("source", pa.string()), pa.field("shard", pa.int32())])
_SPECTRUM_BYTES = 1 << 18  # file size per spectrum, from which the number of spectra in a file is estimated
_STREAM = f"{multimodal.STREAM}:"
_SIMULATED = "simulated:"  # the source simulated:SEED:FIRST:COUNT stands for COUNT simulated spectra


def _listed(paths: Sequence[str]) -> Iterator[str]:
    """The files that the paths denote."""
    for path in paths:
        if os.path.exists(path) and path.endswith(".txt"):
            yield from _listed([line.strip() for line in Path(path).read_text().splitlines() if line.strip()])
        elif glob.has_magic(path) and not os.path.exists(path):
            found = sorted(glob.glob(path, recursive=True))
            if not found:
                raise ArgumentError(f"{path}: no file fits this pattern")
            yield from _listed(found)
        elif not os.path.exists(path):
            raise ArgumentError(f"{path}: no such file or folder")
        else:
            yield from (os.path.abspath(file) for file in find_files(path))


def _sources(paths: Sequence[str], simulated: int, seed: int, shard_size: int) -> Iterator[tuple[str, int]]:
    """The sources, each with the estimated number of its spectra."""
    for path in (path for path in paths if path.startswith(_STREAM)):
        for source in multimodal.stream_parts(path):
            yield source, shard_size
    for file in _listed([path for path in paths if not path.startswith(_STREAM)]):
        yield file, max(1, -(-os.path.getsize(file) // _SPECTRUM_BYTES))
    for first in range(0, simulated, CHUNK):
        yield f"{_SIMULATED}{seed}:{first}:{min(CHUNK, simulated - first)}", CHUNK


def plan(out: Path, paths: Sequence[str], *, simulated: int, seed: int, shard_size: int) -> list[list[str]]:
    """Assign sources to shards. The plan of an earlier call is kept, and new sources go to additional shards.

    Parameters
    ----------
    out : Path
        The folder of the shards, in which the plan is stored.
    paths : sequence of str
        Files, folders, patterns, lists of paths, or hf:NAME; see `spectromer.ingest.IngestConfig`.
    simulated, seed : int
        The number of simulated spectra, and their seed.
    shard_size : int
        The approximate number of spectra in a shard.

    Raises
    ------
    ArgumentError, ReadError
        When a path does not exist, or a dataset cannot be opened.
    ShardError
        When the plan of an earlier call is damaged.
    """
    path = out / _PLAN
    shards = _read_plan(path) if path.is_file() else []
    known = {source for shard in shards for source in shard}
    room = 0
    for source, spectra in _sources(paths, simulated, seed, shard_size):
        if source in known:
            continue
        known.add(source)
        if room < spectra:
            shards.append([])
            room = shard_size
        shards[-1].append(source)
        room -= spectra
    numbers = np.repeat(np.arange(len(shards), dtype=np.int32), [len(shard) for shard in shards])
    sources = pa.array([source for shard in shards for source in shard], pa.string())
    with atomic(path) as part:
        pyarrow.parquet.write_table(pa.table([sources, numbers], _PLAN_SCHEMA), part, compression="zstd")
    return shards


def _read_plan(path: Path) -> list[list[str]]:
    try:
        table = pyarrow.parquet.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise ShardError(f"{path}: not a whole Parquet file ({error}); name another folder") from error
    if not table.schema.equals(_PLAN_SCHEMA) or table["source"].null_count or table["shard"].null_count:
        raise ShardError(f"{path}: not a plan of this version of Spectromer; name another folder")
    numbers = table["shard"].to_numpy()
    steps = np.diff(numbers, prepend=-1)
    if not ((steps == 0) | (steps == 1)).all() or (len(steps) and steps[0] != 1):
        raise ShardError(f"{path}: its shards are not counted from 0 on; name another folder")
    shards: list[list[str]] = [[] for _ in range(int(numbers[-1]) + 1 if len(numbers) else 0)]
    for source, shard in zip(table["source"].to_pylist(), numbers.tolist(), strict=True):
        shards[shard].append(source)
    return shards


def read_sources(sources: Sequence[str]) -> Iterator[tuple[str, Spectrum | ReadError]]:
    """Read sources one after the other. Yields a path with a spectrum, or with a ReadError."""
    for source in sources:
        if source.startswith(_SIMULATED):
            seed, first, count = (int(part) for part in source.removeprefix(_SIMULATED).split(":"))
            yield from ((source, spectrum) for spectrum in simulate(count, seed=seed, first=first))
        elif source.startswith(_STREAM):
            yield from ((source, result) for result in multimodal.read_stream(source))
        else:
            yield from ((str(path), result) for path, result in read_each([source]))
