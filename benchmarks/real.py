"""Five-fold cross-validation on real spectra: a fine-tuned model, a model without pretraining, and the baselines.

`python benchmarks/real.py --data ../shared/data/catalog.csv --pretrained runs/simulated --out runs/real`, where the run
was trained on the simulated survey with the same targets. Every object is in the test split of one fold.
"""

import csv
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from astropy.table import Table, vstack
from pyarrow import parquet
from rich.console import Console

from spectromer.baselines import BaselineConfig, baselines
from spectromer.config import TrainConfig
from spectromer.shards.sources import divide
from spectromer.learning.targets import Targets
from spectromer.evaluate import judge
from spectromer.report import compare, show
from spectromer.train import train


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
        data=options.data, targets=options.targets, shares=(0.7, 0.1, 0.2), seed=options.seed, epochs=options.epochs
    )
    division = None
    methods: dict[str, list[Path]] = {}
    for fold in range(options.folds):
        turned = replace(asked, turn=fold / options.folds)
        folder = options.out / f"fold-{fold}"
        ways = {
            "fine-tuned": replace(turned, out=folder / "fine-tuned", checkpoint=options.pretrained, lr=options.lr),
            "real alone": replace(turned, out=folder / "real-alone"),
        }
        for name, config in ways.items():
            methods.setdefault(name, []).append(folder / config.out.name)
            if not (config.out / "metrics.json").is_file():
                division = divide(config)
                train(config, division=division)
        for name in ("forest", "svm"):
            methods.setdefault(name, []).append(folder / name)
            if not (folder / name / "metrics.json").is_file():
                own = {field: getattr(turned, field) for field in ("data", "targets", "shares", "seed", "turn")}
                baselines(BaselineConfig(**own, out=folder, methods=(name,)))
    division = division or divide(asked)
    labels = list(division.shards.labels())
    row_of = {name: i for i, name in enumerate(zip(*division.shards.names(np.arange(len(labels))), strict=True))}
    targets = Targets.fit(options.targets, labels)
    found: list[tuple[str, dict[str, Any]]] = []
    for name, folders in methods.items():
        tables = [Table(parquet.read_table(folder / "predictions.parquet").to_pydict()) for folder in folders]
        table = vstack(tables, join_type="inner", metadata_conflicts="silent")
        own = [labels[row_of[str(row["id"]), str(row["survey"])]] for row in table]
        metrics = judge(table, own, targets, options.out / name.replace(" ", "-"))
        (options.out / name.replace(" ", "-") / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
        found.append((name, metrics))
    rows = compare(found)
    show(rows, Console(width=40 + 20 * len(found)))
    with (options.out / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)


if __name__ == "__main__":
    main(tyro.cli(Options))
