"""The command line tells what a user can mend in one sentence, and hides nothing else."""

from pathlib import Path

import pytest

from spectromer.__main__ import VERBS
from spectromer.__main__ import main as spectromer_main
from spectromer.cli import DONE, INTERRUPTED, NOTHING, WRONG, exit_code
from spectromer.errors import NothingError, RunError, SpectromerError


def _fail(error: Exception) -> None:
    raise error


def test_work_that_succeeds_has_status_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(lambda: None) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("kind", [SpectromerError, RunError])
def test_what_a_user_can_mend_is_a_sentence(kind: type[SpectromerError], capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(lambda: _fail(kind("run/model.json: size is missing"))) == 2
    assert capsys.readouterr() == ("", "error: run/model.json: size is missing\n")


@pytest.mark.parametrize("kind", [ValueError, KeyError, TypeError, OSError, RuntimeError])
def test_anything_else_keeps_its_traceback(kind: type[Exception], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(kind, match="a bug of ours"):
        exit_code(lambda: _fail(kind("a bug of ours")))
    assert capsys.readouterr() == ("", "")


def _interrupt() -> None:
    raise KeyboardInterrupt


def test_the_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert (DONE, NOTHING, WRONG, INTERRUPTED) == (0, 1, 2, 130)
    assert exit_code(lambda: _fail(NothingError("nothing was predicted"))) == NOTHING
    assert exit_code(_interrupt) == INTERRUPTED
    assert capsys.readouterr().err == "error: nothing was predicted\nerror: interrupted\n"


@pytest.mark.parametrize("verb", list(VERBS))
def test_an_empty_argument_is_refused(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As a variable of the shell that is not set gives it. It would stand for the current folder."""
    for arguments, where in (([""], ""), (["--out", ""], " after '--out'"), (["run", " "], " after 'run'")):
        with pytest.raises(SystemExit) as ended:
            spectromer_main([verb, *arguments])
        assert ended.value.code == WRONG
        want = f"error: an argument{where} is empty (is a variable of the shell not set?)\n"
        assert capsys.readouterr().err == want


def test_a_report_is_written_as_csv_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert spectromer_main(["report", str(tmp_path), "--out", str(tmp_path / "a.pdf")]) == WRONG
    assert capsys.readouterr().err == f"error: --out {tmp_path}/a.pdf: the ending must be .csv\n"
