"""Find models by name, in the package or on the Hugging Face hub."""

import os
import re
from pathlib import Path

from spectromer.documents import load_json
from spectromer.errors import RunError
from spectromer.runs import RunFolder
from spectromer.words import first_line

__all__ = ["DEFAULT", "describe_models", "find_model", "packaged_models"]

#: The name of the model that is used if none is given.
DEFAULT = "default"
_MODELS = Path(__file__).resolve().parents[1] / "models"
_ON_HUB = re.compile(r"[\w.-]+/[\w.-]+")


def packaged_models() -> list[str]:
    """The names of the models in the package."""
    return sorted(path.parent.name for path in _MODELS.glob("*/model.json"))


def describe_models() -> str:
    """A line for each model in the package with its targets, its size and the path of its card."""
    lines = []
    for name in packaged_models():
        run = RunFolder(_MODELS / name)
        size = sum(path.stat().st_size for path in run.path.iterdir()) / 1e6
        targets = ", ".join(load_json(run.model)["targets"]["names"])
        lines.append(f"{name}: {targets}; {size:.1f} MB; {run.path / 'README.md'}")
    return "\n".join([*lines, "A model on the Hugging Face hub has the name owner/name."])


def find_model(model: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of a model.

    Parameters
    ----------
    model : str or path-like, optional
        A run folder or a folder of `spectromer export`, the name of a model in the package, or the name "owner/name" of
        a model on the Hugging Face hub, which is downloaded. The default is the package's default model.

    Returns
    -------
    Path
        The folder of the model. Any other path is returned unchanged, and refused when it is read. A path of two parts
        that does not exist is taken for a name on the hub.

    Raises
    ------
    RunError
        If a model cannot be downloaded.
    """
    name = DEFAULT if model is None else os.fspath(model)
    if not Path(name).exists():
        if name in packaged_models():
            return _MODELS / name
        if _ON_HUB.fullmatch(name):
            return _download(name)
    return Path(name)


def _download(name: str) -> Path:
    """Download a model from the hub, or find it in the hub's cache."""
    from huggingface_hub import snapshot_download

    files = RunFolder(name)
    wanted = [path.name for path in (files.model, files.weights, files.calibration, files.metrics)]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted))
    except Exception as error:  # the errors of the hub and of the network have no common base class
        raise RunError(
            f"the model {name} is no folder here, and cannot be downloaded from the Hugging Face hub "
            f"({first_line(error)}): download it elsewhere, and give its folder"
        ) from error
