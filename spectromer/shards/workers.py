"""Executors for an ingestion: supervised processes on this machine, or on the workers of a cluster.

Each shard is made by a child of a supervisor, which is a process of its own (`spectromer.shards.supervisor`). A file
that crashes its reader, blocks it or fills the memory therefore costs this file alone.
"""

import atexit
import importlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from spectromer import errors, surveys
from spectromer.errors import ArgumentError, DependencyError, ShardError
from spectromer.shards.selection import Limits, Selection

__all__ = ["executor", "make_shard"]

_SCHEDULER_TIMEOUT = 30  # seconds
_STARTS = 3  # supervisors that are started for one shard, should they be killed
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class _Supervisor:
    """A running supervisor process, which makes one shard at a time."""

    def __init__(self) -> None:
        paths = os.pathsep.join(os.path.abspath(path) for path in sys.path)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "spectromer.shards.supervisor"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": paths} | dict.fromkeys(_ONE_THREAD, "1"),
        )

    def ask(self, job: dict[str, Any]) -> dict[str, Any] | None:
        """Have a shard made, and return the answer; None if the supervisor has ended."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(job).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            return None
        line = self._process.stdout.readline()
        answer: dict[str, Any] | None = json.loads(line) if line.endswith(b"\n") else None
        return answer

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            with suppress(OSError):  # what could not be sent
                if stream is not None:
                    stream.close()


class _Pool:
    """The supervisors of this process. Idle ones are kept for the next shard, and end after a while by themselves."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[_Supervisor] = []
        self._all: set[_Supervisor] = set()
        self.stopped = False

    def run(self, job: dict[str, Any]) -> dict[str, Any]:
        """Have a shard made by a supervisor."""
        starts = 0
        while not self.stopped and starts < _STARTS:
            with self._lock:
                supervisor = self._idle.pop() if self._idle else None
                if supervisor is None:
                    supervisor, starts = _Supervisor(), starts + 1
                    self._all.add(supervisor)
            answer = supervisor.ask(job)
            with self._lock:
                if answer is not None:
                    self._idle.append(supervisor)
                    return answer
                if supervisor in self._all:
                    self._all.remove(supervisor)
                    supervisor.end()
        raise ShardError(
            "the ingestion was stopped" if self.stopped else "a process that makes shards was killed three times"
        )

    def end(self) -> None:
        """End all supervisors, and with them their work."""
        with self._lock:
            supervisors, self._all, self._idle = self._all, set(), []
        for supervisor in supervisors:
            supervisor.end()


_POOL = _Pool()
atexit.register(_POOL.end)


def make_shard(
    out: Path, shard: int, sources: Sequence[str], catalogs: Sequence[Path], select: Selection, limits: Limits
) -> int:
    """Make one shard in a supervised process, and return the number of its sources; see `build.build_shard`.

    Raises
    ------
    SpectromerError
        When the shard cannot be made for a reason that the user can fix.
    RuntimeError
        On any other exception in the process, with its traceback.
    """
    job = {"out": str(out), "shard": shard, "sources": list(sources), "catalogs": [str(path) for path in catalogs]}
    job |= {"select": asdict(select), "limits": asdict(limits), "surveys": list(surveys.__path__)}
    answer = _POOL.run(job)
    if "bug" in answer:
        raise RuntimeError(answer["bug"])
    if "error" in answer:
        kind, arguments = answer["error"]
        raise getattr(errors, kind)(*arguments)
    return len(sources)


@contextmanager
def executor(workers: int, scheduler: str | None) -> Iterator[Executor]:
    """The executor of `make_shard`: threads, each of which waits for a process, or a dask.distributed cluster.

    Raises
    ------
    ArgumentError
        When no scheduler answers at the address.
    DependencyError
        When dask.distributed is not installed.
    ShardError
        When the cluster gives up.
    """
    if scheduler is None:
        _POOL.stopped = False
        with ThreadPoolExecutor(workers) as pool:
            try:
                yield pool
            except BaseException:
                _POOL.stopped = True
                pool.shutdown(wait=False, cancel_futures=True)
                _POOL.end()  # the threads do not wait any longer
                raise
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
        try:
            yield cluster
        except Exception as error:
            if type(error).__module__.partition(".")[0] != "distributed":
                raise
            raise ShardError(
                f"--scheduler {scheduler}: the cluster has given up ({error}); finished shards are kept: "
                "repeat the same command to continue"
            ) from error
