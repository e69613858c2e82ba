"""Calibration finds and mends the known faults of made-up models."""

from pathlib import Path

import numpy as np
import pytest
import torch

from spectromer.learning.calibration import _UNKNOWN, Calibration, Typicality
from spectromer.learning.design import Design
from spectromer.learning.model import SpectrumModel
from spectromer.learning.targets import Targets
from spectromer.picture import Picture

TARGETS = Targets(
    ("class", "z", "teff"), {"class": ["GALAXY", "STAR"]}, {}, {"z": (0.0, 1.0), "teff": (float(np.log(6000.0)), 0.05)}
)


@pytest.fixture(scope="module")
def model() -> SpectrumModel:
    return Design("test_vit", Picture.of("thesis-plot", 32), TARGETS).build()


def outputs(model: SpectrumModel, n: int, seed: int) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The model is too sure by known factors: 3 in the logits of the class, 2 in Teff, and 2 (stars) or 4 in z."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 2, n)
    odds = 2.0 * rng.standard_normal(n)  # true log odds of a star
    star = (rng.uniform(size=n) < 1 / (1 + np.exp(-odds))).astype(int)
    head = model.head("z")
    z = np.where(kind == 1, 0.001, 0.3) + 0.1 * rng.uniform(size=n)
    truth = np.log1p(z)
    width = 3.0 * head.step
    said = truth + np.where(odds > 0, 2.0, 4.0) * width * rng.standard_normal(n)
    logits = -0.5 * ((head.centres.numpy() - said[:, None]) / width) ** 2
    off = 2.0 * 0.2 * rng.standard_normal(n)
    out = {
        "class": torch.tensor(np.stack((np.zeros(n), 3.0 * odds), 1)),
        "z": torch.tensor(logits),
        "teff": torch.tensor(np.stack((off, np.full(n, np.log(0.2))), 1)),
        "pooled": torch.zeros(n, 4),
        "features": torch.tensor(rng.standard_normal((n, 4)), dtype=torch.float32),
    }
    labels = {"class": torch.tensor(star), "z": torch.tensor(z), "teff": torch.full((n,), 6000.0)}
    return out, labels


def test_known_faults_are_found_and_mended(model: SpectrumModel, tmp_path: Path) -> None:
    out, labels = outputs(model, 4000, 0)
    trained = torch.tensor(np.random.default_rng(9).standard_normal((500, 4)), dtype=torch.float32)
    Calibration.fit(model, out, labels, trained).save(tmp_path / "a.safetensors")
    found = Calibration.load(tmp_path / "a.safetensors")
    assert found.temperature["class"] == pytest.approx(3.0, rel=0.1)
    assert found.sigma["teff"] == pytest.approx(2.0, rel=0.06)
    fresh, truth = outputs(model, 4000, 1)
    classes = found.classes(model, fresh)
    distribution = found.redshift(model, fresh["z"])
    for low, high, share in ((0.16, 0.84, 0.68), (0.025, 0.975, 0.95)):
        bounds = distribution.quantile(found.levels((low, high), classes))
        held = ((truth["z"] >= bounds[:, 0]) & (truth["z"] <= bounds[:, 1])).numpy()
        for name in ("GALAXY", "STAR"):
            of_class = held[np.array(classes) == name]
            assert of_class.mean() == pytest.approx(share, abs=3.5 * np.sqrt(2 * share * (1 - share) / len(of_class)))
    typical, unknown = found.unknown(fresh["features"])
    assert unknown.float().mean() == pytest.approx(_UNKNOWN, abs=0.01) and 0.45 < typical.mean() < 0.55
    assert found.unknown(fresh["features"] + 8.0)[1].all()


def test_without_labels_nothing_is_corrected(model: SpectrumModel) -> None:
    out, labels = outputs(model, 100, 0)
    nothing = {name: torch.full_like(v, -1 if name == "class" else torch.nan) for name, v in labels.items()}
    found = Calibration.fit(model, out, nothing, torch.randn(50, 4))
    assert (found.temperature, found.sigma, found.central, found.least) == ({}, {}, {}, 0.0)
    shares = (0.16, 0.5, 0.84)
    assert torch.equal(found.levels(shares, ["STAR", ""]), torch.tensor([shares, shares], dtype=torch.float64))


def test_typicality_is_a_conformal_p_value() -> None:
    """It is uniform for spectra like those held out, whatever the scale of the features."""
    rng = np.random.default_rng(0)

    def draw(n: int) -> torch.Tensor:
        return torch.tensor(rng.standard_normal((n, 6)) * [0.1, 1.0, 50.0, 1.0, 1.0, 0.0] + 7.0, dtype=torch.float32)

    found = Typicality.fit(draw(800), draw(1000))
    p = found(draw(1000)).numpy()
    assert np.abs(np.quantile(p, [0.1, 0.5, 0.9]) - [0.1, 0.5, 0.9]).max() < 0.05
    far = draw(3)
    far[:, 0] += 5.0  # fifty of its standard deviations
    assert float(found(far).max()) < 0.005
