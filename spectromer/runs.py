"""The run folder: the names of its files, and how its documents are written, checked and converted.

A run of `python -m spectromer.train` leaves

- `config.json`: what the run was told (`TrainConfig`);
- `model.json`: what the model is but for its weights (`spectromer.learning.design.Design`);
- `best.safetensors`, `last.safetensors`: the weights of the best epoch; weights and the trainer's state to resume from;
- `calibration.safetensors`: corrections of the model's answers (`spectromer.learning.calibration.Calibration`);
- `metrics.json`, `report.html`, `predictions.parquet`, `plots/`, `tensorboard/`: how good it is;
- `unreadable.csv`: the files that could not be read.

JSON documents carry a version of their schema. Whatever is wrong with one ends in a RunError that names the file and
the rule.
"""

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from spectromer.config import TrainConfig
from spectromer.errors import ArgumentError, RunError, require
from spectromer.files import atomic, read_tensors
from spectromer.labels import CATEGORIES, CLASSES, TARGETS
from spectromer.picture import STYLES, Picture, Quantity

if TYPE_CHECKING:
    from pydantic import ValidationError
    from torch import Tensor

__all__ = ["SCHEMA", "TRAINER", "RunFolder", "load_weights", "parse_document", "parse_json"]

#: Version of the documents that are written. Version 1 had no number; it is converted when it is read.
SCHEMA = 2
#: Beginning of the names of tensors in a checkpoint that are no weights, but belong to the trainer's state.
TRAINER = "trainer."
T = TypeVar("T")

_KINDS = (*(name.lower() for name in CLASSES), "flagged")  # of redshifts, in metrics.json
_PARTS = ("by_value", "by_survey", "by_snr", "reliability", "flagged")  # objects among the figures of a target


class RunFolder:
    """The files of one run."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.config = self.path / "config.json"
        self.model = self.path / "model.json"
        self.weights = self.path / "best.safetensors"
        self.last = self.path / "last.safetensors"
        self.calibration = self.path / "calibration.safetensors"
        self.metrics = self.path / "metrics.json"
        self.predictions = self.path / "predictions.parquet"
        self.unreadable = self.path / "unreadable.csv"
        self.plots = self.path / "plots"

    def create(self, option: str = "--out") -> None:
        """Make the folder where it is missing.

        Raises
        ------
        ArgumentError
            When it cannot be made; `option` is what named it.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ArgumentError(f"{option} {self.path}: the folder cannot be made ({error.strerror})") from error

    def find(self, file: Path) -> Path:
        """A file of this folder that has to be there.

        Raises
        ------
        RunError
            When it is missing.
        """
        if not file.is_file():
            raise RunError(f"{self.path} is not the folder of a finished run: it holds no {file.name}")
        return file

    def read_config(self) -> TrainConfig:
        """What the run was told."""
        return self._read(self.config, TrainConfig, self._convert_config)

    def write_config(self, config: TrainConfig) -> None:
        """Write config.json."""
        write_document(self.config, config)

    def read_model(self, kind: type[T]) -> T:
        """What the model is, as a dataclass of this kind."""
        return self._read(self.model, kind, _convert_model)

    def write_model(self, design: Any) -> None:
        """Write model.json."""
        write_document(self.model, design)

    def read_metrics(self) -> dict[str, Any]:
        """What metrics.json holds. "test" are the figures of `evaluate_predictions`, one entry for each target.

        Raises
        ------
        RunError
            When the file is missing, or its figures are not those that `evaluate_predictions` gives.
        """
        saved = _object(self.metrics, "the document", _load_json(self.find(self.metrics)))
        if "test" not in saved:  # a folder of `spectromer evaluate`
            saved = {"test": saved}
        _check_figures(self.metrics, saved["test"])
        for name, count in _object(self.metrics, "counts", saved.get("counts", {})).items():
            _check_count(self.metrics, f"counts.{name}", count)
        return saved

    def write_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Write metrics.json."""
        with atomic(self.metrics) as part:
            part.write_text(json.dumps(metrics, indent=2) + "\n")

    def read_weights(self) -> "dict[str, Tensor]":
        """The best weights, under the model's own names."""
        loaded = load_weights(self.find(self.weights))
        weights = {name.removeprefix("model."): tensor for name, tensor in loaded.items()}
        if len(weights) < len(loaded):
            raise RunError(f"{self.weights}: every tensor must stand there once, with or without the prefix 'model.'")
        return weights

    def _read(self, file: Path, kind: type[T], convert: Callable[[dict[str, Any]], dict[str, Any]]) -> T:
        return parse_document(self.find(file), _load_json(file), kind, convert)

    def _convert_config(self, saved: dict[str, Any]) -> dict[str, Any]:
        """Version 1 of config.json, whose picture stands in model.json."""
        saved["split"], saved["fold_offset"] = saved.pop("shares"), saved.pop("turn")
        options = {field.name: saved.pop(field.name) for field in fields(_FirstOptions)}
        parse_document(self.config, {"schema": SCHEMA, **options}, _FirstOptions, lambda first: first)
        model = _object(self.model, "the document", _load_json(self.find(self.model)))
        if "schema" not in model:
            model = _convert(self.model, model, _convert_model)
        found, picture = model.get("picture"), TrainConfig.picture
        if found is not None:
            picture = parse_document(
                self.model, {"schema": SCHEMA, **_object(self.model, "picture", found)}, Picture, lambda first: first
            )
        saved["picture"] = json.loads(picture.to_json())
        return saved


