"""The sources of each shard: files, parts of Hugging Face datasets and pieces of the simulated survey."""

import glob
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from spectromer.errors import ArgumentError, ReadError, ShardError
from spectromer.files import atomic, printable
from spectromer.spectra import Spectrum
from spectromer.surveys import Skipped, find_files, multimodal, read_each
from spectromer.surveys.own_files import holds_spectrum
from spectromer.surveys.simulated import CHUNK, simulate

__all__ = ["PLAN", "find_sources", "is_file", "is_stream", "plan", "read_plan", "read_source", "read_sources"]

PLAN = "files.parquet"
#: Sources are bytes, as the name of a file need not be text.
_PLAN_SCHEMA = pa.schema([pa.field("source", pa.binary()), pa.field("shard", pa.int32())])
_CHECKSUM = b"sha256"
_SPECTRUM_BYTES = 1 << 18  # file size per spectrum, from which the number of spectra in a file is estimated
_STREAM = f"{multimodal.STREAM}:"
_SIMULATED = "simulated:"  # the source simulated:SEED:FIRST:COUNT stands for COUNT simulated spectra


def _listed(paths: Sequence[str], lists: tuple[str, ...] = ()) -> Iterator[str]:
    """The files that the paths denote. `lists` are the lists of files from which they come.

    A path in a list that denotes nothing is yielded as it is, and is rejected when it is read.
    """
    for path in paths:
        there = not _is_odd(path) and os.path.exists(path)
        if there and path.endswith(".txt") and os.path.isfile(path) and not holds_spectrum(Path(path)):
            real = os.path.realpath(path)
            if real in lists:
                raise ArgumentError(f"{path}: this list of files names itself")
            yield from _listed(_lines(path), (*lists, real))
        elif not there and (found := _fitting(path)):
            yield from _listed(found, lists)
        elif not there and not lists:
            what = "no file fits this pattern" if glob.has_magic(path) else "no such file or folder"
            raise ArgumentError(f"{path}: {what}")
        elif not there:
            yield path if _is_odd(path) else os.path.abspath(path)
        else:
            skipped = Skipped()
            yield from (os.path.abspath(file) for file in find_files(path, skipped))
            if str(skipped):
                print(f"{printable(path)}: {skipped}")


def _fitting(pattern: str) -> list[str]:
    return [] if _is_odd(pattern) or not glob.has_magic(pattern) else sorted(glob.glob(pattern, recursive=True))


def _is_odd(path: str) -> bool:
    return "\0" in path  # the system's functions raise ValueError


def _lines(path: str) -> list[str]:
    """The paths in a list of files. Bytes that are not UTF-8 are decoded as in the names of the operating system."""
    try:
        lines = Path(path).read_bytes().split(b"\n")
    except OSError as error:
        raise ArgumentError(f"{path}: the list of files cannot be read ({error.strerror})") from error
    return [line for line in (os.fsdecode(line).strip() for line in lines) if line]


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except (OSError, ValueError):  # it has vanished, or its name is odd; it is rejected when it is read
        return 0


def find_sources(paths: Sequence[str], *, simulated: int, seed: int, shard_size: int) -> list[tuple[str, int]]:
    """The sources, each with the estimated number of its spectra.

    Parameters
    ----------
    paths : sequence of str
        Files, folders, patterns, lists of paths, or hf:NAME; see `spectromer.ingest.IngestConfig`. Files in folders
        that are not read are reported in one line for each folder.
    simulated, seed : int
        The number of simulated spectra, and their seed.
    shard_size : int
        The approximate number of spectra in a shard.

    Raises
    ------
    ArgumentError, ReadError
        When a path does not exist, or a dataset cannot be opened.
    """
    return list(_sources(paths, simulated, seed, shard_size))


