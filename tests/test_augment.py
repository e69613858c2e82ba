"""Augmented spectra are as likely as the spectra they came from."""

import torch

from spectromer import SpectrumBatch
from spectromer.learning.augment import augment


def noise(rows: int = 400, pixels: int = 500) -> SpectrumBatch:
    """The spectra are noise of a known ivar, a tenth of which is masked."""
    generator = torch.Generator().manual_seed(0)
    ivar = 10.0 ** torch.empty(rows, pixels).uniform_(-2, 2, generator=generator)
    flux = torch.randn(rows, pixels, generator=generator) / ivar.sqrt()
    masked = torch.rand(rows, pixels, generator=generator) < 0.1
    flux = torch.where(masked, 1e9, flux)
    wavelength = torch.linspace(4000.0, 9000.0, pixels)
    return SpectrumBatch(flux, ivar.masked_fill(masked, 0.0), wavelength, [""] * rows, [""] * rows)


def test_ivar_stays_true() -> None:
    """Whatever noise was added and however flux was tilted, flux sqrt(ivar) is standard normal."""
    before, after = noise(), augment(noise(), torch.Generator().manual_seed(1))
    good = after.ivar > 0
    pull = (after.flux * after.ivar.sqrt())[good]
    assert abs(float(pull.mean())) < 0.02 and abs(float(pull.std()) - 1.0) < 0.02
    gained = (before.ivar > 0) & good
    assert bool((good <= (before.ivar > 0)).all()) and bool(torch.isfinite(after.flux[good]).all())
    lost = 1.0 - float(gained.sum() / (before.ivar > 0).sum())
    assert 0.02 < lost < 0.12  # three stretches, of 2 % each on average
    signal = (after.ivar / before.ivar)[good]
    assert float(signal.median()) < 1.0 < float(signal.max())


def test_the_seed_decides() -> None:
    one, same, other = (augment(noise(), torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one.flux, same.flux) and torch.equal(one.ivar, same.ivar)
    assert not torch.equal(one.flux, other.flux)
    assert torch.equal(one.wavelength, noise().wavelength)
