"""Random calls of the operators: all options, shapes, values, strides, types, vector targets.

    python tests/long/fuzz_operators.py --minutes 5 --seed 1
    tests/long/sanitize.sh --minutes 5 --seed 1        # the same under AddressSanitizer and UBSan

Every call gives a result or an ArgumentError. Results must be finite, and on small inputs they must agree with the
reference (resample) or with another vector target (pictures). A failure names the seed and the number of the call,
which `--first` repeats.
"""

import argparse
import collections
import faulthandler
import itertools
import math
import random
import sys
import time
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spectromer import _C, SpectrumBatch, rasterize, reference, render, resample
from spectromer.errors import ArgumentError
from spectromer.ops.inputs import single_ivar
from spectromer.picture import STYLES

PIXELS = [
    0,
    1,
    2,
    2,
    3,
    3,
    4,
    4,
    5,
    6,
    7,
    8,
    9,
    15,
    16,
    17,
    31,
    33,
    63,
    64,
    65,
    100,
    127,
    129,
    200,
    255,
    257,
    300,
    1000,
    3867,
]
ROWS = [0, 1, 1, 2, 2, 3, 4, 5, 7, 8, 9, 16, 17, 33]
BINS = [0, 1, 2, 2, 3, 5, 8, 16, 17, 18, 31, 64, 64, 100, 150, 200, 300, 448, 449, 1000, 20000]
SIZES = [1, 1, 2, 3, 7, 8, 16, 17, 33, 64, 100, 224, 300, 513, 1025]
VALUES = ["plain"] * 4 + ["nan", "inf", "huge", "tiny", "zero", "constant", "mixed"]
AXES = ["log", "linear", "random", "gaps"] * 5 + ["tight", "wide", "falling", "twice", "nan", "negative", "ulp"]
TYPES = [torch.float32] * 6 + [torch.float64, torch.float16, torch.bfloat16, torch.int32, torch.int64, torch.uint8]
EXTREME = [0, 0, 1, 5, -1, 2**31, 2**62, 2**63 - 1, -(2**63)]


