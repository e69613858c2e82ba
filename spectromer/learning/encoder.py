"""The encoder that reads images: a ViT and where its tokens lie on the wavelength axis."""

import math
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

from spectromer.learning.redshift import LogAxis
from spectromer.picture import Picture

__all__ = ["ImageEncoder"]


class ImageEncoder(nn.Module):
    """A ViT that reads images of spectra: tokens and their mean.

    Parameters
    ----------
    backbone : VisionTransformer
        Without classifier.
    picture : Picture
        What the images show.
    keep : float
        Share of the patches that are read, those with the most ink; the others are dropped before the transformer.
    """

    def __init__(self, backbone: VisionTransformer, picture: Picture, keep: float = 1.0) -> None:
        super().__init__()
        self.backbone, self.keep, self.light = backbone, keep, picture.ground == "light"
        self.width: int = backbone.num_features
        cfg: Any = backbone.pretrained_cfg
        # Published means and deviations are those of photographs in R, G, B; images of lines have one for all.
        self.mean, self.std = sum(cfg["mean"]) / len(cfg["mean"]), sum(cfg["std"]) / len(cfg["std"])
        embed: Any = backbone.patch_embed
        self.patch: tuple[int, int] = embed.patch_size
        self.axis = LogAxis.of(picture, embed.grid_size, self.patch[1])
        self.prefix: int = backbone.num_prefix_tokens

    @property
    def layers(self) -> nn.Sequential:
        """The transformer's blocks."""
        return self.backbone.blocks

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images uint8 [B, C, H, W] to tokens [B, T, D] in raster order, 0 where dropped, and the mean of those read.

        Where every patch is read these are the ViT's own features.
        """
        vit: Any = self.backbone
        inputs, prefix = (images.float() / 255.0 - self.mean) / self.std, self.prefix
        if self.keep == 1.0:
            tokens = vit.forward_features(inputs)[:, prefix:]
            return tokens, tokens.mean(1)
        tokens = vit._pos_embed(vit.patch_embed(inputs))  # as in its forward_features, where patch_drop would come next
        kept = self.kept(images)[:, :, None].expand(-1, -1, self.width)
        read = torch.cat((tokens[:, :prefix], tokens[:, prefix:].gather(1, kept)), 1)
        read = vit.norm(vit.blocks(vit.norm_pre(read)))[:, prefix:]
        everywhere = torch.zeros_like(tokens[:, prefix:], dtype=read.dtype)
        return everywhere.scatter(1, kept, read), read.mean(1)

    def kept(self, images: Tensor) -> Tensor:
        """Which patches of each image are read, [B, K] ascending."""
        ink = (255 - images if self.light else images).amax(1, keepdim=True).float()
        ink = functional.avg_pool2d(ink, self.patch).flatten(1)
        return ink.topk(math.ceil(self.keep * ink.shape[1])).indices.sort(1).values
