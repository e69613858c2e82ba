"""The whole way on a small scale: train, resume, evaluate, predict; and what happens to bad input."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import torch
from astropy.table import Table
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO  # what ours stands in for
from safetensors.torch import load_file

from spectromer import Spectrum, SpectrumBatch
from spectromer.__main__ import main as spectromer_main
from spectromer.config import TrainConfig, load_config
from spectromer.evaluate import main as evaluate_main
from spectromer.export import main as export_main
from spectromer.learning.checkpoints import SafetensorsIO, load_weights
from spectromer.learning.model import Design
from spectromer.learning.targets import Targets
from spectromer.predict import Predictor
from spectromer.predict import main as predict_main
from spectromer.report import main as report_main
from spectromer.surveys.simulated import simulate
from spectromer.surveys.write import write_survey
from spectromer.train import SpectrumTask, _inputs, _parse
from spectromer.train import main as train_main

pytestmark = pytest.mark.filterwarnings(
    "default"  # Lightning's, TensorBoard's and rich's own warnings are not this package's to mend
)

SMALL = [
    "--simulated",
    "600",
    "--epochs",
    "2",
    "--size",
    "64",
    "--panels",
    "4",
    "--model",
    "test_vit",
    "--no-pretrained",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs on 600 simulated spectra."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    assert train_main([*SMALL, "--targets", "class", "subclass", "z", "teff", "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 40 good files, a dead fibre, and two that cannot be read."""
    folder = tmp_path_factory.mktemp("survey")
    spectra = list(simulate(40, seed=9))
    dead = Spectrum(spectra[0].flux * 0, spectra[0].ivar * 0, spectra[0].wavelength, "SDSS", "9999-55000-0001", {})
    write_survey([*spectra, dead], folder)
    (folder / "torn.fits").write_bytes((folder / "spec-9999-55000-0001.fits").read_bytes()[:7000])
    (folder / "text.fits").write_text("no spectrum")
    return folder


def read_table(path: Path) -> Table:
    """Astropy's reader of parquet needs pandas; pyarrow's own does not."""
    if path.suffix == ".parquet":
        return Table(pyarrow.parquet.read_table(path).to_pydict())
    return Table.read(path)


def test_leaves_everything_in_the_run_folder(run: Path) -> None:
    names = {str(p.relative_to(run)) for p in run.rglob("*") if p.is_file()}
    assert {
        "config.json",
        "model.json",
        "metrics.json",
        "best.safetensors",
        "last.safetensors",
        "predictions.parquet",
        "calibration.safetensors",
        "report.html",
        "unreadable.csv",
        "plots/learning_curves.png",
        "plots/confusion_class.png",
        "plots/confusion_subclass.png",
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
    """Above chance by far after a minute: the accuracy of always saying STAR is 0.45."""
    options = ["--simulated", "1500", "--epochs", "4", "--size", "64", "--panels", "4", "--targets", "class"]
    assert train_main([*options, "--out", str(tmp_path / "run")]) == 0
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["test"]["class"]["accuracy"] > 0.75


@pytest.mark.parametrize("batch", [0, 3])
def test_one_seed_one_result_and_resume_continues_it(run: Path, tmp_path: Path, batch: int) -> None:
    """Cut between the epochs or within the second, and resumed, it gives the weights of two epochs in one go."""
    names = ["--targets", "class", "subclass", "z", "teff", "--save-minutes", "1e-9"]
    stopped = tmp_path / "stopped"
    # The schedule depends on the number of epochs, so the first part is told to train two and cut in the second.
    import lightning

    class Cut(lightning.Callback):
        def on_train_batch_start(self, trainer: lightning.Trainer, *_: object) -> None:
            if trainer.current_epoch == 1 and trainer.fit_loop.epoch_loop.batch_idx == batch:
                raise KeyboardInterrupt

    original = lightning.Trainer.__init__

    def with_cut(self: lightning.Trainer, **options: object) -> None:
        original(self, **(options | {"callbacks": [*options["callbacks"], Cut()]}))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lightning.Trainer, "__init__", with_cut)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            train_main([*SMALL, *names, "--out", str(stopped)])
    assert not (stopped / "metrics.json").exists()
    assert train_main(["--resume", str(stopped)]) == 0
    whole, parts = load_weights(run / "last.safetensors"), load_weights(stopped / "last.safetensors")
    assert whole.keys() == parts.keys()
    for name, tensor in whole.items():
        torch.testing.assert_close(parts[name], tensor, rtol=1e-4, atol=1e-5, msg=name)
    assert json.loads((stopped / "metrics.json").read_text())["training"]["epochs"] == 2


def test_from_shards(tmp_path: Path) -> None:
    """Ingest, train, evaluate and predict, none of it with all spectra in memory."""
    shards, folder = tmp_path / "shards", tmp_path / "run"
    assert spectromer_main(["ingest", "--simulated", "600", "--shard-size", "256", "--out", str(shards)]) == 0
    options = [*SMALL[2:], "--epochs", "1", "--workers", "1"]
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


