"""Run folders: what is written is read back, version 1 is converted, and each fault is told in one sentence."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from broken_runs import GONE, INF, NAN, make_step, refuses, rewrite, set_key, to_version_1

from spectromer.config import TrainConfig
from spectromer.documents import SCHEMA
from spectromer.evaluate import main as evaluate_main
from spectromer.learning.checkpoints import load_checkpoint
from spectromer.learning.design import Design
from spectromer.learning.predictor import Predictor
from spectromer.learning.targets import Targets
from spectromer.picture import Picture
from spectromer.predict import main as predict_main
from spectromer.report import main as report_main
from spectromer.runs import RunFolder
from spectromer.subclasses import spectral_type
from spectromer.surveys.simulated import simulate
from spectromer.train import main as train_main

pytestmark = pytest.mark.filterwarnings(
    "default"  # Lightning's, TensorBoard's and rich's own warnings are not this package's to mend
)


def test_a_good_folder_is_read(broken: Path) -> None:
    run, predictor = RunFolder(broken), Predictor.load(broken, device="cpu")
    assert run.read_config().picture == predictor.design.picture
    assert run.read_metrics()["test"].keys() == {"class", "spectral_type", "subclass", "z", "z_scan", "teff"}
    load_checkpoint(run.last, make_step(broken))
    run.write_config(run.read_config())
    run.write_model(predictor.design)
    for file in (run.config, run.model):
        assert json.loads(file.read_text())["schema"] == SCHEMA
    assert run.read_model(Design) == predictor.design


def test_version_1_is_converted(broken: Path, tmp_path: Path) -> None:
    drawn = json.loads(Picture.of("panels", 64, panels=4, channels=("flux", "error", "mask")).to_json())
    for name in ("model.json", "config.json"):  # of the styles, that version had only panels
        set_key(broken / name, "picture", drawn)
    shutil.copytree(broken, tmp_path / "new")
    to_version_1(broken)
    new, old = (Predictor.load(folder, device="cpu") for folder in (tmp_path / "new", broken))
    assert old.design == new.design and old.calibration.alone == new.calibration.alone
    assert RunFolder(broken).read_config() == RunFolder(tmp_path / "new").read_config()
    last = broken / "last.safetensors"
    refuses(lambda: load_checkpoint(last, make_step(broken)), last, f"start another run .* --checkpoint {broken}$")


def test_version_1_of_a_model_without_a_picture(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    config = TrainConfig(model="specformer", targets=("class",))
    design = Design("specformer", None, Targets(("class",), {"class": ["QSO", "STAR"]}))
    run.write_config(config)
    run.write_model(design)
    old, told = (json.loads(file.read_text()) for file in (run.model, run.config))
    del old["schema"], old["picture"], told["schema"], told["picture"]
    run.model.write_text(json.dumps(old | {"inputs": {}}))
    told |= {"style": "panels", "size": None, "channels": ["flux"], "panels": None, "block": None}
    told |= {"shares": told.pop("split"), "turn": told.pop("fold_offset")}
    run.config.write_text(json.dumps(told))
    assert (run.read_model(Design), run.read_config()) == (design, config)


@pytest.mark.parametrize(
    ("name", "keys", "value", "rule"),
    [
        ("model.json", "inputs", GONE, "neither a schema nor inputs"),
        ("model.json", "inputs", [], r"inputs must be a JSON object, got \[\]"),
        ("model.json", "inputs.style", GONE, "neither a schema nor style"),
        ("model.json", "inputs.style", [], r"style must be one of .*, got \[\]"),
        ("model.json", "inputs.size", GONE, "neither a schema nor size"),
        ("model.json", "inputs.size", "big", "picture.size: input should be a valid integer, got 'big'"),
        ("model.json", "inputs.wavelength_range", [1, 2, 3], "picture.wavelength_range: tuple should have at most 2"),
        ("model.json", "inputs.colour", 1, "picture.colour is not one of its keys"),
        ("config.json", "shares", GONE, "neither a schema nor shares"),
        ("config.json", "style", "x", "style must be one of"),
        ("config.json", "size", "x", "size: input should be a valid integer"),
        ("config.json", "colour", 1, "colour is not one of its keys"),
    ],
)
def test_a_broken_folder_of_version_1(broken: Path, name: str, keys: str, value: Any, rule: str) -> None:
    to_version_1(broken)
    set_key(broken / name, keys, value)
    run = RunFolder(broken)
    refuses(lambda: run.read_model(Design) if name == "model.json" else run.read_config(), broken / name, rule)


def read_by_name(name: str, folder: Path) -> object:
    """Read one JSON document of a run."""
    run = RunFolder(folder)
    readers = {"config.json": run.read_config, "metrics.json": run.read_metrics}
    return readers.get(name, lambda: run.read_model(Design))()


@pytest.mark.parametrize("name", ["config.json", "model.json", "metrics.json"])
@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"", "not readable as JSON"),
        (b"hello", "not readable as JSON"),
        (b'{"schema": 2, "model"', "not readable as JSON"),
        (b"\xff\xfe{", "not readable as text"),
        (b"[1]", r"the document must be a JSON object, got \[1\]"),
        (b"null", "the document must be a JSON object, got None"),
        (b"[" * 100_000, "not readable as JSON"),
        (b'{"n": ' + b"9" * 5000 + b"}", "not readable as JSON"),
    ],
    ids=["empty", "text", "cut", "utf-16", "list", "null", "deep", "digits"],
)
def test_what_is_no_json_object(broken: Path, name: str, content: bytes, rule: str) -> None:
    (broken / name).write_bytes(content)
    refuses(lambda: read_by_name(name, broken), broken / name, rule)


@pytest.mark.parametrize("name", ["config.json", "model.json"])
@pytest.mark.parametrize("schema", [4, 0, "2", 2.0, True, None, [], NAN])
def test_a_version_that_is_not_known(broken: Path, name: str, schema: Any) -> None:
    set_key(broken / name, "schema", schema)
    refuses(lambda: read_by_name(name, broken), broken / name, "its schema is of version .* reads 1 to 3$")


@pytest.mark.parametrize("name", ["config.json", "model.json"])
def test_every_key_is_wanted_and_no_other(broken: Path, name: str) -> None:
    file = broken / name
    good = file.read_text()

    def walk(value: Any, above: str = "") -> list[tuple[str, Any]]:
        found = [(f"{above}{key}", inner) for key, inner in value.items()]
        deeper = [pair for keys, inner in found if isinstance(inner, dict) for pair in walk(inner, f"{keys}.")]
        return found + deeper

    for keys, value in [("", {}), *walk(json.loads(good))]:
        if keys not in ("", "schema"):
            set_key(file, keys, GONE)
            refuses(lambda: read_by_name(name, broken), file, f"{keys} is missing|vocabulary|scale|subclasses")
            file.write_text(good)
        if isinstance(value, dict):
            set_key(file, f"{keys}.colour".removeprefix("."), 1)
            refuses(lambda: read_by_name(name, broken), file, r"colour is not one of its keys|colour: input should be")
            file.write_text(good)
    set_key(file, "schema", GONE)
    refuses(lambda: read_by_name(name, broken), file, "neither a schema nor")


@pytest.mark.parametrize(
    ("keys", "value", "rule"),
    [
        ("simulated", 0, "simulated must be at least 1, got 0"),
        ("simulated", 1 << 40, "simulated must be below"),
        ("simulated", "many", "simulated: input should be a valid integer, got 'many'"),
        ("seed", 1 << 40, "seed must be below"),
        ("split", [0.5, 0.5], "split.2|split: "),
        ("fold_offset", NAN, "fold_offset must be"),
        ("targets", ["colour"], "targets must be some of"),
        ("epochs", 1.5, "epochs: input should be a valid"),
        ("batch_size", True, "batch_size: input should be a valid integer"),
        ("lr", INF, "lr must be above 0, got inf"),
        ("save_minutes", 1e300, "save_minutes must be at most"),
        ("heads", "deep", "heads: input should be 'linear' or 'mlp', got 'deep'"),
        ("picture.size", 0, "picture: size must be at least 1, got 0"),
        ("picture.scale", [0.0, INF], "picture: scale must be finite"),
        ("picture.scale", 3, "picture.scale: input should be .*, or input should be .*, got 3"),
        ("picture.colors", ["nothing"] * 3, "picture: colors must be matplotlib's names"),
        ("picture.dtype", "float32", "dtype must be uint8"),
    ],
)
def test_types_and_ranges_of_the_configuration(broken: Path, keys: str, value: Any, rule: str) -> None:
    set_key(broken / "config.json", keys, value)
    refuses(RunFolder(broken).read_config, broken / "config.json", rule)


@pytest.mark.parametrize(
    ("keys", "value", "rule"),
    [
        ("model", "nonsense", "model 'nonsense' is not one of timm's"),
        ("model", "resnet18", "model 'resnet18' could not be made"),
        ("model", "test_vit.colour", "model 'test_vit.colour' is not one of timm's"),
        ("model", "specformer", "a picture is for models other than specformer"),
        ("picture", None, "a picture is for models other than specformer"),
        ("picture.panels", 3, "picture: size must be a multiple of panels"),
        ("keep_patches", NAN, "keep_patches must lie in"),
        ("targets.names", [], "targets: targets must be some of"),
        ("targets.vocabulary.class", [], "the vocabulary of class must name each value once"),
        ("targets.vocabulary.class", ["STAR", "QSO", "GALAXY"], "the vocabulary of class must be in alphabetical"),
        ("targets.vocabulary.feh", ["A"], "vocabulary must be of class, subclass, got feh"),
        ("targets.subclasses.STAR", ["X"], "subclasses must be of the vocabulary of subclass, got X"),
        ("targets.subclasses.COMET", ["A"], "subclasses must be of GALAXY, QSO, STAR, got COMET"),
        ("targets.subclasses.STAR", GONE, "subclasses must have each class"),
        ("targets.scale.z", [0.0, INF], "the scale of z must be two numbers"),
        ("targets.scale.z", [1.0, 2.0], "the scale of z must begin with 0"),
        ("targets.scale.logg", [1.0, 2.0], "scale must be of z, teff, got logg"),
        ("targets.scale.teff", ["x", 1.0], "targets.scale.teff.0: input should be a valid number, got 'x'"),
    ],
)
def test_types_and_ranges_of_the_model(broken: Path, keys: str, value: Any, rule: str) -> None:
    set_key(broken / "model.json", keys, value)
    refuses(lambda: Predictor.load(broken), broken / "model.json", rule)


@pytest.mark.parametrize(
    ("keys", "value", "rule"),
    [
        ("model", "vit_nano_patch16_128", "the model has no weights"),
        ("picture.size", 32, "must have shape"),
        ("picture.channels", ["flux", "error"], "must have shape"),
        ("heads", "linear", "the model has no weights"),
        ("redshift_head", "pooled", "the model has no weights"),
        ("targets.scale.z", [0.0, 1.0], "must have shape"),
    ],
)
def test_another_model_than_that_of_the_weights(broken: Path, keys: str, value: Any, rule: str) -> None:
    set_key(broken / "model.json", keys, value)
    refuses(lambda: Predictor.load(broken), broken / "weights.safetensors", rule)


@pytest.mark.parametrize(
    ("keys", "value"),
    [("model", "vit_nano_patch16_128"), ("targets", ["class"]), ("heads", "linear"), ("picture.points", 3)],
)
def test_a_run_goes_on_as_the_model_that_it_is(broken: Path, keys: str, value: Any, error_line: Any) -> None:
    set_key(broken / "config.json", keys, value)
    sentence = error_line(train_main, ["--resume", str(broken)])
    assert sentence.startswith(f"{broken / 'config.json'}: {keys.split('.')[0]} must be that of model.json")


@pytest.mark.parametrize(
    ("keys", "value", "rule"),
    [
        ("test", {}, "it must hold the figures of at least one target"),
        ("test", [], r"test must be a JSON object, got \[\]"),
        ("test.colour", {}, "'colour' is not one of its keys"),
        ("test.class", None, "class must be a JSON object"),
        ("test.class.n", GONE, "class.n is missing"),
        ("test.class.n", -1, "class.n must be a whole number of at least 0"),
        ("test.class.accuracy", GONE, "class.accuracy is missing"),
        ("test.class.accuracy", {}, "class.accuracy must be a number"),
        ("test.class.accuracy", 10**400, "class.accuracy must be a number"),
        ("test.class.errors.accuracy", INF, "class.errors.accuracy must be a number of at least 0, got inf"),
        ("test.class.by_value", [], "class.by_value must be a JSON object"),
        ("test.z.comet", {}, "'comet' is not one of its keys"),
        ("test.z.star.r2", "x", "z.star.r2 must be a number, got 'x'"),
        ("test.teff.errors", [], "teff.errors must be a JSON object"),
        ("counts.train", "x", "counts.train must be a whole number"),
    ],
)
def test_metrics_that_are_broken(broken: Path, keys: str, value: Any, rule: str) -> None:
    set_key(broken / "metrics.json", keys, value)
    refuses(RunFolder(broken).read_metrics, broken / "metrics.json", rule)


def test_metrics_that_could_not_be_measured_are_read(broken: Path) -> None:
    set_key(broken / "metrics.json", "test.class.accuracy", NAN)
    set_key(broken / "metrics.json", "test.class.errors.accuracy", NAN)
    assert math.isnan(RunFolder(broken).read_metrics()["test"]["class"]["accuracy"])


def test_a_run_that_knew_only_letters(broken: Path, survey: Path, tmp_path: Path) -> None:
    """Its subclasses are spectral types. It predicts, is evaluated with subtypes, and its figures are of letters."""
    run = RunFolder(broken)
    design = run.read_model(Design)
    values = design.targets.vocabulary["subclass"]
    letters = sorted({spectral_type(value) for value in values})
    rows = [next(i for i, value in enumerate(values) if spectral_type(value) == kind) for kind in letters]
    rewrite(run.weights, lambda tensors, _: tensors.update({
        name: tensor[rows] for name, tensor in tensors.items() if "subclass_head.output" in name
    }))  # fmt: skip
    set_key(run.model, "targets.vocabulary.subclass", letters)
    of_class = {
        kind: sorted({spectral_type(value) for value in found}) for kind, found in design.targets.subclasses.items()
    }
    set_key(run.model, "targets.subclasses", of_class)
    saved = run.read_metrics()
    old = saved["test"].pop("spectral_type")
    saved["test"]["subclass"] = old
    run.write_metrics(saved)
    assert "subclass" not in run.read_metrics()["test"]
    assert run.read_metrics()["test"]["spectral_type"]["accuracy"] == old["accuracy"]
    table = Predictor.load(broken, device="cpu").predict_all(simulate(20, seed=3))
    assert set(table["subclass"]) <= {"", *letters} and list(table["subclass"]) == list(table["spectral_type"])
    assert evaluate_main([str(broken), "--data", str(survey / "catalog.csv"), "--out", str(tmp_path / "out")]) == 0
    found = RunFolder(tmp_path / "out").read_metrics()["test"]
    assert found["subclass"]["accuracy"] == found["spectral_type"]["accuracy"]
    assert found["subclass"]["n"] > 10 and "subtypes" not in found["subclass"]


@pytest.mark.parametrize("folder", [False, True])
@pytest.mark.parametrize(
    ("name", "main"),
    [
        ("model.json", predict_main),
        ("weights.safetensors", predict_main),
        ("calibration.safetensors", predict_main),
        ("metrics.json", report_main),
        ("config.json", train_main),
        ("last.safetensors", train_main),
    ],
)
def test_files_that_are_missing(broken: Path, name: str, main: Any, folder: bool, error_line: Any) -> None:
    (broken / name).unlink()
    if folder:
        (broken / name).mkdir()
    argv = {predict_main: ["none", "--model", str(broken), "--out", str(broken / "a.csv")], report_main: [str(broken)]}
    sentence = error_line(main, argv.get(main, ["--resume", str(broken)]))
    assert str(broken) in sentence and name in sentence
