"""The CUDA kernels against the CPU's: on a GPU where there is one, and everywhere compiled for the CPU, their threads
played one after the other.

That shows that the arithmetic, the barriers and the bounds of shared memory are right; not what a GPU alone can show:
races between threads, and speed.
"""

import importlib.util
import subprocess
import sys
import sysconfig
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from spectromer import _C, SpectrumBatch, rasterize, render, resample
from spectromer.data.simulate import simulate

FOLDER = Path(__file__).parent / "emulation"
LEVEL = 1.0  # sums in another order may round to the level beside
slow = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The kernels as a module that takes the arguments of `spectromer._C`."""
    pybind11 = pytest.importorskip("pybind11")
    out = tmp_path_factory.mktemp("emulated") / f"emulated{sysconfig.get_config_var('EXT_SUFFIX')}"
    include = [FOLDER, FOLDER.parents[1] / "csrc", pybind11.get_include(), sysconfig.get_paths()["include"]]
    options = ["-std=c++17", "-O1", "-shared", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off"]
    command = ["c++", *options, "-DSPECTROMER_EMULATED", *(f"-I{path}" for path in include)]
    built = subprocess.run([*command, FOLDER / "module.cpp", "-o", out], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr[-3000:]
    spec = importlib.util.spec_from_file_location("emulated", out)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def moved(value: Any, device: str) -> Any:
    """Tensors, batches of spectra and tuples of them on another device; anything else as it is."""
    if isinstance(value, tuple):
        return tuple(moved(v, device) for v in value)
    return value.to(device) if isinstance(value, Tensor | SpectrumBatch) else value


@pytest.fixture(params=["emulated", "gpu"])
def by_cuda(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Calls an operator with its CUDA kernels, and brings back what it gives."""

    def on_gpu(operator: Callable[..., Any], *args: Any, **options: Any) -> Any:
        options = {name: moved(value, "cuda") for name, value in options.items()}
        return moved(operator(*moved(args, "cuda"), **options), "cpu")

    if request.param == "gpu":
        if not (_C.has_cuda and torch.cuda.is_available()):
            pytest.skip("no GPU, or a build without CUDA operators")
        return on_gpu
    kernels = request.getfixturevalue("kernels")

    def call(name: str, _: torch.device, args: Any) -> Any:
        spectra = getattr(args, "spectra", args)
        if name != "rasterize" and (size := kernels.bin_plan_bytes(spectra)) > 0:
            plan = torch.empty(size, dtype=torch.uint8)
            spectra.plan = plan.data_ptr()
            kernels.make_bin_plan_cuda(spectra, 0)
        return getattr(kernels, f"{name}_cuda")(args, 0)

    def emulated(operator: Callable[..., Any], *args: Any, **options: Any) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            for module in ("raster", "resample"):
                patch.setattr(sys.modules[f"spectromer.ops.{module}"], "call", call)
            # What does not fit a GPU is drawn otherwise, and would show nothing here.
            patch.setattr(sys.modules["spectromer.ops.render"], "composite", lambda *_: pytest.fail("did not fit"))
            return operator(*args, **options)

    return emulated


@pytest.fixture(scope="module")
def batch() -> SpectrumBatch:
    spectra = list(simulate(252))
    return SpectrumBatch.from_spectra([*spectra[:3], *spectra[-2:]])


@pytest.mark.parametrize(
    ("style", "size", "options"),
    [
        ("plot", 48, {}),
        ("plot", 300, {"points": 1}),
        ("plot", 48, {"axis": "linear", "scale": "minmax", "margin": 0.1, "points": 3, "linewidth": 2.0}),
        ("plot", 33, {"channels": ("flux", "error", "mask", "first", "second"), "subcolumns": 5}),
        ("plot", 33, {"channels": ("regions", "error"), "regions": ((4000, 4200), (5000, 7000)), "ground": "light"}),
        ("plot", 48, {"channels": ("first",), "scale": (-1.0, 20.0), "dtype": "bfloat16", "mean": 0.4, "std": 0.2}),
        ("plot", 48, {"coverage": "agg", "points": 9}),
        ("panels", 48, {"panels": 4, "per_panel": True, "percentiles": (5.0, 95.0)}),
        ("panels", 48, {"panels": 16, "coverage": "agg"}),
        ("panels", 48, {"panels": 2, "channels": ("flux", "error", "mask"), "dtype": "float32"}),
        ("overlap", 48, {"colors": ("red", "C1", "#00ff00"), "alpha": (0.5, 1.0, 0.3)}),
        ("folded", 60, {"channels": ("error", "mask", "first", "second"), "order": "boustrophedon", "block": 7}),
        ("thesis-plot", 48, {}),
        ("thesis-plot", 280, {}),
        ("thesis-plot", 48, {"coverage": "union", "channels": ("error", "mask"), "panels": 3, "colors": None}),
        ("thesis-overlap", 48, {"axis": "log"}),
        ("thesis-map-channels", 210, {}),
        ("thesis-map-regions", 210, {}),
    ],
)
def test_draws_what_the_cpu_draws(
    by_cuda: Callable[..., Any], batch: SpectrumBatch, style: str, size: int, options: dict[str, Any]
) -> None:
    want = render(batch, style=style, size=size, **options)
    got = by_cuda(render, batch, style=style, size=size, **options)
    assert got.dtype == want.dtype
    unit = {torch.uint8: 1.0, torch.float32: 1.0 / 255.0, torch.bfloat16: 2.0 / 255.0 / 0.2}[want.dtype]
    off = (got.float() - want.float()).abs() / unit
    assert float(off.max()) <= LEVEL * 1.001 and float((off > 0.5).float().mean()) <= 2e-3


