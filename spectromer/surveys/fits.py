"""Headers, columns and images of FITS files, for the surveys' readers; parsed without astropy where that is safe.

A survey consists of millions of small files, so `read_plain` parses plain files itself. Anything that is not plain
(scaled columns, variable-length arrays, long strings, compressed images, contradictions) raises `NotPlain`, and astropy
then reads the file.
"""

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Protocol

import numpy as np
from astropy.io import fits

from spectromer.errors import LayoutError

try:
    from isal.isal_zlib import decompressobj  # twice as fast
except ImportError:
    from zlib import decompressobj  # type: ignore[assignment]

__all__ = ["FIRST_HDUS", "AstropyHdu", "Hdu", "NotPlain", "read_plain"]

FIRST_HDUS = 3  # HDUs that are read of a file; no layout needs more
_BLOCK, _CARD = 2880, 80
_END = b"END" + b" " * 77
_LARGEST = 1 << 24  # bytes; a larger file is no spectrum of one object, and astropy need not read all of it
_LARGEST_UNPACKED = 1 << 28  # bytes; a stream that decompresses to more is not given to astropy either
_IMAGE_TYPES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
_COLUMN_TYPES = {
    "L": "S1",
    "B": "u1",
    "I": ">i2",
    "J": ">i4",
    "K": ">i8",
    "E": ">f4",
    "D": ">f8",
    "C": ">c8",
    "M": ">c16",
}
_NUMBER = re.compile(r"[+-]?(\d+|(\d+\.\d*|\.\d+|\d+)([ED][+-]?\d+)?)$")


class NotPlain(Exception):
    """The file has to be read by astropy."""


class Hdu(Protocol):
    """One header and its data."""

    @property
    def name(self) -> str:
        """EXTNAME in upper case; empty if the header has none."""

    @property
    def header(self) -> Mapping[str, Any]:
        """Values by keyword; a card without a value counts as missing."""

    @property
    def rows(self) -> int:
        """The number of rows of a table."""

    @property
    def columns(self) -> Mapping[str, Any]:
        """Upper-case names of a table's columns; empty for an image."""

    def column(self, name: str) -> np.ndarray:
        """A column by its upper-case name, [rows] or [rows, values]; text as bytes without trailing blanks."""

    def image(self) -> np.ndarray:
        """The image. Its last axis is the first axis of the file."""


class AstropyHdu:
    """An `Hdu` that wraps an HDU of astropy."""

    def __init__(self, hdu: Any) -> None:
        self._hdu = hdu
        self.name = str(hdu.name).upper()
        self.header = _AstropyHeader(hdu.header)
        table = isinstance(hdu, fits.BinTableHDU)
        self.columns = {name.upper(): name for name in hdu.columns.names} if table else {}

    @property
    def rows(self) -> int:
        return len(self._hdu.data)

    def column(self, name: str) -> np.ndarray:
        values = np.asarray(self._hdu.data[self.columns[name]])
        return np.char.encode(values, "ascii", "replace") if values.dtype.kind == "U" else values

    def image(self) -> np.ndarray:
        return np.asarray(self._hdu.data)


class _AstropyHeader(Mapping[str, Any]):
    """The header of an `AstropyHdu`."""

    def __init__(self, header: fits.Header) -> None:
        self._header = header

    def __getitem__(self, key: str) -> Any:
        value = self._header[key]
        if isinstance(value, fits.card.Undefined):
            raise KeyError(key)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._header)

    def __len__(self) -> int:
        return len(self._header)


