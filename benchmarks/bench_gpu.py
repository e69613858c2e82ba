"""The operators on a GPU, compared with its memory bandwidth, with torch ops, and with a training step of a ViT."""

import time
from typing import Any, Literal

import pytest
import torch
from cases import NORMALISED, SIZE, STYLES, THREE, bins, lines
from torch import Tensor, nn

from spectromer import _C, SpectrumBatch, rasterize, render, resample
from spectromer.shards.batches import Batches
from spectromer.shards.feeds import Feed
from spectromer.shards.store import ShardSet
from spectromer.surveys.simulated import simulate


class DeviceClock:
    """Timer that synchronises with the GPU and reads its clock, in seconds."""

    def __init__(self) -> None:
        self._last: Any = None
        self._seconds = 0.0

    def __call__(self) -> float:
        now = torch.cuda.Event(enable_timing=True)
        now.record()
        now.synchronize()
        if self._last is not None:  # measure between successive events, since long intervals are less precise
            self._seconds += self._last.elapsed_time(now) / 1000.0
        self._last = now
        return self._seconds


pytestmark = [
    pytest.mark.skipif(
        not (_C.has_cuda and torch.cuda.is_available()), reason="no GPU, or a build without CUDA operators"
    ),
    pytest.mark.benchmark(timer=DeviceClock()),
]

COUNT, FEW = 4096, 64
RENDER, RENDER_FEW, HOST, RESAMPLE, RASTERIZE, STEP, FEED = (
    f"GPU: {what}"
    for what in (
        f"render 4620 px to {SIZE} x {SIZE}, {COUNT} spectra",
        f"the same, {FEW} spectra",
        f"the host's share of a call, {FEW} spectra",
        "resample 4620 px to 4096 bins",
        f"rasterize 448 points to {SIZE} x {SIZE}",
        "a training step of ViT-B/16 in bfloat16, 256 spectra",
        "batches of 256 from the host",
    )
)


