"""Every option that a run is told has its range."""

import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from spectromer import Picture
from spectromer.config import PRESETS, BaselineConfig, DataConfig, TrainConfig
from spectromer.errors import ArgumentError

DATA = [
    ({"targets": ()}, "targets must be some of .* each once; got none"),
    ({"targets": ("z", "z")}, "targets must be some of .* each once; got z z"),
    ({"simulated": 0}, "simulated must be at least 1, got 0"),
    ({"split": (0.5, 0.5, 0.5)}, "split must be three fractions above 0 that add up to 1"),
    ({"split": (0.8, 0.2, 0.0)}, "split must be three fractions above 0 that add up to 1"),
    ({"split": (math.nan, 0.5, 0.5)}, "split must be three fractions above 0 that add up to 1"),
    ({"fold_offset": math.inf}, "fold_offset must be finite, got inf"),
    ({"seed": -1}, "seed must be at least 0, got -1"),
]
TRAIN = [
    ({"epochs": 0}, "epochs must be at least 1, got 0"),
    ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
    ({"lr": 0.0}, "lr must be above 0, got 0.0"),
    ({"lr": math.inf}, "lr must be above 0, got inf"),
    ({"save_minutes": -1.0}, "save_minutes must be above 0, got -1.0"),
    ({"layer_decay": 0.0}, r"layer_decay must lie in \(0, 1\], got 0.0"),
    ({"layer_decay": 1.5}, r"layer_decay must lie in \(0, 1\], got 1.5"),
    ({"layer_decay": 0.7, "model": "specformer"}, r"layer_decay is for Vision Transformers, and specformer is none"),
    ({"keep_patches": 0.7, "model": "specformer"}, r"keep_patches is for Vision Transformers, and specformer is none"),
    ({"keep_patches": 0.0}, r"keep_patches must lie in \(0, 1\], got 0.0"),
    ({"keep_patches": 1.01}, r"keep_patches must lie in \(0, 1\], got 1.01"),
    ({"weight_decay": -0.1}, "weight_decay must be at least 0, got -0.1"),
    ({"weight_decay": math.nan}, "weight_decay must be at least 0, got nan"),
    ({"workers": -1}, "workers must be at least 0, got -1"),
    ({"picture": Picture(dtype="float32")}, "dtype must be uint8 for training, got float32"),
]


@pytest.mark.parametrize("kind", [DataConfig, TrainConfig, BaselineConfig])
@pytest.mark.parametrize(("options", "message"), DATA)
def test_data_have_ranges(kind: type[DataConfig], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{message}"):
        kind(**options)


@pytest.mark.parametrize(("options", "message"), TRAIN)
def test_training_has_ranges(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{message}$"):
        TrainConfig(**options)


def test_baselines_have_ranges() -> None:
    with pytest.raises(ArgumentError, match=r"^max_train must be at least 1, got 0$"):
        BaselineConfig(max_train=0)


def test_the_ends_of_the_ranges_are_allowed() -> None:
    TrainConfig(epochs=1, batch_size=1, layer_decay=1.0, keep_patches=1.0, weight_decay=0.0, workers=0, seed=0)
    TrainConfig(simulated=1, fold_offset=-0.4, split=(0.98, 0.01, 0.01), out=Path("run"))
    assert BaselineConfig(max_train=1).methods == ("forest", "svm", "specformer")


def test_presets_are_configurations() -> None:
    names = {field.name for field in fields(TrainConfig)} - {"picture"}
    for style, options in PRESETS.values():
        assert Picture.of(style, 224).dtype == "uint8" and options.keys() <= names
        TrainConfig(**options)
    assert TrainConfig().picture == Picture.of("strips", 128, panels=8)
