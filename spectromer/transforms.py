"""Torch modules around the operators. They take a SpectrumBatch and return a SpectrumBatch or images."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from spectromer.ops import rasterize, resample
from spectromer.ops.inputs import tensor_of
from spectromer.ops.render import draw
from spectromer.ops.resample import MAX_GAP
from spectromer.ops.scaling import limits, rounding
from spectromer.picture import Picture
from spectromer.spectra import SpectrumBatch

__all__ = ["Normalize", "Rasterize", "Resample", "SpectrumToImage"]


class Resample(nn.Module):
    """Resample a batch to one wavelength grid.

    Parameters
    ----------
    grid : Tensor or array [M]
        Bin centres in Angstrom, increasing.
    method : str
        As in `spectromer.resample`.
    coverage : float
        As in `spectromer.resample`.
    max_gap : float, optional
        As in `spectromer.resample`.
    """

    def __init__(
        self,
        grid: Tensor,
        *,
        method: str = "flux_conserving",
        coverage: float = 0.0,
        max_gap: float | None = MAX_GAP,
    ) -> None:
        super().__init__()
        self.grid: Tensor
        self.register_buffer("grid", tensor_of(grid, "grid").detach().to(torch.float64), persistent=False)
        self.options: dict[str, Any] = {"method": method, "coverage": coverage, "max_gap": max_gap}

    def forward(self, batch: SpectrumBatch) -> SpectrumBatch:
        """Resample a SpectrumBatch [B, N] to [B, M]."""
        flux, ivar = resample(batch.flux, batch.ivar, batch.wavelength, self.grid, **self.options)
        return replace(batch, flux=flux, ivar=ivar, wavelength=self.grid)


class Normalize(nn.Module):
    """Scale each spectrum, and its ivar, so that two percentiles of its good pixels become 0 and 1.

    Parameters
    ----------
    low, high : float
        Percentiles that become 0 and 1.
    """

    def __init__(self, low: float = 0.5, high: float = 99.5) -> None:
        super().__init__()
        self.low, self.high = low, high

    def forward(self, batch: SpectrumBatch) -> SpectrumBatch:
        """Scale the spectra. A spectrum that is constant but for rounding, or has no good pixel, becomes 0."""
        flux, ivar = (t if t.dtype == torch.float64 else t.to(torch.float32) for t in (batch.flux, batch.ivar))
        good = (ivar > 0) & torch.isfinite(ivar) & torch.isfinite(flux)
        bottom, top = limits(flux.masked_fill(~good, torch.nan), "percentile", (self.low, self.high))
        scaled = top - bottom > rounding(bottom, top)
        span = torch.where(scaled, top - bottom, torch.ones_like(top))
        return replace(
            batch,
            flux=((flux - bottom) / span).masked_fill(~(good & scaled), 0.0),
            ivar=ivar * span * span,  # in this order, as the square of a faint flux may vanish
        )


class Rasterize(nn.Module):
    """Module of `spectromer.rasterize` with fixed options."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = options

    def forward(self, y: Tensor, x: Tensor | None = None) -> Tensor:
        """Draw lines with heights y [B, P], in pixels, as images uint8 [B, 1, H, W]."""
        return rasterize(y, x, **self.options)


class SpectrumToImage(nn.Module):
    """Module of `spectromer.render` with a fixed picture. It draws a SpectrumBatch as images [B, C, size, size].

    Parameters
    ----------
    picture : Picture, optional
        Options of the picture. Without it, the picture is made from `style`, `size` and `options`.
    style : str
        As in `spectromer.render`.
    size : int
        Height and width of the images in pixels.
    **options
        Further options of `spectromer.picture.Picture`.
    """

    def __init__(self, picture: Picture | None = None, *, style: str = "plot", size: int = 224, **options: Any) -> None:
        super().__init__()
        self.picture = picture or Picture.of(style, size, **options)
        self._options = self.picture.to_json()
        #: Ends of the wavelength axis in Angstrom; None if it is the range of each spectrum.
        self.wavelength_range: tuple[float, float] | None = self.picture.wavelength_range
        #: Number of channels of the images.
        self.channels: int = self.picture.image_channels

    def forward(self, batch: SpectrumBatch) -> Tensor:
        """Draw the spectra."""
        return draw(batch, self._options)
