"""Evaluate a trained model on spectra with known labels: `python -m spectromer.evaluate RUN --data PATH`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from spectromer.cli import exit_code, parse


@dataclass(frozen=True)
class EvaluateConfig:
    """Evaluate a trained model on labelled spectra."""

    run: Annotated[Path, tyro.conf.Positional]
    """A run folder of `spectromer train`."""
    data: Path
    """A folder of shards or of survey files, or a catalogue of files (CSV, ECSV, FITS, VOTable or Parquet) with a
    column `path`."""
    out: Path | None = None
    """The folder for metrics.json, report.html, predictions and plots. The default is RUN/evaluation."""
    scan: bool = True
    """Combine the redshifts of the model with those by templates, as `predict` does. It takes most of the time."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `spectromer evaluate`."""
    config = parse(EvaluateConfig, "evaluate", argv)

    def work() -> None:
        from spectromer.learning.evaluation import evaluate_run

        evaluate_run(config.run, config.data, config.out, config.scan)

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
