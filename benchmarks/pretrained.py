"""Does a Vision Transformer that was pretrained on photographs learn spectra better than the same one from scratch?

`python benchmarks/pretrained.py --data ../shared/data/catalog.csv --weights FILE.safetensors --out runs/pretrained`
compares both, frozen and fine-tuned, with 100, 1000 and all real spectra of the training split, in the folds of
benchmarks/real.py. If the command is repeated, it continues with what is missing.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from real import SHORTEST, SPLIT, TARGETS, catalogue, pool, write_lines
from rich.console import Console

from spectromer.config import TrainConfig
from spectromer.learning.figures import compare, show_comparison
from spectromer.learning.training import train
from spectromer.picture import Picture
from spectromer.runs import RunFolder
from spectromer.shards.sources import Division, divide
from spectromer.shards.splits import subsample


@dataclass(frozen=True)
class Options:
    """Compare a pretrained ViT with the same ViT from scratch."""

    data: Path
    """A catalogue of real spectra, as benchmarks/real.py accepts it."""
    weights: Path
    """A safetensors file of the model's weights."""
    out: Path
    """A folder for the runs and table.csv. Finished runs are reused."""
    model: str = "vit_small_patch14_dinov2.lvd142m"
    size: int = 112
    """Size of the pictures in pixels, a multiple of 14."""
    counts: tuple[int, ...] = (100, 1000, 0)
    """Numbers of training spectra; 0 for all."""
    steps: int = 200
    """Number of steps of each run."""
    folds: tuple[int, ...] = (0, 1, 2, 3, 4)
    batch_size: int = 32
    seed: int = 0


def ways(options: Options) -> dict[str, dict[str, Any]]:
    """The options of `train` for each way to learn."""
    given = {"pretrained": False, "checkpoint": options.weights}
    fresh = {"pretrained": False}
    return {
        "pretrained, fine-tuned": given | {"lr": 1e-4, "layer_decay": 0.75},
        "from scratch": fresh | {"lr": 5e-4},
        "pretrained, frozen": given | {"frozen": True, "lr": 2e-3},
        "untrained, frozen": fresh | {"frozen": True, "lr": 2e-3},
    }


def fewer(division: Division, count: int) -> Division:
    """The division with `count` training spectra, evenly chosen, or all for 0."""
    rows = division.rows["train"]
    return replace(division, rows=division.rows | {"train": subsample(rows, count) if count else rows})


def main(options: Options) -> None:
    """Train the missing runs, pool the folds, and print the table."""
    patch = 14
    picture = Picture.of("strips", options.size, panels=options.size // patch)
    fresh = TrainConfig(
        data=catalogue(options.data, options.out / "real.csv", SHORTEST),
        targets=TARGETS,
        split=SPLIT,
        model=options.model,
        picture=picture,
        batch_size=options.batch_size,
        seed=options.seed,
        scan=False,
    )
    divisions = {fold: divide(replace(fresh, fold_offset=fold / 5)) for fold in options.folds}
    shards = divisions[options.folds[0]].shards
    every = np.concatenate([division.rows["test"] for division in divisions.values()])
    found = []
    for count in options.counts:
        for name, own in ways(options).items():
            label, runs = f"{name}, {count or 'all'}", []
            for fold, division in divisions.items():
                part = fewer(division, count)
                run = RunFolder(options.out / label.replace(", ", "-").replace(" ", "-") / f"fold-{fold}")
                epochs = max(1, round(options.steps / max(1, len(part.rows["train"]) // options.batch_size)))
                if not run.metrics.is_file():
                    config = replace(fresh, **own, fold_offset=fold / 5, epochs=epochs, out=run.path)
                    train(config, division=part)
                runs.append(run)
            found.append((label, pool(runs, shards, every, options.out / "pooled" / label)))
    lines = compare(found)
    show_comparison(lines, Console(width=40 + 20 * len(found)))
    write_lines(lines, options.out / "table.csv")


if __name__ == "__main__":
    main(tyro.cli(Options))
