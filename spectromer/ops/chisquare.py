r"""Chi-square of linear templates at every shift along a log-linear axis, by FFT.

With flux d(p), inverse variance w(p) and templates :math:`T_k(q)` on grids of the same step, the model at shift s is
:math:`\sum_k a_k T_k(p - s)`. The amplitudes that minimise chi-square solve A a = b with

.. math:: A_{kl}(s) = \sum_p w(p) T_k(p - s) T_l(p - s), \qquad b_k(s) = \sum_p w(p) d(p) T_k(p - s).

Each of these sums is a cross-correlation over p, which an FFT evaluates for all shifts at once (Glazebrook, Offer &
Deeley 1998, ApJ 492, 98). Polynomials, which do not shift, can be further columns of the model.
"""

from typing import NamedTuple

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from spectromer.errors import ArgumentError, require

__all__ = ["ChiSquare", "chi_square", "fit_at"]

#: Ridge for each type, added to the diagonal of A, which is scaled to 1. It regularises templates that are degenerate
#: in the good pixels. It is far larger than rounding errors, and too small to change a well-conditioned fit.
RIDGE = {torch.float64: 1e-11, torch.float32: 1e-5}
_ROUNDING = 1000.0  # bound of an FFT's error, in units of the type's epsilon; smaller diagonals are 0


class ChiSquare(NamedTuple):
    """Chi-square at every shift.

    Attributes
    ----------
    chi2 : Tensor [B, S]
        Chi-square of the best amplitudes, scaled to all good pixels. It is infinite where too little is covered.
    pixels : Tensor [B, S] int64
        The number of good pixels within the range of the templates.
    """

    chi2: Tensor
    pixels: Tensor


def chi_square(
    flux: Tensor,
    ivar: Tensor,
    templates: Tensor,
    first: int,
    shifts: tuple[int, int],
    *,
    polynomials: Tensor | None = None,
    coverage: float = 0.8,
) -> ChiSquare:
    r"""Compute chi-square of the best amplitudes at every shift.

    At most shifts, the templates cover only a part of the pixels. If they cover n of the N good pixels, the result is
    chi-square of the n pixels times N / n, as if the other pixels fitted as well on average. The result is infinite
    where less than `coverage` of the summed inverse variance is covered, or where n does not exceed the number of
    amplitudes.

    Parameters
    ----------
    flux : Tensor [B, N]
        Flux on a log-linear grid. Its type, float64 or float32, is also that of the computation. The error of
        chi-square is about the precision of the type times :math:`\sum w d^2`.
    ivar : Tensor [B, N]
        Inverse variance of the same type; 0 masks a pixel.
    templates : Tensor [K, R]
        Rest-frame templates on a grid of the same step.
    first : int
        The pixel on which bin 0 of the templates lies at shift 0. It may be negative.
    shifts : (int, int)
        The first and the last shift, in pixels towards higher indices. S = last - first + 1.
    polynomials : Tensor [P, N], optional
        Further columns of the model, fixed to the pixels.
    coverage : float
        The smallest fraction of the summed inverse variance, in (0, 1], that the templates must cover.

    Returns
    -------
    ChiSquare
        Gradients flow from chi2 to flux, templates and polynomials.

    Raises
    ------
    ArgumentError
        If a shape, a type or an option is invalid.
    """
    fixed = _checked(flux, ivar, templates, shifts, polynomials, coverage)
    low, high = shifts
    count, bins, pixels = high - low + 1, templates.shape[1], flux.shape[1]
    if len(flux) == 0:  # no FFT takes an empty batch
        return ChiSquare(flux.new_zeros(0, count), torch.zeros(0, count, dtype=torch.int64, device=flux.device))
    flux, ivar = _scaled(flux, ivar)
    window = _window(templates / _rms(templates), first + high, pixels + count - 1)
    length = int(next_fast_len(window.shape[1], real=True))

    # Each row of `seen` is correlated with each row of `kernels`. Entry m of a correlation belongs to shift high - m.
    seen = torch.cat([ivar[:, None], (ivar * flux)[:, None], ivar[:, None] * fixed], 1)
    spectra = torch.fft.rfft(seen, length).conj()

    def correlated(of: Tensor, kernels: Tensor) -> Tensor:
        found: Tensor = torch.fft.irfft(of * torch.fft.rfft(kernels, length), length)[..., :count].flip(-1)
        return found

    # The covered pixels are contiguous at each shift, so sums over them are differences of cumulative sums.
    shift = torch.arange(low, high + 1, device=flux.device)
    begin = (shift + first).clamp(0, pixels)
    end = (shift + first + bins).clamp(0, pixels)

    def within(values: Tensor) -> Tensor:
        total = torch.nn.functional.pad(values.to(torch.float64).cumsum(-1), (1, 0))
        return total[..., end] - total[..., begin]

    # The columns of the lower triangle of A, each [B, rows, S], with b as a last row.
    right = torch.cat([correlated(spectra[:, 1:2], window), within(seen[:, 1:2] * fixed).to(flux.dtype)], 1)
    columns = []
    for k in range(len(window)):
        column = [correlated(spectra[:, :1], window[k] * window[k:]), right[:, k : k + 1]]
        if len(fixed):
            column.insert(1, correlated(spectra[:, 2:], window[k]))
        columns.append(torch.cat(column, 1))
    for p in range(len(fixed)):
        both = within(seen[:, 2 + p, None] * fixed[p:]).to(flux.dtype)
        columns.append(torch.cat([both, right[:, len(window) + p, None]], 1))
    gain, solved = _reduction(columns)

    good = (ivar > 0).sum(1, keepdim=True)
    covered = within((ivar > 0).to(torch.float64)).round().to(torch.int64)
    weight = ivar.sum(1, keepdim=True, dtype=torch.float64)
    enough = within(ivar) >= coverage * weight * (1.0 - 1e-6)
    valid = enough & (covered > len(templates) + len(fixed)) & solved
    null = within(ivar * flux**2).to(flux.dtype)
    chi2 = (null - gain) * (good / covered.clamp(min=1)).to(flux.dtype)
    return ChiSquare(torch.where(valid, chi2, torch.inf), covered)


