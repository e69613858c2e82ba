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
    assert run(code, tmp_path) == "[] False spectromer.surveys True"


def test_a_missing_extension_is_one_sentence(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['spectromer._C'] = None\n"  # as if it were not there
        "try:\n    import spectromer\nexcept ImportError as error:\n    print(error)"
    )
    assert "install the package with `pip install .`" in run(code, tmp_path)


def test_a_cuda_tensor_in_a_cpu_build_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_native, "_C", SimpleNamespace(has_cuda=False))
    with pytest.raises(RuntimeError, match=r"no CUDA operator in this build .* move the tensors to the CPU"):
        _native.call("resample", torch.device("cuda"), None)
