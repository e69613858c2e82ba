"""The door of `spectromer download`: its help is quick, and what is wrong is one line."""

from collections.abc import Callable
from pathlib import Path

import pytest

from spectromer.__main__ import main as spectromer_main


def test_help_needs_nothing_heavy(help_and_heavy: Callable[[str], tuple[str, str]]) -> None:
    text, heavy = help_and_heavy("download")
    assert "Folder for the files." in text and heavy == "[]"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.csv"], "nowhere.csv: no such file"),
        (["nowhere.csv", "--attempts", "0"], "--attempts must be at least 1, got 0"),
    ],
)
def test_a_wrong_option_is_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert spectromer_main(["download", *arguments, "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"