class _PlainHeader(Mapping[str, Any]):
    """The cards of one header. A value is parsed on first access, as most are never needed."""

    def __init__(self, cards: bytes) -> None:
        self._cards = cards

    @cached_property
    def _places(self) -> dict[bytes, int]:
        count = len(self._cards) // _CARD
        keys = np.ndarray((count,), "S9", self._cards, strides=(_CARD,)).tolist()
        return dict(zip(reversed(keys), range(count - 1, -1, -1), strict=True))  # the first of equal keywords

    def __getitem__(self, key: str) -> Any:
        at = _CARD * self._places[key.encode("ascii").ljust(8) + b"="]
        value = _card_value(self._cards[at + 9 : at + _CARD])
        if value is None:
            raise KeyError(key)
        return value

    def __iter__(self) -> Iterator[str]:
        return (place[:8].decode("ascii").rstrip() for place in self._places if place.endswith(b"="))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _card_value(field: bytes) -> str | bool | int | float | None:
    """The value in the text after a card's "=" (FITS 4.0, section 4.2); None if there is none."""
    text = field.decode("ascii").strip()
    if text.startswith("'"):
        end = text.find("'", 1)
        while end >= 0 and text[end + 1 : end + 2] == "'":
            end = text.find("'", end + 2)
        if end < 0 or text[end - 1] == "&" or text[end + 1 :].lstrip()[:1] not in ("", "/"):
            raise NotPlain
        return text[1:end].replace("''", "'").rstrip()
    text = text.split("/", 1)[0].strip()
    if text in ("T", "F"):
        return text == "T"
    if not text:
        return None
    found = _NUMBER.match(text)
    if found is None:
        raise NotPlain
    return int(text) if found[1] == text.lstrip("+-") and text.lstrip("+-").isdigit() else float(text.replace("D", "E"))


@dataclass(frozen=True)
class _Layout:
    """A table's name and columns, which are the same in many files of a survey."""

    name: str
    columns: dict[str, str]  # upper-case names -> field names of `row`
    row: np.dtype | None  # the structured type of a row


