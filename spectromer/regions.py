"""Regions of interest: wavelength ranges that a picture marks."""

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
    max_lines: int = 50,
) -> np.ndarray:
    """Mark the spectral lines of one spectrum with the method of the thesis.

    A line is a run of pixels in which the flux, smoothed by a cubic Savitzky-Golay filter, differs from its running
    median by more than `deviation`. The lines with the largest equivalent widths are kept.

    Parameters
    ----------
    flux, ivar : ndarray [N]
        Flux density and its inverse variance. Pixels whose inverse variance is not positive are ignored.
    wavelength : ndarray [N]
        Wavelength in Angstrom.
    smooth : int
        Window of the filter in pixels.
    continuum : int
        Window of the running median in pixels.
    deviation : float
        Smallest deviation of a line from the running median, in the unit of flux.
    max_lines : int
        Largest number of lines to keep.

    Returns
    -------
    ndarray [N] bool
        Whether each pixel lies in a line.
    """
    from scipy.integrate import trapezoid
    from scipy.signal import savgol_filter

    marked = np.zeros(len(flux), bool)
    good = np.flatnonzero(np.isfinite(flux) & np.isfinite(ivar) & (ivar > 0))
    if len(good) < max(smooth, continuum):
        return marked
    values, position = (
        savgol_filter(np.asarray(flux, np.float64)[good], smooth, 3),
        np.asarray(wavelength, np.float64)[good],
    )
    median = np.full(len(values), np.nan)
    middle = np.median(np.lib.stride_tricks.sliding_window_view(values, continuum), axis=1)
    median[continuum // 2 : continuum // 2 + len(middle)] = (
        middle  # an even window reaches one pixel further back than ahead
    )
    departs = np.abs(values - median) > deviation
    runs = np.flatnonzero(np.diff(np.concatenate(([False], departs, [False])).astype(int))).reshape(-1, 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = (values - median) / median
    widths = np.array([abs(trapezoid(depth[a:b], position[a:b])) for a, b in runs])
    for k in np.argsort(-widths, kind="stable")[:max_lines]:
        marked[good[runs[k, 0] : runs[k, 1]]] = True
    return marked


def mark_regions(
    flux: Tensor,  # [B, N]
    ivar: Tensor,  # [B, N]
    wavelength: Tensor,  # [N] or [B, N]
    grid: Tensor | None,  # [M]
    regions: str | Sequence[tuple[float, float]] | None,
) -> Tensor | None:  # [M] or [B, M]
    """Mark the bins or pixels that lie in regions of interest.

    Parameters
    ----------
    flux, ivar : Tensor [B, N]
        Flux density and its inverse variance.
    wavelength : Tensor [N] or [B, N]
        Wavelength in Angstrom.
    grid : Tensor [M], optional
        Bin centres in Angstrom. Without a grid, the native pixels of the spectra are marked.
    regions : "lines" or sequence of (float, float), optional
        "lines" marks the lines that `find_lines` detects in each spectrum; pairs are windows in Angstrom.

    Returns
    -------
    Tensor bool, optional
        Marks [M] (windows) or [B, M] (lines) on a grid, [B, N] on native pixels; None if `regions` is None.
    """
    if regions is None:
        return None
    native = wavelength.expand(flux.shape)
    if not isinstance(regions, str):
        centres = native if grid is None else grid
        inside = [(centres >= low) & (centres <= high) for low, high in regions]
        return torch.stack([torch.zeros_like(centres, dtype=torch.bool), *inside]).any(0)
    spectra = (t.detach().to("cpu", torch.float64).numpy() for t in (flux, ivar, native))
    rows = zip(*spectra, strict=True)
    lines = np.array([find_lines(*row) for row in rows], bool).reshape(native.shape)
    marks = torch.from_numpy(lines).to(native.device)
    if grid is None:
        return marks
    # A bin takes the mark of the pixel that contains its centre.
    edges = 0.5 * (native[:, 1:] + native[:, :-1])
    pixel = torch.searchsorted(edges.contiguous(), grid.expand(len(native), -1).contiguous())
    within = (grid >= native[:, :1]) & (grid <= native[:, -1:])
    return marks.gather(1, pixel) & within
