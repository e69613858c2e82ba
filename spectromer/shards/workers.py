"""Executors for an ingestion (this process, worker processes or a cluster), and the lock of its folder."""

import fcntl
import importlib
import multiprocessing
import os
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from spectromer.errors import ArgumentError, DependencyError, ShardError
from spectromer.files import make_folder

__all__ = ["alone", "executor"]

_SCHEDULER_TIMEOUT = 30  # seconds


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Hold the lock of a folder, and remove incomplete files that a killed ingestion has left there.

    Raises
    ------
    ShardError
        When another ingestion holds the lock.
    """
    make_folder(out)
    with (out / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ShardError(f"--out {out}: another ingestion is at work there") from error
        for part in out.glob(".*.part-*"):
            part.unlink()
        yield


def _begin_worker() -> None:
    """Make a worker process exit with its parent, even if the parent is killed."""

    def end_with_parent() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


@contextmanager
def executor(workers: int, scheduler: str | None) -> Iterator[Executor]:
    """The executor of the work: this process for one worker, a pool of processes, or a dask.distributed cluster.

    Raises
    ------
    ArgumentError
        When no scheduler answers at the address.
    DependencyError
        When dask.distributed is not installed.
    """
    if scheduler is None and workers == 1:
        with ThreadPoolExecutor(1) as pool:
            yield pool
        return
    if scheduler is None:
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, spawn, _begin_worker) as processes:
            yield processes
        return
    try:
        distributed = importlib.import_module("distributed")
    except ImportError as error:
        raise DependencyError("--scheduler needs dask.distributed: pip install 'spectromer[cluster]'") from error
    try:
        client = distributed.Client(scheduler, timeout=_SCHEDULER_TIMEOUT)
    except (OSError, ValueError) as error:  # ValueError: it is no address
        raise ArgumentError(f"--scheduler {scheduler}: no scheduler answers there ({error})") from error
    with client, client.get_executor() as cluster:
        yield cluster
