"""Spectromer: astronomical spectra drawn as images, fast, and read with Vision Transformers."""

# Run from a checkout, this folder is found before the installed package, but only the latter holds the compiled _C:
# look in both.
import pkgutil

__path__ = pkgutil.extend_path(__path__, __name__)

from typing import TYPE_CHECKING, Any

from spectromer.ops import rasterize, render, resample
from spectromer.spectra import Spectrum, SpectrumBatch

if TYPE_CHECKING:
    from spectromer.readers import ReadError, read

__all__ = ["ReadError", "Spectrum", "SpectrumBatch", "rasterize", "read", "render", "resample"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """The readers need astropy, the operators do not: import them when they are first asked for."""
    if name in ("read", "ReadError"):
        from spectromer import readers

        return getattr(readers, name)
    raise AttributeError(f"module 'spectromer' has no attribute {name!r}")