class Case:
    """The random choices of one call."""

    def __init__(self, seed: int, number: int) -> None:
        self.random = random.Random(seed * 1000003 + number)
        self.torch = torch.Generator().manual_seed(self.random.randrange(2**40))

    def choose(self, *options: Any) -> Any:
        return self.random.choice(options)

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def values(self, shape: tuple[int, ...], scale: float = 1.0) -> Tensor:
        x = scale * torch.randn(shape, generator=self.torch, dtype=torch.float64)
        some = torch.rand(shape, generator=self.torch)
        kind = self.random.choice(VALUES)
        if kind in ("nan", "inf"):
            x[some < self.choose(0.01, 0.5, 1.0)] = math.nan if kind == "nan" else self.choose(math.inf, -math.inf)
        elif kind in ("huge", "tiny"):
            x *= self.choose(1e30, 3e38, 1e300) if kind == "huge" else self.choose(1e-17, 1e-40, 1e-300)
        elif kind in ("zero", "constant"):
            x = x * 0.0 + (0.0 if kind == "zero" else self.choose(1.0, -5.0, 1e9, 3e38))
        elif kind == "mixed":
            for i, value in enumerate((math.nan, math.inf, -math.inf, 3e38, 0.0)):
                x[(some > 0.1 * i) & (some < 0.1 * (i + 1))] = value
        return x

    def laid_out(self, x: Tensor) -> Tensor:
        """The same values with other strides, or with a gradient."""
        way = self.random.randrange(12)
        if way == 0 and x.ndim == 2:
            return x.t().contiguous().t()
        if way == 1:
            return torch.stack([x, x], -1)[..., 0]
        if way == 2 and x.ndim == 2 and len(x):
            return x[:1].expand(x.shape)
        if way == 3:
            return x.flip(-1)
        if way == 4 and x.dtype.is_floating_point:
            return x.clone().requires_grad_()
        return x

    def axis(self, shape: tuple[int, ...], low: float = 3500.0, high: float = 10500.0) -> Tensor:
        kind, count = self.random.choice(AXES), shape[-1]
        even = torch.linspace(0.0, 1.0, count, dtype=torch.float64) if count > 1 else torch.zeros(count).double()
        w = low + (high - low) * even.expand(shape).clone()
        noise = torch.rand(shape, generator=self.torch, dtype=torch.float64)
        if kind == "log":
            w = low * (high / low) ** even.expand(shape).clone()
        elif kind == "random":
            w = noise.sort(-1).values * (high - low) + low
        elif kind == "gaps":
            wide = torch.where(noise < 0.1, self.choose(3.0, 10.0, 1000.0), 1.0)
            w = low + (high - low) * wide.cumsum(-1) / wide.sum(-1, keepdim=True).clamp(min=1.0)
        elif kind == "tight":
            w = 5000.0 + 1e-9 * (w - low) / (high - low)
        elif kind == "wide":
            w = 10.0 ** (600.0 * (w - low) / (high - low) - 300.0)
        elif kind == "falling":
            w = w.flip(-1)
        elif kind == "twice":
            w = w.round(decimals=-2)
        elif kind == "nan" and w.numel():
            w.view(-1)[self.random.randrange(w.numel())] = self.choose(math.nan, math.inf, -math.inf)
        elif kind == "negative":
            w = w - 7000.0
        elif kind == "ulp":
            w = torch.from_numpy(5000.0 + np.arange(count) * np.spacing(5000.0)).expand(shape).clone()
        return w

    def spectra(self) -> tuple[Tensor, Tensor, Tensor]:
        rows, pixels = self.random.choice(ROWS), self.random.choice(PIXELS)
        rows = min(rows, 2) if rows * pixels > 60000 else rows
        flux = self.values((rows, pixels)).to(self.random.choice(TYPES))
        ivar = self.values((rows, pixels)).abs().to(self.random.choice(TYPES))
        wavelength = self.axis((pixels,) if self.chance(0.5) else (rows, pixels))
        return self.laid_out(flux), self.laid_out(ivar), self.laid_out(wavelength)


def check_resample(case: Case) -> None:
    flux, ivar, wavelength = case.spectra()
    rows, pixels = flux.shape
    bins = case.random.choice(BINS)
    grid = case.axis((bins,) if case.chance(0.7) else (rows, bins))
    options: dict[str, Any] = {"method": case.choose("flux_conserving", "linear")}
    if case.chance(0.3):
        options["coverage"] = case.choose(0.5, 1.0, 1e-30, math.nan, -1, 2)
    if case.chance(0.5):
        options["max_gap"] = case.choose(2.0, 2.0, 30.0, math.inf, None, 1.0, math.nan)
    way = case.random.random()
    if way < 0.25:
        extra = case.choose(0, 10, 50)
        wavelength = case.axis((pixels + extra,))
        shifts = [case.random.choice([*EXTREME, 2**63 - 1 - pixels]) for _ in range(rows)]
        options["shift"] = torch.tensor(shifts if case.chance(0.3) else [case.random.randint(0, extra)] * rows).long()
    elif way < 0.5:
        total = rows * pixels
        cuts = sorted(case.choose(0, total, case.random.randint(0, total)) for _ in range(case.choose(0, 1, 2, 5, 9)))
        offsets = [0, *cuts, total]
        if case.chance(0.1):
            offsets[1] = case.random.choice(EXTREME)
        flux, ivar, wavelength = flux.reshape(-1), ivar.reshape(-1), case.axis((total,))
        options["offsets"] = torch.tensor(offsets)
        if case.chance(0.4):
            longest = max((b - a for a, b in itertools.pairwise(offsets)), default=0)
            wavelength = case.axis((min(max(longest, 0), total) + 5,))
            shifts = [case.random.choice(EXTREME) if case.chance(0.1) else case.choose(0, 3, 5) for _ in offsets[1:]]
            options["shift"] = torch.tensor(shifts)
    got = resample(flux, ivar, wavelength, grid, **options)
    for out in got:
        assert bool(torch.isfinite(out).all()), "not finite"
    if flux.requires_grad:
        (grad,) = torch.autograd.grad(got[0].sum(), flux)
        assert grad.shape == flux.shape
    if flux.ndim == 2 and not options.keys() & {"shift", "offsets"} and 0 < rows * pixels * bins < 20000:
        agree(case, got, flux, ivar, wavelength, grid, options)


