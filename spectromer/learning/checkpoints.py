"""Lightning checkpoints as safetensors: tensors as tensors, everything else as JSON beside them, no pickle."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from spectromer.errors import RunError
from spectromer.files import atomic

__all__ = ["SafetensorsIO", "check_resumable", "check_weights", "load_tensors", "load_weights"]

_WEIGHTS, _TRAINER = "state_dict", "trainer."


def _split(value: Any, path: str, tensors: dict[str, torch.Tensor]) -> Any:
    """`value` as JSON; its tensors go into `tensors` and are named where they stood."""
    if isinstance(value, torch.Tensor):
        tensors[path] = value.detach().cpu().contiguous().clone()  # safetensors refuses shared memory
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
    if "tensor" in node:
        return tensors[node["tensor"]]
    if "dict" in node:
        return {key: _join(item, tensors) for key, item in node["dict"]}
    if "list" in node:
        return [_join(item, tensors) for item in node["list"]]
    return node["value"]


class SafetensorsIO(CheckpointIO):
    """Weights stand under their own names, so that any reader of safetensors finds them; see `load_weights`."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write whole or not at all."""
        tensors: dict[str, torch.Tensor] = {}
        rest = {key: value for key, value in checkpoint.items() if key != _WEIGHTS}
        state = _split(rest, "trainer", tensors)
        for name, tensor in checkpoint[_WEIGHTS].items():
            tensors[name] = tensor.detach().cpu().contiguous().clone()
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with atomic(Path(path)) as part:
            save_file(tensors, part, metadata={"format": "pt", "trainer": json.dumps(state)})
            part.chmod(0o644)  # safetensors writes files for their owner alone

    def load_checkpoint(self, path: Any, map_location: Any | None = None, weights_only: bool | None = None) -> Any:
        """The checkpoint as Lightning saved it."""
        tensors, metadata = load_tensors(Path(path))
        try:
            checkpoint = _join(json.loads(metadata["trainer"]), tensors)
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"{path}: it does not hold the state of a trainer ({error!r})") from error
        checkpoint[_WEIGHTS] = {k: v for k, v in tensors.items() if not k.startswith(_TRAINER)}
        return checkpoint

    def remove_checkpoint(self, path: Any) -> None:
        """Delete the file."""
        Path(path).unlink(missing_ok=True)


def load_weights(path: Path) -> dict[str, torch.Tensor]:
    """The weights of the model in a checkpoint, without what the trainer keeps beside them.

    Raises
    ------
    RunError
        When the file is no safetensors file, or is cut off.
    """
    return {name: tensor for name, tensor in load_tensors(path)[0].items() if not name.startswith(_TRAINER)}


def check_weights(path: Path, weights: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> None:
    """Raise RunError unless the weights of the file `path` are those that a model wants, and finite."""
    if missing := sorted(wanted.keys() - weights.keys()):
        raise RunError(f"{path}: the weights {', '.join(missing[:3])} of the model are missing")
    if unknown := sorted(weights.keys() - wanted.keys()):
        raise RunError(f"{path}: the model has no weights {', '.join(unknown[:3])}")
    for name, tensor in weights.items():
        if tensor.shape != wanted[name].shape:
            shapes = f"{tuple(wanted[name].shape)}, got {tuple(tensor.shape)}"
            raise RunError(f"{path}: the weights {name} of the model have shape {shapes}")
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise RunError(f"{path}: the weights {name} are not finite")


def check_resumable(path: Path, task: nn.Module) -> None:
    """Raise RunError unless a run can be resumed from the checkpoint `path`."""
    checkpoint = SafetensorsIO().load_checkpoint(path)
    check_weights(path, checkpoint[_WEIGHTS], task.state_dict())
    if missing := sorted({"optimizer_states", "lr_schedulers", "loops", "callbacks", "history"} - checkpoint.keys()):
        raise RunError(f"{path}: the state of the trainer lacks {', '.join(missing)}")
    for state in checkpoint["optimizer_states"]:
        for moments in state["state"].values():
            for name, tensor in moments.items():
                if isinstance(tensor, torch.Tensor) and not bool(torch.isfinite(tensor).all()):
                    raise RunError(f"{path}: the optimizer's {name} is not finite")


def load_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The tensors and the metadata of a safetensors file."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise RunError(f"{path}: not a whole safetensors file ({error})") from error
