"""render composed of torch ops and the other operators.

It draws the pictures for which there is no fused kernel, and those that exceed the memory of a GPU block. It is also a
check of the fused kernels.
"""

import math
from dataclasses import replace

import torch
from torch import Tensor

from spectromer.ops.quantities import LIMITS, relative
from spectromer.ops.raster import rasterize
from spectromer.ops.resample import resample
from spectromer.ops.scaling import limits, rounding
from spectromer.ops.tables import DTYPES, Tables, wavelength_grid
from spectromer.picture import RELATIVE, Picture
from spectromer.regions import mark_regions

__all__ = ["composite"]


def composite(
    flux: Tensor,  # [B, N]
    ivar: Tensor,  # [B, N]
    wavelength: Tensor,  # [N] or [B, N]
    picture: Picture,
) -> Tensor:  # [B, C, size, size]
    """Draw spectra; see `spectromer.render`."""
    if len(flux) == 0:
        return flux.new_empty(picture.shape(0), dtype=DTYPES[picture.dtype])
    grid = wavelength_grid(picture, flux.device)
    marks = mark_regions(flux, ivar, wavelength, grid, picture.regions)
    if grid is None:
        flux, ivar = flux.to(torch.float32), ivar.to(torch.float32)
        good = torch.isfinite(flux) & torch.isfinite(ivar) & (ivar > 0)
        index, inside = _native_pixels(good, picture.panels)
        x = _native_axis(wavelength.to(torch.float64).expand(good.shape), index, inside, picture)
    else:
        flux, ivar = resample(flux, ivar, wavelength, grid)
        good = ivar > 0
        index = torch.arange(picture.bins, device=flux.device).view(1, picture.panels, -1).expand(len(flux), -1, -1)
        inside = torch.ones_like(index, dtype=torch.bool)
        step = picture.size / index.shape[2]
        x = ((torch.arange(index.shape[2], device=flux.device) + 0.5) * step).float().expand(index.shape)
    values = flux.masked_fill(~good, torch.nan)
    shown_relative = {}
    if picture.wavelength_range is not None and set(picture.channels) & set(RELATIVE):
        low, high = picture.wavelength_range
        shown_relative = relative(flux, ivar, math.log(high / low) / picture.bins)

    def split(rows: Tensor) -> Tensor:
        """Split values of bins [B, N] into panels [B, panels, L]. Those of padding mean nothing."""
        return rows.gather(1, index.flatten(1)).view(index.shape) if grid is None else rows.view(index.shape)

    def in_panels(rows: Tensor) -> Tensor:
        """Split values of bins [B, N] into panels [B, panels, L], padded with NaN."""
        return split(rows).masked_fill(~inside, torch.nan) if grid is None else split(rows)

    planes = []
    for quantity in picture.channels:
        if quantity in ("mask", "regions"):
            marked = ~good if quantity == "mask" else marks.to(torch.bool).expand(good.shape)  # type: ignore[union-attr]
            shown = split(marked) & inside
            drawn = _squares(255 * shown.flatten(1), picture) if picture.block else _columns(x, shown, inside, picture)
        elif quantity in shown_relative:
            series = shown_relative[quantity]
            if quantity == "lines" and picture.block:  # what is masked is no line
                series = torch.where(good.any(1, keepdim=True), series.nan_to_num(0.0), series)
            scale = replace(picture, scale=LIMITS[quantity])
            drawn = _values(in_panels(series), None, x, scale, None)
        else:
            series = {"first": _gradient(values), "second": _gradient(_gradient(values))}.get(quantity, values)
            sigma = in_panels(ivar.rsqrt()) if quantity == "error" else None
            flux_of = in_panels(values) if quantity in ("first", "second") else None
            drawn = _values(in_panels(series), sigma, x, picture, flux_of)
        planes.append(drawn)
    return _channels(torch.cat(planes, 1), picture)


