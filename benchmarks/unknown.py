"""Fractions of unphysical spectra that a model marks as unknown, and of their redshifts that it flags.

Run `python benchmarks/unknown.py RUN` with a run on the simulated survey.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table
from torch import Tensor

from spectromer import Predictor
from spectromer.surveys.simulated import simulate

COUNT, SEED = 500, 77
_random = torch.Generator().manual_seed(SEED)


def _noise(flux: Tensor) -> Tensor:
    return torch.randn(flux.shape, generator=_random)


def _bumps(flux: Tensor) -> Tensor:
    """Four broad bumps at random positions on a flat continuum."""
    at = torch.arange(len(flux))
    places = torch.randint(0, len(flux), (4, 1), generator=_random)
    return 1.0 + torch.exp(-0.5 * ((at - places) / 150.0) ** 2).sum(0) + 0.05 * _noise(flux)


def _spikes(flux: Tensor) -> Tensor:
    hit = torch.rand(flux.shape, generator=_random) < 0.01
    return flux + hit * 10.0 * flux.abs().median()


ALTERED: dict[str, Callable[[Tensor], Tensor]] = {
    "spectra like those of training": lambda flux: flux,
    "noise": _noise,
    "a sine": lambda flux: torch.sin(torch.arange(len(flux)) / 100.0),
    "broad bumps": _bumps,
    "a spike in 1 % of the pixels": _spikes,
    "upside down": lambda flux: -flux,
    "mirrored": lambda flux: flux.flip(0),
    "two objects in one": lambda flux: flux + flux.roll(700),
}


def main(run: tyro.conf.Positional[Path]) -> None:
    """Print how much of each kind of spectra a run calls unknown, and how many redshifts it flags."""
    predictor = Predictor.load(run)
    spectra = list(simulate(COUNT, seed=SEED))
    table = Table("spectra", "unknown", "z_flag set")
    for name, alter in ALTERED.items():
        found = predictor.predict_all(replace(s, flux=alter(s.flux)) for s in spectra)
        shares = np.mean(found["unknown"]), np.mean(np.asarray(found["z_flag"]) != 0)
        table.add_row(name, *(f"{100 * share:.1f} %" for share in shares))
    Console().print(table)


if __name__ == "__main__":
    tyro.cli(main)
