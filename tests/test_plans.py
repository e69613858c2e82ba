"""Plans of weights: for how long one serves, and who waits for it. What they hold is tested with the kernels."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from spectromer.ops import _native
from spectromer.ops.plans import BinPlans
from spectromer.ops.tables import wavelength_grid
from spectromer.picture import Picture


class FakeStream:
    """Records what a stream of a GPU would be told."""

    def __init__(self, number: int) -> None:
        self.cuda_stream, self.waited = number, []

    def record_event(self) -> str:
        return f"event of {self.cuda_stream}"

    def wait_event(self, event: str) -> None:
        self.waited.append(event)


class FakeWeights:
    nbytes = 100

    def __init__(self, number: int) -> None:
        self.number, self.streams = number, []

    def data_ptr(self) -> int:
        return self.number

    def record_stream(self, stream: FakeStream) -> None:
        self.streams.append(stream.cuda_stream)


class CountedPlans(BinPlans):
    made = 0

    def _make(self, args: Any, size: int, device: torch.device) -> Any:
        self.made += 1
        args.plan = self.made
        return FakeWeights(self.made)


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> CountedPlans:
    """Plans as a GPU would keep them, whose streams and memory are told of and not there."""
    monkeypatch.setattr("spectromer.ops.plans._C", SimpleNamespace(bin_plan_bytes=lambda args: args.bytes))
    monkeypatch.setattr("spectromer.ops.plans.capturing", lambda _: False)
    stream = FakeStream(1)
    monkeypatch.setattr("torch.cuda.current_stream", lambda _: stream)
    return CountedPlans()


def axes() -> tuple[Tensor, Tensor]:
    """Wavelengths and a grid."""
    return torch.linspace(3600.0, 9000.0, 50).double(), torch.linspace(4000.0, 8000.0, 9).double()


def plan_number(plans: BinPlans, *spectra: Tensor, method: int = 0, max_gap: float = 5.0, bytes: int = 100) -> int:
    args = SimpleNamespace(method=method, max_gap=max_gap, bytes=bytes, plan=0)
    plans.find(args, *spectra)
    return args.plan


def test_plans_are_kept_while_their_axes_stay_as_they_are(plans: CountedPlans) -> None:
    wavelength, grid = axes()
    assert [plan_number(plans, wavelength, grid) for _ in range(3)] == [1, 1, 1]
    assert plan_number(plans, wavelength, grid, method=1) == 2
    assert plan_number(plans, wavelength, grid, max_gap=7.0) == 3
    wavelength[3] += 1.0
    assert plan_number(plans, wavelength, grid) == 4
    grid.mul_(1.01)
    assert plan_number(plans, wavelength, grid) == 5
    assert plan_number(plans, wavelength[:40], grid) == 6
    assert plan_number(plans, wavelength[::2], grid) == 7
    assert plan_number(plans, wavelength.float(), grid) == 8
    assert plan_number(plans, wavelength, grid) == 5
    assert plan_number(plans, wavelength, grid, bytes=0) == 0  # nothing that a plan would serve


def test_no_plan_outlives_the_memory_of_its_axes(plans: CountedPlans) -> None:
    """Another tensor at the address of one that was freed has another plan."""
    grid = axes()[1]
    numbers = [plan_number(plans, axes()[0] + i, grid) for i in range(8)]
    assert numbers == list(range(1, 9))


def test_plans_that_were_not_used_of_late_are_dropped(plans: CountedPlans) -> None:
    kept, grid = axes()
    others = [axes()[0] + i for i in range(plans.MOST)]
    plan_number(plans, kept, grid)
    for other in others:
        plan_number(plans, other, grid)
        assert plan_number(plans, kept, grid) == 1
    assert plan_number(plans, others[0], grid) == plans.MOST + 2
    plans.MOST_BYTES = 250  # room for two
    assert plan_number(plans, others[1], grid) == plans.MOST + 3
    assert plan_number(plans, others[0], grid) == plans.MOST + 2
    assert plan_number(plans, kept, grid) > plans.MOST + 3


def test_other_streams_wait_for_a_plan_once(plans: CountedPlans, monkeypatch: pytest.MonkeyPatch) -> None:
    spectra, other = axes(), FakeStream(2)
    plan_number(plans, *spectra)
    monkeypatch.setattr("torch.cuda.current_stream", lambda _: other)
    assert [plan_number(plans, *spectra) for _ in range(2)] == [1, 1]
    args = SimpleNamespace(method=0, max_gap=5.0, bytes=100)
    assert other.waited == ["event of 1"] and plans.find(args, *spectra).streams == [2]


def test_plans_of_graphs_and_of_inference_tensors_are_not_kept(
    plans: CountedPlans, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph makes its plan at each replay; and torch counts no changes of an inference tensor."""
    with torch.inference_mode():
        inside = axes()
    assert [plan_number(plans, *inside) for _ in range(2)] == [1, 2]
    outside = axes()
    plan_number(plans, *outside)
    monkeypatch.setattr("spectromer.ops.plans.capturing", lambda _: True)
    assert [plan_number(plans, *outside) for _ in range(2)] == [4, 5]
    with torch.inference_mode():
        assert not wavelength_grid(Picture(margin=0.07)).is_inference()


def test_tables_that_a_graph_reads_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: dict[int, object] = {}
    monkeypatch.setattr(_native, "_KEPT", kept)
    for captured in (False, True):
        monkeypatch.setattr(_native, "capturing", lambda _, captured=captured: captured)
        table = object()
        assert _native.kept_for_graphs(table, torch.device("cuda", 0)) is table
        assert list(kept.values()) == ([table] if captured else [])


@pytest.mark.skipif(not hasattr(torch.Tag, "cudagraph_unsafe"), reason="torch before 2.8")
def test_compiled_graphs_leave_out_what_keeps_tensors() -> None:
    for op in ("resample", "render", "rasterize"):
        assert torch.Tag.cudagraph_unsafe in getattr(torch.ops.spectromer, op).default.tags
