"""From spectra to images in one call: resample, scale, rasterize."""

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from spectromer.ops._native import _C, CACHES, dense, kept_for_graphs, output
from spectromer.ops.composite import composite
from spectromer.ops.picture import DTYPES, Picture, Tables, frozen, wavelength_grid
from spectromer.ops.raster import COVERAGES
from spectromer.ops.resample import ResampleCall, check_spectra
from spectromer.regions import mark_regions

if TYPE_CHECKING:
    from spectromer.spectra import SpectrumBatch


def render(
    batch: "SpectrumBatch",
    *,
    style: str = "plot",
    size: int = 224,
    **options: Any,
) -> Tensor:  # [B, C, size, size]
    """Draw every spectrum of a batch as an image.

    Parameters
    ----------
    batch : SpectrumBatch
        B spectra.
    style : str
        What is drawn, and how; every option below can be set otherwise.

        "plot"
            One line plot.
        "panels"
            The wavelength range cut into segments, one under the other.
        "overlap"
            Three segments over one another, as the channels of one image.
        "folded"
            A square of pixels for each bin, in rows from left to right.
        "thesis-plot", "thesis-overlap"
            matplotlib's figure of each spectrum over its own range, pixel by pixel, from its lowest to its highest
            flux; the spectrum in one piece, or in three over one another in red, green and blue.
        "thesis-map", "thesis-map-channels", "thesis-map-regions"
            A square for each of the spectrum's own pixels: in the colours of viridis between fixed fluxes; flux and
            its two derivatives as channels; flux and spectral lines as channels.
    size : int
        Height and width of the image in pixels.
    **options
        What is drawn:

        channels : tuple of names, default ("flux",)
            "flux", its derivatives "first" and "second" (between neighbouring bins, one-sided at a gap, each with a
            scale of its own), "error" (the band of one standard deviation around the flux; as a square, sigma on
            the flux's scale), "mask" (bins without a good pixel) and "regions" (bins in regions of interest).
        regions : "lines" or sequence of (float, float), optional
            What the channel "regions" marks: spectral lines, as `spectromer.regions.find_lines` finds them, or
            windows in Angstrom.
        panels : int, default 1
            Segments of the wavelength range, equal along the axis. In rows, `size` must be a multiple of it.
        layout : {"rows", "channels"}, default "rows"
            Segments under one another, or one channel each.
        wavelength_range : (float, float) or None, default (3600, 10000)
            Angstrom. Fixed, so that a pixel always means one wavelength; None takes each spectrum's own good range
            and draws its own pixels (panels then have equal numbers of them).
        axis : {"log", "linear"}, default "log"
            What is equally spaced from left to right.
        scale : {"percentile", "minmax"} or (float, float), default "percentile"
            Which flux stands at the bottom and the top: percentiles or extremes of the good bins, or fixed values
            (derivatives then go by percentiles).
        percentiles : (float, float), default (0.5, 99.5)
        per_panel : bool, default False
            Scale each panel by itself.
        margin : float, default 0.05
            Share of a panel's height left free above and below the scale's two ends.
        side_margin : float, default 0
            Share of the width left free at both sides, for `wavelength_range` None.

        Lines:

        points : int, default 2
            Wavelength bins drawn per pixel column.
        linewidth : float, default 1.0
            Pixels.
        coverage : {"union", "agg"}, default "union"
        subcolumns : int, default 8
            As in `rasterize`.

        Squares:

        block : int, optional
            Height and width, in pixels, of the square that stands for a bin. Without it, lines are drawn.
        order : {"standard", "boustrophedon"}, default "standard"
            Rows all from left to right, or every other one back. Masked bins, and what the bins leave over, are 0.

        The image:

        ground : {"dark", "light"}, default "dark"
            Ink of 255 on 0, or of 0 on 255.
        colors : sequence of colours, optional
            As matplotlib names them, one for each channel (and panel in a channel): all are drawn over one another,
            in that order, in one image of R, G and B, on black or white.
        alpha : float or one for each, default 1
            Opacity of each such plane.
        colormap : str, optional
            One of matplotlib's, for the levels of a single channel: an image of R, G and B.
        dtype : {"uint8", "float32", "bfloat16"} or torch.dtype, default "uint8"
        mean, std : float or one for each channel, default 0 and 1
            Other dtypes hold (level / 255 - mean) / std.

    Returns
    -------
    Tensor [B, C, size, size]
        Levels of uint8 run from 0 (empty) to 255 (covered by the line). A bin without a good pixel leaves a gap; a
        spectrum without any is an empty image.

    Raises
    ------
    ValueError
        For an unknown style or option, or a value that breaks the rules above.
    """
    return torch.ops.spectromer.render(batch.flux, batch.ivar, batch.wavelength, _checked(style, size, **options))


