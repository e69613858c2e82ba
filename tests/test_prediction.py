"""Predicting files gives a row for each spectrum that can be read, and a reason for each file that cannot."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small import read_table

from spectromer.predict import main as predict_main

pytestmark = pytest.mark.filterwarnings(
    "default"  # Lightning's, TensorBoard's and rich's own warnings are not this package's to mend
)


def test_predict_gives_a_row_per_readable_spectrum(run: Path, survey: Path, tmp_path: Path) -> None:
    for ending in ("csv", "ecsv", "fits", "parquet"):
        out = tmp_path / f"found.{ending}"
        assert predict_main([str(run), str(survey), "--out", str(out)]) == 0
        table = read_table(out)
        assert len(table) == 41
        p = np.array([table[f"class_prob_{name}"] for name in ("GALAXY", "QSO", "STAR")], dtype=float)
        dead = np.array([str(path).endswith("spec-9999-55000-0001.fits") for path in table["path"]])
        assert dead.sum() == 1 and str(table["warning"][dead][0]) == "no good pixel"
        np.testing.assert_allclose(p[:, ~dead].sum(0), 1.0, rtol=1e-5)
        found = np.array(["GALAXY", "QSO", "STAR"])[p[:, ~dead].argmax(0)]
        assert (found == np.asarray(table["class"][~dead]).astype(str)).all()
        z = {
            name: np.asarray(table[name][~dead], float)
            for name in ("z", "z_lo68", "z_hi68", "z_lo95", "z_hi95", "z_err")
        }
        assert all(np.isfinite(v).all() for v in z.values())
        assert (
            (z["z_lo95"] <= z["z_lo68"]).all()
            and (z["z_lo68"] <= z["z_hi68"]).all()
            and (z["z_hi68"] <= z["z_hi95"]).all()
        )
        with (tmp_path / "found.unreadable.csv").open() as file:
            rejected = list(csv.DictReader(file))
        assert {Path(row["path"]).name for row in rejected} == {"torn.fits", "text.fits"}
        assert all(row["reason"] for row in rejected)


def test_what_cannot_be_predicted(
    run: Path, survey: Path, tmp_path: Path, error_line: Callable[..., str], error_box: Callable[..., str]
) -> None:
    table = ["--out", str(tmp_path / "a.csv")]
    line = error_line(predict_main, [str(tmp_path), str(survey), *table])
    assert line == f"{tmp_path} is not the folder of a finished run: it holds no model.json"
    line = error_line(predict_main, [str(run), str(survey), "--out", str(tmp_path / "a.xls")])
    assert "the ending must be one of .csv, .ecsv, .fits, .parquet" in line
    box = error_box(predict_main, [str(run), str(survey), *table, "--batch-size", "0"])
    assert "batch_size must be at least 1, got 0" in box
    assert not list(tmp_path.iterdir())
