"""Tables of numbers that the operators read, made from the options of a picture."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from spectromer.picture import Picture, broadcast

__all__ = ["DTYPES", "Tables", "wavelength_grid"]

DTYPES = {"uint8": torch.uint8, "float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Tables:
    """Options of a picture as tensors on one device.

    Attributes
    ----------
    alpha : Tensor [planes] float32
        Opacity of each plane.
    inks : Tensor [planes, 3] float32, optional
        Levels of R, G and B of each plane's colour.
    colormap : Tensor [256, 3] uint8, optional
        Levels of R, G and B for each grey level.
    factor, offset : Tensor [channels] float32
        Coefficients of the output factor * level + offset. A uint8 output is the level itself.
    """

    alpha: Tensor
    inks: Tensor | None
    colormap: Tensor | None
    factor: Tensor
    offset: Tensor

    @classmethod
    def of(cls, picture: Picture, device: torch.device | str = "cpu") -> "Tables":
        """Return the tables of a picture on a device. They are cached."""
        return _tables(picture, device)


@lru_cache(maxsize=64)
def _tables(picture: Picture, device: torch.device | str) -> Tables:
    inks = colormap = None
    if picture.colors is not None:
        from matplotlib.colors import to_rgb

        inks = 255.0 * torch.tensor([to_rgb(color) for color in picture.colors])
    if picture.colormap is not None:
        import matplotlib

        colormap = torch.from_numpy(matplotlib.colormaps[picture.colormap](range(256), bytes=True)[:, :3].copy())
    count = picture.image_channels
    mean = torch.tensor(broadcast(picture.mean, count, "mean", "channel"), dtype=torch.float64)
    std = torch.tensor(broadcast(picture.std, count, "std", "channel"), dtype=torch.float64)
    return Tables(
        alpha=torch.tensor(broadcast(picture.alpha, picture.planes, "alpha", "plane"), dtype=torch.float32).to(device),
        inks=None if inks is None else inks.to(device),
        colormap=None if colormap is None else colormap.to(device),
        factor=(1.0 / (255.0 * std)).float().to(device),
        offset=((0.0 - mean) / std).float().to(device),  # +0, not -0, for a mean of 0
    )


@lru_cache(maxsize=64)
def wavelength_grid(picture: Picture, device: torch.device | str = "cpu") -> Tensor | None:
    """Bin centres in Angstrom, [bins] float64, panel after panel; None if native pixels are drawn."""
    if picture.wavelength_range is None:
        return None
    low, high = picture.wavelength_range
    # The grid is computed on the CPU and copied, so that it is the same on all devices and any stream can read it. It
    # must not be an inference tensor: those have no version counter, which BinPlans needs.
    with torch.inference_mode(False):
        fraction = (torch.arange(picture.bins, dtype=torch.float64) + 0.5) / picture.bins
        centres = low + (high - low) * fraction if picture.axis == "linear" else low * (high / low) ** fraction
        return centres.to(device)
