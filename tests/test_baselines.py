"""The peers are compared with a run, on a small scale."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small import MODEL, read_table

from spectromer.baselines import main as baselines_main
from spectromer.config import BaselineConfig
from spectromer.errors import ArgumentError
from spectromer.learning.baselines import baselines
from spectromer.report import main as report_main
from spectromer.shards.sources import load_simulated
from spectromer.subclasses import spectral_type
from spectromer.train import main as train_main

pytestmark = pytest.mark.filterwarnings("default")


def test_all_are_compared_on_one_division(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    options = ["--simulated", "700", "--epochs", "1", "--targets", "class", "subclass", "z", "teff"]
    assert train_main([*options, *MODEL, "--out", str(run)]) == 0
    found = dict(baselines(BaselineConfig(run=run, methods=("forest", "svm"))))
    assert list(found) == ["run", "forest", "svm"]
    ours = json.loads((run / "metrics.json").read_text())
    for name in ("forest", "svm"):
        assert found[name]["class"]["n"] == ours["test"]["class"]["n"] == ours["counts"]["test"]
        assert found[name]["class"]["accuracy"] > 0.7  # far above always saying STAR, 0.45
        assert found[name]["z"]["star"]["n"] == ours["test"]["z"]["star"]["n"]
        letters, subclass = found[name]["spectral_type"], found[name]["subclass"]
        assert letters["accuracy"] > subclass["accuracy"] > 0.3  # always saying BROADLINE is right for 0.2
        assert subclass["subtypes"]["within_2"] > 0.5
        table = read_table(run / "baselines" / name / "predictions.parquet")
        assert [spectral_type(value) for value in table["subclass"]] == list(table["spectral_type"])
        assert "reliability" in found[name]["class"] or name == "svm"
    capsys.readouterr()
    folders = [str(run), str(run / "baselines" / "forest"), str(run / "baselines" / "svm")]
    assert report_main([*folders, "--out", str(tmp_path / "table.csv")]) == 0
    rows = list(csv.reader((tmp_path / "table.csv").read_text().splitlines()))
    assert rows[0] == ["target", "figure", "run", "forest", "svm"]
    cells = {(row[0], row[1]): row[2:] for row in rows[1:]}
    assert all(" ± " in text for text in cells["class", "accuracy"])
    assert float(cells["class", "accuracy"][1].split(" ± ")[0]) == pytest.approx(
        found["forest"]["class"]["accuracy"], abs=0.01
    )
    with pytest.raises(ArgumentError, match="already holds forest"):
        baselines(BaselineConfig(run=run, methods=("forest",)))
    assert len(np.unique(load_simulated(10, 0, progress=False).index["object"])) == 10


def test_too_few_spectra_are_one_sentence(tmp_path: Path, error_line: Callable[..., str]) -> None:
    options = ["--simulated", "100", "--max-train", "1", "--methods", "svm", "--targets", "class"]
    line = error_line(baselines_main, [*options, "--out", str(tmp_path / "out")])
    assert line.startswith("--max-train 1: svm cannot learn class from 1 training spectra (")