def _sources(paths: Sequence[str], simulated: int, seed: int, shard_size: int) -> Iterator[tuple[str, int]]:
    for path in (path for path in paths if path.startswith(_STREAM)):
        for source in multimodal.stream_parts(path):
            yield source, shard_size
    for file in _listed([path for path in paths if not path.startswith(_STREAM)]):
        yield file, max(1, -(-_size(file) // _SPECTRUM_BYTES))
    for first in range(0, simulated, CHUNK):
        yield f"{_SIMULATED}{seed}:{first}:{min(CHUNK, simulated - first)}", CHUNK


def plan(out: Path, sources: Sequence[tuple[str, int]], shard_size: int) -> list[list[str]]:
    """Assign sources to shards. The plan of an earlier call is kept, and new sources go to additional shards.

    Parameters
    ----------
    out : Path
        The folder of the shards, in which the plan is stored.
    sources : sequence of (str, int)
        The sources with the estimated number of their spectra; see `find_sources`.
    shard_size : int
        The approximate number of spectra in a shard.

    Raises
    ------
    ShardError
        When the plan of an earlier call is damaged.
    """
    path = out / PLAN
    shards = read_plan(out) if path.is_file() else []
    known = {source for shard in shards for source in shard}
    room = 0
    for source, spectra in sources:
        if source in known:
            continue
        known.add(source)
        if room < spectra:
            shards.append([])
            room = shard_size
        shards[-1].append(source)
        room -= spectra
    numbers = np.repeat(np.arange(len(shards), dtype=np.int32), [len(shard) for shard in shards])
    names = [os.fsencode(source) for shard in shards for source in shard]
    encoded = pa.array(names, pa.binary())
    schema = _PLAN_SCHEMA.with_metadata({_CHECKSUM: _checksum(names, numbers)})
    with atomic(path) as part:
        pyarrow.parquet.write_table(pa.table([encoded, numbers], schema), part, compression="zstd")
    return shards


def _checksum(sources: Sequence[bytes], numbers: np.ndarray) -> bytes:
    """The SHA-256 of a plan, in hexadecimal digits."""
    found = hashlib.sha256(numbers.astype("<i4").tobytes())
    for source in sources:
        found.update(source + b"\n")
    return found.hexdigest().encode()


def read_plan(out: Path) -> list[list[str]]:
    """The sources of each shard, as an earlier call of `plan` has assigned them.

    Raises
    ------
    ShardError
        When the plan is missing or damaged.
    """
    path = out / PLAN
    try:
        table = pyarrow.parquet.read_table(path)
        table.validate(full=True)
    except (OSError, pa.ArrowException) as error:
        raise ShardError(f"{path}: not a whole Parquet file ({error}); name another folder") from error
    if not table.schema.equals(_PLAN_SCHEMA) or table["source"].null_count or table["shard"].null_count:
        raise ShardError(f"{path}: not a plan of this version of Spectromer; name another folder")
    sources, numbers = table["source"].to_pylist(), table["shard"].to_numpy()
    if (table.schema.metadata or {}).get(_CHECKSUM) != _checksum(sources, numbers):
        raise ShardError(f"{path}: it is damaged, as its checksum differs from its content's; name another folder")
    shards: list[list[str]] = [[] for _ in range(int(numbers[-1]) + 1 if len(numbers) else 0)]
    for source, shard in zip(sources, numbers.tolist(), strict=True):
        shards[shard].append(os.fsdecode(source))
    return shards


def read_sources(sources: Sequence[str]) -> Iterator[tuple[str, Spectrum | ReadError]]:
    """Read sources one after the other. Yields a path with a spectrum, or with a ReadError.

    Whatever a source makes a reader raise costs the rest of this source alone.
    """
    for source in sources:
        yield from read_source(source)


def read_source(source: str) -> Iterator[tuple[str, Spectrum | ReadError]]:
    """Read one source; see `read_sources`.

    Raises
    ------
    DependencyError, ReadError
        When a dataset of Hugging Face cannot be reached. The same command can be repeated later.
    """
    if source.startswith(_SIMULATED):
        seed, first, count = (int(part) for part in source.removeprefix(_SIMULATED).split(":"))
        yield from ((source, spectrum) for spectrum in simulate(count, seed=seed, first=first))
    elif source.startswith(_STREAM):
        yield from ((source, result) for result in multimodal.read_stream(source))
    else:
        try:
            yield from ((source, result) for _, result in read_each([source]))
        except Exception as error:  # an odd file may make a reader raise anything
            yield source, ReadError(source, f"not readable ({type(error).__name__}: {error})")


def is_file(source: str) -> bool:
    """Tell whether a source is a file."""
    return not source.startswith((_STREAM, _SIMULATED))


def is_stream(source: str) -> bool:
    """Tell whether a source is a part of a dataset of Hugging Face, which needs the network."""
    return source.startswith(_STREAM)
