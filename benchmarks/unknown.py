"""Fractions of unphysical spectra that a model marks as unknown, and of their redshifts that it flags.

Run `python benchmarks/unknown.py RUN` with a run on the simulated survey, whose spectra are then altered. With
`--sky CATALOG`, the run must be one on real spectra, as of benchmarks/real.py. The spectra of its test split are
altered, and the sky fibres of the catalogue (sourcetype SKY) are added.
"""

import csv
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table
from torch import Tensor

from spectromer import Predictor, Spectrum, read
from spectromer.runs import RunFolder
from spectromer.shards.sources import divide
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


def _arms(spectrum: Spectrum) -> Spectrum:
    """The red arm is brighter by half, as after a wrong flux calibration."""
    return replace(spectrum, flux=torch.where(spectrum.wavelength > 5900.0, 1.5 * spectrum.flux, spectrum.flux))


def _cut(spectrum: Spectrum) -> Spectrum:
    """Only the first 700 good pixels are left."""
    good = spectrum.ivar > 0
    return replace(spectrum, ivar=torch.where(good.cumsum(0) <= 700, spectrum.ivar, 0.0))


@dataclass(frozen=True)
class Options:
    """Count the unphysical spectra that a model marks."""

    run: tyro.conf.Positional[Path]
    """A run folder."""
    sky: Path | None = None
    """A catalogue of real spectra with the columns path and sourcetype."""


def kinds(options: Options) -> dict[str, list[Spectrum]]:
    """The spectra of each kind."""
    if options.sky is None:
        spectra = list(simulate(COUNT, seed=SEED))
        more = {}
    else:
        division = divide(RunFolder(options.run).read_config())
        spectra = list(division.shards.batch(division.rows["test"]))
        with options.sky.open(newline="") as file:
            sky = [row["path"] for row in csv.DictReader(file) if row["sourcetype"] == "SKY"]
        more = {
            "arms that do not match": [_arms(s) for s in spectra],
            "cut to 700 pixels": [_cut(s) for s in spectra],
            "sky fibres": [read(options.sky.parent / path) for path in sky],
        }
    return {name: [replace(s, flux=alter(s.flux)) for s in spectra] for name, alter in ALTERED.items()} | more


def main(options: Options) -> None:
    """Print how much of each kind of spectra a run calls unknown, and how many redshifts it flags."""
    predictor = Predictor.load(options.run)
    table = Table("spectra", "number", "unknown", "z_flag set")
    for name, spectra in kinds(options).items():
        found = predictor.predict_all(spectra)
        shares = np.mean(found["unknown"]), np.mean(np.asarray(found["z_flag"]) != 0)
        table.add_row(name, str(len(spectra)), *(f"{100 * share:.1f} %" for share in shares))
    Console().print(table)


if __name__ == "__main__":
    main(tyro.cli(Options))