def test_a_subclass_belongs_to_its_class(run: Path, survey: Path, tmp_path: Path) -> None:
    predictor = Predictor.load(run)
    table = predictor.predict_all(simulate(100, seed=2))
    for row in table:
        assert row["subclass"] == "" or row["subclass"] in predictor.model.targets.subclasses[row["class"]]


def test_prediction_does_not_depend_on_the_batch(run: Path) -> None:
    """Nor on labels, which it never sees."""
    predictor = Predictor.load(run)
    spectra = list(simulate(20, seed=2))
    whole = predictor.predict(SpectrumBatch.from_spectra(spectra))
    bare = [Spectrum(s.flux, s.ivar, s.wavelength) for s in spectra]
    alone = predictor.predict_all(bare, batch_size=3)
    for name in ("class_prob_STAR", "z", "teff"):
        np.testing.assert_allclose(whole[name], alone[name], rtol=1e-3, atol=1e-4)


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


def test_trains_on_files(survey: Path, tmp_path: Path) -> None:
    options = ["--data", str(survey), "--epochs", "1", "--targets", "class", "--shares", "0.6", "0.2", "0.2"]
    assert train_main([*options, *SMALL[4:], "--out", str(tmp_path / "run")]) == 0
    rows = (tmp_path / "run" / "unreadable.csv").read_text().splitlines()
    assert len(rows) == 3 and rows[0] == "path,reason"


def test_errors_are_one_sentence(run: Path, survey: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "x")]
    cases = [
        (train_main, [*out, "--model", "vit_enormous"], "is not one of timm's"),
        (train_main, [*out, "--data", str(tmp_path / "none")], "no such file or folder"),
        (train_main, [*out, "--simulated", "300", "--targets", "colour"], "targets must be of"),
        (train_main, [*out, "--panels", "7"], "size must be a multiple of panels"),
        (train_main, [*out, "--simulated", "2"], "split is empty"),
        (train_main, [*out, "--checkpoint", str(survey)], "holds no model.json"),
        (train_main, [*out, "--simulated", "300", "--keep-patches", "0"], "keep_patches must lie in"),
        (export_main, [str(run), "--out", str(tmp_path)], "exists already"),
        (report_main, [str(tmp_path)], "holds no metrics.json"),
        (train_main, ["--resume", str(tmp_path)], "no last.safetensors there"),
        (train_main, ["--out", str(run)], "already holds a run"),
        (predict_main, [str(tmp_path), str(survey), "--out", str(tmp_path / "a.csv")], "is not the folder of a run"),
        (predict_main, [str(run), str(survey), "--out", str(tmp_path / "a.xls")], "the ending must be one of"),
        (evaluate_main, [str(run), "--data", str(tmp_path / "none")], "no such file or folder"),
    ]
    for main, argv, message in cases:
        assert main(argv) == 2, argv
        error = capsys.readouterr().err.strip()
        assert error.startswith("error: ") and message in error and "\n" not in error, argv