def test_draws_in_the_colours_of_a_map(by_cuda: Callable[..., Any], batch: SpectrumBatch) -> None:
    """Levels that are the same have the same colour."""
    want, got = render(batch, style="thesis-map", size=210), by_cuda(render, batch, style="thesis-map", size=210)
    assert torch.equal(want, got)


@slow
@given(
    rows=st.integers(1, 5),
    pixels=st.integers(2, 60),
    size=st.integers(2, 40),
    style=st.sampled_from(["plot", "panels", "overlap", "folded", "thesis-plot", "thesis-overlap"]),
    coverage=st.sampled_from(["union", "agg"]),
    scale=st.sampled_from(["percentile", "minmax", (-1.0, 2.0)]),
    masked=st.sampled_from([0.0, 0.3, 0.9, 1.0]),
    shared=st.booleans(),
    seed=st.integers(0, 2**31),
)
@example(  # a constant spectrum that has to stay one
    rows=2, pixels=2, size=2, style="plot", coverage="union", scale="percentile", masked=0.3, shared=False, seed=0
)
def test_random_spectra(
    by_cuda: Callable[..., Any],
    rows: int,
    pixels: int,
    size: int,
    style: str,
    coverage: str,
    scale: Any,
    masked: float,
    shared: bool,
    seed: int,
) -> None:
    """Few pixels, odd sizes, NaN and infinities, gaps, equal values, nothing good at all."""
    rng = np.random.default_rng(seed)
    flux = rng.normal(size=(rows, pixels)).round(1).astype(np.float32)
    ivar = rng.uniform(0.1, 2.0, (rows, pixels)).astype(np.float32)
    flux[rng.random(flux.shape) < masked / 3] = rng.choice([np.nan, np.inf, -np.inf])
    ivar[rng.random(flux.shape) < masked] = rng.choice([0.0, -1.0, np.nan, np.inf])
    wavelength = np.sort(rng.uniform(3500.0, 10500.0, pixels if shared else (rows, pixels)))
    panels = {"panels": 1, "overlap": 2}.get(style)
    options = {"style": style, "size": size, "scale": scale, "channels": ("flux", "error", "mask"), "colors": None}
    options |= {"alpha": 1.0, "coverage": coverage} | ({} if panels is None else {"panels": panels})
    options |= {"block": 1 + (size > 3)} if style == "folded" else {}
    spectra = SpectrumBatch(torch.from_numpy(flux), torch.from_numpy(ivar), torch.from_numpy(wavelength))
    off = (render(spectra, **options).int() - by_cuda(render, spectra, **options).int()).abs()
    assert int(off.max()) <= LEVEL


@slow
@given(
    points=st.integers(1, 60),
    height=st.sampled_from([1, 7, 33, 300]),
    width=st.integers(1, 70),
    linewidth=st.sampled_from([0.25, 1.0, 2.5, 8.0]),
    coverage=st.sampled_from(["union", "agg"]),
    band=st.booleans(),
    gaps=st.booleans(),
    seed=st.integers(0, 2**31),
)
@example(  # vertices that lie half-way between where they may be snapped to
    points=21, height=300, width=1, linewidth=0.25, coverage="agg", band=False, gaps=False, seed=1
)
def test_random_lines(
    by_cuda: Callable[..., Any],
    points: int,
    height: int,
    width: int,
    linewidth: float,
    coverage: str,
    band: bool,
    gaps: bool,
    seed: int,
) -> None:
    """Uneven and repeated x, values far outside, gaps, images higher than what is drawn at a time."""
    rng = np.random.default_rng(seed)
    y, other = rng.normal(0.5 * height, height, (2, 3, points)).astype(np.float32)
    if gaps:
        y[rng.random(y.shape) < 0.3] = rng.choice([np.nan, np.inf, -np.inf, 1e38])
    x = np.sort(rng.uniform(-3.0, width + 3.0, (3, points))).astype(np.float32)
    x[:, 1::5] = x[:, : len(x[0, 1::5]) * 5 : 5][:, : len(x[0, 1::5])]
    x.sort()
    options: dict[str, Any] = {"height": height, "width": width, "linewidth": linewidth, "coverage": coverage}
    options |= {"band": torch.from_numpy(other)} if band else {}
    lines = torch.from_numpy(y), torch.from_numpy(x)
    off = (rasterize(*lines, **options).int() - by_cuda(rasterize, *lines, **options).int()).abs()
    assert int(off.max()) <= LEVEL


