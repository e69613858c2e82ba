"""Occlusion and attention point at where a made-up model looks."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from spectromer import Spectrum, SpectrumBatch
from spectromer.errors import ArgumentError
from spectromer.explain import main as explain_main
from spectromer.ingest import IngestConfig, ingest
from spectromer.learning.calibration import Calibration
from spectromer.learning.design import Design
from spectromer.learning.explanation import attention, draw, explain_files, occlusion
from spectromer.learning.predictor import Predictor
from spectromer.learning.targets import Targets
from spectromer.picture import Picture
from spectromer.surveys.simulated import simulate
from spectromer.surveys.write import write_survey

pytestmark = pytest.mark.filterwarnings("default")
TARGETS = Targets(("class", "z"), {"class": ["QSO", "STAR"]}, {"STAR": []}, {"z": (0.0, 0.5)})


def predictor(**options: object) -> Predictor:
    torch.manual_seed(0)
    picture = Picture.of("panels", 64, **({"panels": 4} | options))
    design = Design("test_vit", picture, TARGETS)
    return Predictor(design.build().eval(), design, design.transform(), Calibration(), torch.device("cpu"))


def one_spectrum() -> SpectrumBatch:
    return SpectrumBatch.from_spectra(list(simulate(1, seed=1)))


def test_occlusion_points_at_what_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model looks at the flux at 5000 A alone."""
    found = predictor()

    def outputs(spectra: SpectrumBatch) -> tuple[Tensor, dict[str, Tensor]]:
        there = (spectra.wavelength - 5000.0).abs().argmin()
        seen = spectra.ivar[:, there] > 0
        logits = torch.where(seen[:, None], torch.tensor([0.0, 2.0]), torch.zeros(2))
        bins = found.model.head("z").bins
        peak = torch.where(seen, 100, 200)
        z = -0.5 * ((torch.arange(bins) - peak[:, None]) / 2.0) ** 2
        return logits, {"class": logits, "z": z, "pooled": logits}

    monkeypatch.setattr(found, "outputs", outputs)
    one = one_spectrum()
    one.ivar[:] = 1.0
    edges, fall = occlusion(found, one, windows=50)
    place = int(torch.bucketize(torch.tensor(5000.0, dtype=torch.float64), edges)) - 1
    want = float(torch.tensor([0.0, 2.0]).log_softmax(0)[1] - np.log(0.5))
    assert float(fall["class"][place]) == pytest.approx(want, abs=1e-5)
    others = torch.arange(50) != place
    assert float(fall["class"][others].abs().max()) < 1e-9 and float(fall["z"][others].abs().max()) < 1e-9
    assert float(fall["z"][place]) > 5.0
    with pytest.raises(ArgumentError, match="must hold one spectrum"):
        occlusion(found, SpectrumBatch.from_spectra(list(simulate(2, seed=1))))


@pytest.mark.parametrize("options", [{}, {"layout": "channels", "panels": 2}])
def test_attention_follows_the_wavelength_axis(options: dict) -> None:
    """Shares add up to 1 over the whole range, and are equal in a ViT whose queries look everywhere alike."""
    found = predictor(**options)
    edges, share = attention(found, one_spectrum())
    assert float(edges[0]) == pytest.approx(3600.0) and float(edges[-1]) == pytest.approx(10000.0)
    assert float(share.sum()) == pytest.approx(1.0, abs=1e-5)
    vit = found.model.encoder.backbone
    before = vit.blocks[0].attn.fused_attn
    with torch.no_grad():
        for block in vit.blocks:  # all queries and keys are alike
            block.attn.qkv.weight.zero_()
            block.attn.qkv.bias.zero_()
    uniform = attention(found, one_spectrum())[1]
    torch.testing.assert_close(uniform, torch.full_like(uniform, 1.0 / uniform.shape[1]), rtol=1e-4, atol=1e-6)
    assert vit.blocks[0].attn.fused_attn == before


def test_a_spectrum_without_a_good_pixel_is_refused() -> None:
    one = one_spectrum()
    one.ivar[:] = 0.0
    with pytest.raises(ArgumentError, match="has no good pixel"):
        occlusion(predictor(), one)


def test_attention_is_refused_where_a_pixel_means_no_wavelength() -> None:
    design = Design("test_vit", Picture.of("thesis-plot", 64), TARGETS)
    found = Predictor(design.build(), design, design.transform(), Calibration(), torch.device("cpu"))
    with pytest.raises(ArgumentError, match="fixed logarithmic wavelength axis"):
        attention(found, one_spectrum())


def test_draws_what_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spectra = list(simulate(2, seed=1))
    dead = Spectrum(spectra[0].flux * 0, spectra[0].ivar * 0, spectra[0].wavelength, "SDSS", "9999-55000-0001", {})
    write_survey([*spectra, dead], tmp_path / "files")
    (tmp_path / "files" / "text.fits").write_text("no spectrum")
    monkeypatch.setattr(Predictor, "load", lambda _: predictor())
    explain_files(tmp_path, (str(tmp_path / "files"),), tmp_path / "out")
    assert len(list((tmp_path / "out").glob("*.png"))) == 2
    assert len((tmp_path / "out" / "unreadable.csv").read_text().splitlines()) == 3
    ingest(IngestConfig((str(tmp_path / "files"),), out=tmp_path / "shards", workers=1))
    drawn, rejected = explain_files(tmp_path, (str(tmp_path / "shards"),), tmp_path / "of shards")
    assert drawn == 2 and [failure.reason for failure in rejected] == ["no good pixel"]
    arguments = [str(tmp_path), str(tmp_path / "files" / "text.fits"), "--out", str(tmp_path / "none")]
    assert explain_main(arguments) == 1
    assert "error: nothing was explained: " in capsys.readouterr().err
    draw(predictor(), spectra[0], tmp_path / "one.png")
    assert (tmp_path / "one.png").stat().st_size > 10_000
