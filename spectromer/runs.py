"""The run folder: the names of its files, and how its documents are written, checked and converted.

A run of `python -m spectromer.train` leaves

- `config.json`: what the run was told (`TrainConfig`);
- `model.json`: what the model is but for its weights (`spectromer.learning.design.Design`);
- `best.safetensors`, `last.safetensors`: the weights of the best epoch; weights and the trainer's state to resume from;
- `calibration.safetensors`: corrections of the model's answers (`spectromer.learning.calibration.Calibration`);
- `metrics.json`, `report.html`, `predictions.parquet`, `plots/`, `tensorboard/`: how good it is;
- `unreadable.csv`: the files that could not be read.

JSON documents carry a version of their schema. Whatever is wrong with one ends in a RunError that names the file and the
rule.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from spectromer.config import TrainConfig
from spectromer.errors import ArgumentError, RunError, SpectromerError
from spectromer.files import atomic
from spectromer.picture import Picture

if TYPE_CHECKING:
    from pydantic import ValidationError
    from torch import Tensor

__all__ = ["SCHEMA", "RunFolder", "parse_document"]

#: Version of the documents that are written. Version 1 had no number; it is converted when it is read.
SCHEMA = 2
T = TypeVar("T")


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
            When the file is missing or is not what `evaluate_predictions` gives.
        """
        saved = _load_json(self.find(self.metrics))
        if isinstance(saved, dict) and "test" not in saved:  # a folder of `spectromer evaluate`
            saved = {"test": saved}
        _check_figures(self.metrics, saved["test"] if isinstance(saved, dict) else saved)
        return saved

    def write_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Write metrics.json."""
        with atomic(self.metrics) as part:
            part.write_text(json.dumps(metrics, indent=2) + "\n")

    def read_weights(self) -> "dict[str, Tensor]":
        """The best weights, under the model's own names."""
        from spectromer.learning.checkpoints import load_weights

        return {name.removeprefix("model."): tensor for name, tensor in load_weights(self.find(self.weights)).items()}

    def _read(self, file: Path, kind: type[T], convert: Callable[[dict[str, Any]], dict[str, Any]]) -> T:
        return parse_document(self.find(file), _load_json(file), kind, convert)

    def _convert_config(self, saved: dict[str, Any]) -> dict[str, Any]:
        """Version 1 of config.json, whose picture stands in model.json."""
        saved["split"], saved["fold_offset"] = saved.pop("shares"), saved.pop("turn")
        style = saved.pop("style")
        options = {"size": saved.pop("size"), "channels": saved.pop("channels"), "panels": saved.pop("panels")}
        options["block"] = saved.pop("block")
        inputs = _load_json(self.model).get("inputs") if self.model.is_file() else None
        inputs = inputs or {"style": style, **{name: value for name, value in options.items() if value is not None}}
        saved["picture"] = json.loads(Picture.of(**inputs).to_json())
        return saved


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

    if not isinstance(saved, dict):
        raise RunError(f"{file}: a JSON object is wanted, the file holds a {type(saved).__name__}")
    version = saved.pop("schema", 1)
    if version == 1:
        try:
            saved = convert(saved)
        except (KeyError, TypeError, AttributeError) as error:
            raise RunError(f"{file}: it has no version and is not of version 1 ({error!r}); train anew") from error
        except SpectromerError as error:
            raise RunError(f"{file}: {error}") from error
    elif version != SCHEMA:
        raise RunError(f"{file}: its schema is of version {version!r}, and this Spectromer reads 1 and {SCHEMA}")
    adapter = TypeAdapter(kind)
    try:
        document = adapter.validate_json(json.dumps(saved), strict=True)
    except ValidationError as error:
        raise RunError(f"{file}: {_sentence(error)}") from error
    missing = _missing(adapter.dump_python(document, mode="json"), saved)
    if missing:
        raise RunError(f"{file}: {missing} is missing")
    return document


def _load_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise RunError(f"{file}: it is not readable as JSON ({error})") from error


def _sentence(error: "ValidationError") -> str:
    """The first fault that was found."""
    fault = error.errors(include_url=False)[0]
    where, message = ".".join(str(part) for part in fault["loc"]), str(fault["msg"]).removeprefix("Value error, ")
    if fault["type"] in ("unexpected_keyword_argument", "missing"):
        return f"{where} is {'missing' if fault['type'] == 'missing' else 'not one of its keys'}"
    got = repr(fault["input"])
    shown = got if len(got) <= 60 else f"{got[:57]}..."
    return f"{where}: {message[0].lower()}{message[1:]}" + ("" if "got" in message else f", got {shown}")


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
    """Version 1 of model.json, which held the options of the picture that were given."""
    inputs = saved.pop("inputs")
    saved["picture"] = json.loads(Picture.of(**inputs).to_json()) if inputs else None
    return saved


def _check_figures(file: Path, figures: Any) -> None:
    """Check the headlines of `evaluate_predictions`, which are shown and compared."""
    groups = {}
    for name, found in _items(file, "test", figures):
        single = isinstance(found, dict) and ("accuracy" in found or "r2" in found)
        groups |= {name: found} if single else {f"{name}.{kind}": part for kind, part in _items(file, name, found)}
    if not groups:
        raise RunError(f"{file}: figures of targets are wanted, the file holds none")
    for name, found in groups.items():
        for key, value in _items(file, name, found):
            numbers = _items(file, f"{name}.errors", value) if key == "errors" else [(key, value)]
            for which, number in numbers:
                if isinstance(number, str | bool | None):
                    raise RunError(f"{file}: {name}.{which} must be a number, got {number!r}")
        if not isinstance(found.get("n"), int):
            raise RunError(f"{file}: {name}.n must be a whole number, got {found.get('n')!r}")


def _items(file: Path, name: str, found: Any) -> list[tuple[str, Any]]:
    if not isinstance(found, dict):
        raise RunError(f"{file}: {name} must be an object of figures, got {found!r}")
    return list(found.items())
