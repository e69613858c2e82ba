"""A GPU is used only if the operators can use it."""

from collections.abc import Iterator

import pytest
import torch

from spectromer import _C
from spectromer.learning.devices import has_gpu


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    has_gpu.cache_clear()
    yield
    has_gpu.cache_clear()


@pytest.mark.parametrize(("there", "built"), [(False, False), (False, True), (True, True)])
def test_a_gpu_that_both_can_use(there: bool, built: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    monkeypatch.setattr(_C, "has_cuda", built)
    assert has_gpu() == (there and built)


def test_a_gpu_without_operators_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(_C, "has_cuda", False)
    with pytest.warns(UserWarning, match="built without CUDA operators: the CPU is used"):
        assert not has_gpu()
