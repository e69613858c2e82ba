"""Lightning checkpoints as safetensors files, with everything but tensors as JSON in the metadata. Without pickle."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.plugins import CheckpointIO
from safetensors.torch import save_file

from spectromer.documents import parse_json
from spectromer.errors import RunError
from spectromer.files import atomic, read_tensors
from spectromer.runs import TRAINER

__all__ = ["SafetensorsIO", "check_resumable", "check_weights"]

_WEIGHTS = "state_dict"


def _split(value: Any, path: str, tensors: dict[str, torch.Tensor]) -> Any:
    """Convert `value` to JSON. Its tensors are moved to `tensors`, and their names take their places."""
    if isinstance(value, torch.Tensor):
        tensors[path] = value.detach().cpu().contiguous().clone()  # safetensors refuses tensors that share memory
        return {"tensor": path}
    if isinstance(value, dict):
        return {"dict": [[key, _split(item, f"{path}.{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return {"list": [_split(item, f"{path}.{i}", tensors) for i, item in enumerate(value)]}
    if value is None or isinstance(value, str | int | float | bool):
        return {"value": value}
    if isinstance(value, os.PathLike):
        return {"value": os.fspath(value)}
    raise TypeError(f"a checkpoint holds {path} of type {type(value).__name__}, which is neither a tensor nor JSON")


def _join(node: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Any:
    """Undo `_split`. The tensors are removed from `tensors`."""
    if "tensor" in node:
        return tensors.pop(node["tensor"])
    if "dict" in node:
        return {key: _join(item, tensors) for key, item in node["dict"]}
    if "list" in node:
        return [_join(item, tensors) for item in node["list"]]
    return node["value"]


class SafetensorsIO(CheckpointIO):
    """Weights are stored under their own names, so that any reader of safetensors finds them; see `load_weights`.

    The structure of the trainer's state is internal to Lightning, so its integrity is checked by a stored digest.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a checkpoint atomically."""
        tensors: dict[str, torch.Tensor] = {}
        rest = {key: value for key, value in checkpoint.items() if key != _WEIGHTS}
        state = json.dumps(_split(rest, "trainer", tensors))
        for name, tensor in checkpoint[_WEIGHTS].items():
            tensors[name] = tensor.detach().cpu().contiguous().clone()
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with atomic(Path(path)) as part:
            save_file(tensors, part, metadata={"format": "pt", "trainer": state, "digest": _digest(state)})
            part.chmod(0o644)  # safetensors makes files readable by their owner only

    def load_checkpoint(self, path: Any, map_location: Any | None = None, weights_only: bool | None = None) -> Any:
        """Load a checkpoint in the form in which Lightning saved it.

        Raises
        ------
        RunError
            If the file is damaged, or was saved by an earlier version whose state the trainer would misread.
        """
        path = Path(path)
        tensors, metadata = read_tensors(path)
        if "trainer" not in metadata:
            raise RunError(f"{path}: it does not hold the state of a trainer")
        state = metadata["trainer"]
        if "digest" not in metadata:
            raise RunError(
                f"{path}: an earlier version saved it, and its training cannot go on; "
                f"start another run from its weights with --checkpoint {path.parent}"
            )
        if metadata["digest"] != _digest(state):
            raise RunError(f"{path}: the state of the trainer is not what was written")
        try:
            checkpoint = _join(parse_json(path, state), tensors)
        except KeyError as error:
            raise RunError(f"{path}: the tensor {error.args[0]} is missing") from error
        if unknown := [name for name in tensors if name.startswith(TRAINER)]:
            raise RunError(f"{path}: the state of the trainer has no tensor {unknown[0]}")
        return checkpoint | {_WEIGHTS: tensors}

    def remove_checkpoint(self, path: Any) -> None:
        """Delete a checkpoint."""
        Path(path).unlink(missing_ok=True)


def check_weights(
    path: Path, weights: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor], what: str = "weights"
) -> None:
    """Check the weights from the file `path`, or other tensors described by `what`, against those of a model.

    Raises
    ------
    RunError
        When names, shapes or types differ, or a number is not finite.
    """
    if missing := sorted(wanted.keys() - weights.keys()):
        raise RunError(f"{path}: the {what} {', '.join(missing[:3])} of the model are missing")
    if unknown := sorted(weights.keys() - wanted.keys()):
        raise RunError(f"{path}: the model has no {what} {', '.join(unknown[:3])}")
    for name, tensor in weights.items():
        want = wanted[name]
        if tensor.shape != want.shape:
            raise RunError(
                f"{path}: the {what} {name} of the model have shape {tuple(want.shape)}, got {tuple(tensor.shape)}"
            )
        if tensor.dtype != want.dtype:
            raise RunError(f"{path}: the {what} {name} of the model are {want.dtype}, got {tensor.dtype}")
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise RunError(f"{path}: the {what} {name} are not finite")


def check_resumable(path: Path, task: lightning.LightningModule) -> None:
    """Raise RunError unless the training of `task` can be resumed from the checkpoint `path`."""
    checkpoint = SafetensorsIO().load_checkpoint(path)
    check_weights(path, checkpoint[_WEIGHTS], task.state_dict())
    configured: Any = task.configure_optimizers()
    groups = [group["params"] for group in configured["optimizer"].param_groups]
    (saved,) = checkpoint["optimizer_states"]
    counts = [[len(group) for group in found] for found in (groups, [g["params"] for g in saved["param_groups"]])]
    if counts[0] != counts[1]:
        raise RunError(f"{path}: the optimizer must have groups of {counts[0]} parameters, got {counts[1]}")
    parameters = [parameter for group in groups for parameter in group]
    found = {f"{i}.{name}": tensor for i, moments in saved["state"].items() for name, tensor in moments.items()}
    step = torch.zeros(())
    wanted = {
        f"{i}.{name}": tensor
        for i in saved["state"]
        for name, tensor in {"step": step, "exp_avg": parameters[i], "exp_avg_sq": parameters[i]}.items()
    }
    check_weights(path, found, wanted, "moments")
    for name, tensor in found.items():
        if not name.endswith(".exp_avg") and bool((tensor < 0.0).any()):
            raise RunError(f"{path}: the moments {name} must be at least 0")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
