"""Breaking the files of a run folder, and what the faults have to end in."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from spectromer.errors import RunError
from spectromer.learning.design import Design
from spectromer.learning.step import TrainingStep
from spectromer.runs import RunFolder

NAN, INF = math.nan, math.inf
GONE: Any = object()
Edit = Callable[[dict[str, Tensor], dict[str, str]], Any]


def set_key(file: Path, keys: str, value: Any) -> None:
    """Set or remove the value at "key.key" in a JSON file."""
    file.write_text(with_key(file.read_text(), keys, value))


def with_key(text: str, keys: str, value: Any) -> str:
    """JSON text with the value at "key.key" set or removed."""
    saved = json.loads(text)
    *above, last = keys.split(".")
    inner = saved
    for key in above:
        inner = inner[key]
    if value is GONE:
        del inner[last]
    else:
        inner[last] = value
    return json.dumps(saved)


def rewrite(file: Path, edit: Edit) -> None:
    """Change the tensors and the metadata of a safetensors file in place."""
    with safe_open(file, framework="pt") as opened:
        tensors = {name: opened.get_tensor(name).clone() for name in opened.keys()}  # noqa: SIM118
        metadata = opened.metadata()
    edit(tensors, metadata)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file, metadata=metadata)


def set_number(keys: str, value: Any) -> Edit:
    """Set or remove the number at "key.key" in the metadata of a calibration."""

    def edit(_: dict[str, Tensor], metadata: dict[str, str]) -> None:
        metadata["numbers"] = with_key(metadata["numbers"], keys, value)

    return edit


def to_version_1(folder: Path) -> None:
    """Turn a run folder into what the version before schemas left."""
    model, config = (json.loads((folder / name).read_text()) for name in ("model.json", "config.json"))
    picture = model.pop("picture")
    kept = {name: picture[name] for name in ("size", "channels", "panels")}
    model["inputs"] = {"style": "panels", **kept}
    config |= {"style": "panels", **kept, "block": None}
    config |= {"shares": config.pop("split"), "turn": config.pop("fold_offset")}
    del model["schema"], config["schema"], config["picture"]
    (folder / "model.json").write_text(json.dumps(model))
    (folder / "config.json").write_text(json.dumps(config))
    rewrite(folder / "calibration.safetensors", set_number("schema", GONE))
    rewrite(folder / "last.safetensors", lambda _, metadata: metadata.pop("digest"))


def make_step(folder: Path) -> TrainingStep:
    """What a resumed run trains."""
    run = RunFolder(folder)
    design, model = Design.read(run)
    return TrainingStep(model, design.transform(), run.read_config(), steps=14)


def refuses(read: Callable[[], object], file: Path, rule: str) -> None:
    """`read` has to end in one sentence that begins with the file and then tells the rule."""
    with pytest.raises(RunError, match=rule) as caught:
        read()
    message = str(caught.value)
    assert message.startswith(f"{file}: ") and "\n" not in message and len(message) < 400, message
