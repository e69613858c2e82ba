"""Redshifts by the least chi-square of templates, fitted with free amplitudes at every shift of a log-linear grid."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spectromer.errors import require
from spectromer.forms import batch_of
from spectromer.grids import C_KMS
from spectromer.ops.chisquare import RIDGE, chi_square, fit_at
from spectromer.ops.resample import resample
from spectromer.spectra import SpectrumBatch
from spectromer.templates import TemplateSet, load

__all__ = ["MIN_DELTA_CHI2", "SEPARATION", "RedshiftScan", "scan_redshift"]

#: Minimum difference in km/s between the redshifts of the first and the second minimum, as in Redrock.
SEPARATION = 1000.0
#: A redshift is flagged if chi-square of the second minimum is larger by less than this, as in Redrock.
MIN_DELTA_CHI2 = 9.0
_BUDGET = {"cpu": 1 << 27, "cuda": 1 << 31}  # bytes of the matrices of the rows that are computed together
_MIDDLE, _WIDTH = 3.8, 0.3  # log10 of the polynomials' central wavelength, and the half-width of their range


@dataclass(frozen=True)
class RedshiftScan:
    """The results of `scan_redshift` for B spectra and T sets of templates.

    A spectrum has no answer if chi-square is infinite at every shift of every set. Its values are then NaN, its
    `template` is -1 and its `dof` is 0.

    Attributes
    ----------
    names : tuple of str
        Names of the sets, T.
    template : Tensor [B] int64
        Index of the set with the lowest chi-square.
    z, z_err : Tensor [B]
        Redshift at the vertex of the parabola through the lowest point and its two neighbours, and its error, which is
        half the width of the parabola where it has risen by 1. The error is NaN if there is no parabola.
    chi2 : Tensor [B]
        The lowest chi-square of all shifts, scaled to all good pixels (see `chi_square` in ops/chisquare.py).
    dof : Tensor [B] int64
        Degrees of freedom at this shift: the number of covered good pixels minus that of the amplitudes.
    delta_chi2, z_second : Tensor [B]
        Difference of chi-square between the second minimum and the first, and the redshift of the second minimum. This
        is the lowest local minimum of any set at a distance c |ln(1 + z) - ln(1 + z')| of more than 1000 km/s. Without
        a second minimum, the values are infinity and NaN.
    flag : Tensor [B] bool
        Whether the redshift is in doubt. This is so if there is none, if it lies at an end of the range of its set, or
        if `delta_chi2` is below 9.
    set_z, set_z_err, set_chi2 : Tensor [B, T]
        `z`, `z_err` and `chi2` of each set by itself. Chi-square is infinite where a set has no answer.
    amplitudes : Tensor [B, M]
        Amplitudes of the templates of the best set, then those of its polynomials, then zeros up to M, the largest
        number of amplitudes of any set.
    curves : tuple of Tensor [B, S], optional
        Chi-square of each set at every shift. The redshifts of the shifts are `TemplateSet.z`. The curves are
        differentiable.
    model : Tensor [B, N], optional
        The best model, in the unit of the flux, at the integer shift of the lowest chi-square.
    wavelength : Tensor [N], optional
        Vacuum wavelengths of the model, in Angstrom.
    """

    names: tuple[str, ...]
    template: Tensor
    z: Tensor
    z_err: Tensor
    chi2: Tensor
    dof: Tensor
    delta_chi2: Tensor
    z_second: Tensor
    flag: Tensor
    set_z: Tensor
    set_z_err: Tensor
    set_chi2: Tensor
    amplitudes: Tensor
    curves: tuple[Tensor, ...] | None = None
    model: Tensor | None = None
    wavelength: Tensor | None = None

    def __len__(self) -> int:
        return self.z.shape[0]

    @property
    def class_names(self) -> list[str]:
        """The name of the best set for each spectrum, [B]; empty where there is no answer."""
        return [self.names[i] if i >= 0 else "" for i in self.template.tolist()]


def scan_redshift(
    spectra: Any,
    ivar: Any = None,
    wavelength: Any = None,
    *,
    templates: TemplateSet | Sequence[TemplateSet] | None = None,
    polynomials: int | None = None,
    coverage: float = 0.8,
    dtype: torch.dtype = torch.float64,
    curves: bool = False,
    model: bool = False,
) -> RedshiftScan:
    """Measure redshifts by the least chi-square of linear templates.

    The spectra are first resampled to the grid of the templates. The package's templates have the grid of SDSS and
    LAMOST. At every shift by a whole number of bins, the amplitudes of all templates of a set are fitted by weighted
    least squares. The redshift is that of the least chi-square of all sets and shifts. Chi-square is scaled as if the
    pixels beyond the templates' range fitted as well as the others on average (see `coverage`).

    Parameters
    ----------
    spectra, ivar, wavelength
        Spectra in any form: a SpectrumBatch, a Spectrum, spectra of specutils, a list of these, or a flux [N] or [B, N]
        with its inverse variance and wavelength in Angstrom.
    templates : TemplateSet or sequence of TemplateSet, optional
        Sets of templates, all with the same step. The default is the package's sets, `spectromer.templates.load()`. The
        sets are moved to the device of the spectra. Their fluxes may require gradients.
    polynomials : int, optional
        The number, 0 to 8, of Legendre polynomials that are added to every set. They are functions of the logarithm of
        the observed wavelength. By default each set has its own number, `TemplateSet.polynomials`.
    coverage : float
        The smallest fraction, in (0, 1], of the summed inverse variance of a spectrum that the templates must cover at
        a shift. Shifts with less coverage are left out.
    dtype : torch.dtype
        torch.float64 or torch.float32, the precision of the sums. In single precision chi-square is wrong by about 1e-6
        of the summed squares of the signal-to-noise ratios of all pixels: more than 1 for bright objects.
    curves, model : bool
        Whether the result contains the curves of chi-square and the best models.

    Returns
    -------
    RedshiftScan
        Its tensors are on the device of the spectra. Only `curves` is differentiable.

    Raises
    ------
    ArgumentError
        If the spectra have an unknown form, an option is invalid, or the sets have different steps.
    """
    batch = batch_of(spectra, ivar, wavelength)
    device = batch.flux.device
    sets = load() if templates is None else (templates,) if isinstance(templates, TemplateSet) else tuple(templates)
    require(len(sets) > 0, "templates must be one or more sets, got none")
    require(len({s.step for s in sets}) == 1, f"templates must have one step, got {sorted({s.step for s in sets})}")
    require(dtype in RIDGE, f"dtype must be torch.float64 or torch.float32, got {dtype}")
    require(0.0 < coverage <= 1.0, f"coverage must lie in (0, 1], got {coverage}")
    if polynomials is not None:
        sets = tuple(replace(s, polynomials=polynomials) for s in sets)
    sets = tuple(s.to(device) for s in sets)

    start, pixels = _grid(batch, sets)
    log_wavelength = sets[0].step * (start + torch.arange(pixels, dtype=torch.float64, device=device))
    grid = 10.0**log_wavelength
    flux, weights = _on_grid(batch, grid, sets[0].step, dtype)
    x, most = (log_wavelength - _MIDDLE) / _WIDTH, max(s.polynomials for s in sets)
    legendre = np.polynomial.legendre.legvander(x.cpu().numpy(), max(most - 1, 0)).T[:most]
    fixed = torch.from_numpy(legendre).to(device, dtype)

    found = []
    for s in sets:
        low, high = s.shifts
        size = (high - low + 1) * (len(s) + s.polynomials) ** 2 * dtype.itemsize * 4
        rows = max(1, _BUDGET.get(device.type, _BUDGET["cpu"]) // size)
        options: dict[str, Any] = {"polynomials": fixed[: s.polynomials], "coverage": coverage}
        parts = [
            chi_square(f, w, s.flux.to(dtype), s.first - start, s.shifts, **options)
            for f, w in zip(flux.split(rows), weights.split(rows), strict=True)
        ]
        found.append((torch.cat([p.chi2 for p in parts]), torch.cat([p.pixels for p in parts])))
    summary = _summary(sets, [(c.detach().double(), n) for c, n in found], device)
    scales = torch.tensor(batch.flux_scale, dtype=torch.float64, device=device)
    amplitudes, models = _fits(sets, flux.detach(), weights, fixed, start, summary, scales)
    return RedshiftScan(
        tuple(s.name for s in sets),
        **{name: value for name, value in summary.items() if name != "shift"},
        amplitudes=amplitudes,
        curves=tuple(c for c, _ in found) if curves else None,
        model=models if model else None,
        wavelength=grid if model else None,
    )


def _grid(batch: SpectrumBatch, sets: Sequence[TemplateSet]) -> tuple[int, int]:
    """The first bin and the number of bins of a grid of the good pixels that any set can reach at any shift."""
    step = sets[0].step
    bottom = min(s.first + s.shifts[0] for s in sets)
    top = max(s.first + s.flux.shape[1] - 1 + s.shifts[1] for s in sets)
    axis = batch.wavelength.expand(batch.flux.shape)
    good = (batch.ivar > 0) & (axis > 0)
    if not bool(good.any()):
        return bottom, 2
    low = math.floor(math.log10(float(axis[good].min())) / step + 0.5)
    high = math.ceil(math.log10(float(axis[good].max())) / step - 0.5)
    low = min(max(low, bottom), top - 1)
    return low, max(2, min(high, top) - low + 1)


def _on_grid(batch: SpectrumBatch, grid: Tensor, step: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Flux and inverse variance [B, M] on the grid.

    The inverse variance of a bin that is narrower than the pixels is reduced, so that no pixel is counted twice.
    """
    flux, ivar = resample(batch.flux, batch.ivar, batch.wavelength, grid, coverage=0.5)
    axis = batch.wavelength.double().contiguous()
    width = torch.gradient(axis.log10(), dim=-1)[0]
    at = torch.searchsorted(axis, grid.expand(*axis.shape[:-1], -1).contiguous()).clamp(max=axis.shape[-1] - 1)
    shared = (step / width.gather(-1, at)).clamp(max=1.0)
    # The widths of the pixels of SDSS and LAMOST differ from the step only by rounding.
    shared = torch.where(shared > 0.99, torch.ones_like(shared), shared)
    return flux.to(dtype), (ivar.double() * shared).to(dtype)


def _summary(
    sets: Sequence[TemplateSet], found: Sequence[tuple[Tensor, Tensor]], device: torch.device
) -> dict[str, Tensor]:
    """The fields of RedshiftScan that follow from the curves, and the best shift [B]."""
    best = [_vertex(chi2, s) for s, (chi2, _) in zip(sets, found, strict=True)]
    set_chi2, index, set_z, set_z_err, at_end = (torch.stack(values, 1) for values in zip(*best, strict=True))
    chi2, template = set_chi2.min(1)
    known = chi2.isfinite()
    chosen = template[:, None]
    z, z_err, edge, at = (v.gather(1, chosen)[:, 0] for v in (set_z, set_z_err, at_end, index))
    # The pixels are counted at the best shift of each set.
    pixels = torch.stack([n.gather(1, index[:, t : t + 1])[:, 0] for t, (_, n) in enumerate(found)], 1)
    free = torch.tensor([len(s) + s.polynomials for s in sets], device=device)
    dof = (pixels - free).gather(1, chosen)[:, 0]
    first = torch.tensor([s.shifts[0] for s in sets], device=device)

    second, z_second = torch.full_like(chi2, torch.inf), torch.full_like(chi2, torch.nan)
    for s, (curve, _) in zip(sets, found, strict=True):
        axis = s.z.to(device)
        apart = C_KMS * (torch.log1p(axis) - torch.log1p(z.nan_to_num(0.0))[:, None]).abs() > SEPARATION
        padded = torch.nn.functional.pad(curve, (1, 1), value=-torch.inf)
        lowest = (curve <= padded[:, :-2]) & (curve <= padded[:, 2:]) & curve.isfinite()
        value, where = torch.where(apart & lowest, curve, torch.inf).min(1)
        z_second = torch.where(value < second, axis[where], z_second)
        second = torch.minimum(second, value)
    delta = torch.where(known, second - chi2, torch.nan)
    nothing = torch.full_like(chi2, torch.nan)
    return {
        "template": torch.where(known, template, -1),
        "z": z,
        "z_err": z_err,
        "chi2": torch.where(known, chi2, nothing),
        "dof": torch.where(known, dof, 0),
        "delta_chi2": delta,
        "z_second": torch.where(known, z_second, nothing),
        "flag": ~known | edge | (delta < MIN_DELTA_CHI2),
        "set_z": set_z,
        "set_z_err": set_z_err,
        "set_chi2": set_chi2,
        "shift": at + first[template],
    }


def _vertex(chi2: Tensor, s: TemplateSet) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The lowest value of each curve, its index, z and z_err of the vertex, and whether it is at an end; each [B]."""
    lowest, index = chi2.min(1)
    count = chi2.shape[1]
    near = [chi2.gather(1, (index + i).clamp(0, count - 1)[:, None])[:, 0] for i in (-1, 1)]
    inside = (index > 0) & (index < count - 1) & near[0].isfinite() & near[1].isfinite()
    curvature = torch.where(inside, near[0] + near[1] - 2.0 * lowest, 0.0)
    curved = inside & (curvature > 0)
    safe = torch.where(curved, curvature, 1.0)
    offset = torch.where(curved, 0.5 * (near[0] - near[1]) / safe, 0.0)
    known = lowest.isfinite()
    scale = s.ln_step
    z = torch.expm1(scale * (index + s.shifts[0] + offset))
    error = (1.0 + z) * scale * (2.0 / safe).sqrt()
    return (
        lowest,
        index,
        torch.where(known, z, torch.nan),
        torch.where(known & curved, error, torch.nan),
        known & ~inside,
    )


def _fits(
    sets: Sequence[TemplateSet],
    flux: Tensor,
    ivar: Tensor,
    fixed: Tensor,
    start: int,
    summary: dict[str, Tensor],
    scales: Tensor,
) -> tuple[Tensor, Tensor]:
    """Amplitudes [B, M] and models [B, N] at the best shifts."""
    count = max(len(s) + s.polynomials for s in sets)
    amplitudes, models = (
        torch.full((len(flux), n), torch.nan, dtype=torch.float64, device=flux.device) for n in (count, flux.shape[1])
    )
    for t, s in enumerate(sets):
        rows = (summary["template"] == t).nonzero()[:, 0]
        if not len(rows):
            continue
        fitted, made = fit_at(
            flux[rows],
            ivar[rows],
            s.flux.detach().to(flux.dtype),
            s.first - start,
            summary["shift"][rows],
            polynomials=fixed[: s.polynomials],
        )
        padded = torch.nn.functional.pad(fitted.double(), (0, count - fitted.shape[1]))
        amplitudes[rows] = padded * scales[rows, None]
        models[rows] = made.double() * scales[rows, None]
    return amplitudes, models
