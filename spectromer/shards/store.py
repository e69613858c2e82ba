"""Shards: any number of spectra as Arrow files, which can be read in parts.

A folder of shards contains

- `shard-00000.arrow`, ...: Arrow IPC files with one row per spectrum, in record batches ("blocks") of 256 rows. Any
  Arrow tool can read them (Hugging Face datasets, polars, DuckDB). The columns are `object_id`, `survey`, `path`,
  `flux` and `ivar` as lists of float32, and the labels. Wavelengths are stored as `coeff0` and `coeff1`
  (10 ** (coeff0 + coeff1 i) Angstrom) or, if they are not on such a grid, as the list `lambda`;
- `shard-00000.index.arrow`, ...: the same rows without their pixels;
- `index.arrow`: the rows of all shards without their pixels, with the name of the object that each spectrum shows;
- `manifest.json`: counts, checksums, and the number of spectra left out, by reason.
"""

import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from spectromer.errors import ShardError
from spectromer.files import atomic
from spectromer.grids import LogGrid, common_grid, extended, log_grid
from spectromer.labels import LABELS, BelievedLabels
from spectromer.shards.records import INDEX, read_manifest
from spectromer.shards.schema import BLOCK_ROWS, INDEX_SCHEMA, SCHEMA, block_of, index_of
from spectromer.spectra import Spectrum, SpectrumBatch

__all__ = ["Block", "BlockCache", "ShardSet", "read_arrow", "read_indexed", "write_shard"]


def write_shard(blocks: Iterable[pa.RecordBatch], path: Path) -> int:
    """Write record batches to an Arrow IPC file, and the rows without pixels to a second one; return their number."""
    rows = 0
    with ExitStack() as stack:
        index, pixels = (_writer(stack, *to) for to in ((_indexed_path(path), INDEX_SCHEMA), (path, SCHEMA)))
        for block in blocks:
            pixels.write_batch(block)
            index.write_batch(block.select(INDEX_SCHEMA.names).cast(INDEX_SCHEMA))
            rows += block.num_rows
    return rows


def _writer(stack: ExitStack, path: Path, schema: pa.Schema) -> Any:
    file = stack.enter_context(pa.OSFile(str(stack.enter_context(atomic(path))), "wb"))
    return stack.enter_context(pa.ipc.new_file(file, schema))


def _indexed_path(path: Path) -> Path:
    return path.with_suffix(".index.arrow")


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
        """Make a block of views into a record batch."""

        def flat(name: str) -> tuple[np.ndarray, np.ndarray]:
            lists = batch.column(name)
            return lists.values.to_numpy(zero_copy_only=False), lists.offsets.to_numpy()

        (flux, ends), (ivar, _), (wavelength, listed) = flat("flux"), flat("ivar"), flat("lambda")
        coeff0, coeff1 = (batch.column(name).to_numpy(zero_copy_only=False) for name in ("coeff0", "coeff1"))
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


def read_arrow(path: Path, schema: pa.Schema) -> pa.Table:
    """Read an Arrow file by mapping it into memory.

    Raises
    ------
    ShardError
        When the file is missing, is not a complete Arrow file, or has columns other than those of `schema`.
    """
    try:
        with pa.memory_map(str(path)) as file:
            return _reader(file, path, schema).read_all()
    except (OSError, pa.ArrowException) as error:
        raise ShardError(f"{path}: not a whole Arrow file ({error})") from error


def read_indexed(path: Path) -> pa.Table:
    """The rows of a shard without their pixels; see `read_arrow`."""
    return read_arrow(_indexed_path(path), INDEX_SCHEMA)


def _stack(parts: Sequence[tuple[Block, int]], grid: LogGrid | None) -> tuple[torch.Tensor, ...]:
    """Stack rows of blocks as the flux, ivar and wavelength of a SpectrumBatch, on `grid` if it is given."""
    counts = [int(block.ends[row + 1] - block.ends[row]) for block, row in parts]
    if grid is None and parts:
        firsts, steps = zip(*((block.coeff0[row], block.coeff1[row]) for block, row in parts), strict=True)
        grid = common_grid(firsts, steps, counts)
    pixels = grid.pixels if grid is not None else max(counts, default=0)
    flux, ivar = np.zeros((2, len(parts), pixels), np.float32)
    wavelength = grid.wavelength if grid is not None else np.empty((len(parts), pixels))
    starts: Sequence[int] | np.ndarray = (
        grid.starts(np.array([block.coeff0[row] for block, row in parts])) if grid is not None else [0] * len(parts)
    )
    for i, ((block, row), start, count) in enumerate(zip(parts, starts, counts, strict=True)):
        source = slice(block.ends[row], block.ends[row + 1])
        flux[i, start : start + count] = block.flux[source]
        ivar[i, start : start + count] = block.ivar[source]
        if grid is None:
            wavelength[i] = extended(block.wavelengths(row), pixels)
    return torch.from_numpy(flux), torch.from_numpy(ivar), torch.from_numpy(wavelength)


