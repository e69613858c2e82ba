"""Batches of spectra in an order that is determined by a seed, loaded by torch's DataLoader or by DALI.

Spectra are copied to the GPU, not images. The blocks of all shards are shuffled, and the spectra of a few blocks at a
time are mixed in memory. The order depends on the seed, the epoch and the rows alone. Any batch can therefore be
accessed by its number, and a feed that was stopped can resume exactly at the same place.
"""

from collections.abc import Iterator
from contextlib import suppress
from copy import copy
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.dlpack import from_dlpack

from spectromer.errors import ArgumentError, DependencyError
from spectromer.shards.store import BlockCache, ShardSet
from spectromer.spectra import SpectrumBatch

__all__ = ["Batches", "Feed", "in_order"]

_QUEUE = 2  # batches that DALI prefetches


class Batches(Dataset[tuple[SpectrumBatch, Tensor]]):
    """The batches of an epoch and the rows of their spectra, by batch number.

    Parameters
    ----------
    shards : ShardSet
    rows : ndarray of int, optional
        The rows to use, such as one part of `split_by_object`; by default all.
    batch_size : int
    shuffle : bool
        Whether the order is random. Otherwise, the rows ascend.
    seed : int
    window : int
        The number of blocks (of 256 spectra) that are held in memory and mixed.
    rank, ranks : int
        The number of this process, and the number of processes. Each process has its own blocks. If the order is
        random, all processes have the same number of batches.

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
        shares = [blocks[rank :: self._ranks] for rank in range(self._ranks)]
        totals = [int(counts[share].sum()) for share in shares]
        mine = shares[self._rank]
        self._windows = [mine[i : i + self._window] for i in range(0, len(mine), self._window)]
        self._ends = np.cumsum([0, *(counts[window].sum() for window in self._windows)])
        if self.shuffle and min(totals) >= self.batch_size:
            self._total = min(totals) // self.batch_size * self.batch_size
        else:
            self._total = totals[self._rank]

    def __len__(self) -> int:
        return -(-self._total // self.batch_size)

    def _of_window(self, window: int) -> np.ndarray:
        """The rows of a window in mixed order, [rows] int64."""
        rows = np.concatenate([self.rows[self._cuts[b] : self._cuts[b + 1]] for b in self._windows[window]])
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
        rows = self.rows_of(batch)
        return self.shards.batch(rows, self._cache), torch.from_numpy(rows)


def in_order(shards: ShardSet, rows: np.ndarray | None = None, batch_size: int = 256) -> Iterator[SpectrumBatch]:
    """Batches of all spectra, or of the given rows, in ascending order of rows."""
    batches = Batches(shards, rows, batch_size=batch_size, shuffle=False, window=1)  # without mixing
    return (batches[i][0] for i in range(len(batches)))


class Feed:
    """An iterable over the batches of an epoch, each with the values that belong to its spectra.

    Parameters
    ----------
    batches : Batches
    values : dict of Tensor [len(shards), ...], optional
        Values of all spectra, such as encoded labels. Each batch comes with the values of its spectra.
    feed : {"torch", "dali"}
        The loader: torch's DataLoader, or NVIDIA DALI (extra `dali`), which copies a batch to the GPU while the
        previous one is processed. Both give the same batches.
    device : torch.device or str
        The device for the batches.
    workers : int
        The number of processes that prefetch batches. With 0, torch's DataLoader loads each batch on demand, and DALI
        prefetches two batches.

    Yields
    ------
    SpectrumBatch, dict of Tensor
        The spectra, and their values together with their rows [B] int64 under the key `row`.

    Raises
    ------
    ArgumentError
        When an argument is invalid.
    DependencyError
        When DALI is requested but not installed.
    """

    def __init__(
        self,
        batches: Batches,
        values: dict[str, Tensor] | None = None,
        *,
        feed: Literal["torch", "dali"] = "torch",
        device: torch.device | str = "cpu",
        workers: int = 0,
    ) -> None:
        if feed not in ("torch", "dali"):
            raise ArgumentError(f"feed must be 'torch' or 'dali', got {feed!r}")
        for name, value in (values or {}).items():
            if len(value) != len(batches.shards):
                raise ArgumentError(f"values[{name!r}] must have {len(batches.shards)} rows, got {len(value)}")
        self.batches, self.values, self.device, self.workers = batches, values or {}, torch.device(device), workers
        self._feed = feed
        self._next = 0
        self._kept: tuple[int, Any] | None = None  # DALI's pipeline at the beginning of an epoch

    def __len__(self) -> int:
        return len(self.batches)

    def state_dict(self) -> dict[str, int]:
        """The place of the feed: the epoch and the next batch."""
        return {"epoch": self.batches.epoch, "batch": self._next}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from the place that `state_dict` returned."""
        self.batches.set_epoch(int(state["epoch"]))
        self._next = int(state["batch"])

    def __iter__(self) -> Iterator[tuple[SpectrumBatch, dict[str, Tensor]]]:
        read = self._by_torch if self._feed == "torch" else self._by_dali
        for spectra, rows in read(self._next):
            self._next += 1
            if self._next == len(self.batches):
                self._next = 0
                self.batches.set_epoch(self.batches.epoch + 1)
            values = {name: value[rows].to(self.device, non_blocking=True) for name, value in self.values.items()}
            yield spectra.to(self.device), {"row": rows, **values}

    def _by_torch(self, first: int) -> Iterator[tuple[SpectrumBatch, Tensor]]:
        loader = DataLoader(
            self.batches,
            batch_size=None,
            sampler=range(first, len(self.batches)),
            num_workers=self.workers,
            pin_memory=self.device.type == "cuda",
        )
        return iter(loader)

    def _by_dali(self, first: int) -> Iterator[tuple[SpectrumBatch, Tensor]]:
        epoch, shards = self.batches.epoch, self.batches.shards
        kept, self._kept = self._kept, None
        pipeline = kept[1] if first == 0 and kept is not None and kept[0] == epoch else None
        if pipeline is None:
            pipeline = _dali_pipeline(self.batches, first, self.device, self.workers)
        shared = None if shards.grid is None else torch.from_numpy(shards.grid.wavelength).to(self.device)
        for number in range(first, len(self.batches)):
            # Copied, as DALI reuses its memory for a later batch.
            flux, ivar, wavelength, rows = (from_dlpack(out.as_tensor()).clone() for out in pipeline.run())
            rows = rows[:, 0].cpu()
            if number == len(self.batches) - 1:
                with suppress(StopIteration):
                    pipeline.run()  # raises StopIteration at the end of the epoch
                pipeline.reset()
                self._kept = epoch + 1, pipeline
            yield shards.named(flux, ivar, wavelength if shared is None else shared, rows.numpy()), rows


