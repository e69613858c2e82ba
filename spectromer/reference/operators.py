"""The specification of `resample`, `rasterize` and `render`."""

from typing import Any

import numpy as np

from spectromer.errors import require
from spectromer.ops.scaling import ROUNDING
from spectromer.ops.tables import Tables, wavelength_grid
from spectromer.picture import RELATIVE, Picture

__all__ = ["rasterize", "render", "resample"]


def _edges(centres: np.ndarray) -> np.ndarray:
    middle = 0.5 * (centres[1:] + centres[:-1])
    return np.concatenate(([centres[0] - (middle[0] - centres[0])], middle, [centres[-1] + (centres[-1] - middle[-1])]))


def _fill_gaps(
    flux: np.ndarray, ivar: np.ndarray, wavelength: np.ndarray, max_gap: float | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Put two masked pixels into every gap of a spectrum, one typical step from either end."""
    step = np.diff(wavelength)
    for i in reversed(range(len(step))):
        before = step[max(i - 2, 0) : i].min(initial=np.inf)
        after = step[i + 1 : i + 3].min(initial=np.inf)
        sides = [side for side in (before, after) if np.isfinite(side)]
        if max_gap is None or not sides or step[i] <= max_gap * max(sides):
            continue
        missing = (
            wavelength[i] + (before if before in sides else after),
            wavelength[i + 1] - (after if after in sides else before),
        )
        wavelength = np.insert(wavelength, i + 1, missing)
        flux, ivar = np.insert(flux, i + 1, (0.0, 0.0)), np.insert(ivar, i + 1, (0.0, 0.0))
    return flux, ivar, wavelength


def resample(
    flux: np.ndarray,
    ivar: np.ndarray,
    wavelength: np.ndarray,
    grid: np.ndarray,
    *,
    method: str = "flux_conserving",
    coverage: float = 0.0,
    max_gap: float | None = 5.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Resample one spectrum [N] to [M] with the full matrix of weights; see `spectromer.resample`."""
    flux, ivar = np.asarray(flux, np.float64), np.asarray(ivar, np.float64)
    wavelength, grid = np.asarray(wavelength, np.float64), np.asarray(grid, np.float64)
    flux, ivar, wavelength = _fill_gaps(flux, ivar, wavelength, max_gap)
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
    kept = total >= np.maximum(required * (1 - 1e-6), 2.0**-42) * full
    norm = np.where(kept, total, 1.0)
    variance = (weights**2 / np.where(good, ivar, 1.0)).sum(1) / norm**2
    out_flux = (weights * np.where(good, flux, 0.0)).sum(1) / norm
    out_ivar = np.minimum(1.0 / np.where(kept, variance, 1.0), np.finfo(np.float32).max)
    return np.where(kept, out_flux, 0.0), np.where(kept, out_ivar, 0.0)


def rasterize(
    y: np.ndarray,
    x: np.ndarray | None = None,
    *,
    height: int = 224,
    width: int = 224,
    linewidth: float = 1.0,
    subcolumns: int = 256,
    band: np.ndarray | None = None,
) -> np.ndarray:
    """Draw one line or band [P] as coverage [H, W] in [0, 1], with coverage "union"; see `spectromer.rasterize`.

    The vertical line in the middle of each sub-column intersects the discs along each unbroken piece of the line in one
    interval. The coverage is the length of the union of these intervals.
    """
    y = np.asarray(y, np.float64)
    x = (np.arange(len(y)) + 0.5) * width / max(len(y), 1) if x is None else np.asarray(x, np.float64)
    r = 0.5 * linewidth
    rows = np.arange(height)
    image = np.zeros((height, width))
    for sample in range(width * subcolumns):
        at = (sample + 0.5) / subcolumns
        covered = np.zeros(height)
        intervals = sorted(_pieces(x, y, at, r)) if band is None else _between(x, y, band, at)
        reached = -np.inf
        for top, bottom in intervals:
            top = max(top, reached)
            if bottom > top:
                covered += np.clip(bottom - rows, 0, 1) - np.clip(top - rows, 0, 1)
                reached = bottom
        image[:, sample // subcolumns] += covered / subcolumns
    return np.clip(image, 0.0, 1.0)


def _between(x: np.ndarray, y: np.ndarray, band: np.ndarray, at: float) -> list[tuple[float, float]]:
    """Interval (top, bottom) of the vertical line at `at` between two lines, as a list that may be empty."""
    if len(x) < 2 or not x[0] <= at <= x[-1]:
        return []
    ends = [np.interp(at, x, np.where(np.abs(edge) <= 1e9, edge, np.nan)) for edge in (y, band)]
    return [(min(ends), max(ends))] if np.isfinite(ends).all() else []


def _pieces(x: np.ndarray, y: np.ndarray, at: float, r: float) -> list[tuple[float, float]]:
    """Intervals (top, bottom) of the vertical line at `at` that each unbroken piece of the stroke covers."""
    finite = np.abs(y) <= 1e9
    intervals = []
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
            along = np.where(upright, ends, y0 + slope * (at + t - x0))  # noqa: B023 - called in the same iteration
            return along + sign * np.sqrt(np.maximum(r**2 - t**2, 0.0))

        bottom = edge(np.clip(peak, low, high), 1.0, np.maximum(y0, y1)).max()
        top = edge(np.clip(-peak, low, high), -1.0, np.minimum(y0, y1)).min()
        intervals.append((top, bottom))
    return intervals


def render(
    flux: np.ndarray,
    ivar: np.ndarray,
    wavelength: np.ndarray,
    *,
    style: str = "plot",
    size: int = 224,
    marks: np.ndarray | None = None,
    **options: Any,
) -> np.ndarray:
    """Draw one spectrum [N] as an image [C, size, size]; see `spectromer.render`.

    Parameters
    ----------
    flux, ivar, wavelength : ndarray [N]
        Flux density, its inverse variance, and the wavelength in Angstrom.
    style, size, **options
        As in `spectromer.render`.
    marks : ndarray [bins] or [N], optional
        Bins, or native pixels where the wavelength range is not fixed, that the channel "regions" shows.

    Returns
    -------
    ndarray [C, size, size] float64
        Grey levels divided by 255 for dtype "uint8", normalised values for the other types.

    Raises
    ------
    ArgumentError
        If an option breaks its rule, or if coverage is "agg", whose specification is matplotlib's renderer.
    """
    p = Picture.of(style, size, **options)
    require(p.coverage == "union", f"coverage must be 'union' in the reference, got {p.coverage!r}")
    flux, ivar = np.asarray(flux, np.float64), np.asarray(ivar, np.float64)
    if p.wavelength_range is None:
        good = np.flatnonzero(np.isfinite(flux) & np.isfinite(ivar) & (ivar > 0))
        native = slice(good[0], good[-1] + 1) if len(good) else slice(0, 0)
        position = np.asarray(wavelength, np.float64)[native]
        position = np.log(position) if p.axis == "log" else position
        flux, ivar, marks = flux[native], ivar[native], None if marks is None else np.asarray(marks)[native]
    else:
        flux, ivar = resample(flux, ivar, wavelength, np.asarray(wavelength_grid(p)))
        position = np.arange(len(flux), dtype=np.float64)
    value = np.where(np.isfinite(flux) & np.isfinite(ivar) & (ivar > 0), flux, np.nan)
    pieces = np.array_split(np.arange(len(value)), p.panels)
    planes = []
    for quantity in p.channels:
        drawn = [_panel(quantity, value, ivar, marks, position, piece, p) for piece in pieces]
        planes += [np.concatenate(drawn)] if p.stacked else drawn
    return _ink(np.stack(planes), p)


def _panel(
    quantity: str,
    value: np.ndarray,
    ivar: np.ndarray,
    marks: np.ndarray | None,
    position: np.ndarray,
    piece: np.ndarray,
    p: Picture,
) -> np.ndarray:
    """Plane [height, size] that shows one quantity of the bins `piece`."""
    height = p.size // p.panels if p.stacked else p.size
    if quantity in ("mask", "regions"):
        marked = (np.isnan(value) if quantity == "mask" else np.asarray(marks, bool))[piece]
        if p.block:
            return _squares(marked.astype(float), p)
        return np.repeat(_columns(_axis(position[piece], p), marked, p.size)[None], height, 0)
    series = value
    if quantity in RELATIVE:
        assert p.wavelength_range is not None
        step = np.log(p.wavelength_range[1] / p.wavelength_range[0]) / len(value)
        series = _relative(quantity, value, ivar, step, bool(p.block))
    for _ in range({"first": 1, "second": 2}.get(quantity, 0)):
        series = _gradient(series)
    scaled = piece if p.per_panel else slice(None)
    bottom, top = _limits(series[scaled], value[scaled], p, quantity)
    fraction = p.margin + (1.0 - 2.0 * p.margin) * (series[piece] - bottom) / ((top - bottom) or 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        sigma = (1.0 - 2.0 * p.margin) / (top - bottom) / np.sqrt(ivar[piece])
    if p.block:
        shown = np.where(np.isnan(fraction), 0.0, np.clip(sigma if quantity == "error" else fraction, 0.0, 1.0))
        return _squares(shown, p)
    x = _axis(position[piece], p)
    y, band = height * (1.0 - fraction), None
    if quantity == "error":
        y, band = y - height * sigma, y + height * sigma
    return rasterize(y, x, height=height, width=p.size, linewidth=p.linewidth, subcolumns=p.subcolumns, band=band)


def _relative(quantity: str, value: np.ndarray, ivar: np.ndarray, step: float, filled: bool) -> np.ndarray:
    """The quantity of each bin that is relative to the smooth continuum; see `spectromer.ops.quantities`."""
    half, good = max(1, round(1.0 / 32.0 / step)), ~np.isnan(value)
    windows = [slice(max(0, i - half), i + half + 1) for i in range(len(value))]

    def smoothed(series: np.ndarray) -> Any:
        """The mean of the good bins in a window, as the ratio of sums over windows of sums over windows."""
        total, count = np.where(good, series, 0.0), good.astype(float)
        for _ in range(2):
            total, count = (np.array([x[one].sum() for one in windows]) for x in (total, count))
        return total / np.maximum(count, 1.0)

    with np.errstate(divide="ignore", invalid="ignore"):
        continuum, sigma = smoothed(value), np.sqrt(smoothed(1.0 / ivar))
        bright, depth = np.maximum(continuum, 0.0), (value - continuum) / np.maximum(continuum, sigma)
        found = {
            "lines": np.arcsinh(8.0 * depth) / np.arcsinh(32.0),
            "continuum": bright / (bright + np.abs(continuum[good]).sum() / max(1, good.sum())),
            "snr": np.log1p(bright * np.sqrt(ivar)) / np.log(301.0),
        }[quantity]
    masked = 0.0 if quantity == "lines" and filled and good.any() else np.nan  # what is masked is no line
    return np.where(good, np.nan_to_num(found), masked)


def _limits(values: np.ndarray, flux: np.ndarray, p: Picture, quantity: str) -> tuple[float, float]:
    """Values at the bottom and the top of a panel. What differs by rounding alone is drawn in the middle."""
    if quantity in RELATIVE:
        return (-1.0, 1.0) if quantity == "lines" else (0.0, 1.0)
    if not isinstance(p.scale, str) and quantity in ("flux", "error"):
        return p.scale
    if np.isnan(values).all():
        return 0.0, 1.0
    ends = (0.0, 100.0) if p.scale == "minmax" else p.percentiles
    bottom, top = np.percentile(values[~np.isnan(values)], ends)
    rounding = ROUNDING * np.abs(np.percentile(flux[~np.isnan(flux)], ends)).max()
    if top - bottom > rounding:
        return bottom, top
    half = 0.5 * max(4096.0 * rounding, 1.0)
    return (bottom, bottom) if quantity == "error" else (bottom - half, bottom + half)


def _axis(position: np.ndarray, p: Picture) -> np.ndarray:
    """Positions in pixels from the left edge of the image."""
    if p.wavelength_range is not None:
        return (np.arange(len(position)) + 0.5) * p.size / len(position)
    fraction = (position - position[:1]) / ((position[-1] - position[0]) or 1.0) if len(position) else position
    return p.size * (p.side_margin + (1.0 - 2.0 * p.side_margin) * fraction)


def _gradient(values: np.ndarray) -> np.ndarray:
    """Gradient of every run without NaN, by numpy.gradient. The gradient of a run of one value is NaN."""
    out = np.full(len(values), np.nan)
    for run in np.split(np.arange(len(values)), np.flatnonzero(np.diff(np.isnan(values).astype(int)) != 0) + 1):
        if len(run) > 1:
            out[run] = np.gradient(values[run])
    return out


def _columns(x: np.ndarray, marked: np.ndarray, size: int) -> np.ndarray:
    """Fraction of each pixel column that marked bins cover."""
    if len(x) < 2:
        return np.full(size, float(marked.any()))
    bins = _edges(x)
    column = np.arange(size)[:, None]
    overlap = np.minimum(bins[1:], column + 1) - np.maximum(bins[:-1], column)
    fraction: np.ndarray = np.clip((np.maximum(overlap, 0.0) * marked).sum(1), 0.0, 1.0)
    return fraction


def _squares(levels: np.ndarray, p: Picture) -> np.ndarray:
    """Draw each bin of a panel as a square of pixels with its grey level."""
    block = p.block or 1
    image = np.zeros((p.size // p.panels, p.size))
    rows, columns = image.shape[0] // block, image.shape[1] // block
    for i, level in enumerate(levels[: rows * columns]):
        row, column = divmod(i, columns)
        if p.panels > 1:  # column after column
            column, row = divmod(i, rows)
        if p.order == "boustrophedon" and row % 2:
            column = columns - 1 - column
        image[row * block : (row + 1) * block, column * block : (column + 1) * block] = level
    return image


def _ink(planes: np.ndarray, p: Picture) -> np.ndarray:
    """Combine planes [K, size, size] into the channels of the image."""
    tables = Tables.of(p)
    ground = 1.0 if p.ground == "light" else 0.0
    cover = planes * tables.alpha.numpy()[:, None, None]
    image: np.ndarray
    if tables.colormap is not None:
        image = tables.colormap.numpy()[np.rint(255 * planes[0]).astype(int)].transpose(2, 0, 1) / 255.0
    elif tables.inks is not None:
        image = np.full((3, p.size, p.size), ground)
        for ink, fraction in zip(tables.inks.numpy() / 255.0, cover, strict=True):
            image += (ink[:, None, None] - image) * fraction
    else:
        image = ground + (1.0 - 2.0 * ground) * cover
    if p.dtype == "uint8":
        return image
    mean, std = (np.broadcast_to(v, len(image))[:, None, None] for v in (p.mean, p.std))
    normalised: np.ndarray = (image - mean) / std
    return normalised
