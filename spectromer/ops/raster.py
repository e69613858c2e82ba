"""Drawing lines as images."""

from functools import lru_cache

import torch
from torch import Tensor

from spectromer.errors import require
from spectromer.ops._native import _C, CACHES, call, dense, kept_for_graphs, output
from spectromer.ops.inputs import tensor_of
from spectromer.picture import check_count, check_stroke

COVERAGES = dict(_C.Coverage.__members__)


def rasterize(
    y: Tensor,  # [B, P]
    x: Tensor | None = None,  # [P] or [B, P]
    *,
    height: int = 224,
    width: int = 224,
    linewidth: float = 1.0,
    coverage: str = "union",
    subcolumns: int = 8,
    band: Tensor | None = None,  # [B, P]
) -> Tensor:  # [B, 1, H, W] uint8
    r"""Draw one line per row, or one band between two lines, as an antialiased image.

    Parameters
    ----------
    y : Tensor or array [B, P]
        Heights in pixels from the top edge. A value that is not finite, or beyond 1e9, breaks the line.
    x : Tensor or array [P] or [B, P], optional
        Positions in pixels from the left edge, within 1e9 and not decreasing. By default, point p lies at
        (p + 0.5) * width / P.
    height, width : int
        Size of the image in pixels, each up to 32767.
    linewidth : float
        Width of the stroke in pixels.
    coverage : {"union", "agg"}
        The coverage model. "union" is the true area: the level of a pixel is the fraction of its area that is covered
        by discs of diameter `linewidth` along the line. With radius r, the stroke covers the vertical line at x from
        L(x), defined accordingly, to :math:`U(x) = \max_{|x'-x| \le r} y(x') + \sqrt{r^2 - (x'-x)^2}`. "agg" draws as
        matplotlib does (round outer joins, mitred inner joins, square caps, the winding integral clipped at 1).
        Overlapping strokes then add up, and an isolated point draws nothing.
    subcolumns : int
        The number of samples per pixel column for "union", which is exact in y and sampled in x. 8 samples leave a mean
        error of 0.6 levels of 255; 256 serve as a reference. "agg" ignores it.
    band : Tensor or array [B, P], optional
        Heights of a second line. Instead of drawing a line, the area between `y` and `band` is filled where both are
        drawable. It is always drawn by true area, regardless of `coverage`.

    Returns
    -------
    Tensor [B, 1, H, W] uint8
        The images; 0 is empty, 255 fully covered.

    Raises
    ------
    ArgumentError
        When a shape, size or name is invalid or, on the CPU, when the values of x are.
    """
    y = tensor_of(y, "y")
    x = None if x is None else tensor_of(x, "x", y.device)
    band = None if band is None else tensor_of(band, "band", y.device)
    height, width = check_count(height, "height"), check_count(width, "width")
    images: Tensor = torch.ops.spectromer.rasterize(y, x, height, width, linewidth, coverage, subcolumns, band)
    return images


def _check(
    y: Tensor,
    x: Tensor | None,
    height: int,
    width: int,
    linewidth: float,
    coverage: str,
    subcolumns: int,
    band: Tensor | None,
) -> None:
    require(y.ndim == 2, f"y must have shape [B, P], got {tuple(y.shape)}")
    if x is not None:
        require(
            tuple(x.shape) in ((y.shape[1],), tuple(y.shape)),
            f"x must have shape [P] or [B, P] with y [B, P] = {tuple(y.shape)}, got {tuple(x.shape)}",
        )
        require(x.device == y.device, f"x must be on y's device, {y.device}, got {x.device}")
    if band is not None:
        require(band.shape == y.shape, f"band must have the shape of y, {tuple(y.shape)}, got {tuple(band.shape)}")
        require(band.device == y.device, f"band must be on y's device, {y.device}, got {band.device}")
    for name, value in (("height", height), ("width", width)):
        check_count(value, name)
    check_stroke(linewidth, coverage, subcolumns)


@lru_cache(maxsize=64)  # saves a hundredth of the time of a small batch
def _even(points: int, width: int, device: torch.device) -> Tensor:
    # Copied from the CPU, so that every stream of a GPU may read it.
    return ((torch.arange(points, dtype=torch.float32) + 0.5) * (width / max(points, 1))).to(device)


# torch leaves out arguments that equal the schema's defaults, so the two below repeat them.
def _forward(
    y: Tensor,
    x: Tensor | None = None,
    height: int = 224,
    width: int = 224,
    linewidth: float = 1.0,
    coverage: str = "union",
    subcolumns: int = 8,
    band: Tensor | None = None,
) -> Tensor:
    _check(y, x, height, width, linewidth, coverage, subcolumns, band)
    images, points = y.shape
    if x is None:
        x = kept_for_graphs(_even(points, width, y.device), y.device)
    elif y.device.type == "cpu":
        rising = bool((x.abs() <= 1e9).all()) and bool((x[..., 1:] >= x[..., :-1]).all())
        require(rising, "x must lie within 1e9 and must not decrease from point to point; it does not")
    y, x = dense(y, torch.float32), dense(x, torch.float32)
    if band is not None:
        band = dense(band, torch.float32)
    out = output((images, 1, height, width), torch.uint8, y.device)
    args = _C.RasterizeArgs(
        y=y.data_ptr(),
        x=x.data_ptr(),
        images=images,
        points=points,
        x_stride=0 if x.ndim == 1 else points,
        height=height,
        width=width,
        linewidth=linewidth,
        subcolumns=subcolumns,
        coverage=COVERAGES[coverage],
        out=out.data_ptr(),
        band=0 if band is None else band.data_ptr(),
    )
    call("rasterize", y.device, args)
    return out


def _fake(
    y: Tensor,
    x: Tensor | None = None,
    height: int = 224,
    width: int = 224,
    linewidth: float = 1.0,
    coverage: str = "union",
    subcolumns: int = 8,
    band: Tensor | None = None,
) -> Tensor:
    _check(y, x, height, width, linewidth, coverage, subcolumns, band)
    return y.new_empty((y.shape[0], 1, height, width), dtype=torch.uint8)


torch.library.define(
    "spectromer::rasterize",
    "(Tensor y, Tensor? x=None, int height=224, int width=224, float linewidth=1.0, "
    'str coverage="union", int subcolumns=8, Tensor? band=None) -> Tensor',
    tags=CACHES,
)
torch.library.impl("spectromer::rasterize", ("cpu", "cuda"), _forward)
torch.library.register_fake("spectromer::rasterize", _fake)
