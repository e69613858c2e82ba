"""The supervisor of the processes that make shards: `python -m spectromer.shards.supervisor`, started by `workers`.

It reads one job per line from standard input, as JSON, and answers each with a line on standard output. It never reads
a survey file itself. For each job it forks a child, which makes the shard and notes in shared memory at which source it
is. If the child dies, stands still, or takes too much memory while it reads a source, it is ended and the shard is made
again from the beginning. A source at which this happens twice is rejected. One time may be an accident: another process
has filled the memory, or a file system was absent.
"""

import json
import mmap
import os
import select
import signal
import struct
import sys
import threading
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from spectromer.errors import ReadError, ShardError, SpectromerError
from spectromer.shards.build import Position, build_shard
from spectromer.shards.plan import is_stream
from spectromer.shards.selection import Selection

_IDLE = 60.0  # seconds without a job after which a supervisor ends
_POLL = 0.05  # seconds between two looks at the child
_STRIKES = 2  # failures at a source after which it is rejected
_PAGE = os.sysconf("SC_PAGE_SIZE")
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


def _work(job: dict[str, Any], refused: dict[int, str], position: Position) -> dict[str, Any]:
    """Make the shard, and return the answer for the ingestion."""
    options: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in job["select"].items()}
    try:
        catalogs = [Path(path) for path in job["catalogs"]]
        build_shard(Path(job["out"]), job["shard"], job["sources"], catalogs, Selection(**options), refused, position)
    except ReadError as error:
        return {"error": ["ReadError", [error.path, error.reason]]}
    except SpectromerError as error:
        return {"error": [type(error).__name__, [str(error)]]}
    except BaseException:
        return {"bug": traceback.format_exc()}
    return {"made": job["shard"]}


def _be_child(job: dict[str, Any], refused: dict[int, str], position: Position, answer: int, parent: int) -> None:
    """Make the shard in a forked child, which ends with its parent, and send the answer."""

    def end_with_parent() -> None:
        os.read(parent, 1)  # returns when the parent, which alone holds the other end, is dead
        os._exit(1)

    os.dup2(os.open(os.devnull, os.O_RDONLY), _INPUT)
    threading.Thread(target=end_with_parent, daemon=True).start()
    content = json.dumps(_work(job, refused, position)).encode() + b"\n"
    with os.fdopen(answer, "wb") as pipe:
        pipe.write(content)


def _attempt(job: dict[str, Any], refused: dict[int, str]) -> dict[str, Any] | _Failure:
    """Make the shard in a child, without the sources that are refused."""
    position = _SharedPosition()
    answers, answer = os.pipe()
    parent, alive = os.pipe()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(answers)
        os.close(alive)
        try:
            _be_child(job, refused, position, answer, parent)
        finally:
            os._exit(0)
    os.close(answer)
    os.close(parent)
    try:
        content, reason = _watch(child, answers, position, job["limits"])
    finally:
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        os.close(answers)
        os.close(alive)
    if content.endswith(b"\n"):
        made: dict[str, Any] = json.loads(content)
        return made
    if not reason:
        by = f"signal {signal.Signals(os.WTERMSIG(status)).name}" if os.WIFSIGNALED(status) else "itself"
        reason = f"the process that read it was ended by {by}"
    return _Failure(position.get()[0], reason)


def _watch(child: int, answers: int, position: _SharedPosition, limits: dict[str, Any]) -> tuple[bytes, str]:
    """Wait for the answer of a child. Returns it, or the reason why the child has to be ended."""
    content, seen, since = b"", position.get(), time.monotonic()
    before, most = _resident(os.getpid()), limits["memory"] << 20
    while True:
        ready = select.select([_INPUT, answers], [], [], _POLL)[0]
        if answers in ready:
            piece = os.read(answers, 1 << 16)
            if not piece:
                return content, ""
            content += piece
            continue
        if _INPUT in ready:  # its end, as the ingestion sends the next job after the answer: the ingestion is dead
            os.kill(child, signal.SIGKILL)
            os._exit(1)
        now = position.get()
        if now != seen:
            seen, since = now, time.monotonic()
        if now[0] >= 0 and time.monotonic() - since > limits["seconds"]:
            return b"", f"no spectrum was read within {limits['seconds']:g} s"
        if now[0] >= 0 and _resident(child) - before > most:
            return b"", f"its reading took more than {limits['memory']} MiB of memory"


def supervise(job: dict[str, Any]) -> dict[str, Any]:
    """Have a shard made, whatever its sources do to their readers, and return the answer."""
    refused: dict[int, str] = {}
    strikes: Counter[int] = Counter()
    while True:
        result = _attempt(job, refused)
        if not isinstance(result, _Failure):
            return result
        strikes[result.source] += 1
        if strikes[result.source] < _STRIKES:
            continue
        if result.source < 0:
            return _error(f"shard {job['shard']} cannot be made ({result.reason.replace('read', 'made')})")
        source = job["sources"][result.source]
        if is_stream(source):
            return _error(f"{source}: {result.reason}")
        refused[result.source] = result.reason


def _error(reason: str) -> dict[str, Any]:
    mend = "finished shards are kept: repeat the same command to continue"
    return {"error": [ShardError.__name__, [f"{reason}; {mend}"]]}


def main() -> None:
    """Answer jobs until standard input ends, or none has come for a minute."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C is for the ingestion, which ends its supervisors
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # for whatever else prints
    with os.fdopen(_INPUT, "rb", closefd=False) as jobs:
        while select.select([_INPUT], [], [], _IDLE)[0] and (line := jobs.readline()):
            answers.write(json.dumps(supervise(json.loads(line))).encode() + b"\n")
            answers.flush()


if __name__ == "__main__":
    main()