def fit_at(
    flux: Tensor,
    ivar: Tensor,
    templates: Tensor,
    first: int,
    shift: Tensor,
    *,
    polynomials: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Fit the amplitudes at one shift for each row, without an FFT. Other arguments are as in `chi_square`.

    Parameters
    ----------
    shift : Tensor [B] int64
        The shift of each row.

    Returns
    -------
    amplitudes : Tensor [B, K + P]
    model : Tensor [B, N]
        The fitted flux. It is 0 outside the range of the templates.
    """
    fixed = _checked(flux, ivar, templates, (0, 0), polynomials, 1.0)
    unit = _unit(flux, ivar)
    at = torch.arange(flux.shape[1], device=flux.device) - first - shift[:, None]  # [B, N]
    inside = (at >= 0) & (at < templates.shape[1])
    size = _rms(templates)
    columns = (templates / size)[:, at.clamp(0, templates.shape[1] - 1)].transpose(0, 1)
    columns = torch.cat([columns, fixed.expand(len(flux), -1, -1)], 1) * inside[:, None]  # [B, K + P, N]
    weighted = columns * (ivar * unit**2)[:, None]
    matrix, right = weighted @ columns.mT, weighted @ (flux / unit)[..., None]
    scale, normal = _normalised(matrix)
    factor, _ = torch.linalg.cholesky_ex(normal)
    amplitudes = torch.cholesky_solve(right * scale[..., None], factor)[..., 0] * scale * unit
    model = (amplitudes[:, None] @ columns)[:, 0]
    return amplitudes / torch.cat([size[:, 0], size.new_ones(len(fixed))]), model


def _checked(
    flux: Tensor,
    ivar: Tensor,
    templates: Tensor,
    shifts: tuple[int, int],
    polynomials: Tensor | None,
    coverage: float,
) -> Tensor:
    """The polynomials, [P, N], after all arguments have been checked."""
    if flux.ndim != 2 or flux.shape != ivar.shape:
        raise ArgumentError(f"flux and ivar must have shape [B, N], got {tuple(flux.shape)} and {tuple(ivar.shape)}")
    if templates.ndim != 2 or 0 in templates.shape:
        raise ArgumentError(f"templates must have shape [K, R], got {tuple(templates.shape)}")
    fixed = flux.new_zeros(0, flux.shape[1]) if polynomials is None else polynomials
    if fixed.ndim != 2 or fixed.shape[1] != flux.shape[1]:
        raise ArgumentError(
            f"polynomials must have shape [P, N] with N = {flux.shape[1]}, got {tuple(fixed.shape)}",
        )
    if not all(values.dtype == flux.dtype for values in (ivar, templates, fixed)) or flux.dtype not in RIDGE:
        raise ArgumentError(
            "flux, ivar, templates and polynomials must all be float64 or all float32, "
            f"got {flux.dtype}, {ivar.dtype}, {templates.dtype} and {fixed.dtype}"
        )
    require(shifts[0] <= shifts[1], f"shifts must be the first and the last, got {shifts}")
    require(0.0 < coverage <= 1.0, f"coverage must lie in (0, 1], got {coverage}")
    return fixed


def _unit(flux: Tensor, ivar: Tensor) -> Tensor:
    """The weighted root mean square of each row, [B, 1], as a constant; 1 for a row without flux."""
    with torch.no_grad():
        weight = ivar.sum(1, keepdim=True)
        square = (ivar * flux**2).sum(1, keepdim=True) / torch.where(weight > 0, weight, torch.ones_like(weight))
        return torch.where(square > 0, square, torch.ones_like(square)).sqrt()


def _rms(templates: Tensor) -> Tensor:
    """The root mean square of each template, [K, 1], as a constant; 1 for one that is 0."""
    rms = templates.detach().square().mean(1, keepdim=True).sqrt()
    return torch.where(rms > 0, rms, torch.ones_like(rms))


def _scaled(flux: Tensor, ivar: Tensor) -> tuple[Tensor, Tensor]:
    """Flux in units of its weighted root mean square, and its inverse variance. Chi-square does not change."""
    unit = _unit(flux, ivar)
    return flux / unit, ivar * unit**2


def _window(templates: Tensor, begin: int, length: int) -> Tensor:
    """Templates in a window of `length` bins, in which their bin 0 is bin `begin`. The other bins are 0."""
    kept = templates[:, max(0, -begin) : max(0, length - begin)]
    left = min(max(0, begin), length)
    return torch.nn.functional.pad(kept, (left, length - left - kept.shape[1]))


def _normalised(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The factors [..., M] that scale the diagonals of matrices [..., M, M] to 1, and the scaled ones with the ridge.

    A column that is 0 gets a factor of 0, and 1 on the diagonal.
    """
    diagonal = matrix.diagonal(dim1=-2, dim2=-1)
    empty = diagonal <= 0
    scale = torch.where(empty, 0.0, torch.where(empty, 1.0, diagonal).rsqrt())
    normal = matrix * scale[..., None] * scale[..., None, :]
    return scale, normal + torch.diag_embed(RIDGE[matrix.dtype] + empty.to(matrix.dtype))


def _reduction(columns: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The reduction of chi-square, b A^-1 b, and whether A can be solved, both [B, S].

    Parameters
    ----------
    columns : list of Tensor [B, M + 1 - j, S]
        Column j of A from its diagonal downwards, and below it b_j.
    """
    # This is a Cholesky factorisation, whose last row becomes L^-1 b. It is written out to work on whole rows of
    # shifts. It thus needs no copy to small matrices, and for 10 templates takes a third of the time of torch.linalg on
    # a CPU.
    diagonal = torch.stack([column[:, 0] for column in columns], 1).detach()
    kind = diagonal.dtype
    # If a template is 0 in all pixels, an FFT leaves rounding errors instead of 0. Such a column is left out.
    empty = diagonal <= _ROUNDING * torch.finfo(kind).eps * diagonal.amax(1, keepdim=True)
    solvable = torch.ones_like(empty[:, 0])
    gain = torch.zeros_like(diagonal[:, 0])
    factors: list[Tensor] = []
    for j, column in enumerate(columns):
        pivot = column[:, 0] * (1.0 + RIDGE[kind])
        below = column[:, 1:]
        for m, factor in enumerate(factors):
            own = factor[:, j - m - 1]
            pivot = pivot - own * own
            below = below - factor[:, j - m :] * own[:, None]
        solvable = solvable & (empty[:, j] | (pivot > 0))
        used = ~empty[:, j] & (pivot > 0)
        inverse = torch.where(used, torch.where(used, pivot, 1.0).rsqrt(), 0.0)
        factors.append(below * inverse[:, None])
        gain = gain + factors[-1][:, -1] ** 2
    return gain, solvable
