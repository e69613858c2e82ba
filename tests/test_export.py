"""What is exported is the model, in another program's hands."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard

from spectromer import SpectrumBatch, render
from spectromer.export import main as export_main
from spectromer.learning.specformer import SpectrumToSequence
from spectromer.predict import Predictor
from spectromer.surveys.simulated import simulate
from spectromer.train import main as train_main

onnxruntime = pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.filterwarnings("default")


@pytest.mark.parametrize("model", ["test_vit", "specformer"])
def test_exported_is_the_model(model: str, tmp_path: Path) -> None:
    run, out = tmp_path / "run", tmp_path / "published"
    options = ["--model", model, "--no-pretrained", "--simulated", "300", "--epochs", "1", "--targets", "class", "z"]
    if model == "test_vit":
        options += ["--size", "64", "--panels", "4"]
    assert train_main([*options, "--out", str(run)]) == 0
    assert export_main([str(run), "--out", str(out)]) == 0
    batch = SpectrumBatch.from_spectra(list(simulate(7, seed=4)))
    ours, published = Predictor.load(run), Predictor.load(out)
    want = ours.predict(batch)
    for name in ("class_prob_STAR", "z", "z_lo68", "typical"):
        np.testing.assert_array_equal(published.predict(batch)[name], want[name])

    inputs = json.loads((out / "model.json").read_text())["inputs"]  # as the card says
    read = render(batch, **inputs) if model == "test_vit" else SpectrumToSequence(**inputs)(batch)
    session = onnxruntime.InferenceSession(out / "model.onnx", providers=["CPUExecutionProvider"])
    names = [found.name for found in session.get_outputs()]
    got = dict(zip(names, session.run(names, {"inputs": read.numpy()}), strict=True))
    with torch.no_grad():
        said = ours.model(read)
    assert names == list(said)
    for name, value in said.items():
        np.testing.assert_allclose(got[name], value.numpy(), rtol=1e-3, atol=1e-4)

    card = ModelCard.load(out / "README.md")
    assert card.data.library_name == "spectromer" and "GALAXY, QSO, STAR" in card.text and "accuracy" in card.text
    assert {path.name for path in out.iterdir()} == {
        "README.md",
        "model.json",
        "metrics.json",
        "best.safetensors",
        "calibration.safetensors",
        "model.onnx",
        "model.pt2",
    }
