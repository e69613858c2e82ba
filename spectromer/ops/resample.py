"""Resampling of spectra to a wavelength grid, with exact variances and masks."""

from typing import Any

import torch
from torch import Tensor

from spectromer.ops._native import _C, call, dense, require

METHODS = ("flux_conserving", "linear")


def resample(
    flux: Tensor,  # [B, N]
    ivar: Tensor,  # [B, N]
    wavelength: Tensor,  # [N] or [B, N]
    grid: Tensor,  # [M] or [B, M]
    *,
    method: str = "flux_conserving",
    coverage: float = 0.0,
) -> tuple[Tensor, Tensor]:
    r"""Resample spectra to other wavelength bins.

    With top-hat pixels and overlaps :math:`w_i` (Angstrom) of a bin with the good pixels,

    .. math:: f = \frac{\sum_i w_i f_i}{\sum_i w_i}, \qquad
              \mathrm{ivar} = \frac{(\sum_i w_i)^2}{\sum_i w_i^2 / \mathrm{ivar}_i}

    (Carnall 2017, arXiv:1705.05165, eqs. 2 and 3, with masks). Edges lie half-way between centres. A pixel is good
    when its flux is finite and its ivar finite and positive; the value of any other pixel never reaches the output.

    Parameters
    ----------
    flux : Tensor [B, N]
        Flux density. Computed in double precision, returned as float32.
    ivar : Tensor [B, N]
        Inverse variance of flux; 0 masks a pixel.
    wavelength : Tensor [N] or [B, N]
        Pixel centres in Angstrom, increasing; N >= 2.
    grid : Tensor [M] or [B, M]
        Bin centres in Angstrom, increasing; M >= 2.
    method : {"flux_conserving", "linear"}
        "linear" interpolates between the two neighbouring pixel centres (both must be good), with the variance of
        that sum.
    coverage : float
        Least share of a bin, in [0, 1], that good pixels must cover; below it the bin is masked. At 0 any good
        pixel will do. "linear" ignores it.

    Returns
    -------
    flux, ivar : Tensor [B, M] float32
        Both 0 in masked bins. Gradients flow from the resampled flux to `flux`.

    Raises
    ------
    ValueError
        For shapes, a method, a coverage or (on the CPU) wavelengths that break the rules above.
    """
    return torch.ops.spectromer.resample(flux, ivar, wavelength, grid, method, coverage)


def _check(flux: Tensor, ivar: Tensor, wavelength: Tensor, grid: Tensor, method: str, coverage: float) -> None:
    require(flux.ndim == 2, f"flux must have shape [B, N], got {tuple(flux.shape)}")
    require(ivar.shape == flux.shape, f"ivar must have the shape of flux, {tuple(flux.shape)}, got {tuple(ivar.shape)}")
    rows, pixels = flux.shape
    require(
        tuple(wavelength.shape) in ((pixels,), (rows, pixels)),
        f"wavelength must have shape [N] or [B, N] with flux [B, N] = {(rows, pixels)}, got {tuple(wavelength.shape)}",
    )
    require(
        grid.ndim in (1, 2) and (grid.ndim == 1 or grid.shape[0] == rows),
        f"grid must have shape [M] or [B, M] with B = {rows}, got {tuple(grid.shape)}",
    )
    for name, axis in (("wavelength", wavelength), ("grid", grid)):
        require(axis.shape[-1] >= 2, f"{name} must have at least 2 centres (edges lie between), got {axis.shape[-1]}")
    for name, tensor in (("ivar", ivar), ("wavelength", wavelength), ("grid", grid)):
        require(tensor.device == flux.device, f"{name} must be on flux's device, {flux.device}, got {tensor.device}")
    require(method in METHODS, f"method must be one of {METHODS}, got {method!r}")
    require(0.0 <= coverage <= 1.0, f"coverage must lie in [0, 1], got {coverage}")


def _check_increasing(name: str, centres: Tensor) -> None:
    rows = centres.reshape(-1, centres.shape[-1])
    bad = _C.first_not_increasing(rows.data_ptr(), *rows.shape)
    where = f" (row {bad})" if centres.ndim == 2 else ""
    require(bad < 0, f"{name} must be finite and strictly increasing; it is not{where}")


