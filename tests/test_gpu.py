"""What only a GPU can show of the operators: streams, graphs, large batches and second devices."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from spectromer import _C, Picture, SpectrumBatch, render
from spectromer.config import TrainConfig
from spectromer.learning.design import Design
from spectromer.learning.step import TrainingStep
from spectromer.learning.targets import Targets
from spectromer.shards.batches import Batches
from spectromer.shards.feeds import Feed
from spectromer.shards.store import ShardSet
from spectromer.surveys.simulated import simulate

pytestmark = pytest.mark.skipif(not (_C.has_cuda and torch.cuda.is_available()), reason="no GPU, or no CUDA operators")


@pytest.fixture(scope="module")
def batch() -> SpectrumBatch:
    spectra = list(simulate(252))
    return SpectrumBatch.from_spectra([*spectra[:3], *spectra[-2:]])


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


def test_more_than_two_thousand_million_levels(batch: SpectrumBatch) -> None:
    """Offsets are of 64 bits: the last of 45,000 images is that of its spectrum."""
    there = batch.to("cuda")
    many = there.select(list(range(len(batch))) * 9000)
    images = render(many)
    assert images.numel() > 2**31
    assert torch.equal(images[-len(batch) :], render(there)) and torch.equal(images[: len(batch)], render(there))


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one GPU")
def test_a_second_device(batch: SpectrumBatch) -> None:
    assert torch.equal(render(batch.to("cuda:1"), **FUSED).cpu(), render(batch.to("cuda:0"), **FUSED).cpu())


def test_steps_of_a_training_do_not_wait() -> None:
    """Neither does the feed of spectra that are on the GPU, within an epoch."""
    shards = ShardSet.from_spectra(list(simulate(256, surveys=("SDSS",))))
    targets = Targets.fit(("class", "z"), shards.believed)
    picture = Picture.of("strips", 64, panels=4)
    design = Design("test_vit", picture, targets)
    config = TrainConfig(model="test_vit", picture=picture, targets=targets.names)
    step = TrainingStep(design.build(), design.transform(), config, 100, "cuda", "bf16-mixed")
    feed = Feed(Batches(shards, batch_size=8), targets.encode(shards.believed), device="cuda")
    batches = iter(feed)
    for _ in range(6):
        step(*next(batches))
    with no_waiting():
        for _ in range(20):
            step(*next(batches))
    assert step._graph.captured is not None and step.take_totals()["loss"] > 0.0
