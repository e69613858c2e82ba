"""Tables of text with one spectrum: the names and units of their columns, also in comments, and their delimiter."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from spectromer.surveys.own_columns import UNCERTAINTIES, is_spectrum, roles_of
from spectromer.surveys.own_units import is_spectral, parsed

__all__ = ["COMMENT", "Outline", "outline_of", "split"]

COMMENT = ("#", "%", "!", ";", "\\")
_ROWS = 5  # rows after the names that are split
_DELIMITERS = (",", "|", "\t", ";")
_WORD = re.compile(r"[^\s,(\[]+(?:\s*(?:\((?:[^()]|\([^()]*\))*\)|\[[^\]]*\]))?")  # a name, and its unit if it has one
_PREFIX = re.compile(r"^[\w ]*:\s*")  # such as "Columns: "
_LISTED = re.compile(  # such as "Column 2: flux (Jy)", or "2 flux  The calibrated flux  [Jy]" of SExtractor
    r"(?:col(?:umn)?\s*)?(\d+)\s*[:.)=-]?\s*([A-Za-z]\w*)[^(\[]*([(\[].*[)\]])?$", re.IGNORECASE
)
_NO_UNIT = {"", "-", "none", "counts", "adu", "arb", "arbitrary", "relative", "normalized", "normalised"}
_HINT = re.compile(
    r"wave|lambda|\blam\b|\bwl\b|flux|count|ivar|varianc|\berr|sigma|noise|contin|\bsky\b|\bmag|\bsnr\b|angstrom",
    re.IGNORECASE,
)
_WAVELENGTHS = re.compile(r"wave|lambda|\blam\b|\bwl\b", re.IGNORECASE)
_OTHER_UNIT = re.compile(r"\b(nm|nanomet\w*|um|µm|μm|microns?|micromet\w*|[GT]?Hz|[kM]?eV)\b", re.IGNORECASE)
_AIR, _VACUUM = re.compile(r"\bair\b", re.IGNORECASE), re.compile(r"vac", re.IGNORECASE)


@dataclass
class Outline:
    """The columns of a table of text, as its first lines describe them.

    Attributes
    ----------
    names : list of str
        The names of the columns; empty if there are none.
    units : list of str
        Their units, from a row of units; empty if there is none.
    delimiter : str or None
        None for blanks.
    rows : list of list of str
        The first rows, split.
    skipped : int
        The number of lines before the rows that are no comments, such as that of the names.
    doubt : str
        The reason, as a sentence, for which the comments do not let the columns be understood; usually empty.
    """

    names: list[str] = field(default_factory=list)
    units: list[str] = field(default_factory=list)
    delimiter: str | None = None
    rows: list[list[str]] = field(default_factory=list)
    skipped: int = 0
    doubt: str = ""


def outline_of(lines: Sequence[str]) -> Outline:
    """Find the names in the line before the rows or in a comment, and a row of units in either."""
    comments: list[str] = []
    body: list[str] = []
    for line in lines:
        text = line.strip()
        if not text or text.startswith(COMMENT):
            if not body:
                comments.append(text.lstrip("".join(COMMENT)).strip())
            continue
        body.append(text)
        if len(body) > _ROWS + 2:
            break
    if not body:
        return Outline()
    numeric = next((i for i, text in enumerate(body[:3]) if all(map(_is_number, split(text, _delimiter(text))))), None)
    if numeric == 2 and re.search(r"\w", body[1]) and not _units_of(body[1], len(split(body[2], _delimiter(body[2])))):
        numeric = None
    delimiter = _delimiter(body[numeric or 0])
    if numeric is None:  # a column of text, or no table at all
        numeric = 1
    outline = Outline(delimiter=delimiter, rows=[split(row, delimiter) for row in body[numeric:]], skipped=numeric)
    if numeric > 0:
        width = len(outline.rows[0]) if outline.rows else None
        outline.names = next(
            (words for words in _splits(body[0], delimiter) if len(words) == width), split(body[0], delimiter)
        )
    else:
        width = len(outline.rows[0])
        for comment in comments:
            outline.names = _names(comment, delimiter, width) or outline.names
        listed = [found for found in map(_LISTED.match, comments) if found]
        if not outline.names and [int(found[1]) for found in listed] == list(range(1, width + 1)):
            outline.names = [found[2] + (found[3] or "") for found in listed]
    names = outline.names
    place = names.index(roles_of(names)["wavelength"][1]) if is_spectrum(names) else 0
    for text in (*comments, *body[1:numeric]):
        outline.units = _units_of(text, width or 0, place, delimiter) or outline.units
    outline.doubt = _doubt(comments, outline)
    return outline


def split(line: str, delimiter: str | None) -> list[str]:
    """The words of a row, without quotation marks."""
    return [word.strip().strip("\"'").strip() for word in line.strip().split(delimiter)]


def _delimiter(line: str) -> str | None:
    return next((mark for mark in _DELIMITERS if mark in line), None)


def _is_number(word: str) -> bool:
    """Tell whether a word is a number, a missing number or a logical value."""
    if word.lower() in ("true", "false", "null", "none", "n/a", "--"):
        return True
    try:
        float(word or "nan")
    except ValueError:
        return False
    return True


def _splits(text: str, delimiter: str | None) -> Iterator[list[str]]:
    """A line of names, split in each way in which they may be separated."""
    for line in dict.fromkeys((text, _PREFIX.sub("", text))):
        for mark in dict.fromkeys((delimiter, *_DELIMITERS)):
            if mark is not None and mark in line:
                yield split(line.strip().strip("|"), mark)
        yield [word.strip("\"',;|") for word in _WORD.findall(line)]
        yield split(line, None)


def _names(comment: str, delimiter: str | None, width: int) -> list[str]:
    """The names of the columns in a comment; empty if it has none."""
    found = (words for words in _splits(comment, delimiter) if len(words) == width and is_spectrum(words))
    return next(found, [])


def _units_of(text: str, width: int, place: int = 0, delimiter: str | None = None) -> list[str]:
    """The units of all columns in a line; empty if it is no row of units. That at `place` must be one of wavelength."""
    for words in _splits(text, delimiter):
        bare = [word.strip("()[] ") for word in words]
        if len(bare) == width and is_spectral(bare[place]):
            units = [word if parsed(word) is not None else "" for word in bare]
            if all(unit or word.lower().strip("-") in _NO_UNIT for unit, word in zip(units, bare, strict=True)):
                return units
    return []


def _doubt(comments: Sequence[str], outline: Outline) -> str:
    """Why the comments leave the columns in doubt; empty if they do not."""
    advice = "name the columns as in '# wavelength flux ivar'"
    if not outline.names:
        width = len(outline.rows[0])
        for comment in comments:
            words = re.findall(r"\w+", comment.lower())
            unclear = sorted(set(words) & set(UNCERTAINTIES)) or sorted({"inverse", "invvar"} & set(words))
            if unclear and width > 2:
                return f"its comment {comment!r} has the word {unclear[0]!r}, but its columns have no names; {advice}"
            if _HINT.search(comment) and not outline.units:
                for found in _splits(comment, outline.delimiter):
                    named = len(found) == width and not any(map(_is_number, found))
                    if named or (width > 2 and is_spectrum(found)):
                        return f"its comment {comment!r} may name its columns, which are not known; {advice}"
    role = roles_of(outline.names).get("wavelength", ("", ""))[1] if outline.names else ""
    for comment in comments:
        if not _WAVELENGTHS.search(comment):
            continue
        unit = _OTHER_UNIT.search(comment)
        told = "angstrom" in comment.lower() or outline.units or role.endswith((")", "]"))
        if unit and not told:
            return (
                f"its comment {comment!r} has the unit {unit[1]!r}, but the column of wavelengths has none; name it as "
                f"in 'wavelength ({unit[1]})'"
            )
        if _AIR.search(comment) and not _VACUUM.search(comment + role) and "air" not in role.lower():
            return f"its comment {comment!r} speaks of air; name the wavelengths wavelength_air or wavelength_vac"
    return ""
