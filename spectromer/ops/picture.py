"""What a picture shows: the options of `render`, checked, and the tables that the operators read them from."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from spectromer.ops._native import _C, require
from spectromer.ops.raster import check_stroke

__all__ = ["STYLES", "Picture", "Tables", "frozen", "wavelength_grid"]

QUANTITIES = ("flux", "first", "second", "error", "mask", "regions")
LAYOUTS = ("rows", "channels")
AXES = ("log", "linear")
SCALES = ("percentile", "minmax")
ORDERS = ("standard", "boustrophedon")
GROUNDS = ("dark", "light")
DTYPES = {"uint8": torch.uint8, "float32": torch.float32, "bfloat16": torch.bfloat16}

# matplotlib's own: data limits widened by 5 %, and a line of half a point at 100 dots per inch.
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
_MAP = {"wavelength_range": None, "scale": "minmax", "block": 3, "margin": 0.0}

#: What each style sets; any of it can be overridden by name.
STYLES: dict[str, dict[str, Any]] = {
    "plot": {},
    "panels": {"panels": 4},
    "overlap": {"panels": 3, "layout": "channels"},
    "folded": {"block": 4, "margin": 0.0},
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
    """The options of `render`, where they are explained, checked.

    Raises
    ------
    ValueError
        For a value that breaks a rule.
    """

    size: int = 224
    channels: tuple[str, ...] = ("flux",)
    panels: int = 1
    layout: str = "rows"
    wavelength_range: tuple[float, float] | None = (3600.0, 10000.0)
    axis: str = "log"
    scale: str | tuple[float, float] = "percentile"
    percentiles: tuple[float, float] = (0.5, 99.5)
    per_panel: bool = False
    margin: float = 0.05
    side_margin: float = 0.0
    points: int = 2
    linewidth: float = 1.0
    coverage: str = "union"
    subcolumns: int = 8
    block: int | None = None
    order: str = "standard"
    regions: str | tuple[tuple[float, float], ...] | None = None
    ground: str = "dark"
    colors: tuple[Any, ...] | None = None
    alpha: float | tuple[float, ...] = 1.0
    colormap: str | None = None
    dtype: str = "uint8"
    mean: float | tuple[float, ...] = 0.0
    std: float | tuple[float, ...] = 1.0

    @classmethod
    def of(cls, style: str, size: int, **options: Any) -> "Picture":
        """The defaults, what `style` sets, and `options` on top."""
        require(style in STYLES, f"style must be one of {tuple(STYLES)}, got {style!r}")
        names = [field.name for field in fields(cls) if field.name != "size"]
        unknown = sorted(set(options) - set(names))
        require(not unknown, f"render has no option {', '.join(unknown)}; it has {', '.join(names)}")
        if isinstance(options.get("dtype"), torch.dtype):
            options["dtype"] = str(options["dtype"]).removeprefix("torch.")
        return cls(size=size, **{name: frozen(value) for name, value in (STYLES[style] | options).items()})

    @classmethod
    def from_json(cls, text: str) -> "Picture":
        """Read back `to_json`."""
        return _from_json(text)

    def to_json(self) -> str:
        """All options as the operator's schema carries them."""
        return json.dumps(asdict(self))

    def __post_init__(self) -> None:
        for name, allowed in (
            ("layout", LAYOUTS),
            ("axis", AXES),
            ("order", ORDERS),
            ("ground", GROUNDS),
            ("dtype", tuple(DTYPES)),
        ):
            value = getattr(self, name)
            require(value in allowed, f"{name} must be one of {allowed}, got {value!r}")
        require(
            bool(self.channels) and set(self.channels) <= set(QUANTITIES),
            f"channels must be some of {QUANTITIES}, got {self.channels}",
        )
        require(
            self.size >= 1 and self.panels >= 1,
            f"size and panels must be at least 1, got {self.size} and {self.panels}",
        )
        require(
            not self.stacked or self.size % self.panels == 0,
            f"size must be a multiple of panels for panels in rows, got size {self.size} and panels {self.panels}",
        )
        require(self.points >= 1, f"points must be at least 1, got {self.points}")
        require(0.0 <= self.margin < 0.5, f"margin must lie in [0, 0.5), got {self.margin}")
        require(0.0 <= self.side_margin < 0.5, f"side_margin must lie in [0, 0.5), got {self.side_margin}")
        if self.wavelength_range is not None:
            low, high = self.wavelength_range
            require(0.0 < low < high, f"wavelength_range must be two rising Angstrom values, got {(low, high)}")
            require(self.side_margin == 0.0, "side_margin is for wavelength_range=None, where the axis is not fixed")
        self._check_scale()
        check_stroke(self.linewidth, self.coverage, self.subcolumns)
        if self.block is not None:
            require(1 <= self.block <= self.size, f"block must lie in [1, size = {self.size}], got {self.block}")
            require(self.panels == 1, f"panels must be 1 where blocks are drawn, got {self.panels}")
        if self.wavelength_range is not None:
            require(self.bins >= 2, f"a picture must have at least 2 bins, got {self.bins}")
        self._check_regions()
        self._check_colors()

    def _check_scale(self) -> None:
        if isinstance(self.scale, str):
            require(self.scale in SCALES, f"scale must be one of {SCALES} or two fluxes, got {self.scale!r}")
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
        if self.colormap is not None:
            import matplotlib

            require(self.colormap in matplotlib.colormaps, f"colormap must be one of matplotlib's, got {self.colormap}")
            alone = self.planes == 1 and self.colors is None and self.ground == "dark" and self.alpha == 1.0
            require(alone, "a colormap is for one plane, without colors, alpha or a light ground")
        opacities = _each(self.alpha, self.planes, "alpha", "plane")
        require(all(0.0 <= a <= 1.0 for a in opacities), f"alpha must lie in [0, 1], got {self.alpha}")
        _each(self.mean, self.image_channels, "mean", "channel")
        positive = all(s > 0.0 for s in _each(self.std, self.image_channels, "std", "channel"))
        require(positive, f"std must be above 0, got {self.std}")
        plain = self.mean == 0.0 and self.std == 1.0
        require(self.dtype != "uint8" or plain, "mean and std are for dtype float32 and bfloat16, got uint8")

    @property
    def stacked(self) -> bool:
        """Whether panels lie under one another."""
        return self.layout == "rows"

    @property
    def planes(self) -> int:
        """Pictures of one spectrum before they become channels."""
        return len(self.channels) * (1 if self.stacked else self.panels)

    @property
    def image_channels(self) -> int:
        """Channels of the image."""
        return 3 if self.colors is not None or self.colormap is not None else self.planes

    @property
    def plain(self) -> bool:
        """Whether every plane is a channel by itself, opaque and on the dark ground."""
        opaque = all(alpha == 1.0 for alpha in _each(self.alpha, self.planes, "alpha", "plane"))
        return self.colors is None and self.colormap is None and self.ground == "dark" and opaque

    @property
    def bins(self) -> int:
        """Wavelength bins of a fixed range that are drawn."""
        if self.block is not None:
            return (self.size // self.block) ** 2
        return self.panels * self.size * self.points

    def shape(self, rows: int) -> tuple[int, int, int, int]:
        """Shape of the images of `rows` spectra."""
        return rows, self.image_channels, self.size, self.size


def frozen(value: Any) -> Any:
    """Lists and tensors as tuples, so that a Picture can be looked up."""
    if isinstance(value, str | int | float):  # first, as to look for a tensor takes ten times as long
        return value
    if isinstance(value, Tensor):
        value = value.tolist()
    return tuple(frozen(v) for v in value) if isinstance(value, Sequence) else value


def _each(value: float | tuple[float, ...], count: int, name: str, what: str) -> tuple[float, ...]:
    """One value for all, or one for each."""
    values = value if isinstance(value, tuple) else (value,) * count
    require(len(values) == count, f"{name} must be one value or one for each of the {count} {what}s, got {value}")
    return values


@lru_cache(maxsize=64)
def _from_json(text: str) -> Picture:
    return Picture(**{name: frozen(value) for name, value in json.loads(text).items()})


@dataclass(frozen=True)
class Tables:
    """A picture's options as numbers, on one device but for `quantities`, which stay on the CPU.

    Attributes
    ----------
    quantities : Tensor [Q] int32
        Values of `_C.Quantity`.
    alpha : Tensor [planes] float32
    inks : Tensor [planes, 3] float32, optional
        Levels of R, G and B.
    colormap : Tensor [256, 3] uint8, optional
    factor, offset : Tensor [channels] float32
        The output is factor * level + offset, unless it is the level itself.
    """

    quantities: Tensor
    alpha: Tensor
    inks: Tensor | None
    colormap: Tensor | None
    factor: Tensor
    offset: Tensor

    @classmethod
    def of(cls, picture: Picture, device: torch.device | str = "cpu") -> "Tables":
        """The tables of a picture, made once for each device."""
        return _tables(picture, device)


@lru_cache(maxsize=64)
def _tables(picture: Picture, device: torch.device | str) -> Tables:
    inks = colormap = None
    if picture.colors is not None:
        from matplotlib.colors import to_rgb

        inks = 255.0 * torch.tensor([to_rgb(color) for color in picture.colors])
    if picture.colormap is not None:
        import matplotlib

        colormap = torch.from_numpy(matplotlib.colormaps[picture.colormap](range(256), bytes=True)[:, :3].copy())
    count = picture.image_channels
    mean = torch.tensor(_each(picture.mean, count, "mean", "channel"), dtype=torch.float64)
    std = torch.tensor(_each(picture.std, count, "std", "channel"), dtype=torch.float64)
    return Tables(
        quantities=torch.tensor([_C.Quantity.__members__[name].value for name in picture.channels], dtype=torch.int32),
        alpha=torch.tensor(_each(picture.alpha, picture.planes, "alpha", "plane"), dtype=torch.float32).to(device),
        inks=None if inks is None else inks.to(device),
        colormap=None if colormap is None else colormap.to(device),
        factor=(1.0 / (255.0 * std)).float().to(device),
        offset=((0.0 - mean) / std).float().to(device),  # not -0 for a mean of 0
    )


@lru_cache(maxsize=64)
def wavelength_grid(picture: Picture, device: torch.device | str = "cpu") -> Tensor | None:
    """Centres, in Angstrom, of the bins that are drawn, [bins] float64, panel after panel; None for own pixels."""
    if picture.wavelength_range is None:
        return None
    low, high = picture.wavelength_range
    # Copied from the CPU, so that all devices have the same numbers and every stream may read them; and no inference
    # tensor, whose changes torch does not count, as BinPlans needs it to.
    with torch.inference_mode(False):
        share = (torch.arange(picture.bins, dtype=torch.float64) + 0.5) / picture.bins
        centres = low + (high - low) * share if picture.axis == "linear" else low * (high / low) ** share
        return centres.to(device)
