"""Resampling of spectra to a wavelength grid, with exact variances and masks."""

import math
from typing import Any

import torch
from torch import Tensor

from spectromer.errors import ArgumentError, require
from spectromer.ops._native import _C, CACHES, call, dense, output
from spectromer.ops.inputs import check_grid, check_spectra, single_ivar, tensor_of
from spectromer.ops.plans import bin_plans

METHODS = dict(_C.Method.__members__)

#: Largest step between neighbouring pixels that is not a gap, in units of the steps beside it.
MAX_GAP = 5.0


def resample(
    flux: Tensor,  # [B, N]
    ivar: Tensor,  # [B, N]
    wavelength: Tensor,  # [N] or [B, N]
    grid: Tensor,  # [M] or [B, M]
    *,
    method: str = "flux_conserving",
    coverage: float = 0.0,
    max_gap: float | None = MAX_GAP,
    offsets: Tensor | None = None,  # [B + 1]
    shift: Tensor | None = None,  # [B]
) -> tuple[Tensor, Tensor]:
    r"""Resample spectra to other wavelength bins.

    With top-hat pixels and overlaps :math:`w_i` (Angstrom) of a bin with the good pixels,

    .. math:: f = \frac{\sum_i w_i f_i}{\sum_i w_i}, \qquad
              \mathrm{ivar} = \frac{(\sum_i w_i)^2}{\sum_i w_i^2 / \mathrm{ivar}_i}

    (Carnall 2017, arXiv:1705.05165, eqs. 2 and 3, with masks). Edges lie half-way between centres. A pixel is good
    when its flux is finite and its ivar finite and positive; the value of any other pixel never reaches the output.

    Parameters
    ----------
    flux : Tensor [B, N] or [T]
        Flux density. It is converted to float32, the type of the result; a flux beyond its range masks the pixel. Sums
        are in double precision where single precision would not do. All arguments may be arrays or lists instead of
        tensors, of any strides and any real type.
    ivar : Tensor [B, N] or [T]
        Inverse variance of flux; 0 masks a pixel. Values beyond the range of float32 become its ends.
    wavelength : Tensor [N], [B, N] or [T]
        Pixel centres in Angstrom, increasing; N >= 2. Wavelengths shared by all rows are several times faster, as the
        weights are then computed once. If each row has its own, the CPU keeps 48 bits of an edge, so that an overlap
        narrower than 4e-15 of the wavelength may be ignored.
    grid : Tensor [M] or [B, M]
        Bin centres in Angstrom, increasing; M >= 2.
    method : {"flux_conserving", "linear"}
        The method. "flux_conserving" is the weighted mean above. "linear" interpolates between the two neighbouring
        pixel centres, which must both be good, and propagates their variances.
    coverage : float
        Minimum fraction of a bin, in [0, 1], that good pixels must cover; below it, the bin is masked. At 0, any
        overlap with a good pixel suffices that is wider than rounding, 2e-13 of the bin. "linear" ignores it.
    max_gap : float, optional
        Widest step between the centres of neighbouring pixels, in units of the typical steps beside it and at least 2,
        that is not a gap. Pixels are missing in a gap, as where a survey has deleted bad pixels: the pixels beside it
        end half a typical step from their centres, and the bins between them are masked. The typical step of a side is
        the smaller of the two nearest to the gap, and a gap must exceed `max_gap` times the steps of both sides. So
        neither a slowly varying sampling nor the junction of two arms has gaps. The default is 5. With None or
        infinity, the two pixels beside a gap cover it.
    offsets : Tensor [B + 1] int64, optional
        Offsets of spectra of different lengths, concatenated without padding. Row b is
        `flux[offsets[b]:offsets[b + 1]]` of T values, and `wavelength` is [T], or [N] with `shift`. A row of fewer than
        two pixels with its own wavelengths has no pixel widths, and all of its bins are masked.
    shift : Tensor [B] int64, optional
        Index into a shared wavelength [N] at which each row, ragged or not, begins. The spectra of a survey that lie on
        one logarithmic grid, each with its own first pixel, can thus share one set of weights.

    Returns
    -------
    flux, ivar : Tensor [B, M] float32
        Resampled flux and its inverse variance, both 0 in masked bins. An inverse variance too large for float32 is the
        largest float32. Gradients flow from the resampled flux to `flux`.

    Raises
    ------
    ArgumentError
        When a shape, the method, the coverage or, on the CPU, wavelengths, offsets or shifts are invalid.
    """
    flux = tensor_of(flux, "flux")
    ivar, wavelength, grid = (
        tensor_of(values, name, flux.device)
        for name, values in (("ivar", ivar), ("wavelength", wavelength), ("grid", grid))
    )
    offsets = None if offsets is None else tensor_of(offsets, "offsets", flux.device)
    shift = None if shift is None else tensor_of(shift, "shift", flux.device)
    resampled: tuple[Tensor, Tensor] = torch.ops.spectromer.resample(
        flux, ivar, wavelength, grid, method, coverage, offsets, shift, math.inf if max_gap is None else max_gap
    )
    return resampled


