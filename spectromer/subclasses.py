"""Subclasses of stars, galaxies and quasars: the canonical spelling, and the ordered scale of spectral subtypes.

A canonical subclass is one of

- a subtype of the Morgan-Keenan system and its extension to brown dwarfs, such as "G2": a letter and a digit;
- a letter alone, such as "M", if the survey gives no digit;
- a kind of star that is not on this scale (see `KINDS`);
- emission types of galaxies and quasars, such as "AGN" or "STARBURST BROADLINE" (see `EMISSION`).
"""

import re
from collections.abc import Iterable

import numpy as np

__all__ = [
    "EMISSION",
    "KINDS",
    "LETTERS",
    "canonical_subclass",
    "is_subtype",
    "scale_position",
    "scale_positions",
    "spectral_type",
]

#: Letters of the ordered scale, from hot to cool stars.
LETTERS = "OBAFGKMLT"
#: Kinds of stars outside the ordered scale, with their spectral types.
KINDS = {
    **dict.fromkeys(("WD", "DA", "DB", "DC", "DH", "DO", "DQ", "DZ"), "WD"),
    **{name: name for name in ("C", "CV", "DOUBLE", "EM", "S")},
}
#: Emission types of galaxies and quasars. The last one can follow any of the others.
EMISSION = ("STARBURST", "STARFORMING", "AGN", "BROADLINE")

# Words of the surveys, in lower case and without spaces and underscores.
_WORDS = {
    "carbon": "C",
    "carbonlines": "C",
    "carbonwd": "DQ",  # molecular carbon in the atmosphere of a white dwarf (Sion et al. 1983)
    "calciumwd": "DZ",  # metal lines only
    "wdmagnetic": "DH",
    "magneticwd": "DH",
    "doublestar": "DOUBLE",
    "binary": "DOUBLE",
    "em": "EM",
    "ob": "O",
    "sdob": "O",
    "ldwarf": "L",
    "tdwarf": "T",
}
_WHITE_DWARF = re.compile(r"D([ABCHOQXZ])(?![a-z])")  # only in capitals, because dC is a dwarf carbon star
_CATACLYSMIC = re.compile(r"CV(?![a-z])", re.IGNORECASE)
_BINARY = re.compile(r"SB\d?$", re.IGNORECASE)  # a spectroscopic binary, not a star of type S
# A prefix for dwarfs, subdwarfs or giants may precede the letter. The letter must not begin a word, but a luminosity
# class may follow it.
_STAR = re.compile(
    r"(?:he-?)?(?:esd|usd|sd:?|d|g)?([OBAFGKMLTCS])(?:(\d+)(?:\.\d+)?|(?=(?-i:I{1,3}|IV|V)(?-i:ab?|b)?\b)|(?![a-z]{2}))",
    re.IGNORECASE,
)


def canonical_subclass(text: str, kind: str = "STAR") -> str | None:
    """Convert a survey's spelling of a subclass to the canonical one, or return None if it names no subclass.

    "dM5" and "M5III (221615)" are M5. Half subtypes are rounded down, so that the letter is kept: "B9.5V" is B9. If
    there are two types, as in "O8/O9", the first one is used. Luminosity classes, peculiarities and names of standard
    stars are dropped.

    Parameters
    ----------
    text : str
        The survey's spelling.
    kind : str
        The class of the object. Galaxies and quasars have emission types, and all others have the subclasses of stars.
    """
    text = text.strip()
    if kind in ("GALAXY", "QSO"):
        found = [name for name in EMISSION if name in text.upper()]
        return " ".join([found[0], *(["BROADLINE"] if "BROADLINE" in found[1:] else [])]) if found else None
    word = re.sub(r"[\s_]", "", text).lower()
    if word in _WORDS:
        return _WORDS[word]
    if KINDS.get(word.upper()) == word.upper():
        return word.upper()
    if match := _WHITE_DWARF.match(text):
        return f"D{match.group(1)}" if f"D{match.group(1)}" in KINDS else "WD"
    if word.startswith("wd") or word.endswith("wd"):
        return "WD"
    if _CATACLYSMIC.match(text):
        return "CV"
    match = _STAR.match(text)
    if match is None or _BINARY.match(text) or word == "non":
        return None
    letter, digits = match.group(1).upper(), match.group(2)
    return f"{letter}{digits}" if letter in LETTERS and digits and len(digits) == 1 else letter


def is_subtype(subclass: str) -> bool:
    """Tell whether a canonical subclass lies on the ordered scale."""
    return len(subclass) == 2 and subclass[0] in LETTERS and subclass[1].isdecimal()


def scale_position(subclass: str) -> int | None:
    """The position on the ordered scale, from 0 for O0 to 89 for T9, or None for a subclass that is not on it."""
    return 10 * LETTERS.index(subclass[0]) + int(subclass[1]) if is_subtype(subclass) else None


def scale_positions(subclasses: Iterable[str]) -> np.ndarray:
    """Positions on the ordered scale, [B] float64; NaN for subclasses that are not on it."""
    found = [scale_position(str(subclass)) for subclass in subclasses]
    return np.array([np.nan if place is None else place for place in found], dtype=np.float64)


def spectral_type(subclass: str) -> str:
    """The spectral type of a canonical subclass: "G" of "G2", "WD" of "DA", and "AGN" of "AGN BROADLINE"."""
    return subclass[0] if is_subtype(subclass) else KINDS.get(subclass, subclass.split(" ")[0])
