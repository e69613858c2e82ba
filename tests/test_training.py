"""Training works on a small scale: a whole run, resumed, on files and on shards, and from another run."""

import csv
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from astropy.table import Table
from safetensors.torch import load_file
from small import MODEL, SMALL, TARGETS, read_table

from spectromer import Predictor
from spectromer.__main__ import main as spectromer_main
from spectromer.config import TrainConfig
from spectromer.errors import ArgumentError, ModelError, RunError
from spectromer.evaluate import main as evaluate_main
from spectromer.learning.design import Design
from spectromer.learning.step import TrainingStep
from spectromer.learning.training import train
from spectromer.predict import main as predict_main
from spectromer.runs import RunFolder, load_weights
from spectromer.surveys.simulated import simulate
from spectromer.train import main as train_main

pytestmark = pytest.mark.filterwarnings(
    "default"  # Lightning's, TensorBoard's and rich's own warnings are not this package's to mend
)


def test_leaves_everything_in_the_run_folder(run: Path) -> None:
    names = {str(p.relative_to(run)) for p in run.rglob("*") if p.is_file()}
    assert {
        "config.json",
        "model.json",
        "metrics.json",
        "weights.safetensors",
        "last.safetensors",
        "predictions.parquet",
        "calibration.safetensors",
        "report.html",
        "unreadable.csv",
        "plots/learning_curves.png",
        "plots/confusion_class.png",
        "plots/confusion_spectral_type.png",
        "plots/subtypes.png",
        "plots/redshift.png",
        "plots/reliability.png",
        "plots/coverage.png",
        "plots/examples.png",
        "plots/worst.png",
    } <= names
    assert any(name.startswith("tensorboard/events") for name in names)
    metrics = json.loads((run / "metrics.json").read_text())
    test = metrics["test"]
    assert 0.0 <= test["class"]["accuracy"] <= 1.0 and 0.0 <= test["class"]["macro_f1"] <= 1.0
    assert {"r2", "sigma_nmad", "catastrophic_fraction", "coverage_68"} <= test["z"]["galaxy"].keys()
    assert metrics["counts"]["test"] == test["class"]["n"] and test["teff"]["n"] > 0
    table = read_table(run / "predictions.parquet")
    assert len(table) == metrics["counts"]["test"]
    accuracy = np.mean(np.asarray(table["class"]) == np.asarray(table["true_class"]))
    assert accuracy == pytest.approx(test["class"]["accuracy"])


def test_learns(tmp_path: Path) -> None:
    """After a minute it is far above chance: always saying STAR has an accuracy of 0.45."""
    options = ["--simulated", "1500", "--epochs", "4", "--size", "64", "--panels", "4", "--targets", "class"]
    assert train_main([*options, "--out", str(tmp_path / "run")]) == 0
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["test"]["class"]["accuracy"] > 0.75


@pytest.mark.parametrize("steps", [7, 10])
def test_one_seed_one_result_and_resume_continues_it(
    run: Path, tmp_path: Path, steps: int, capfd: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    """A run that ^C stops between or within its epochs of seven steps has the weights of one that was not stopped."""
    stopped, original = tmp_path / "stopped", TrainingStep.__call__

    def interrupted(self: TrainingStep, *args: Any) -> None:
        if self.count == steps - 1:
            os.kill(os.getpid(), signal.SIGINT)
        original(self, *args)

    threads = torch.get_num_threads()  # sums are rounded in another order by other numbers of threads
    torch.set_num_threads(RunFolder(run).read_metrics()["training"]["torch_threads"])
    request.addfinalizer(lambda: torch.set_num_threads(threads))
    # The schedule depends on the number of epochs, so the first part is told to train two, and is stopped.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingStep, "__call__", interrupted)
        assert train_main([*SMALL, *TARGETS, "--logger", "csv", "--out", str(stopped)]) == 130
    assert f"python -m spectromer.train --resume {stopped}" in capfd.readouterr().out.replace("\n", "")
    assert not (stopped / "metrics.json").exists()
    assert train_main(["--resume", str(stopped)]) == 0
    whole, parts = (load_file(folder / "last.safetensors") for folder in (run, stopped))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(tensor, parts[name]) for name, tensor in whole.items())
    training = json.loads((stopped / "metrics.json").read_text())["training"]
    assert training["epochs"] == 2 and training["steps"] == 14
    assert list(Table.read(stopped / "csv" / "metrics.csv")["step"]) == [7, 14]


