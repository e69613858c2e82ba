"""The inputs of operators: tensors, and what can be converted to them."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from spectromer.arrays import exchanged, plain, wavelength_of
from spectromer.errors import ArgumentError
from spectromer.forms import batch_of
from spectromer.spectra import SpectrumBatch

__all__ = ["single_ivar", "spectra_of", "tensor_of"]


def tensor_of(values: Any, name: str, device: torch.device | None = None) -> Tensor:
    """Convert numbers to a tensor.

    Parameters
    ----------
    values : Tensor or array-like
        Real numbers. A tensor is returned as it is, and an array that another library shares by DLPack, such as one of
        CuPy or JAX, becomes a tensor on its device. Other arrays may have any byte order and strides.
    name : str
        Name of the argument, for messages.
    device : torch.device, optional
        Device of the tensor that is made of an array.

    Raises
    ------
    ArgumentError
        If `values` are not plain real numbers.
    """
    values = exchanged(values)
    if isinstance(values, Tensor):
        if values.is_complex():
            raise ArgumentError(f"{name} must be real, got {values.dtype}")
        return values
    if _has_mask_or_unit(values):
        raise ArgumentError(
            f"{name} must be plain numbers, got {type(values).__name__}; Spectrum.from_arrays takes units and masks"
        )
    try:
        array = np.asarray(values)
    except ValueError:  # rows of different lengths
        array = np.empty(0, object)
    if array.dtype.kind not in "biuf":
        raise ArgumentError(f"{name} must be a tensor or an array of real numbers, got {type(values).__name__}")
    kinds = {"f": np.dtype(f"f{min(array.dtype.itemsize, 8)}"), "b": np.dtype(bool)}
    return torch.from_numpy(np.array(array, kinds.get(array.dtype.kind, np.dtype(np.int64)), order="C")).to(device)


def _has_mask_or_unit(values: Any) -> bool:
    """Tell whether values are a masked array, a column or quantity of astropy, or an uncertainty."""
    marks = ("unit", "unmasked", "uncertainty_type")
    return not isinstance(values, Tensor) and (
        any(hasattr(values, mark) for mark in marks) or isinstance(values, np.ma.MaskedArray)
    )


def spectra_of(flux: Any, ivar: Any, wavelength: Any, grid: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The tensors of spectra and of a grid in any form; see `spectromer.resample`.

    Raises
    ------
    ArgumentError
        When a form is unknown, or the grid is missing.
    """
    if wavelength is None:  # spectra, and then the grid
        grid = ivar if grid is None else grid
        flux, ivar = batch_of(flux), None
    else:
        wavelength = _converted(wavelength, "wavelength")
        if ivar is None or any(map(_has_mask_or_unit, (flux, ivar, wavelength))):
            flux = batch_of(flux, ivar, wavelength)
    if grid is None:
        raise ArgumentError("grid is missing: resample takes flux, ivar, wavelength and grid, or spectra and grid")
    if isinstance(flux, SpectrumBatch):
        odd = [scale for scale in flux.flux_scale if scale != 1.0]
        if odd:
            raise ArgumentError(
                f"flux and ivar must fit in single precision, got a flux_scale of {odd[0]:g}; "
                "spectromer.transforms.Resample keeps it"
            )
        flux, ivar, wavelength = flux.flux, flux.ivar, flux.wavelength
    flux = tensor_of(flux, "flux")
    grid = _converted(grid, "grid")
    if _has_mask_or_unit(grid):
        raise ArgumentError(f"grid must have no masked bins, got {type(grid).__name__}")
    ivar, wavelength, grid = (
        tensor_of(values, name, flux.device)
        for name, values in (("ivar", ivar), ("wavelength", wavelength), ("grid", grid))
    )
    return flux, ivar, wavelength, grid


def _converted(axis: Any, name: str) -> Any:
    """Wavelengths with a unit in Angstrom; others, and those of which some are masked, as they are."""
    if not _has_mask_or_unit(axis):
        return axis
    found = plain(axis, name)
    return axis if found.mask is not None and found.mask.any() else wavelength_of(found)


def single_ivar(ivar: Tensor) -> Tensor:
    """Inverse variances as float32. What is positive and finite in double precision stays so."""
    single = ivar.detach().to(torch.float32)
    if ivar.dtype != torch.float64:
        return single
    limits = torch.finfo(torch.float32)
    positive = (ivar > 0) & torch.isfinite(ivar)
    return torch.where(positive, single.clamp(limits.tiny, limits.max), single)