# torch leaves out arguments that equal the schema's defaults, so these are repeated below.
_ARGS = "Tensor flux, Tensor ivar, Tensor wavelength, Tensor grid"
_OPTIONS = 'str method="flux_conserving", float coverage=0.0'


class _Call:
    """Arguments of one call, dense, and kept alive until the native code has returned."""

    def __init__(
        self, flux: Tensor, ivar: Tensor, wavelength: Tensor, grid: Tensor, method: str, coverage: float
    ) -> None:
        _check(flux, ivar, wavelength, grid, method, coverage)
        self.flux, self.ivar = dense(flux, torch.float32), dense(ivar, torch.float32)
        self.wavelength, self.grid = dense(wavelength, torch.float64), dense(grid, torch.float64)
        self.method, self.coverage = METHODS.index(method), coverage
        if flux.device.type == "cpu" and flux.shape[0] > 0:
            _check_increasing("wavelength", self.wavelength)
            _check_increasing("grid", self.grid)

    def args(self, **outputs: Tensor) -> object:
        return _C.ResampleArgs(
            flux=self.flux.data_ptr(),
            ivar=self.ivar.data_ptr(),
            wavelength=self.wavelength.data_ptr(),
            grid=self.grid.data_ptr(),
            rows=self.flux.shape[0],
            pixels=self.flux.shape[1],
            bins=self.grid.shape[-1],
            shared_wavelength=self.wavelength.ndim == 1,
            shared_grid=self.grid.ndim == 1,
            method=self.method,
            coverage=self.coverage,
            **{name: tensor.data_ptr() for name, tensor in outputs.items()},
        )


def _forward(
    flux: Tensor, ivar: Tensor, wavelength: Tensor, grid: Tensor, method: str = METHODS[0], coverage: float = 0.0
) -> tuple[Tensor, Tensor]:
    inputs = _Call(flux, ivar, wavelength, grid, method, coverage)
    shape = (flux.shape[0], grid.shape[-1])
    out_flux = flux.new_empty(shape, dtype=torch.float32)
    out_ivar = torch.empty_like(out_flux)
    call("resample", flux.device, inputs.args(out_flux=out_flux, out_ivar=out_ivar))
    return out_flux, out_ivar


def _fake(
    flux: Tensor, ivar: Tensor, wavelength: Tensor, grid: Tensor, method: str = METHODS[0], coverage: float = 0.0
) -> tuple[Tensor, Tensor]:
    _check(flux, ivar, wavelength, grid, method, coverage)
    out = flux.new_empty((flux.shape[0], grid.shape[-1]), dtype=torch.float32)
    return out, torch.empty_like(out)


def _transpose(
    grad: Tensor,
    flux: Tensor,
    ivar: Tensor,
    wavelength: Tensor,
    grid: Tensor,
    method: str = METHODS[0],
    coverage: float = 0.0,
) -> Tensor:
    inputs = _Call(flux, ivar, wavelength, grid, method, coverage)
    grad_out = dense(grad, torch.float32)
    grad_flux = torch.zeros_like(inputs.flux)
    call("resample_backward", flux.device, inputs.args(grad_out=grad_out, grad_flux=grad_flux))
    return grad_flux.to(flux.dtype)


def _setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
    *tensors, ctx.method, ctx.coverage = inputs
    ctx.save_for_backward(*tensors)
    ctx.mark_non_differentiable(output[1])


def _backward(ctx: Any, grad: Tensor, _: Tensor | None) -> tuple:
    grad_flux = torch.ops.spectromer.resample_backward(grad, *ctx.saved_tensors, ctx.method, ctx.coverage)
    return grad_flux, None, None, None, None, None


torch.library.define("spectromer::resample", f"({_ARGS}, {_OPTIONS}) -> (Tensor, Tensor)")
torch.library.define("spectromer::resample_backward", f"(Tensor grad, {_ARGS}, {_OPTIONS}) -> Tensor")
torch.library.impl("spectromer::resample", ("cpu", "cuda"), _forward)
torch.library.impl("spectromer::resample_backward", ("cpu", "cuda"), _transpose)
torch.library.register_fake("spectromer::resample", _fake)
torch.library.register_fake("spectromer::resample_backward", lambda grad, flux, *_: torch.empty_like(flux))
torch.library.register_autograd("spectromer::resample", _backward, setup_context=_setup_context)
