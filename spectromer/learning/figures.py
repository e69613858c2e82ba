"""Display of figures: a table on the terminal, an HTML report, and a comparison of runs."""

import base64
import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from rich.console import Console
from rich.table import Table

import spectromer
from spectromer.files import atomic

__all__ = ["MEANINGS", "compare", "figure", "headlines", "show_comparison", "show_figures", "verdict", "write_report"]

_CATEGORY = ("accuracy", "macro_f1", "expected_calibration_error")
_REDSHIFT = ("r2", "sigma_nmad", "catastrophic_fraction", "coverage_68", "crps")
_SCALAR = ("r2", "rmse", "sigma_nmad", "coverage_68", "crps")
_FLAGGED = ("of_catastrophic", "of_good")
_SUBTYPES = ("median", "within_1", "within_2", "bias")
_NO_R2 = "star"  # all its redshifts are nearly the same, so that R² means nothing
#: Plain names of figures, and what they mean.
MEANINGS = {
    "accuracy": ("accuracy", "fraction that is right"),
    "macro_f1": ("macro F1", "mean over the true values of the harmonic mean of precision and recall"),
    "expected_calibration_error": (
        "calibration error",
        "mean difference of probability and accuracy",
    ),
    "precision": ("precision", "fraction of those with this answer that are right"),
    "recall": ("recall", "fraction of those of this kind that are found"),
    "f1": ("F1", "harmonic mean of precision and recall"),
    "r2": ("R²", "fraction of the variance of the true values that is explained"),
    "rmse": ("r.m.s. error", "root mean square of the errors"),
    "sigma_nmad": ("σ_NMAD", "1.4826 times the median absolute deviation of the errors; for z, of dz / (1 + z)"),
    "catastrophic_fraction": (
        "catastrophic",
        "fraction of z that is wrong by over 1000 km/s (quasars: 3000 km/s)",
    ),
    "coverage_68": ("in 68 % interval", "fraction of the true values within the 68 % interval"),
    "coverage_95": ("in 95 % interval", "fraction of the true values within the 95 % interval"),
    "crps": ("CRPS", "continuous ranked probability score, in the unit of the values; for z, of ln(1 + z)"),
    "bias": ("bias", "median error; of subtypes, the mean"),
    "of_catastrophic": ("bad ones flagged", "fraction of the catastrophic redshifts that are flagged"),
    "of_good": ("good ones flagged", "fraction of the good redshifts that are flagged"),
    "median": ("median distance", "median distance in subtypes"),
    "within_1": ("within 1", "fraction within one subtype"),
    "within_2": ("within 2", "fraction within two subtypes"),
}
_SECTIONS = ("by_value", "by_survey", "by_snr")
_PLOTS = {
    "learning_curves": "Loss by epoch",
    "confusion_class": "Confusion matrix of the class, normalised over each true value (row)",
    "confusion_spectral_type": "Confusion matrix of the spectral type, normalised over each true value (row)",
    "subtypes": "Predicted against true subtypes",
    "reliability": "Accuracy by predicted probability",
    "redshift": "Predicted against true redshifts",
    "coverage": "Fraction of the true redshifts within each central interval",
    "worst": "Spectra with the largest errors",
    "examples": "Inputs of the model",
}


def headlines(metrics: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], tuple[str, ...]]]:
    """Yield the groups of figures in a result of `evaluate_predictions`.

    Yields
    ------
    name : str
        Name of the group.
    figures : dict
        Its figures.
    names : tuple of str
        Names of its headline figures.
    """
    for name, figures in metrics.items():
        if "accuracy" in figures:
            yield name, figures, _CATEGORY
            if "subtypes" in figures:
                yield f"{name}, distance in subtypes", figures["subtypes"], _SUBTYPES
        elif "r2" in figures:
            yield name, figures, _SCALAR
        else:
            for kind, of_kind in figures.items():
                if kind == "flagged":
                    yield f"{name} flagged", of_kind, _FLAGGED
                else:
                    yield f"{name} of {kind}", of_kind, _REDSHIFT[1:] if kind == _NO_R2 else _REDSHIFT


