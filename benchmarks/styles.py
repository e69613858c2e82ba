"""Comparison of pictures, with the same model and the same number of steps on the simulated survey.

`python benchmarks/styles.py --out runs/styles` trains one run for each picture below and prints one table.
"""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console

from spectromer.config import TrainConfig
from spectromer.shards.sources import divide
from spectromer.report import compare, show
from spectromer.train import train

PICTURES: dict[str, dict[str, Any]] = {
    "panels 8, 128 px": {"size": 128},
    "folded 128 px, 4 px each": {"style": "folded", "size": 128},
    "folded 128 px, 2 px each": {"style": "folded", "size": 128, "block": 2},
    "panels 8 + error": {"size": 128, "channels": ("flux", "error")},
    "plot 128 px": {"style": "plot", "size": 128},
    "overlap 128 px": {"style": "overlap", "size": 128},
    "panels 4, 128 px": {"size": 128, "panels": 4},
    "thesis-plot 128 px": {"style": "thesis-plot", "size": 128},
    "panels 14, 224 px": {"size": 224},
    "plot 128 px, 1 of 4 patches": {"style": "plot", "size": 128, "keep_patches": 0.25},
    "panels 8, mlp heads": {"size": 128, "heads": "mlp"},
    "panels 8, not augmented": {"size": 128, "augment": False},
}


@dataclass(frozen=True)
class Options:
    """Compare pictures."""

    out: Path
    """A folder for the runs and table.csv. Existing runs are reused."""
    epochs: int = 3
    simulated: int = 14000
    seed: int = 0
    only: tuple[str, ...] = tuple(PICTURES)
    """Names of the pictures to train on."""


def main(options: Options) -> None:
    """Train the missing runs, and print the table."""
    division = None
    found, speed = [], []
    for name in options.only:
        run = options.out / "".join(c if c.isalnum() else "-" for c in name)
        if not (run / "metrics.json").is_file():
            config = TrainConfig(
                simulated=options.simulated, epochs=options.epochs, seed=options.seed, out=run, **PICTURES[name]
            )
            division = division or divide(config)
            train(config, division=division)
        metrics = json.loads((run / "metrics.json").read_text())
        found.append((name, metrics["test"]))
        speed.append(str(metrics["training"]["milliseconds_per_step"]))
    rows = [*compare(found), ["training", "milliseconds_per_step", *speed]]
    show(rows, Console(width=40 + 18 * len(found)))
    with (options.out / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)


if __name__ == "__main__":
    main(tyro.cli(Options))
