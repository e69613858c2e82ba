"""The console script lists its verbs, and hands the rest of the command line to one."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import spectromer
from spectromer.__main__ import VERBS, main


def test_verbs_are_listed_with_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0 == main(["-h"])
    shown = capsys.readouterr().out
    for verb, line in VERBS.items():
        assert re.search(rf"^  {verb} +{re.escape(line)}$", shown, flags=re.MULTILINE)
    assert "VERB --help" in shown and "--version" in shown


def test_without_a_verb_the_usage_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    told = capsys.readouterr()
    assert told.err.startswith("usage: spectromer VERB ...") and not told.out


def test_an_unknown_verb_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evalute", "run"]) == 2
    told = capsys.readouterr()
    assert told.err.startswith("error: 'evalute' is not a verb of spectromer\nusage:") and not told.out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"spectromer {spectromer.__version__}\n"


def test_models_of_the_package_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model-zoo"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^default: class, subclass, z, teff, logg, feh; \d+\.\d MB; /.*README.md$", shown, re.MULTILINE)
    assert "owner/name" in shown


@pytest.mark.parametrize("verb", list(VERBS))
def test_a_verb_is_a_module_with_a_main(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert callable(importlib.import_module(f"spectromer.{verb}").main)
    with pytest.raises(SystemExit) as ended:
        main([verb, "--help"])
    assert ended.value.code == 0 and f"usage: spectromer {verb}" in capsys.readouterr().out


def test_every_module_with_a_main_is_a_verb() -> None:
    folder = Path(spectromer.__file__).parent
    found = {path.stem for path in folder.glob("*.py") if "def main(" in path.read_text()}
    assert found == {*VERBS, "__main__"}


def test_the_rest_of_the_command_line_is_the_verbs(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "spectromer", "report", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    want = f"error: {tmp_path} is not the folder of a finished run: it holds no metrics.json\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", want)
