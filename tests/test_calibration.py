"""Calibration finds and mends the known faults of made-up models."""

from pathlib import Path

import numpy as np
import pytest
import torch
from broken_runs import GONE, NAN, Edit, refuses, rewrite, set_number

from spectromer.learning.calibration import _UNKNOWN, Calibration, Typicality
from spectromer.learning.design import Design
from spectromer.learning.intervals import Intervals
from spectromer.learning.model import SpectrumModel
from spectromer.learning.predictor import Predictor
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
    Calibration.fit(model, out, labels, trained, [""] * 4000).save(tmp_path / "a.safetensors")
    found = Calibration.load(tmp_path / "a.safetensors")
    assert found.temperature["class"] == pytest.approx(3.0, rel=0.1)
    assert found.sigma["teff"] == pytest.approx(2.0, rel=0.06)
    fresh, truth = outputs(model, 4000, 1)
    groups = found.groups(model, fresh, [""] * 4000)
    for low, high, share in ((0.16, 0.84, 0.68), (0.025, 0.975, 0.95)):
        for group in groups:
            bounds = found.alone.widened(group).quantile(found.alone.levels((low, high), group))
            z = truth["z"][group.rows]
            of_class = ((z >= bounds[:, 0]) & (z <= bounds[:, 1])).numpy()
            assert of_class.mean() == pytest.approx(share, abs=3.5 * np.sqrt(2 * share * (1 - share) / len(of_class)))
    typical, unknown = found.unknown(fresh["features"])
    assert unknown.float().mean() == pytest.approx(_UNKNOWN, abs=0.01) and 0.45 < typical.mean() < 0.55
    assert found.unknown(fresh["features"] + 8.0)[1].all()


def test_spectra_that_are_all_right_do_not_make_the_model_sure(model: SpectrumModel) -> None:
    out, labels = outputs(model, 100, 0)
    gap = 8.0
    out["class"] = torch.where(torch.arange(2) == labels["class"][:, None], gap, 0.0)
    found = Calibration.fit(model, out, labels, torch.randn(50, 4), [""] * 100)
    # The best probability of the right one of two values is that of its target, 1 - 1/102 + 1/204 = 203/204.
    assert found.temperature["class"] == pytest.approx(gap / np.log(203.0), rel=0.02)
    assert found.probabilities("class", out["class"]).max(1).values.mean() == pytest.approx(203 / 204, abs=2e-4)


def test_without_labels_nothing_is_corrected(model: SpectrumModel) -> None:
    out, labels = outputs(model, 100, 0)
    nothing = {name: torch.full_like(v, -1 if name == "class" else torch.nan) for name, v in labels.items()}
    found = Calibration.fit(model, out, nothing, torch.randn(50, 4), [""] * 100)
    assert (found.temperature, found.sigma, found.alone, found.scanned) == ({}, {}, Intervals(), None)
    shares = (0.16, 0.5, 0.84)
    (group, *_) = found.groups(model, out, [""] * 100)
    assert torch.equal(found.alone.levels(shares, group)[0], torch.tensor(shares, dtype=torch.float64))


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


CALIBRATION: dict[str, tuple[Edit, str]] = {
    "no numbers": (lambda _, metadata: metadata.pop("numbers"), "the numbers of a calibration are missing"),
    "no JSON": (lambda _, metadata: metadata.update(numbers="hello"), "not readable as JSON"),
    "list": (lambda _, metadata: metadata.update(numbers="[]"), "must be a JSON object"),
    "version": (set_number("schema", 4), "its schema is of version 4"),
    "missing": (set_number("least", GONE), "least is missing"),
    "unknown": (set_number("colour", 1), "colour is not one of its keys"),
    "type": (set_number("temperature.class", "warm"), "temperature.class: input should be a valid number, got 'warm'"),
    "cold": (set_number("temperature.class", 1e-300), r"temperature.class must lie in \[0.2, 8\], got 1e-300"),
    "not a number": (set_number("temperature.class", NAN), "temperature.class must lie in"),
    "sigma": (set_number("sigma.teff", 0.0), "sigma.teff must be above 0"),
    "least": (set_number("least.", 1.5), r"least of '' must lie in \[0, 1\], got 1.5"),
    "floor": (set_number("floor.", -1.0), "floor of '' must be at least 0, got -1"),
    "one threshold": (set_number("least", -1.0), r"least of '' must lie in"),
    "central": (set_number("central.", [0.0, 1.0]), "central of '' must be 22 rising shares"),
    "no common entry": (set_number("central", {"STAR": [0.0] * 22}), "central must have an entry for all classes"),
    "no such class": (set_number("central.COMET", [0.0] * 22), "central has entries that are not the model's: COMET"),
    "no such category": (set_number("temperature.feh", 1.0), "temperature has entries that are not the model's: feh"),
    "no such number": (set_number("sigma.logg", 1.0), "sigma has entries that are not the model's: logg"),
    "no tensor": (lambda tensors, _: tensors.pop("mean"), "its tensors must be distances, known, mean, whiten"),
    "extra tensor": (lambda tensors, _: tensors.update(colour=torch.zeros(2)), "its tensors must be"),
    "shapes": (lambda tensors, _: tensors.update(known=tensors["known"][:, 1:]), "of shapes that fit"),
    "NaN": (lambda tensors, _: tensors["known"].fill_(NAN), "its tensors must be finite"),
    "half": (lambda tensors, _: tensors.update(mean=tensors["mean"].half()), "its tensors must be finite float32"),
    "order": (lambda tensors, _: tensors.update(distances=tensors["distances"].flip(0)), "with ascending distances"),
    "features": (
        lambda tensors, _: tensors.update(mean=tensors["mean"][1:], whiten=tensors["whiten"][1:]),
        "mean must have the model's 384 features, got 383",
    ),
}


@pytest.mark.parametrize(("edit", "rule"), CALIBRATION.values(), ids=CALIBRATION)
def test_a_calibration_that_is_broken(broken: Path, edit: Edit, rule: str) -> None:
    rewrite(broken / "calibration.safetensors", edit)
    refuses(lambda: Predictor.load(broken), broken / "calibration.safetensors", rule)
    assert Predictor.load(broken, calibration=Calibration()).calibration.alone == Intervals()
