"""Labels have many spellings; some are missing, and not all that are there are believed."""

import math
from typing import Any

import numpy as np
import pytest

from spectromer.errors import ArgumentError, LayoutError
from spectromer.labels import (
    CATEGORIES,
    CLASSES,
    LABELS,
    TARGETS,
    BelievedLabels,
    believe,
    check_targets,
    clean_labels,
    is_sky,
    replace_labels,
)


def test_labels_not_to_be_believed_are_left_out() -> None:
    assert believe({"class": "GALAXY", "z": 0.1, "sourcetype": "SKY"}) == {}
    assert believe({"class": "Unknown", "z": 0.1, "teff": 5000.0}) == {"teff": 5000.0}
    assert believe({"teff": 0.0, "logg": 4.0}) == {"logg": 4.0}
    assert believe({"class": "QSO", "z": 1.5, "zwarning": 16}) == {"class": "QSO", "z": 1.5}
    assert believe({"class": "QSO", "z": 1.5, "zwarning": 4}) == {}


def test_what_is_believed_is_what_can_be_learnt() -> None:
    """A z without a class is none, a subclass has its canonical spelling, and nothing but targets is there."""
    assert believe({"z": 0.1, "logg": 4.0, "snr": 9.0}) == {"logg": 4.0}
    labels = {"class": "STAR", "subclass": "dM5", "z": -1e-4, "ra": 10.0, "zwarning": 0, "sourcetype": "Obj"}
    assert believe(labels) == {"class": "STAR", "subclass": "M5", "z": -1e-4}
    assert believe({"class": "STAR", "subclass": "Non", "z": 0.0}) == {"class": "STAR", "z": 0.0}
    assert believe({"class": "STAR", "subclass": "A0", "z": 0.0, "zwarning": 4}) == {"subclass": "A0"}
    assert set(CATEGORIES) <= set(TARGETS) <= set(LABELS) and len(CLASSES) == 3


