"""A design puts any model around any picture, and refuses what does not fit together."""

import math
from typing import Any

import pytest
import torch

from spectromer.errors import ModelError
from spectromer.learning.backbone import create_backbone
from spectromer.learning.design import Design
from spectromer.learning.specformer import SpecFormer, SpectrumToSequence
from spectromer.learning.targets import Targets
from spectromer.picture import Picture
from spectromer.transforms import SpectrumToImage

TARGETS = Targets(("class", "z", "teff"), {"class": ["QSO", "STAR"]}, {}, {"z": (0.0, 2.0), "teff": (6000.0, 900.0)})


@pytest.mark.parametrize(
    ("name", "picture"),
    [
        ("vit_nano_patch16_128", Picture.of("panels", 128, panels=8)),
        ("vit_nano_patch16_128", Picture.of("panels", 96, panels=3)),
        ("vit_tiny_patch16_224", Picture.of("overlap", 64)),
        ("test_vit", Picture.of("thesis-plot", 64)),
    ],
)
def test_any_vit_of_timm_takes_any_image(name: str, picture: Picture) -> None:
    design = Design(name, picture, TARGETS)
    model = design.build()
    out = model(torch.randint(0, 256, picture.shape(2), dtype=torch.uint8))
    assert out["class"].shape == (2, 2) and out["teff"].shape == (2, 2)
    assert out["z"].shape == (2, model.head("z").bins)
    labels = {"class": torch.tensor([1, -1]), "z": torch.tensor([0.5, math.nan]), "teff": torch.full((2,), math.nan)}
    sums, counts = model.losses(out, labels)
    at = TARGETS.names.index("teff")
    assert sums[at].item() == counts[at].item() == 0.0 and bool(torch.isfinite(sums).all())
    sums.sum().backward()
    assert all(p.grad is None or bool(torch.isfinite(p.grad).all()) for p in model.parameters())


def test_the_transform_is_what_the_encoder_reads() -> None:
    picture = Picture.of("plot", 64)
    drawing = Design("test_vit", picture, TARGETS).transform()
    assert isinstance(drawing, SpectrumToImage) and drawing.picture == picture
    design = Design("specformer", None, TARGETS)
    assert isinstance(design.transform(), SpectrumToSequence) and isinstance(design.build().encoder, SpecFormer)


def test_a_backbone_that_is_there_is_taken() -> None:
    backbone = create_backbone("test_vit", size=64, channels=1)
    assert Design("test_vit", Picture.of("plot", 64), TARGETS).build(backbone).encoder.backbone is backbone


@pytest.mark.parametrize(
    ("model", "picture", "options", "message"),
    [
        ("test_vit", None, {}, "a picture is for models other than specformer, got test_vit and None"),
        ("specformer", Picture.of("plot", 64), {}, "a picture is for models other than specformer"),
        ("test_vit", Picture.of("plot", 64, dtype="float32"), {}, "dtype must be uint8 .*, got float32"),
        ("test_vit", Picture.of("plot", 64), {"keep_patches": 0.0}, r"keep_patches must lie in \(0, 1\], got 0.0"),
        ("test_vit", Picture.of("plot", 64), {"keep_patches": 1.5}, r"keep_patches must lie in \(0, 1\], got 1.5"),
    ],
)
def test_what_does_not_fit_together(model: str, picture: Picture | None, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Design(model, picture, TARGETS, **options)