def _values(series: Tensor, sigma: Tensor | None, x: Tensor, picture: Picture, flux_of: Tensor | None) -> Tensor:
    """Draw values [B, panels, L], or their error band, as lines or squares; uint8 [B, planes, size, size].

    `flux_of` are the fluxes whose derivative the values are.
    """
    rows, panels, length = series.shape

    def limits_of(values: Tensor) -> tuple[Tensor, Tensor]:
        scale = "percentile" if flux_of is not None and isinstance(picture.scale, tuple) else picture.scale
        if picture.per_panel:
            return limits(values, scale, picture.percentiles)
        bottom, top = limits(values.flatten(1), scale, picture.percentiles)
        return bottom.reshape(-1, 1, 1), top.reshape(-1, 1, 1)

    bottom, top = limits_of(series)
    if flux_of is not None:
        least = rounding(*limits_of(flux_of))
    else:
        least = torch.zeros_like(top) if isinstance(picture.scale, tuple) else rounding(bottom, top)
    flat = ~(top - bottom > least)  # also true without a good bin
    span = torch.where(flat, (4096.0 * least).clamp(min=1.0), top - bottom)
    bottom = torch.where(flat, bottom - 0.5 * span, bottom)
    fraction = picture.margin + (1.0 - 2.0 * picture.margin) * (series - bottom) / span
    if sigma is not None:
        sigma = (1.0 - 2.0 * picture.margin) * sigma.masked_fill(series.isnan(), torch.nan) / span
        sigma = sigma.masked_fill(flat, torch.nan)
    if picture.block:
        return _squares(_levels(fraction if sigma is None else sigma).flatten(1), picture)
    height = picture.size // panels if picture.stacked else picture.size
    y = height * (1.0 - fraction)
    upper, lower = (y, None) if sigma is None else (y - height * sigma, (y + height * sigma).reshape(-1, length))
    images = rasterize(
        upper.reshape(-1, length),
        x.reshape(-1, length),
        height=height,
        width=picture.size,
        linewidth=picture.linewidth,
        coverage=picture.coverage,
        subcolumns=picture.subcolumns,
        band=lower,
    )
    return images.view(rows, -1, picture.size, picture.size)


def _levels(fraction: Tensor) -> Tensor:
    return (255.0 * fraction.nan_to_num(0.0).clamp(0.0, 1.0) + 0.5).to(torch.uint8)


def _gradient(values: Tensor) -> Tensor:
    """Central differences along the last axis, one-sided at a gap, NaN where a value has no neighbour."""
    gap = values.new_full((len(values), 1), torch.nan)
    left, right = torch.cat((gap, values[:, :-1]), 1), torch.cat((values[:, 1:], gap), 1)
    has_left, has_right = ~left.isnan(), ~right.isnan()
    steps = has_left.to(values.dtype) + has_right
    difference = torch.where(has_right, right, values) - torch.where(has_left, left, values)
    return (difference / steps.clamp(min=1)).masked_fill((steps == 0) | values.isnan(), torch.nan)


