"""What the tests share: devices, and the real spectra where they are at hand."""

from pathlib import Path

import pytest
import torch

SURVEY_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def _cuda_operators() -> bool:
    from spectromer import _C

    return _C.has_cuda and torch.cuda.is_available()


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> str:
    """Every operator test runs on the CPU and, where there is one, on a GPU."""
    if request.param == "cuda" and not _cuda_operators():
        pytest.skip("no GPU, or a build without CUDA operators")
    return request.param


@pytest.fixture(scope="session")
def survey_data() -> Path:
    """The folder of real spectra."""
    if not (SURVEY_DATA / "catalog.csv").is_file():
        pytest.skip(f"no real spectra at {SURVEY_DATA}")
    return SURVEY_DATA
