"""Evaluation of a model on labelled spectra."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from astropy.table import Table, vstack
from rich.console import Console
from rich.progress import track

from spectromer.errors import ArgumentError, NothingError
from spectromer.files import check_folder, write_rejected, write_table
from spectromer.labels import BelievedLabels
from spectromer.learning import plots
from spectromer.learning.figures import show_figures, write_report
from spectromer.learning.metrics import CATASTROPHIC, evaluate_predictions
from spectromer.learning.parallel import gather, is_first, share
from spectromer.learning.predictor import Predictor
from spectromer.learning.targets import Targets
from spectromer.runs import RunFolder
from spectromer.shards.batches import in_order
from spectromer.shards.sources import load
from spectromer.shards.splits import subsample
from spectromer.shards.store import ShardSet
from spectromer.subclasses import spectral_type
from spectromer.words import count

__all__ = ["evaluate", "evaluate_run", "evaluate_table"]

_EXAMPLES = 16
_BATCH = 256


def evaluate(
    predictor: Predictor, shards: ShardSet, rows: np.ndarray, run: RunFolder, scan: bool = True
) -> dict[str, Any]:
    """Predict the spectra at `rows`, compare them with their labels, and write predictions.parquet and plots to `run`.

    If several processes do this together, each predicts a part of the spectra, and the first does the rest.

    Parameters
    ----------
    predictor : Predictor
        The trained model.
    shards : ShardSet
        The spectra.
    rows : ndarray
        Rows of `shards`, ascending.
    run : RunFolder
        The folder to write to.
    scan : bool
        As in `Predictor.predict`.

    Returns
    -------
    dict
        The result of `evaluate_predictions`; empty in the other processes.
    """
    mine = share(rows)
    z = torch.from_numpy(shards.believed.take(mine)["z"].astype(np.float32))
    batches = track(in_order(shards, mine, _BATCH), "evaluating", total=-(-len(mine) // _BATCH))
    pairs = zip(batches, z.split(_BATCH), strict=True) if len(mine) else ()
    parts = [predictor.predict(batch, true, scan=scan) for batch, true in pairs]
    table = vstack([part for parts in gather(parts) for part in parts], metadata_conflicts="silent")
    if not is_first():
        return {}
    believed = shards.believed.take(rows)
    targets = predictor.model.targets
    metrics = evaluate_table(table, shards, rows, targets, run)

    def sheet(chosen: np.ndarray, name: str) -> None:
        inputs = predictor.outputs(shards.batch(rows[chosen]))[0].cpu().numpy()
        labels = shards.labels(rows[chosen])
        captions = [
            f"predicted {_text(table[int(i)])}\ntrue {_text(true)}" for i, true in zip(chosen, labels, strict=True)
        ]
        plots.example_sheet(inputs, captions, run.plots / f"{name}.png")

    sheet(subsample(np.arange(len(rows)), _EXAMPLES), "examples")
    worst = _worst(table, believed, targets)[:_EXAMPLES]
    if len(worst):
        sheet(worst, "worst")
    return metrics


def evaluate_run(run: Path, data: Path, out: Path | None = None, scan: bool = True) -> dict[str, Any]:
    """Evaluate a run on labelled spectra, print the figures, and write metrics, report, predictions and plots.

    Parameters
    ----------
    run : Path
        A run folder.
    data : Path
        A folder of shards or of survey files, or a catalogue, as `spectromer.shards.sources.load` accepts it.
    out : Path, optional
        The folder to write to. The default is the folder `evaluation` in the run.
    scan : bool
        As in `Predictor.predict`.

    Returns
    -------
    dict
        The result of `evaluate_predictions`.

    Raises
    ------
    RunError
        If the run is not finished.
    ArgumentError
        If no spectrum of `data` can be read.
    NothingError
        If no spectrum has a reliable label.
    """
    folder = RunFolder(out or run / "evaluation")
    check_folder(folder.path)  # before the work, not after it
    predictor = Predictor.load(run)
    shards, rejected = load(data)
    if not len(shards):
        why = "it holds no file of spectra"
        if rejected:
            why = f"none of its files could be read ({count(len(rejected), 'file')}); the first is {rejected[0]}"
        raise ArgumentError(f"--data {data}: {why}")
    names = predictor.model.targets.names
    if not any(shards.believed.known(name).any() for name in names):
        spectra = count(len(shards), "spectrum")
        raise NothingError(f"--data {data}: none of its spectra has a reliable label of {', '.join(names)} ({spectra})")
    folder.create()
    write_rejected(rejected, folder.unreadable)
    metrics = evaluate(predictor, shards, np.arange(len(shards)), folder, scan)
    folder.write_metrics(metrics)
    details = {"run": run, "data": data, "spectra": len(shards), "unreadable": len(rejected)}
    write_report(folder.path, metrics, f"{run} on {data}", details)
    show_figures(metrics, str(data), Console())
    if rejected:
        print(f"{count(len(rejected), 'file')} could not be read; {folder.unreadable} lists all of them")
    return metrics


def evaluate_table(
    table: Table, shards: ShardSet, rows: np.ndarray, targets: Targets, run: RunFolder
) -> dict[str, Any]:
    """Compare predictions with labels, and write plots and predictions.parquet, which includes the labels, to `run`.

    Parameters
    ----------
    table : Table
        Predictions of the spectra at `rows`. Columns with the labels are added to it.
    shards : ShardSet
        The spectra.
    rows : ndarray
        Rows of `shards`.
    targets : Targets
        Targets of the model.
    run : RunFolder
        The folder to write to.

    Returns
    -------
    dict
        The result of `evaluate_predictions`.
    """
    believed, labels = shards.believed.take(rows), list(shards.labels(rows))
    snr = np.array([row.get("snr", np.nan) for row in labels], dtype=np.float64)
    metrics = evaluate_predictions(table, believed, snr, targets)
    if "class" in targets.names:
        found = np.asarray(table["class"])
        plots.confusion_matrix(found, believed["class"], targets.vocabulary["class"], run.plots / "confusion_class.png")
    if "subclass" in targets.names:
        types = np.array([spectral_type(value) for value in believed["subclass"]], dtype=str)
        found, path = np.asarray(table["spectral_type"]), run.plots / "confusion_spectral_type.png"
        plots.confusion_matrix(found, types, targets.spectral_types, path)
        plots.subtypes(np.asarray(table["subclass"]), believed["subclass"], run.plots / "subtypes.png")
    plots.reliability(metrics, run.plots / "reliability.png")
    if "z" in targets.names:
        plots.redshifts(table, believed, run.plots / "redshift.png")
    if "z_pit" in table.colnames:
        plots.coverage(table, believed, run.plots / "coverage.png")
    for name in (*targets.names, "snr"):
        missing: Any = "" if name in targets.vocabulary else np.nan
        table[f"true_{name}"] = [row.get(name, missing) for row in labels]
    write_table(table, run.predictions)
    return metrics


def _text(values: Any) -> str:
    """Format the class, subclass and redshift of a row of predictions or labels."""
    names = values.colnames if hasattr(values, "colnames") else values
    words = [str(values[name]) for name in ("class", "subclass") if name in names and values[name]]
    return " ".join([*words, f"z={values['z']:.4f}"] if "z" in names else words)


def _worst(table: Table, labels: BelievedLabels, targets: Targets) -> np.ndarray:
    """Indices of wrong predictions, sorted by how improbable the model considered the true value."""
    surprise = np.zeros(len(table))
    for name in targets.vocabulary:
        for i, true in enumerate(labels[name]):
            column = f"{name}_prob_{true}"
            if column in table.colnames and table[name][i] not in ("", true):
                surprise[i] = max(surprise[i], 1.0 - table[column][i])
    if "z_pit" in table.colnames:
        z, true = np.asarray(table["z"]), labels["z"]
        wrong = np.abs(z - true) / (1.0 + true) > max(CATASTROPHIC.values())
        surprise = np.where(wrong, np.maximum(surprise, np.asarray(table["z_prob"])), surprise)
    order = np.argsort(-surprise, kind="stable")
    return order[surprise[order] > 0]
