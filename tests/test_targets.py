"""Targets are fitted to labels, checked, kept in model.json, and encode what is believed."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spectromer.errors import ArgumentError
from spectromer.labels import BelievedLabels
from spectromer.learning.design import Design
from spectromer.learning.targets import Targets
from spectromer.runs import RunFolder
from spectromer.surveys.simulated import simulate

TEFF = (float(np.log(5800.0)), 0.3)


def test_fit() -> None:
    labels = [s.labels for s in simulate(400)]
    targets = Targets.fit(("class", "subclass", "z", "teff"), BelievedLabels.of(labels))
    assert targets.vocabulary["class"] == ["GALAXY", "QSO", "STAR"]
    assert "BROADLINE" in targets.subclasses["QSO"] and "AGN" in targets.subclasses["GALAXY"]
    teff = np.array([row["teff"] for row in labels if "teff" in row])
    assert targets.scale["teff"] == pytest.approx((np.log(teff).mean(), np.log(teff).std()))
    assert targets.scale["z"][1] > max(row["z"] for row in labels)
    with pytest.raises(ArgumentError, match=r"targets must be some of .* got colour"):
        Targets.fit(("colour",), BelievedLabels.of(labels))
    with pytest.raises(ArgumentError, match=r"target 'feh' has too few labels .* 0 of 50 training spectra have one"):
        Targets.fit(("feh",), BelievedLabels.of([{"class": "STAR"}] * 50))


def test_values_that_are_seen_too_rarely_are_not_learnt() -> None:
    rows = [{"class": "STAR", "subclass": kind} for kind in "AAAAAFFFF"]
    targets = Targets.fit(("class", "subclass"), BelievedLabels.of(rows))
    assert targets.vocabulary["subclass"] == ["A"] and targets.subclasses == {"STAR": ["A"]}
    assert targets.encode(BelievedLabels.of(rows))["subclass"].tolist() == [0] * 5 + [-1] * 4
    assert Targets.fit(("subclass",), BelievedLabels.of(rows), least=4).vocabulary["subclass"] == ["A", "F"]


def test_subtypes_are_learnt_with_their_letter() -> None:
    """Rare subtypes have neighbours to learn from. A rare kind is learnt as its spectral type."""
    kinds = {"A5": 4, "A6": 1, "A": 7, "M3": 2, "M": 3, "T2": 2, "DA": 5, "DB": 2, "WD": 3, "CV": 5, "C": 1}
    names = [name for name, count in kinds.items() for _ in range(count)]
    labels = BelievedLabels.of([{"class": "STAR", "subclass": name} for name in names])
    targets = Targets.fit(("class", "subclass"), labels)
    assert targets.vocabulary["subclass"] == ["A5", "A6", "CV", "DA", "M", "WD"]
    assert targets.spectral_types == ["A", "CV", "M", "WD"]
    assert targets.subclasses == {"STAR": ["A5", "A6", "CV", "DA", "M", "WD"]}
    # An A star of unknown subtype has a code of its own, after those of the six values.
    want = {"A5": 0, "A6": 1, "A": 6, "M3": 4, "M": 4, "T2": -1, "DA": 3, "DB": 5, "WD": 5, "CV": 2, "C": -1}
    assert targets.encode(labels)["subclass"].tolist() == [want[name] for name in names]
    assert targets.merge(["A5", "A9", "A", "M3", "DB", "C", ""]).tolist() == ["A5", "", "", "M", "WD", "", ""]
    unseen = BelievedLabels.of([{"class": "STAR", "subclass": "A9"}, {}])
    assert targets.encode(unseen)["subclass"].tolist() == [6, -1]


def test_letters_are_sums_of_subtypes() -> None:
    vocabulary = ["A", "AGN", "AGN BROADLINE", "DA", "F0", "F5", "WD"]
    targets = Targets(("subclass",), {"subclass": vocabulary})
    p = np.array([[0.1, 0.2, 0.05, 0.15, 0.3, 0.1, 0.1]])
    assert targets.spectral_types == ["A", "AGN", "F", "WD"]
    np.testing.assert_allclose(targets.sum_types(p), [[0.1, 0.25, 0.4, 0.25]])
    assert targets.members.sum(0).tolist() == [1] * 7


def test_model_json_holds_them(tmp_path: Path) -> None:
    vocabulary = {"class": ["QSO", "STAR"], "subclass": ["A", "BROADLINE", "F"]}
    subclasses = {"QSO": ["BROADLINE"], "STAR": ["A", "F"]}
    targets = Targets(("class", "subclass", "z", "teff"), vocabulary, subclasses, {"z": (0.0, 2.5), "teff": TEFF})
    design, run = Design("specformer", None, targets), RunFolder(tmp_path)
    run.write_model(design)
    assert run.read_model(Design) == design and run.read_model(Design).targets == targets


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((("class",), {}), r"the vocabulary of class must name each value once, got \[\]"),
        ((("class",), {"class": ["QSO", "QSO"]}), "the vocabulary of class must name each value once"),
        ((("z",), {}), "the scale of z must be two numbers, the second above 0, got 0.0, 0.0"),
        ((("teff",), {}, {}, {"teff": (8.7, -1.0)}), "the scale of teff must be two numbers"),
        ((("teff",), {}, {}, {"teff": (math.nan, 1.0)}), "the scale of teff must be two numbers"),
        (
            (("class", "subclass"), {"class": ["STAR"], "subclass": ["A"]}, {"STAR": ["B", "A"]}),
            "subclasses must be of the vocabulary of subclass, got B",
        ),
        ((("colour",),), "targets must be some of .* got colour"),
    ],
)
def test_targets_that_are_not_sound(parts: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        Targets(*parts)


def test_encodes_what_is_believed() -> None:
    targets = Targets(("class", "z"), {"class": ["QSO", "STAR"]}, {}, {"z": (0.0, 3.0)})
    rows = [{"class": "STAR"}, {"class": "GALAXY", "z": 0.5}, {"class": "Unknown", "z": 0.5}]
    encoded = targets.encode(BelievedLabels.of(rows))
    assert encoded["class"].dtype == torch.int64 and encoded["class"].tolist() == [1, -1, -1]
    assert math.isnan(encoded["z"][0]) and float(encoded["z"][1]) == 0.5 and math.isnan(encoded["z"][2])


def test_following_keeps_the_scales_of_another_run() -> None:
    """Those of numbers are kept always; that of z is where it reaches as far."""
    other = Targets(("z", "teff"), {}, {}, {"z": (0.0, 2.0), "teff": (8.0, 0.5)})
    for highest, want in ((1.0, 2.0), (3.0, 3.0)):
        own = Targets(("z", "teff", "logg"), {}, {}, {"z": (0.0, highest), "teff": TEFF, "logg": (4.0, 1.0)})
        found = own.with_scales_of(other)
        assert found.scale == {"z": (0.0, want), "teff": (8.0, 0.5), "logg": (4.0, 1.0)} and found.names == own.names


def test_missing_numbers_encode_as_nan() -> None:
    encoded = Targets(("teff",), {}, {}, {"teff": (5000.0, 500.0)}).encode(BelievedLabels.of([{"teff": 6000.0}, {}]))
    assert encoded["teff"].dtype == torch.float32 and torch.isnan(encoded["teff"]).tolist() == [False, True]
