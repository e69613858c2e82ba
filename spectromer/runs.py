"""The run folder: the names of its files, and how its documents are written, read and converted.

A run of `python -m spectromer.train` leaves

- `config.json`: the configuration of the run (`TrainConfig`);
- `model.json`: the design of the model (`spectromer.learning.design.Design`);
- `weights.safetensors`: the weights at the end of the training, averaged over the last steps (`best.safetensors` in
  runs of earlier versions);
- `last.safetensors`: the weights and the state of the trainer, from which a run is resumed;
- `calibration.safetensors`: the calibration of the predictions (`spectromer.learning.calibration.Calibration`);
- `metrics.json`, `report.html`, `predictions.parquet`, `plots/`, `tensorboard/`: the evaluation;
- `unreadable.csv`: the files that could not be read.

JSON documents carry the version of their schema. A damaged file raises a RunError that names the file and the rule.
"""

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from spectromer.config import TrainConfig
from spectromer.documents import (
    convert_first,
    json_object,
    load_json,
    parse_document,
    parse_fields,
    shorten,
    write_document,
)
from spectromer.errors import RunError, require
from spectromer.files import atomic, make_folder, read_tensors
from spectromer.labels import CATEGORIES, CLASSES, TARGETS
from spectromer.picture import STYLES, Picture, Quantity

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["TRAINER", "RunFolder", "load_weights"]

#: Prefix of the tensors in a checkpoint that belong to the state of the trainer.
TRAINER = "trainer."
T = TypeVar("T")

_KINDS = (*(name.lower() for name in CLASSES), "flagged")  # of redshifts, in metrics.json
_PARTS = (
    "by_value",
    "by_survey",
    "by_snr",
    "reliability",
    "flagged",
    "subtypes",
)  # objects among the figures of a target


class RunFolder:
    """The files of one run."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.config = self.path / "config.json"
        self.model = self.path / "model.json"
        self.weights, earlier = (self.path / f"{name}.safetensors" for name in ("weights", "best"))
        if earlier.is_file() and not self.weights.is_file():
            self.weights = earlier
        self.last = self.path / "last.safetensors"
        self.calibration = self.path / "calibration.safetensors"
        self.metrics = self.path / "metrics.json"
        self.predictions = self.path / "predictions.parquet"
        self.unreadable = self.path / "unreadable.csv"
        self.plots = self.path / "plots"

    def create(self) -> None:
        """Create the folder if it does not exist.

        Raises
        ------
        ArgumentError
            If it cannot be created.
        """
        make_folder(self.path)

    def find(self, file: Path) -> Path:
        """Return `file`, which must exist.

        Raises
        ------
        RunError
            If it does not exist.
        """
        if not file.is_file():
            raise RunError(f"{self.path} is not the folder of a finished run: it holds no {file.name}")
        return file

    def read_config(self) -> TrainConfig:
        """Read the configuration of the run."""
        return self._read(self.config, TrainConfig, self._convert_config)

    def write_config(self, config: TrainConfig) -> None:
        """Write config.json."""
        write_document(self.config, config)

    def read_model(self, kind: type[T]) -> T:
        """Read model.json as a dataclass of type `kind`."""
        return self._read(self.model, kind, _convert_model)

    def write_model(self, design: Any) -> None:
        """Write model.json."""
        write_document(self.model, design)

    def read_metrics(self) -> dict[str, Any]:
        """Read metrics.json. The entry "test" has the figures of `evaluate_predictions`, one entry for each target.

        Raises
        ------
        RunError
            If the file is missing, or its entries differ from those of `evaluate_predictions`.
        """
        saved = json_object(self.metrics, "the document", load_json(self.find(self.metrics)))
        if "test" not in saved:  # a folder of `spectromer evaluate`
            saved = {"test": saved}
        _check_figures(self.metrics, saved["test"])
        if "subclass" in saved["test"] and "spectral_type" not in saved["test"]:  # of a version that knew only letters
            saved["test"]["spectral_type"] = saved["test"].pop("subclass")
        for name, count in json_object(self.metrics, "counts", saved.get("counts", {})).items():
            _check_count(self.metrics, f"counts.{name}", count)
        return saved

    def write_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Write metrics.json."""
        with atomic(self.metrics) as part:
            part.write_text(json.dumps(metrics, indent=2) + "\n")

    def read_weights(self) -> "dict[str, Tensor]":
        """Read the weights, under the names that the model gives them. Half precision becomes single precision."""
        loaded = {name: _single(tensor) for name, tensor in load_weights(self.find(self.weights)).items()}
        weights = {name.removeprefix("model."): tensor for name, tensor in loaded.items()}
        if len(weights) < len(loaded):
            raise RunError(f"{self.weights}: every tensor must stand there once, with or without the prefix 'model.'")
        return weights

    def _read(self, file: Path, kind: type[T], convert: Callable[[dict[str, Any]], dict[str, Any]]) -> T:
        return parse_document(self.find(file), load_json(file), kind, convert)

    def _convert_config(self, saved: dict[str, Any]) -> dict[str, Any]:
        """Convert version 1 of config.json, with the picture of model.json."""
        saved["split"], saved["fold_offset"] = saved.pop("shares"), saved.pop("turn")
        options = {field.name: saved.pop(field.name) for field in fields(_FirstOptions)}
        parse_fields(self.config, options, _FirstOptions)
        model = json_object(self.model, "the document", load_json(self.find(self.model)))
        if "schema" not in model:
            model = convert_first(self.model, model, _convert_model)
        found, picture = model.get("picture"), TrainConfig.picture
        if found is not None:
            picture = parse_fields(self.model, json_object(self.model, "picture", found), Picture)
        saved["picture"] = json.loads(picture.to_json())
        return saved


