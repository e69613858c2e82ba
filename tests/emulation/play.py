"""The CUDA kernels compiled for the CPU, and operators that call them."""

import ctypes
import importlib.util
import itertools
import math
import mmap
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "csrc"
NUMBERS = itertools.count()


def emulation(sources: Path = SOURCES) -> list[str]:
    """Options that compile the kernels in the folder `sources`, or parts of them, for the CPU."""
    return ["-O1", "-ffp-contract=off", "-DSPECTROMER_EMULATED", f"-I{HERE}", f"-I{sources}"]


def compiled(source: Path, out: Path, *options: str) -> Path:
    """Compile a source."""
    built = subprocess.run(["c++", "-std=c++17", *options, source, "-o", out], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr[-3000:]
    return out


def extension(name: str, source: Path, folder: Path, *options: str) -> Any:
    """Compile a source of pybind11's in `folder`, and import it."""
    pybind11 = pytest.importorskip("pybind11")
    include = [f"-I{pybind11.get_include()}", f"-I{sysconfig.get_paths()['include']}"]
    out = folder / f"{name}{sysconfig.get_config_var('EXT_SUFFIX')}"
    compiled(source, out, "-shared", "-fPIC", "-fvisibility=hidden", *options, *include)
    spec = importlib.util.spec_from_file_location(name, out)
    assert spec is not None and spec.loader is not None
    imported = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(imported)
    return imported


def module(folder: Path, sources: Path = SOURCES, extra: Sequence[str] = ()) -> Any:
    """The kernels as a module that takes the arguments of `spectromer._C`, compiled with `extra` options."""
    name = f"emulated_{next(NUMBERS)}"  # pybind11 gives the first module of a name again
    # Extra options come first, so that their include folders take precedence over the emulation's.
    return extension(name, HERE / "module.cpp", folder, *extra, f"-DEMULATED={name}", *emulation(sources))


def played(kernels: Any, operator: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """What an operator gives with these kernels, on tensors that end where memory ends."""

    def call(name: str, _: torch.device, args: Any) -> Any:
        spectra = getattr(args, "spectra", args)
        if name in ("render", "resample") and (size := kernels.bin_plan_bytes(spectra)) > 0:
            plan = guarded((size,), torch.uint8)
            spectra.plan = plan.data_ptr()
            kernels.make_bin_plan_cuda(spectra, 0)
        return getattr(kernels, f"{name}_cuda")(args, 0)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("raster", "resample", "render"):
            ops = sys.modules[f"spectromer.ops.{name}"]
            patch.setattr(ops, "call", call, raising=False)
            patch.setattr(ops, "output", guarded)
            patch.setattr(ops, "dense", guarded_copy)
        # A spectrum that exceeds shared memory would be drawn by `composite`, and the kernels would go untested.
        patch.setattr(sys.modules["spectromer.ops.render"], "composite", lambda *_: pytest.fail("did not fit"))
        return operator(*args, **options)


def guarded(shape: tuple[int, ...], dtype: torch.dtype, _: object = None) -> Tensor:
    """A tensor behind whose end (but for what aligns it) lies memory that nobody may touch."""
    size, page = math.prod(shape) * dtype.itemsize, mmap.PAGESIZE
    pages = mmap.mmap(-1, (size + page - 1) // page * page + page)
    end = len(pages) - page
    libc = ctypes.CDLL(None, use_errno=True)
    address = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    assert libc.mprotect(ctypes.c_void_p(address + end), ctypes.c_size_t(page), 0) == 0
    start = (end - size) // 16 * 16
    bytes_ = torch.frombuffer(pages, dtype=torch.uint8, offset=start, count=size) if size else torch.empty(0).byte()
    return bytes_.view(dtype).view(shape)


def guarded_copy(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """A tensor of its own, with such an end."""
    return guarded(tuple(tensor.shape), dtype).copy_(tensor.detach())
