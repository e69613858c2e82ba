"""What is exported is the model, in another program's hands."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard

from spectromer import Picture, Predictor, SpectrumBatch
from spectromer.export import main as export_main
from spectromer.learning.specformer import SpectrumToSequence
from spectromer.surveys.simulated import simulate
from spectromer.transforms import SpectrumToImage

onnxruntime = pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.filterwarnings("default")


@pytest.mark.parametrize("model", ["test_vit", "specformer"])
def test_exported_is_the_model(model: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    run: Path = request.getfixturevalue("run" if model == "test_vit" else "specformer_run")
    out = tmp_path / "published"
    assert export_main([str(run), "--out", str(out)]) == 0
    batch = SpectrumBatch.from_spectra(list(simulate(7, seed=4)))
    ours, published = Predictor.load(run), Predictor.load(out)
    want = ours.predict(batch)
    for name in ("class_prob_STAR", "z", "z_lo68", "typical"):
        np.testing.assert_array_equal(published.predict(batch)[name], want[name])

    card = ModelCard.load(out / "README.md")
    drawn = re.search(r"^```json\n(.*)\n```$", card.text, flags=re.MULTILINE)
    if model == "test_vit":  # as the card says
        read = SpectrumToImage(Picture.from_json(drawn[1]))(batch)
        assert Picture.from_json(drawn[1]) == ours.design.picture == Picture.of("strips", 64, panels=4)
    else:
        read = SpectrumToSequence()(batch)
        assert drawn is None and ours.design.picture is None
    session = onnxruntime.InferenceSession(out / "model.onnx", providers=["CPUExecutionProvider"])
    names = [found.name for found in session.get_outputs()]
    got = dict(zip(names, session.run(names, {"inputs": read.numpy()}), strict=True))
    with torch.no_grad():
        said = ours.model(read)
    assert names == list(said)
    for name, value in said.items():
        np.testing.assert_allclose(got[name], value.numpy(), rtol=1e-3, atol=1e-4)

    assert card.data.library_name == "spectromer" and "GALAXY, QSO, STAR" in card.text and "accuracy" in card.text
    assert {path.name for path in out.iterdir()} == {
        "README.md",
        "model.json",
        "metrics.json",
        "weights.safetensors",
        "calibration.safetensors",
        "model.onnx",
        "model.pt2",
    }


def test_a_folder_that_is_there_is_left_alone(run: Path, tmp_path: Path, error_line: Callable[..., str]) -> None:
    assert error_line(export_main, [str(run), "--out", str(tmp_path)]) == f"--out {tmp_path} exists already"
    line = error_line(export_main, [str(tmp_path), "--out", str(tmp_path / "new")])
    assert line == f"{tmp_path} is not the folder of a finished run: it holds no model.json"
    assert not list(tmp_path.iterdir())


def test_half_precision_halves_the_folder(run: Path, tmp_path: Path) -> None:
    """The weights are those of the run, rounded, and so are the predictions and the program."""
    out = tmp_path / "half"
    assert export_main([str(run), "--out", str(out), "--half", "--formats", "onnx"]) == 0
    for name in ("weights.safetensors", "calibration.safetensors"):
        assert (out / name).stat().st_size < 0.6 * (run / name).stat().st_size
    whole, half = Predictor.load(run), Predictor.load(out)
    for name, value in half.model.state_dict().items():
        torch.testing.assert_close(value, whole.model.state_dict()[name].half().float(), rtol=0, atol=0)
    batch = SpectrumBatch.from_spectra(list(simulate(7, seed=4)))
    want, found = whole.predict(batch, scan=False), half.predict(batch, scan=False)
    for name in ("class_prob_STAR", "teff", "typical"):
        np.testing.assert_allclose(found[name], want[name], rtol=0.02, atol=0.02)
