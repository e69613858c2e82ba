"""Write vectors of spectra, in which similar spectra are near: `python -m spectromer.embed PATH... --out FILE`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from spectromer.cli import check_least, exit_code, parse, split_model
from spectromer.errors import NothingError, require
from spectromer.words import count


@dataclass(frozen=True)
class EmbedConfig:
    """Write vectors of spectra, in which similar spectra are near."""

    paths: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Survey files, folders of them, catalogues (CSV, ECSV, FITS, VOTable or Parquet) with a column `path`, or folders
    of shards. The first path can be a run folder of `spectromer train`, which is then the model."""
    out: Path
    """The table to write, as .parquet, with the columns path, survey, id and vector."""
    model: str | None = None
    """A run folder, the name of a model in the package, or the name "owner/name" of one on the Hugging Face hub. The
    default is the model "default" of the package."""
    batch_size: int = 256
    """Number of spectra in a batch."""

    def __post_init__(self) -> None:
        require(bool(split_model(self.model, self.paths)[1]), "name files or folders to embed")
        require(self.out.suffix == ".parquet", f"out must end in .parquet, got {self.out.name}")
        check_least(self, batch_size=1)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `spectromer embed`."""
    config = parse(EmbedConfig, "embed", argv)

    def work() -> None:
        from spectromer.learning.embedding import embed_files

        model, paths = split_model(config.model, config.paths)
        written, rejected = embed_files(model, paths, config.out, config.batch_size)
        if written:
            print(f"{config.out} holds the vectors of {count(written, 'spectrum')}")
        if rejected:
            unreadable = config.out.with_name(f"{config.out.stem}.unreadable.csv")
            number = count(len(rejected), "file or spectrum", "files or spectra")
            print(f"{number} without a vector; {unreadable} lists them")
        if not written:
            raise NothingError(f"nothing was embedded: {' '.join(paths)} holds no spectrum that can be read")

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
