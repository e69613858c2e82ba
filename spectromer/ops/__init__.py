"""The operators, one file each; importing this registers them as torch.ops.spectromer.*."""

from spectromer.ops.raster import rasterize
from spectromer.ops.render import render
from spectromer.ops.resample import resample

__all__ = ["rasterize", "render", "resample"]
