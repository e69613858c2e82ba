"""Predict the labels of every spectrum in files or folders: `python -m spectromer.predict RUN PATH... --out FILE`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from spectromer.cli import exit_code, parse
from spectromer.errors import NothingError, require


@dataclass(frozen=True)
class PredictConfig:
    """Predict the labels of every spectrum in files or folders with a trained model.

    If the command is interrupted, repeat it to continue.
    """

    run: Annotated[Path, tyro.conf.Positional]
    """A run folder of `spectromer train`."""
    paths: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Survey files, folders of them, catalogues (CSV, ECSV, FITS, VOTable or Parquet) with a column `path`, or folders
    of shards."""
    out: Path
    """The table to write, as .csv, .ecsv, .fits or .parquet."""
    batch_size: int = 256
    """Number of spectra in a batch."""

    def __post_init__(self) -> None:
        require(bool(self.paths), "name files or folders to predict")
        require(self.batch_size >= 1, f"batch_size must be at least 1, got {self.batch_size}")
        require(self.batch_size < 1 << 31, f"batch_size must be below 2^31, got {self.batch_size}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run `spectromer predict`."""
    config = parse(PredictConfig, "predict", argv)

    def work() -> None:
        from spectromer.learning.prediction import describe, predict_files

        found = predict_files(config.run, config.paths, config.out, config.batch_size)
        print(describe(found, config.out))
        if not found.spectra:
            raise NothingError(f"nothing was predicted: {' '.join(config.paths)} holds no spectrum that can be read")

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
