"""Describe the installation, for a bug report: `python -m spectromer.info`."""

import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from spectromer.cli import exit_code, parse

_PARTS = ("torch", "torchvision", "timm", "lightning", "astropy", "numpy", "scipy", "pyarrow", "scikit-learn")
_EXTRAS = (
    "nvidia-dali-cuda130",
    "astroquery",
    "datasets",
    "distributed",
    "onnxruntime",
    "specutils",
    "wandb",
    "mlflow",
)


@dataclass(frozen=True)
class InfoConfig:
    """Print the versions, the build and the devices, for a bug report."""


def describe() -> Iterator[tuple[str, str]]:
    """The names and values of what matters for a fault."""
    import torch

    import spectromer
    from spectromer import _C

    yield "spectromer", f"{spectromer.__version__} in {os.path.dirname(_C.__file__ or '')}"
    yield "python", f"{platform.python_version()} on {platform.platform()}"
    yield "processor", f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    yield "vector code", f"{_C.target()} of {', '.join(_C.supported_targets())}"
    yield "CUDA operators", f"for {_C.cuda_architectures}" if _C.has_cuda else "not built"
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            found = torch.cuda.get_device_properties(i)
            yield f"GPU {i}", f"{found.name}, {found.total_memory >> 30} GiB, sm_{found.major}{found.minor}"
    else:
        yield "GPU", "none that torch can use"
    yield "CUDA of torch", str(torch.version.cuda or "none")
    for name in _PARTS:
        yield name, _version(name)
    for name in _EXTRAS:
        yield f"{name} (extra)", _version(name)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def main(argv: Sequence[str] | None = None) -> int:
    """Run `spectromer info`."""
    parse(InfoConfig, "info", argv)

    def work() -> None:
        rows = list(describe())
        width = max(len(name) for name, _ in rows)
        for name, value in rows:
            print(f"{name:<{width}}  {value}")

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
