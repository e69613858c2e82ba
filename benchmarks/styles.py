"""Comparison of pictures, with the same model and the same number of steps on the simulated survey.

`python benchmarks/styles.py --out runs/styles` trains one run for each picture below and prints one table. Redshifts
are those of the model alone. To compare pictures on real spectra, fine-tune such runs by `benchmarks/real.py
--pretrained`.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro
from real import write_lines
from rich.console import Console

from spectromer.config import TrainConfig
from spectromer.learning.figures import compare, show_comparison
from spectromer.learning.training import train
from spectromer.picture import Picture
from spectromer.runs import RunFolder
from spectromer.shards.sources import divide

PLOT, PANELS, STRIPS = Picture.of("plot", 128), Picture.of("panels", 128, panels=8), Picture.of("strips", 128, panels=8)

#: Options of TrainConfig.
PICTURES: dict[str, dict[str, Any]] = {
    "strips 8, 128 px": {"picture": STRIPS},
    "strips 8, pooling mean": {"picture": STRIPS, "pooling": "mean"},
    "strips 8, lines and S/N": {"picture": replace(STRIPS, channels=("lines", "snr"))},
    "strips 8, lines": {"picture": replace(STRIPS, channels=("lines",))},
    "strips 8, flux and error": {"picture": replace(STRIPS, channels=("flux", "error"))},
    "panels 8, each with its range": {"picture": replace(PANELS, per_panel=True)},
    "panels 8, 128 px": {"picture": PANELS},
    "folded 128 px, 4 px each": {"picture": Picture.of("folded", 128)},
    "folded 128 px, 2 px each": {"picture": Picture.of("folded", 128, block=2)},
    "panels 8 + error": {"picture": Picture.of("panels", 128, panels=8, channels=("flux", "error"))},
    "plot 128 px": {"picture": PLOT},
    "overlap 128 px": {"picture": Picture.of("overlap", 128)},
    "panels 4, 128 px": {"picture": Picture.of("panels", 128, panels=4)},
    "thesis-plot 128 px": {"picture": Picture.of("thesis-plot", 128)},
    "panels 14, 224 px": {"picture": Picture.of("panels", 224, panels=14)},
    "plot 128 px, 1 of 4 patches": {"picture": PLOT, "keep_patches": 0.25},
    "strips 8, linear heads": {"picture": STRIPS, "heads": "linear"},
    "strips 8, not augmented": {"picture": STRIPS, "augment": False},
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
        if not RunFolder(run).metrics.is_file():
            config = TrainConfig(
                simulated=options.simulated,
                epochs=options.epochs,
                seed=options.seed,
                out=run,
                scan=False,
                **PICTURES[name],
            )
            division = division or divide(config)
            train(config, division=division)
        metrics = RunFolder(run).read_metrics()
        found.append((name, metrics["test"]))
        speed.append(str(metrics["training"]["milliseconds_per_step"]))
    rows = [*compare(found), ["training", "milliseconds_per_step", *speed]]
    show_comparison(rows, Console(width=40 + 18 * len(found)))
    write_lines(rows, options.out / "table.csv")


if __name__ == "__main__":
    main(tyro.cli(Options))
