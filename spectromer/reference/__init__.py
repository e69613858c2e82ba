"""Specification of the operators: slow but simple float64 versions in numpy, for tests and for readers."""

from spectromer.reference.chisquare import chi_square
from spectromer.reference.operators import rasterize, render, resample

__all__ = ["chi_square", "rasterize", "render", "resample"]
