"""Plot which wavelengths a model's predictions depend on: `python -m spectromer.explain RUN PATH... --out FOLDER`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from spectromer.cli import exit_code, parse
from spectromer.errors import NothingError, require
from spectromer.words import count


@dataclass(frozen=True)
class ExplainConfig:
    """Plot which wavelengths a model's predictions depend on."""

    run: Annotated[Path, tyro.conf.Positional]
    """A run folder of `spectromer train`."""
    paths: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Survey files, folders of them, catalogues (CSV, ECSV, FITS, VOTable or Parquet) with a column `path`, or folders
    of shards."""
    out: Path
    """The folder for the plots, one for each spectrum, and for unreadable.csv."""

    def __post_init__(self) -> None:
        require(bool(self.paths), "name files or folders to explain")


def main(argv: Sequence[str] | None = None) -> int:
    """Run `spectromer explain`."""
    config = parse(ExplainConfig, "explain", argv)

    def work() -> None:
        from spectromer.learning.explanation import UNREADABLE, explain_files

        drawn, rejected = explain_files(config.run, config.paths, config.out)
        print(f"{count(drawn, 'spectrum')} explained in {config.out}")
        if rejected:
            number = count(len(rejected), "file or spectrum", "files or spectra")
            print(f"{number} could not be explained; {config.out / UNREADABLE} lists them")
        if not drawn:
            raise NothingError(f"nothing was explained: {' '.join(config.paths)} holds no spectrum that can be read")

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
