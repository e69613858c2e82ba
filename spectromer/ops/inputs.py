"""The inputs of operators: tensors, and what can be converted to them."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from spectromer.errors import ArgumentError

__all__ = ["single_ivar", "tensor_of"]


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
