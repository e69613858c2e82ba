"""From spectra to images in one call: resample, scale, rasterize."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from spectromer.ops._native import require
from spectromer.ops.raster import rasterize
from spectromer.ops.resample import resample

if TYPE_CHECKING:
    from spectromer.spectra import SpectrumBatch

LAYOUTS = ("rows", "channels")
AXES = ("log", "linear")
SCALES = ("percentile", "minmax")

#: What each style sets; any of it can be overridden by name.
STYLES: dict[str, dict[str, Any]] = {
    "plot": {},
    "panels": {"panels": 4},
    "overlap": {"panels": 3, "layout": "channels"},
    "thesis": {"wavelength_range": None, "scale": "minmax", "coverage": "agg"},
}


def render(
    batch: "SpectrumBatch",
    *,
    style: str = "plot",
    size: int = 224,
    **options: Any,
) -> Tensor:  # [B, C, size, size] uint8
    """Draw every spectrum of a batch as an image.

    Parameters
    ----------
    batch : SpectrumBatch
        B spectra.
    style : {"plot", "panels", "overlap", "thesis"}
        "plot": one line plot. "panels": the wavelength range cut into segments, one under the other. "overlap":
        three segments over one another as the channels of one image. "thesis": each spectrum over its own range of
        wavelength, pixel by pixel, from its lowest to its highest flux, drawn as matplotlib draws.
    size : int
        Height and width of the image in pixels.
    **options
        What a style sets, to be set otherwise:

        panels : int, default 1
            Segments of the wavelength range, equal along the axis. In rows, `size` must be a multiple of it.
        layout : {"rows", "channels"}, default "rows"
            Segments under one another, or one channel each.
        wavelength_range : (float, float) or None, default (3600, 10000)
            Angstrom. Fixed, so that a pixel always means one wavelength; None takes each spectrum's own good range
            and draws its own pixels (one panel, linear axis).
        axis : {"log", "linear"}, default "log"
            What is equally spaced from left to right.
        scale : {"percentile", "minmax"} or (float, float), default "percentile"
            Which flux stands at the bottom and the top: percentiles or extremes of the good bins, or fixed values.
        percentiles : (float, float), default (0.5, 99.5)
        per_panel : bool, default False
            Scale each panel by itself.
        margin : float, default 0.05
            Share of a panel's height left free above and below the scale's two ends.
        points : int, default 2
            Wavelength bins drawn per pixel column.
        linewidth : float, default 1.0
            Pixels.
        coverage : {"union", "agg"}, default "union"
        subcolumns : int, default 8
            As in `rasterize`.

    Returns
    -------
    Tensor [B, C, size, size] uint8
        0 = empty, 255 = covered by the line. C is `panels` for channels, else 1. A bin without a good pixel leaves
        a gap; a spectrum without any is an empty image.

    Raises
    ------
    ValueError
        For an unknown style or option, or a value that breaks the rules above.
    """
    o = render_options(style, size, **options)
    fixed = o["wavelength_range"] is not None
    grid = wavelength_grid(o, size, batch.flux.device) if fixed else None
    low, high = (0.0, 0.0)
    scale = o["scale"]
    if scale == "percentile":
        low, high = o["percentiles"]
    elif not isinstance(scale, str):
        (low, high), scale = scale, "fixed"
    return torch.ops.spectromer.render(
        batch.flux,
        batch.ivar,
        batch.wavelength,
        grid,
        o["panels"],
        o["layout"] == "channels",
        size,
        scale,
        low,
        high,
        o["per_panel"],
        o["margin"],
        o["linewidth"],
        o["coverage"],
        o["subcolumns"],
    )


def render_options(style: str, size: int, **options: Any) -> dict[str, Any]:
    """Every option of `render`, checked: the defaults, what `style` sets, and `options` on top."""
    require(style in STYLES, f"style must be one of {tuple(STYLES)}, got {style!r}")
    o: dict[str, Any] = {
        "panels": 1,
        "layout": "rows",
        "wavelength_range": (3600.0, 10000.0),
        "axis": "log",
        "scale": "percentile",
        "percentiles": (0.5, 99.5),
        "per_panel": False,
        "margin": 0.05,
        "points": 2,
        "linewidth": 1.0,
        "coverage": "union",
        "subcolumns": 8,
    }
    unknown = sorted(set(options) - set(o))
    require(not unknown, f"render has no option {', '.join(unknown)}; it has {', '.join(o)}")
    o |= STYLES[style] | options
    require(size >= 1 and o["panels"] >= 1, f"size and panels must be at least 1, got {size} and {o['panels']}")
    require(o["layout"] in LAYOUTS, f"layout must be one of {LAYOUTS}, got {o['layout']!r}")
    require(
        o["layout"] == "channels" or size % o["panels"] == 0,
        f"size must be a multiple of panels for panels in rows, got size {size} and panels {o['panels']}",
    )
    require(o["axis"] in AXES, f"axis must be one of {AXES}, got {o['axis']!r}")
    require(o["points"] >= 1, f"points must be at least 1, got {o['points']}")
    require(0.0 <= o["margin"] < 0.5, f"margin must lie in [0, 0.5), got {o['margin']}")
    if o["wavelength_range"] is None:
        require(o["panels"] == 1, f"panels must be 1 where wavelength_range is None, got {o['panels']}")
    else:
        low, high = o["wavelength_range"]
        require(0.0 < low < high, f"wavelength_range must be two rising Angstrom values, got {(low, high)}")
    if isinstance(o["scale"], str):
        require(o["scale"] in SCALES, f"scale must be one of {SCALES} or two fluxes, got {o['scale']!r}")
        low, high = o["percentiles"]
        require(0.0 <= low < high <= 100.0, f"percentiles must rise within [0, 100], got {(low, high)}")
    else:
        low, high = o["scale"]
        require(low < high, f"scale must be two rising fluxes, got {(low, high)}")
    return o


def wavelength_grid(options: dict[str, Any], size: int, device: torch.device | str = "cpu") -> Tensor:
    """Centres, in Angstrom, of the bins `render` draws: [panels * size * points] float64, panel after panel."""
    count = options["panels"] * size * options["points"]
    centres = (torch.arange(count, dtype=torch.float64, device=device) + 0.5) / count
    low, high = options["wavelength_range"]
    if options["axis"] == "linear":
        return low + (high - low) * centres
    return low * (high / low) ** centres


def limits(flux: Tensor, good: Tensor, scale: str, low: float, high: float) -> tuple[Tensor, Tensor]:
    """Flux at the bottom and the top, [..., 1], over the good values of the last axis (numpy's linear percentiles)."""
    if scale == "fixed":
        return flux.new_full((1,), low), flux.new_full((1,), high)
    if scale == "minmax":
        bottom = flux.masked_fill(~good, torch.inf).amin(-1, keepdim=True)
        top = flux.masked_fill(~good, -torch.inf).amax(-1, keepdim=True)
        return bottom, top
    ordered = flux.masked_fill(~good, torch.inf).sort(-1).values
    last = (good.sum(-1, keepdim=True) - 1).clamp(min=0)

    def at(percentile: float) -> Tensor:
        position = percentile / 100.0 * last.to(torch.float64)
        below = position.floor().to(torch.int64)
        a, b = ordered.gather(-1, below), ordered.gather(-1, torch.minimum(below + 1, last))
        return a + (b - a) * (position - below).to(a.dtype)

    return at(low), at(high)


def _to_pixels(flux: Tensor, good: Tensor, scale: str, low: float, high: float, margin: float, height: int) -> Tensor:
    """Pixels from the top edge; NaN where not good."""
    bottom, top = limits(flux, good, scale, low, high)
    flat = ~(top > bottom)  # also where nothing is good
    bottom = torch.where(flat, bottom - 0.5, bottom)
    span = torch.where(flat, torch.ones_like(top), top - bottom)
    share = margin + (1.0 - 2.0 * margin) * (flux - bottom) / span
    return (height * (1.0 - share)).masked_fill(~good, torch.nan)


def _own_axis(wavelength: Tensor, good: Tensor, width: int) -> Tensor:
    """Each spectrum's pixels from the left edge, its first good one at 0 and its last at `width`; [B, N] float32."""
    wavelength = wavelength.to(torch.float64).expand(good.shape)
    first = wavelength.masked_fill(~good, torch.inf).amin(-1, keepdim=True)
    last = wavelength.masked_fill(~good, -torch.inf).amax(-1, keepdim=True)
    span = torch.where(last > first, last - first, torch.ones_like(last))
    x = (wavelength - torch.where(last >= first, first, wavelength)) / span * width
    return x.clamp(-1e6, 1e6).to(torch.float32)


def _forward(
    flux: Tensor,
    ivar: Tensor,
    wavelength: Tensor,
    grid: Tensor | None,
    panels: int,
    channels: bool,
    size: int,
    scale: str,
    low: float,
    high: float,
    per_panel: bool,
    margin: float,
    linewidth: float,
    coverage: str,
    subcolumns: int,
) -> Tensor:
    rows = flux.shape[0]
    x = None
    if grid is None:
        flux = flux.to(torch.float32)
        good = torch.isfinite(flux) & torch.isfinite(ivar) & (ivar > 0)
        x = _own_axis(wavelength, good, size)
    else:
        flux, ivar = resample(flux, ivar, wavelength, grid)
        good = ivar > 0
    height = size if channels else size // panels
    one_panel = (rows * panels, flux.shape[1] // panels)
    if per_panel:
        flux, good = flux.reshape(one_panel), good.reshape(one_panel)
    y = _to_pixels(flux, good, scale, low, high, margin, height).reshape(one_panel)
    images = rasterize(y, x, height=height, width=size, linewidth=linewidth, coverage=coverage, subcolumns=subcolumns)
    # Panels lie one behind the other in memory: as channels, or as the rows of one image, without a copy.
    return images.view((rows, panels, size, size) if channels else (rows, 1, size, size))


def _fake(
    flux: Tensor,
    ivar: Tensor,
    wavelength: Tensor,
    grid: Tensor | None,
    panels: int,
    channels: bool,
    size: int,
    *_: object,
) -> Tensor:
    return flux.new_empty((flux.shape[0], panels if channels else 1, size, size), dtype=torch.uint8)


torch.library.define(
    "spectromer::render",
    "(Tensor flux, Tensor ivar, Tensor wavelength, Tensor? grid, int panels, bool channels, int size, str scale, "
    "float low, float high, bool per_panel, float margin, float linewidth, str coverage, int subcolumns) -> Tensor",
)
torch.library.impl("spectromer::render", ("cpu", "cuda"), _forward)
torch.library.register_fake("spectromer::render", _fake)
