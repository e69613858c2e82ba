"""Checkpoints are plain safetensors, and hold all from which a training goes on."""

import hashlib
import pickle
from pathlib import Path

import pytest
import torch
from broken_runs import INF, NAN, Edit, make_step, refuses, rewrite, with_key
from safetensors.torch import load_file, save_file
from torch import Tensor

from spectromer.errors import RunError
from spectromer.learning.checkpoints import Checkpoints, Place, check_weights, load_checkpoint
from spectromer.learning.design import Design
from spectromer.learning.predictor import Predictor
from spectromer.runs import RunFolder, load_weights

pytestmark = pytest.mark.filterwarnings(
    "default"  # Lightning's, TensorBoard's and rich's own warnings are not this package's to mend
)


def test_weights_are_plain_safetensors(run: Path) -> None:
    weights = load_weights(run / "weights.safetensors")
    assert weights.keys() == {k for k in load_file(run / "weights.safetensors") if not k.startswith("trainer.")}
    wanted = make_step(run).model.state_dict()
    assert {name: tensor.shape for name, tensor in weights.items()} == {name: t.shape for name, t in wanted.items()}


def test_a_checkpoint_comes_back(run: Path, tmp_path: Path) -> None:
    """It holds the state at the time of `save`, whatever the training does while it is written."""
    step, place = make_step(run), Place(5, 1, 2, 1, [{"epoch": 1, "val/loss": 0.5}])
    want = {name: tensor.copy_(torch.rand(tensor.shape)).clone() for name, tensor in step.state().items()}
    want["totals"] = step.totals.copy_(torch.tensor([[-3.0], [1.0]]).expand_as(step.totals)).clone()  # losses below 0
    saved = Checkpoints(tmp_path / "a.safetensors", minutes=1e-9)
    assert saved.due()
    saved.save(step, place)
    for tensor in step.state().values():
        tensor.zero_()
    saved.wait()
    other = make_step(run)
    assert load_checkpoint(tmp_path / "a.safetensors", other) == place and other.count == 5
    assert all(torch.equal(tensor, other.state()[name]) for name, tensor in want.items())
    assert not Checkpoints(None, minutes=1e-9).due()


def test_a_checkpoint_that_cannot_be_written(run: Path, tmp_path: Path) -> None:
    """The training learns of it."""
    full = Checkpoints(Path("/dev/full/a.safetensors"), minutes=10.0)
    full.save(make_step(run), Place())
    with pytest.raises(RunError, match=r"a.safetensors: the checkpoint could not be written"):
        full.wait()
    saved = Checkpoints(tmp_path / "none" / "a.safetensors", minutes=10.0)
    assert not saved.due()
    saved.save(make_step(run), Place())
    with pytest.raises(RunError, match=r"a.safetensors: the checkpoint could not be written \(.*No such file"):
        saved.wait()
    saved.wait()


def test_files_that_are_not_whole(run: Path, tmp_path: Path) -> None:
    torn, plain = tmp_path / "torn.safetensors", tmp_path / "plain.safetensors"
    torn.write_bytes((run / "weights.safetensors").read_bytes()[:-10])
    with pytest.raises(RunError, match=r"torn.safetensors: not a whole safetensors file"):
        load_weights(torn)
    with pytest.raises(RunError, match=r"none.safetensors: not a whole safetensors file"):
        load_weights(tmp_path / "none.safetensors")
    save_file({"a": torch.zeros(2)}, plain)
    with pytest.raises(RunError, match=r"plain.safetensors: it does not hold the state of a trainer"):
        load_checkpoint(plain, make_step(run))


def test_weights_are_those_that_a_model_wants() -> None:
    path, wanted = Path("a.safetensors"), {"a": torch.zeros(2), "b": torch.zeros(3, dtype=torch.int64)}
    check_weights(path, wanted, wanted)
    for weights, message in (
        ({"a": torch.zeros(2)}, "the weights b are missing"),
        (wanted | {"c": torch.zeros(1)}, "the model has no weights c"),
        (wanted | {"a": torch.zeros(3)}, r"the weights a must have shape \(2,\), got \(3,\)"),
        (wanted | {"a": torch.tensor([0.0, torch.inf])}, "the weights a are not finite"),
    ):
        with pytest.raises(RunError, match=rf"a.safetensors: {message}"):
            check_weights(path, weights, wanted)