@dataclass(frozen=True)
class _FirstOptions:
    """The options that version 1 of config.json had in place of a picture; model.json says what came of them."""

    style: str
    size: int | None
    channels: tuple[Quantity, ...]
    panels: int | None
    block: int | None

    def __post_init__(self) -> None:
        _check_style(self.style)


def load_weights(file: Path) -> "dict[str, Tensor]":
    """The weights in a checkpoint, under their names there, without the tensors of the trainer's state.

    Raises
    ------
    RunError
        When the file is no safetensors file, or is cut off.
    """
    return {name: tensor for name, tensor in read_tensors(file)[0].items() if not name.startswith(TRAINER)}


def write_document(file: Path, document: Any) -> None:
    """Write a dataclass as a JSON document with the version of its schema."""
    from pydantic import TypeAdapter

    saved = {"schema": SCHEMA, **TypeAdapter(type(document)).dump_python(document, mode="json")}
    with atomic(file) as part:
        part.write_text(json.dumps(saved, indent=2) + "\n")


def parse_document(file: Path, saved: Any, kind: type[T], convert: Callable[[dict[str, Any]], dict[str, Any]]) -> T:
    """A dataclass from a JSON document: checked for its version, its keys, and the types and ranges of its values.

    Parameters
    ----------
    file : Path
        Where the document comes from.
    saved
        The document.
    kind : type
        The dataclass.
    convert : callable
        Turns version 1 of the document into the present one.

    Raises
    ------
    RunError
        When anything is wrong with it.
    """
    from pydantic import TypeAdapter, ValidationError

    saved = dict(_object(file, "the document", saved))
    version = saved.pop("schema", 1)
    if type(version) is not int or version not in (1, SCHEMA):
        raise RunError(f"{file}: its schema is of version {version!r}, and this Spectromer reads 1 and {SCHEMA}")
    if version == 1:
        saved = _convert(file, saved, convert)
    adapter = TypeAdapter(kind)
    try:
        document = adapter.validate_json(json.dumps(saved), strict=True)
    except ValidationError as error:
        raise RunError(f"{file}: {_sentence(error, saved)}") from error
    missing = _missing(adapter.dump_python(document, mode="json"), saved)
    if missing:
        raise RunError(f"{file}: {missing} is missing")
    return document


