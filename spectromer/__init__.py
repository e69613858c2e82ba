"""Spectromer: astronomical spectra drawn as images, fast, and read with Vision Transformers."""

# Run from a checkout, this folder is found before the installed package, but only the latter holds the compiled _C:
# look in both.
import pkgutil

__path__ = pkgutil.extend_path(__path__, __name__)

from spectromer.ops import rasterize, render, resample
from spectromer.readers import ReadError, read
from spectromer.spectra import Spectrum, SpectrumBatch

__all__ = ["ReadError", "Spectrum", "SpectrumBatch", "rasterize", "read", "render", "resample"]
__version__ = "0.1.0"
