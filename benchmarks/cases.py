"""The cases of the table of GPU figures in docs/results.md, shared by the scripts that time and profile them.

Run `python benchmarks/cases.py 256` to print the name of each case and to draw 256 spectra on the GPU.
"""

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from spectromer import SpectrumBatch, rasterize, render, resample
from spectromer.ops.tables import wavelength_grid
from spectromer.picture import Picture
from spectromer.surveys.simulated import simulate

SIZE = 224
NORMALISED: dict[str, Any] = {"dtype": "bfloat16", "mean": 0.45, "std": 0.22}
THREE: dict[str, Any] = {"channels": ("flux", "error", "mask")}

#: Options of `render` for each case.
STYLES: dict[str, dict[str, Any]] = {
    "plot, uint8": {},
    "plot with error and mask, bfloat16": THREE | NORMALISED,
    "14 panels, uint8": {"style": "panels", "panels": 14},
    "overlap, bfloat16": {"style": "overlap"} | NORMALISED,
    "folded, uint8": {"style": "folded"},
    "thesis-plot, uint8": {"style": "thesis-plot"},
}


def cases(batch: SpectrumBatch) -> dict[str, Callable[[], Tensor]]:
    """Return the cases by name, as functions without arguments."""
    own = batch.wavelength.expand(batch.flux.shape).contiguous()
    grid, heights = bins(batch.flux.device), lines(batch.to("cpu")).to(batch.flux.device)
    return {
        **{name: lambda options=options: render(batch, **options) for name, options in STYLES.items()},
        "resample, one wavelength for all": lambda: resample(batch.flux, batch.ivar, batch.wavelength, grid)[0],
        "resample, wavelengths of each one's own": lambda: resample(batch.flux, batch.ivar, own, grid)[0],
        "rasterize, true area": lambda: rasterize(heights),
        "rasterize, as AGG": lambda: rasterize(heights, coverage="agg"),
    }


def bins(device: torch.device) -> Tensor:
    """Bin centres to resample to, in Angstrom, [4096] float64."""
    return torch.linspace(3650.0, 10250.0, 4096, dtype=torch.float64).to(device)


def lines(batch: SpectrumBatch) -> Tensor:
    """Heights of the lines that `render` draws, in pixels, without gaps, [batch, 448]."""
    grid = wavelength_grid(Picture(), batch.flux.device)
    assert grid is not None
    flux, _ = resample(batch.flux, batch.ivar, batch.wavelength, grid)
    ends = torch.tensor([0.005, 0.995], device=flux.device)
    low, high = torch.quantile(flux, ends, dim=1, keepdim=True)
    return SIZE * (0.95 - 0.9 * (flux - low) / (high - low))


def main() -> None:
    """Print the name of each case and launch it."""
    batch = SpectrumBatch.from_spectra(list(simulate(int(sys.argv[1]), surveys=("SDSS",)))).to("cuda")
    for name, work in cases(batch).items():
        torch.cuda.synchronize()
        print("CASE", name, flush=True)
        work()
    torch.cuda.synchronize()


if __name__ == "__main__":
    main()
