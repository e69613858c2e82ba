"""Native operators; addresses are those of Tensor.data_ptr(). See csrc/ops.h."""

import enum
from collections.abc import Sequence

has_cuda: bool
cuda_architectures: str
rounding: float

class Method(enum.Enum):
    flux_conserving = 0
    linear = 1

class Coverage(enum.Enum):
    union = 0
    agg = 1

class Quantity(enum.Enum):
    flux = 0
    first = 1
    second = 2
    error = 3
    mask = 4
    regions = 5

class Scale(enum.Enum):
    percentile = 0
    minmax = 1
    fixed = 2

class PixelType(enum.Enum):
    uint8 = 0
    float32 = 1
    bfloat16 = 2

class ResampleArgs:
    flux: int
    ivar: int
    wavelength: int
    grid: int
    offsets: int
    shift: int
    rows: int
    pixels: int
    bins: int
    shared_wavelength: bool
    shared_grid: bool
    coverage: float
    method: Method
    max_gap: float
    out_flux: int
    out_ivar: int
    grad_out: int
    grad_flux: int
    plan: int
    def __init__(
        self,
        *,
        flux: int,
        ivar: int,
        wavelength: int,
        grid: int,
        offsets: int = 0,
        shift: int = 0,
        rows: int,
        pixels: int,
        bins: int,
        shared_wavelength: bool,
        shared_grid: bool,
        coverage: float,
        method: Method,
        max_gap: float,
        out_flux: int = 0,
        out_ivar: int = 0,
        grad_out: int = 0,
        grad_flux: int = 0,
        plan: int = 0,
    ) -> None: ...

class RasterizeArgs:
    y: int
    x: int
    images: int
    points: int
    x_stride: int
    band: int
    height: int
    width: int
    linewidth: float
    subcolumns: int
    coverage: Coverage
    out: int
    def __init__(
        self,
        *,
        y: int,
        x: int,
        images: int,
        points: int,
        x_stride: int,
        band: int = 0,
        height: int,
        width: int,
        linewidth: float,
        subcolumns: int,
        coverage: Coverage,
        out: int,
    ) -> None: ...

class RenderArgs:
    size: int
    panels: int
    stacked: bool
    log_axis: bool
    quantities: int
    quantity_count: int
    block: int
    boustrophedon: bool
    scale: Scale
    fixed_low: float
    fixed_high: float
    percentiles: Sequence[float]
    per_panel: bool
    margin: float
    side_margin: float
    linewidth: float
    subcolumns: int
    coverage: Coverage
    marks: int
    shared_marks: bool
    alpha: int
    inks: int
    light: bool
    plain: bool
    colormap: int
    type: PixelType
    factor: int
    offset: int
    out: int
    def __init__(
        self,
        *,
        size: int,
        panels: int,
        stacked: bool,
        log_axis: bool,
        quantities: int,
        quantity_count: int,
        block: int,
        boustrophedon: bool,
        scale: Scale,
        fixed_low: float,
        fixed_high: float,
        percentiles: Sequence[float],
        per_panel: bool,
        margin: float,
        side_margin: float,
        linewidth: float,
        subcolumns: int,
        coverage: Coverage,
        marks: int = 0,
        shared_marks: bool = False,
        alpha: int,
        inks: int,
        light: bool,
        plain: bool,
        colormap: int,
        type: PixelType,
        factor: int,
        offset: int,
        out: int = 0,
    ) -> None: ...
    @property
    def spectra(self) -> ResampleArgs: ...
    def with_spectra(self, spectra: ResampleArgs, out: int, marks: int, shared_marks: bool) -> RenderArgs: ...

def supported_targets() -> list[str]: ...
def target() -> str: ...
def set_target(name: str) -> None: ...
def prefer_huge_pages(address: int, bytes: int) -> None: ...
def first_not_increasing(values: int, rows: int, count: int, offsets: int = 0) -> int: ...
def median_snr(flux: int, ivar: int, count: int) -> float: ...
def resample_cpu(args: ResampleArgs, threads: int) -> int: ...
def resample_backward_cpu(args: ResampleArgs, threads: int) -> None: ...
def rasterize_cpu(args: RasterizeArgs, threads: int) -> None: ...
def render_cpu(args: RenderArgs, threads: int) -> int: ...
def bin_plan_bytes(args: ResampleArgs) -> int: ...
def make_bin_plan_cuda(args: ResampleArgs, stream: int) -> None: ...
def resample_cuda(args: ResampleArgs, stream: int) -> None: ...
def resample_backward_cuda(args: ResampleArgs, stream: int) -> None: ...
def rasterize_cuda(args: RasterizeArgs, stream: int) -> None: ...
def render_cuda(args: RenderArgs, stream: int) -> bool: ...
