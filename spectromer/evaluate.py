"""Evaluate a trained model on spectra with known labels."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from astropy.table import Table, vstack
from rich.console import Console
from rich.progress import track

from spectromer.cli import exit_code
from spectromer.files import write_rejected
from spectromer.labels import BelievedLabels
from spectromer.learning import plots
from spectromer.learning.metrics import CATASTROPHIC, evaluate_predictions
from spectromer.learning.targets import Targets
from spectromer.predict import Predictor, write_table
from spectromer.report import report, write_report
from spectromer.shards.feeds import in_order
from spectromer.shards.sources import load
from spectromer.shards.splits import some
from spectromer.shards.store import ShardSet

__all__ = ["evaluate", "judge"]

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
    z = torch.tensor([trusted(row).get("z", np.nan) for row in labels])
    batches = track(in_order(shards, rows, _BATCH), "evaluating", total=-(-len(rows) // _BATCH))
    parts = [predictor.predict(batch, true) for batch, true in zip(batches, z.split(_BATCH), strict=True)]
    table = vstack(parts, metadata_conflicts="silent")
    targets = predictor.model.targets
    metrics = judge(table, labels, targets, folder)

    def sheet(chosen: np.ndarray, name: str) -> None:
        inputs = predictor.outputs(shards.batch(rows[chosen]))[0].cpu().numpy()
        captions = [f"found {_text(table[int(i)])}\ntrue {_text(labels[i])}" for i in chosen]
        plots.example_sheet(inputs, captions, folder / "plots" / f"{name}.png")

    sheet(some(np.arange(len(rows)), _EXAMPLES), "examples")
    worst = _worst(table, labels, targets)[:_EXAMPLES]
    if len(worst):
        sheet(worst, "worst")
    return metrics


def judge(table: Table, labels: Sequence[dict[str, Any]], targets: Targets, folder: Path) -> dict[str, Any]:
    """Figures of predictions; leaves plots and predictions.parquet, which has the truth beside them, in `folder`."""
    metrics = evaluate_predictions(table, labels, targets)
    for name in targets.vocabulary:
        plots.confusion_matrix(table, labels, name, targets, folder / "plots" / f"confusion_{name}.png")
    plots.reliability(metrics, folder / "plots" / "reliability.png")
    if "z" in targets.names:
        plots.redshifts(table, labels, folder / "plots" / "redshift.png")
    if "z_pit" in table.colnames:
        plots.coverage(table, labels, folder / "plots" / "coverage.png")
    for name in (*targets.names, "snr"):
        missing: Any = "" if name in targets.vocabulary else np.nan
        table[f"true_{name}"] = [row.get(name, missing) for row in labels]
    write_table(table, folder / "predictions.parquet")
    return metrics


def _text(values: Any) -> str:
    """Class, subclass and redshift of a row of predictions or labels."""
    there = values.colnames if hasattr(values, "colnames") else values
    found = [str(values[name]) for name in ("class", "subclass") if name in there and values[name]]
    return " ".join([*found, f"z={values['z']:.4f}"] if "z" in there else found)


def _worst(table: Table, labels: Sequence[dict[str, Any]], targets: Targets) -> np.ndarray:
    """Rows that are wrong, those first whose truth was thought the least likely."""
    known = [trusted(row) for row in labels]
    surprise = np.zeros(len(table))
    for name in targets.vocabulary:
        for i, row in enumerate(known):
            column = f"{name}_prob_{row.get(name)}"
            if column in table.colnames and table[name][i] not in ("", row[name]):
                surprise[i] = max(surprise[i], 1.0 - table[column][i])
    if "z_pit" in table.colnames:
        z, true = np.asarray(table["z"]), np.array([row.get("z", np.nan) for row in known])
        wrong = np.abs(z - true) / (1.0 + true) > max(CATASTROPHIC.values())
        surprise = np.where(wrong, np.maximum(surprise, np.asarray(table["z_prob"])), surprise)
    order = np.argsort(-surprise, kind="stable")
    return order[surprise[order] > 0]


@dataclass(frozen=True)
class EvaluateConfig:
    """Evaluate a trained model on labelled spectra."""

    run: Annotated[Path, tyro.conf.Positional]
    """A run folder of spectromer.train."""
    data: Path
    """A folder of shards or of survey files, or a catalogue of files with a column `path`."""
    out: Path | None = None
    """Where metrics.json, report.html, predictions and plots go; by default RUN/evaluation."""


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
    details = {"run": config.run, "data": config.data, "spectra": len(shards), "unreadable": len(rejected)}
    write_report(folder, metrics, f"{config.run} on {config.data}", details)
    return metrics


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m spectromer.evaluate RUN --data PATH`."""
    config = tyro.cli(EvaluateConfig, prog="spectromer evaluate", args=argv)
    return exit_code(lambda: report(run_evaluate(config), str(config.data), Console()))


if __name__ == "__main__":
    sys.exit(main())
