"""Plots of a run: learning curves, and predictions compared with labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from astropy.table import Table
from matplotlib.figure import Figure

from spectromer.grids import C_KMS
from spectromer.labels import CLASSES, BelievedLabels
from spectromer.subclasses import LETTERS, scale_positions

__all__ = ["confusion_matrix", "coverage", "example_sheet", "learning_curves", "redshifts", "reliability", "subtypes"]

STYLE: dict[Any, Any] = {"axes.spines.top": False, "axes.spines.right": False, "font.size": 9, "figure.dpi": 120}


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, bbox_inches="tight")


def learning_curves(history: Sequence[dict[str, float]], path: Path) -> None:
    """Plot the training and validation loss of each epoch, one panel per target."""
    names = sorted({key.split("/")[1] for row in history for key in row if key.startswith("val/")})
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.2 * len(names), 2.8))
        for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
            for stage in ("train", "val"):
                points = [(row["epoch"], row[f"{stage}/{name}"]) for row in history if f"{stage}/{name}" in row]
                if points:
                    axes.plot(*zip(*points, strict=True), marker="o", ms=3, label=stage)
            axes.set(title=name, xlabel="epoch", ylabel="loss")
            axes.legend()
        _save(figure, path)


def confusion_matrix(predicted: np.ndarray, true: np.ndarray, values: Sequence[str], path: Path) -> None:
    """Plot the confusion matrix of a category, normalised over each true value (row), whose number is given."""
    from sklearn.metrics import ConfusionMatrixDisplay

    chosen = np.isin(true.astype(str), values) & (predicted != "")
    if not chosen.any():
        return
    with matplotlib.rc_context(STYLE | {"axes.spines.top": True, "axes.spines.right": True}):
        figure = Figure(figsize=(1.8 + 0.55 * len(values),) * 2)
        ConfusionMatrixDisplay.from_predictions(
            true[chosen].astype(str),
            predicted[chosen].astype(str),
            labels=values,
            normalize="true",
            values_format=".2f",
            cmap="Blues",
            colorbar=False,
            xticks_rotation="vertical",
            ax=(axes := figure.subplots()),
        )
        numbers = [int((true[chosen].astype(str) == value).sum()) for value in values]
        axes.set_yticks(range(len(values)), [f"{value} ({n:,})" for value, n in zip(values, numbers, strict=True)])
        axes.set(xlabel="predicted", ylabel="true (number)")
        _save(figure, path)


def subtypes(predicted: np.ndarray, true: np.ndarray, path: Path) -> None:
    """Plot the numbers of predicted against true subclasses that are on the ordered scale, as a 2-D histogram."""
    places = np.array([scale_positions(column) for column in (true, predicted)])
    places = places[:, np.isfinite(places).all(0)]
    if not places.size:
        return
    low, high = 10 * (int(places.min()) // 10), 10 * (int(places.max()) // 10 + 1)
    edges = (np.arange(low, high + 1) - 0.5).tolist()
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 4.0))
        axes = figure.subplots()
        counts = np.histogram2d(places[0], places[1], bins=[edges, edges])[0].T
        mesh = axes.pcolormesh(edges, edges, np.ma.masked_equal(counts, 0), cmap="viridis", norm="log")
        axes.plot([edges[0], edges[-1]], [edges[0], edges[-1]], color="0.6", lw=0.6)
        ticks = range(low, high, 5)
        names = [f"{LETTERS[at // 10]}{at % 10}" for at in ticks]
        axes.set(xlabel="true subtype", ylabel="predicted subtype", aspect="equal")
        axes.set_xticks(ticks, names, rotation=90)
        axes.set_yticks(ticks, names)
        figure.colorbar(mesh, label="spectra")
        _save(figure, path)


def redshifts(table: Table, labels: BelievedLabels, path: Path) -> None:
    """Plot predicted against true redshifts of galaxies and quasars, and the errors of the velocities of stars.

    The axes contain all true values. Predictions beyond them are drawn at the edge.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11.0, 3.6))
        panels = figure.subplots(1, 3)
        for axes, kind in zip(panels, ("GALAXY", "QSO"), strict=False):
            rows = np.flatnonzero((labels["class"] == kind) & labels.known("z"))
            true = labels["z"][rows]
            predicted = np.asarray(table["z"], dtype=float)[rows]
            top = 1.1 * max([0.1, *true])
            err = np.asarray(table["z_err"], dtype=float)[rows] if "z_err" in table.colnames else None
            axes.errorbar(true, np.clip(predicted, 0.0, top), yerr=err, fmt=".", ms=3, lw=0.4, alpha=0.6)
            axes.plot([0, top], [0, top], color="0.6", lw=0.8, zorder=0)
            axes.set(title=f"{kind} ({len(rows)})", xlabel="true z", ylabel="predicted z", xlim=(0, top), ylim=(0, top))
        rows = np.flatnonzero((labels["class"] == "STAR") & labels.known("z"))
        off = C_KMS * (np.asarray(table["z"], dtype=float)[rows] - labels["z"][rows])
        far = np.nanpercentile(np.abs(off), 95) if len(off) else 1.0
        reach = max(float(far), 1e-3)
        panels[2].hist(np.clip(off, -reach, reach), bins=41, color="C0")
        panels[2].set(title=f"STAR ({len(rows)})", xlabel="error of the velocity (km/s)", ylabel="stars")
        _save(figure, path)