def _dali_pipeline(batches: Batches, first: int, device: torch.device, workers: int) -> Any:
    """A pipeline of flux, ivar, wavelength (empty if all spectra share a grid) and rows, from batch `first` on."""
    try:
        from nvidia.dali import Pipeline, fn
    except ImportError as error:
        raise DependencyError("feed='dali' needs NVIDIA DALI: pip install 'spectromer[dali]'") from error
    on_gpu = device.type == "cuda"
    pipeline = Pipeline(
        batch_size=batches.batch_size,
        num_threads=1,
        device_id=(device.index or 0) if on_gpu else None,
        prefetch_queue_depth=_QUEUE,
        py_num_workers=max(workers, 1),
        py_start_method="spawn",
    )
    with pipeline:
        source = _DaliSource(batches, first)
        outputs = fn.external_source(source, num_outputs=4, batch=True, batch_info=True, parallel=workers > 0)
        pipeline.set_outputs(*(out.gpu() if on_gpu else out for out in outputs))
    pipeline.build()
    return pipeline


class _DaliSource:
    """A callable that returns a batch as arrays [B, ...] for DALI's external_source. It is pickled for the workers."""

    def __init__(self, batches: Batches, first: int) -> None:
        self._batches = copy(batches)  # DALI reads ahead of the feed
        self._epoch, self._first = batches.epoch, first

    def __call__(self, info: Any) -> tuple[np.ndarray, ...]:
        epoch = self._epoch + info.epoch_idx
        number = info.iteration + (self._first if info.epoch_idx == 0 else 0)
        if self._batches.epoch != epoch:
            self._batches.set_epoch(epoch)
        if number >= len(self._batches):
            raise StopIteration
        spectra, rows = self._batches[number]
        if self._batches.shards.grid is not None:
            wavelength = np.empty((len(spectra), 0))
        else:
            wavelength = np.broadcast_to(spectra.wavelength.numpy(), spectra.flux.shape)
        return spectra.flux.numpy(), spectra.ivar.numpy(), np.ascontiguousarray(wavelength), rows.numpy()[:, None]
