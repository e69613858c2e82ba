"""Batches of spectra, in an order that is determined by a seed.

The blocks of all shards are shuffled, and the spectra of a few blocks at a time are mixed in memory. The order depends
on the seed, the epoch and the rows alone. Any batch can therefore be accessed by its number, and a feed that was
stopped can resume exactly at the same place.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from spectromer.errors import ArgumentError
from spectromer.shards.store import BlockCache, ShardSet
from spectromer.spectra import SpectrumBatch

__all__ = ["Batches", "Pixels", "in_order"]

Pixels = tuple[Tensor, Tensor, Tensor, Tensor]  # flux, ivar, wavelength, rows


class Batches:
    """The batches of an epoch and the rows of their spectra, by batch number.

    Parameters
    ----------
    shards : ShardSet
    rows : ndarray of int, optional
        The rows to use, such as one part of `split_by_object`; by default all.
    batch_size : int
    shuffle : bool
        If true, the order is random. Otherwise, the rows ascend.
    seed : int
    window : int
        The number of blocks (of 256 spectra) that are held in memory and mixed.
    rank, ranks : int
        The number of this process, and the number of processes. Each process has its own share of the blocks, which
        differ in size by at most one row. If the order is random, all processes have the same number of batches.

    Raises
    ------
    ArgumentError
        When an argument is invalid.
    """

    def __init__(
        self,
        shards: ShardSet,
        rows: np.ndarray | None = None,
        *,
        batch_size: int = 256,
        shuffle: bool = True,
        seed: int = 0,
        window: int = 16,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        for name, value in (("batch_size", batch_size), ("window", window), ("ranks", ranks)):
            if value < 1:
                raise ArgumentError(f"{name} must be at least 1, got {value}")
        if not 0 <= rank < ranks:
            raise ArgumentError(f"rank must be from 0 to {ranks - 1}, got {rank}")
        rows = np.arange(len(shards)) if rows is None else np.unique(np.asarray(rows, np.int64))
        if len(rows) and not 0 <= rows[0] <= rows[-1] < len(shards):
            raise ArgumentError(f"rows must be from 0 to {len(shards) - 1}, got {rows[0]} to {rows[-1]}")
        self.shards, self.rows, self.batch_size, self.shuffle, self.seed = shards, rows, batch_size, shuffle, seed
        self._window, self._rank, self._ranks = window, rank, ranks
        self._cuts = np.searchsorted(rows, shards.block_starts)  # where each block's rows begin in `rows`
        self._cache = BlockCache(shards, 2 * window)  # a batch may begin in one window and end in the next
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Set the order of the rows for an epoch, counted from 0."""
        self.epoch = epoch
        counts = np.diff(self._cuts)
        blocks = np.flatnonzero(counts)
        if self.shuffle:
            blocks = np.random.default_rng((self.seed, epoch)).permutation(blocks)
        # The shares are equal parts of the blocks' rows, so that the block at the end of one may begin the next.
        ends = counts[blocks].cumsum()
        total = int(ends[-1]) if len(ends) else 0
        bounds = [total * i // self._ranks for i in range(self._ranks + 1)]
        low, high = bounds[self._rank], bounds[self._rank + 1]
        pieces = [
            (self._cuts[block] + max(low - begin, 0), self._cuts[block] + min(high, end) - begin)
            for block, begin, end in zip(blocks, ends - counts[blocks], ends, strict=True)
            if begin < high and end > low
        ]
        self._windows = [pieces[i : i + self._window] for i in range(0, len(pieces), self._window)]
        self._ends = np.cumsum([0, *(sum(end - begin for begin, end in window) for window in self._windows)])
        least = min(end - begin for begin, end in pairwise(bounds))
        if self.shuffle and least >= self.batch_size:
            self._total = least // self.batch_size * self.batch_size
        else:
            self._total = high - low

    def __len__(self) -> int:
        return -(-self._total // self.batch_size)

    def _of_window(self, window: int) -> np.ndarray:
        """The rows of a window in mixed order, [rows] int64."""
        rows = np.concatenate([self.rows[begin:end] for begin, end in self._windows[window]])
        if self.shuffle:
            rows = np.random.default_rng((self.seed, self.epoch, self._rank, window)).permutation(rows)
        return rows

    def rows_of(self, batch: int) -> np.ndarray:
        """The rows of one batch, [B] int64, in the order of the batch."""
        begin, end = batch * self.batch_size, min((batch + 1) * self.batch_size, self._total)
        if not 0 <= begin < end:
            raise IndexError(f"batch must be from 0 to {len(self) - 1}, got {batch}")
        first = int(np.searchsorted(self._ends, begin, side="right")) - 1
        last = int(np.searchsorted(self._ends, end, side="left"))
        rows = np.concatenate([self._of_window(window) for window in range(first, last)])
        return rows[begin - self._ends[first] : end - self._ends[first]]

    def __getitem__(self, batch: int) -> tuple[SpectrumBatch, Tensor]:
        """One batch, and its rows [B] int64."""
        flux, ivar, wavelength, rows = self.pixels(batch)
        return self.shards.named(flux, ivar, wavelength, rows.numpy()), rows

    def pixels(self, batch: int) -> Pixels:
        """The flux, ivar and wavelength of one batch, and its rows [B] int64."""
        rows = self.rows_of(batch)
        return *self.shards.pixels(rows, self._cache), torch.from_numpy(rows)


def in_order(shards: ShardSet, rows: np.ndarray | None = None, batch_size: int = 256) -> Iterator[SpectrumBatch]:
    """Batches of all spectra, or of the given rows, in ascending order of rows."""
    batches = Batches(shards, rows, batch_size=batch_size, shuffle=False, window=1)  # without mixing
    return (batches[i][0] for i in range(len(batches)))
