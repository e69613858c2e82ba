"""Predict the labels of every spectrum in files or folders: `python -m spectromer.predict PATH... --out FILE`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from spectromer.cli import exit_code, parse, split_model
from spectromer.errors import NothingError, require


@dataclass(frozen=True)
class PredictConfig:
    """Predict the labels of every spectrum in files or folders with a trained model.

    If the command is interrupted, repeat it to continue.
    """

    paths: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Survey files, folders of them, catalogues (CSV, ECSV, FITS, VOTable or Parquet) with a column `path`, or folders
    of shards. The first path can be a run folder of `spectromer train`, which is then the model."""
    out: Path
    """The table to write, as .csv, .ecsv, .fits or .parquet."""
    model: str | None = None
    """A run folder, the name of a model in the package, or the name "owner/name" of one on the Hugging Face hub. The
    default is the model "default" of the package."""
    batch_size: int = 256
    """Number of spectra in a batch."""
    scan: bool = True
    """Measure redshifts with templates too (z_scan), and combine them with those of the model. It takes most of the
    time."""

    report: bool = False
    """Also write an HTML page next to the table, which shows counts, flags, and up to 200 spectra."""

    def __post_init__(self) -> None:
        require(bool(split_model(self.model, self.paths)[1]), "name files or folders to predict")
        require(self.batch_size >= 1, f"batch_size must be at least 1, got {self.batch_size}")
        require(self.batch_size < 1 << 31, f"batch_size must be below 2^31, got {self.batch_size}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run `spectromer predict`."""
    config = parse(PredictConfig, "predict", argv)

    def work() -> None:
        from spectromer.learning.prediction import describe, predict_files

        model, paths = split_model(config.model, config.paths)
        found = predict_files(model, paths, config.out, config.batch_size, config.scan, config.report)
        print(describe(found, config.out))
        if not found.spectra:
            raise NothingError(f"nothing was predicted: {' '.join(paths)} holds no spectrum that can be read")

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
