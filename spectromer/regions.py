"""Regions of interest: stretches of a spectrum that a picture marks."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

__all__ = ["find_lines", "mark_regions"]


def find_lines(
    flux: np.ndarray,
    ivar: np.ndarray,
    wavelength: np.ndarray,
    *,
    smooth: int = 25,
    continuum: int = 50,
    deviation: float = 1.5,
    most: int = 50,
) -> np.ndarray:
    """Mark the spectral lines of one spectrum, as the thesis finds them.

    Where the flux, smoothed by a cubic Savitzky-Golay filter, departs from its running median by more than
    `deviation` there is a line; those of the largest equivalent widths are kept.

    Parameters
    ----------
    flux, ivar : ndarray [N]
        Flux density and its inverse variance; pixels without a positive one are left out.
    wavelength : ndarray [N]
        Angstrom.
    smooth : int
        Pixels of the filter.
    continuum : int
        Pixels of the running median.
    deviation : float
        In the unit of flux.
    most : int
        Lines kept.

    Returns
    -------
    ndarray [N] bool
    """
    from scipy.integrate import trapezoid
    from scipy.signal import savgol_filter

    marked = np.zeros(len(flux), bool)
    good = np.flatnonzero(np.isfinite(flux) & np.isfinite(ivar) & (ivar > 0))
    if len(good) < max(smooth, continuum):
        return marked
    values, at = savgol_filter(np.asarray(flux, np.float64)[good], smooth, 3), np.asarray(wavelength, np.float64)[good]
    median = np.full(len(values), np.nan)
    middle = np.median(np.lib.stride_tricks.sliding_window_view(values, continuum), axis=1)
    median[continuum // 2 : continuum // 2 + len(middle)] = middle  # a window of an even number reaches back further
    departs = np.abs(values - median) > deviation
    runs = np.flatnonzero(np.diff(np.concatenate(([False], departs, [False])).astype(int))).reshape(-1, 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = (values - median) / median
    widths = np.array([abs(trapezoid(depth[a:b], at[a:b])) for a, b in runs])
    for k in np.argsort(-widths, kind="stable")[:most]:
        marked[good[runs[k, 0] : runs[k, 1]]] = True
    return marked


def mark_regions(
    flux: Tensor,  # [B, N]
    ivar: Tensor,  # [B, N]
    wavelength: Tensor,  # [N] or [B, N]
    grid: Tensor | None,  # [M]
    regions: str | Sequence[tuple[float, float]] | None,
) -> Tensor | None:  # [M] or [B, M]
    """Mark the bins in regions: bool [M] or [B, M] on a grid [M] (Angstrom), else [B, N] of the spectra's own pixels.

    Parameters
    ----------
    flux, ivar, wavelength, grid : Tensor
    regions : "lines" or sequence of (float, float), optional
        What `find_lines` finds in each spectrum, or windows in Angstrom. None marks nothing, and returns None.
    """
    if regions is None:
        return None
    own = wavelength.expand(flux.shape)
    if not isinstance(regions, str):
        centres = own if grid is None else grid
        inside = [(centres >= low) & (centres <= high) for low, high in regions]
        return torch.stack([torch.zeros_like(centres, dtype=torch.bool), *inside]).any(0)
    rows = zip(flux.cpu().numpy(), ivar.cpu().numpy(), own.cpu().numpy(), strict=True)
    found = np.array([find_lines(*row) for row in rows], bool).reshape(own.shape)
    marks = torch.from_numpy(found).to(own.device)
    if grid is None:
        return marks
    # A bin is marked as the pixel is in which its centre lies.
    edges = 0.5 * (own[:, 1:] + own[:, :-1])
    pixel = torch.searchsorted(edges.contiguous(), grid.expand(len(own), -1).contiguous())
    within = (grid >= own[:, :1]) & (grid <= own[:, -1:])
    return marks.gather(1, pixel) & within
