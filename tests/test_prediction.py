"""Predicting files gives a row for each spectrum that can be read, and a reason for each file that cannot."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from small import read_table

from spectromer import SpectrumBatch
from spectromer.ingest import IngestConfig, ingest
from spectromer.learning import prediction
from spectromer.learning.evidence import SCAN_FLAGS
from spectromer.learning.predictor import Z_FLAGS, Predictor
from spectromer.predict import main as predict_main
from spectromer.surveys.simulated import simulate
from spectromer.surveys.write import write_survey

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
    line = error_line(predict_main, [str(survey), "--model", str(tmp_path), *table])
    assert line == f"{tmp_path} is not the folder of a finished run: it holds no model.json"
    line = error_line(predict_main, [str(run), str(survey), "--out", str(tmp_path / "a.xls")])
    assert "the ending must be one of .csv, .ecsv, .fits, .parquet" in line
    box = error_box(predict_main, [str(run), str(survey), *table, "--batch-size", "0"])
    assert "batch_size must be at least 1, got 0" in box
    assert not list(tmp_path.iterdir())
    assert "no such file or folder" in error_line(predict_main, [str(run), str(tmp_path / "nowhere"), *table])


def test_what_cannot_be_written_is_told_before_the_model_is_loaded(
    survey: Path, tmp_path: Path, error_line: Callable[..., str]
) -> None:
    (tmp_path / "file").write_text("")
    for out, why in ((tmp_path / "file" / "a.csv", "File exists"), (Path("/proc/a.csv"), "No such file")):
        assert why in error_line(predict_main, [str(tmp_path / "no run"), str(survey), "--out", str(out)])


def test_inputs_of_every_kind(run: Path, tmp_path: Path) -> None:
    """Shards, a catalogue, a folder and a file, in their order, as they are predicted one by one."""
    spectra = list(simulate(12, seed=5))
    for i in range(3):
        write_survey(spectra[4 * i : 4 * i + 4], tmp_path / f"files{i}")
    ingest(IngestConfig((str(tmp_path / "files0"),), out=tmp_path / "shards", workers=1))
    single = sorted((tmp_path / "files2").glob("*.fits"))[0]
    inputs = [tmp_path / "shards", tmp_path / "files1" / "catalog.csv", tmp_path / "files2", single]
    tables = []
    for paths in ([inputs], [[path] for path in inputs]):
        for names in paths:
            out = tmp_path / "out" / f"{len(tables)}.csv"
            assert predict_main([str(run), *map(str, names), "--out", str(out)]) == 0
            tables.append(out.read_text().splitlines())
            assert not out.with_name(f"{out.name}.parts").exists()
    assert len(tables[0]) == 1 + 13
    assert [line.split(",")[:3] for line in tables[0][1:]] == [
        line.split(",")[:3] for table in tables[1:] for line in table[1:]
    ]


def test_nothing_predicted_is_code_1(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.fits").write_text("no spectrum")
    (tmp_path / "empty").mkdir()
    out = tmp_path / "out.csv"
    for path in (tmp_path / "a.fits", tmp_path / "empty"):
        out.write_text("of an earlier prediction")
        assert predict_main([str(run), str(path), "--out", str(out)]) == 1
        told = capsys.readouterr()
        assert f"error: nothing was predicted: {path} holds no spectrum" in told.err
        assert f"{out} is that of an earlier prediction" in " ".join(told.out.split())
        assert out.read_text() == "of an earlier prediction" and (tmp_path / "out.unreadable.csv").is_file()


def test_the_screen_shows_classes_and_flags(
    run: Path, survey: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.csv"
    assert predict_main([str(run), str(survey), "--out", str(out)]) == 0
    told = capsys.readouterr().out.splitlines()
    table = read_table(out)
    classes, flags = np.ma.filled(table["class"], ""), {"z_flag": Z_FLAGS, "z_scan_flag": SCAN_FLAGS}
    (line,) = (line for line in told if line.startswith("class: "))
    shown = set(line.removeprefix("class: ").split(", "))
    assert shown == {f"{(classes == kind).sum()} {kind}" for kind in set(classes) if kind}
    for column, bits in flags.items():
        (line,) = (line for line in told if line.startswith(f"{column}: "))
        counts = {bit: int(((np.asarray(table[column]) & at) > 0).sum()) for bit, at in bits.items()}
        assert set(line.removeprefix(f"{column}: ").split(", ")) == {f"{n} {bit}" for bit, n in counts.items() if n}


def test_the_model_is_an_option_too(run: Path, survey: Path, tmp_path: Path, error_box: Callable[..., str]) -> None:
    for arguments, name in (([str(run), str(survey)], "a.csv"), ([str(survey), "--model", str(run)], "b.csv")):
        assert predict_main([*arguments, "--no-scan", "--out", str(tmp_path / name)]) == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert not any(name.startswith("z_scan") for name in read_table(tmp_path / "a.csv").colnames)
    assert "name files or folders" in error_box(predict_main, [str(run), "--out", str(tmp_path / "c.csv")])


def test_a_spectrum_at_which_the_model_fails_costs_its_row(
    run: Path, survey: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd, outputs = "9999-55000-0001", Predictor.outputs

    def failing(self: Predictor, batch: SpectrumBatch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        if odd in batch.ids:
            raise FloatingPointError("odd")
        return outputs(self, batch)

    monkeypatch.setattr(Predictor, "outputs", failing)
    assert predict_main([str(run), str(survey), "--out", str(tmp_path / "a.csv"), "--batch-size", "16"]) == 0
    assert len(read_table(tmp_path / "a.csv")) == 40
    with (tmp_path / "a.unreadable.csv").open() as file:
        rejected = {Path(row["path"]).name: row["reason"] for row in csv.DictReader(file)}
    assert rejected[f"spec-{odd}.fits"] == "it cannot be predicted (FloatingPointError: odd)" and len(rejected) == 3


KILLED = """
import sys, time
from spectromer.learning import prediction
prediction._PART_ROWS = 8
made = prediction._rows
prediction._rows = lambda *arguments: (time.sleep(0.2), made(*arguments))[1]
from spectromer.predict import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_killed_it_goes_on(
    ending: str, run: Path, survey: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed by -9 after some parts, it makes the others when it is repeated, and the same table."""
    out, whole = tmp_path / f"a.{ending}", tmp_path / f"whole.{ending}"
    options = [str(run), str(survey), "--batch-size", "8"]
    parts = out.with_name(f"{out.name}.parts")
    # The last bits of z_scan depend on the number of threads.
    killed = f"import torch\ntorch.set_num_threads({torch.get_num_threads()})\n{KILLED}"
    with subprocess.Popen([sys.executable, "-c", killed, *options, "--out", str(out)]) as process:
        while process.poll() is None and not (parts / "part-1.json").exists():
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    kept = {path.name: path.stat().st_mtime_ns for path in parts.glob("part-?.json")}
    assert 2 <= len(kept) < 6 and not out.exists()
    monkeypatch.setattr(prediction, "_PART_ROWS", 8)
    made: list[str] = []
    write = prediction._Parts.write
    monkeypatch.setattr(
        prediction._Parts,
        "write",
        lambda self, number, *rest: (made.append(f"part-{number}.json"), write(self, number, *rest))[1],
    )
    assert predict_main([*options, "--out", str(out)]) == 0
    assert not set(made) & kept.keys() and len(made) + len(kept) == 6
    assert predict_main([*options, "--out", str(whole)]) == 0
    assert out.read_bytes() == whole.read_bytes()
    for name in ("a", "whole"):
        assert len((tmp_path / f"{name}.unreadable.csv").read_text().splitlines()) == 3


def test_parts_of_another_prediction_are_not_taken(run: Path, survey: Path, tmp_path: Path) -> None:
    folder = tmp_path / "a.csv.parts"
    folder.mkdir()
    (folder / "key.txt").write_text("another")
    shutil.copy(run / "model.json", folder / "part-0.json")
    assert predict_main([str(run), str(survey), "--out", str(tmp_path / "a.csv")]) == 0
    assert len(read_table(tmp_path / "a.csv")) == 41 and not folder.exists()
