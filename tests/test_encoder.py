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


def test_pooling_by_position_is_linear_in_the_tokens_of_each_place() -> None:
    """It begins as the mean. Then it tells apart what the mean does not, and patches that are not read add nothing."""
    picture = Picture.of("plot", 64)
    torch.manual_seed(0)
    encoder = Design("test_vit", picture, TARGETS, pooling="positions", keep_patches=0.5).build().eval().encoder
    images = torch.zeros(2, 1, 64, 64, dtype=torch.uint8)
    images[:, :, 16:48, ::3] = 200
    tokens, pooled = encoder(images)
    torch.testing.assert_close(pooled, tokens[:, 4:12].mean(1))
    torch.nn.init.normal_(encoder.place.weight)
    reduced = encoder.reduce(tokens)
    weights = encoder.place.weight.unflatten(1, (16, -1))  # [D, patches, 8]
    want = tokens[:, 4:12].mean(1) + torch.einsum("btk,dtk->bd", reduced[:, 4:12], weights[:, 4:12])
    torch.testing.assert_close(encoder(images)[1], want)
    order = torch.tensor([*range(4), *reversed(range(4, 12)), *range(12, 16)])
    assert not torch.allclose(encoder._pooled(tokens[:, order], tokens[:, 4:12].mean(1)), want)
