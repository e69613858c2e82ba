"""The door of `spectromer ingest`: its help is quick, and what is wrong is one line."""

from collections.abc import Callable
from pathlib import Path

import pytest

from spectromer.__main__ import main as spectromer_main


def test_help_needs_nothing_heavy(help_and_heavy: Callable[[str], tuple[str, str]]) -> None:
    text, heavy = help_and_heavy("ingest")
    assert "Folder for the shards." in text and heavy == "[]"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name files or folders to ingest, or --simulated N"),
        (["--simulated", "1", "--shard-size", "0"], "--shard-size must be at least 1, got 0"),
        (["--simulated", "-1"], "--simulated must be at least 0, got -1"),
        (["nowhere"], "nowhere: no such file or folder"),
        (["--simulated", "1", "--surveys", "sdss"], "a survey must be one of DESI, LAMOST, SDSS; got 'sdss'"),
    ],
)
def test_a_wrong_option_is_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert spectromer_main(["ingest", *arguments, "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"
