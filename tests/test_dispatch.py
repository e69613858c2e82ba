"""The CPU's operators on every vector target that the machine supports, from the baseline that all processors have."""

import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import spectromer
import spectromer.reference
from spectromer import _C, SpectrumBatch

*NARROWER, WIDEST = _C.supported_targets()
SOURCES = Path(__file__).resolve().parents[1] / "csrc"
X86_64 = platform.machine() in ("x86_64", "AMD64")
TEXTUAL = [file for file in sorted(SOURCES.rglob("*-inl.h")) if X86_64 or not file.name.startswith("avx")]


@pytest.fixture(params=NARROWER)
def narrower(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each target but the widest in turn."""
    yield request.param
    _C.set_target(WIDEST)


@pytest.fixture(params=[*NARROWER, WIDEST])
def used_target(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each target in turn, in use."""
    _C.set_target(request.param)
    yield request.param
    _C.set_target(WIDEST)


def drawn(target: str) -> dict[str, torch.Tensor]:
    """Results of all operators with a target, from spectra with masks, spikes and a constant flux."""
    _C.set_target(target)
    rng = np.random.default_rng(0)
    wavelength = torch.from_numpy(np.geomspace(3600.0, 9800.0, 1003))
    flux = torch.from_numpy(rng.normal(3.0, 1.0, (21, 1003)).astype(np.float32))
    ivar = torch.from_numpy(rng.uniform(0.5, 2.0, flux.shape).astype(np.float32))
    flux[4], flux[5, 300], ivar[6] = 2.5, 1e4, 0.0
    ivar[torch.from_numpy(rng.random(flux.shape) < 0.05)] = 0.0
    batch = SpectrumBatch(flux, ivar, wavelength)
    results = {}
    for bins in (17, 300, 1100, 5000):
        grid = torch.linspace(3500.0, 9900.0, bins, dtype=torch.float64)
        for name, own in (("shared", wavelength), ("own", wavelength.expand(21, -1))):
            results |= zip(
                (f"{name} {bins} flux", f"{name} {bins} ivar"), spectromer.resample(flux, ivar, own, grid), strict=True
            )
    y = 20.0 * flux
    y[torch.from_numpy(rng.random(y.shape) < 0.02)] = torch.nan
    for options in ({}, {"coverage": "agg"}, {"subcolumns": 40}, {"linewidth": 6.0}, {"band": y + 9.0}):
        results[f"rasterize {options}"[:30]] = spectromer.rasterize(y, height=77, width=90, **options)
    for style in ("plot", "panels", "overlap", "folded", "thesis-plot"):
        results[style] = spectromer.render(batch, style=style, size=96)
    results["channels"] = spectromer.render(batch, channels=("flux", "error", "mask"), percentiles=(20.0, 70.0))
    results["bfloat16"] = spectromer.render(batch, dtype="bfloat16")
    return results


@pytest.mark.skipif(not NARROWER, reason="this processor has a single target")
def test_every_target_draws_and_resamples_alike(narrower: str) -> None:
    """Resampled values agree to rounding, pictures to one grey level."""
    want = drawn(WIDEST)
    for name, got in drawn(narrower).items():
        if got.dtype == torch.uint8:
            assert int((got.int() - want[name].int()).abs().max()) <= 1, name
        else:
            torch.testing.assert_close(
                got.float(), want[name].float(), rtol=1e-5, atol=5e-3 if name == "bfloat16" else 1e-5
            )


def test_an_unknown_target_is_refused() -> None:
    with pytest.raises(ValueError, match=f"target must be one of baseline.*{WIDEST}, got neon"):
        _C.set_target("neon")
    assert _C.target() == WIDEST


def resamples_exactly(flux: np.ndarray, ivar: np.ndarray, wavelength: np.ndarray, grid: np.ndarray) -> None:
    """One spectrum, with a shared wavelength and with one of its own, as the reference does."""
    want = spectromer.reference.resample(flux, ivar, wavelength, grid)
    for axis in (torch.from_numpy(wavelength), torch.from_numpy(wavelength)[None]):
        got = spectromer.resample(
            torch.from_numpy(flux)[None], torch.from_numpy(ivar)[None], axis, torch.from_numpy(grid)
        )
        np.testing.assert_allclose(got[0][0], want[0], rtol=1e-5)
        np.testing.assert_allclose(got[1][0], want[1], rtol=1e-5)


def test_narrow_bins_are_exact_with_every_target(used_target: str) -> None:
    """A two-thousandth of a pixel wide, among wide ones, where the last bits of a wavelength count."""
    rng = np.random.default_rng(0)
    wavelength = np.arange(3001.0, 3029.0)
    grid = (np.arange(3001.0, 3028.0, 0.9)[:, None] + [0.0, 5e-4, 1e-3]).ravel()
    flux, ivar = rng.normal(5.0, 1.0, 28).astype(np.float32), rng.uniform(0.5, 2.0, 28).astype(np.float32)
    resamples_exactly(flux, ivar, wavelength, grid)


WAVELENGTHS = {
    "even": np.linspace(4000.0, 5000.0, 900),
    "log": np.geomspace(3600.0, 9000.0, 900),
    "uneven": 4000.0 + np.cumsum(np.random.default_rng(1).uniform(0.02, 3.0, 900)),
    "with a gap": np.concatenate((np.linspace(4000.0, 4400.0, 500), np.linspace(5600.0, 6000.0, 400))),
    "of metres": np.linspace(4e-7, 9e-7, 900),
    "around 0": np.linspace(-1000.0, 1300.0, 900),
    "much narrower than their distance from 0": 1e6 + np.linspace(0.0, 5.0, 900),
}


def test_rows_of_different_kinds_share_a_grid(used_target: str) -> None:
    """The first, whose pixels are too narrow for single precision, leaves nothing behind that the others would use."""
    wavelength = np.stack(
        (1e6 + np.linspace(0.0, 5.0, 300), np.linspace(4000.0, 5000.0, 300), np.geomspace(4e3, 5e3, 300))
    )
    flux = torch.from_numpy(np.random.default_rng(0).normal(5.0, 1.0, wavelength.shape).astype(np.float32))
    axes, grid = torch.from_numpy(wavelength), torch.linspace(4100.0, 4900.0, 100, dtype=torch.float64)
    got, _ = spectromer.resample(flux, torch.ones_like(flux), axes, grid)
    for row in range(3):
        want, _ = spectromer.reference.resample(flux[row], np.ones(300), wavelength[row], grid)
        np.testing.assert_allclose(got[row], want, rtol=1e-5)


@pytest.mark.parametrize("bins", [30, 700, 9000])
@pytest.mark.parametrize("masked", [0.0, 0.02])
@pytest.mark.parametrize("name", list(WAVELENGTHS))
def test_wavelengths_of_any_kind_are_exact_with_every_target(
    name: str, masked: float, bins: int, used_target: str
) -> None:
    rng = np.random.default_rng(0)
    wavelength = WAVELENGTHS[name]
    flux = rng.normal(20.0, 1.0, len(wavelength)).astype(np.float32)
    ivar = rng.uniform(0.5, 2.0, len(wavelength)).astype(np.float32)
    ivar[rng.random(len(wavelength)) < masked] = 0.0
    beyond = 0.0123 * (wavelength[-1] - wavelength[0])
    resamples_exactly(flux, ivar, wavelength, np.linspace(wavelength[0] - beyond, wavelength[-1] + beyond, bins))


@pytest.mark.parametrize("file", TEXTUAL, ids=lambda file: file.name)
def test_textual_includes_can_be_opened_by_themselves(file: Path) -> None:
    """An -inl.h file compiles alone, so that an editor understands it."""
    command = ["c++", "-std=c++17", "-fsyntax-only", "-x", "c++", "-I", SOURCES, file]
    assert subprocess.run(command, capture_output=True, text=True).stderr == ""
