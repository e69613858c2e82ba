"""The modules do as the operators do."""

import torch

from spectromer import Picture, SpectrumBatch, rasterize, render, resample
from spectromer.transforms import Normalize, Rasterize, Resample, SpectrumToImage


def test_modules_do_as_the_functions(batch: SpectrumBatch) -> None:
    grid = torch.linspace(4000.0, 9000.0, 800, dtype=torch.float64)
    out = Resample(grid)(batch)
    want = resample(batch.flux, batch.ivar, batch.wavelength, grid)
    assert torch.equal(out.flux, want[0]) and torch.equal(out.ivar, want[1]) and out.labels == batch.labels
    scaled = Normalize(0.0, 100.0)(out)
    good = out.ivar[0] > 0
    assert float(scaled.flux[0][good].min()) == 0.0 and float(scaled.flux[0][good].max()) == 1.0
    torch.testing.assert_close(
        (scaled.flux * scaled.ivar.sqrt())[0][good].diff(),
        ((out.flux - out.flux[0][good].min()) * out.ivar.sqrt())[0][good].diff(),
        rtol=1e-3,
        atol=1e-3,
    )
    y = 32.0 - 32.0 * scaled.flux
    assert torch.equal(Rasterize(height=32, width=32)(y), rasterize(y, height=32, width=32))
    module = SpectrumToImage(style="overlap", size=32)
    assert module.channels == 3 and torch.equal(module(batch), render(batch, style="overlap", size=32))
    drawn = SpectrumToImage(Picture.of("overlap", 32))
    assert drawn.picture == module.picture and torch.equal(drawn(batch), module(batch))