WEIGHT = "heads.class_head.output.weight"
WEIGHTS: dict[str, tuple[Edit, str]] = {
    "NaN": (lambda tensors, _: tensors[WEIGHT].view(-1)[3:4].fill_(NAN), "are not finite"),
    "infinite": (lambda tensors, _: tensors[WEIGHT].view(-1)[3:4].fill_(INF), "are not finite"),
    "shape": (lambda tensors, _: tensors.update({WEIGHT: tensors[WEIGHT][:-1]}), r"must have shape \(3, .*, got \(2, "),
    "double": (
        lambda tensors, _: tensors.update({WEIGHT: tensors[WEIGHT].double()}),
        "must be torch.float32, got torch.float64",
    ),
    "missing": (lambda tensors, _: tensors.pop(WEIGHT), "are missing"),
    "extra": (lambda tensors, _: tensors.update({"colour": torch.zeros(2)}), "the model has no weights colour"),
}
TWICE: Edit = lambda tensors, _: tensors.update({f"model.{WEIGHT}": tensors[WEIGHT].clone()})  # noqa: E731


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
        load_checkpoint(broken / "last.safetensors", make_step(broken))

    refuses(read, file, "not a whole safetensors file")


def set_place(key: str, value: object, digest: bool = True) -> Edit:
    """Set a number of the place of the training."""

    def edit(_: dict[str, Tensor], metadata: dict[str, str]) -> None:
        metadata["trainer"] = with_key(metadata["trainer"], key, value)
        if digest:
            metadata["digest"] = hashlib.sha256(metadata["trainer"].encode()).hexdigest()

    return edit


FIRST = "trainer.0.exp_avg"
TRAINER: dict[str, tuple[Edit, str]] = {
    "none": (lambda _, metadata: metadata.pop("trainer"), "does not hold the state of a trainer"),
    "no digest": (lambda _, metadata: metadata.pop("digest"), "an earlier version saved it"),
    "earlier": (
        lambda tensors, _: tensors.update({"trainer.optimizer_states.0.state.0.exp_avg": torch.zeros(2)}),
        "an earlier version saved it",
    ),
    "changed": (set_place("step", 3, digest=False), "the state of the trainer is not what was written"),
    "a negative place": (set_place("epoch", -1), "epoch must be at least 0, got -1"),
    "no number": (set_place("batch", "x"), "batch: input should be a valid integer"),
    "no processes": (set_place("processes", 0), "processes must be at least 1, got 0"),
    "missing": (lambda tensors, _: tensors.pop(FIRST), "the tensors of the trainer 0.exp_avg are missing"),
    "unknown": (
        lambda tensors, _: tensors.update({"trainer.colour": torch.zeros(2)}),
        "no tensors of the trainer colour",
    ),
    "NaN": (lambda tensors, _: tensors[FIRST].fill_(NAN), "the tensors of the trainer 0.exp_avg are not finite"),
    "shape": (
        lambda tensors, _: tensors.update({FIRST: torch.zeros(7)}),
        r"the tensors of the trainer 0.exp_avg must have shape .*, got \(7,\)",
    ),
    "negative": (lambda tensors, _: tensors[f"{FIRST}_sq"].fill_(-1.0), "must be at least 0"),
}


@pytest.mark.parametrize(("edit", "rule"), [*WEIGHTS.values(), *TRAINER.values()], ids=[*WEIGHTS, *TRAINER])
def test_a_checkpoint_that_a_run_cannot_go_on_from(broken: Path, edit: Edit, rule: str) -> None:
    step, last = make_step(broken), broken / "last.safetensors"
    rewrite(last, edit)
    refuses(lambda: load_checkpoint(last, step), last, rule)
