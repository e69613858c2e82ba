"""Checkpoints are plain safetensors, and hold what Lightning saved."""

from pathlib import Path

import pytest
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO  # what ours stands in for
from safetensors.torch import load_file, save_file

from spectromer.errors import RunError
from spectromer.learning.checkpoints import SafetensorsIO, check_weights
from spectromer.runs import load_weights

pytestmark = pytest.mark.filterwarnings(
    "default"  # Lightning's, TensorBoard's and rich's own warnings are not this package's to mend
)


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


def test_files_that_are_not_whole(run: Path, tmp_path: Path) -> None:
    torn, plain = tmp_path / "torn.safetensors", tmp_path / "plain.safetensors"
    torn.write_bytes((run / "best.safetensors").read_bytes()[:-10])
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