def _check(
    flux: Tensor,
    ivar: Tensor,
    wavelength: Tensor,
    grid: Tensor | None,
    method: str,
    coverage: float,
    offsets: Tensor | None,
    shift: Tensor | None,
    max_gap: float,
) -> tuple[int, bool]:
    rows, shared = check_spectra(flux, ivar, wavelength, offsets, shift)
    if grid is not None:
        check_grid(flux, grid, rows)
    if method not in METHODS:
        raise ArgumentError(f"method must be one of {tuple(METHODS)}, got {method!r}")
    if not 0.0 <= coverage <= 1.0:
        raise ArgumentError(f"coverage must lie in [0, 1], got {coverage}")
    if not max_gap >= 2.0:
        raise ArgumentError(f"max_gap must be at least 2 steps between pixels, or None, got {max_gap}")
    return rows, shared


def _require_increasing(name: str, bad: int, by_row: bool) -> None:
    where = f" (row {bad})" if by_row else ""
    require(bad < 0, f"{name} must be finite and strictly increasing; it is not{where}")


def _check_increasing(name: str, centres: Tensor, offsets: Tensor | None = None) -> None:
    if offsets is None:
        rows = 1 if centres.ndim == 1 else centres.shape[0]
        bad = _C.first_not_increasing(centres.data_ptr(), rows, centres.shape[-1])
    else:
        bad = _C.first_not_increasing(centres.data_ptr(), len(offsets) - 1, 0, offsets.data_ptr())
    _require_increasing(name, bad, centres.ndim == 2 or offsets is not None)


# torch leaves out arguments that equal the schema's defaults, so the functions below repeat these.
_ARGS = "Tensor flux, Tensor ivar, Tensor wavelength, Tensor grid"
_OPTIONS = (
    'str method="flux_conserving", float coverage=0.0, Tensor? offsets=None, Tensor? shift=None, '
    f"float max_gap={MAX_GAP}"
)


class ResampleCall:
    """The arguments of one call, checked, dense, and kept alive until the native code has returned.

    Without a grid, they describe the spectra for `render`.
    """

    def __init__(
        self,
        flux: Tensor,
        ivar: Tensor,
        wavelength: Tensor,
        grid: Tensor | None,
        method: str,
        coverage: float,
        offsets: Tensor | None,
        shift: Tensor | None,
        max_gap: float,
    ) -> None:
        self.rows, self.shared = _check(flux, ivar, wavelength, grid, method, coverage, offsets, shift, max_gap)
        self.axes = wavelength, grid  # the caller's tensors
        self.flux = dense(flux, torch.float32)
        self.ivar = dense(ivar if ivar.dtype == torch.float32 else single_ivar(ivar), torch.float32)
        self.wavelength = dense(wavelength, torch.float64)
        self.grid = None if grid is None else dense(grid, torch.float64)
        self.offsets = None if offsets is None else offsets.contiguous()
        self.shift = None if shift is None else shift.contiguous()
        self.method, self.coverage, self.max_gap = METHODS[method], coverage, max_gap
        if flux.device.type == "cpu" and self.rows > 0:
            self._check_values()
        if self.shift is not None and self.offsets is None:
            self.offsets = torch.arange(self.rows + 1, device=flux.device) * flux.shape[1]

    def _check_values(self) -> None:
        """Check the values of tensors. This is skipped on a GPU, where it would need a synchronisation."""
        if self.offsets is not None:
            rising = int(self.offsets[0]) == 0 and bool((self.offsets[1:] >= self.offsets[:-1]).all())
            require(
                rising and int(self.offsets[-1]) == self.flux.shape[0],
                f"offsets must rise from 0 to the length of flux, {self.flux.shape[0]}; they do not",
            )
        if self.shared:  # own wavelengths are checked by the operator itself
            _check_increasing("wavelength", self.wavelength)
        if self.grid is not None:
            _check_increasing("grid", self.grid)
        if self.shift is not None:
            length = self.flux.shape[1] if self.offsets is None else self.offsets.diff()
            most = self.wavelength.shape[0] - length  # (a sum of shift and length could overflow)
            inside = bool(((self.shift >= 0) & (self.shift <= most)).all())
            require(inside, f"shift + length of a row must lie within wavelength's {self.wavelength.shape[0]} pixels")

    def run(self, name: str, args: Any) -> Any:
        """Run the native operator `name`. Raises ArgumentError if the CPU finds wavelengths that do not increase."""
        result = call(name, self.flux.device, args)
        if type(result) is int:  # the CUDA operators return other types
            _require_increasing("wavelength", result, by_row=True)
        return result

    def args(self, **outputs: Tensor) -> Any:
        return _C.ResampleArgs(
            flux=self.flux.data_ptr(),
            ivar=self.ivar.data_ptr(),
            wavelength=self.wavelength.data_ptr(),
            grid=0 if self.grid is None else self.grid.data_ptr(),
            offsets=0 if self.offsets is None else self.offsets.data_ptr(),
            shift=0 if self.shift is None else self.shift.data_ptr(),
            rows=self.rows,
            pixels=self.wavelength.shape[-1],
            bins=0 if self.grid is None else self.grid.shape[-1],
            shared_wavelength=self.shared,
            shared_grid=self.grid is not None and self.grid.ndim == 1,
            method=self.method,
            coverage=self.coverage,
            max_gap=self.max_gap,
            **{name: tensor.data_ptr() for name, tensor in outputs.items()},
        )

    def planned_args(self, **outputs: Tensor) -> Any:
        """`args`, with the plan of weights for a GPU."""
        args = self.args(**outputs)
        wavelength, grid = self.axes
        if self.flux.device.type == "cuda" and _C.has_cuda and grid is not None:
            self.plan = bin_plans.find(args, wavelength, grid)
        return args


