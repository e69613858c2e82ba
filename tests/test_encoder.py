"""The encoder reads the patches of an image that have the most ink."""

from dataclasses import replace

import torch

from spectromer.learning.design import Design
from spectromer.learning.targets import Targets
from spectromer.picture import Picture

TARGETS = Targets(("class",), {"class": ["QSO", "STAR"]})


def test_only_patches_with_ink_are_read() -> None:
    """With every patch it is the ViT as timm runs it; with fewer, what is drawn in the others changes nothing."""
    picture = Picture.of("plot", 64)
    torch.manual_seed(0)
    whole = Design("test_vit", picture, TARGETS).build().eval()
    half = Design("test_vit", picture, TARGETS, keep_patches=0.5).build().eval()
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
    light = Design("test_vit", replace(picture, ground="light"), TARGETS, keep_patches=0.5).build()
    assert torch.equal(light.encoder.kept(255 - images), half.encoder.kept(images))
