"""A small training step, and shares of its work in several processes."""

from typing import Any

import torch
import torch.distributed as dist

from spectromer import Picture, SpectrumBatch
from spectromer.config import TrainConfig
from spectromer.learning.design import Design
from spectromer.learning.step import TrainingStep
from spectromer.learning.targets import Targets
from spectromer.surveys.simulated import simulate

PICTURE = Picture.of("panels", 64, panels=4)
TARGETS = Targets(("class", "z", "teff"), {"class": ["QSO", "STAR"]}, {}, {"z": (0.0, 1.0), "teff": (8.7, 0.3)})
STEPS = 100


def make_step(rank: int = 0, device: str = "cpu", **options: Any) -> TrainingStep:
    """A step of a small model from scratch."""
    torch.manual_seed(0)
    config = TrainConfig(**{"model": "test_vit", "picture": PICTURE, "lr": 1e-3, "targets": TARGETS.names, **options})
    design = Design("test_vit", PICTURE, TARGETS)
    return TrainingStep(design.build(), design.transform(), config, STEPS, device, rank=rank)


def shared_out(rank: int, ranks: int, port: int, out: str) -> None:
    """Three steps and a validation, with each process's share of a batch."""
    if ranks > 1:
        dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=ranks)
    spectra = list(simulate(16, seed=1))
    batch = SpectrumBatch.from_spectra(spectra)
    labels = {
        "class": torch.arange(16) % 3 - 1,  # a third has none, and the shares have different numbers of them
        "z": torch.tensor([s.labels["z"] for s in spectra]),
        "teff": torch.where(torch.arange(16) < 6, 5000.0, torch.nan),  # the second process has none
    }
    mine = list(range(16)[rank * 16 // ranks : (rank + 1) * 16 // ranks])
    step, found = make_step(rank, augment=False), []
    for _ in range(3):
        step(batch.select(mine), {name: value[mine] for name, value in labels.items()})
        found.append(list(step.take_totals().values()))
    step.validate(batch.select(mine), {name: value[mine] for name, value in labels.items()})
    found.append(list(step.take_totals().values()))
    torch.save((found, step.state()), f"{out}/{ranks}-{rank}.pt")
    if ranks > 1:
        dist.destroy_process_group()