def reliability(metrics: dict[str, Any], path: Path) -> None:
    """Plot the reliability diagram: accuracy against predicted probability, one line per category."""
    curves = {name: figures["reliability"] for name, figures in metrics.items() if "reliability" in figures}
    if not curves:
        return
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.6, 3.4))
        axes = figure.subplots()
        for name, curve in curves.items():
            axes.plot(curve["probability"], curve["right"], marker="o", ms=3, label=name)
        axes.plot([0, 1], [0, 1], color="0.6", lw=0.8, zorder=0)
        axes.set(xlabel="predicted probability", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
        axes.legend()
        _save(figure, path)


def coverage(table: Table, labels: BelievedLabels, path: Path) -> None:
    """Plot the fraction of true redshifts within central intervals, and within the calibrated 68 and 95 % intervals."""
    z, classes = labels["z"], labels["class"]
    centrality = np.abs(2.0 * np.asarray(table["z_pit"], float) - 1.0)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.6, 3.4))
        axes = figure.subplots()
        for i, kind in enumerate(kind for kind in CLASSES if (classes == kind).any()):
            rows = (classes == kind) & np.isfinite(centrality)
            ordered = np.sort(centrality[rows])
            color = f"C{i}"
            axes.plot(ordered, np.arange(1, len(ordered) + 1) / len(ordered), lw=0.8, color=color, label=kind)
            for percent in (68, 95):
                low, high = (np.asarray(table[f"z_{side}{percent}"], float)[rows] for side in ("lo", "hi"))
                covered = np.mean((z[rows] >= low) & (z[rows] <= high))
                axes.plot(percent / 100, covered, "o", ms=5, color=color)
        axes.plot([0, 1], [0, 1], color="0.6", lw=0.8, zorder=0)
        axes.set(xlabel="central probability", ylabel="fraction of true redshifts", xlim=(0, 1), ylim=(0, 1))
        axes.legend(title="lines: uncalibrated; dots: calibrated", title_fontsize=7)
        _save(figure, path)


def example_sheet(images: np.ndarray, captions: Sequence[str], path: Path, columns: int = 4) -> None:
    """Plot the inputs of a model with captions.

    Parameters
    ----------
    images : ndarray [B, C, H, W] uint8 or [B, N]
        Images, of which three channels are shown as RGB, or sequences.
    captions : sequence of str
        Caption of each input.
    path : Path
        The file to write.
    columns : int
        Number of inputs side by side.
    """
    rows = -(-len(images) // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(2.4 * columns, 2.8 * rows))
        for axes in figure.subplots(rows, columns, squeeze=False).flat:
            axes.set_axis_off()
        for axes, image, caption in zip(figure.axes, images, captions, strict=False):
            if image.ndim == 1:
                axes.plot(image, lw=0.3, color="k")
                axes.set_title(caption, fontsize=7)
                continue
            picture = image.transpose(1, 2, 0) if image.shape[0] == 3 else image.max(0)
            axes.imshow(255 - picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axes.set_title(caption, fontsize=7)
        _save(figure, path)
