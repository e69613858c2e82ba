"""The documentation names commands, options, modules and pages that there are."""

import re
import shlex
from pathlib import Path

import pytest

from spectromer.__main__ import VERBS
from spectromer.__main__ import main as spectromer_main

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]


def commands(page: Path) -> list[list[str]]:
    """The commands of a page's code blocks in a shell, without their comments."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [words for block in blocks for line in block.splitlines() if (words := shlex.split(line, comments=True))]


def options(verb: str, capsys: pytest.CaptureFixture[str]) -> set[str]:
    with pytest.raises(SystemExit):
        spectromer_main([verb, "--help"])
    return set(re.findall(r"--[a-z][a-z0-9-]*", capsys.readouterr().out))


def test_every_command_has_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    found, known = 0, dict[str, set[str]]()
    for page in PAGES:
        for words in commands(page):
            joined = " ".join(words)
            match = re.search(r"(?:^spectromer |-m spectromer\.)([a-z]+)(.*)", joined)
            if match is None:
                assert "spectromer " not in joined and "spectromer." not in joined, f"{page.name}: {joined}"
                continue
            verb, rest = match[1], match[2]
            assert verb in VERBS, f"{page.name}: {joined}"
            if verb not in known:
                known[verb] = options(verb, capsys)
            given = {word for word in rest.split() if re.fullmatch(r"--[a-z][a-z0-9-]*", word)}
            assert given <= known[verb], f"{page.name}: {joined}: {given - known[verb]}"
            found += 1
    assert found > 20


def test_every_link_leads_to_a_file() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:\s]+)\)", page.read_text()):
            if not target.startswith("_static"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"
