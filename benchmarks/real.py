"""Five-fold cross-validation on real spectra: a fine-tuned model, a model without pretraining, and the baselines.

`python benchmarks/real.py --data ../shared/data/catalog.csv --pretrained runs/simulated --out runs/real`, where the run
was trained on the simulated survey with the same targets. Every object is in the test split of one fold.
"""

import csv
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from astropy.table import Table, vstack
from pyarrow import parquet
from rich.console import Console

from spectromer.config import BaselineConfig, TrainConfig
from spectromer.learning.baselines import baselines
from spectromer.learning.evaluation import evaluate_table
from spectromer.learning.figures import compare, show_comparison
from spectromer.learning.targets import Targets
from spectromer.learning.training import train
from spectromer.runs import RunFolder
from spectromer.shards.sources import divide


@dataclass(frozen=True)
class Options:
    """Compare methods that learn from a few real spectra."""

    data: Path
    """A catalogue of files, as `spectromer train` accepts it."""
    pretrained: Path
    """A run on the simulated survey."""
    out: Path
    """A folder for the runs, the pooled figures and table.csv. Existing runs are reused."""
    targets: tuple[str, ...] = ("class", "subclass", "z", "teff", "logg", "feh")
    folds: int = 5
    epochs: int = 30
    """Number of epochs, both from scratch and for fine-tuning."""
    lr: float = 5e-4
    """Learning rate of the fine-tuning."""
    seed: int = 0


def main(options: Options) -> None:
    """Train the missing runs, pool the folds, and print the table."""
    asked = TrainConfig(
        data=options.data, targets=options.targets, split=(0.7, 0.1, 0.2), seed=options.seed, epochs=options.epochs
    )
    division = None
    methods: dict[str, list[Path]] = {}
    for fold in range(options.folds):
        turned = replace(asked, fold_offset=fold / options.folds)
        folder = options.out / f"fold-{fold}"
        ways = {
            "fine-tuned": replace(turned, out=folder / "fine-tuned", checkpoint=options.pretrained, lr=options.lr),
            "real alone": replace(turned, out=folder / "real-alone"),
        }
        for name, config in ways.items():
            methods.setdefault(name, []).append(folder / config.out.name)
            if not RunFolder(config.out).metrics.is_file():
                division = divide(config)
                train(config, division=division)
        for name in ("forest", "svm"):
            methods.setdefault(name, []).append(folder / name)
            if not RunFolder(folder / name).metrics.is_file():
                own = {field: getattr(turned, field) for field in ("data", "targets", "split", "seed", "fold_offset")}
                baselines(BaselineConfig(**own, out=folder, methods=(name,)))
    division = division or divide(asked)
    shards = division.shards
    row_of = {name: i for i, name in enumerate(zip(*shards.names(np.arange(len(shards))), strict=True))}
    targets = Targets.fit(options.targets, shards.believed)
    found: list[tuple[str, dict[str, Any]]] = []
    for name, folders in methods.items():
        tables = [Table(parquet.read_table(RunFolder(folder).predictions).to_pydict()) for folder in folders]
        table = vstack(tables, join_type="inner", metadata_conflicts="silent")
        rows = np.array([row_of[str(row["id"]), str(row["survey"])] for row in table])
        pooled = RunFolder(options.out / name.replace(" ", "-"))
        pooled.create()
        metrics = evaluate_table(table, shards, rows, targets, pooled)
        pooled.write_metrics(metrics)
        found.append((name, metrics))
    lines = compare(found)
    show_comparison(lines, Console(width=40 + 20 * len(found)))
    with (options.out / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows(lines)


if __name__ == "__main__":
    main(tyro.cli(Options))
