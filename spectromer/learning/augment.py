"""Spectra as they might have been observed: more noise, another calibration, other pixels lost."""

from dataclasses import replace

import torch

from spectromer.spectra import SpectrumBatch

__all__ = ["augment"]

_NOISE = 0.7  # scatter of the added noise, in units of each pixel's own
_TILT = 0.1  # scatter of the slope and the curvature of ln flux over the spectrum's range
_LOST = 0.04  # longest stretch that is masked, of the spectrum's pixels
_STRETCHES = 3


def augment(batch: SpectrumBatch, seed: int) -> SpectrumBatch:
    """A copy of each spectrum that is as likely as the spectrum itself, with its ivar kept true.

    Noise of a times each pixel's own is added, a being half-normal, and ivar divided by 1 + a²; flux is tilted and bent
    as by an error of its calibration, and ivar with it; and up to three stretches are masked. No label changes.

    Parameters
    ----------
    batch : SpectrumBatch
    seed : int
        Decides what is drawn.
    """
    flux, ivar, device = batch.flux, batch.ivar, batch.flux.device
    rows, pixels = flux.shape
    generator = torch.Generator(device).manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, device=device)

    extra = _NOISE * normal(rows, 1).abs()
    sigma = torch.where(ivar > 0, ivar, torch.inf).rsqrt()
    flux, ivar = flux + extra * sigma * normal(rows, pixels), ivar / (1.0 + extra**2)

    x = torch.linspace(-1.0, 1.0, pixels, device=device)
    factor = torch.exp(_TILT * (normal(rows, 1) * x + normal(rows, 1) * x**2))
    flux, ivar = flux * factor, ivar / factor**2

    place = torch.rand((rows, _STRETCHES, 2, 1), generator=generator, device=device)
    begin, length = (place[:, :, 0] * pixels).long(), (place[:, :, 1] * _LOST * pixels).long()
    index = torch.arange(pixels, device=device)
    lost = ((index >= begin) & (index < begin + length)).any(1)
    return replace(batch, flux=flux, ivar=ivar.masked_fill(lost, 0.0))