def test_believed_labels_are_columns() -> None:
    """They come of any iterable; what is missing, or is no number, is unknown."""
    rows: list[dict[str, Any]] = [
        {"class": "STAR", "subclass": "F5", "z": 0.0, "teff": 6500.0},
        {"class": "QSO", "z": 1.5, "zwarning": 4},
        {},
        {"class": "GALAXY", "subclass": "AGN BROADLINE", "z": math.nan, "teff": 0.0, "logg": math.nan},
    ]
    found = BelievedLabels.of(iter(rows))
    assert len(found) == 4 and found.columns.keys() == set(TARGETS)
    assert found["class"].tolist() == ["STAR", "", "", "GALAXY"] and found["subclass"].tolist() == [
        "F5",
        "",
        "",
        "AGN BROADLINE",
    ]
    np.testing.assert_array_equal(found["z"], [0.0, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(found["teff"], [6500.0, np.nan, np.nan, np.nan])
    assert {name: found[name].dtype for name in ("z", "teff", "logg", "feh")} == dict.fromkeys(
        ("z", "teff", "logg", "feh"), np.float64
    )
    assert found.known("class").tolist() == [True, False, False, True] and found.known("class").dtype == bool
    assert found.known("z").tolist() == found.known("teff").tolist() == [True, False, False, False]
    assert not found.known("logg").any() and not found.known("feh").any()


def test_rows_are_taken_in_the_order_asked_for() -> None:
    found = BelievedLabels.of({"class": "STAR", "z": 0.01 * i} if i % 2 else {"feh": -0.1 * i} for i in range(9))
    part = found.take(np.array([7, 3, 7]))
    assert len(part) == 3
    for name in TARGETS:
        np.testing.assert_array_equal(part[name], found[name][[7, 3, 7]])
        np.testing.assert_array_equal(part.known(name), found.known(name)[[7, 3, 7]])
    none = found.take(np.array([], dtype=int))
    assert len(none) == 0 and len(BelievedLabels.of([])) == 0 and not none.known("class").any()


@pytest.mark.parametrize(
    ("value", "want"),
    [
        (b" STAR ", "STAR"), ("  ", None), ("", None),
    ],
)  # fmt: skip
def test_texts_are_stripped(value: Any, want: str | None) -> None:
    assert clean_labels({"class": value}) == ({} if want is None else {"class": want})


@pytest.mark.parametrize("value", [-999.0, -9999, np.nan, np.inf, "", "nan", "none", None, True, np.float32(-9999.0)])
def test_numbers_that_surveys_mark_as_missing(value: Any) -> None:
    assert clean_labels({"z": value}) == {}


def test_numbers_are_plain() -> None:
    found = clean_labels({"z": np.float32(0.5), "zwarning": np.int64(4), "teff": " 6120.5 "})
    assert found == {"z": 0.5, "zwarning": 4, "teff": 6120.5}
    assert [type(value) for value in found.values()] == [float, int, float]


@pytest.mark.parametrize("value", [None, "--", " null ", "NaN", math.nan, np.nan, np.ma.masked, b""])
def test_texts_that_stand_for_nothing(value: Any) -> None:
    assert clean_labels({"class": value, "subclass": value, "z": value, "zwarning": value}) == {}


def test_classes_have_one_spelling() -> None:
    for name, spellings in {"GALAXY": ("galaxy", "Galaxy"), "STAR": (b"Star",), "QSO": ("qso", "Quasar")}.items():
        for spelling in spellings:
            assert clean_labels({"class": spelling}) == {"class": name}
            text = spelling if isinstance(spelling, str) else spelling.decode()
            assert believe({"class": text, "subclass": "agn"})["class"] == name
    assert clean_labels({"class": "Unknown"}) == {"class": "Unknown"}
    assert believe({"class": "galaxy", "subclass": "agn"}) == {"class": "GALAXY", "subclass": "AGN"}


def test_impossible_numbers_are_missing() -> None:
    assert clean_labels({"ra": 1e300, "dec": -99.0, "z": 2**64 - 1, "teff": 10**400, "snr": 5}) == {"snr": 5.0}
    assert clean_labels({"z": -1, "teff": -99.0, "logg": -99.0, "feh": -99.0, "feh_err": -9999.0}) == {}
    assert clean_labels({"ra": -10.0, "dec": 90.0, "z": 7.1}) == {"ra": -10.0, "dec": 90.0, "z": 7.1}


def test_flags_are_numbers_or_true() -> None:
    for value, want in (
        (True, 1),
        (np.bool_(False), 0),
        (4.0, 4),
        ("16", 16),
        (np.int32(-5), -5),
        (1 << 62, 1 << 62),
        (" T", 1),
        (b"false", 0),
    ):
        found = clean_labels({"zwarning": value})
        assert found == {"zwarning": want} and type(found["zwarning"]) is int


@pytest.mark.parametrize(
    ("label", "value", "message"),
    [
        ("class", 5, "its class must be a text, got 5"),
        ("subclass", 1.5, "its subclass must be a text, got 1.5"),
        ("class", True, "its class must be a text"),
        ("zwarning", 0.5, "its zwarning must be a whole number of 64 bits, got 0.5"),
        ("zwarning", 1 << 63, "its zwarning must be a whole number of 64 bits"),
        ("zwarning", 1e30, "its zwarning must be a whole number of 64 bits"),
        ("z", np.array([1.0, 2.0]), "its z must be one number, got 2 of them"),
        ("z", 1j, "its z must be a number"),
    ],
)
def test_labels_of_a_wrong_type_are_refused(label: str, value: Any, message: str) -> None:
    with pytest.raises(LayoutError, match=message):
        clean_labels({label: value})


def test_a_bundle_is_replaced_and_never_mixed() -> None:
    file = {
        "class": "GALAXY",
        "z": 0.3,
        "z_err": 1e-4,
        "zwarning": 4,
        "teff": 5000.0,
        "ra": 1.0,
        "dec": 2.0,
        "snr": 9.0,
    }
    by_eye = replace_labels(file, {"class": "QSO", "z": 2.31})
    assert by_eye == {"class": "QSO", "z": 2.31, "teff": 5000.0, "ra": 1.0, "dec": 2.0, "snr": 9.0}
    assert believe(by_eye) == {"class": "QSO", "z": 2.31, "teff": 5000.0}
    assert replace_labels(file, {"logg": 4.0, "snr": 5.0}) == {
        **{name: value for name, value in file.items() if name != "teff"},
        "logg": 4.0,
        "snr": 5.0,
    }
    assert replace_labels(file, {}) == file and replace_labels({}, file) == file


@pytest.mark.parametrize("kind", ["SKY", "Sky", "sky_boss", "ops_sky_boss"])
def test_sky_fibres_have_no_labels(kind: str) -> None:
    assert believe({"class": "GALAXY", "z": 0.1, "sourcetype": kind}) == {} and not is_sky("SKYLINE")


def test_targets_are_some_each_once() -> None:
    check_targets(TARGETS)
    for names, shown in ((("class", "colour"), "class colour"), (("z", "z"), "z z"), ((), "none")):
        with pytest.raises(
            ArgumentError, match=f"targets must be some of {', '.join(TARGETS)}, each once; got {shown}"
        ):
            check_targets(names)
