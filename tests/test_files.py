"""Files are written whole or not at all, and what prevents that is one sentence."""

import errno
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from spectromer.__main__ import main as spectromer_main
from spectromer.errors import ArgumentError, ReadError, ShardError
from spectromer.files import alone, atomic, check_folder, check_writable, printable, write_rejected, writing
from spectromer.shards.store import ShardSet

SMALL = 1 << 16  # bytes that a process may write to a file


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("before")
    for error in (KeyError("a bug"), KeyboardInterrupt()):
        with pytest.raises(type(error)), atomic(path) as part:
            part.write_text("half")
            raise error
        assert path.read_text() == "before" and os.listdir(tmp_path) == ["a.txt"]
    with atomic(path) as part:
        part.write_text("after")
    assert path.read_text() == "after" and os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),  # as a write raises it, without the name of the file
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
        OSError(errno.EROFS, os.strerror(errno.EROFS)),
        RuntimeError("I/O error: No space left on device (os error 28)"),  # as safetensors says it
    ],
)
def test_a_full_disk_is_one_sentence(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"a\.txt: the file cannot be written \("), atomic(tmp_path / "a.txt"):
        raise error
    with pytest.raises(ArgumentError, match=r"^the folder cannot be written \("), writing("the folder", tmp_path):
        raise error


def test_errors_of_something_else_keep_their_traceback(tmp_path: Path) -> None:
    """Of a file that is read while another is written."""
    with pytest.raises(FileNotFoundError), atomic(tmp_path / "a.txt"):
        (tmp_path / "nowhere").read_text()
    with pytest.raises(OSError, match="Input/output error"), atomic(tmp_path / "a.txt"):
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    with pytest.raises(ShardError, match="No space left on device"), atomic(tmp_path / "a.txt"):
        raise ShardError("a sentence: No space left on device")


def test_what_cannot_be_written_is_known_before(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "a.txt")
    assert os.listdir(tmp_path / "new") == []
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "a.txt", Path("/proc/a.txt"), tmp_path / ("x" * 300)):
        with pytest.raises(ArgumentError, match=r"cannot be (written|made)"):
            check_writable(path)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with alone(tmp_path, "work"), pytest.raises(ShardError, match="another work is at work"), alone(tmp_path, "work"):
        pass
    with pytest.raises(ArgumentError, match="cannot be made"), alone(Path("/proc/x"), "work"):
        pass


def test_texts_of_any_bytes_are_listed(tmp_path: Path) -> None:
    assert printable("é☉\n") == "é☉\n" and printable("a\udcff") == r"a\udcff"
    write_rejected([ReadError("a\udcff", "b\ud800")], tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text() == "path,reason\na\\udcff,b\\ud800\n"


def full_disk(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """A verb in a process that may write 64 KB to a file, which the system refuses as it refuses a full disk."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL, SMALL))

    command = [sys.executable, "-m", "spectromer", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=limit)


def test_an_ingestion_on_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    """The shards that are there are kept, and the same command goes on when there is room."""
    arguments = ["ingest", "--simulated", "256", "--workers", "1", "--out", str(tmp_path / "out")]
    done = full_disk(*arguments)
    assert done.returncode == 2
    want = f"error: {tmp_path}/out/shard-00000.arrow: the file cannot be written (File too large)\n"
    assert done.stderr == want and not list(tmp_path.glob("out/.*.part-*"))
    subprocess.run([sys.executable, "-m", "spectromer", *arguments], check=True, capture_output=True)
    assert len(ShardSet.open(tmp_path / "out")) == 256


def test_a_prediction_on_a_full_disk_keeps_its_parts(run: Path, tmp_path: Path) -> None:
    from spectromer.ingest import IngestConfig, ingest

    ingest(IngestConfig(out=tmp_path / "shards", simulated=512, workers=1))
    arguments = ["predict", str(run), str(tmp_path / "shards"), "--batch-size", "64", "--out", str(tmp_path / "a.csv")]
    done = full_disk(*arguments)
    assert (done.returncode, done.stderr) == (
        2,
        f"error: {tmp_path}/a.csv.parts/part-0.arrow: the file cannot be written (File too large)\n",
    )
    assert "parts are kept in" in done.stdout and not (tmp_path / "a.csv").exists()


def test_interrupted_is_code_130(tmp_path: Path) -> None:
    """^C: one line, and the shards that are finished are kept."""
    command = [sys.executable, "-m", "spectromer", "ingest", "--simulated", "20000", "--shard-size", "256"]
    out = tmp_path / "out"

    def heed() -> None:  # a shell ignores ^C for what it runs in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)

    with subprocess.Popen(
        [*command, "--out", str(out)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, preexec_fn=heed
    ) as process:
        while process.poll() is None and not list(out.glob("shard-*.json")):
            pass
        process.send_signal(signal.SIGINT)
        told = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and told == b"error: interrupted\n"
    assert list(out.glob("shard-*.json"))


def test_a_folder_is_tried_before_the_work(tmp_path: Path) -> None:
    """It is neither made nor left; folders of runs and of shards are not mixed with other output."""
    check_folder(tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    for path, why in (
        (tmp_path / "file", "Not a directory"),
        (tmp_path / "file" / "a", "Not a directory"),
        (Path("/proc/a/b"), "No such file"),
    ):
        with pytest.raises(ArgumentError, match=f"--out {path}: the folder cannot be written .{why}"):
            check_folder(path)
    for kind, names in {"a run": ("config.json", "model.json"), "shards": ("settings.json", "files.parquet")}.items():
        folder = tmp_path / kind.split()[-1]
        folder.mkdir()
        for name in names:
            check_folder(folder)
            (folder / name).write_text("")
        with pytest.raises(ArgumentError, match=f"--out {folder} is a folder of {kind}; name another folder"):
            check_folder(folder)
        check_folder(folder, kind)


@pytest.mark.parametrize("verb", ["train", "evaluate", "explain", "baselines", "export", "download", "ingest"])
def test_every_verb_tries_its_output_first(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The output is wrong, and so is the input; the output is told."""
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "out"
    inputs = {
        "train": ["--data", "nosuch"],
        "evaluate": ["nosuch", "--data", "nosuch"],
        "explain": ["nosuch", "nosuch"],
        "baselines": ["--data", "nosuch"],
        "export": ["nosuch"],
        "download": ["nosuch.csv"],
        "ingest": ["nosuch"],
    }
    assert spectromer_main([verb, *inputs[verb], "--out", str(out)]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: --out ") or told.startswith(f"error: {out}"), told
    assert "cannot be" in told and "nosuch" not in told
