"""Plot which wavelengths a model's predictions depend on: `python -m spectromer.explain RUN PATH... --out FOLDER`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from spectromer.cli import exit_code
from spectromer.errors import require


@dataclass(frozen=True)
class ExplainConfig:
    """Plot which wavelengths a model's predictions depend on."""

    run: Annotated[Path, tyro.conf.Positional]
    """A run folder of `spectromer train`."""
    paths: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Survey files, or folders of survey files."""
    out: Path
    """The folder for the plots, one for each spectrum, and for unreadable.csv."""

    def __post_init__(self) -> None:
        require(bool(self.paths), "name files or folders to explain")


def main(argv: Sequence[str] | None = None) -> int:
    """Run `spectromer explain`."""
    config = tyro.cli(ExplainConfig, prog="spectromer explain", args=argv)

    def work() -> None:
        from spectromer.learning.explanation import explain_files

        explain_files(config.run, config.paths, config.out)

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