def agree(
    case: Case, got: tuple[Tensor, Tensor], flux: Tensor, ivar: Tensor, axis: Tensor, grid: Tensor, options: Any
) -> None:
    """Compare the last row with the reference where single precision can tell bins and fluxes apart."""
    flux, ivar, axis, grid = (t.detach().double() for t in (flux.float(), single_ivar(ivar), axis, grid))
    axis, grid = (t if t.ndim == 1 else t[-1] for t in (axis, grid))
    good = torch.isfinite(flux[-1]) & torch.isfinite(ivar[-1]) & (ivar[-1] > 1e-37)
    steps = torch.cat((axis.diff(), grid.diff()))
    span = torch.cat((axis, grid)).abs().max()
    if steps.min() < 1e-6 * span or span > 1e25 or (ivar[-1] > 0).sum() > good.sum():
        return
    want = reference.resample(flux[-1].numpy(), ivar[-1].numpy(), axis.numpy(), grid.numpy(), **options)
    size = float(flux[-1][good].abs().max()) if bool(good.any()) else 0.0
    np.testing.assert_allclose(got[0][-1].detach(), want[0], rtol=1e-4, atol=1e-5 * size + 1e-37)
    np.testing.assert_allclose(got[1][-1].detach(), want[1], rtol=1e-3, atol=1e-37)


def check_raster(case: Case) -> None:
    rows, points = case.random.choice(ROWS), case.random.choice([*PIXELS, 5000])
    height, width = case.random.choice(SIZES), case.random.choice([*SIZES, 3001])
    rows = 1 if rows * height * width > 2_000_000 else rows
    y = (case.values((rows, points)) * case.choose(1, height, 1e3, 1e8, 1e10)).to(case.random.choice(TYPES))
    x = None
    if case.chance(0.6):
        even = torch.rand((points,) if case.chance(0.5) else (rows, points), generator=case.torch).sort(-1).values
        x = case.choose(1, width, 2 * width, 1e9, 1e-6) * even - case.choose(0, 0, width, 5)
        x = case.laid_out(case.values(tuple(x.shape)).float() if case.chance(0.1) else x)
    band = case.laid_out(case.values((rows, points), height).float()) if case.chance(0.3) else None
    options = {
        "height": height,
        "width": width,
        "linewidth": case.choose(1e-30, 1e-3, 0.25, 1.0, 1.0, 2.5, 8.0, 33.0, 64.0, 65.0, math.nan, 0.0, -1.0),
        "coverage": case.choose("union", "agg"),
        "subcolumns": case.choose(1, 2, 3, 8, 8, 13, 64, 1024, 0, 1025),
        "band": band,
    }
    y = case.laid_out(y)
    same_everywhere(lambda: rasterize(y, x, **options), most=255)


