"""Shards: any number of spectra as Arrow files, which can be read in parts.

A folder of shards, in format 2, contains

- `shard-00000.arrow`, ...: Arrow IPC files with one row per spectrum, in record batches ("blocks") of 256 rows. Any
  Arrow tool can read them (Hugging Face datasets, polars, DuckDB). The columns are `object_id`, `survey`, `path`,
  `flux` and `ivar` as lists of float32, the labels, and `flux_scale`, the factor of the flux. Wavelengths are stored as
  `coeff0` and `coeff1` (10 ** (coeff0 + coeff1 i) Angstrom) or, if they are not on such a grid, as the list `lambda`;
- `index-00000.arrow`, ...: the same rows without their pixels;
- `index.arrow`: the rows of all shards without their pixels, with the name of the object that each spectrum shows;
- `manifest.json`: counts, checksums, and the number of spectra left out, by reason.

Every block and the index are read with their checksums. Format 1 has no checksums and no `flux_scale`. It is read
with a warning.
"""

import os
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from spectromer.errors import ShardError
from spectromer.grids import LogGrid, common_grid, extended
from spectromer.labels import LABELS, BelievedLabels
from spectromer.shards.blocks import Block, Place, places_of, read_block, read_index
from spectromer.shards.records import INDEX, read_manifest
from spectromer.shards.schema import BLOCK_ROWS, SCHEMA, block_of, index_of
from spectromer.spectra import Spectrum, SpectrumBatch

__all__ = ["BlockCache", "ShardSet"]


def _stack(parts: Sequence[tuple[Block, int]], grid: LogGrid | None) -> tuple[Tensor, Tensor, Tensor]:
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
        One row per spectrum: object_id, survey, path, object, labels, flux_scale, coeff0, coeff1, pixels.
    block_starts : ndarray [blocks + 1] int64
        The first row of each block.
    grid : LogGrid or None
        The common grid of all spectra, which is then the wavelength axis of every batch; None if there is none.
    """

    def __init__(self, index: pa.Table, block_starts: np.ndarray, places: Sequence[Place | pa.RecordBatch]) -> None:
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
        manifest = read_manifest(folder)
        if manifest["format"] == 1:
            warnings.warn(f"{folder} has no checksums, as it is of format 1: it is read unchecked", stacklevel=2)
        places: list[Place] = []
        starts = [0]
        for shard in manifest["shards"]:
            found = places_of(folder, shard)
            places += found
            first = starts[-1]
            starts += [first + min(BLOCK_ROWS * (i + 1), shard["rows"]) for i in range(len(found))]
        index = read_index(folder / INDEX, manifest.get("index"))
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

    @classmethod
    def join(cls, sets: "Sequence[ShardSet]") -> "ShardSet":
        """Join sets to one, whose rows are those of the first, then those of the second, and so on."""
        firsts = np.cumsum([0, *(len(one) for one in sets)])
        starts = [one.block_starts[:-1] + first for one, first in zip(sets, firsts[:-1], strict=True)]
        places = [place for one in sets for place in one._places]
        return cls(pa.concat_tables([one.index for one in sets]), np.concatenate([*starts, firsts[-1:]]), places)

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
        found = read_block(place)
        rows = slice(self.block_starts[block], self.block_starts[block + 1])
        if not np.array_equal(np.diff(found.ends), self._pixels[rows]):
            raise ShardError(f"{place.path}: block {place.number} does not hold the spectra that the index lists")
        return found

    @cached_property
    def _pixels(self) -> np.ndarray:
        pixels: np.ndarray = self.index["pixels"].to_numpy()
        return pixels

    @cached_property
    def _scales(self) -> np.ndarray | None:
        """The flux_scale of each spectrum; None if all are 1."""
        scales: np.ndarray = self.index["flux_scale"].to_numpy()
        return scales if (scales != 1.0).any() else None

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
        return self.named(*self.pixels(rows, cache), rows)

    def pixels(self, rows: np.ndarray, cache: "BlockCache | None" = None) -> tuple[Tensor, Tensor, Tensor]:
        """The flux, ivar and wavelength of the given rows, as in a SpectrumBatch."""
        cache = cache or BlockCache(self, 1)
        blocks = np.searchsorted(self.block_starts, rows, side="right") - 1
        parts: list[Any] = [None] * len(rows)
        for i in np.argsort(blocks, kind="stable"):
            parts[i] = (cache[int(blocks[i])], int(rows[i] - self.block_starts[blocks[i]]))
        return _stack(parts, self.grid)

    def named(self, flux: Tensor, ivar: Tensor, wavelength: Tensor, rows: np.ndarray) -> SpectrumBatch:
        """The batch of the given rows with their ids, surveys and flux_scale, given their pixels."""
        ids, surveys = self.names(rows)
        return SpectrumBatch(flux, ivar, wavelength, ids, surveys, flux_scale=self.scales(torch.from_numpy(rows)))

    def scales(self, rows: Tensor) -> list[float]:
        """The flux_scale of the given rows; empty if all spectra have 1."""
        return [] if self._scales is None else self._scales[rows.cpu().numpy()].tolist()

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
