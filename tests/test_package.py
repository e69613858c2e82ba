"""The package as a user meets it: found from a checkout, light to import, clear where CUDA is missing."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from spectromer.ops import _native

ROOT = Path(__file__).resolve().parents[1]


def run(code: str, folder: Path) -> str:
    """Print of a fresh interpreter started in `folder`, which comes first on its path as with python -m."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_checkout_does_not_hide_the_compiled_extension() -> None:
    code = "import spectromer, sys; from spectromer import _C; print(spectromer.__file__); print(_C.__file__)"
    package, extension = run(code, ROOT).splitlines()
    assert Path(package).parent == ROOT / "spectromer"
    assert Path(extension).is_file()


def test_import_is_light(tmp_path: Path) -> None:
    code = (
        "import sys, spectromer, torch\n"
        "heavy = sorted({'timm', 'lightning', 'astropy', 'matplotlib', 'sklearn', 'nvidia.dali'} & set(sys.modules))\n"
        "print(heavy, torch.cuda.is_initialized(), spectromer.read.__module__, 'astropy.io.fits' in sys.modules)"
    )
    assert run(code, tmp_path) == "[] False spectromer.readers True"


def test_a_missing_extension_is_one_sentence(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['spectromer._C'] = None\n"  # as if it were not there
        "try:\n    import spectromer\nexcept ImportError as error:\n    print(error)"
    )
    assert "install the package with `pip install .`" in run(code, tmp_path)


def test_arguments_of_native_operators_are_checked_by_name() -> None:
    """A field that is unknown, forgotten or of a wrong type is a TypeError that names it."""
    C = _native._C
    fields = {"y": 0, "x": 0, "images": 0, "points": 0, "x_stride": 0, "height": 1, "width": 1, "linewidth": 1.0}
    fields |= {"subcolumns": 1, "coverage": C.Coverage.agg, "out": 0}
    args = C.RasterizeArgs(**fields)
    assert (args.coverage, args.height, args.band) == (C.Coverage.agg, 1, 0)
    for wrong, message in (
        (fields | {"colour": 1}, "RasterizeArgs has no field 'colour'"),
        ({name: value for name, value in fields.items() if name != "out"}, "RasterizeArgs needs the field 'out'"),
        (fields | {"coverage": 1}, "RasterizeArgs cannot take type int as the field 'coverage'"),
    ):
        with pytest.raises(TypeError, match=message):
            C.RasterizeArgs(**wrong)


def test_a_cuda_tensor_in_a_cpu_build_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_native, "_C", SimpleNamespace(has_cuda=False))
    with pytest.raises(RuntimeError, match=r"no CUDA operator in this build .* move the tensors to the CPU"):
        _native.call("resample", torch.device("cuda"), None)
