"""The operators' specification: slow, obvious float64 versions in numpy, for tests and for readers."""

from typing import Any

import numpy as np

from spectromer.ops.render import render_options, wavelength_grid

__all__ = ["rasterize", "render", "resample"]


def _edges(centres: np.ndarray) -> np.ndarray:
    middle = 0.5 * (centres[1:] + centres[:-1])
    return np.concatenate(([centres[0] - (middle[0] - centres[0])], middle, [centres[-1] + (centres[-1] - middle[-1])]))


def resample(
    flux: np.ndarray,
    ivar: np.ndarray,
    wavelength: np.ndarray,
    grid: np.ndarray,
    *,
    method: str = "flux_conserving",
    coverage: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """One spectrum [N] to [M], through the full matrix of weights; see `spectromer.resample`."""
    flux, ivar = np.asarray(flux, np.float64), np.asarray(ivar, np.float64)
    wavelength, grid = np.asarray(wavelength, np.float64), np.asarray(grid, np.float64)
    good = np.isfinite(flux) & np.isfinite(ivar) & (ivar > 0)
    if method == "linear":
        weights = np.stack([np.interp(grid, wavelength, unit, 0.0, 0.0) for unit in np.eye(len(wavelength))], 1)
        full, required = np.ones(len(grid)), 1.0
    else:
        pixel, bins = _edges(wavelength), _edges(grid)
        low = np.maximum(pixel[:-1], bins[:-1, None])
        high = np.minimum(pixel[1:], bins[1:, None])
        weights = np.maximum(high - low, 0.0)
        full, required = np.diff(bins), coverage
    weights = weights * good
    total = weights.sum(1)
    kept = (total > 0) & (total >= required * full * (1 - 1e-6))
    norm = np.where(kept, total, 1.0)
    variance = (weights**2 / np.where(good, ivar, 1.0)).sum(1) / norm**2
    out_flux = (weights * np.where(good, flux, 0.0)).sum(1) / norm
    return np.where(kept, out_flux, 0.0), np.where(kept, 1.0 / np.where(kept, variance, 1.0), 0.0)


def rasterize(
    y: np.ndarray,
    x: np.ndarray | None = None,
    *,
    height: int = 224,
    width: int = 224,
    linewidth: float = 1.0,
    subcolumns: int = 256,
) -> np.ndarray:
    """One line [P] to coverage [H, W] in [0, 1], "union"; see `spectromer.rasterize`.

    Every sub-column asks every segment where the discs along it meet the vertical line, and adds up the union of the
    answers of each unbroken piece.
    """
    y = np.asarray(y, np.float64)
    x = (np.arange(len(y)) + 0.5) * width / max(len(y), 1) if x is None else np.asarray(x, np.float64)
    r = 0.5 * linewidth
    rows = np.arange(height)
    image = np.zeros((height, width))
    for sample in range(width * subcolumns):
        at = (sample + 0.5) / subcolumns
        covered = np.zeros(height)
        intervals = sorted(_pieces(x, y, at, r))
        reached = -np.inf
        for top, bottom in intervals:
            top = max(top, reached)
            if bottom > top:
                covered += np.clip(bottom - rows, 0, 1) - np.clip(top - rows, 0, 1)
                reached = bottom
        image[:, sample // subcolumns] += covered / subcolumns
    return np.clip(image, 0.0, 1.0)


def _pieces(x: np.ndarray, y: np.ndarray, at: float, r: float) -> list[tuple[float, float]]:
    """Where each unbroken piece of the stroke meets the vertical line at `at`: (top, bottom)."""
    finite = np.abs(y) <= 1e9
    found = []
    for run in np.split(np.arange(len(y)), np.flatnonzero(np.diff(finite.astype(int)) != 0) + 1):
        if not len(run) or not finite[run[0]]:
            continue
        px, py = x[run], y[run]
        if len(run) == 1:
            px, py = np.repeat(px, 2), np.repeat(py, 2)
        x0, x1, y0, y1 = px[:-1], px[1:], py[:-1], py[1:]
        low, high = np.maximum(x0 - at, -r), np.minimum(x1 - at, r)
        met = low <= high
        if not met.any():
            continue
        low, high, x0, x1, y0, y1 = (v[met] for v in (low, high, x0, x1, y0, y1))
        upright = x1 == x0
        slope = np.where(upright, 0.0, (y1 - y0) / np.where(upright, 1.0, x1 - x0))
        peak = r * slope / np.sqrt(1.0 + slope**2)

        def edge(t: np.ndarray, sign: float, ends: np.ndarray) -> np.ndarray:
            along = np.where(upright, ends, y0 + slope * (at + t - x0))  # noqa: B023 - used at once
            return along + sign * np.sqrt(np.maximum(r**2 - t**2, 0.0))

        bottom = edge(np.clip(peak, low, high), 1.0, np.maximum(y0, y1)).max()
        top = edge(np.clip(-peak, low, high), -1.0, np.minimum(y0, y1)).min()
        found.append((top, bottom))
    return found


def render(
    flux: np.ndarray, ivar: np.ndarray, wavelength: np.ndarray, *, style: str = "plot", size: int = 224, **options: Any
) -> np.ndarray:
    """One spectrum [N] to coverage [C, size, size] in [0, 1], "union"; see `spectromer.render`.

    Raises
    ------
    ValueError
        For coverage "agg", whose specification is matplotlib's renderer.
    """
    o = render_options(style, size, **options)
    if o["coverage"] != "union":
        raise ValueError(f"the reference draws coverage 'union' alone, got {o['coverage']!r}")
    flux, ivar = np.asarray(flux, np.float64), np.asarray(ivar, np.float64)
    x = None
    if o["wavelength_range"] is None:
        good = np.isfinite(flux) & np.isfinite(ivar) & (ivar > 0)
        own = np.asarray(wavelength, np.float64)
        first, last = own[good].min(initial=np.inf), own[good].max(initial=-np.inf)
        x = np.zeros(len(own)) if last <= first else (own - first) / (last - first) * size
    else:
        flux, ivar = resample(flux, ivar, wavelength, wavelength_grid(o, size).numpy())
        good = ivar > 0
    height = size if o["layout"] == "channels" else size // o["panels"]
    count = len(flux) // o["panels"]
    panels = []
    for i in range(o["panels"]):
        part = slice(i * count, (i + 1) * count)
        inside = good[part] if o["per_panel"] else good
        values = (flux[part] if o["per_panel"] else flux)[inside]
        bottom, top = _limits(values, o)
        share = o["margin"] + (1.0 - 2.0 * o["margin"]) * (flux[part] - bottom) / (top - bottom)
        y = np.where(good[part], height * (1.0 - share), np.nan)
        panels.append(rasterize(y, x, height=height, width=size, linewidth=o["linewidth"], subcolumns=o["subcolumns"]))
    return np.stack(panels) if o["layout"] == "channels" else np.concatenate(panels)[None]


def _limits(values: np.ndarray, options: dict[str, Any]) -> tuple[float, float]:
    """Flux at the bottom and the top of a panel; a flat spectrum runs through its middle."""
    if not isinstance(options["scale"], str):
        return options["scale"]
    if not len(values):
        return 0.0, 1.0
    ends = (0.0, 100.0) if options["scale"] == "minmax" else options["percentiles"]
    bottom, top = np.percentile(values, ends)
    return (bottom, top) if top > bottom else (bottom - 0.5, bottom + 0.5)