@dataclass(frozen=True)
class _FirstOptions:
    """Options that version 1 of config.json had in place of a picture, which model.json has in full."""

    style: str
    size: int | None
    channels: tuple[Quantity, ...]
    panels: int | None
    block: int | None

    def __post_init__(self) -> None:
        _check_style(self.style)


def load_weights(file: Path) -> "dict[str, Tensor]":
    """Read the weights in a checkpoint, without the tensors of the trainer's state.

    Raises
    ------
    RunError
        If the file is not a complete safetensors file.
    """
    return {name: tensor for name, tensor in read_tensors(file)[0].items() if not name.startswith(TRAINER)}


def _single(tensor: "Tensor") -> "Tensor":
    return tensor.float() if str(tensor.dtype) == "torch.float16" else tensor


def _convert_model(saved: dict[str, Any]) -> dict[str, Any]:
    """Convert version 1 of model.json, which has a style and some options in place of a picture."""
    inputs = saved.pop("inputs")
    require(isinstance(inputs, dict), f"inputs must be a JSON object, got {shorten(inputs)}")
    saved["picture"] = None
    if inputs:
        style, size = inputs.pop("style"), inputs.pop("size")
        _check_style(style)
        saved["picture"] = json.loads(Picture.of(style, 224).to_json()) | inputs | {"size": size}
    return saved


def _check_style(style: Any) -> None:
    require(isinstance(style, str) and style in STYLES, f"style must be one of {tuple(STYLES)}, got {shorten(style)}")


def _check_figures(file: Path, figures: Any) -> None:
    """Check the figures of `evaluate_predictions`."""
    if not json_object(file, "test", figures):
        raise RunError(f"{file}: it must hold the figures of at least one target")
    for name, found in figures.items():
        if name not in (*TARGETS, "spectral_type", "z_scan"):
            raise RunError(f"{file}: {shorten(name)} is not one of its keys")
        if name not in ("z", "z_scan"):
            _check_group(file, name, found, "accuracy" if name in (*CATEGORIES, "spectral_type") else "r2")
            continue
        for kind, part in json_object(file, name, found).items():
            if kind not in _KINDS:
                raise RunError(f"{file}: {name}.{shorten(kind)} is not one of its keys")
            _check_group(file, f"{name}.{kind}", part)


def _check_group(file: Path, name: str, found: Any, *wanted: str) -> None:
    """Check the figures of one target, or of one kind of redshifts."""
    for key in ("n", "errors", *wanted):
        if key not in json_object(file, name, found):
            raise RunError(f"{file}: {name}.{key} is missing")
    _check_count(file, f"{name}.n", found["n"])
    for key, number in json_object(file, f"{name}.errors", found["errors"]).items():
        if not _is_number(number) or number < 0 or number == math.inf:
            raise RunError(f"{file}: {name}.errors.{key} must be a number of at least 0, got {shorten(number)}")
    for key, value in found.items():
        if key in _PARTS:
            json_object(file, f"{name}.{key}", value)
        elif key != "errors" and not _is_number(value):
            raise RunError(f"{file}: {name}.{key} must be a number, got {shorten(value)}")


def _check_count(file: Path, name: str, value: Any) -> None:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise RunError(f"{file}: {name} must be a whole number of at least 0, got {shorten(value)}")


def _is_number(value: Any) -> bool:
    """Tell whether a JSON value is a number. NaN, which stands for a figure that cannot be measured, is one."""
    return isinstance(value, float) or (type(value) is int and abs(value) < 1 << 63)