class ShardSet:
    """Spectra that are read from shards block by block, or that are held in memory in the same form.

    Attributes
    ----------
    index : pyarrow.Table
        One row per spectrum: object_id, survey, path, object, labels, coeff0, coeff1, pixels.
    block_starts : ndarray [blocks + 1] int64
        The first row of each block.
    grid : LogGrid or None
        The common grid of all spectra, which is then the wavelength axis of every batch; None if there is none.
    """

    def __init__(
        self, index: pa.Table, block_starts: np.ndarray, places: Sequence[tuple[Path, int] | pa.RecordBatch]
    ) -> None:
        self.index, self.block_starts, self._places = index, block_starts, places
        self.grid = common_grid(*(index[name].to_numpy() for name in ("coeff0", "coeff1", "pixels")))

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> "ShardSet":
        """Open a folder of shards that `python -m spectromer.ingest` has made.

        Raises
        ------
        ShardError
            When the manifest is missing, or a file is missing, damaged or different from the manifest's description.
        """
        folder = Path(folder)
        places: list[tuple[Path, int]] = []
        starts = [0]
        for shard in read_manifest(folder)["shards"]:
            path = folder / shard["name"]
            if not path.is_file() or path.stat().st_size != shard["bytes"]:
                raise ShardError(f"{path}: the manifest says {shard['bytes']} bytes; the file is missing or differs")
            blocks = -(-shard["rows"] // BLOCK_ROWS)
            with pa.OSFile(str(path)) as file:
                found = _reader(file, path, SCHEMA).num_record_batches
            if found != blocks:
                raise ShardError(f"{path}: it must have {blocks} blocks for {shard['rows']} rows, it has {found}")
            for first in range(0, shard["rows"], BLOCK_ROWS):
                places.append((path, first // BLOCK_ROWS))
                starts.append(starts[-1] + min(BLOCK_ROWS, shard["rows"] - first))
        index = read_arrow(folder / INDEX, INDEX_SCHEMA)
        if len(index) != starts[-1]:
            raise ShardError(f"{folder}: the index has {len(index)} rows, the shards {starts[-1]}")
        return cls(index, np.array(starts), places)

    @classmethod
    def from_spectra(
        cls, spectra: Sequence[Spectrum], paths: Sequence[str] | None = None, objects: Sequence[str] | None = None
    ) -> "ShardSet":
        """Make a set of spectra in memory. Without `objects`, each spectrum shows a different object."""
        cuts = range(0, len(spectra), BLOCK_ROWS)
        blocks = [block_of(spectra[i : i + BLOCK_ROWS], paths and paths[i : i + BLOCK_ROWS]) for i in cuts]
        table = pa.Table.from_batches(blocks, SCHEMA)
        return cls(
            index_of(table, objects or [s.name for s in spectra]),
            np.array([*cuts, len(spectra)]),
            blocks,
        )

    def __len__(self) -> int:
        return len(self.index)

    def load(self, block: int) -> Block:
        """Read one block.

        Raises
        ------
        ShardError
            When the file is damaged.
        """
        place = self._places[block]
        if isinstance(place, pa.RecordBatch):
            return Block.from_arrow(place)
        # Read instead of mapped: a block is contiguous on disk, and mapped pages would count as resident memory.
        path, number = place
        try:
            with pa.OSFile(str(path)) as file:
                return Block.from_arrow(pa.ipc.open_file(file).get_batch(number))
        except (OSError, pa.ArrowException) as error:
            raise ShardError(f"{path}: block {number} cannot be read ({error})") from error

    def labels(self, rows: Sequence[int] | np.ndarray | None = None) -> Iterator[dict[str, Any]]:
        """The labels of the given rows, or of all rows, in order. Unknown labels are absent."""
        table = self.index.select(list(LABELS))
        table = table if rows is None else table.take(pa.array(np.asarray(rows, np.int64)))
        for chunk in table.to_batches(max_chunksize=BLOCK_ROWS):
            for row in chunk.to_pylist():
                yield {name: value for name, value in row.items() if value is not None}

    @cached_property
    def believed(self) -> BelievedLabels:
        """The reliable labels of all spectra, from which a model may learn."""
        return BelievedLabels.of(self.labels())

    def batch(self, rows: Sequence[int] | np.ndarray, cache: "BlockCache | None" = None) -> SpectrumBatch:
        """The spectra of the given rows, in that order, with ids and surveys but without labels (see `labels`)."""
        rows = np.asarray(rows, np.int64)
        cache = cache or BlockCache(self, 1)
        blocks = np.searchsorted(self.block_starts, rows, side="right") - 1
        parts: list[Any] = [None] * len(rows)
        for i in np.argsort(blocks, kind="stable"):
            parts[i] = (cache[int(blocks[i])], int(rows[i] - self.block_starts[blocks[i]]))
        flux, ivar, wavelength = _stack(parts, self.grid)
        return SpectrumBatch(flux, ivar, wavelength, *self.names(rows))

    def names(self, rows: np.ndarray) -> tuple[list[str], list[str]]:
        """The ids and surveys of the given rows."""
        names = self.index.select(["object_id", "survey"]).take(pa.array(rows))
        return names["object_id"].to_pylist(), names["survey"].to_pylist()


class BlockCache:
    """A cache of the `size` most recently used blocks of a set."""

    def __init__(self, shards: ShardSet, size: int) -> None:
        self._shards, self._size = shards, size
        self._blocks: OrderedDict[int, Block] = OrderedDict()

    def __getitem__(self, block: int) -> Block:
        """Return the block with the given number."""
        if block not in self._blocks:
            if len(self._blocks) >= self._size:
                self._blocks.popitem(last=False)
            self._blocks[block] = self._shards.load(block)
        self._blocks.move_to_end(block)
        return self._blocks[block]
