"""Backbones are ViTs of timm: where their weights come from, and which pictures they read."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from spectromer.errors import ModelError
from spectromer.learning.backbone import create_backbone, default_picture, default_size, has_published_weights
from spectromer.picture import Picture


def test_local_weights_are_loaded_and_fitted(tmp_path: Path) -> None:
    """A checkpoint of three channels and the model's own size is fitted to one channel and another size."""
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
    with pytest.raises(ModelError, match="is not one of timm's; it has "):
        default_picture("vit_tiny_patch")
    with pytest.raises(ModelError, match="is not a Vision Transformer"):
        default_picture("resnet18")


@pytest.mark.parametrize(("model", "size", "panels"), [("test_vit", 96, 6), ("vit_tiny_patch16_224", 224, 14)])
def test_a_panel_is_as_high_as_a_patch(model: str, size: int, panels: int) -> None:
    picture = default_picture(model, "panels", size)
    backbone = create_backbone(model, size=size, channels=2)
    assert picture == Picture.of("panels", size, panels=panels) and picture.panels == backbone.patch_embed.grid_size[0]
    assert backbone.patch_embed.proj.in_channels == 2


def test_a_picture_has_the_size_that_the_model_was_made_for() -> None:
    assert default_size("vit_nano_patch16_128") == 128 and default_size("test_vit") == 160
    assert default_picture("vit_nano_patch16_128") == Picture.of("strips", 128, panels=8)
    assert default_picture("test_vit", "folded") == Picture.of("folded", 160)


def test_who_publishes_weights() -> None:
    assert has_published_weights("vit_base_patch16_224.dino") and not has_published_weights("vit_nano_patch16_128")
