"""Rendering of spectra as images in one call, which resamples, scales and rasterizes."""

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from spectromer.errors import ArgumentError
from spectromer.forms import batch_of, in_own_units
from spectromer.ops._native import _C, CACHES, dense, kept_for_graphs, output
from spectromer.ops.checks import check_spectra
from spectromer.ops.composite import composite
from spectromer.ops.inputs import tensor_of
from spectromer.ops.raster import COVERAGES
from spectromer.ops.resample import MAX_GAP, ResampleCall
from spectromer.ops.tables import DTYPES, Tables, wavelength_grid
from spectromer.picture import Picture, hashable
from spectromer.regions import mark_regions

if TYPE_CHECKING:
    from spectromer.spectra import SpectrumBatch


def render(
    spectra: Any,
    *,
    style: str = "plot",
    size: int = 224,
    ivar: Any = None,
    wavelength: Any = None,
    **options: Any,
) -> Tensor:  # [B, C, size, size]
    """Draw spectra as images.

    Parameters
    ----------
    spectra : SpectrumBatch, Spectrum, object of specutils, list of these, or array-like [N] or [B, N]
        B spectra, or their flux; see `spectromer.forms.batch_of`.
    style : str
        The kind of picture. It sets the defaults of the options below.

        "plot"
            One line plot.
        "panels"
            Segments of the wavelength range, one below the other.
        "overlap"
            Three segments on top of each other, as the channels of one image.
        "folded"
            A square of pixels for each bin, in rows from left to right.
        "strips"
            A square for each bin, in panels that are filled column after column, so that a square part of the image
            shows neighbouring bins. The channels are the lines, the continuum and the signal-to-noise ratio.
        "thesis-plot", "thesis-overlap"
            matplotlib's figure of each spectrum, with the spectrum's own pixels, wavelength range and flux range. The
            spectrum is drawn in one piece, or as three pieces on top of each other in red, green and blue.
        "thesis-map", "thesis-map-channels", "thesis-map-regions"
            A square for each of the spectrum's own pixels, in the colours of viridis between fixed fluxes; with flux
            and its two derivatives as channels; or with flux and spectral lines as channels.
    size : int
        Height and width of the image in pixels.
    ivar, wavelength : array-like [N] or [B, N], optional
        The inverse variance and the wavelength of a flux.
    **options
        The fields of `spectromer.Picture`, which explains them: channels, panels, layout, wavelength_range, axis,
        scale, percentiles, per_panel, margin, side_margin, points, linewidth, coverage, subcolumns, block, order,
        regions, ground, colors, alpha, colormap, dtype, mean, std.

    Returns
    -------
    Tensor [B, C, size, size]
        The images. Grey levels of type uint8 run from 0 (empty) to 255 (covered by the line). A bin without a good
        pixel leaves a gap, and so do missing pixels, as `spectromer.resample` tells them by default; the styles that
        draw a spectrum's own pixels join those beside a gap, as matplotlib does. A spectrum without any good pixel
        gives an empty image. No gradient flows from the images.

    Raises
    ------
    ArgumentError
        When the style or an option is unknown, a value is invalid, or `spectra` has another form.
    """
    return draw(batch_of(spectra, ivar, wavelength), _checked(style, size, **options))


def draw(batch: "SpectrumBatch", options: str) -> Tensor:
    """Draw a batch with the options that `Picture.to_json` gives; see `render`."""
    if any(scale != 1.0 for scale in batch.flux_scale) and isinstance(Picture.from_json(options).scale, tuple):
        batch = in_own_units(batch)  # the fixed fluxes are in these
    flux = tensor_of(batch.flux, "flux")
    ivar = tensor_of(batch.ivar, "ivar", flux.device)
    wavelength = tensor_of(batch.wavelength, "wavelength", flux.device)
    images: Tensor = torch.ops.spectromer.render(flux, ivar, wavelength, options)
    return images


def _checked(style: str, size: int, **options: Any) -> str:
    """The checked options of the picture, as the string that the operator takes."""
    return _checked_once(style, size, tuple((name, hashable(value)) for name, value in options.items()))


# torch.compile takes the result as constant. This is all that torch.compiler.assume_constant_result does, which also
# imports torch._dynamo, at three times the cost of everything else here.
_checked._dynamo_marked_constant = True  # type: ignore[attr-defined]


@lru_cache(maxsize=256)
def _checked_once(style: str, size: int, options: tuple[tuple[str, Any], ...]) -> str:
    return Picture.of(style, size, **dict(options)).to_json()


class _Drawing(NamedTuple):
    """The part of the arguments that depends on the options and the device alone."""

    picture: Picture
    grid: Tensor | None
    quantities: Tensor  # values of _C.Quantity, int32
    tables: Tables
    args: "_C.RenderArgs"


@lru_cache(maxsize=64)
def _drawing(options: str, device: torch.device) -> _Drawing:
    picture = Picture.from_json(options)
    tables = Tables.of(picture, device)
    codes = [_C.Quantity.__members__[name].value for name in picture.channels]
    quantities = torch.tensor(codes, dtype=torch.int32)
    scale, (low, high) = (picture.scale, (0.0, 0.0)) if isinstance(picture.scale, str) else ("fixed", picture.scale)
    args = _C.RenderArgs(
        size=picture.size,
        panels=picture.panels,
        stacked=picture.stacked,
        log_axis=picture.axis == "log",
        quantities=quantities.data_ptr(),
        quantity_count=len(quantities),
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
    return _Drawing(picture, wavelength_grid(picture, device), quantities, tables, args)


def _forward(flux: Tensor, ivar: Tensor, wavelength: Tensor, options: str) -> Tensor:
    picture = Picture.from_json(options)
    if not picture.fused:
        return composite(flux, ivar, wavelength, picture)
    _, grid, _, _, drawing = kept_for_graphs(_drawing(options, flux.device), flux.device)
    spectra = ResampleCall(flux, ivar, wavelength, grid, "flux_conserving", 0.0, None, None, MAX_GAP)
    if grid is None and picture.axis == "log" and flux.device.type == "cpu" and bool((wavelength[..., :1] <= 0).any()):
        raise ArgumentError("wavelength must be above 0 on a logarithmic axis; it is not")
    found = mark_regions(flux, ivar, wavelength, grid, picture.regions)
    marks = None if found is None else dense(found, torch.uint8)
    out = output(picture.shape(spectra.rows), DTYPES[picture.dtype], flux.device)
    args = drawing.with_spectra(
        spectra.planned_args(),
        out.data_ptr(),
        0 if marks is None else marks.data_ptr(),
        marks is not None and marks.ndim == 1,
    )
    if spectra.run("render", args) is False:  # a spectrum does not fit in the shared memory of a GPU's block
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
