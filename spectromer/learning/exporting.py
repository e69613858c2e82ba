"""Export of a trained model to a folder for a model hub, with ONNX and torch.export programs."""

import os
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jinja2 import Environment, PackageLoader

from spectromer.errors import ArgumentError, DependencyError, ModelError
from spectromer.files import check_writable, write_tensors, writing
from spectromer.learning.encoder import ImageEncoder
from spectromer.learning.figures import figure, headlines
from spectromer.learning.predictor import Predictor
from spectromer.learning.targets import LOGARITHMIC
from spectromer.runs import RunFolder
from spectromer.spectra import SpectrumBatch
from spectromer.surveys.simulated import simulate

__all__ = ["export"]

_MAX_BATCH = 4096  # largest batch of the exported programs
_TOLERANCE = 1e-3  # relative to the largest output; float32 sums in another order differ by less


def export(
    run: str | os.PathLike[str], out: Path, formats: Sequence[str] = ("onnx", "torch"), half: bool = False
) -> dict[str, float]:
    """Write a folder that `Predictor.load` accepts, with a model card and programs that are checked against the model.

    Parameters
    ----------
    run : Path
        A run folder.
    out : Path
        The folder to create.
    formats : sequence of {"onnx", "torch"}
        Programs to write, model.onnx and model.pt2. Both take the images or sequences [B, ...] that the model reads,
        and return the outputs of `SpectrumModel.forward` by name. They do not include rendering, which the card
        describes.
    half : bool
        Whether weights and calibration are written in half precision. The programs have these weights too.

    Returns
    -------
    dict
        For each program, the largest difference from the model's outputs, divided by the largest output.

    Raises
    ------
    RunError
        If `run` is not a finished run.
    ArgumentError
        If `out` exists.
    DependencyError
        If a package that ONNX needs is not installed.
    ModelError
        If a program does not agree with the model.
    """
    if out.exists():
        raise ArgumentError(f"--out {out} exists already")
    check_writable(out)
    source = RunFolder(run)
    predictor, metrics = Predictor.load(run, device="cpu"), source.read_metrics()
    if "onnx" in formats:
        _require_onnx()
    partial = out.with_name(f"{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with writing(f"--out {out}: the folder", partial):
            differences = _write(source, predictor, metrics, formats, half, partial)
            partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return differences


def _write(
    source: RunFolder, predictor: Predictor, metrics: dict[str, Any], formats: Sequence[str], half: bool, partial: Path
) -> dict[str, float]:
    """Write the files of the folder, and return the differences of the programs from the model."""
    target = RunFolder(partial)
    target.create()
    target.write_model(predictor.design)
    target.write_metrics(metrics)
    source.find(source.calibration)
    predictor.calibration.save(target.calibration, half)
    weights = predictor.model.state_dict()
    if half:
        weights = {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}
        predictor.model.load_state_dict(weights)
    write_tensors(target.weights, weights, {"format": "pt"})

    inputs = _example(predictor)
    batch = torch.export.Dim("batch", min=1, max=_MAX_BATCH)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of torch about its tracing
        program = torch.export.export(predictor.model, (inputs,), dynamic_shapes=({0: batch},))
    checked = torch.cat((inputs, inputs))[1:]  # another batch size than that of the traced inputs
    with torch.no_grad():
        expected = {name: value.numpy() for name, value in predictor.model(checked).items()}
    differences: dict[str, float] = {}
    if "torch" in formats:
        torch.export.save(program, partial / "model.pt2")
        actual = torch.export.load(partial / "model.pt2").module()(checked)
        differences["model.pt2"] = _difference({k: v.detach().numpy() for k, v in actual.items()}, expected)
    if "onnx" in formats:
        differences["model.onnx"] = _difference(_to_onnx(program, inputs, checked, partial / "model.onnx"), expected)
    wrong = {name: value for name, value in differences.items() if not value <= _TOLERANCE}
    if wrong:
        raise ModelError(f"{source.path}: the exported programs do not agree with the model: {wrong}")
    (partial / "README.md").write_text(_card(predictor, metrics, differences))
    return differences


def _example(predictor: Predictor) -> torch.Tensor:
    """Inputs of the model for three simulated spectra."""
    inputs: torch.Tensor = predictor.transform(SpectrumBatch.from_spectra(list(simulate(3, seed=0))))
    return inputs


def _require_onnx() -> None:
    try:
        import onnxruntime
        import onnxscript
    except ImportError as error:
        raise DependencyError(
            "exporting to ONNX requires further packages: pip install 'spectromer[export]'"
        ) from error
    del onnxruntime, onnxscript


def _to_onnx(program: Any, inputs: torch.Tensor, checked: torch.Tensor, path: Path) -> dict[str, np.ndarray]:
    """Write a program as ONNX, and return its outputs for `checked`."""
    import onnxruntime

    names = list(program.module()(inputs))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            program,
            (inputs,),
            path,
            dynamo=True,
            opset_version=18,
            input_names=["inputs"],
            output_names=names,
            external_data=False,
            verbose=False,
        )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return dict(zip(names, session.run(names, {"inputs": checked.numpy()}), strict=True))


def _difference(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> float:
    return max(float(np.abs(actual[name] - expected[name]).max() / np.abs(expected[name]).max()) for name in expected)


def _card(predictor: Predictor, metrics: dict[str, Any], differences: dict[str, float]) -> str:
    """Render the model card."""
    design, model = predictor.design, predictor.model
    redshift = model.head("z") if "z" in model.targets.names else None
    template = Environment(loader=PackageLoader("spectromer.learning"), trim_blocks=True, lstrip_blocks=True)
    return template.get_template("card.md").render(
        design=design,
        options=design.picture.to_json() if design.picture else "",
        images=isinstance(model.encoder, ImageEncoder),
        parameters=sum(p.numel() for p in model.parameters()),
        headlines=list(headlines(metrics["test"])),
        counts=metrics.get("counts"),
        figure=figure,
        first=None if redshift is None else float(redshift.centres[0]),
        step=None if redshift is None else redshift.step,
        differences=differences,
        logarithmic=LOGARITHMIC,
    )
