"""A file that crashes its reader, blocks it or fills the memory costs an ingestion this file alone."""

import csv
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spectromer.errors import ArgumentError, ShardError
from spectromer.ingest import IngestConfig, ingest
from spectromer.shards import workers
from spectromer.surveys.simulated import simulate
from spectromer.surveys.write import write_survey

#: Imported by a supervisor when it starts: readers that do to their process what the name of the file says.
ODD_READERS = """
import os, signal, sys, time
if "spectromer.shards.supervisor" in " ".join(sys.orig_argv):
    from pathlib import Path
    from spectromer.shards import build, plan

    def read_source(source):
        name = Path(source).name
        once = Path(source).with_suffix(".once")
        if name.startswith("crash"):
            os.kill(os.getpid(), signal.SIGSEGV)
        elif name.startswith("exit"):
            os._exit(3)
        elif name.startswith("stuck"):
            time.sleep(1000)
        elif name.startswith("hungry"):
            hoard = []
            while True:
                hoard.append(bytearray(os.urandom(1 << 20)) * 8)
                time.sleep(0.001)
        elif name.startswith("raise"):
            raise KeyError("odd")
        elif once.exists():
            once.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        yield from plan.read_source(source)

    build.read_source = read_source
"""


@pytest.fixture
def odd_readers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(ODD_READERS)
    monkeypatch.syspath_prepend(tmp_path / "site")
    workers._POOL.end()
    yield
    workers._POOL.end()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    write_survey(list(simulate(20)), folder)
    return folder


def content(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.glob("*-?????.arrow")}


def rejected(out: Path) -> dict[str, str]:
    with (out / "rejected.csv").open(newline="") as file:
        return {Path(row["path"]).name: row["reason"] for row in csv.DictReader(file)}


@pytest.mark.parametrize("number", [1, 2])
def test_odd_files_cost_themselves(number: int, good: Path, tmp_path: Path, odd_readers: None) -> None:
    """The shards are those of the files without them."""
    folder = tmp_path / "files"
    shutil.copytree(good, folder)
    files = sorted(folder.glob("*.fits"))
    odd = [folder / f"{name}.fits" for name in ("crash", "exit", "hungry", "stuck")]
    for path in odd:
        shutil.copy(files[0], path)
    files[3].with_suffix(".once").touch()  # kills its reader once: an accident
    options = {"shard_size": 1000, "file_timeout": 2.0, "file_memory": 300}  # the hungry one takes its memory in time
    lists = tmp_path / "a.txt", tmp_path / "b.txt"  # one shard each
    lists[0].write_text("".join(f"{path}\n" for path in [*files[:5], *odd[:3], *files[5:10]]))
    lists[1].write_text("".join(f"{path}\n" for path in [odd[3], *files[10:]]))
    for i in (1, 2):  # the second is added later
        paths = tuple(map(str, lists[:i]))
        ingest(IngestConfig(paths, out=tmp_path / "odd", workers=number, **options))
    assert rejected(tmp_path / "odd") == {
        "crash.fits": "the process that read it was ended by signal SIGSEGV",
        "exit.fits": "the process that read it was ended by itself",
        "hungry.fits": "its reading took more than 300 MiB of memory",
        "stuck.fits": "no spectrum was read within 2 s",
    }
    for i in (1, 2):
        paths = tuple(map(str, files[: 10 * i]))
        ingest(IngestConfig(paths, out=tmp_path / "good", workers=1, shard_size=1000))
    assert len(content(tmp_path / "odd")) == 4 and content(tmp_path / "odd") == content(tmp_path / "good")


def test_a_bug_keeps_its_traceback(good: Path, tmp_path: Path, odd_readers: None) -> None:
    shutil.copy(next(good.glob("*.fits")), tmp_path / "raise.fits")
    with pytest.raises(RuntimeError, match=r"(?s)Traceback .*KeyError: 'odd'"):
        ingest(IngestConfig((str(tmp_path / "raise.fits"),), out=tmp_path / "out", workers=1))


def test_killed_supervisors_are_replaced(good: Path, tmp_path: Path) -> None:
    ingest(IngestConfig((str(good),), out=tmp_path / "a", workers=1))
    (idle,) = workers._POOL._idle[-1:]
    os.kill(idle._process.pid, signal.SIGKILL)
    time.sleep(0.1)
    ingest(IngestConfig((str(good),), out=tmp_path / "b", workers=1))
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_errors_come_back_as_what_they_are(good: Path, tmp_path: Path) -> None:
    """A shard that cannot be written is the error that says so."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "shard-00000.arrow").mkdir()
    with pytest.raises(ArgumentError, match=r"shard-00000\.arrow: the file cannot be written \(it is a folder\)"):
        ingest(IngestConfig((str(good),), out=out, workers=1))


def test_a_process_that_cannot_live_is_one_sentence(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers._POOL.end()
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ShardError, match="a process that makes shards was killed three times"):
        ingest(IngestConfig((str(good),), out=tmp_path / "out", workers=1))