@pytest.fixture(scope="module")
def many(batch: SpectrumBatch) -> SpectrumBatch:
    return batch.select(list(range(len(batch))) * (COUNT // len(batch))).to("cuda")


@pytest.mark.parametrize(("name", "options"), STYLES.items())
def test_render(rate: Any, batch: SpectrumBatch, many: SpectrumBatch, name: str, options: dict) -> None:
    images = render(many, **options)
    off = (images[: len(batch)].cpu().float() - render(batch, **options).float()).abs()
    level = 1.0 if images.dtype == torch.uint8 else 2.0 / 255.0 / 0.22  # one level, or one step of bfloat16
    assert float(off.max()) <= 1.001 * level
    size = 8 * many.flux.shape[1] + images[0].nbytes
    del images
    rate(RENDER, name, COUNT, lambda: render(many, **options), size=size, device="cuda")


@pytest.mark.parametrize("name", ["plot, uint8", "14 panels, uint8"])
def test_render_few(rate: Any, many: SpectrumBatch, name: str) -> None:
    few = many.select(range(FEW))
    rate(RENDER_FEW, name, FEW, lambda: render(few, **STYLES[name]), device="cuda")


@pytest.mark.benchmark(timer=time.perf_counter)
@pytest.mark.parametrize("name", ["plot, uint8", "plot with error and mask, bfloat16"])
def test_host(benchmark: Any, many: SpectrumBatch, name: str) -> None:
    few = many.select(range(FEW))
    benchmark.group = HOST
    benchmark.extra_info |= {"name": name, "spectra": FEW, "bytes": 0, "error": "", "device": "cuda"}
    benchmark.pedantic(render, (few,), STYLES[name], setup=torch.cuda.synchronize, rounds=500, warmup_rounds=5)


@pytest.mark.parametrize("own", [False, True])
def test_resample(rate: Any, many: SpectrumBatch, own: bool) -> None:
    wavelength = many.wavelength.expand(many.flux.shape).contiguous() if own else many.wavelength
    grid = bins(many.flux.device)
    size = 8 * (many.flux.shape[1] + 4096) + (8 * many.flux.shape[1] if own else 0)
    name = "spectromer, wavelengths of each spectrum's own" if own else "spectromer, one wavelength for all"
    rate(RESAMPLE, name, COUNT, lambda: resample(many.flux, many.ivar, wavelength, grid), size=size, device="cuda")


def test_resample_by_torch(rate: Any, many: SpectrumBatch) -> None:
    """Resample flux and variance of the good pixels, and their weights, with one sparse matrix of overlaps."""
    wavelength, grid = many.wavelength, bins(many.flux.device)

    def edges(centres: Tensor) -> Tensor:
        middle = 0.5 * (centres[1:] + centres[:-1])
        return torch.cat((2 * centres[:1] - middle[:1], middle, 2 * centres[-1:] - middle[-1:]))

    pixel, bin_ = edges(wavelength), edges(grid)
    low = torch.maximum(pixel[None, :-1], bin_[:-1, None])
    share = (torch.minimum(pixel[None, 1:], bin_[1:, None]) - low).clamp(min=0) / (bin_[1:] - bin_[:-1])[:, None]
    weights = share.float().to_sparse()
    squares = (share**2).float().to_sparse()

    def work() -> tuple[Tensor, Tensor]:
        good = (many.ivar > 0) & torch.isfinite(many.flux)
        weight = weights @ good.float().T
        total = weights @ torch.where(good, many.flux, 0.0).T
        variance = squares @ torch.where(good, 1.0 / many.ivar, 0.0).T
        some = weight > 0
        flux = torch.where(some, total / weight, 0.0)
        return flux.T, torch.where(some & (variance > 0), weight**2 / variance, 0.0).T

    got, want = work(), resample(many.flux, many.ivar, wavelength, grid)
    torch.testing.assert_close(got[0], want[0], rtol=1e-3, atol=1e-3)
    rate(RESAMPLE, "torch, a sparse matrix", COUNT, work, device="cuda")


@pytest.fixture(scope="module")
def heights(many: SpectrumBatch) -> Tensor:
    return lines(many)


def test_rasterize(rate: Any, heights: Tensor) -> None:
    size = 4 * heights.shape[1] + SIZE * SIZE
    rate(RASTERIZE, "spectromer, true area", COUNT, lambda: rasterize(heights), size=size, device="cuda")


def test_rasterize_as_agg(rate: Any, heights: Tensor) -> None:
    size = 4 * heights.shape[1] + SIZE * SIZE
    name = 'spectromer, coverage="agg"'
    rate(RASTERIZE, name, COUNT, lambda: rasterize(heights, coverage="agg"), size=size, device="cuda")


def test_rasterize_by_torch(rate: Any, heights: Tensor) -> None:
    """Compute the same area with torch ops: 8 samples per column, each with the extent of the discs at 17 offsets."""
    some, places, radius = heights[:256], 8, 0.5
    points = some.shape[1]
    beside = torch.linspace(-radius, radius, 17, device="cuda")
    reach = (radius**2 - beside**2).clamp(min=0).sqrt()
    x = (torch.arange(SIZE * places, device="cuda") + 0.5)[:, None] / places + beside
    at = (x * points / SIZE - 0.5).clamp(0.0, points - 1.0)
    left = at.floor().clamp(0, points - 2).long()
    share = at - left
    rows = torch.arange(SIZE, device="cuda").view(1, SIZE, 1, 1)

    def work() -> Tensor:
        a, b = some[:, left], some[:, left + 1]
        y = a + share * (b - a)
        bottom = (y + reach).amax(2).view(len(some), 1, SIZE, places)
        top = (y - reach).amin(2).view(len(some), 1, SIZE, places)
        cover = (bottom - rows).clamp(0, 1) - (top - rows).clamp(0, 1)
        return (255.0 * cover.mean(3) + 0.5).to(torch.uint8)[:, None]

    off = (work().float() - rasterize(some).float()).abs()
    assert float(off.mean()) <= 1.0  # both draw the same line
    error = f"{float(off.mean()):.2f} levels on average, {float(off.max()):.0f} at most, to ours"
    rate(RASTERIZE, "torch, 256 at a time", len(some), work, error=error, device="cuda")


@pytest.fixture(scope="module")
def training() -> Any:
    """A training step with images, or with the spectra from which they are drawn."""
    timm = pytest.importorskip("timm")
    model = timm.create_model("vit_base_patch16_224", num_classes=30).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    labels = torch.randint(0, 30, (256,), device="cuda")

    def step(images: Tensor) -> Tensor:
        with torch.autocast("cuda", dtype=torch.bfloat16):
            loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


def test_step_with_images_at_hand(rate: Any, many: SpectrumBatch, training: Any) -> None:
    images = render(many.select(range(256)), **THREE, **NORMALISED)
    rate(STEP, "images that are there", 256, lambda: training(images), device="cuda")


def test_step_with_spectra(rate: Any, many: SpectrumBatch, training: Any) -> None:
    some = many.select(range(256))
    rate(STEP, "images drawn in the step", 256, lambda: training(render(some, **THREE, **NORMALISED)), device="cuda")


def test_the_drawing_alone(rate: Any, many: SpectrumBatch) -> None:
    some = many.select(range(256))
    rate(STEP, "the drawing alone", 256, lambda: render(some, **THREE, **NORMALISED), device="cuda")


@pytest.mark.parametrize("feed", ["torch", "dali"])
def test_feed(rate: Any, batch: SpectrumBatch, feed: Literal["torch", "dali"]) -> None:
    if feed == "dali":
        pytest.importorskip("nvidia.dali")
    shards = ShardSet.from_spectra(list(simulate(2048, surveys=("SDSS",))))
    batches = Feed(Batches(shards), feed=feed, device="cuda")
    rate(FEED, feed, 2048, lambda: sum(len(spectra) for spectra, _ in batches), device="cuda")
