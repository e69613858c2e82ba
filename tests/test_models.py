"""Backbones and where their weights come from, and the redshift head."""

import math
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from spectromer.data.targets import Targets
from spectromer.models import LogAxis, ModelError, RedshiftHead, SpectrumModel, create_backbone
from spectromer.predict import summarise_redshift

TARGETS = Targets(("class", "z", "teff"), {"class": ["QSO", "STAR"]}, {}, {"z": (0.0, 2.0), "teff": (6000.0, 900.0)})


@pytest.mark.parametrize(
    ("name", "size", "image"),
    [
        ("vit_nano_patch16_128", 128, {"style": "panels", "panels": 8}),
        ("vit_nano_patch16_128", 96, {"style": "panels", "panels": 3}),
        ("vit_tiny_patch16_224", 64, {"style": "overlap"}),
        ("test_vit", 64, {"style": "thesis"}),
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


def axis() -> LogAxis:
    found = LogAxis.of(
        {"layout": "rows", "panels": 4, "wavelength_range": (3600.0, 10000.0), "axis": "log"}, 64, (4, 4), 16
    )
    assert found is not None and found.pixels == 256
    return found


def test_the_redshift_head_is_a_cross_correlation() -> None:
    """Against the sum written out, for every shift; and a shifted spectrum shifts the answer."""
    torch.manual_seed(0)
    head = RedshiftHead(8, axis(), highest=0.5, templates=2)
    tokens = torch.randn(1, 16, 8)
    features = head._sequence(head.unfold(head.norm(tokens)))[0]
    want = torch.zeros(head.bins)
    for k in range(head.bins):
        window = head.kernel[:, head.bins - k : head.bins - k + 256]
        want[k] = 0.1 * (features * window).sum()
    torch.testing.assert_close(head(tokens, torch.zeros(1, 8))[0], want, rtol=1e-4, atol=1e-5)


def test_tokens_unfold_in_the_order_of_wavelength() -> None:
    """Pixel p of the axis comes from panel p // 64, token (p % 64) // 16, column p % 16."""
    for stacked in (True, False):
        a = LogAxis(rows=4, columns=4, panels=4 if stacked else 2, stacked=stacked, patch=16, step=1e-3)
        head = RedshiftHead(8, a, highest=0.5, templates=1)
        per_token = 16 if stacked else 32
        unfolded = torch.arange(16.0)[:, None] * 1000 + torch.arange(float(per_token))
        got = head._sequence(unfolded[None])[0, 0]
        for p in range(a.pixels):
            panel, token, column = p // 64, (p % 64) // 16, p % 16
            if stacked:
                want = 1000.0 * (panel * 4 + token) + column
            else:
                want = 1000.0 * (sum(row * 4 + token for row in range(4)) / 4) + panel * 16 + column
            assert float(got[p]) == pytest.approx(want)


def test_the_loss_is_least_at_the_label() -> None:
    head = RedshiftHead(8, axis(), highest=0.5)
    z = torch.tensor([0.2345])
    position = (math.log1p(0.2345) + 0.01) / head.step
    p = torch.full((1, head.bins), 1e-12, dtype=torch.float64)
    p[0, int(position)], p[0, int(position) + 1] = 1 - position % 1, position % 1
    exact = head.loss(p.log(), z)
    assert float(exact) == pytest.approx(float(-(p[p > 0.01] * p[p > 0.01].log()).sum()), rel=1e-3)
    assert float(head.loss(p.roll(2, 1).log(), z)) > float(exact) + 5.0
    assert float(summarise_redshift(p.log(), head)["z"]) == pytest.approx(0.2345, abs=1e-4)


def test_a_summary_of_a_known_distribution() -> None:
    """A normal distribution in ln(1 + z): mean, 68 % and 95 % intervals."""
    head = RedshiftHead(8, None, highest=3.0)
    mean, sigma = 0.7, 0.02
    p = torch.exp(-0.5 * ((head.centres - mean) / sigma) ** 2)[None]
    found = summarise_redshift((p / p.sum()).log(), head)
    for name, want in (("z", mean), ("z_lo68", mean - 0.99446 * sigma), ("z_hi95", mean + 1.95996 * sigma)):
        assert float(torch.log1p(found[name])) == pytest.approx(want, abs=1e-4), name
