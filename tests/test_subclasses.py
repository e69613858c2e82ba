"""Subclasses of all surveys have one spelling, and subtypes have an order."""

import csv
from pathlib import Path

import pytest

from spectromer.subclasses import (
    EMISSION,
    KINDS,
    LETTERS,
    canonical_subclass,
    is_subtype,
    scale_position,
    spectral_type,
)

# Spellings of stars: the templates of SDSS from DR8 on, those of SDSS-V with the names of standard stars, LAMOST DR1 to
# DR13 and its catalogues of white dwarfs and M stars, and the kinds of Redrock, which DESI uses.
STARS: dict[str, str | None] = {
    "O": "O", "OB": "O", "B6": "B6", "B9": "B9", "A0": "A0", "A0p": "A0", "F2": "F2", "F5": "F5", "F9": "F9",
    "G0": "G0", "G2": "G2", "G5": "G5", "K1": "K1", "K3": "K3", "K5": "K5", "K7": "K7", "M0V": "M0", "M2V": "M2",
    "M1": "M1", "M8": "M8", "L0": "L0", "L5.5": "L5", "L9": "L9", "T2": "T2", "Ldwarf": "L", "Carbon": "C",
    "Carbon_lines": "C", "CarbonWD": "DQ", "CalciumWD": "DZ", "WD": "WD", "WDcooler": "WD", "WDhotter": "WD",
    "WDmagnetic": "DH", "CV": "CV",
    "M4II (175588)": "M4", "A4p (G_37-26)": "A4", "G5Iab: (20123)": "G5", "B0.5Ibe... (187459)": "B0",
    "G0.5IV (14214)": "G0", "F5Ib... (17463)": "F5", "K1V... (25329)": "K1", "A1Iae (12953)": "A1", "A1m (78209)": "A1",
    "Am (78362)": "A", "B2Iaevar (41117)": "B2", "M6III (148783)": "M6", "G5/G6IVw (26297)": "G5", "O8e (188001)": "O8",
    "G5III+... (157910)": "G5", "M4.5:III (123657)": "M4", "sd:F0 (G_84-29)": "F0", "K1IVa (142091)": "K1",
    "B2.5V (175426)": "B2", "M7IIIevar (177940)": "M7", "O8/O9 (167771)": "O8", "K0IIIa (57669)": "K0", "sdF3": "F3",
    "sdF3 (140283)": "F3", "O9.5Iae (30614)": "O9", "K5 (G_19-24)": "K5", "K3p (165195)": "K3", "B2Vne (58343)": "B2",
    "A0IVn (25642)": "A0", "B2IV-V (176819)": "B2", "B9.5V+... (37269)": "B9", "B3Ib/II (51309)": "B3",
    "F3/F5V (30743)": "F3", "F8V (G_243-63)": "F8", "B5 (338529)": "B5", "G8V (101501)": "G8",
    "A7V": "A7", "A2IV": "A2", "A4III": "A4", "B9.5": "B9", "dM0": "M0", "dM5": "M5", "gM0": "M0", "sdM1": "M1",
    "esdM3": "M3", "usdM5": "M5", "WDMagnetic": "DH", "DoubleStar": "DOUBLE", "Double Star": "DOUBLE", "EM": "EM",
    "DA": "DA", "DA6": "DA", "DAH": "DA", "DA+M": "DA", "DB": "DB", "DBA": "DB", "DC": "DC", "DO": "DO", "DQ": "DQ",
    "DZ7.5": "DZ", "DX": "WD", "sdB": "B", "sdOB": "O", "He-sdB": "B", "dC": "C", "dA": "A", "AIV": "A", "MIII": "M",
    "B": "B", "K": "K", "M": "M", "S4,2": "S", "M10": "M", " G2 ": "G2", "g2": "G2",
    "Non": None, "": None, "HIZ": None, "LOZ": None, "SB2": None, "Star": None, "BROADLINE": None, "unknown": None,
}  # fmt: skip
GALAXIES = {
    "STARFORMING": "STARFORMING", "STARBURST": "STARBURST", "AGN": "AGN", "BROADLINE": "BROADLINE",
    "AGN BROADLINE": "AGN BROADLINE", "STARFORMING BROADLINE": "STARFORMING BROADLINE",
    "STARBURST BROADLINE": "STARBURST BROADLINE", "agn": "AGN", "": None, "Non": None, "A7": None,
}  # fmt: skip


@pytest.mark.parametrize(("text", "subclass"), STARS.items())
def test_stars(text: str, subclass: str | None) -> None:
    assert canonical_subclass(text) == subclass
    if subclass is not None:
        assert canonical_subclass(subclass) == subclass  # the canonical spelling is kept


@pytest.mark.parametrize(("text", "subclass"), GALAXIES.items())
def test_galaxies_and_quasars(text: str, subclass: str | None) -> None:
    assert canonical_subclass(text, "GALAXY") == canonical_subclass(text, "QSO") == subclass


def test_every_spelling_of_the_real_spectra(survey_data: Path) -> None:
    """All labels of stars but the surveys' own word for none name a subclass."""
    with (survey_data / "catalog.csv").open() as file:
        found = {(row["class"], row["subclass"]) for row in csv.DictReader(file)}
    for kind, text in found:
        subclass = canonical_subclass(text, kind)
        assert (subclass is None) == (text in ("", "Non")), (kind, text)
        if subclass is not None and kind == "STAR":
            assert is_subtype(subclass) or subclass in KINDS, text
            if subclass not in KINDS:  # the letter and digit stand in the label itself
                assert subclass in text


def test_spectral_types_follow_from_subclasses() -> None:
    types = {"G2": "G", "M": "M", "T2": "T", "DA": "WD", "DZ": "WD", "WD": "WD", "CV": "CV", "C": "C", "S": "S"}
    types |= {"AGN BROADLINE": "AGN", "STARBURST BROADLINE": "STARBURST", **{name: name for name in EMISSION}}
    assert {name: spectral_type(name) for name in types} == types


def test_subtypes_are_ordered() -> None:
    """A9 lies beside F0; kinds and letters alone have no place."""
    names = [f"{letter}{digit}" for letter in LETTERS for digit in range(10)]
    assert [scale_position(name) for name in names] == list(range(90)) and all(map(is_subtype, names))
    for name in (*KINDS, *EMISSION, *LETTERS, "", "AGN BROADLINE", "S4"):
        assert scale_position(name) is None and not is_subtype(name), name
