"""The compiled extension, and the functions with which every op calls it."""

from typing import Any, TypeVar

import torch
from torch import Tensor

from spectromer.errors import ArgumentError
from spectromer.extension import _C

__all__ = ["CACHES", "_C", "call", "capturing", "dense", "kept_for_graphs", "output"]

T = TypeVar("T")

#: Tags of ops that cache tensors between calls. They keep torch.compile from capturing these ops in its CUDA graphs,
#: whose memory is reused.
CACHES = (torch.Tag.cudagraph_unsafe,) if hasattr(torch.Tag, "cudagraph_unsafe") else ()
_KEPT: dict[int, object] = {}


def dense(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """`tensor` as native code requires it: contiguous and of the given type."""
    if tensor.dtype == dtype and tensor.is_contiguous():
        return tensor
    return tensor.detach().to(dtype).contiguous()


def output(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """An empty tensor for native code to fill; in huge pages if it is large and on the CPU."""
    try:
        tensor = torch.empty(shape, dtype=dtype, device=device)
    except RuntimeError as error:
        if device.type != "cpu":
            raise
        raise ArgumentError(f"an output of shape {shape} does not fit in memory") from error
    if device.type == "cpu":
        _C.prefer_huge_pages(tensor.data_ptr(), tensor.nbytes)
    return tensor


def capturing(device: torch.device) -> bool:
    """Tell whether a CUDA graph is being captured on the device's current stream."""
    if torch.cuda.current_device() == device.index:
        return torch.cuda.is_current_stream_capturing()
    with torch.cuda.device(device):
        return torch.cuda.is_current_stream_capturing()


def kept_for_graphs(tables: T, device: torch.device) -> T:
    """Return `tables`. During CUDA graph capture they are also kept forever, as the graph reads them at each replay."""
    if device.type == "cuda" and capturing(device):
        _KEPT[id(tables)] = tables
    return tables


def call(name: str, device: torch.device, args: object) -> Any:
    """Run the native function `name` on `device`: on all of torch's threads, or on the device's current stream."""
    if device.type == "cpu":
        return getattr(_C, f"{name}_cpu")(args, torch.get_num_threads())
    if not _C.has_cuda:
        raise RuntimeError(
            f"spectromer::{name} has no CUDA operator in this build (no nvcc was found when it was installed); "
            "reinstall where nvcc is on PATH, or move the tensors to the CPU"
        )
    operator, stream = getattr(_C, f"{name}_cuda"), torch.cuda.current_stream(device).cuda_stream
    if torch.cuda.current_device() == device.index:  # a query takes a tenth of the time of a switch
        return operator(args, stream)
    with torch.cuda.device(device):
        return operator(args, stream)
