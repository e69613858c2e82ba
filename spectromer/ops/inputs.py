"""The inputs of operators: tensors, and what can be converted to them."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from spectromer.errors import ArgumentError

__all__ = ["check_grid", "check_spectra", "single_ivar", "tensor_of"]


def tensor_of(values: Any, name: str, device: torch.device | None = None) -> Tensor:
    """Convert numbers to a tensor.

    Parameters
    ----------
    values : Tensor or array-like
        Real numbers. A tensor is returned as it is; arrays may have any byte order and strides.
    name : str
        Name of the argument, for messages.
    device : torch.device, optional
        Device of the tensor that is made of an array.

    Raises
    ------
    ArgumentError
        If `values` are not plain real numbers.
    """
    if isinstance(values, Tensor):
        if values.is_complex():
            raise ArgumentError(f"{name} must be real, got {values.dtype}")
        return values
    if hasattr(values, "unit") or isinstance(values, np.ma.MaskedArray):
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


def single_ivar(ivar: Tensor) -> Tensor:
    """Inverse variances as float32. What is positive and finite in double precision stays so."""
    single = ivar.detach().to(torch.float32)
    if ivar.dtype != torch.float64:
        return single
    limits = torch.finfo(torch.float32)
    positive = (ivar > 0) & torch.isfinite(ivar)
    return torch.where(positive, single.clamp(limits.tiny, limits.max), single)


def check_spectra(
    flux: Tensor, ivar: Tensor, wavelength: Tensor, offsets: Tensor | None, shift: Tensor | None
) -> tuple[int, bool]:
    """The number of rows of a dense or ragged batch, and whether its wavelength is shared."""
    # (Messages are formatted only when they are needed: for a few spectra this would take longer than the resampling.)
    if offsets is None:
        if flux.ndim != 2:
            raise ArgumentError(f"flux must have shape [B, N], or [T] with offsets; got {tuple(flux.shape)}")
        rows = flux.shape[0]
    else:
        if flux.ndim != 1:
            raise ArgumentError(f"flux must have shape [T] where offsets are given, got {tuple(flux.shape)}")
        if offsets.ndim != 1 or offsets.shape[0] < 1 or offsets.dtype != torch.int64:
            raise ArgumentError(f"offsets must be int64 of shape [B + 1], got {offsets.dtype} {tuple(offsets.shape)}")
        rows = offsets.shape[0] - 1
    if ivar.shape != flux.shape:
        raise ArgumentError(f"ivar must have the shape of flux, {tuple(flux.shape)}, got {tuple(ivar.shape)}")
    if shift is not None:
        if tuple(shift.shape) != (rows,) or shift.dtype != torch.int64:
            raise ArgumentError(
                f"shift must be int64 of shape [B] with B = {rows}, got {shift.dtype} {tuple(shift.shape)}"
            )
        if wavelength.ndim != 1:
            raise ArgumentError(f"wavelength must have shape [N] with shift, got {tuple(wavelength.shape)}")
        shared = True
    elif offsets is None:
        shared = wavelength.ndim == 1
        if wavelength.shape not in (flux.shape[1:], flux.shape):
            raise ArgumentError(
                f"wavelength must have shape [N] or [B, N] with flux [B, N] = {tuple(flux.shape)}, "
                f"got {tuple(wavelength.shape)}"
            )
    else:
        shared = False
        if wavelength.shape != flux.shape:
            raise ArgumentError(
                f"wavelength must have the shape of flux, {tuple(flux.shape)}, or come with shift; "
                f"got {tuple(wavelength.shape)}"
            )
    if (offsets is None or shared) and wavelength.shape[-1] < 2:
        raise ArgumentError(f"wavelength must have at least 2 centres (edges lie between), got {wavelength.shape[-1]}")
    for name, tensor in (("ivar", ivar), ("wavelength", wavelength), ("offsets", offsets), ("shift", shift)):
        if tensor is not None and tensor.device != flux.device:
            raise ArgumentError(f"{name} must be on flux's device, {flux.device}, got {tensor.device}")
    return rows, shared


def check_grid(flux: Tensor, grid: Tensor, rows: int) -> None:
    """Raise ArgumentError unless the grid is [M] or [B, M] and on the device of the spectra."""
    if grid.ndim not in (1, 2) or (grid.ndim == 2 and grid.shape[0] != rows):
        raise ArgumentError(f"grid must have shape [M] or [B, M] with B = {rows}, got {tuple(grid.shape)}")
    if grid.shape[-1] < 2:
        raise ArgumentError(f"grid must have at least 2 centres (edges lie between), got {grid.shape[-1]}")
    if grid.device != flux.device:
        raise ArgumentError(f"grid must be on flux's device, {flux.device}, got {grid.device}")