def figure(figures: dict[str, Any], name: str) -> str:
    """Format a figure and its error with significant digits; return an empty string if there is no figure."""
    value = figures.get(name)
    if value is None or math.isnan(value):
        return ""
    error = figures["errors"].get(name, 0.0) if "errors" in figures else 0.0
    digits = min(6, max(0, 1 - math.floor(math.log10(error)))) if error > 0 else 4
    return f"{value:.{digits}f}" + (f" ± {error:.{digits}f}" if error > 0 else "")


def verdict(metrics: dict[str, Any]) -> str:
    """The most important figures in a sentence; empty if there are none."""
    parts = []
    if "class" in metrics:
        parts.append(f"the class is right for {_percent(metrics['class'], 'accuracy')}")
    kinds = {"galaxy": "galaxies", "qso": "quasars"}
    wrong = [
        f"{_percent(metrics['z'][kind], 'catastrophic_fraction')} of the {plural}"
        for kind, plural in kinds.items()
        if kind in metrics.get("z", {})
    ]
    if wrong:
        parts.append(f"the redshift is catastrophically wrong for {' and '.join(wrong)}")
    if "spectral_type" in metrics:
        parts.append(f"the spectral type is right for {_percent(metrics['spectral_type'], 'accuracy')}")
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _percent(figures: dict[str, Any], name: str) -> str:
    value, error = 100.0 * figures[name], 100.0 * figures.get("errors", {}).get(name, 0.0)
    return f"{value:.1f} ± {error:.1f} %"


def show_figures(metrics: dict[str, Any], title: str, console: Console) -> None:
    """Print the headline figures."""
    table = Table(title=title, title_justify="left")
    for column in ("target", "n", "figures"):
        table.add_column(column)
    for what, figures, names in headlines(metrics):
        shown = ((name, figure(figures, name)) for name in names)
        table.add_row(what, str(figures["n"]), ", ".join(f"{name} {text}" for name, text in shown if text))
    console.print(table)
    if text := verdict(metrics):
        console.print(text)


def write_report(folder: Path, metrics: dict[str, Any], title: str, details: dict[str, Any]) -> None:
    """Write report.html with all figures, the plots in `folder`/plots and the details of the run."""
    plots = {
        caption: base64.b64encode(path.read_bytes()).decode()
        for name, caption in _PLOTS.items()
        if (path := folder / "plots" / f"{name}.png").is_file()
    }
    page = Environment(loader=PackageLoader("spectromer.learning"), autoescape=True).get_template("report.html")
    text = page.render(
        title=title,
        folder=folder,
        verdict=verdict(metrics),
        made=f"{datetime.now():%Y-%m-%d %H:%M} by Spectromer {spectromer.__version__}",
        meanings=MEANINGS,
        headlines=list(headlines(metrics)),
        sections=_SECTIONS,
        figure=figure,
        plots=plots,
        details=details,
    )
    with atomic(folder / "report.html") as part:
        part.write_text(text)


def compare(runs: Sequence[tuple[str, dict[str, Any]]]) -> list[list[str]]:
    """Compare runs in one table.

    Parameters
    ----------
    runs : sequence of (str, dict)
        Name of each run, and its result of `evaluate_predictions`.

    Returns
    -------
    list of list of str
        A header row, then one row for every figure. Cells are empty where a run lacks the figure.
    """
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for run, metrics in runs:
        for what, figures, names in headlines(metrics):
            for name in names:
                cells.setdefault((what, name), {})[run] = figure(figures, name)
    columns = [run for run, _ in runs]
    rows = [[what, name, *(values.get(run, "") for run in columns)] for (what, name), values in cells.items()]
    return [["target", "figure", *columns], *(row for row in rows if any(row[2:]))]


def show_comparison(rows: list[list[str]], console: Console) -> None:
    """Print the table of `compare`."""
    table = Table()
    for i, name in enumerate(rows[0]):
        table.add_column(name, overflow="fold", justify="left" if i < 2 else "right")
    for row in rows[1:]:
        table.add_row(*row)
    console.print(table)
