"""Feeds of batches for a training, loaded by torch's DataLoader or by DALI.

Spectra are copied to the GPU, not images.
"""

import threading
from collections.abc import Iterator
from contextlib import suppress
from copy import copy
from queue import Full, Queue
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
from torch.utils.dlpack import from_dlpack

from spectromer.errors import ArgumentError, DependencyError
from spectromer.shards.batches import Batches, Pixels
from spectromer.spectra import SpectrumBatch

__all__ = ["Feed"]

_QUEUE = 2  # batches that are prefetched for a GPU
_BYTES, _RESIDENT = 8, 0.3  # bytes of a pixel's flux and ivar, and the share of free memory that spectra may take


class Feed:
    """An iterable over the batches of an epoch, each with the values that belong to its spectra.

    On a GPU, spectra on one grid that take less than 30 % of its free memory are copied to it once. Otherwise, a thread
    prepares the next two batches in pinned memory and copies them on a stream of its own.

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
    resident : bool, optional
        If true, spectra on one grid are copied to the device once. The default is true on a GPU with enough free
        memory.

    Yields
    ------
    SpectrumBatch, dict of Tensor
        The spectra, without ids and surveys; and their values, together with their rows [B] int64 under the key `row`.
        The rows are on the device only if the spectra were.

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
        resident: bool | None = None,
    ) -> None:
        if feed not in ("torch", "dali"):
            raise ArgumentError(f"feed must be 'torch' or 'dali', got {feed!r}")
        for name, value in (values or {}).items():
            if len(value) != len(batches.shards):
                raise ArgumentError(f"values[{name!r}] must have {len(batches.shards)} rows, got {len(value)}")
        self.batches, self.values, self.device, self.workers = batches, values or {}, torch.device(device), workers
        self._feed = feed
        grid = batches.shards.grid
        fits = grid is not None and (self._fits(grid.pixels) if resident is None else resident)
        self._resident = feed == "torch" and fits
        self._next = 0
        self._places = _Places()
        self._loader: DataLoader[Pixels] | None = None
        self._held: Pixels | None = None  # the spectra on the device
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
        read = self._by_dali if self._feed == "dali" else self._by_index if self._resident else self._by_torch
        for flux, ivar, wavelength, rows in read(self._next):
            self._next += 1
            if self._next == len(self.batches):
                self._next = 0
                self.batches.set_epoch(self.batches.epoch + 1)
            values = {name: value[rows].to(self.device, non_blocking=True) for name, value in self.values.items()}
            scales = self.batches.shards.scales(rows)
            yield SpectrumBatch(flux, ivar, wavelength, flux_scale=scales), {"row": rows, **values}

    def _fits(self, pixels: int) -> bool:
        """Tell whether spectra with that many pixels fit on the GPU."""
        if self.device.type != "cuda":
            return False
        free, _ = torch.cuda.mem_get_info(self.device)
        return len(self.batches.rows) * pixels * _BYTES <= _RESIDENT * free

    def _by_index(self, first: int) -> Iterator[Pixels]:
        """Select the batches on the device. Their order is sent to it once."""
        batches = self.batches
        if self._held is None:
            every = Batches(batches.shards, batches.rows, shuffle=False)
            count, grid = len(batches.rows), batches.shards.grid
            assert grid is not None
            flux, ivar = (torch.empty(count, grid.pixels, device=self.device) for _ in range(2))
            for i in range(len(every)):
                part = every.pixels(i)
                inside = slice(i * every.batch_size, i * every.batch_size + len(part[3]))
                flux[inside], ivar[inside] = part[0].to(self.device), part[1].to(self.device)
            wavelength, rows = torch.from_numpy(grid.wavelength), torch.from_numpy(batches.rows)
            self._held = flux, ivar, wavelength.to(self.device), rows.to(self.device)
            self.values = {name: value.to(self.device) for name, value in self.values.items()}
        flux, ivar, wavelength, rows = self._held
        orders = [torch.from_numpy(batches.rows_of(i)) for i in range(first, len(batches))]
        sizes, order = [len(order) for order in orders], torch.cat(orders).to(self.device)
        places = torch.searchsorted(rows, order)
        for place, mine in zip(places.split(sizes), order.split(sizes), strict=True):
            yield flux[place], ivar[place], wavelength, mine

    def _by_torch(self, first: int) -> Iterator[Pixels]:
        if self._loader is None:
            self._loader = DataLoader(
                _Epochs(self.batches),
                batch_size=None,
                sampler=self._places,
                num_workers=self.workers,
                persistent_workers=self.workers > 0,
            )
        self._places.places = [(self.batches.epoch, number) for number in range(first, len(self.batches))]
        read = iter(self._loader)
        return _ahead(read, self.device) if self.device.type == "cuda" else read

    def _by_dali(self, first: int) -> Iterator[Pixels]:
        epoch, shards = self.batches.epoch, self.batches.shards
        kept, self._kept = self._kept, None
        pipeline = kept[1] if first == 0 and kept is not None and kept[0] == epoch else None
        if pipeline is None:
            pipeline = _dali_pipeline(self.batches, first, self.device, self.workers)
        shared = None if shards.grid is None else torch.from_numpy(shards.grid.wavelength).to(self.device)
        for number in range(first, len(self.batches)):
            # Copied, as DALI reuses its memory for a later batch.
            flux, ivar, wavelength, rows = (from_dlpack(out.as_tensor()).clone() for out in pipeline.run())
            if number == len(self.batches) - 1:
                with suppress(StopIteration):
                    pipeline.run()  # raises StopIteration at the end of the epoch
                pipeline.reset()
                self._kept = epoch + 1, pipeline
            yield flux, ivar, wavelength if shared is None else shared, rows[:, 0].cpu()


class _Epochs(Dataset[Pixels]):
    """The batches of all epochs, by epoch and number."""

    def __init__(self, batches: Batches) -> None:
        self._batches = copy(batches)  # a feed may be in another epoch than its loader

    def __getitem__(self, place: tuple[int, int]) -> Pixels:
        epoch, number = place
        if self._batches.epoch != epoch:
            self._batches.set_epoch(epoch)
        return self._batches.pixels(number)


class _Places(Sampler[tuple[int, int]]):
    """The places of the batches that a DataLoader reads, which are set for each epoch."""

    def __init__(self) -> None:
        self.places: list[tuple[int, int]] = []

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)


def _ahead(batches: Iterator[Pixels], device: torch.device) -> Iterator[Pixels]:
    """Copy batches to a GPU, two of them ahead, by a thread with a stream of its own."""
    ready: Queue[tuple[Pixels, torch.cuda.Event] | BaseException | None] = Queue(_QUEUE)
    stopped = threading.Event()
    stream = torch.cuda.Stream(device)

    def put(item: Any) -> None:
        while not stopped.is_set():
            with suppress(Full):
                ready.put(item, timeout=0.1)
                return

    def work() -> None:
        try:
            torch.cuda.set_device(device)
            for flux, ivar, wavelength, rows in batches:
                with torch.cuda.stream(stream):
                    pinned = [tensor.pin_memory() for tensor in (flux, ivar, wavelength)]
                    on_gpu = [tensor.to(device, non_blocking=True) for tensor in pinned]
                put(((*on_gpu, rows), stream.record_event()))
                if stopped.is_set():
                    return
            put(None)
        except BaseException as error:  # raised in the other thread
            put(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            batch, copied = item
            current = torch.cuda.current_stream(device)
            current.wait_event(copied)
            for tensor in batch[:3]:
                tensor.record_stream(current)
            yield batch
    finally:
        stopped.set()
        thread.join()


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
        *pixels, rows = outputs
        pipeline.set_outputs(*(out.gpu() if on_gpu else out for out in pixels), rows)
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
        flux, ivar, wavelength, rows = (tensor.numpy() for tensor in self._batches.pixels(number))
        own = np.empty((len(rows), 0)) if self._batches.shards.grid is not None else wavelength
        return flux, ivar, np.ascontiguousarray(np.broadcast_to(own, (len(rows), own.shape[-1]))), rows[:, None]
