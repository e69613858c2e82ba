"""Lightning checkpoints as safetensors: tensors as tensors, everything else as JSON beside them, no pickle."""

import json
import os
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO
from safetensors import safe_open
from safetensors.torch import save_file

from spectromer.files import atomic

__all__ = ["SafetensorsIO", "load_weights"]

_WEIGHTS = "state_dict"


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
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
            checkpoint = _join(json.loads(file.metadata()["trainer"]), tensors)
        checkpoint[_WEIGHTS] = {k: v for k, v in tensors.items() if not k.startswith("trainer.")}
        return checkpoint

    def remove_checkpoint(self, path: Any) -> None:
        """Delete the file."""
        Path(path).unlink(missing_ok=True)


def load_weights(path: Path) -> dict[str, torch.Tensor]:
    """The model's weights of a checkpoint, without what the trainer keeps beside them."""
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys() if not name.startswith("trainer.")}  # noqa: SIM118
