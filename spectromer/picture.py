"""The options of `render`, with their checks.

This module does not import torch, so that `--help` is fast.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any, Literal, get_args

from spectromer.errors import require

__all__ = ["RELATIVE", "STYLES", "Picture", "check_count", "check_stroke", "hashable"]

Quantity = Literal["flux", "first", "second", "error", "mask", "regions", "lines", "continuum", "snr"]
Layout = Literal["rows", "channels"]
Axis = Literal["log", "linear"]
Scale = Literal["percentile", "minmax"]
Coverage = Literal["union", "agg"]
Order = Literal["standard", "boustrophedon"]
Ground = Literal["dark", "light"]
DType = Literal["uint8", "float32", "bfloat16"]
Color = str | tuple[float, float, float]

#: Quantities that are relative to the smooth continuum; see `spectromer.ops.quantities`.
RELATIVE = ("lines", "continuum", "snr")

# Largest size of an image, and other counts. Up to here, single precision places a stroke within 1/256 of a pixel, and
# the CPU's AGG counts its cells in 32 bits.
_MOST = 32767

# matplotlib's defaults at 100 dpi: data limits widened by 5 %. The thesis draws lines of half a point.
_MATPLOTLIB = {
    "wavelength_range": None,
    "axis": "linear",
    "scale": "minmax",
    "coverage": "agg",
    "margin": 0.05 / 1.1,
    "side_margin": 0.05 / 1.1,
    "linewidth": 0.5 * 100 / 72,
    "ground": "light",
}
# The thesis's folded pictures: squares of 3 x 3 pixels.
_MAP = {"wavelength_range": None, "scale": "minmax", "block": 3, "margin": 0.0}

#: Options that each style sets. Any of them can be overridden by name.
STYLES: dict[str, dict[str, Any]] = {
    "plot": {},
    "panels": {"panels": 4},
    "overlap": {"panels": 3, "layout": "channels"},
    "folded": {"block": 4, "margin": 0.0},
    "strips": {"block": 2, "panels": 8, "channels": ("lines", "continuum", "snr"), "margin": 0.0},
    "thesis-plot": {**_MATPLOTLIB, "colors": ("C0",)},
    "thesis-overlap": {
        **_MATPLOTLIB,
        "panels": 3,
        "layout": "channels",
        "colors": ("red", "green", "blue"),
        "alpha": 0.5,
    },
    "thesis-map": {**_MAP, "scale": (-1.13, 144.97), "colormap": "viridis"},
    "thesis-map-channels": {**_MAP, "channels": ("flux", "first", "second")},
    "thesis-map-regions": {**_MAP, "channels": ("flux", "regions"), "regions": "lines", "alpha": (1.0, 50 / 255)},
}


@dataclass(frozen=True)
class Picture:
    """Options that define how spectra are drawn.

    Raises
    ------
    ArgumentError
        If a value breaks its rule.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - not a field

    size: int = 224
    """Height and width of the image in pixels."""
    channels: tuple[Quantity, ...] = ("flux",)
    """Quantities to draw, each in a separate channel. "flux" is the flux. "first" and "second" are its derivatives:
    finite differences between neighbouring bins, one-sided at a gap, each with a separate scale. "error" is the band of
    one standard deviation around the flux; in a folded picture it is sigma on the scale of the flux. "mask" marks the
    bins without a good pixel, and "regions" the bins in regions of interest. "lines" is the flux relative to its smooth
    continuum, "continuum" this continuum, and "snr" its signal-to-noise ratio, as `spectromer.ops.quantities` defines
    them, each on a fixed scale."""
    panels: int = 1
    """Number of segments of equal length that the wavelength axis is cut into. For panels in rows, `size` must be a
    multiple of this number."""
    layout: Layout = "rows"
    """Arrangement of the panels: "rows" stacks them vertically, "channels" gives each panel a channel."""
    wavelength_range: tuple[float, float] | None = (3600.0, 10000.0)
    """Ends of the wavelength axis in Angstrom. They are the same for all spectra, so that an image column always has
    the same wavelength. With None, each spectrum is drawn at its native pixels from its first good pixel to its last,
    and panels have equal numbers of pixels."""
    axis: Axis = "log"
    """Spacing of the wavelength axis."""
    scale: Scale | tuple[float, float] = "percentile"
    """Flux at the bottom and the top of a panel: percentiles of the good bins, their minimum and maximum, or two fixed
    values. With fixed values, derivatives are scaled by percentiles."""
    percentiles: tuple[float, float] = (0.5, 99.5)
    """Percentiles of the good bins at the bottom and the top of a panel."""
    per_panel: bool = False
    """Scale each panel separately."""
    margin: float = 0.05
    """Fraction of a panel's height left empty above the top and below the bottom of the scale."""
    side_margin: float = 0.0
    """Fraction of the width left empty on each side. It requires that `wavelength_range` is None."""
    points: int = 2
    """Number of wavelength bins per pixel column of a line plot."""
    linewidth: float = 1.0
    """Width of lines in pixels."""
    coverage: Coverage = "union"
    """Treatment of overlapping strokes: "union" gives the true covered area, "agg" reproduces matplotlib."""
    subcolumns: int = 8
    """Number of samples per pixel column for coverage "union"."""
    block: int | None = None
    """Side, in pixels, of the square that each bin is drawn as in a folded picture. With None, lines are drawn. With
    several panels, the squares fill each panel column after column, from top to bottom."""
    order: Order = "standard"
    """Order of the squares in one panel: "standard" fills every row from left to right, "boustrophedon" fills every
    second row from right to left. Masked bins and unused squares are 0, but masked bins of "lines" are grey."""
    regions: Literal["lines"] | tuple[tuple[float, float], ...] | None = None
    """Regions that the channel "regions" marks: "lines" for the spectral lines that `spectromer.regions.find_lines`
    detects, or windows (low, high) in Angstrom."""
    ground: Ground = "dark"
    """Background: "dark" draws ink of 255 on 0, "light" draws ink of 0 on 255."""
    colors: tuple[Color, ...] | None = None
    """Colours in matplotlib's notation, one for each channel, or for each panel of each channel with layout "channels".
    The planes are drawn over one another in this order, in one RGB image on a black or white background."""
    alpha: float | tuple[float, ...] = 1.0
    """Opacity of the channels: one value for all, or one for each."""
    colormap: str | None = None
    """Name of a matplotlib colour map that turns the grey levels of a single channel into an RGB image."""
    dtype: DType = "uint8"
    """Data type of the images. float32 and bfloat16 images hold (level / 255 - mean) / std."""
    mean: float | tuple[float, ...] = 0.0
    """Mean that is subtracted: one value for all channels, or one for each."""
    std: float | tuple[float, ...] = 1.0
    """Standard deviation to divide by: one value for all channels, or one for each."""

    @classmethod
    def of(cls, style: str, size: int, **options: Any) -> "Picture":
        """Make a picture. The options of the style override the defaults, and `options` override both."""
        require(style in STYLES, f"style must be one of {tuple(STYLES)}, got {style!r}")
        names = [field.name for field in fields(cls) if field.name != "size"]
        unknown = sorted(set(options) - set(names))
        require(not unknown, f"render has no option {', '.join(unknown)}; it has {', '.join(names)}")
        if "dtype" in options:  # accept torch.float32 as well as "float32"
            options["dtype"] = str(options["dtype"]).removeprefix("torch.")
        return cls(size=hashable(size), **{name: hashable(value) for name, value in (STYLES[style] | options).items()})

    @classmethod
    def from_json(cls, text: str) -> "Picture":
        """Make a picture from the output of `to_json`."""
        return _from_json(text)

    def to_json(self) -> str:
        """All options as a JSON string, which is how they pass through the operator's schema."""
        return json.dumps(asdict(self))

    def __post_init__(self) -> None:
        for name, allowed in (
            ("layout", get_args(Layout)),
            ("axis", get_args(Axis)),
            ("order", get_args(Order)),
            ("ground", get_args(Ground)),
            ("dtype", get_args(DType)),
        ):
            value = getattr(self, name)
            require(value in allowed, f"{name} must be one of {allowed}, got {value!r}")
        quantities = get_args(Quantity)
        require(
            bool(self.channels) and set(self.channels) <= set(quantities),
            f"channels must be some of {quantities}, got {self.channels}",
        )
        for field in fields(self):
            value = getattr(self, field.name)
            require(_finite(value), f"{field.name} must be finite, got {value}")
        for name in ("size", "panels", "points"):
            check_count(getattr(self, name), name)
        require(
            not self.stacked or self.size % self.panels == 0,
            f"size must be a multiple of panels for panels in rows, got size {self.size} and panels {self.panels}",
        )
        require(0.0 <= self.margin < 0.5, f"margin must lie in [0, 0.5), got {self.margin}")
        require(0.0 <= self.side_margin < 0.5, f"side_margin must lie in [0, 0.5), got {self.side_margin}")
        if self.wavelength_range is not None:
            low, high = self.wavelength_range
            require(0.0 < low < high, f"wavelength_range must be two rising Angstrom values, got {(low, high)}")
            require(self.side_margin == 0.0, "side_margin is for wavelength_range=None, where the axis is not fixed")
        self._check_scale()
        check_stroke(self.linewidth, self.coverage, self.subcolumns)
        if self.block is not None:
            require(
                isinstance(self.block, int) and 1 <= self.block <= self.size,
                f"block must lie in [1, size = {self.size}], got {self.block}",
            )
            strip = self.size // self.panels
            fitting = self.stacked and self.order == "standard" and self.size % self.block == strip % self.block == 0
            require(
                self.panels == 1 or fitting,
                f"panels of squares must be rows in standard order, and their sides multiples of block = {self.block}, "
                f"got {self.layout}, {self.order} and {self.size} x {strip}",
            )
        if self.wavelength_range is not None:
            require(self.bins >= 2, f"a picture must have at least 2 bins, got {self.bins}")
            require(self.bins <= 1 << 24, f"a picture must have at most 2^24 bins, got {self.bins}")
        relative = [name for name in self.channels if name in RELATIVE]  # the continuum is smoothed in ln(wavelength)
        require(
            not relative or (self.wavelength_range is not None and self.axis == "log"),
            f"wavelength_range must be fixed and axis log for the channels {', '.join(relative)}, "
            f"got {self.wavelength_range} and {self.axis}",
        )
        self._check_regions()
        self._check_colors()

    def _check_scale(self) -> None:
        if isinstance(self.scale, str):
            scales = get_args(Scale)
            require(self.scale in scales, f"scale must be one of {scales} or two fluxes, got {self.scale!r}")
        else:
            low, high = self.scale
            require(low < high, f"scale must be two rising fluxes, got {(low, high)}")
        low, high = self.percentiles
        require(0.0 <= low < high <= 100.0, f"percentiles must rise within [0, 100], got {(low, high)}")

    def _check_regions(self) -> None:
        require(
            ("regions" in self.channels) == (self.regions is not None),
            f'regions and a channel "regions" come together, got regions={self.regions} and channels={self.channels}',
        )
        if isinstance(self.regions, str):
            require(self.regions == "lines", f'regions must be "lines" or windows in Angstrom, got {self.regions!r}')
        elif self.regions is not None:
            rising = all(len(window) == 2 and window[0] < window[1] for window in self.regions)
            require(rising, f"regions must be windows (low, high) in Angstrom, got {self.regions}")

    def _check_colors(self) -> None:
        require(
            self.colors is None or len(self.colors) == self.planes,
            f"colors must name one colour for each of the {self.planes} planes, got {self.colors}",
        )
        if self.colors is not None:
            from matplotlib.colors import is_color_like

            named = all(is_color_like(color) for color in self.colors)
            require(named, f"colors must be matplotlib's names of colours, or R, G and B in [0, 1], got {self.colors}")
        if self.colormap is not None:
            import matplotlib

            require(self.colormap in matplotlib.colormaps, f"colormap must be one of matplotlib's, got {self.colormap}")
            single = self.planes == 1 and self.colors is None and self.ground == "dark" and self.alpha == 1.0
            require(single, "a colormap is for one plane, without colors, alpha or a light ground")
        opacities = broadcast(self.alpha, self.planes, "alpha", "plane")
        require(all(0.0 <= a <= 1.0 for a in opacities), f"alpha must lie in [0, 1], got {self.alpha}")
        broadcast(self.mean, self.image_channels, "mean", "channel")
        positive = all(s > 0.0 for s in broadcast(self.std, self.image_channels, "std", "channel"))
        require(positive, f"std must be above 0, got {self.std}")
        plain = self.mean == 0.0 and self.std == 1.0
        require(self.dtype != "uint8" or plain, "mean and std are for dtype float32 and bfloat16, got uint8")

    @property
    def stacked(self) -> bool:
        """Tell whether the panels are stacked vertically."""
        return self.layout == "rows"

    @property
    def planes(self) -> int:
        """Number of planes that are drawn for one spectrum before they are combined into channels."""
        return len(self.channels) * (1 if self.stacked else self.panels)

    @property
    def image_channels(self) -> int:
        """Number of channels of the image."""
        return 3 if self.colors is not None or self.colormap is not None else self.planes

    @property
    def plain(self) -> bool:
        """Tell whether every plane is one channel, opaque, on a dark background."""
        opaque = all(alpha == 1.0 for alpha in broadcast(self.alpha, self.planes, "alpha", "plane"))
        return self.colors is None and self.colormap is None and self.ground == "dark" and opaque

    @property
    def fused(self) -> bool:
        """Tell whether one kernel draws the picture. Others are composed of several operators."""
        return not set(self.channels) & set(RELATIVE) and (self.block is None or self.panels == 1)

    @property
    def bins(self) -> int:
        """Number of wavelength bins of a picture with a fixed wavelength range."""
        if self.block is not None:
            return (self.size // self.block) ** 2
        return self.panels * self.size * self.points

    def shape(self, rows: int) -> tuple[int, int, int, int]:
        """Shape of the images of `rows` spectra."""
        return rows, self.image_channels, self.size, self.size


def hashable(value: Any) -> Any:
    """Convert lists and tensors to tuples, so that a Picture is hashable."""
    if isinstance(value, str | int | float):
        return value
    if hasattr(value, "tolist"):
        value = value.tolist()
    return tuple(hashable(v) for v in value) if isinstance(value, Sequence) else value


def _finite(value: Any) -> bool:
    """Tell whether no number in an option is infinite or NaN."""
    if isinstance(value, tuple):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def broadcast(value: float | tuple[float, ...], count: int, name: str, what: str) -> tuple[float, ...]:
    """Return `count` values: a number is repeated, a tuple must have one value for each `what`."""
    values = value if isinstance(value, tuple) else (value,) * count
    require(len(values) == count, f"{name} must be one value or one for each of the {count} {what}s, got {value}")
    return values


def check_count(value: int, name: str) -> int:
    """Return a number of pixels, panels or points. Raise ArgumentError unless it is a whole number from 1 to 32767."""
    require(
        hasattr(value, "__index__") and not isinstance(value, bool), f"{name} must be a whole number, got {value!r}"
    )
    require(value >= 1, f"{name} must be at least 1, got {value}")
    require(value <= _MOST, f"{name} must be at most {_MOST}, got {value}")
    return int(value)


def check_stroke(linewidth: float, coverage: str, subcolumns: int) -> None:
    """Raise ArgumentError unless the options of a stroke are valid."""
    require(0.0 < linewidth <= 64.0, f"linewidth must lie in (0, 64] pixels, got {linewidth}")
    names = get_args(Coverage)
    require(coverage in names, f"coverage must be one of {names}, got {coverage!r}")
    require(
        isinstance(subcolumns, int) and 1 <= subcolumns <= 1024, f"subcolumns must lie in [1, 1024], got {subcolumns}"
    )


@lru_cache(maxsize=64)
def _from_json(text: str) -> Picture:
    return Picture(**{name: hashable(value) for name, value in json.loads(text).items()})
