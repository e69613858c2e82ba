"""Augmentation of spectra with noise, flux-calibration errors and masked stretches."""

from dataclasses import replace

import torch

from spectromer.spectra import SpectrumBatch

__all__ = ["augment"]

_NOISE = 0.35  # scale of the half-normal amplitude of the added noise, in units of each pixel's sigma
_TILT = 0.03  # standard deviation of the slope and the curvature added to ln flux
_MAX_MASKED = 0.04  # largest length of a masked stretch, as a fraction of the pixels
_STRETCHES = 3


def augment(batch: SpectrumBatch, generator: torch.Generator) -> SpectrumBatch:
    """Vary each spectrum as another observation would, and keep its ivar consistent with its noise.

    Noise of `a` times the sigma of each pixel is added, with a half-normal `a` for each spectrum, and ivar is divided
    by 1 + a². Flux and ivar are multiplied by a smooth factor, like that of a flux-calibration error. Up to three
    stretches are masked. Labels do not change.

    Parameters
    ----------
    batch : SpectrumBatch
        The spectra.
    generator : torch.Generator
        Generator of the random numbers, on the device of the spectra.

    Returns
    -------
    SpectrumBatch
        The augmented spectra.
    """
    flux, ivar, device = batch.flux, batch.ivar, batch.flux.device
    rows, pixels = flux.shape

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, device=device)

    extra = _NOISE * normal(rows, 1).abs()
    sigma = torch.where(ivar > 0, ivar, torch.inf).rsqrt()
    flux, ivar = flux + extra * sigma * normal(rows, pixels), ivar / (1.0 + extra**2)

    x = torch.linspace(-1.0, 1.0, pixels, device=device)
    factor = torch.exp(_TILT * (normal(rows, 1) * x + normal(rows, 1) * x**2))
    flux, ivar = flux * factor, ivar / factor**2

    uniform = torch.rand((rows, _STRETCHES, 2, 1), generator=generator, device=device)
    begin, length = (uniform[:, :, 0] * pixels).long(), (uniform[:, :, 1] * _MAX_MASKED * pixels).long()
    index = torch.arange(pixels, device=device)
    masked = ((index >= begin) & (index < begin + length)).any(1)
    return replace(batch, flux=flux, ivar=ivar.masked_fill(masked, 0.0))
