"""Training: a step and its parts, the same model in a plain loop on images that are there, and the usual way.

The default model runs on the CPU, and on a GPU if there is one. ViT-B/16, which takes seconds for each step on a CPU,
runs only on a GPU. The usual way is that of many scripts: astropy reads the files, matplotlib draws each spectrum once
as a PNG, and torchvision reads the PNGs in every epoch.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from astropy.io import fits
from bench_gpu import DeviceClock
from torch import Tensor, nn

from spectromer.config import TrainConfig
from spectromer.learning.augment import augment
from spectromer.learning.design import Design
from spectromer.learning.model import SpectrumModel
from spectromer.learning.step import TrainingStep, parameter_groups, precision_of
from spectromer.learning.targets import Targets
from spectromer.picture import Picture
from spectromer.shards.batches import Batches
from spectromer.shards.feeds import Feed
from spectromer.shards.sources import load_simulated
from spectromer.spectra import SpectrumBatch
from spectromer.surveys.simulated import simulate
from spectromer.surveys.write import write_survey

SIZES = {"default": 64, "vit_base_patch16_224": 256}
ON_GPU = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"),
    pytest.mark.benchmark(timer=DeviceClock()),
]
CASES = [
    pytest.param(("default", "cpu"), id="cpu"),
    *(pytest.param((name, "cuda"), marks=ON_GPU, id=f"cuda-{name}") for name in SIZES),
]


@dataclass
class Training:
    """A training whose parts can be run one by one."""

    name: str
    device: str
    group: str
    size: int
    step: TrainingStep
    feed: Feed
    spectra: SpectrumBatch
    labels: dict[str, Tensor]


def make(name: str, device: str) -> Training:
    """A training of a model in its default precision, from scratch."""
    config = TrainConfig(pretrained=False, lr=1e-3, batch_size=SIZES[name])
    if name != "default":
        config = TrainConfig(**vars(config) | {"model": name, "picture": Picture.of("strips", 224, panels=14)})
    shards = load_simulated(2 * config.batch_size, seed=0, progress=False)
    targets = Targets.fit(config.targets, shards.believed)
    design = Design(config.model, config.picture, targets, config.heads, pooling=config.pooling)
    precision = precision_of(config.precision)
    step = TrainingStep(design.build(), design.transform(), config, 1000, device, precision)
    feed = Feed(Batches(shards, batch_size=config.batch_size), targets.encode(shards.believed), device=device)
    spectra, labels = next(iter(feed))
    words = "bfloat16" if precision == "bf16-mixed" else "float32"
    where = "on a GPU" if device == "cuda" else "on a CPU"
    group = f"training {config.model}, {config.batch_size} spectra a batch, {words} {where}"
    return Training(name, device, group, config.batch_size, step, feed, spectra, labels)


@pytest.fixture(scope="module")
def trainings() -> dict[tuple[str, str], Training]:
    """The trainings of the cases, as they are needed."""
    return {}


@pytest.fixture(params=CASES)
def training(request: pytest.FixtureRequest, trainings: dict[tuple[str, str], Training]) -> Training:
    if request.param not in trainings:
        trainings[request.param] = make(*request.param)
    return trainings[request.param]


def batches(feed: Feed) -> Iterator[tuple[SpectrumBatch, dict[str, Tensor]]]:
    while True:
        yield from feed


def plain_loop(model: SpectrumModel, config: TrainConfig, device: str) -> Callable[[Tensor, dict[str, Tensor]], None]:
    """A step as it is usually written, with torch's own AdamW and clipping, after the drawing."""
    groups = [{name: group[name] for name in ("params", "weight_decay")} for group in parameter_groups(model, config)]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, fused=True)

    def step(images: Tensor, labels: dict[str, Tensor]) -> None:
        with torch.autocast(device, torch.bfloat16, enabled=precision_of(config.precision) == "bf16-mixed"):
            sums, counts = model.losses(model(images), labels)
        loss = (sums / counts.clamp(min=1.0)).sum()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def test_whole_step(rate: Any, training: Training) -> None:
    given = batches(training.feed)
    rate(
        training.group,
        "feed, draw and learn",
        training.size,
        lambda: training.step(*next(given)),
        device=training.device,
    )


def test_ceiling(rate: Any, training: Training) -> None:
    step = training.step
    design = make(training.name, training.device).step.model  # its parameters are its own
    images = step.transform(training.spectra)
    learn = plain_loop(design, step.config, training.device)
    name = "a plain loop, with images that are there"
    rate(training.group, name, training.size, lambda: learn(images, training.labels), device=training.device)


@pytest.mark.parametrize("part", ["feed", "augment", "draw", "forward", "forward, backward"])
def test_part(rate: Any, training: Training, part: str) -> None:
    step, given = training.step, batches(training.feed)
    generator = torch.Generator(training.device)
    images = step.transform(training.spectra)

    def backward() -> None:
        sums, counts = step._forward(images, training.labels)
        (sums / counts.clamp(min=1.0)).sum().backward()

    work: dict[str, Callable[[], Any]] = {
        "feed": lambda: next(given),
        "augment": lambda: augment(training.spectra, generator),
        "draw": lambda: step.transform(training.spectra),
        "forward": lambda: step._forward(images, training.labels),
        "forward, backward": backward,
    }
    rate(training.group, f"part: {part}", training.size, work[part], device=training.device)


def test_around_the_step(rate: Any, training: Training, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host's work around a step that is a CUDA graph: it feeds the batch, and sets the rates and the seed."""
    if training.device != "cpu":
        pytest.skip("a graph needs its work")
    given = batches(training.feed)
    monkeypatch.setattr(training.step, "_advance", lambda *_: None)
    rate(training.group, "part: around the step", training.size, lambda: training.step(*next(given)))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("files")
    write_survey(list(simulate(SIZES["default"], surveys=("SDSS",))), folder)
    return sorted(folder.glob("*.fits*"))


def draw_file(file: Path, out: Path, figure: Any) -> None:
    """Draw a spectrum as a PNG of 128 px."""
    with fits.open(file) as opened:
        flux, wavelength = opened[1].data["flux"], 10.0 ** opened[1].data["loglam"]
    axes = figure.gca()
    axes.clear()
    axes.set_axis_off()
    axes.plot(wavelength, flux, linewidth=1.0, color="black")
    figure.savefig(out, dpi=128)


@pytest.mark.parametrize("epoch", ["first epoch", "later epochs"])
def test_the_usual_way(
    rate: Any, peer: Any, files: list[Path], tmp_path: Path, trainings: dict[tuple[str, str], Training], epoch: str
) -> None:
    """PNGs of line plots for a ViT of the same size."""
    vision = peer("torchvision.io", "torchvision")
    figures = peer("matplotlib.figure", "matplotlib")
    training = trainings.setdefault(("default", "cpu"), make("default", "cpu"))
    figure = figures.Figure(figsize=(1, 1))
    pngs = [tmp_path / f"{file.stem}.png" for file in files]
    learn = plain_loop(make("default", "cpu").step.model, training.step.config, "cpu")

    def draw() -> None:
        for file, png in zip(files, pngs, strict=True):
            draw_file(file, png, figure)

    def read() -> Tensor:
        return torch.stack([vision.decode_image(str(png), mode=vision.ImageReadMode.RGB) for png in pngs])

    def work() -> None:
        if epoch == "first epoch":
            draw()
        learn(read(), training.labels)

    draw()
    assert read().shape == (training.size, 3, 128, 128) and np.ptp(read().numpy()) > 100
    rate(training.group, f"astropy, matplotlib and PNGs, {epoch}", training.size, work)
