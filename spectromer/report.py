"""Compare the figures of several runs: `python -m spectromer.report RUN RUN...`."""

import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from spectromer.cli import exit_code, parse
from spectromer.errors import require
from spectromer.files import atomic, check_writable
from spectromer.runs import RunFolder


@dataclass(frozen=True)
class ReportConfig:
    """Compare the figures of several runs in one table."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders with a metrics.json, written by train, evaluate or baselines."""
    out: Path | None = None
    """A .csv file to write the table to."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `spectromer report`."""
    config = parse(ReportConfig, "report", argv)

    def work() -> None:
        from rich.console import Console

        from spectromer.learning.figures import compare, show_comparison

        require(bool(config.runs), "name at least one run to report")
        if config.out is not None:
            require(config.out.suffix == ".csv", f"--out {config.out}: the ending must be .csv")
            check_writable(config.out)
        rows = compare([(run.name, RunFolder(run).read_metrics()["test"]) for run in config.runs])
        show_comparison(rows, Console())
        if config.out is not None:
            with atomic(config.out) as part, part.open("w", newline="") as file:
                csv.writer(file).writerows(rows)

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
