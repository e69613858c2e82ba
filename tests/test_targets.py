"""Labels as targets, and the division by object."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from spectromer.labels import BelievedLabels
from spectromer.learning.targets import Targets, type_of
from spectromer.shards.sources import load
from spectromer.shards.splits import split_by_object
from spectromer.surveys.simulated import simulate
from spectromer.surveys.write import write_survey


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


def test_an_object_stands_in_one_split_and_stays_there() -> None:
    objects = [f"o{i % 500}" for i in range(2000)]
    division = split_by_object(objects, (0.6, 0.2, 0.2), seed=1)
    sets = {name: {objects[i] for i in rows} for name, rows in division.items()}
    assert sum(len(s) for s in sets.values()) == 500 and len(set.union(*sets.values())) == 500
    assert sorted(i for rows in division.values() for i in rows) == list(range(2000))
    for name, share in (("train", 0.6), ("val", 0.2), ("test", 0.2)):
        assert len(sets[name]) / 500 == pytest.approx(share, abs=0.07)
    grown = split_by_object([*objects, *(f"new{i}" for i in range(300))], (0.6, 0.2, 0.2), seed=1)
    assert all(set(division[name]) <= set(grown[name]) for name in division)
    other = split_by_object(objects, (0.6, 0.2, 0.2), seed=2)
    assert not np.array_equal(other["train"], division["train"])


def test_a_catalogue_names_files_labels_and_objects(tmp_path: Path) -> None:
    spectra = list(simulate(6))
    write_survey(spectra, tmp_path)
    lines = (tmp_path / "catalog.csv").read_text().splitlines()
    rows = [
        lines[0] + ",object_group",
        *(f"{line},g{i // 2}" for i, line in enumerate(lines[1:])),
        "missing.fits" + "," * 10,
    ]
    (tmp_path / "catalog.csv").write_text("\n".join(rows).replace(f",{spectra[0].labels['z']},", ",0.25,"))
    shards, rejected = load(tmp_path / "catalog.csv", progress=False)
    assert shards.index["object"].to_pylist() == ["g0", "g0", "g1", "g1", "g2", "g2"]
    assert [Path(e.path).name for e in rejected] == ["missing.fits"]
    labels = list(shards.labels())
    assert labels[0]["z"] == 0.25 and labels[1]["z"] == spectra[1].labels["z"]
    with_teff = [row.get("teff") for row in labels]
    assert with_teff == [s.labels.get("teff") for s in spectra] and any(with_teff)
    (tmp_path / "bad.csv").write_text("file\na.fits\n")
    with pytest.raises(ValueError, match="a catalogue needs a column path"):
        load(tmp_path / "bad.csv", progress=False)
    with pytest.raises(ValueError, match="no such file or folder"):
        load(tmp_path / "nowhere", progress=False)


def test_objects_are_told_by_position(tmp_path: Path) -> None:
    from dataclasses import replace

    spectra = list(simulate(4))
    near = replace(
        spectra[1],
        labels=spectra[1].labels | {"ra": spectra[0].labels["ra"], "dec": spectra[0].labels["dec"] + 1 / 3600},
    )
    write_survey([spectra[0], near, spectra[2], spectra[3]], tmp_path)
    shards, _ = load(tmp_path, progress=False)
    assert len(shards) == 4 and len(set(shards.index["object"].to_pylist())) == 3


def test_missing_numbers_encode_as_nan() -> None:
    encoded = Targets(("teff",), {}, {}, {"teff": (5000.0, 500.0)}).encode([{"teff": 6000.0}, {}])
    assert encoded["teff"].dtype == torch.float32 and torch.isnan(encoded["teff"]).tolist() == [False, True]


def test_turns_of_the_division_are_folds() -> None:
    """Five turns test every object once."""
    objects = [f"object {i}" for i in range(500)]
    folds = [split_by_object(objects, (0.7, 0.1, 0.2), seed=3, turn=i / 5) for i in range(5)]
    assert sorted(np.concatenate([fold["test"] for fold in folds]).tolist()) == list(range(500))
    for fold in folds:
        assert sorted(np.concatenate(list(fold.values())).tolist()) == list(range(500))