def parse_json(file: Path, text: str) -> Any:
    """What JSON text that stands in `file` says.

    Raises
    ------
    RunError
        When it is not JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RunError(f"{file}: it is not readable as JSON ({error})") from error


def _convert(file: Path, saved: dict[str, Any], convert: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    try:
        return convert(saved)
    except KeyError as error:
        raise RunError(f"{file}: it has neither a schema nor {error.args[0]}, which version 1 has") from error
    except ArgumentError as error:
        raise RunError(f"{file}: {error}") from error


def _load_json(file: Path) -> Any:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{file}: it is not readable as text ({error})") from error
    return parse_json(file, text)


def _object(file: Path, name: str, found: Any) -> dict[str, Any]:
    """`found`, which must be a JSON object."""
    if not isinstance(found, dict):
        raise RunError(f"{file}: {name} must be a JSON object, got {_shown(found)}")
    return found


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _sentence(error: "ValidationError", saved: dict[str, Any]) -> str:
    """The first fault that was found in the document `saved`."""
    faults = error.errors(include_url=False)
    first = faults[0]
    if first["type"] in ("unexpected_keyword_argument", "missing"):
        name = ".".join(str(part) for part in first["loc"])
        return f"{_shown(name)[1:-1]} is {'missing' if first['type'] == 'missing' else 'not one of its keys'}"
    where = _place(first["loc"], saved)
    # A value that may be of several types has a fault for each of them.
    here = (str(fault["msg"]).removeprefix("Value error, ") for fault in faults if _place(fault["loc"], saved) == where)
    message = ", or ".join(dict.fromkeys(f"{text[0].lower()}{text[1:]}" for text in here))
    name = f"{'.'.join(where)}: " if where else ""
    return f"{name}{message}" + ("" if "got" in message else f", got {_shown(first['input'])}")


def _place(loc: tuple[int | str, ...], saved: Any) -> list[str]:
    """The keys that lead to a fault. Pydantic names the types of a union among them."""
    keys = []
    for part in loc:
        try:
            saved = saved[part]
        except (LookupError, TypeError):
            break
        keys.append(str(part))
    return keys


def _missing(wanted: Any, saved: Any, where: str = "") -> str:
    """The first key of `wanted` that `saved` lacks, with the keys above it; empty where there is none."""
    if not isinstance(wanted, dict) or not isinstance(saved, dict):
        return ""
    for key, value in wanted.items():
        if key not in saved:
            return f"{where}{key}"
        if found := _missing(value, saved[key], f"{where}{key}."):
            return found
    return ""


def _convert_model(saved: dict[str, Any]) -> dict[str, Any]:
    """Version 1 of model.json, which held the style of the picture and the options that were given."""
    inputs = saved.pop("inputs")
    require(isinstance(inputs, dict), f"inputs must be a JSON object, got {_shown(inputs)}")
    saved["picture"] = None
    if inputs:
        style, size = inputs.pop("style"), inputs.pop("size")
        _check_style(style)
        saved["picture"] = json.loads(Picture.of(style, 224).to_json()) | inputs | {"size": size}
    return saved


def _check_style(style: Any) -> None:
    require(isinstance(style, str) and style in STYLES, f"style must be one of {tuple(STYLES)}, got {_shown(style)}")


def _check_figures(file: Path, figures: Any) -> None:
    """Check what `evaluate_predictions` gave."""
    if not _object(file, "test", figures):
        raise RunError(f"{file}: figures of targets are wanted, the file holds none")
    for name, found in figures.items():
        if name not in TARGETS:
            raise RunError(f"{file}: {_shown(name)} is not one of its keys")
        if name != "z":
            _check_group(file, name, found, "accuracy" if name in CATEGORIES else "r2")
            continue
        for kind, part in _object(file, name, found).items():
            if kind not in _KINDS:
                raise RunError(f"{file}: {name}.{_shown(kind)} is not one of its keys")
            _check_group(file, f"{name}.{kind}", part)


def _check_group(file: Path, name: str, found: Any, *wanted: str) -> None:
    """Check the figures of one target, or of one kind of redshifts."""
    for key in ("n", "errors", *wanted):
        if key not in _object(file, name, found):
            raise RunError(f"{file}: {name}.{key} is missing")
    _check_count(file, f"{name}.n", found["n"])
    for key, number in _object(file, f"{name}.errors", found["errors"]).items():
        if not _is_number(number) or number < 0 or number == math.inf:
            raise RunError(f"{file}: {name}.errors.{key} must be a number of at least 0, got {_shown(number)}")
    for key, value in found.items():
        if key in _PARTS:
            _object(file, f"{name}.{key}", value)
        elif key != "errors" and not _is_number(value):
            raise RunError(f"{file}: {name}.{key} must be a number, got {_shown(value)}")


def _check_count(file: Path, name: str, value: Any) -> None:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise RunError(f"{file}: {name} must be a whole number of at least 0, got {_shown(value)}")


def _is_number(value: Any) -> bool:
    """Whether JSON holds a number there; NaN is one, which stands for what cannot be measured."""
    return isinstance(value, float) or (type(value) is int and abs(value) < 1 << 63)
