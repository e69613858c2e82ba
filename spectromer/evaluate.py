"""Evaluate a trained model on spectra with known labels."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from astropy.table import Table
from rich.console import Console
from rich.progress import track
from rich.table import Table as Report

from spectromer import plots
from spectromer.cli import exit_code
from spectromer.data.feeds import in_order
from spectromer.data.shards import ShardSet
from spectromer.data.sources import load
from spectromer.files import write_rejected
from spectromer.metrics import evaluate_predictions
from spectromer.predict import Predictor, write_table

__all__ = ["evaluate", "report"]

_EXAMPLES = 16
_BATCH = 256


def evaluate(predictor: Predictor, shards: ShardSet, rows: np.ndarray, folder: Path) -> dict[str, Any]:
    """Predict some rows, ascending, compare with the labels, and leave predictions.parquet and plots in `folder`.

    Returns
    -------
    dict
        Of `evaluate_predictions`.
    """
    labels = list(shards.labels(rows))
    batches = in_order(shards, rows, _BATCH)
    table = predictor.predict_batches(track(batches, "evaluating", total=-(-len(rows) // _BATCH)))
    targets = predictor.model.targets
    for name in targets.vocabulary:
        plots.confusion_matrix(table, labels, name, targets, folder / f"confusion_{name}.png")
    if "z" in targets.names:
        plots.redshifts(table, labels, folder / "redshift.png")
    _examples(predictor, shards, rows, table, labels, folder / "examples.png")
    for name in (*targets.names, "snr"):
        missing: Any = "" if name in targets.vocabulary else np.nan
        table[f"true_{name}"] = [row.get(name, missing) for row in labels]
    write_table(table, folder / "predictions.parquet")
    return evaluate_predictions(table, labels, targets)


def _examples(
    predictor: Predictor, shards: ShardSet, rows: np.ndarray, table: Table, labels: Sequence[dict[str, Any]], path: Path
) -> None:
    """Spectra from all over the set, as images with what was found and what is true."""
    shown = np.unique(np.linspace(0, len(rows) - 1, min(_EXAMPLES, len(rows))).astype(int))
    images, _ = predictor.outputs(shards.batch(rows[shown]))

    def text(values: Any) -> str:
        found = [str(values[name]) for name in ("class", "subclass") if values.get(name)]
        return " ".join([*found, f"z={values['z']:.4f}"] if "z" in values else found)

    captions = []
    for i in shown:
        found = {name: table[name][i] for name in ("class", "subclass", "z") if name in table.colnames}
        captions.append(f"found {text(found)}\ntrue {text(labels[i])}")
    plots.example_sheet(images.cpu().numpy(), captions, path)


def report(metrics: dict[str, Any], title: str, console: Console) -> None:
    """Print the main figures as a table."""
    table = Report(title=title, title_justify="left")
    for column in ("target", "n", "figures"):
        table.add_column(column)
    for name, values in metrics.items():
        if "accuracy" in values:
            table.add_row(
                name, str(values["n"]), f"accuracy {values['accuracy']:.4f}, macro F1 {values['macro_f1']:.4f}"
            )
        elif "r2" in values:
            table.add_row(name, str(values["n"]), f"R² {values['r2']:.3f}, sigma_NMAD {values['sigma_nmad']:.4g}")
        else:
            for kind, v in values.items():
                figures = f"sigma_NMAD {v['sigma_nmad']:.5f}, catastrophic {100 * v['catastrophic_fraction']:.1f} %"
                if kind != "star":
                    figures = f"R² {v['r2']:.3f}, {figures}"
                table.add_row(
                    f"{name} of {kind}", str(v["n"]), f"{figures}, 68 % interval holds {v['coverage_68']:.2f}"
                )
    console.print(table)


@dataclass(frozen=True)
class EvaluateConfig:
    """Evaluate a trained model on labelled spectra."""

    run: Annotated[Path, tyro.conf.Positional]
    """A run folder of spectromer.train."""
    data: Path
    """A folder of shards or of survey files, or a catalogue of files with a column `path`."""
    out: Path | None = None
    """Where metrics.json, predictions and plots go; by default RUN/evaluation."""


def run_evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Read, predict, compare, write."""
    predictor = Predictor.load(config.run)
    shards, rejected = load(config.data)
    if not len(shards):
        raise ValueError(f"--data {config.data}: none of its {len(rejected)} files could be read")
    folder = config.out or config.run / "evaluation"
    folder.mkdir(parents=True, exist_ok=True)
    write_rejected(rejected, folder / "unreadable.csv")
    metrics = evaluate(predictor, shards, np.arange(len(shards)), folder)
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    return metrics


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m spectromer.evaluate RUN --data PATH`."""
    config = tyro.cli(EvaluateConfig, prog="spectromer evaluate", args=argv)
    return exit_code(lambda: report(run_evaluate(config), str(config.data), Console()))


if __name__ == "__main__":
    sys.exit(main())
