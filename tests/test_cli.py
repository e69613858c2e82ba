"""The command line tells what a user can mend in one sentence, and hides nothing else."""

import pytest

from spectromer.cli import exit_code
from spectromer.errors import RunError, SpectromerError


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
