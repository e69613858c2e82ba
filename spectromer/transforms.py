"""The operators as torch modules, to be composed: SpectrumBatch in, SpectrumBatch or images out."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from spectromer.ops import rasterize, resample
from spectromer.ops.scaling import limits
from spectromer.picture import Picture
from spectromer.spectra import SpectrumBatch

__all__ = ["Normalize", "Rasterize", "Resample", "SpectrumToImage"]


class Resample(nn.Module):
    """Bring a batch to one wavelength grid.

    Parameters
    ----------
    grid : Tensor [M]
        Bin centres in Angstrom, increasing.
    method, coverage
        As in `spectromer.resample`.
    """

    def __init__(self, grid: Tensor, *, method: str = "flux_conserving", coverage: float = 0.0) -> None:
        super().__init__()
        self.grid: Tensor
        self.register_buffer("grid", grid.to(torch.float64), persistent=False)
        self.method, self.coverage = method, coverage

    def forward(self, batch: SpectrumBatch) -> SpectrumBatch:
        """SpectrumBatch [B, N] to SpectrumBatch [B, M]."""
        flux, ivar = resample(
            batch.flux, batch.ivar, batch.wavelength, self.grid, method=self.method, coverage=self.coverage
        )
        return replace(batch, flux=flux, ivar=ivar, wavelength=self.grid)


class Normalize(nn.Module):
    """Scale each spectrum so that two percentiles of its good pixels come to 0 and 1; ivar follows.

    Parameters
    ----------
    low, high : float
        Percentiles.
    """

    def __init__(self, low: float = 0.5, high: float = 99.5) -> None:
        super().__init__()
        self.low, self.high = low, high

    def forward(self, batch: SpectrumBatch) -> SpectrumBatch:
        """SpectrumBatch to SpectrumBatch; a spectrum without contrast or good pixels comes out as 0."""
        good = batch.ivar > 0
        bottom, top = limits(batch.flux.masked_fill(~good, torch.nan), "percentile", (self.low, self.high))
        span = torch.where(top > bottom, top - bottom, torch.ones_like(top))
        return replace(
            batch,
            flux=((batch.flux - bottom) / span).masked_fill(~(good & (top > bottom)), 0.0),
            ivar=batch.ivar * span**2,
        )


class Rasterize(nn.Module):
    """`spectromer.rasterize` with its options fixed: y [B, P] (and x) in pixels to uint8 [B, 1, H, W]."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = options

    def forward(self, y: Tensor, x: Tensor | None = None) -> Tensor:
        """Draw the lines."""
        return rasterize(y, x, **self.options)


class SpectrumToImage(nn.Module):
    """`spectromer.render` with its picture fixed and checked: SpectrumBatch to images [B, C, size, size].

    Parameters
    ----------
    picture : Picture, optional
        What is drawn. Without it, the style, the size and the options say so, as in `spectromer.render`.
    style : str
    size : int
    **options
    """

    def __init__(
        self, picture: Picture | None = None, *, style: str = "plot", size: int = 224, **options: Any
    ) -> None:
        super().__init__()
        self.picture = picture or Picture.of(style, size, **options)
        self._options = self.picture.to_json()
        #: Channels of the images.
        self.channels: int = self.picture.image_channels

    def forward(self, batch: SpectrumBatch) -> Tensor:
        """Draw the spectra."""
        images: Tensor = torch.ops.spectromer.render(batch.flux, batch.ivar, batch.wavelength, self._options)
        return images
