"""The Arrow files of shards: writing, and reading in which every byte is checked before Arrow interprets it."""

import hashlib
import struct
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from spectromer.errors import ShardError
from spectromer.files import atomic
from spectromer.grids import log_grid
from spectromer.shards.records import indexed_path
from spectromer.shards.schema import BLOCK_ROWS, FIRST_INDEX_SCHEMA, FIRST_SCHEMA, INDEX_SCHEMA, SCHEMA

try:
    from isal.isal_zlib import crc32
except ImportError:  # there is no isal for this processor
    from zlib import crc32

__all__ = [
    "Block",
    "Place",
    "Written",
    "places_of",
    "read_block",
    "read_index",
    "read_indexed",
    "sha256_of",
    "sums",
    "write_shard",
]

_MAGIC = 8  # bytes before the first message of an Arrow file
_MARK = struct.Struct("<Ii")  # what an Arrow message begins with: a mark, and the size of its description
_PIECE = 1 << 24  # bytes of a file that are read at a time


class Written(NamedTuple):
    """What `write_shard` has written.

    Attributes
    ----------
    rows, bytes : int
        The number of spectra, and the size of the file.
    sha256 : str
        The checksum of the file, in hexadecimal digits.
    blocks : list of [int, int, int]
        The offset, the size and the CRC-32 of each block.
    indexed : dict
        The size and the CRC-32 of the file of the rows without pixels.
    """

    rows: int
    bytes: int
    sha256: str
    blocks: list[list[int]]
    indexed: dict[str, int]


class Place(NamedTuple):
    """The place of a block: a file, the number of the block in it, its offset, its size and its CRC-32.

    The size is -1 in format 1, which has no checksums.
    """

    path: Path
    number: int
    offset: int = 0
    bytes: int = -1
    crc32: int = 0


def write_shard(blocks: Iterable[pa.RecordBatch], path: Path) -> Written:
    """Write record batches to an Arrow IPC file, and the rows without pixels to a second one."""
    rows, ends = 0, []
    with ExitStack() as stack:
        index_part = stack.enter_context(atomic(indexed_path(path)))
        part = stack.enter_context(atomic(path))
        with _writer(index_part, INDEX_SCHEMA) as (index, _), _writer(part, SCHEMA) as (pixels, file):
            for block in blocks:
                pixels.write_batch(block)
                ends.append(file.tell())
                index.write_batch(block.select(INDEX_SCHEMA.names).cast(INDEX_SCHEMA))
                rows += block.num_rows
        size, sha256, found = _block_sums(part, ends)
        return Written(rows, size, sha256, found, sums(index_part))


@contextmanager
def _writer(path: Path, schema: pa.Schema) -> Iterator[tuple[Any, pa.NativeFile]]:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        yield writer, file


def _block_sums(path: Path, ends: list[int]) -> tuple[int, str, list[list[int]]]:
    """The size and the SHA-256 of a file, and the offset, size and CRC-32 of each block, given their ends."""
    whole, found = hashlib.sha256(), []
    with path.open("rb") as file:
        start = file.read(_MAGIC + _MARK.size)
        start += file.read(_MARK.unpack_from(start, _MAGIC)[1])  # the schema
        whole.update(start)
        offset = len(start)
        for end in ends:
            content = file.read(end - offset)
            whole.update(content)
            found.append([offset, len(content), crc32(content)])
            offset = end
        whole.update(file.read())
        return file.tell(), whole.hexdigest(), found


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sums(path: Path) -> dict[str, int]:
    """The size and the CRC-32 of a file."""
    size = found = 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            size, found = size + len(piece), crc32(piece, found)
    return {"bytes": size, "crc32": found}


@dataclass(frozen=True)
class Block:
    """The pixels of one record batch.

    Attributes
    ----------
    ends : ndarray [rows + 1] int32
        The offsets of the spectra in `flux` and `ivar`, including the end of the last one.
    flux, ivar : ndarray [pixels of all] float32
    coeff0, coeff1 : ndarray [rows] float64
        The logarithmic grid of each spectrum; NaN if its wavelengths are listed instead.
    wavelength : ndarray float64
        The listed wavelengths in Angstrom, concatenated.
    wavelength_ends : ndarray [rows + 1] int32
        The offsets of the spectra in `wavelength`, including the end of the last one.
    """

    ends: np.ndarray
    flux: np.ndarray
    ivar: np.ndarray
    coeff0: np.ndarray
    coeff1: np.ndarray
    wavelength: np.ndarray
    wavelength_ends: np.ndarray

    @classmethod
    def from_arrow(cls, batch: pa.RecordBatch) -> "Block":
        """Make a block of views into a record batch.

        Raises
        ------
        ValueError
            When the lengths of its columns contradict each other.
        """

        def flat(name: str) -> tuple[np.ndarray, np.ndarray]:
            lists = batch.column(name)
            values, ends = lists.values.to_numpy(zero_copy_only=False), lists.offsets.to_numpy()
            if ends[0] < 0 or ends[-1] > len(values) or (ends[1:] < ends[:-1]).any():
                raise ValueError(f"the offsets of {name} do not ascend within its values")
            return values, ends

        (flux, ends), (ivar, ivar_ends), (wavelength, listed) = flat("flux"), flat("ivar"), flat("lambda")
        coeff0, coeff1 = (batch.column(name).to_numpy(zero_copy_only=False) for name in ("coeff0", "coeff1"))
        counts = np.diff(ends)
        if not np.array_equal(ends, ivar_ends) or (np.diff(listed) != np.where(np.isnan(coeff1), counts, 0)).any():
            raise ValueError("flux, ivar and wavelengths differ in length")
        return cls(ends, flux, ivar, coeff0, coeff1, wavelength, listed)

    def wavelengths(self, row: int) -> np.ndarray:
        """The wavelengths of one spectrum, [N] Angstrom, float64."""
        if np.isnan(self.coeff1[row]):
            return self.wavelength[self.wavelength_ends[row] : self.wavelength_ends[row + 1]]
        return log_grid(self.coeff0[row], self.coeff1[row], int(self.ends[row + 1] - self.ends[row]))