def check_render(case: Case) -> None:
    flux, ivar, wavelength = case.spectra()
    style, size = case.random.choice(list(STYLES)), case.choose(1, 2, 3, 4, 7, 8, 12, 16, 24, 33, 48, 60, 64, 100, 224)
    options: dict[str, Any] = {}

    def perhaps(share: float, name: str, *values: Any) -> None:
        if case.chance(share):
            options[name] = case.choose(*values)

    perhaps(0.5, "coverage", "union", "agg")
    if "map" not in style:
        quantities = case.random.sample(["flux", "first", "second", "error", "mask"], case.random.randint(1, 5))
        perhaps(0.3, "channels", tuple(quantities))
        perhaps(0.4, "panels", 1, 2, 3, 4, 8, 16, size, size + 1)
    perhaps(0.2, "layout", "rows", "channels")
    perhaps(0.3, "wavelength_range", None, (3600.0, 10000.0), (1.0, 1e9), (1e-300, 1e300), (5000.0, 5000.0000001))
    perhaps(0.3, "axis", "log", "linear")
    perhaps(0.4, "scale", "percentile", "minmax", (-1.0, 2.0), (-3e38, 3e38), (0.0, 1e-40), (-1e300, 1e300))
    perhaps(0.2, "percentiles", (0.0, 100.0), (50.0, 50.1), (0.0, 1e-9), (99.999999, 100.0))
    perhaps(0.2, "per_panel", True)
    perhaps(0.2, "margin", 0.0, 0.25, 0.49999999)
    perhaps(0.3, "points", 1, 2, 3, 5, 9, 64)
    perhaps(0.3, "linewidth", 1e-30, 0.25, 1.0, 3.0, 64.0)
    perhaps(0.2, "subcolumns", 1, 3, 8, 64, 1024)
    perhaps(0.3, "block", 1, 2, 3, 5, size, None)
    perhaps(0.2, "dtype", "float32", "bfloat16")
    perhaps(0.2, "ground", "dark", "light")
    perhaps(0.2, "order", "boustrophedon")
    if style in ("thesis-plot", "thesis-overlap") and case.chance(0.7):
        options |= {"colors": None, "alpha": 1.0}
    if size * size * max(1, len(flux)) * options.get("points", 2) > 3_000_000:
        flux, ivar, wavelength = flux[:1], ivar[:1], wavelength[:1] if wavelength.ndim == 2 else wavelength
    batch = SpectrumBatch(flux, ivar, wavelength)
    same_everywhere(lambda: render(batch, style=style, size=size, **options), most=255)


def same_everywhere(draw: Any, most: int) -> None:
    """Draw on the widest vector target and on another one. Nearly all levels must be the same."""
    *narrower, widest = _C.supported_targets()
    image = draw()
    assert bool(torch.isfinite(image.float()).all()), "not finite"
    if image.dtype == torch.uint8 and narrower and image.numel() < 200_000:
        used = _C.target()
        _C.set_target(narrower[0] if used == widest else widest)
        off = (draw().int() - image.int()).abs()
        _C.set_target(used)
        assert off.numel() == 0 or float((off > 1).float().mean()) < 0.01, f"targets differ by up to {int(off.max())}"


CHECKS = {"resample": check_resample, "rasterize": check_raster, "render": check_render}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--calls", type=int, default=10**9)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first call")
    parser.add_argument("--only", choices=list(CHECKS), help="the only operator to call")
    parser.add_argument("--trace", action="store_true", help="print the number of each call before it is made")
    options = parser.parse_args()
    faulthandler.enable()
    warnings.simplefilter("ignore")
    torch.set_num_threads(2)
    done, failures = collections.Counter[str](), collections.Counter[str]()
    end = time.monotonic() + 60.0 * options.minutes
    for number in range(options.first, options.first + options.calls):
        if time.monotonic() > end:
            break
        case = Case(options.seed, number)
        _C.set_target(case.random.choice(_C.supported_targets()))
        name = options.only or case.random.choice(list(CHECKS))
        if options.trace:
            print(f"--seed {options.seed} --first {number} ({name})", flush=True)
        try:
            CHECKS[name](case)
            done[name] += 1
        except ArgumentError:
            done["refused"] += 1
        except Exception as error:  # whatever it is, the other calls go on
            told = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            failures[told.split(":")[0]] += 1
            print(f"--seed {options.seed} --first {number} ({name}): {told}", flush=True)
    print(f"{dict(done)}, failures: {dict(failures)}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