def test_the_console_script_has_the_verbs(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert spectromer_main([]) == 2 and spectromer_main(["--help"]) == 0
    assert "train,evaluate,predict" in capsys.readouterr().out
    assert spectromer_main(["evaluate", str(run), "--data", "nowhere"]) == 2


def test_presets_come_first_and_options_override(run: Path) -> None:
    config, resumed = _parse(["--preset", "thesis", "--epochs", "3"])
    assert (config.model, config.lr, config.weight_decay, config.batch_size) == (
        "vit_base_patch16_224.dino",
        1e-5,
        0.01,
        64,
    )
    assert config.shares == (0.6, 0.2, 0.2) and config.style == "thesis-plot" and config.epochs == 3 and not resumed
    config, resumed = _parse(["--resume", str(run), "--epochs", "5"])
    assert resumed and config.model == "test_vit" and config.epochs == 5 and config.out == run
    assert load_config(run).targets == ("class", "subclass", "z", "teff")


@pytest.mark.parametrize(("model", "size", "panels"), [("test_vit", 96, 6), ("vit_tiny_patch16_224", 224, 14)])
def test_a_panel_is_as_high_as_a_patch(model: str, size: int, panels: int) -> None:
    inputs, backbone = _inputs(TrainConfig(model=model, size=size, pretrained=False, channels=("flux", "error")))
    assert backbone is not None and inputs["panels"] == panels == backbone.patch_embed.grid_size[0]
    assert backbone.patch_embed.proj.in_channels == 2


@pytest.fixture(scope="module")
def tuned(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run, continued on other spectra and for further targets, with its encoder as it was."""
    folder = tmp_path_factory.mktemp("runs") / "tuned"
    options = ["--checkpoint", str(run), "--frozen", "--simulated", "400", "--seed", "5", "--epochs", "1"]
    targets = ["--targets", "class", "z", "teff", "logg"]
    assert train_main([*options, *targets, "--out", str(folder)]) == 0
    return folder


def test_a_run_is_a_checkpoint(run: Path, tuned: Path) -> None:
    """Its images and model are taken over, and a frozen encoder stays as it is while the heads learn."""
    earlier, now = Design.read(run / "model.json"), Design.read(tuned / "model.json")
    assert now.inputs == earlier.inputs and now.model == earlier.model == load_config(tuned).model
    assert now.targets.scale["teff"] == earlier.targets.scale["teff"] and "logg" in now.targets.scale
    before, after = load_weights(run / "best.safetensors"), load_weights(tuned / "best.safetensors")
    encoder = [name for name in after if ".encoder." in name]
    assert encoder and all(torch.equal(before[name], after[name]) for name in encoder)
    for name in ("model.heads.z_head.unfold.weight", "model.heads.teff_head.output.weight"):
        assert 0.0 < float((after[name] - before[name]).abs().max()) < 0.01


def test_deeper_layers_learn_slower(tmp_path: Path) -> None:
    """With a decay of 0.5 the rates are the peak's times powers of it; without, all have the peak's."""
    config = TrainConfig(model="test_vit", size=64, panels=4, pretrained=False, lr=1e-3, targets=("class",))
    inputs, backbone = _inputs(config)
    model = Design("test_vit", inputs, Targets(("class",), {"class": ["QSO", "STAR"]})).build(backbone)
    for decay, want in ((None, {1.0}), (0.5, {0.5**k for k in range(len(backbone.blocks) + 1)})):
        task = SpectrumTask(model, torch.nn.Identity(), replace(config, layer_decay=decay), steps=10)
        groups = task.configure_optimizers()["optimizer"].param_groups
        assert {round(group["initial_lr"] / 1e-3, 9) for group in groups} == want
        assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
        rates = {id(p): group["initial_lr"] for group in groups for p in group["params"]}
        assert rates[id(model.head("class").output.weight)] == 1e-3


def test_the_peer_in_one_dimension_is_trained_alike(tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = ["--model", "specformer", "--heads", "mlp", "--simulated", "300", "--epochs", "1", "--out", str(out)]
    assert train_main([*options, "--targets", "class", "z"]) == 0
    table = Predictor.load(out).predict_all(simulate(5, seed=3))
    assert len(table) == 5 and np.isfinite(table["z"]).all() and (out / "report.html").is_file()


def test_weights_are_plain_safetensors(run: Path) -> None:
    weights = load_weights(run / "best.safetensors")
    assert weights.keys() == {k for k in load_file(run / "best.safetensors") if not k.startswith("trainer.")}
    assert all(name.startswith("model.") for name in weights)


def test_a_checkpoint_comes_back_as_lightning_saved_it(tmp_path: Path) -> None:
    shared = torch.arange(6.0)
    checkpoint = {
        "state_dict": {"a.weight": torch.eye(3)[:, :2], "b": shared},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(3.0), "exp_avg": shared}}, "lr": 0.1}],
        "epoch": 4,
        "callbacks": {"x": {"best": None, "path": "y", "flag": True}},
    }
    SafetensorsIO().save_checkpoint(checkpoint, tmp_path / "a.safetensors")
    TorchCheckpointIO().save_checkpoint(checkpoint, tmp_path / "a.ckpt")
    got = SafetensorsIO().load_checkpoint(tmp_path / "a.safetensors")
    want = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert got.keys() == want.keys() and got["epoch"] == 4 and got["callbacks"] == want["callbacks"]
    assert torch.equal(got["state_dict"]["a.weight"], want["state_dict"]["a.weight"])
    state = got["optimizer_states"][0]["state"]
    assert list(state) == [0] and torch.equal(state[0]["exp_avg"], shared) and state[0]["step"].shape == ()
    with pytest.raises(TypeError, match="neither a tensor nor JSON"):
        SafetensorsIO().save_checkpoint({"state_dict": {}, "f": print}, tmp_path / "b.safetensors")


@pytest.mark.survey
def test_real_files_train_and_predict(survey_data: Path, tmp_path: Path) -> None:
    """A slice of the real catalogue: every class, all layouts."""
    rows = (survey_data / "catalog.csv").read_text().splitlines()
    table = list(csv.DictReader(rows))
    kept = [i for i, row in enumerate(table) if row["class"] != "STAR" or i % 12 == 0]
    lines = [rows[0], *(f"{survey_data}/{rows[i + 1]}" for i in kept)]
    (tmp_path / "catalog.csv").write_text("\n".join(lines))
    options = ["--data", str(tmp_path / "catalog.csv"), "--epochs", "1", "--shares", "0.6", "0.2", "0.2"]
    assert train_main([*options, *SMALL[4:], "--out", str(tmp_path / "run")]) == 0
    folder = survey_data / "spectra" / "YunyuG+Cmost"
    assert predict_main([str(tmp_path / "run"), str(folder), "--out", str(tmp_path / "a.csv")]) == 0
    found = Table.read(tmp_path / "a.csv")
    assert len(found) + len(Table.read(tmp_path / "a.unreadable.csv")) == len(list(folder.rglob("*.fits*")))
