"""Figures to be read: a table on the screen, a page of their own, and runs side by side."""

import base64
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from rich.console import Console
from rich.table import Table

from spectromer.files import atomic

__all__ = ["compare", "figure", "headlines", "show_comparison", "show_figures", "write_report"]

_CATEGORY = ("accuracy", "macro_f1", "expected_calibration_error")
_REDSHIFT = ("r2", "sigma_nmad", "catastrophic_fraction", "coverage_68", "crps")
_SCALAR = ("r2", "rmse", "sigma_nmad", "coverage_68", "crps")
_FLAGGED = ("of_catastrophic", "of_good")
_SECTIONS = ("by_value", "by_survey", "by_snr")
_PLOTS = {
    "learning_curves": "Loss by epoch",
    "confusion_class": "Class: shares of each true value (rows)",
    "confusion_subclass": "Subclass: shares of each true value (rows)",
    "reliability": "How often an answer is right, by the probability it was given",
    "redshift": "Redshifts",
    "coverage": "Share of the true redshifts within each central interval",
    "worst": "The worst errors",
    "examples": "Spectra as the model reads them",
}


def headlines(metrics: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], tuple[str, ...]]]:
    """What was measured, its figures, and which of those come first: of `evaluate_predictions`."""
    for name, found in metrics.items():
        if "accuracy" in found:
            yield name, found, _CATEGORY
        elif "r2" in found:
            yield name, found, _SCALAR
        else:
            for kind, of_kind in found.items():
                yield (
                    (f"{name} flagged", of_kind, _FLAGGED)
                    if kind == "flagged"
                    else (
                        f"{name} of {kind}",
                        of_kind,
                        _REDSHIFT,
                    )
                )


def figure(found: dict[str, Any], name: str) -> str:
    """A figure with its error, as many digits as mean something; empty where it was not measured."""
    value = found.get(name)
    if value is None or math.isnan(value):
        return ""
    error = found["errors"].get(name, 0.0) if "errors" in found else 0.0
    digits = min(6, max(0, 1 - math.floor(math.log10(error)))) if error > 0 else 4
    return f"{value:.{digits}f}" + (f" ± {error:.{digits}f}" if error > 0 else "")


def show_figures(metrics: dict[str, Any], title: str, console: Console) -> None:
    """Print the first figures."""
    table = Table(title=title, title_justify="left")
    for column in ("target", "n", "figures"):
        table.add_column(column)
    for what, found, names in headlines(metrics):
        shown = ((name, figure(found, name)) for name in names)
        table.add_row(what, str(found["n"]), ", ".join(f"{name} {text}" for name, text in shown if text))
    console.print(table)


def write_report(folder: Path, metrics: dict[str, Any], title: str, details: dict[str, Any]) -> None:
    """Write report.html: all figures and, as part of the page, the plots that are in `folder`/plots."""
    plots = {
        caption: base64.b64encode(path.read_bytes()).decode()
        for name, caption in _PLOTS.items()
        if (path := folder / "plots" / f"{name}.png").is_file()
    }
    page = Environment(loader=PackageLoader("spectromer.learning"), autoescape=True).get_template("report.html")
    text = page.render(
        title=title,
        folder=folder,
        headlines=list(headlines(metrics)),
        sections=_SECTIONS,
        figure=figure,
        plots=plots,
        details=details,
    )
    with atomic(folder / "report.html") as part:
        part.write_text(text)


def compare(runs: Sequence[tuple[str, dict[str, Any]]]) -> list[list[str]]:
    """Runs side by side: a row of names, then one for every figure, what was not measured left empty.

    Parameters
    ----------
    runs : sequence of (str, dict)
        Names, and what `evaluate_predictions` gave.
    """
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for run, metrics in runs:
        for what, found, names in headlines(metrics):
            for name in names:
                cells.setdefault((what, name), {})[run] = figure(found, name)
    columns = [run for run, _ in runs]
    rows = [[what, name, *(found.get(run, "") for run in columns)] for (what, name), found in cells.items()]
    return [["target", "figure", *columns], *(row for row in rows if any(row[2:]))]


def show_comparison(rows: list[list[str]], console: Console) -> None:
    """Print the table of `compare`."""
    table = Table()
    for i, name in enumerate(rows[0]):
        table.add_column(name, overflow="fold", justify="left" if i < 2 else "right")
    for row in rows[1:]:
        table.add_row(*row)
    console.print(table)
