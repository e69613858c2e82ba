"""Labels as targets, and the division by object."""

import math

import numpy as np
import pytest
import torch

from spectromer.learning.targets import Targets, type_of
from spectromer.surveys.simulated import simulate


@pytest.mark.parametrize(
    ("subclass", "kind"),
    [
        ("A7V", "A"), ("F5", "F"), ("dM5", "M"), ("gM0", "M"), ("M6III (148783)", "M"), ("sdM1", "M"),
        ("G8V (101501)", "G"),
        ("WD", "WD"), ("WDhotter", "WD"), ("CV", "CV"), ("Carbon", "C"), ("OB", "O"), ("B6", "B"), ("A0p", "A"),
        ("L1", "L"), ("T2", "T"), ("Non", None), ("", None), ("DoubleStar", None),
    ],
)  # fmt: skip
def test_stellar_types_of_the_surveys(subclass: str, kind: str | None) -> None:
    assert type_of({"class": "STAR", "subclass": subclass}) == kind


@pytest.mark.parametrize(
    ("subclass", "kind"),
    [
        ("STARBURST BROADLINE", "STARBURST"),
        ("AGN BROADLINE", "AGN"),
        ("BROADLINE", "BROADLINE"),
        ("", None),
        ("A7", None),
    ],
)
def test_types_of_galaxies_and_quasars(subclass: str, kind: str | None) -> None:
    assert type_of({"class": "GALAXY", "subclass": subclass}) == kind


def test_labels_not_to_be_believed_are_masked() -> None:
    assert trusted({"class": "GALAXY", "z": 0.1, "sourcetype": "SKY"}) == {}
    assert trusted({"class": "Unknown", "z": 0.1, "teff": 5000.0}) == {"teff": 5000.0}
    assert trusted({"teff": 0.0, "logg": 4.0}) == {"logg": 4.0}
    assert trusted({"class": "QSO", "z": 1.5, "zwarning": 16}) == {"class": "QSO", "z": 1.5}
    assert trusted({"class": "QSO", "z": 1.5, "zwarning": 4}) == {}
    targets = Targets(("class", "z"), {"class": ["QSO", "STAR"]}, {}, {"z": (0.0, 3.0)})
    encoded = targets.encode([{"class": "STAR"}, {"class": "GALAXY", "z": 0.5}, {"class": "Unknown", "z": 0.5}])
    assert encoded["class"].tolist() == [1, -1, -1]
    assert math.isnan(encoded["z"][0]) and float(encoded["z"][1]) == 0.5 and math.isnan(encoded["z"][2])


def test_fit_and_json() -> None:
    labels = [s.labels for s in simulate(400)]
    targets = Targets.fit(("class", "subclass", "z", "teff"), labels)
    assert targets.vocabulary["class"] == ["GALAXY", "QSO", "STAR"]
    assert targets.subclasses["QSO"] == ["BROADLINE"] and "AGN" in targets.subclasses["GALAXY"]
    teff = np.array([row["teff"] for row in labels if "teff" in row])
    assert targets.scale["teff"] == pytest.approx((np.log(teff).mean(), np.log(teff).std()))
    assert targets.scale["z"][1] > max(row["z"] for row in labels)
    assert Targets.from_json(targets.to_json()) == targets
    with pytest.raises(ValueError, match=r"targets must be of .* got colour"):
        Targets.fit(("colour",), labels)
    with pytest.raises(ValueError, match="target 'feh' has too few labels"):
        Targets.fit(("feh",), [{"class": "STAR"}] * 50)


def test_missing_numbers_encode_as_nan() -> None:
    encoded = Targets(("teff",), {}, {}, {"teff": (5000.0, 500.0)}).encode([{"teff": 6000.0}, {}])
    assert encoded["teff"].dtype == torch.float32 and torch.isnan(encoded["teff"]).tolist() == [False, True]
