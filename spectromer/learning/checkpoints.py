"""Checkpoints of a training as safetensors files, with everything but tensors as JSON in the metadata. Without pickle.

The averaged weights are stored under their own names, so that any reader of safetensors finds them (see
`load_weights`). The tensors of `TrainingStep.state` have the prefix "trainer.".
"""

import hashlib
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError

from spectromer.documents import parse_fields, parse_json
from spectromer.errors import RunError, SpectromerError, require
from spectromer.files import read_tensors, write_tensors
from spectromer.learning.parallel import add_up
from spectromer.learning.step import TrainingStep
from spectromer.runs import TRAINER
from spectromer.words import first_line

__all__ = ["Checkpoints", "Place", "check_weights", "load_checkpoint", "save_weights"]


@dataclass
class Place:
    """The place of a training: how far it has come, and its learning curves.

    Attributes
    ----------
    step : int
        Number of steps done.
    epoch, batch : int
        The epoch and the batch that come next, both counted from 0.
    processes : int
        Number of processes. The position within an epoch is meaningful only for the same number.
    history : list of dict
        The losses of each epoch.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    processes: int = 1
    history: list[dict[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("step", "epoch", "batch"):
            require(getattr(self, name) >= 0, f"{name} must be at least 0, got {getattr(self, name)}")
        require(self.processes >= 1, f"processes must be at least 1, got {self.processes}")


class Checkpoints:
    """The checkpoint of a run, which is written again after some time, by a thread.

    Parameters
    ----------
    path : Path, optional
        The file. Without it, nothing is written.
    minutes : float
        Time between checkpoints.
    """

    def __init__(self, path: Path | None, minutes: float) -> None:
        self._path, self._seconds = path, 60.0 * minutes
        self._last = time.monotonic()
        self._thread: threading.Thread | None = None
        self._error: RunError | None = None

    def due(self) -> bool:
        """Tell whether it is time for a checkpoint, and the one before is finished."""
        writing = self._thread is not None and self._thread.is_alive()
        return self._path is not None and not writing and time.monotonic() - self._last >= self._seconds

    def save(self, step: TrainingStep, place: Place) -> None:
        """Copy the state of a training, and begin to write it. All processes must call this.

        Raises
        ------
        RunError
            If the checkpoint before could not be written.
        """
        self.wait()
        totals = add_up(step.totals.clone())
        if (path := self._path) is None:
            return
        weights = _copied(step.weights())
        state = {TRAINER + name: tensor for name, tensor in _copied(step.state() | {"totals": totals}).items()}
        numbers = json.dumps(asdict(place))

        def write() -> None:
            try:
                metadata = {"format": "pt", "trainer": numbers, "digest": _digest(numbers)}
                write_tensors(path, weights | state, metadata)
            except (OSError, SafetensorError, SpectromerError) as error:  # it is raised in the main thread
                self._error = RunError(f"{path}: the checkpoint could not be written ({first_line(error)})")

        self._thread = threading.Thread(target=write)
        self._thread.start()
        self._last = time.monotonic()

    def wait(self) -> None:
        """Wait until the checkpoint is written.

        Raises
        ------
        RunError
            If it could not be written.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error


def save_weights(path: Path, weights: Mapping[str, torch.Tensor]) -> None:
    """Write the weights of a model."""
    write_tensors(path, _copied(weights), {"format": "pt"})


def _copied(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Copies on the CPU, none of which shares memory with another, as safetensors demands."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}


def load_checkpoint(path: Path, step: TrainingStep) -> Place:
    """Load the state of a training into `step`, and return its place.

    Raises
    ------
    RunError
        If the file is damaged, was saved by an earlier version, or does not fit.
    """
    tensors, metadata = read_tensors(path)
    if "trainer" not in metadata:
        raise RunError(f"{path}: it does not hold the state of a trainer")
    state = {name.removeprefix(TRAINER): t for name, t in tensors.items() if name.startswith(TRAINER)}
    earlier = any(name.startswith("optimizer_states") for name in state)
    if earlier or "digest" not in metadata:
        raise RunError(
            f"{path}: an earlier version saved it, and its training cannot go on; "
            f"start another run from its weights with --checkpoint {path.parent}"
        )
    if metadata["digest"] != _digest(metadata["trainer"]):
        raise RunError(f"{path}: the state of the trainer is not what was written")
    place = parse_fields(path, parse_json(path, metadata["trainer"]), Place)
    weights = {name: tensor for name, tensor in tensors.items() if not name.startswith(TRAINER)}
    check_weights(path, weights, step.weights())
    check_weights(path, state, step.state(), "tensors of the trainer")
    for name, tensor in state.items():
        counts = tensor[1] if name == "totals" else tensor  # the losses beside them can be negative
        if name.endswith((".exp_avg_sq", ".step", "totals")) and bool((counts < 0.0).any()):
            raise RunError(f"{path}: the tensors of the trainer {name} must be at least 0")
    step.load_state(state, place.step)
    return place


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
        raise RunError(f"{path}: the {what} {', '.join(missing[:3])} are missing")
    if unknown := sorted(weights.keys() - wanted.keys()):
        raise RunError(f"{path}: the model has no {what} {', '.join(unknown[:3])}")
    for name, tensor in weights.items():
        want = wanted[name]
        if tensor.shape != want.shape:
            raise RunError(f"{path}: the {what} {name} must have shape {tuple(want.shape)}, got {tuple(tensor.shape)}")
        if tensor.dtype != want.dtype:
            raise RunError(f"{path}: the {what} {name} must be {want.dtype}, got {tensor.dtype}")
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise RunError(f"{path}: the {what} {name} are not finite")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
