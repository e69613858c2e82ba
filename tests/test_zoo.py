"""Models are found by name: in the package, as folders, and on the hub."""

import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest

from spectromer import Predictor
from spectromer.errors import RunError
from spectromer.learning import zoo
from spectromer.surveys.simulated import simulate


def test_a_folder_goes_before_names(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert zoo.find_model(run) == run
    (tmp_path / "owner" / "name").mkdir(parents=True)
    assert zoo.find_model("owner/name") == Path("owner/name")


def test_names_of_the_package(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo, "_MODELS", tmp_path)
    assert zoo.packaged_models() == []
    for name in ("default", "another"):
        shutil.copytree(run, tmp_path / name)
    assert zoo.packaged_models() == ["another", "default"]
    assert zoo.find_model() == zoo.find_model("default") == tmp_path / "default"
    assert zoo.find_model("another") == tmp_path / "another"
    assert Predictor.load().design == Predictor.load(run).design


def test_the_hub_gives_the_files_of_a_model_alone(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[Any]()

    def download(name: str, allow_patterns: list[str]) -> str:
        asked.append((name, sorted(allow_patterns)))
        return str(run)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert Predictor.load("owner/name").design == Predictor.load(run).design
    files = ["calibration.safetensors", "metrics.json", "model.json", "weights.safetensors"]
    assert asked == [("owner/name", files)]


def test_a_failed_download_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(name: str, allow_patterns: list[str]) -> str:
        raise OSError("no network\nmore")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(RunError, match=r"owner/name is no folder here, and cannot be .* \(no network\): download it"):
        Predictor.load("owner/name")


def test_the_default_model_knows_stars_galaxies_and_quasars() -> None:
    """It is in the package, small, and right for most spectra of a survey that it has not seen."""
    folder = zoo.find_model()
    assert zoo.packaged_models() == ["default"] and sum(path.stat().st_size for path in folder.iterdir()) < 8e6
    spectra = list(simulate(120, seed=77))
    table = Predictor.load().predict_all(spectra)
    classes = np.array([s.labels["class"] for s in spectra])
    right = np.asarray(table["class"]) == classes
    assert all(right[classes == kind].mean() >= 0.85 for kind in ("STAR", "GALAXY", "QSO"))
    z = np.array([s.labels["z"] for s in spectra])
    good = np.abs(np.asarray(table["z"]) - z) < 0.003 * (1.0 + z)
    assert good[classes != "STAR"].mean() >= 0.8
