"""The supervisor of the processes that make shards: `python -m spectromer.shards.supervisor`, started by `workers`.

It reads one job per line from standard input, as JSON, and answers each with a line on standard output. It never reads
a survey file itself. It forks a child, which makes the shards and notes in shared memory at which source it is. If the
child dies, stands still, or takes too much memory while it reads a source, it is ended, and another child makes the
shard again from the beginning. A source at which this happens twice is rejected. One time may be an accident: another
process has filled the memory, or a file system was absent.
"""

import json
import mmap
import os
import queue
import signal
import struct
import sys
import threading
import time
import traceback
from collections import Counter
from pathlib import Path
from select import select as wait_for
from typing import Any, NamedTuple

from spectromer import surveys
from spectromer.errors import ReadError, ShardError, SpectromerError
from spectromer.shards.build import Position, build_shard
from spectromer.shards.plan import is_stream
from spectromer.shards.selection import Selection

_IDLE = 60.0  # seconds without a job after which a supervisor ends
_POLL = 0.05  # seconds between two looks at the child
_STRIKES = 2  # failures at a source after which it is rejected
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PIECE = 1 << 16  # bytes of an answer that are read at a time
_INPUT = 0  # the file descriptor of standard input


class _Failure(NamedTuple):
    """The end of a child that did not finish: the number of the source that it read, -1 for none, and the reason."""

    source: int
    reason: str


class _SharedPosition(Position):
    """A position in shared memory: the number of the source that is read, or -1, and a counter of changes."""

    _LAYOUT = struct.Struct("=qq")

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, self._LAYOUT.size)
        self._changes = 0
        self.set(-1)

    def set(self, source: int) -> None:
        self._changes += 1
        self._LAYOUT.pack_into(self._memory, 0, source, self._changes)

    def get(self) -> tuple[int, int]:
        """The number of the source, and the counter."""
        source, changes = self._LAYOUT.unpack_from(self._memory)
        return source, changes


def _resident(pid: int) -> int:
    """The resident memory of a process in bytes; 0 where the system does not tell."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def _work(job: dict[str, Any], position: Position) -> dict[str, Any]:
    """Make the shard, and return the answer for the ingestion."""
    surveys.__path__ = job["surveys"]  # the folders of further surveys
    refused = {int(number): reason for number, reason in job["refused"].items()}
    try:
        catalogs = [Path(path) for path in job["catalogs"]]
        build_shard(
            Path(job["out"]), job["shard"], job["sources"], catalogs, Selection.of(job["select"]), refused, position
        )
    except ReadError as error:
        return {"error": ["ReadError", [error.path, error.reason]]}
    except SpectromerError as error:
        return {"error": [type(error).__name__, [str(error)]]}
    except BaseException:
        return {"bug": traceback.format_exc()}
    return {"made": job["shard"]}


class _Child:
    """A forked process that makes shards one after the other."""

    def __init__(self) -> None:
        self.position = _SharedPosition()
        theirs, self._jobs = os.pipe()
        self._answers, answers = os.pipe()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self._jobs)
                os.close(self._answers)
                _be_child(theirs, answers, self.position)
            finally:
                os._exit(0)
        os.close(theirs)
        os.close(answers)

    def attempt(self, job: dict[str, Any]) -> dict[str, Any] | _Failure:
        """Have the shard made. After a failure, the process is dead."""
        content, reason = b"", ""
        try:
            _send(self._jobs, job)
            content, reason = self._wait(job["limits"])
        except BrokenPipeError:
            pass
        if content.endswith(b"\n"):
            made: dict[str, Any] = json.loads(content)
            return made
        status = self.end()
        by = f"signal {signal.Signals(os.WTERMSIG(status)).name}" if os.WIFSIGNALED(status) else "itself"
        return _Failure(self.position.get()[0], reason or f"the process that read it was ended by {by}")

    def _wait(self, limits: dict[str, Any]) -> tuple[bytes, str]:
        """Wait for the answer. Returns it, or the reason why the process has to be ended."""
        content, seen, since = b"", self.position.get(), time.monotonic()
        before, most = _resident(self.pid), limits["memory"] << 20
        while not content.endswith(b"\n"):
            ready = wait_for([_INPUT, self._answers], [], [], _POLL)[0]
            if self._answers in ready:
                piece = os.read(self._answers, _PIECE)
                if not piece:
                    return content, ""
                content += piece
                continue
            if _INPUT in ready:  # its end, as the next job comes after the answer: the ingestion is dead
                self.end()
                os._exit(1)
            now = self.position.get()
            if now != seen:
                seen, since = now, time.monotonic()
            if now[0] >= 0 and time.monotonic() - since > limits["seconds"]:
                return content, f"no spectrum was read within {limits['seconds']:g} s"
            if now[0] >= 0 and _resident(self.pid) - before > most:
                return content, f"its reading took more than {limits['memory']} MiB of memory"
        return content, ""

    def end(self) -> int:
        """End the process, and return its status."""
        os.kill(self.pid, signal.SIGKILL)
        os.close(self._jobs)
        os.close(self._answers)
        return os.waitpid(self.pid, 0)[1]


def _send(pipe: int, message: dict[str, Any]) -> None:
    content = json.dumps(message).encode() + b"\n"
    while content:
        content = content[os.write(pipe, content) :]


def _be_child(jobs: int, answers: int, position: Position) -> None:
    """Make shards until the parent, which alone holds the other ends of the pipes, is dead."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), _INPUT)
    waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def read_jobs() -> None:
        with os.fdopen(jobs, "rb") as pipe:
            for line in pipe:
                waiting.put(line)
        os._exit(1)  # also in the middle of a shard

    threading.Thread(target=read_jobs, daemon=True).start()
    while True:
        _send(answers, _work(json.loads(waiting.get()), position))


_CHILDREN: list[_Child] = []  # the idle one, if there is one


def supervise(job: dict[str, Any]) -> dict[str, Any]:
    """Have a shard made, whatever its sources do to their readers, and return the answer."""
    refused: dict[str, str] = {}  # by the number of the source, as a text for JSON
    strikes: Counter[int] = Counter()
    while True:
        child = _CHILDREN.pop() if _CHILDREN else _Child()
        result = child.attempt(job | {"refused": refused})
        if not isinstance(result, _Failure):
            _CHILDREN.append(child)
            return result
        for part in Path(job["out"]).glob(f".*.part-{child.pid}.*"):
            part.unlink(missing_ok=True)
        strikes[result.source] += 1
        if strikes[result.source] < _STRIKES:
            continue
        if result.source < 0:
            return _error(f"shard {job['shard']} cannot be made ({result.reason.replace('read', 'made')})")
        source = job["sources"][result.source]
        if is_stream(source):
            return _error(f"{source}: {result.reason}")
        refused[str(result.source)] = result.reason


def _error(reason: str) -> dict[str, Any]:
    mend = "finished shards are kept: repeat the same command to continue"
    return {"error": [ShardError.__name__, [f"{reason}; {mend}"]]}


def main() -> None:
    """Answer jobs until standard input ends, or none has come for a minute."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C is for the ingestion, which ends its supervisors
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # for whatever else prints
    with os.fdopen(_INPUT, "rb", closefd=False) as jobs:
        while wait_for([_INPUT], [], [], _IDLE)[0] and (line := jobs.readline()):
            answers.write(json.dumps(supervise(json.loads(line))).encode() + b"\n")
            answers.flush()


if __name__ == "__main__":
    main()
