"""Backbones and where their weights come from, and the redshift head."""

import math
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from spectromer.data.targets import Targets
from spectromer.models import ModelError, SpectrumModel, create_backbone

TARGETS = Targets(("class", "z", "teff"), {"class": ["QSO", "STAR"]}, {}, {"z": (0.0, 2.0), "teff": (6000.0, 900.0)})


@pytest.mark.parametrize(
    ("name", "size", "image"),
    [
        ("vit_nano_patch16_128", 128, {"style": "panels", "panels": 8}),
        ("vit_nano_patch16_128", 96, {"style": "panels", "panels": 3}),
        ("vit_tiny_patch16_224", 64, {"style": "overlap"}),
        ("test_vit", 64, {"style": "thesis-plot"}),
    ],
)
def test_any_vit_of_timm_takes_any_image(name: str, size: int, image: dict) -> None:
    image = image | {"size": size}
    channels = 3 if image["style"] == "overlap" else 1
    model = SpectrumModel(create_backbone(name, size=size, channels=channels), TARGETS, image)
    out = model(torch.randint(0, 256, (2, channels, size, size), dtype=torch.uint8))
    assert out["class"].shape == (2, 2) and out["teff"].shape == (2, 2)
    assert out["z"].shape == (2, model.head("z").bins)
    labels = {"class": torch.tensor([1, -1]), "z": torch.tensor([0.5, math.nan]), "teff": torch.full((2,), math.nan)}
    losses = model.losses(out, labels)
    assert losses["teff"].item() == 0.0 and all(bool(torch.isfinite(v)) for v in losses.values())
    sum(losses.values()).backward()
    assert all(p.grad is None or bool(torch.isfinite(p.grad).all()) for p in model.parameters())


def test_local_weights_are_loaded_and_fitted(tmp_path: Path) -> None:
    """A three-channel checkpoint of the model's home size, into one channel and another size."""
    source = timm.create_model("test_vit", num_classes=10)
    path = tmp_path / "weights.safetensors"
    save_file(source.state_dict(), path)
    model = create_backbone("test_vit", size=96, channels=1, checkpoint=path)
    assert torch.equal(model.blocks[0].attn.qkv.weight, source.blocks[0].attn.qkv.weight)
    torch.testing.assert_close(
        model.patch_embed.proj.weight, source.patch_embed.proj.weight.sum(1, keepdim=True), rtol=1e-5, atol=1e-5
    )
    same = create_backbone("test_vit", size=160, channels=3, checkpoint=path)
    assert torch.equal(same.pos_embed, source.pos_embed)


def test_weights_that_cannot_be_had_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=r"could not be downloaded .* --checkpoint FILE.safetensors") as error:
        create_backbone("vit_base_patch16_224.dino", size=224, channels=1, pretrained=True)
    assert "\n" not in str(error.value)
    (tmp_path / "a.pth").write_bytes(b"pickle")
    with pytest.raises(ModelError, match=r"read from .safetensors files alone"):
        create_backbone("test_vit", size=160, channels=3, checkpoint=tmp_path / "a.pth")
    with pytest.raises(ModelError, match="no such file"):
        create_backbone("test_vit", size=160, channels=3, checkpoint=tmp_path / "a.safetensors")
    save_file({"other": torch.zeros(2)}, tmp_path / "b.safetensors")
    with pytest.raises(ModelError, match="not weights of test_vit"):
        create_backbone("test_vit", size=160, channels=3, checkpoint=tmp_path / "b.safetensors")


def test_models_that_are_none() -> None:
    with pytest.raises(ModelError, match="is not one of timm's"):
        create_backbone("vit_enormous", size=224, channels=1)
    with pytest.raises(ModelError, match="is not a Vision Transformer"):
        create_backbone("resnet18", size=224, channels=1)
    with pytest.raises(ModelError, match="could not be made for -100-pixel images"):
        create_backbone("test_vit", size=-100, channels=1)
