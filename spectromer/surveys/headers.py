"""Headers of FITS files: their cards, and where HDUs lie. Nothing here trusts a number in a file."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from spectromer.errors import LayoutError

__all__ = [
    "BITPIX",
    "BLOCK",
    "CARD",
    "Header",
    "NotPlain",
    "PlainHeader",
    "card_value",
    "header_end",
    "last_byte",
    "whole_card",
]

BLOCK, CARD = 2880, 80
BITPIX = (8, 16, 32, 64, -32, -64)
# The first ten bytes of plain cards: comments, and keywords in capitals with "= " or without a value.
_PLAIN = re.compile(
    rb"(?:(?:COMMENT |HISTORY | {8}).{2}|(?!COMMENT |HISTORY | {8})[^=a-z\x80-\xff]{8}(?:= |[^=]{2}))*+", re.DOTALL
)
_END = b"END" + b" " * 77
_LONGEST = 1 << 20  # bytes of a header
_AXES, _FIELDS = 999, 999  # the largest NAXIS and TFIELDS of the standard
_NUMBER = re.compile(r"[+-]?(\d+|(\d+\.\d*|\.\d+|\d+)([ED][+-]?\d+)?)$")
_STRUCTURE = re.compile(rb"(SIMPLE|XTENSION|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|GROUPS|THEAP|TFIELDS|TFORM\d+|TTYPE\d+) *$")
_FORMAT = re.compile(r"\s*(\d*)([LXBIJKAEDCMPQ])")
_BITS = dict(zip("LXBIJKAEDCMPQ", (8, 1, 8, 16, 32, 64, 8, 32, 64, 64, 128, 64, 128), strict=True))


class NotPlain(Exception):
    """The file has to be read by astropy."""


class Header(Mapping[str, Any]):
    """The cards of one header. A value is parsed on first access, as most are never needed.

    Raises
    ------
    NotPlain
        When a card that is accessed is not as in the FITS standard.
    """

    def __init__(self, cards: bytes) -> None:
        self._cards = cards

    @cached_property
    def _places(self) -> dict[bytes, int]:
        count = len(self._cards) // CARD
        keys = np.ndarray((count,), "S9", self._cards, strides=(CARD,)).tolist()
        return dict(zip(reversed(keys), range(count - 1, -1, -1), strict=True))  # the first of equal keywords

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a card, or `default` if there is no such card or it has no value."""
        place = self._places.get(_head(key))
        value = None if place is None else card_value(self._cards[place * CARD + 9 : (place + 1) * CARD])
        return default if value is None else value

    def __getitem__(self, key: str) -> Any:
        value = self.get(key)
        if value is None:
            raise KeyError(key)
        return value

    def has_any(self, heads: tuple[bytes, ...]) -> bool:
        """Tell whether there is one of several cards, each given by its first nine bytes, such as b"BZERO   ="."""
        return not self._places.keys().isdisjoint(heads)

    def has_end(self) -> bool:
        """Tell whether one of the cards has the keyword END. Then it is not clear where the header ends."""
        return any(place.startswith(b"END     ") for place in self._places)

    def repeated(self) -> str:
        """A card that describes the structure of the HDU and occurs more than once; empty if there is none."""
        keys = np.ndarray((len(self._cards) // CARD,), "S8", self._cards, strides=(CARD,)).tolist()
        counts = Counter(key for key in keys if _STRUCTURE.match(key))
        return next((key.decode("ascii").rstrip() for key, count in counts.items() if count > 1), "")

    def __iter__(self) -> Iterator[str]:
        return (place[:8].decode("ascii").rstrip() for place in self._places if place.endswith(b"="))

    def __len__(self) -> int:
        return sum(1 for _ in self)


class PlainHeader(Header):
    """A header that raises NotPlain also when the keyword of any other card is not as in the FITS standard.

    Parameters
    ----------
    cards : bytes
    axes : int
        The number of cards that usually begin with NAXIS.
    """

    def __init__(self, cards: bytes, axes: int) -> None:
        super().__init__(cards)
        self._axes = axes

    @cached_property
    def _places(self) -> dict[bytes, int]:
        heads = np.ndarray((len(self._cards) // CARD,), "S10", self._cards, strides=(CARD,)).tobytes()
        if (heads.count(b"NAXIS") != self._axes or heads.count(b"BITPIX") != 1) and self.repeated():
            raise NotPlain
        if b"CONTINUE" in heads or b"END     " in heads:  # text of several cards; an END that astropy may take for one
            raise NotPlain
        signs = heads[8::10].count(b"=")
        odd = heads != heads.upper() or not heads.isascii() or not heads.count(b"=") == heads.count(b"= ") == signs
        if odd and _PLAIN.fullmatch(heads) is None:
            raise NotPlain
        return Header._places.func(self)  # type: ignore[attr-defined, no-any-return]


@lru_cache(maxsize=4096)
def _head(key: str) -> bytes:
    """The first nine bytes of a card with a value."""
    return key.encode("ascii").ljust(8) + b"="


@lru_cache(maxsize=4096)
def card_value(field: bytes) -> str | bool | int | float | None:
    """The value in the text after a card's "=" (FITS 4.0, section 4.2); None if there is none."""
    text = field.decode("ascii", "replace").strip()
    if text.startswith("'"):
        end = text.find("'", 1)
        while end >= 0 and text[end + 1 : end + 2] == "'":
            end = text.find("'", end + 2)
        if end < 0 or text[end - 1] == "&" or text[end + 1 :].lstrip()[:1] not in ("", "/"):
            raise NotPlain
        value = text[1:end].replace("''", "'").rstrip()
        if not (value.isascii() and value.isprintable()) or ": " in value:  # "NAME: 1.0" is a number to astropy
            raise NotPlain
        return value
    text = text.split("/", 1)[0].strip()
    if text in ("T", "F"):
        return text == "T"
    if not text:
        return None
    found = _NUMBER.match(text)
    if found is None:
        raise NotPlain
    return int(text) if found[1] == text.lstrip("+-") and text.lstrip("+-").isdigit() else float(text.replace("D", "E"))


def header_end(data: Any, start: int, size: int) -> int | None:
    """The byte at which the END card of the header that begins at byte `start` lies; None if there is none."""
    last = min(size, start + _LONGEST)
    at = data.find(_END, start, last)
    while at >= 0 and (at - start) % CARD:
        at = data.find(_END, at + 1, last)
    return at if at >= 0 else None


def last_byte(data: Any, size: int) -> int:
    """Follow the HDUs of a file from header to header, and return the byte after the last of them.

    astropy believes what headers say of sizes: some values make it loop forever, others make it reserve any amount of
    memory. It is given only files that have passed this check.

    Parameters
    ----------
    data : bytes, bytearray or mmap
        The content of the file, in the first `size` elements. What follows the last HDU, and is none, is not looked at.
    size : int

    Raises
    ------
    LayoutError
        When a header has no END, lacks a mandatory card, or describes more data than there are.
    """
    start = number = 0
    while start < size:
        if number and not data[start : min(start + CARD, size)].startswith(b"XTENSION="):
            break
        at = header_end(data, start, size)
        if at is None:
            raise LayoutError(f"the header of its HDU {number} has no end within {_LONGEST >> 20} MiB")
        begin = start + -(-(at + CARD - start) // BLOCK) * BLOCK
        try:
            length = _data_size(Header(bytes(data[start:at])), size)
        except (NotPlain, KeyError, ValueError) as error:
            reason = str(error) if isinstance(error, LayoutError) else f"has no valid card {error}".rstrip()
            raise LayoutError(f"the header of its HDU {number} {reason}") from error
        if begin + length > size:
            there = max(size - begin, 0)
            raise LayoutError(f"its HDU {number} should have {length} bytes of data, but only {there} follow")
        start, number = begin + -(-length // BLOCK) * BLOCK, number + 1
    return min(start, size)


def _data_size(header: Header, most: int) -> int:
    """The bytes of data that a header describes."""
    repeated = header.repeated()
    if repeated:
        raise LayoutError(f"has several cards {repeated}")
    if header.has_end():
        raise LayoutError("has an END card that is not blank, where astropy ends the header")
    bits, axes = _whole(header, "BITPIX", 64), _whole(header, "NAXIS", _AXES)
    if bits not in BITPIX:
        raise LayoutError(f"has a BITPIX of {bits}")
    shape = [_whole(header, f"NAXIS{i}", most) for i in range(1, axes + 1)]
    table = header.get("XTENSION") in ("BINTABLE", "A3DTABLE", "TABLE")
    heap = _whole(header, "PCOUNT", most, 0)
    groups = _whole(header, "GCOUNT", 1, 1)
    if header.get("GROUPS") is True or groups != 1:
        raise LayoutError("describes random groups, which are not read")
    if table:
        _check_table(header, shape, bits)
    return abs(bits) // 8 * (math.prod(shape) + heap) if shape else 0


def _check_table(header: Header, shape: list[int], bits: int) -> None:
    """Refuse a table whose columns do not fill its rows."""
    fields = _whole(header, "TFIELDS", _FIELDS)
    if len(shape) != 2 or bits != 8:
        raise LayoutError(f"describes a table with {len(shape)} axes and a BITPIX of {bits}")
    if shape[0] == 0 < shape[1]:
        raise LayoutError(f"describes {shape[1]} rows of no bytes")
    if header["XTENSION"] == "TABLE":
        return
    width = 0
    for i in range(1, fields + 1):
        form = _FORMAT.match(str(header[f"TFORM{i}"]))
        if form is None:
            raise LayoutError(f"has no valid card 'TFORM{i}'")
        width += -(-int(form[1] or 1) * _BITS[form[2]] // 8)
    if width != shape[0]:
        raise LayoutError(f"describes rows of {shape[0]} bytes, but columns of {width}")


def _whole(header: Header, key: str, most: int, missing: int | None = None) -> int:
    """The value of a card that must be a whole number from 0, or of BITPIX from -64, to `most`."""
    value = header.get(key, missing)
    if value is None:
        raise KeyError(key)
    if type(value) is not int or not (-64 if key == "BITPIX" else 0) <= value <= most:
        raise LayoutError(f"has {key} = {value!r}, which is not possible in this file")
    return value


@lru_cache(maxsize=4096)
def whole_card(card: bytes, key: bytes) -> int:
    """The integer value of a card [80] that must have the given keyword.

    Raises
    ------
    NotPlain
        When it has another keyword, or no integer.
    """
    value = card_value(card[9:]) if card.startswith(key.ljust(8) + b"=") else None
    if type(value) is not int:
        raise NotPlain
    return value
