"""The operators, one file each; importing this registers the native ones as torch.ops.spectromer.*."""

from spectromer.ops.raster import rasterize
from spectromer.ops.render import render
from spectromer.ops.resample import resample
from spectromer.ops.scan import RedshiftScan, scan_redshift

__all__ = ["RedshiftScan", "rasterize", "render", "resample", "scan_redshift"]
