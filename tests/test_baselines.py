"""The peers: SpecFormer's sequences and tokens, and the whole comparison on a small scale."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from spectromer import SpectrumBatch
from spectromer.baselines import BaselineConfig, baselines
from spectromer.learning.specformer import SpecFormer, SpectrumToSequence
from spectromer.report import main as report_main
from spectromer.shards.sources import load_simulated
from spectromer.surveys.simulated import simulate
from spectromer.train import main as train_main

pytestmark = pytest.mark.filterwarnings("default")


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
    """Each depends on its own 20 bins alone before the blocks mix them, and the axis knows where it begins."""
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


def test_all_are_compared_on_one_division(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, small = tmp_path / "run", ["--size", "64", "--panels", "4", "--model", "test_vit", "--no-pretrained"]
    options = ["--simulated", "700", "--epochs", "1", "--targets", "class", "z", "teff"]
    assert train_main([*options, *small, "--out", str(run)]) == 0
    found = dict(baselines(BaselineConfig(run=run, methods=("forest", "svm"))))
    assert list(found) == ["run", "forest", "svm"]
    ours = json.loads((run / "metrics.json").read_text())
    for name in ("forest", "svm"):
        assert found[name]["class"]["n"] == ours["test"]["class"]["n"] == ours["counts"]["test"]
        assert found[name]["class"]["accuracy"] > 0.7  # far above always saying STAR, 0.45
        assert found[name]["z"]["star"]["n"] == ours["test"]["z"]["star"]["n"]
        assert "reliability" in found[name]["class"] or name == "svm"
    capsys.readouterr()
    folders = [str(run), str(run / "baselines" / "forest"), str(run / "baselines" / "svm")]
    assert report_main([*folders, "--out", str(tmp_path / "table.csv")]) == 0
    rows = list(csv.reader((tmp_path / "table.csv").read_text().splitlines()))
    assert rows[0] == ["target", "figure", "run", "forest", "svm"]
    cells = {(row[0], row[1]): row[2:] for row in rows[1:]}
    assert all(" ± " in text for text in cells["class", "accuracy"])
    assert float(cells["class", "accuracy"][1].split(" ± ")[0]) == pytest.approx(
        found["forest"]["class"]["accuracy"], abs=0.01
    )
    with pytest.raises(ValueError, match="already holds forest"):
        baselines(BaselineConfig(run=run, methods=("forest",)))
    assert len(np.unique(load_simulated(10, 0, progress=False).index["object"])) == 10
