"""Backbones and where their weights come from, and the redshift head."""

import math
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from spectromer.learning.model import Design, ModelError, ScalarHead, create_backbone
from spectromer.learning.targets import Targets

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
    design = Design(name, image, TARGETS)
    channels, model = design.transform().channels, design.build()
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


def test_only_patches_with_ink_are_read() -> None:
    """With every patch kept it is the ViT as timm runs it; with fewer, what is drawn in the others changes nothing."""
    image = {"style": "plot", "size": 64}
    torch.manual_seed(0)
    whole = Design("test_vit", image, TARGETS).build().eval()
    half = Design("test_vit", image, TARGETS, keep_patches=0.5).build().eval()
    half.load_state_dict(whole.state_dict())
    images = torch.zeros(2, 1, 64, 64, dtype=torch.uint8)
    images[:, :, 16:48, ::3] = 200  # ink in two of four rows of patches
    assert half.encoder.kept(images).tolist() == [list(range(4, 12))] * 2
    tokens, pooled = half.encoder(images)
    assert bool((tokens[:, :4] == 0).all()) and bool((tokens[:, 12:] == 0).all()) and bool((tokens[:, 4:12] != 0).any())
    torch.testing.assert_close(pooled, tokens[:, 4:12].mean(1))
    faint = images.clone()
    faint[:, :, :16] = 20
    assert torch.equal(half.encoder(faint)[1], pooled) and not torch.equal(
        whole.encoder(faint)[1], whole.encoder(images)[1]
    )
    vit = whole.encoder.backbone
    inputs = (images.float() / 255 - whole.encoder.mean) / whole.encoder.std
    torch.testing.assert_close(whole.encoder(images)[0], vit.forward_features(inputs)[:, vit.num_prefix_tokens :])
    light = Design("test_vit", image | {"ground": "light"}, TARGETS, keep_patches=0.5).build()
    assert torch.equal(light.encoder.kept(255 - images), half.encoder.kept(images))


def test_what_another_run_learnt_is_taken_over() -> None:
    """Values of a category by name, numbers in their scale, the redshift where its bins are the same."""
    old = Targets(
        ("class", "subclass", "z", "teff"),
        {"class": ["GALAXY", "QSO", "STAR"], "subclass": ["A", "F", "M"]},
        {},
        {"z": (0.0, 2.0), "teff": (6000.0, 900.0)},
    )
    new = Targets(
        ("subclass", "z", "teff", "logg"),
        {"subclass": ["F", "G", "M"]},
        {},
        {"z": (0.0, 1.0), "teff": (5000.0, 500.0), "logg": (4.0, 1.0)},
    ).following(old)
    assert new.scale == {"z": (0.0, 2.0), "teff": (6000.0, 900.0), "logg": (4.0, 1.0)}
    image = {"style": "panels", "size": 64, "panels": 4}
    teacher, pupil = Design("test_vit", image, old).build(), Design("test_vit", image, new).build()
    fresh = pupil.head("subclass").output.weight[1].clone()
    assert pupil.take_over(teacher.state_dict(), old) == ["subclass", "teff", "z"]
    rows = teacher.head("subclass").output.weight
    assert torch.equal(pupil.head("subclass").output.weight, torch.stack((rows[1], fresh, rows[2])))
    images = torch.randint(0, 256, (2, 1, 64, 64), dtype=torch.uint8)
    theirs, ours = teacher.eval()(images), pupil.eval()(images)
    assert torch.equal(theirs["z"], ours["z"]) and torch.equal(theirs["teff"], ours["teff"])
    with pytest.raises(ModelError, match="encoder is not the one asked for"):
        Design("vit_nano_patch16_128", {"style": "plot", "size": 128}, new).build().take_over(teacher.state_dict(), old)


def test_a_number_is_learnt_with_its_error() -> None:
    """The loss is least at the mean and the scatter of the labels, for a number and for a logarithm."""
    rng = torch.Generator().manual_seed(0)
    for log, mean, scatter in ((False, 4.0, 0.5), (True, 8.7, 0.1)):
        head = ScalarHead(1, mean + 0.1, 2.0, log)
        value = mean + scatter * torch.randn(4000, generator=rng)
        value = value.exp() if log else value
        out = torch.zeros(2, requires_grad=True)
        optimizer = torch.optim.Adam([out], lr=0.05)
        for _ in range(400):
            optimizer.zero_grad()
            head.loss(out.expand(len(value), 2), value).mean().backward()
            optimizer.step()
        found, error = (float(x) for x in head.estimate(out.detach()[None]))
        unit = math.exp(mean) if log else 1.0
        assert found == pytest.approx(math.exp(mean) if log else mean, abs=0.05 * scatter * unit)
        assert error == pytest.approx(scatter * unit, rel=0.05)
