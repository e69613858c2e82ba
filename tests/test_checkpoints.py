"""Checkpoints are plain safetensors, and hold what Lightning saved."""

import pickle
from pathlib import Path

import pytest
import torch
from broken_runs import INF, NAN, Edit, make_task, refuses, rewrite
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO  # what ours stands in for
from safetensors.torch import load_file, save_file
from torch import Tensor

from spectromer.errors import RunError
from spectromer.learning.checkpoints import SafetensorsIO, check_resumable, check_weights
from spectromer.learning.design import Design
from spectromer.learning.predictor import Predictor
from spectromer.runs import RunFolder, load_weights

pytestmark = pytest.mark.filterwarnings(
    "default"  # Lightning's, TensorBoard's and rich's own warnings are not this package's to mend
)


def test_weights_are_plain_safetensors(run: Path) -> None:
    weights = load_weights(run / "weights.safetensors")
    assert weights.keys() == {k for k in load_file(run / "weights.safetensors") if not k.startswith("trainer.")}
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


def test_files_that_are_not_whole(run: Path, tmp_path: Path) -> None:
    torn, plain = tmp_path / "torn.safetensors", tmp_path / "plain.safetensors"
    torn.write_bytes((run / "weights.safetensors").read_bytes()[:-10])
    with pytest.raises(RunError, match=r"torn.safetensors: not a whole safetensors file"):
        load_weights(torn)
    with pytest.raises(RunError, match=r"none.safetensors: not a whole safetensors file"):
        load_weights(tmp_path / "none.safetensors")
    save_file({"a": torch.zeros(2)}, plain)
    with pytest.raises(RunError, match=r"plain.safetensors: it does not hold the state of a trainer"):
        SafetensorsIO().load_checkpoint(plain)


def test_weights_are_those_that_a_model_wants() -> None:
    path, wanted = Path("a.safetensors"), {"a": torch.zeros(2), "b": torch.zeros(3, dtype=torch.int64)}
    check_weights(path, wanted, wanted)
    for weights, message in (
        ({"a": torch.zeros(2)}, "the weights b of the model are missing"),
        (wanted | {"c": torch.zeros(1)}, "the model has no weights c"),
        (wanted | {"a": torch.zeros(3)}, r"the weights a of the model have shape \(2,\), got \(3,\)"),
        (wanted | {"a": torch.tensor([0.0, torch.inf])}, "the weights a are not finite"),
    ):
        with pytest.raises(RunError, match=rf"a.safetensors: {message}"):
            check_weights(path, weights, wanted)


WEIGHT = "model.heads.class_head.output.weight"
WEIGHTS: dict[str, tuple[Edit, str]] = {
    "NaN": (lambda tensors, _: tensors[WEIGHT].view(-1)[3:4].fill_(NAN), "are not finite"),
    "infinite": (lambda tensors, _: tensors[WEIGHT].view(-1)[3:4].fill_(INF), "are not finite"),
    "shape": (lambda tensors, _: tensors.update({WEIGHT: tensors[WEIGHT][:-1]}), r"have shape \(3, .*, got \(2, "),
    "double": (
        lambda tensors, _: tensors.update({WEIGHT: tensors[WEIGHT].double()}),
        "are torch.float32, got torch.float64",
    ),
    "missing": (lambda tensors, _: tensors.pop(WEIGHT), "of the model are missing"),
    "extra": (lambda tensors, _: tensors.update({"model.colour": torch.zeros(2)}), "the model has no weights colour"),
}
TWICE: Edit = lambda tensors, _: tensors.update({WEIGHT.removeprefix("model."): tensors[WEIGHT].clone()})  # noqa: E731


@pytest.mark.parametrize(("edit", "rule"), [*WEIGHTS.values(), (TWICE, "once")], ids=[*WEIGHTS, "twice"])
def test_weights_that_are_broken(broken: Path, edit: Edit, rule: str) -> None:
    rewrite(broken / "weights.safetensors", edit)
    refuses(lambda: Predictor.load(broken), broken / "weights.safetensors", rule)
    refuses(lambda: Design.load(RunFolder(broken)), broken / "weights.safetensors", rule)


@pytest.mark.parametrize("name", ["weights.safetensors", "calibration.safetensors", "last.safetensors"])
@pytest.mark.parametrize(
    "content", [b"", b"hello", pickle.dumps({"a": 1}), None], ids=["empty", "text", "pickle", "cut"]
)
def test_files_of_tensors_that_are_not_whole(broken: Path, name: str, content: bytes | None) -> None:
    file = broken / name
    file.write_bytes(file.read_bytes()[:-100] if content is None else content)

    def read() -> None:
        Predictor.load(broken)
        check_resumable(broken / "last.safetensors", make_task(broken))

    refuses(read, file, "not a whole safetensors file")


def first_moments(tensors: dict[str, Tensor], ending: str) -> str:
    return next(name for name in tensors if name.startswith("trainer.") and name.endswith(f".{ending}"))


TRAINER: dict[str, tuple[Edit, str]] = {
    "none": (lambda _, metadata: metadata.pop("trainer"), "does not hold the state of a trainer"),
    "no digest": (lambda _, metadata: metadata.pop("digest"), "an earlier version saved it"),
    "changed": (lambda _, metadata: metadata.update(trainer="{}"), "the state of the trainer is not what was written"),
    "missing": (lambda tensors, _: tensors.pop(first_moments(tensors, "exp_avg")), r"the tensor .*exp_avg is missing"),
    "unknown": (lambda tensors, _: tensors.update({"trainer.colour": torch.zeros(2)}), "has no tensor trainer.colour"),
    "NaN": (lambda tensors, _: tensors[first_moments(tensors, "exp_avg")].fill_(NAN), "the moments .* are not finite"),
    "shape": (
        lambda tensors, _: tensors.update({first_moments(tensors, "exp_avg"): torch.zeros(7)}),
        r"the moments 0.exp_avg of the model have shape .*, got \(7,\)",
    ),
    "negative": (lambda tensors, _: tensors[first_moments(tensors, "exp_avg_sq")].fill_(-1.0), "must be at least 0"),
}


@pytest.mark.parametrize(("edit", "rule"), [*WEIGHTS.values(), *TRAINER.values()], ids=[*WEIGHTS, *TRAINER])
def test_a_checkpoint_that_a_run_cannot_go_on_from(broken: Path, edit: Edit, rule: str) -> None:
    task, last = make_task(broken), broken / "last.safetensors"
    rule = rule.replace("weights colour", "weights model.colour")
    rewrite(last, edit)
    refuses(lambda: check_resumable(last, task), last, rule)


def test_a_checkpoint_of_other_parameters(broken: Path) -> None:
    task, last = make_task(broken), broken / "last.safetensors"
    task.model.encoder.requires_grad_(False)
    refuses(lambda: check_resumable(last, task), last, r"the optimizer must have groups of \[")