def test_a_run_that_failed_before_its_first_step_leaves_room(tmp_path: Path) -> None:
    """Nor does one block the next that was stopped before there was anything to go on from."""
    folder, options = tmp_path / "run", [*SMALL, "--simulated", "200", "--targets", "class", "--epochs", "1"]

    def fail(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingStep, "__call__", fail)
        assert train_main([*options, "--out", str(folder)]) == 130
    assert (folder / "config.json").is_file()
    assert train_main([*options, "--out", str(folder), "--logger", "csv", "--no-scan"]) == 0
    losses = Table.read(folder / "csv" / "metrics.csv")
    assert len(losses) == 1 and {"train/loss", "train/class", "val/loss", "val/class"} <= set(losses.colnames)


def test_two_processes_train_one_model(tmp_path: Path) -> None:
    """Each has half of every batch, and one of them goes on alone."""
    folder, options = tmp_path / "run", [*MODEL, "--simulated", "300", "--targets", "class", "z", "--no-scan"]
    command = [sys.executable, "-m", "spectromer.train", *options, "--out", str(folder)]
    done = subprocess.run(
        [*command, "--epochs", "1", "--devices", "2"], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    metrics = RunFolder(folder).read_metrics()
    assert metrics["training"]["processes"] == 2
    assert metrics["test"]["class"]["n"] == metrics["counts"]["test"] == len(read_table(folder / "predictions.parquet"))
    assert done.stdout.count("Results are in") == 1
    assert train_main(["--resume", str(folder), "--devices", "1", "--epochs", "2"]) == 0
    training = RunFolder(folder).read_metrics()["training"]
    assert training["processes"] == 1 and training["steps"] == 2 * metrics["training"]["steps"]
    again = subprocess.run(
        [*command, "--epochs", "1", "--devices", "2"], capture_output=True, text=True, timeout=300, check=False
    )
    assert again.returncode == 2 and again.stderr.count("already holds a run") == 1


def test_two_processes_stop_together(tmp_path: Path) -> None:
    """^C reaches both. They agree on a step, the first one saves it, and neither waits for the other for ever."""
    folder = tmp_path / "run"
    options = [*MODEL, "--simulated", "300", "--targets", "class", "--epochs", "3000", "--save-minutes", "1e-9"]
    command = [sys.executable, "-m", "spectromer.train", *options, "--devices", "2", "--out", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as child:
        for _ in range(600):
            if (folder / "last.safetensors").is_file():
                break
            time.sleep(0.2)
        os.killpg(child.pid, signal.SIGINT)
        told, _ = child.communicate(timeout=120)
    assert child.returncode == 130 and "The training can go on" in told
    assert load_file(folder / "last.safetensors")["trainer.0.step"] > 0


def test_processes_that_torchrun_has_started(
    tmp_path: Path, error_line: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them would train a model of its own and write the same folder."""
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "8")
    sentence = error_line(train_main, [*SMALL, "--out", str(tmp_path / "x")])
    assert sentence.endswith("must be the number of processes that torchrun has started, 8, got 1 times 1")


def test_loggers_that_are_not_installed(tmp_path: Path, error_line: Callable[..., str]) -> None:
    for name in ("wandb", "mlflow"):
        if importlib.util.find_spec(name) is None:
            sentence = error_line(train_main, [*SMALL, "--logger", name, "--out", str(tmp_path / "x")])
            assert sentence == f"--logger {name} needs {name}: pip install 'spectromer[{name}]'"
            assert not (tmp_path / "x").exists()


def test_from_shards(tmp_path: Path) -> None:
    """All verbs work on shards, none of them with all spectra in memory."""
    shards, folder = tmp_path / "shards", tmp_path / "run"
    assert spectromer_main(["ingest", "--simulated", "600", "--shard-size", "256", "--out", str(shards)]) == 0
    options = [*MODEL, "--epochs", "1", "--workers", "1"]
    assert train_main(["--data", str(shards), *options, "--out", str(folder)]) == 0
    metrics = json.loads((folder / "metrics.json").read_text())
    assert sum(metrics["counts"][name] for name in ("train", "val", "test")) == 600
    assert evaluate_main([str(folder), "--data", str(shards)]) == 0
    assert json.loads((folder / "evaluation" / "metrics.json").read_text())["class"]["n"] == 600
    assert predict_main([str(folder), str(shards), "--out", str(tmp_path / "found.csv"), "--batch-size", "100"]) == 0
    table = read_table(tmp_path / "found.csv")
    made = list(simulate(600))
    assert [str(name) for name in table["id"]] == [s.id for s in made]
    assert [str(name) for name in table["survey"]] == [s.survey for s in made]


def test_trains_on_files(survey: Path, tmp_path: Path) -> None:
    options = ["--data", str(survey), "--epochs", "1", "--targets", "class", "--split", "0.6", "0.2", "0.2"]
    assert train_main([*options, *MODEL, "--out", str(tmp_path / "run")]) == 0
    rows = (tmp_path / "run" / "unreadable.csv").read_text().splitlines()
    assert len(rows) == 3 and rows[0] == "path,reason"


@pytest.fixture(scope="module")
def tuned(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that goes on from another with other spectra and further targets, and leaves the encoder as it was."""
    folder = tmp_path_factory.mktemp("runs") / "tuned"
    options = ["--checkpoint", str(run), "--frozen", "--simulated", "400", "--seed", "5", "--epochs", "1"]
    targets = ["--targets", "class", "z", "teff", "logg"]
    assert train_main([*options, *targets, "--out", str(folder)]) == 0
    return folder


def test_a_run_is_a_checkpoint(run: Path, tuned: Path) -> None:
    """Its images and model are taken over, and a frozen backbone stays as it is while pooling and heads learn."""
    earlier, now = RunFolder(run).read_model(Design), RunFolder(tuned).read_model(Design)
    assert now.picture == earlier.picture == RunFolder(tuned).read_config().picture
    assert now.model == earlier.model == RunFolder(tuned).read_config().model
    assert now.targets.scale["teff"] == earlier.targets.scale["teff"] and "logg" in now.targets.scale
    before, after = load_weights(run / "weights.safetensors"), load_weights(tuned / "weights.safetensors")
    backbone = [name for name in after if name.startswith("encoder.backbone.")]
    assert backbone and all(torch.equal(before[name], after[name]) for name in backbone)
    assert not torch.equal(before["encoder.place.weight"], after["encoder.place.weight"])
    for name in ("heads.z_head.unfold.weight", "heads.teff_head.output.weight"):
        assert 0.0 < float((after[name] - before[name]).abs().max()) < 0.01


def test_the_peer_in_one_dimension_is_trained_alike(specformer_run: Path) -> None:
    table = Predictor.load(specformer_run).predict_all(simulate(5, seed=3))
    assert len(table) == 5 and np.isfinite(table["z"]).all() and (specformer_run / "report.html").is_file()


def test_what_cannot_be_trained(run: Path, survey: Path, tmp_path: Path) -> None:
    """It is told before anything is read or written."""
    small = {"out": tmp_path / "x", "model": "test_vit", "pretrained": False}
    cases = [
        (small | {"out": run}, ArgumentError, f"--out {run} already holds a run; resume it with --resume {run}"),
        (small | {"model": "vit_enormous"}, ModelError, "'vit_enormous' is not one of timm's"),
        (
            small | {"checkpoint": survey},
            RunError,
            f"{survey} is not the folder of a finished run: it holds no model.json",
        ),
        (small | {"checkpoint": survey / "text.fits"}, ModelError, "weights are read from .safetensors files alone"),
        (
            small | {"model": "specformer", "checkpoint": survey / "text.fits"},
            ModelError,
            "specformer can start only from a run folder",
        ),
    ]
    for options, kind, message in cases:
        with pytest.raises(kind) as error:
            train(TrainConfig(**options))
        assert message in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "x").exists()


def test_data_that_cannot_be_learnt_from(tmp_path: Path, error_line: Callable[..., str]) -> None:
    out = ["--out", str(tmp_path / "x"), *MODEL]
    assert "no such file or folder" in error_line(train_main, [*out, "--data", str(tmp_path / "none")])
    assert "no spectrum is left for " in error_line(train_main, [*out, "--simulated", "2"])
    few = ["--simulated", "20", "--split", "0.4", "0.3", "0.3", "--targets", "teff"]
    assert "target 'teff' has too few labels to learn from" in error_line(train_main, [*out, *few])
    assert not (tmp_path / "x").exists()


@pytest.mark.survey
def test_real_files_train_and_predict(survey_data: Path, tmp_path: Path) -> None:
    """A slice of the real catalogue has every class and all layouts."""
    rows = (survey_data / "catalog.csv").read_text().splitlines()
    table = list(csv.DictReader(rows))
    kept = [i for i, row in enumerate(table) if row["class"] != "STAR" or i % 12 == 0]
    lines = [rows[0], *(f"{survey_data}/{rows[i + 1]}" for i in kept)]
    (tmp_path / "catalog.csv").write_text("\n".join(lines))
    options = ["--data", str(tmp_path / "catalog.csv"), "--epochs", "1", "--split", "0.6", "0.2", "0.2"]
    assert train_main([*options, *MODEL, "--out", str(tmp_path / "run")]) == 0
    folder = survey_data / "spectra" / "YunyuG+Cmost"
    assert predict_main([str(tmp_path / "run"), str(folder), "--out", str(tmp_path / "a.csv")]) == 0
    found = Table.read(tmp_path / "a.csv")
    assert len(found) + len(Table.read(tmp_path / "a.unreadable.csv")) == len(list(folder.rglob("*.fits*")))
