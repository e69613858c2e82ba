"""SpecFormer, the 1-D baseline: a transformer over the pixels of a spectrum, like AstroCLIP's spectrum encoder."""

import math

import torch
from torch import Tensor, nn

from spectromer.errors import require
from spectromer.learning.redshift import LogAxis
from spectromer.ops import resample
from spectromer.spectra import SpectrumBatch

__all__ = ["SpecFormer", "SpectrumToSequence"]

_OVERLAP = 2  # length of a patch in strides


class SpectrumToSequence(nn.Module):
    """Resample spectra to one log-linear grid, and standardise each over its good bins. Masked bins are 0.

    Parameters
    ----------
    bins : int
        Number of bins of the grid.
    wavelength_range : (float, float)
        Ends of the grid in Angstrom.
    """

    def __init__(self, *, bins: int = 2050, wavelength_range: tuple[float, float] = (3600.0, 10000.0)) -> None:
        super().__init__()
        self.bins, self.wavelength_range = bins, wavelength_range
        low, high = wavelength_range
        #: Bin width in ln(wavelength).
        self.step = math.log(high / low) / bins
        grid = low * torch.exp(self.step * (torch.arange(bins, dtype=torch.float64) + 0.5))
        self.grid: Tensor
        self.register_buffer("grid", grid, persistent=False)

    def forward(self, batch: SpectrumBatch) -> Tensor:
        """Convert a SpectrumBatch to sequences float32 [B, bins]."""
        flux, ivar = resample(batch.flux, batch.ivar, batch.wavelength, self.grid.to(batch.flux.device))
        good = ivar > 0
        count = good.sum(1, keepdim=True).clamp(min=1)
        mean = flux.masked_fill(~good, 0.0).sum(1, keepdim=True) / count
        centred = (flux - mean).masked_fill(~good, 0.0)
        # A power of two, so that no square of a faint flux in erg/s/cm2/Angstrom vanishes.
        centred = torch.ldexp(centred, -torch.frexp(centred.abs().amax(1, keepdim=True)).exponent)
        std = (centred.square().sum(1, keepdim=True) / count).sqrt()
        return centred / torch.where(std > 0, std, torch.ones_like(std))


class SpecFormer(nn.Module):
    """A transformer over patches of 20 bins that overlap by 10 (Parker et al. 2024, AstroCLIP, section 4.2).

    Parameters
    ----------
    bins : int
        Length of the sequences, a multiple of the stride of 10.
    step : float
        Bin width in ln(wavelength).
    width, depth, heads : int
        Number of features, blocks and attention heads. AstroCLIP's encoder has 768, 6 and 6; the default trains within
        minutes on two CPU cores.

    Raises
    ------
    ArgumentError
        If `bins` is not a multiple of the stride.
    """

    prefix = 0  # number of tokens, such as a class token, that show no part of the spectrum

    def __init__(self, bins: int, step: float, *, width: int = 128, depth: int = 4, heads: int = 4) -> None:
        super().__init__()
        self.width, self.stride = width, 10
        self.patch = self.stride * _OVERLAP
        require(bins % self.stride == 0, f"bins must be a multiple of {self.stride}, got {bins}")
        tokens = bins // self.stride - _OVERLAP + 1
        self.axis = LogAxis(1, tokens, 1, True, self.stride, step, samples=1)
        self.embed = nn.Linear(self.patch, width)
        self.position = nn.Parameter(0.02 * torch.randn(1, tokens, width))
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, depth, norm=nn.LayerNorm(width), enable_nested_tensor=False)

    @property
    def layers(self) -> nn.ModuleList:
        """The transformer's blocks."""
        layers: nn.ModuleList = self.blocks.layers
        return layers

    def forward(self, sequences: Tensor) -> tuple[Tensor, Tensor]:
        """Encode sequences [B, bins] as tokens [B, T, width] along the wavelength axis, and their mean [B, width]."""
        patches = sequences.unfold(1, self.patch, self.stride)
        tokens = self.blocks(self.embed(patches) + self.position)
        return tokens, tokens.mean(1)