@lru_cache(maxsize=64)
def _table_layout(cards: bytes) -> _Layout:
    """The layout that a table's header describes, without the number of rows (NAXIS2)."""
    header = _PlainHeader(cards)
    if "ZIMAGE" in header:
        raise NotPlain
    names, types = [], []
    for i in range(1, int(header["TFIELDS"]) + 1):
        code = re.match(r"(\d*)([A-Z])", str(header[f"TFORM{i}"]))
        if code is None or code[1] == "0" or f"TTYPE{i}" not in header:
            raise NotPlain
        repeat = int(code[1] or 1)
        names.append(str(header[f"TTYPE{i}"]))
        kind: Any
        if code[2] == "A":
            kind = f"S{repeat}"
        elif code[2] == "X":
            kind = ("u1", ((repeat + 7) // 8,))
        elif code[2] in _COLUMN_TYPES:
            kind = _COLUMN_TYPES[code[2]] if repeat == 1 else (_COLUMN_TYPES[code[2]], (repeat,))
        else:
            raise NotPlain  # a variable-length array
        if f"TSCAL{i}" in header or f"TZERO{i}" in header or f"TDIM{i}" in header:
            kind = f"V{np.dtype(kind).itemsize}"  # of a type that only astropy reads
        types.append(kind)
    columns = {name.upper(): name for name in names}
    if len(columns) < len(names):
        raise NotPlain
    row = np.dtype(list(zip(names, types, strict=True)))
    if row.itemsize != header["NAXIS1"]:
        raise NotPlain
    return _Layout(str(header.get("EXTNAME", "")).upper(), columns, row)


def _mandatory(data: bytes, start: int, index: int, key: bytes) -> int:
    """The integer value of a card whose position is fixed (FITS 4.0, sections 4.4.1 and 7.3.1)."""
    at = start + index * _CARD
    if not data.startswith(key.ljust(8) + b"=", at):
        raise NotPlain
    value = _card_value(data[at + 9 : at + _CARD])
    if type(value) is not int:
        raise NotPlain
    return value


class _PlainHdu:
    """The HDU that begins at byte `start` of a file; the next one begins at byte `end`."""

    def __init__(self, data: bytes, start: int) -> None:
        at = data.find(_END, start)
        while at >= 0 and (at - start) % _CARD:
            at = data.find(_END, at + 1)
        if at < 0:
            raise NotPlain
        self._data, self._begin = data, start + -(-(at + _CARD - start) // _BLOCK) * _BLOCK
        self._cards = data[start:at]
        self.header = _PlainHeader(self._cards)
        self._bitpix, axes = _mandatory(data, start, 1, b"BITPIX"), _mandatory(data, start, 2, b"NAXIS")
        shape = [_mandatory(data, start, 2 + i, b"NAXIS%d" % i) for i in range(1, axes + 1)]
        self._shape = tuple(reversed(shape))
        if self._bitpix not in _IMAGE_TYPES or min(shape, default=0) < 0:
            raise NotPlain
        size = abs(self._bitpix) // 8 * math.prod(shape) if shape else 0
        kind = _card_value(data[start + 9 : start + _CARD]) if data.startswith(b"XTENSION=", start) else None
        self._is_table = kind == "BINTABLE"
        if self._is_table:
            if axes != 2 or self._bitpix != 8:
                raise NotPlain
            if _mandatory(data, start, 5, b"PCOUNT") != 0 or _mandatory(data, start, 6, b"GCOUNT") != 1:
                raise NotPlain
        elif kind != "IMAGE" and not data.startswith(b"SIMPLE  =", start):
            raise NotPlain
        self.end = self._begin + -(-size // _BLOCK) * _BLOCK
        if self._begin + size > len(data):
            raise NotPlain

    @cached_property
    def name(self) -> str:
        return self._layout.name if self._is_table else str(self.header.get("EXTNAME", "")).upper()

    @property
    def rows(self) -> int:
        return self._shape[0]

    @property
    def columns(self) -> Mapping[str, Any]:
        return self._layout.columns if self._is_table else {}

    @cached_property
    def _layout(self) -> _Layout:
        return _table_layout(self._cards[: 4 * _CARD] + self._cards[5 * _CARD :])

    @cached_property
    def _table(self) -> np.ndarray:
        return np.frombuffer(self._data, self._layout.row, self.rows, self._begin)

    def column(self, name: str) -> np.ndarray:
        values = self._table[self._layout.columns[name]]
        if values.dtype.kind == "V":
            raise NotPlain
        return values

    def image(self) -> np.ndarray:
        if not self._shape or not {"BSCALE", "BZERO", "BLANK", "GROUPS"}.isdisjoint(self.header):
            raise NotPlain
        kind = np.dtype(_IMAGE_TYPES[self._bitpix])
        return np.frombuffer(self._data, kind, math.prod(self._shape), self._begin).reshape(self._shape)


def _content(path: Any) -> bytes:
    """The bytes of a file, decompressed if the file is a gzip stream under any name.

    Raises
    ------
    NotPlain
        When the file is large.
    LayoutError
        When a gzip stream is truncated, or decompresses to more than the limit for files of spectra.
    """
    with open(path, "rb", buffering=0) as file:
        if os.fstat(file.fileno()).st_size > _LARGEST:
            raise NotPlain
        data = file.read()
    if not data.startswith(b"\x1f\x8b"):
        return data
    stream = decompressobj(wbits=31)
    data = stream.decompress(data, _LARGEST)
    size = len(data)
    while not stream.eof:
        more = len(stream.decompress(stream.unconsumed_tail, _LARGEST))
        size += more
        if not more and not stream.eof:
            raise LayoutError("its gzip stream is cut off")
        if size > _LARGEST_UNPACKED:
            raise LayoutError(f"its gzip stream decompresses to more than {_LARGEST_UNPACKED >> 20} MiB")
    if size > len(data) or stream.unused_data:
        raise NotPlain
    return data


def read_plain(path: Any) -> Sequence[Hdu]:
    """The first HDUs of a plain file.

    Raises
    ------
    NotPlain
        When the file is not plain. Access to a part that is not plain may also raise it later. A broken file may raise
        any other exception.
    """
    data = _content(path)
    hdus: list[_PlainHdu] = []
    start = 0
    while start < len(data) and len(hdus) < FIRST_HDUS:
        hdus.append(_PlainHdu(data, start))
        start = hdus[-1].end
    if not hdus:
        raise NotPlain
    return hdus
