"""Evaluating a run compares its answers with labels."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small import read_table

from spectromer.evaluate import main as evaluate_main

pytestmark = pytest.mark.filterwarnings(
    "default"  # Lightning's, TensorBoard's and rich's own warnings are not this package's to mend
)


def test_evaluate_compares_with_labels(run: Path, survey: Path, tmp_path: Path) -> None:
    out = tmp_path / "evaluation"
    assert evaluate_main([str(run), "--data", str(survey / "catalog.csv"), "--out", str(out)]) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["class"]["n"] == 40
    assert (
        (out / "predictions.parquet").exists()
        and (out / "plots" / "confusion_class.png").exists()
        and (out / "report.html").exists()
    )
    table = read_table(out / "predictions.parquet")
    assert len(table) == 41  # with the dead fibre, of which nothing is said
    table = table[np.asarray(table["warning"]) == ""]
    assert {"true_class", "true_subclass", "true_z", "true_teff", "true_snr"} <= set(table.colnames)
    accuracy = np.mean(np.asarray(table["class"]) == np.asarray(table["true_class"]))
    assert accuracy == pytest.approx(metrics["class"]["accuracy"])


def test_what_cannot_be_evaluated(run: Path, tmp_path: Path, error_line: Callable[..., str]) -> None:
    data, out = ["--data", str(tmp_path / "files")], ["--out", str(tmp_path / "out")]
    assert "no such file or folder" in error_line(evaluate_main, [str(run), *data, *out])
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "text.fits").write_text("no spectrum")
    assert "none of its files could be read (1 file)" in error_line(evaluate_main, [str(run), *data, *out])
    line = error_line(evaluate_main, [str(tmp_path), *data, *out])
    assert line == f"{tmp_path} is not the folder of a finished run: it holds no model.json"
    assert not (tmp_path / "out").exists()
