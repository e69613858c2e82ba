"""Training by several processes, each with a device of its own."""

import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from lightning.fabric import Fabric
from torch import Tensor

from spectromer.config import TrainConfig
from spectromer.errors import ArgumentError
from spectromer.learning.devices import has_gpu

__all__ = ["Agreement", "add_up", "gather", "is_first", "launch", "on_first", "share", "spread"]

T = TypeVar("T")


def launch(config: TrainConfig) -> Fabric:
    """Start the processes of a run, or join those that torchrun or SLURM has started.

    Raises
    ------
    ArgumentError
        If there are fewer devices, or torchrun has started another number of processes.
    """
    gpu, processes = has_gpu(), config.devices * config.nodes
    started = os.environ.get("WORLD_SIZE", "") if "TORCHELASTIC_RUN_ID" in os.environ else ""
    if started and int(started) != processes:
        rule = "devices times nodes must be the number of processes that torchrun has started"
        raise ArgumentError(f"{rule}, {started}, got {config.devices} times {config.nodes}")
    if gpu and config.devices > torch.cuda.device_count():
        gpus = torch.cuda.device_count()
        raise ArgumentError(f"devices must be at most the number of GPUs, {gpus}, got {config.devices}")
    fabric = Fabric(
        accelerator="cuda" if gpu else "cpu",
        devices=config.devices,
        num_nodes=config.nodes,
        strategy="auto" if processes == 1 else "ddp",
    )
    fabric.launch()
    if fabric.global_rank > 0:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - the first process speaks for all
    return fabric


def add_up(values: Tensor) -> Tensor:
    """Add up the values of all processes, in place."""
    if dist.is_initialized():
        dist.all_reduce(values)
    return values


def spread(values: Tensor) -> Tensor:
    """Give all processes the values of the first, in place."""
    if dist.is_initialized():
        dist.broadcast(values, 0)
    return values


class Agreement:
    """A number on which all processes agree, without waiting for their devices: the largest that any of them gives.

    Parameters
    ----------
    every : int
        Calls between two agreements, if there are several processes. In between, the number is 0.
    """

    def __init__(self, every: int) -> None:
        self._every, self._calls = every, 0
        self._group: Any = dist.new_group(backend="gloo") if dist.is_initialized() else None

    def __call__(self, mine: int, now: bool = False) -> int:
        """The largest number of all processes. All of them must call this equally often, and with the same `now`."""
        if self._group is None:
            return mine
        self._calls += 1
        if not now and self._calls % self._every:
            return 0
        found = torch.tensor(mine)
        dist.all_reduce(found, dist.ReduceOp.MAX, group=self._group)
        return int(found)

    def wait(self) -> None:
        """Wait for all processes."""
        if self._group is not None:
            dist.barrier(group=self._group)


def is_first() -> bool:
    """Tell whether this is the first process, or the only one."""
    return not dist.is_initialized() or dist.get_rank() == 0


def share(rows: np.ndarray) -> np.ndarray:
    """The part of `rows` [N] that belongs to this process. All parts follow one another in the order of the ranks."""
    if not dist.is_initialized():
        return rows
    return np.array_split(rows, dist.get_world_size())[dist.get_rank()]


def gather(value: T) -> list[T]:
    """The values of all processes, in the order of their ranks."""
    if not dist.is_initialized():
        return [value]
    found: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(found, value)
    return found


def on_first(work: Callable[[], T]) -> T:
    """Do the work in the first process, and return its result in all of them.

    If it fails, the first process raises the error, and the others exit.
    """
    if not dist.is_initialized():
        return work()
    done: list[Any] = [None]
    try:
        if is_first():
            done = [(work(),)]
    finally:  # the others learn of a failure too
        dist.broadcast_object_list(done)
    if done[0] is None:
        raise SystemExit(1)
    result: T = done[0][0]
    return result
