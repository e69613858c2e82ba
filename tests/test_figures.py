"""Figures are shown as text, on a page, and side by side for several runs."""

import csv
import io
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from spectromer.learning.figures import (
    MEANINGS,
    compare,
    figure,
    headlines,
    show_comparison,
    show_figures,
    verdict,
    write_report,
)
from spectromer.report import main as report_main

METRICS = {
    "class": {"accuracy": 0.91234, "macro_f1": 0.8, "n": 70, "errors": {"accuracy": 0.0123, "macro_f1": 0.05}},
    "z": {
        "star": {"r2": 0.5, "sigma_nmad": 0.000194, "n": 30, "errors": {"sigma_nmad": 0.000048}},
        "flagged": {"of_catastrophic": 0.75, "of_good": 0.05, "n": 70},
    },
    "teff": {"r2": math.nan, "rmse": 312.7, "n": 28, "errors": {"rmse": 12.5}},
}


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ({"x": 0.91234, "errors": {"x": 0.0123}}, "0.912 ± 0.012"),
        ({"x": 312.7, "errors": {"x": 12.5}}, "313 ± 12"),
        ({"x": 0.000194, "errors": {"x": 0.000048}}, "0.000194 ± 0.000048"),
        ({"x": 0.5, "errors": {"x": 0.0}}, "0.5000"),
        ({"x": 0.5}, "0.5000"),
        ({"x": math.nan}, ""),
        ({}, ""),
    ],
)
def test_digits_that_mean_something(found: dict, text: str) -> None:
    assert figure(found, "x") == text


def test_each_target_has_its_headlines() -> None:
    found = {what: names for what, _, names in headlines(METRICS)}
    assert list(found) == ["class", "z of star", "z flagged", "teff"]
    assert (
        found["class"][0] == "accuracy" and "crps" in found["z of star"] and found["z flagged"][0] == "of_catastrophic"
    )


def test_runs_stand_side_by_side() -> None:
    """A figure that one of them lacks is empty there, and one that all lack is left out."""
    rows = compare([("ours", METRICS), ("forest", {"class": {"accuracy": 0.5, "n": 70}})])
    assert rows[0] == ["target", "figure", "ours", "forest"]
    assert ["class", "accuracy", "0.912 ± 0.012", "0.5000"] in rows
    assert ["teff", "rmse", "313 ± 12", ""] in rows and not [row for row in rows if row[:2] == ["teff", "r2"]]
    console = Console(width=100, record=True, file=io.StringIO())
    show_comparison(rows, console)
    assert "0.912 ± 0.012" in console.export_text()


def test_figures_are_shown() -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    show_figures(METRICS, "held out", console)
    shown = console.export_text()
    assert "The class is right for 91.2 ± 1.2 %." in shown
    assert "held out" in shown and "accuracy 0.912 ± 0.012" in shown and "z of star" in shown and "nan" not in shown


def test_distances_in_subtypes_are_a_group_of_their_own() -> None:
    distance = {"n": 9, "median": 1.0, "within_1": 0.75, "within_2": 0.875, "bias": -0.5, "errors": {}}
    rows = compare([("ours", {"subclass": {"accuracy": 0.5, "n": 10, "subtypes": distance}})])
    assert ["subclass, distance in subtypes", "within_1", "0.7500"] in rows and [
        "subclass",
        "accuracy",
        "0.5000",
    ] in rows


def test_a_report_is_one_page(tmp_path: Path) -> None:
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "redshift.png").write_bytes(b"a picture")
    write_report(tmp_path, METRICS, "<a run>", {"epochs": 3})
    page = (tmp_path / "report.html").read_text()
    assert 'href="#z%20of%20star"' in page and 'id="z%20of%20star"' in page and "<dt>σ_NMAD</dt>" in page
    assert "The class is right for 91.2 ± 1.2 %." in page
    assert "&lt;a run&gt;" in page and "0.912 ± 0.012" in page and "YSBwaWN0dXJl" in page and "epochs" in page


@pytest.mark.filterwarnings("default")
def test_report_compares_runs(
    run: Path, specformer_run: Path, tmp_path: Path, error_line: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "table.csv"
    assert report_main([str(run), str(specformer_run), "--out", str(table)]) == 0
    rows = list(csv.reader(table.read_text().splitlines()))
    assert rows[0] == ["target", "figure", "small", "specformer"]
    cells = {(row[0], row[1]): row[2:] for row in rows[1:]}
    assert all(" ± " in text for text in cells["class", "accuracy"]) and cells["teff", "rmse"][1] == ""
    assert "specformer" in capsys.readouterr().out
    line = error_line(report_main, [str(tmp_path)])
    assert line == f"{tmp_path} is not the folder of a finished run: it holds no metrics.json"


def test_a_verdict_is_one_sentence() -> None:
    figures = {"catastrophic_fraction": 0.05, "errors": {"catastrophic_fraction": 0.01}}
    metrics = METRICS | {"z": {"galaxy": figures, "qso": figures}, "spectral_type": {"accuracy": 0.9}}
    assert verdict(metrics) == (
        "The class is right for 91.2 ± 1.2 %; the redshift is catastrophically wrong for 5.0 ± 1.0 % of the galaxies "
        "and 5.0 ± 1.0 % of the quasars; the spectral type is right for 90.0 ± 0.0 %."
    )
    assert verdict({}) == ""


def test_every_headline_has_a_meaning() -> None:
    for _, _, names in headlines(METRICS):
        assert set(names) <= MEANINGS.keys()
    assert "r2" not in {name for what, _, names in headlines(METRICS) if what == "z of star" for name in names}
