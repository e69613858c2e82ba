"""The GPU, if there is one that the operators can use."""

import warnings
from functools import lru_cache

import torch

from spectromer.extension import _C

__all__ = ["has_gpu"]


@lru_cache(maxsize=1)
def has_gpu() -> bool:
    """Tell whether torch has a GPU and the package was built with CUDA operators. If only the second fails, warn."""
    if torch.cuda.is_available() and not _C.has_cuda:
        warnings.warn("a GPU is there, but spectromer was built without CUDA operators: the CPU is used", stacklevel=2)
    return torch.cuda.is_available() and _C.has_cuda
