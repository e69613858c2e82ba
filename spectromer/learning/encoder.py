"""The image encoder: a ViT, and the positions of its tokens on the wavelength axis."""

import math
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

from spectromer.config import Pooling
from spectromer.learning.redshift import LogAxis
from spectromer.picture import Picture

__all__ = ["ImageEncoder"]

_PER_TOKEN = 8  # numbers of each token from which the pooling "positions" is computed


class ImageEncoder(nn.Module):
    """A ViT that encodes images of spectra as tokens and their mean.

    Parameters
    ----------
    backbone : VisionTransformer
        The ViT, without its classifier.
    picture : Picture
        Options of the images.
    keep : float
        Fraction of the patches that the ViT reads. Patches with the least ink are dropped before the first block.
    pooling : {"mean", "positions"}
        Features of the image: the mean token, to which "positions" adds a linear function of all tokens that has its
        own weights for each position. Each token is first reduced to 8 numbers.
    """

    def __init__(
        self, backbone: VisionTransformer, picture: Picture, keep: float = 1.0, pooling: Pooling = "mean"
    ) -> None:
        super().__init__()
        self.backbone, self.keep, self.light = backbone, keep, picture.ground == "light"
        self.width: int = backbone.num_features
        cfg: Any = backbone.pretrained_cfg
        # Published means and deviations are those of RGB photographs. The channels of our images share their averages.
        self.mean, self.std = sum(cfg["mean"]) / len(cfg["mean"]), sum(cfg["std"]) / len(cfg["std"])
        embed: Any = backbone.patch_embed
        self.patch: tuple[int, int] = embed.patch_size
        self.axis = LogAxis.of(picture, embed.grid_size, self.patch[1])
        self.prefix: int = backbone.num_prefix_tokens
        self.reduce = self.place = None
        if pooling == "positions":
            self.reduce = nn.Sequential(nn.LayerNorm(self.width), nn.Linear(self.width, _PER_TOKEN))
            self.place = nn.Linear(_PER_TOKEN * math.prod(embed.grid_size), self.width)
            nn.init.zeros_(self.place.weight)
            nn.init.zeros_(self.place.bias)

    @property
    def layers(self) -> nn.Sequential:
        """The transformer's blocks."""
        return self.backbone.blocks

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Encode images uint8 [B, C, H, W].

        Returns
        -------
        tokens : Tensor [B, T, D]
            Tokens of the patches in raster order, 0 for dropped patches. If all patches are kept, they are the output
            of the ViT's `forward_features`.
        pooled : Tensor [B, D]
            Features of the image. With pooling "mean" they are the mean of the tokens that were kept.
        """
        vit: Any = self.backbone
        inputs, prefix = (images.float() / 255.0 - self.mean) / self.std, self.prefix
        if self.keep == 1.0:
            tokens = vit.forward_features(inputs)[:, prefix:]
            return tokens, self._pooled(tokens, tokens.mean(1))
        tokens = vit._pos_embed(vit.patch_embed(inputs))  # as in forward_features, up to patch_drop
        kept = self.kept(images)[:, :, None].expand(-1, -1, self.width)
        read = torch.cat((tokens[:, :prefix], tokens[:, prefix:].gather(1, kept)), 1)
        read = vit.norm(vit.blocks(vit.norm_pre(read)))[:, prefix:]
        empty = torch.zeros_like(tokens[:, prefix:], dtype=read.dtype)
        tokens = empty.scatter(1, kept, read)
        return tokens, self._pooled(tokens, read.mean(1))

    def _pooled(self, tokens: Tensor, mean: Tensor) -> Tensor:
        """The features of the image, given all tokens and the mean of those that were kept."""
        if self.reduce is None or self.place is None:
            return mean
        reduced = self.reduce(tokens)
        if self.keep < 1.0:
            reduced = reduced * (tokens != 0).any(2, keepdim=True)
        added: Tensor = self.place(reduced.flatten(1))
        return mean + added

    def kept(self, images: Tensor) -> Tensor:
        """Indices of the patches of each image that are kept, [B, K], ascending."""
        ink = (255 - images if self.light else images).amax(1, keepdim=True).float()
        ink = functional.avg_pool2d(ink, self.patch).flatten(1)
        return ink.topk(math.ceil(self.keep * ink.shape[1])).indices.sort(1).values
