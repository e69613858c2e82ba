"""Range of flux that a picture shows."""

import torch
from torch import Tensor

from spectromer.ops._native import _C

__all__ = ["ROUNDING", "limits", "rounding"]

#: Values that differ by less than this fraction of them differ by rounding.
ROUNDING = float(_C.rounding)


def rounding(bottom: Tensor, top: Tensor) -> Tensor:
    """Compute the rounding of fluxes between two limits, and of their derivatives.

    If the limits of a scale differ by no more than it, the picture is flat.
    """
    return ROUNDING * torch.maximum(bottom.abs(), top.abs())


def limits(flux: Tensor, scale: str | tuple[float, float], percentiles: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Compute the flux at the bottom and the top of a picture.

    Parameters
    ----------
    flux : Tensor [..., N]
        Flux, NaN where masked.
    scale : {"percentile", "minmax"} or (float, float)
        As in `spectromer.picture.Picture`.
    percentiles : (float, float)
        Percentiles at the bottom and the top, with numpy's linear interpolation.

    Returns
    -------
    bottom, top : Tensor [..., 1]
        Limits along the last axis; [1] if the scale is fixed.
    """
    if isinstance(scale, tuple):
        return flux.new_full((1,), scale[0]), flux.new_full((1,), scale[1])
    good = ~flux.isnan()
    if scale == "minmax":
        bottom = flux.masked_fill(~good, torch.inf).amin(-1, keepdim=True)
        top = flux.masked_fill(~good, -torch.inf).amax(-1, keepdim=True)
        return bottom, top
    ordered = flux.masked_fill(~good, torch.inf).sort(-1).values
    last = (good.sum(-1, keepdim=True) - 1).clamp(min=0)

    def at(percentile: float) -> Tensor:
        position = percentile / 100.0 * last.to(torch.float64)
        below = position.floor().to(torch.int64)
        a, b = ordered.gather(-1, below), ordered.gather(-1, torch.minimum(below + 1, last))
        return a + (b - a) * (position - below).to(a.dtype)

    return at(percentiles[0]), at(percentiles[1])
