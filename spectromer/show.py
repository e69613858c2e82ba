"""Plot spectra, what a model says of them, and what it read: `python -m spectromer.show PATH... --out FOLDER`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from spectromer.cli import exit_code, parse, split_model
from spectromer.errors import NothingError, require
from spectromer.words import count


@dataclass(frozen=True)
class ShowConfig:
    """Plot spectra with the answer of a model, and the picture that it read."""

    paths: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Survey files, folders of them, catalogues (CSV, ECSV, FITS, VOTable or Parquet) with a column `path`, or folders
    of shards. The first path can be a run folder of `spectromer train`, which is then the model."""
    out: Path = Path("plots")
    """The folder for the plots, one for each spectrum, and for unreadable.csv."""
    model: str | None = None
    """A run folder, the name of a model in the package, or the name "owner/name" of one on the Hugging Face hub. The
    default is the model "default" of the package."""

    def __post_init__(self) -> None:
        require(bool(split_model(self.model, self.paths)[1]), "name files or folders to show")


def main(argv: Sequence[str] | None = None) -> int:
    """Run `spectromer show`."""
    config = parse(ShowConfig, "show", argv)

    def work() -> None:
        from spectromer.learning.looking import UNREADABLE, show_files

        model, paths = split_model(config.model, config.paths)
        drawn, rejected = show_files(model, paths, config.out)
        print(f"{count(drawn, 'spectrum')} plotted in {config.out}")
        if rejected:
            number = count(len(rejected), "file or spectrum", "files or spectra")
            print(f"{number} could not be plotted; {config.out / UNREADABLE} lists them")
        if not drawn:
            raise NothingError(f"nothing was plotted: {' '.join(paths)} holds no spectrum that can be read")

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
