"""A cache of the weights that resample shared wavelengths to a shared grid, for the CUDA kernels."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

import torch
from torch import Tensor

from spectromer.ops._native import _C, call, capturing

__all__ = ["BinPlans", "bin_plans"]


@dataclass
class _Plan:
    weights: Tensor  # uint8
    sources: tuple[Tensor, Tensor]  # kept alive, so that no other tensor gets their addresses
    made: torch.cuda.Event
    streams: set[int]  # streams that wait for it


class BinPlans:
    """The most recently used plans.

    A plan is valid as long as its wavelengths and grid are the same tensors and torch has recorded no change to them.
    torch does not record writes through `Tensor.data`, by other libraries or by the replay of a graph.
    """

    MOST, MOST_BYTES = 16, 1 << 28

    def __init__(self) -> None:
        self._plans: OrderedDict[Hashable, _Plan] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, args: "_C.ResampleArgs", wavelength: Tensor, grid: Tensor) -> Tensor | None:
        """Set the plan of `args`, ready on the current stream, if one is needed.

        Parameters
        ----------
        args : ResampleArgs
            The arguments whose plan is set.
        wavelength, grid : Tensor
            The caller's own tensors; `args` may point to copies.

        Returns
        -------
        Tensor, optional
            The plan, which must be kept alive until the kernel that reads it has been launched.
        """
        size = _C.bin_plan_bytes(args)
        if size == 0:
            return None
        device = wavelength.device
        if capturing(device) or wavelength.is_inference() or grid.is_inference():
            # A graph must remake its plan at each replay, and torch does not count changes to inference tensors.
            return self._make(args, size, device)
        stream = torch.cuda.current_stream(device)
        key = (args.method, args.max_gap, device.index, _identity(wavelength), _identity(grid))
        with self._lock:
            plan = self._plans.get(key)
            if plan is None:
                plan = _Plan(
                    self._make(args, size, device),
                    (wavelength.detach(), grid.detach()),
                    stream.record_event(),
                    {stream.cuda_stream},
                )
                self._keep(key, plan)
            else:
                self._plans.move_to_end(key)
                args.plan = plan.weights.data_ptr()
            if stream.cuda_stream not in plan.streams:
                stream.wait_event(plan.made)
                plan.weights.record_stream(stream)
                plan.streams.add(stream.cuda_stream)
            return plan.weights

    def _make(self, args: "_C.ResampleArgs", size: int, device: torch.device) -> Tensor:
        weights = torch.empty(size, dtype=torch.uint8, device=device)
        args.plan = weights.data_ptr()
        call("make_bin_plan", device, args)
        return weights

    def _keep(self, key: Hashable, plan: _Plan) -> None:
        self._plans[key] = plan
        while len(self._plans) > self.MOST or sum(p.weights.nbytes for p in self._plans.values()) > self.MOST_BYTES:
            self._plans.popitem(last=False)


def _identity(tensor: Tensor) -> tuple[Hashable, ...]:
    return tensor.data_ptr(), tensor._version, tensor.dtype, tensor.shape, tensor.stride()


bin_plans = BinPlans()
