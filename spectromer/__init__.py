"""Spectromer: astronomical spectra drawn as images, fast, and read with Vision Transformers."""

# Run from a checkout, this folder is found before the installed package, but only the latter holds the compiled _C:
# look in both.
import pkgutil

__path__ = pkgutil.extend_path(__path__, __name__)

import importlib
from typing import TYPE_CHECKING, Any

from spectromer.errors import ReadError, SpectromerError

if TYPE_CHECKING:
    from spectromer.learning.looking import plot
    from spectromer.learning.predictor import Predictor
    from spectromer.ops.raster import rasterize
    from spectromer.ops.render import render
    from spectromer.ops.resample import resample
    from spectromer.ops.scan import scan_redshift
    from spectromer.picture import Picture
    from spectromer.spectra import Spectrum, SpectrumBatch
    from spectromer.surveys import read

__all__ = [
    "Picture",
    "Predictor",
    "ReadError",
    "SpectromerError",
    "Spectrum",
    "SpectrumBatch",
    "plot",
    "rasterize",
    "read",
    "render",
    "resample",
    "scan_redshift",
]
__version__ = "0.1.0"

# Names that need torch, astropy or timm are imported when they are first asked for.
_HOME = {
    "Picture": "picture",
    "Predictor": "learning.predictor",
    "Spectrum": "spectra",
    "SpectrumBatch": "spectra",
    "plot": "learning.looking",
    "rasterize": "ops",
    "read": "surveys",
    "render": "ops",
    "resample": "ops",
    "scan_redshift": "ops",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'spectromer' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"spectromer.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