def _forward(
    flux: Tensor,
    ivar: Tensor,
    wavelength: Tensor,
    grid: Tensor,
    method: str = "flux_conserving",
    coverage: float = 0.0,
    offsets: Tensor | None = None,
    shift: Tensor | None = None,
    max_gap: float = MAX_GAP,
) -> tuple[Tensor, Tensor]:
    inputs = ResampleCall(flux, ivar, wavelength, grid, method, coverage, offsets, shift, max_gap)
    shape = (inputs.rows, grid.shape[-1])
    out_flux, out_ivar = (output(shape, torch.float32, flux.device) for _ in range(2))
    inputs.run("resample", inputs.planned_args(out_flux=out_flux, out_ivar=out_ivar))
    return out_flux, out_ivar


def _fake(
    flux: Tensor,
    ivar: Tensor,
    wavelength: Tensor,
    grid: Tensor,
    method: str = "flux_conserving",
    coverage: float = 0.0,
    offsets: Tensor | None = None,
    shift: Tensor | None = None,
    max_gap: float = MAX_GAP,
) -> tuple[Tensor, Tensor]:
    rows, _ = _check(flux, ivar, wavelength, grid, method, coverage, offsets, shift, max_gap)
    out = flux.new_empty((rows, grid.shape[-1]), dtype=torch.float32)
    return out, torch.empty_like(out)


def _transpose(
    grad: Tensor,
    flux: Tensor,
    ivar: Tensor,
    wavelength: Tensor,
    grid: Tensor,
    method: str = "flux_conserving",
    coverage: float = 0.0,
    offsets: Tensor | None = None,
    shift: Tensor | None = None,
    max_gap: float = MAX_GAP,
) -> Tensor:
    inputs = ResampleCall(flux, ivar, wavelength, grid, method, coverage, offsets, shift, max_gap)
    if flux.device.type == "cpu" and inputs.rows > 0 and not inputs.shared:
        _check_increasing("wavelength", inputs.wavelength, inputs.offsets)
    grad_out = dense(grad, torch.float32)
    grad_flux = torch.zeros_like(inputs.flux)
    call("resample_backward", flux.device, inputs.args(grad_out=grad_out, grad_flux=grad_flux))
    return grad_flux.to(flux.dtype)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    flux, ivar, wavelength, grid, ctx.method, ctx.coverage, offsets, shift, ctx.max_gap = inputs
    ctx.save_for_backward(flux, ivar, wavelength, grid, offsets, shift)
    ctx.mark_non_differentiable(output[1])


def _backward(ctx: Any, grad: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    *spectra, offsets, shift = ctx.saved_tensors
    grad_flux = torch.ops.spectromer.resample_backward(
        grad, *spectra, ctx.method, ctx.coverage, offsets, shift, ctx.max_gap
    )
    return grad_flux, None, None, None, None, None, None, None, None


torch.library.define("spectromer::resample", f"({_ARGS}, {_OPTIONS}) -> (Tensor, Tensor)", tags=CACHES)
torch.library.define("spectromer::resample_backward", f"(Tensor grad, {_ARGS}, {_OPTIONS}) -> Tensor")
torch.library.impl("spectromer::resample", ("cpu", "cuda"), _forward)
torch.library.impl("spectromer::resample_backward", ("cpu", "cuda"), _transpose)
torch.library.register_fake("spectromer::resample", _fake)
torch.library.register_fake("spectromer::resample_backward", lambda grad, flux, *_: torch.empty_like(flux))
torch.library.register_autograd("spectromer::resample", _backward, setup_context=_setup_context)
