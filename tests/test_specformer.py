"""SpecFormer reads standardised sequences as overlapping tokens."""

import pytest
import torch

from spectromer import SpectrumBatch
from spectromer.learning.specformer import SpecFormer, SpectrumToSequence
from spectromer.surveys.simulated import simulate


def test_sequences_are_standardised_over_good_pixels() -> None:
    spectra = list(simulate(6, seed=1))
    spectra[0].ivar[100:600] = 0.0
    transform = SpectrumToSequence(bins=500)
    batch = SpectrumBatch.from_spectra(spectra)
    got = transform(batch)
    batch.flux[0, 100:600] = torch.nan
    assert torch.equal(transform(batch), got)  # a masked pixel's flux is never seen
    for row in got:
        there = row[row != 0]
        assert float(there.mean()) == pytest.approx(0.0, abs=1e-4)
        assert float(there.std(correction=0)) == pytest.approx(1.0, abs=1e-3)
    blank = SpectrumBatch(batch.flux, torch.zeros_like(batch.ivar), batch.wavelength, batch.ids, batch.surveys)
    assert bool((transform(blank) == 0).all())


def test_tokens_are_overlapping_stretches() -> None:
    """Before the blocks mix them each depends on its own 20 bins alone, and the axis has a column for each."""
    encoder = SpecFormer(200, 1e-3, width=16, depth=1, heads=2)
    embedded = []
    encoder.blocks.register_forward_pre_hook(lambda _, args: embedded.append(args[0].detach()))
    flat = torch.zeros(1, 200)
    bump = flat.clone()
    bump[0, 55] = 1.0
    tokens, pooled = encoder(flat)
    encoder(bump)
    changed = (embedded[0] != embedded[1]).any(2)[0]
    assert changed.nonzero()[:, 0].tolist() == [4, 5]  # bins 40 to 59 and 50 to 69
    assert tokens.shape == (1, 19, 16) and encoder.axis.columns == 19 and encoder.axis.pixels == 190
    torch.testing.assert_close(pooled, tokens.mean(1))
    with pytest.raises(ValueError, match="multiple of 10"):
        SpecFormer(205, 1e-3)
