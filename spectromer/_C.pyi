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
    ) -> None: ...

def first_not_increasing(values: int, rows: int, count: int, offsets: int = 0) -> int: ...
def resample_cpu(args: ResampleArgs, threads: int) -> None: ...
def resample_backward_cpu(args: ResampleArgs, threads: int) -> None: ...
def rasterize_cpu(args: RasterizeArgs, threads: int) -> None: ...
def resample_cuda(args: ResampleArgs, stream: int) -> None: ...
def resample_backward_cuda(args: ResampleArgs, stream: int) -> None: ...
def rasterize_cuda(args: RasterizeArgs, scratch: int, stream: int) -> None: ...
