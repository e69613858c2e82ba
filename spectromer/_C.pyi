"""Native operators; addresses are those of Tensor.data_ptr(). See csrc/ops.h."""

has_cuda: bool

class ResampleArgs:
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
        method: int,
        out_flux: int = 0,
        out_ivar: int = 0,
        grad_out: int = 0,
        grad_flux: int = 0,
    ) -> None: ...

    method: int
    plan: int

class RasterizeArgs:
    def __init__(
        self,
        *,
        y: int,
        x: int,
        images: int,
        points: int,
        shared_x: bool,
        height: int,
        width: int,
        linewidth: float,
        subcolumns: int,
        coverage: int,
        out: int,
        band: int = 0,
    ) -> None: ...

class RenderArgs:
    def __init__(
        self,
        *,
        size: int,
        panels: int,
        rows: bool,
        log_axis: bool,
        quantities: int,
        quantity_count: int,
        block: int,
        boustrophedon: bool,
        scale: int,
        fixed: tuple[float, float],
        percentiles: tuple[float, float],
        per_panel: bool,
        margin: float,
        side_margin: float,
        linewidth: float,
        subcolumns: int,
        coverage: int,
        alpha: int,
        inks: int,
        light: bool,
        plain: bool,
        colormap: int,
        type: int,
        factor: int,
        offset: int,
    ) -> None: ...
    def of(self, spectra: ResampleArgs, out: int, marks: int, shared_marks: bool) -> RenderArgs: ...

    spectra: ResampleArgs

def prefer_huge_pages(address: int, bytes: int) -> None: ...
def widest_vector_level() -> int: ...
def set_vector_level(level: int) -> None: ...
def first_not_increasing(values: int, rows: int, count: int, offsets: int = 0) -> int: ...
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