@torch.compiler.assume_constant_result
def _checked(style: str, size: int, **options: Any) -> str:
    """The picture's options; constant for torch.compile."""
    return _checked_once(style, size, tuple((name, frozen(value)) for name, value in options.items()))


@lru_cache(maxsize=256)
def _checked_once(style: str, size: int, options: tuple[tuple[str, Any], ...]) -> str:
    return Picture.of(style, size, **dict(options)).to_json()


class _Drawing(NamedTuple):
    """What follows from the options and the device alone."""

    picture: Picture
    grid: Tensor | None
    tables: Tables
    args: "_C.RenderArgs"


@lru_cache(maxsize=64)
def _drawing(options: str, device: torch.device) -> _Drawing:
    picture = Picture.from_json(options)
    tables = Tables.of(picture, device)
    scale, (low, high) = (picture.scale, (0.0, 0.0)) if isinstance(picture.scale, str) else ("fixed", picture.scale)
    args = _C.RenderArgs(
        size=picture.size,
        panels=picture.panels,
        stacked=picture.stacked,
        log_axis=picture.axis == "log",
        quantities=tables.quantities.data_ptr(),
        quantity_count=len(tables.quantities),
        block=picture.block or 0,
        boustrophedon=picture.order == "boustrophedon",
        scale=_C.Scale.__members__[scale],
        fixed_low=low,
        fixed_high=high,
        percentiles=picture.percentiles,
        per_panel=picture.per_panel,
        margin=picture.margin,
        side_margin=picture.side_margin,
        linewidth=picture.linewidth,
        subcolumns=picture.subcolumns,
        coverage=COVERAGES[picture.coverage],
        alpha=tables.alpha.data_ptr(),
        inks=0 if tables.inks is None else tables.inks.data_ptr(),
        light=picture.ground == "light",
        plain=picture.plain,
        colormap=0 if tables.colormap is None else tables.colormap.data_ptr(),
        type=_C.PixelType.__members__[picture.dtype],
        factor=tables.factor.data_ptr(),
        offset=tables.offset.data_ptr(),
    )
    return _Drawing(picture, wavelength_grid(picture, device), tables, args)


def _forward(flux: Tensor, ivar: Tensor, wavelength: Tensor, options: str) -> Tensor:
    picture, grid, _, drawing = kept_for_graphs(_drawing(options, flux.device), flux.device)
    spectra = ResampleCall(flux, ivar, wavelength, grid, "flux_conserving", 0.0, None, None)
    found = mark_regions(flux, ivar, wavelength, grid, picture.regions)
    marks = None if found is None else dense(found, torch.uint8)
    out = output(picture.shape(spectra.rows), DTYPES[picture.dtype], flux.device)
    args = drawing.with_spectra(
        spectra.planned_args(),
        out.data_ptr(),
        0 if marks is None else marks.data_ptr(),
        marks is not None and marks.ndim == 1,
    )
    if spectra.run("render", args) is False:  # a spectrum takes more than a GPU's block of threads shares
        return composite(flux, ivar, wavelength, picture)
    return out


def _fake(flux: Tensor, ivar: Tensor, wavelength: Tensor, options: str) -> Tensor:
    picture = Picture.from_json(options)
    rows, _ = check_spectra(flux, ivar, wavelength, None, None)
    return flux.new_empty(picture.shape(rows), dtype=DTYPES[picture.dtype])


torch.library.define(
    "spectromer::render", "(Tensor flux, Tensor ivar, Tensor wavelength, str options) -> Tensor", tags=CACHES
)
torch.library.impl("spectromer::render", ("cpu", "cuda"), _forward)
torch.library.register_fake("spectromer::render", _fake)