def _reader(file: pa.NativeFile, path: Path, schema: pa.Schema) -> pa.ipc.RecordBatchFileReader:
    """Open a reader of an Arrow file, which must have the columns of `schema`."""
    try:
        reader = pa.ipc.open_file(file)
    except (OSError, pa.ArrowException) as error:
        raise ShardError(f"{path}: not a whole Arrow file ({error})") from error
    if not reader.schema.equals(schema):
        wrong = [field.name for field in schema if field not in list(reader.schema)]
        wrong = wrong or [field.name for field in reader.schema if field not in list(schema)]
        raise ShardError(f"{path}: its columns are not those of this version of Spectromer ({', '.join(wrong)})")
    return reader


def places_of(folder: Path, shard: dict[str, Any]) -> list[Place]:
    """The places of the blocks of a shard, given its entry in the manifest.

    Raises
    ------
    ShardError
        When the file is missing, has another size, or cannot hold these blocks.
    """
    path = folder / shard["name"]
    if not path.is_file() or path.stat().st_size != shard["bytes"]:
        raise ShardError(f"{path}: the manifest says {shard['bytes']} bytes; the file is missing or differs")
    if "blocks" in shard:
        found = [Place(path, number, *block) for number, block in enumerate(shard["blocks"])]
    else:
        with pa.OSFile(str(path)) as file:
            found = [Place(path, number) for number in range(_reader(file, path, FIRST_SCHEMA).num_record_batches)]
    count = -(-shard["rows"] // BLOCK_ROWS)
    if len(found) != count:
        raise ShardError(f"{path}: it must have {count} blocks for {shard['rows']} rows, it has {len(found)}")
    if any(place.offset + place.bytes > shard["bytes"] for place in found):
        raise ShardError(f"{path}: the manifest has a block that ends after the {shard['bytes']} bytes of the file")
    return found


def read_block(place: Place) -> Block:
    """Read one block, and check it.

    Raises
    ------
    ShardError
        When the file cannot be read, or the block is damaged.
    """
    path = place.path
    try:
        # Read instead of mapped: a block is contiguous on disk, and mapped pages would count as resident memory.
        with pa.OSFile(str(path)) as file:
            if place.bytes < 0:
                batch = _reader(file, path, FIRST_SCHEMA).get_batch(place.number)
                batch.validate(full=True)
                return Block.from_arrow(batch)
            file.seek(place.offset)
            content = file.read_buffer(place.bytes)
        if content.size != place.bytes or crc32(content) != place.crc32:
            raise ShardError(f"{path}: block {place.number} is damaged, as its checksum differs from its content's")
        batch = pa.ipc.read_record_batch(content, SCHEMA)
        batch.validate()
        return Block.from_arrow(batch)
    except (OSError, ValueError, pa.ArrowException) as error:
        if isinstance(error, ShardError):
            raise
        raise ShardError(f"{path}: block {place.number} cannot be read ({error})") from error


def read_index(path: Path, saved: dict[str, int] | None) -> pa.Table:
    """Read the rows without pixels by mapping the file into memory, and check it.

    Parameters
    ----------
    path : Path
    saved : dict, optional
        The size and the CRC-32 that the file must have; None in format 1, which has no checksums.

    Raises
    ------
    ShardError
        When the file is missing or damaged, or has other columns.
    """
    try:
        with pa.memory_map(str(path)) as file:
            if saved is not None:
                content = file.read_buffer()
                if {"bytes": content.size, "crc32": crc32(content)} != saved:
                    raise ShardError(f"{path}: it is damaged, as its checksum differs from its content's")
                file.seek(0)
            table = _reader(file, path, INDEX_SCHEMA if saved is not None else FIRST_INDEX_SCHEMA).read_all()
        table.validate(full=saved is None)
    except (OSError, pa.ArrowException) as error:
        raise ShardError(f"{path}: not a whole Arrow file ({error})") from error
    if saved is None:
        at = INDEX_SCHEMA.get_field_index("flux_scale")
        table = table.add_column(at, INDEX_SCHEMA.field(at), pa.array(np.ones(len(table)))).cast(INDEX_SCHEMA)
    return table


def read_indexed(shard: Path, saved: dict[str, int]) -> pa.Table:
    """The rows of a shard without their pixels; see `read_index`."""
    return read_index(indexed_path(shard), saved)