def _native_pixels(good: Tensor, panels: int) -> tuple[Tensor, Tensor]:
    """Split the pixels from the first good one to the last into panels, as numpy.array_split does.

    Returns
    -------
    index : Tensor [B, panels, L] int64
        Pixels of each panel.
    inside : Tensor [B, panels, L] bool
        False for padding.
    """
    pixels = good.shape[1]
    position = torch.arange(pixels, device=good.device)
    first = position.expand(good.shape).masked_fill(~good, pixels).amin(1)
    count = (position.expand(good.shape).masked_fill(~good, -1).amax(1) + 1 - first).clamp(min=0)
    panel = torch.arange(panels + 1, device=good.device)
    start = panel * (count // panels)[:, None] + torch.minimum(panel, (count % panels)[:, None])
    offset = torch.arange(-(-pixels // panels), device=good.device)
    index = (first[:, None] + start[:, :-1])[..., None] + offset
    return index.clamp(max=pixels - 1), offset < start.diff(dim=1)[..., None]


def _native_axis(wavelength: Tensor, index: Tensor, inside: Tensor, picture: Picture) -> Tensor:
    """Horizontal positions of each panel's pixels in the image, [B, panels, L] float32.

    The first pixel is at the left margin and the last at the right margin. Padding repeats the last position.
    """
    position = wavelength.log() if picture.axis == "log" else wavelength
    last = inside.sum(-1, keepdim=True) - 1
    index = index.gather(2, torch.minimum(torch.arange(index.shape[2], device=index.device), last.clamp(min=0)))
    position = position.gather(1, index.flatten(1)).view(index.shape)
    start, end = position[..., :1], position[..., -1:]
    fraction = (position - start) / torch.where(end > start, end - start, torch.ones_like(end))
    return (picture.size * (picture.side_margin + (1.0 - 2.0 * picture.side_margin) * fraction)).float()


def _squares(levels: Tensor, picture: Picture) -> Tensor:
    """Draw grey levels [B, L] as squares, uint8 [B, 1, size, size]."""
    block = picture.block or 1
    side = picture.size // block
    cells = levels.new_zeros((len(levels), side * side), dtype=torch.uint8)
    count = min(levels.shape[1], side * side)
    cells[:, :count] = levels[:, :count]
    cells = cells.view(-1, side, side)
    if picture.panels > 1:  # each panel is filled column after column
        cells = cells.view(len(cells), picture.panels, side, -1).transpose(2, 3).reshape(cells.shape)
    if picture.order == "boustrophedon":
        cells[:, 1::2] = cells[:, 1::2].flip(2)
    image = cells[:, :, None, :, None].expand(-1, -1, block, -1, block).reshape(-1, 1, side * block, side * block)
    rest = picture.size - side * block
    return torch.nn.functional.pad(image, (0, rest, 0, rest)) if rest else image


def _columns(x: Tensor, marked: Tensor, inside: Tensor, picture: Picture) -> Tensor:
    """Draw the fraction of each pixel column that marked bins [B, panels, L] cover; uint8 [B, planes, size, size]."""
    rows, panels, length = x.shape
    size = picture.size
    centre = x.double().reshape(-1, length)
    count = inside.sum(-1).reshape(-1, 1)
    step = centre.diff(dim=1)
    if length > 1:  # the last bin is as wide as the distance to the one before
        step = step.gather(
            1, torch.arange(length, device=x.device).expand(centre.shape).minimum(count - 2).clamp(min=0)
        )
    step = torch.where(count == 1, 2.0 * size, step) if length > 1 else centre.new_full(centre.shape, 2.0 * size)
    right = (centre + 0.5 * step).clamp(0, size)
    left = torch.cat((centre[:, :1] - 0.5 * step[:, :1], right[:, :-1]), 1).clamp(0, size)
    filled = torch.cumsum((right - left) * marked.reshape(-1, length), 1)
    edges = torch.arange(size + 1, dtype=torch.float64, device=x.device).expand(len(centre), -1).contiguous()
    bin_ = torch.searchsorted(right.contiguous(), edges).clamp(max=length - 1)
    before = filled - (right - left) * marked.reshape(-1, length)
    part = (edges - left.gather(1, bin_)).clamp(min=0).minimum((right - left).gather(1, bin_))
    cover = (before.gather(1, bin_) + part * marked.reshape(-1, length).gather(1, bin_)).diff(dim=1)
    height = size // panels if picture.stacked else size
    image = _levels(cover)[:, None].expand(-1, height, -1)
    return image.reshape(rows, -1, size, size)


def _channels(planes: Tensor, picture: Picture) -> Tensor:
    """Combine planes uint8 [B, K, size, size] into the channels of the image, in its data type."""
    if picture.plain and picture.dtype == "uint8":
        return planes
    tables = Tables.of(picture, planes.device)
    if tables.colormap is not None:
        levels = tables.colormap[planes[:, 0].long()].permute(0, 3, 1, 2).float()
    else:
        cover = planes.float() * (tables.alpha / 255.0).view(-1, 1, 1)
        ground = 255.0 if picture.ground == "light" else 0.0
        if tables.inks is None:
            levels = ground + (255.0 - 2.0 * ground) * cover
        else:
            levels = planes.new_full(picture.shape(len(planes)), ground, dtype=torch.float32)
            for k, ink in enumerate(tables.inks):
                levels = levels + (ink.view(3, 1, 1) - levels) * cover[:, k : k + 1]
        levels = (levels + 0.5).floor()
    if picture.dtype == "uint8":
        return levels.to(torch.uint8)
    factor, offset = tables.factor.view(-1, 1, 1), tables.offset.view(-1, 1, 1)
    return (factor * levels + offset).to(DTYPES[picture.dtype])