@pytest.mark.parametrize("method", ["flux_conserving", "linear"])
def test_resamples_as_the_cpu_does(by_cuda: Callable[..., Any], batch: SpectrumBatch, method: str) -> None:
    grid = torch.linspace(3700.0, 9300.0, 300, dtype=torch.float64)
    spectra = batch.flux, batch.ivar, batch.wavelength, grid
    for got, want in zip(by_cuda(resample, *spectra, method=method), resample(*spectra, method=method), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=0)
    grad = torch.ones(len(batch), 300)
    backward = torch.ops.spectromer.resample_backward
    arguments = (grad, *spectra, method, 0.0, None, None)
    torch.testing.assert_close(by_cuda(backward, *arguments), backward(*arguments), rtol=1e-5, atol=1e-7)


def test_threads_that_wait_apart_are_told(tmp_path: Path) -> None:
    """The emulation itself: a barrier that half of the threads never reach is an error, not a hang."""
    source = tmp_path / "apart.cpp"
    source.write_text(
        "#include <cuda/launch.h>\n#include <cstdio>\nusing namespace spectromer;\n"
        "void fine(int) { __syncthreads(); }\n"
        "void skips(int) { if (threadIdx.x == 5) __shfl_sync(~0u, 1, 1); }\n"
        "int main() { launch(fine, Grid{2, 256, 16}, nullptr, 1);\n"
        " try { launch(skips, Grid{1, 256, 16}, nullptr, 1); } catch (const std::runtime_error& e) { std::puts(e.what()); } }\n"
    )
    program = tmp_path / "apart"
    command = ["c++", "-std=c++17", "-DSPECTROMER_EMULATED", f"-I{FOLDER}", f"-I{FOLDER.parents[1] / 'csrc'}"]
    subprocess.run([*command, source, "-o", program], check=True)
    assert "different barriers" in subprocess.run([program], capture_output=True, text=True, check=True).stdout


# ---- what only a GPU can show ----

gpu = pytest.mark.skipif(not (_C.has_cuda and torch.cuda.is_available()), reason="no GPU, or no CUDA operators")
FUSED = {"channels": ("flux", "error", "mask"), "dtype": "bfloat16", "mean": 0.45, "std": 0.22}


@contextmanager
def no_waiting() -> Iterator[None]:
    """Calls that make the host wait for the device are errors."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Synchronization debug mode is a prototype")
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@gpu
def test_draws_on_the_current_stream_without_waiting(batch: SpectrumBatch) -> None:
    """The kernel waits for the stream's earlier work, the host waits for nothing, and only the images are allocated.

    torch counts a cached block as allocated whole where it hands out part of it, so the bytes asked for are compared.
    """

    def requested(kind: str) -> int:
        return torch.cuda.memory_stats()[f"requested_bytes.all.{kind}"]

    there = batch.to("cuda")
    want = render(there, **FUSED).clone()
    stream = torch.cuda.Stream()
    late = there.flux.clone()
    torch.cuda.synchronize()
    before = requested("current")
    torch.cuda.reset_peak_memory_stats()
    with torch.cuda.stream(stream):
        late.zero_()
        torch.cuda._sleep(50_000_000)
        late.copy_(there.flux)
        with no_waiting():
            got = render(SpectrumBatch(late, there.ivar, there.wavelength), **FUSED)
    stream.synchronize()
    assert torch.equal(got, want)
    assert requested("peak") - before == got.nbytes


@gpu
def test_is_captured_in_a_graph(batch: SpectrumBatch) -> None:
    there = batch.to("cuda")
    want = render(there, **FUSED)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        got = render(there, **FUSED)
    flux = there.flux.clone()
    there.flux.mul_(-1.0)
    graph.replay()
    turned = render(there, **FUSED)
    assert torch.equal(got, turned) and not torch.equal(got, want)
    there.flux.copy_(flux)
    graph.replay()
    assert torch.equal(got, want)


@gpu
def test_more_than_two_thousand_million_levels(batch: SpectrumBatch) -> None:
    """Offsets are of 64 bits: the last of 45,000 images is that of its spectrum."""
    there = batch.to("cuda")
    many = there.select(list(range(len(batch))) * 9000)
    images = render(many)
    assert images.numel() > 2**31
    assert torch.equal(images[-len(batch) :], render(there)) and torch.equal(images[: len(batch)], render(there))


@gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one GPU")
def test_a_second_device(batch: SpectrumBatch) -> None:
    assert torch.equal(render(batch.to("cuda:1"), **FUSED).cpu(), render(batch.to("cuda:0"), **FUSED).cpu())
