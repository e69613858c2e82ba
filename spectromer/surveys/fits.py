"""Headers, columns and images of FITS files, for the surveys' readers; parsed without astropy where that is safe.

A survey consists of millions of small files, so `plain_hdus` parses plain files itself. Anything that is not plain
(scaled columns, variable-length arrays, long strings, compressed images, contradictions) raises `NotPlain`, and astropy
then reads the file.
"""

import io
import math
import mmap
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Protocol, overload

import numpy as np
from astropy.io import fits

from spectromer.errors import LayoutError
from spectromer.surveys.content import Content
from spectromer.surveys.headers import BLOCK, CARD, NotPlain, PlainHeader, card_value, header_end, last_byte, whole_card

__all__ = ["AstropyHdu", "Hdu", "astropy_hdus", "masked_column", "open_by_astropy", "plain_hdus"]

_GROUPS = (b"PCOUNT  =", b"GCOUNT  =", b"GROUPS  =")
_WHOLE = re.compile(r"\s*\d*[BIJK]")  # the formats of whole numbers, which alone may have a TNULL
_SCALED = (b"BSCALE  =", b"BZERO   =", b"BLANK   =")
_SIMPLE = b"SIMPLE  =                    T"
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


def masked_column(hdu: Hdu, name: str) -> np.ma.MaskedArray:
    """A column by its upper-case name, as `Hdu.column`, with the values masked that TNULL declares to be missing.

    TNULL is a number as stored, before TSCAL and TZERO. In a column of unsigned integers, which has a TZERO, the number
    itself counts as missing too, as astropy writes TNULL so.
    """
    values, header = hdu.column(name), hdu.header
    for i in range(1, len(hdu.columns) + 1):
        null = header.get(f"TNULL{i}")
        if str(header.get(f"TTYPE{i}", "")).upper() != name or type(null) is not int:
            continue
        if _WHOLE.match(str(header.get(f"TFORM{i}", ""))):
            if values.dtype.kind == "f":
                missing = values == null * header.get(f"TSCAL{i}", 1) + header.get(f"TZERO{i}", 0)
            else:
                missing = (values == null) | (values == null + int(header.get(f"TZERO{i}", 0)))
            return np.ma.masked_array(values, missing)
    return np.ma.masked_array(values)


class _Hdus(Sequence[Hdu]):
    """The HDUs of a file, each parsed on first access, as most files are known by their first ones.

    Parameters
    ----------
    parse : callable
        A function that parses the HDU of a given index, given those before it; it raises IndexError if there is none.
    """

    def __init__(self, parse: Callable[[int, Sequence[Hdu]], Hdu]) -> None:
        self._parse = parse
        self._known: list[Hdu] = []
        self._most = math.inf  # their number, once it is known

    def _parsed(self, count: float) -> list[Hdu]:
        """The known HDUs, after `count` of them have been parsed, or all if there are fewer."""
        while len(self._known) < min(count, self._most):
            try:
                self._known.append(self._parse(len(self._known), self._known))
            except IndexError:
                self._most = len(self._known)
        return self._known

    @overload
    def __getitem__(self, index: int) -> Hdu: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Hdu]: ...
    def __getitem__(self, index: int | slice) -> Hdu | Sequence[Hdu]:
        stop = index.stop if isinstance(index, slice) else index + 1
        return self._parsed(math.inf if stop is None or stop <= 0 else stop)[index]

    def __len__(self) -> int:
        return len(self._parsed(math.inf))


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
        name = self.columns[name]
        if any(letter in str(self._hdu.columns[name].format) for letter in "PQ"):
            raise LayoutError(f"its column {name} has arrays of variable length, which are not read")
        values = np.asarray(self._hdu.data[name])
        return np.char.encode(values, "ascii", "replace") if values.dtype.kind == "U" else values

    def image(self) -> np.ndarray:
        return np.asarray(self._hdu.data)


class _AstropyHeader(Mapping[str, Any]):
    """The header of an `AstropyHdu`. A card without "= " is a comment (FITS 4.0, 4.1.2.3); astropy takes it as text."""

    def __init__(self, header: fits.Header) -> None:
        self._header = header

    def __getitem__(self, key: str) -> Any:
        value = self._header[key]
        if isinstance(value, fits.card.Undefined):
            raise KeyError(key)
        if isinstance(value, str):
            image = self._header.cards[key].image
            if image[8:10] != "= " and not image.startswith("HIERARCH "):
                raise KeyError(key)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._header)

    def __len__(self) -> int:
        return len(self._header)


@dataclass(frozen=True)
class _Layout:
    """A table's name and columns, which are the same in many files of a survey."""

    name: str
    columns: dict[str, str]  # upper-case names -> field names of `row`
    row: np.dtype | None  # the structured type of a row


@lru_cache(maxsize=64)
def _table_layout(cards: bytes) -> _Layout:
    """The layout that a table's header describes, without the number of rows (NAXIS2)."""
    header = PlainHeader(cards, 2)
    if "ZIMAGE" in header or header.repeated() or "NAXIS2" in header:  # a second one
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


class _PlainHdu:
    """The HDU that begins at byte `start` of a file; the next one begins at byte `end`."""

    def __init__(self, data: Any, start: int, size: int) -> None:
        at = header_end(data, start, size)
        if at is None:
            raise NotPlain
        self._data, self._begin = data, start + -(-(at + CARD - start) // BLOCK) * BLOCK
        self._cards = bytes(data[start:at])
        self._bitpix, axes = self._whole(1, b"BITPIX"), self._whole(2, b"NAXIS")
        self.header = PlainHeader(self._cards, axes + 1)
        shape = [self._whole(2 + i, b"NAXIS%d" % i) for i in range(1, axes + 1)]
        self._shape = tuple(reversed(shape))
        if self._bitpix not in _IMAGE_TYPES or min(shape, default=0) < 0:
            raise NotPlain
        length = abs(self._bitpix) // 8 * math.prod(shape) if shape else 0
        kind = card_value(self._cards[9:CARD]) if self._cards.startswith(b"XTENSION=") else None
        self._is_table = start > 0 and kind == "BINTABLE"
        if self._is_table:
            if axes != 2 or self._bitpix != 8 or self._whole(5, b"PCOUNT") != 0 or self._whole(6, b"GCOUNT") != 1:
                raise NotPlain
        elif start > 0:
            if kind != "IMAGE" or self._whole(3 + axes, b"PCOUNT") != 0 or self._whole(4 + axes, b"GCOUNT") != 1:
                raise NotPlain
        elif kind is not None or not self._cards.startswith(_SIMPLE) or self.header.has_any(_GROUPS):
            raise NotPlain
        self.end = self._begin + -(-length // BLOCK) * BLOCK
        if self._begin + length > size:
            raise NotPlain

    def _whole(self, index: int, key: bytes) -> int:
        """The integer value of a card whose position is fixed (FITS 4.0, sections 4.4.1 and 7.3.1)."""
        return whole_card(self._cards[index * CARD : (index + 1) * CARD], key)

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
        return _table_layout(self._cards[: 4 * CARD] + self._cards[5 * CARD :])

    @cached_property
    def _table(self) -> np.ndarray:
        return np.frombuffer(self._data, self._layout.row, self.rows, self._begin)

    def column(self, name: str) -> np.ndarray:
        values = self._table[self._layout.columns[name]]
        if values.dtype.kind == "V":
            raise NotPlain
        if len(values) > 1 and values.dtype.kind in "iuf":  # in the order of the rows, every step would be slower
            values = values.astype(values.dtype.newbyteorder("="))
        return values

    def image(self) -> np.ndarray:
        if not self._shape or self.header.has_any(_SCALED):
            raise NotPlain
        kind = np.dtype(_IMAGE_TYPES[self._bitpix])
        return np.frombuffer(self._data, kind, math.prod(self._shape), self._begin).reshape(self._shape)


def plain_hdus(data: Any, size: int) -> Sequence[Hdu]:
    """The HDUs of a plain file, given its content in the first `size` elements of `data`.

    Access raises NotPlain when an HDU, or the part of it that is needed, is not plain. A broken file may raise any
    other exception.
    """

    def parse(index: int, before: Sequence[Any]) -> Hdu:
        start = before[-1].end if before else 0
        if start >= size:
            raise IndexError
        return _PlainHdu(data, start, size)

    return _Hdus(parse)


@contextmanager
def open_by_astropy(content: Content, path: Path) -> Iterator[fits.HDUList]:
    """The HDUs of a file that `open_content` has opened, as those of astropy, after a check of all headers.

    Raises
    ------
    LayoutError
        When a header describes what is not possible in the file.
    """
    last, mapped = last_byte(content.data, content.size), isinstance(content.data, mmap.mmap)
    if mapped and last < content.size:
        raise LayoutError("its last HDU is followed by bytes that are no HDU")
    source = path if mapped else io.BytesIO(content.data[:last])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # astropy warns of harmless oddities in headers
        with fits.open(source, memmap=False, lazy_load_hdus=True, disable_image_compression=True) as hdus:
            yield hdus


def astropy_hdus(hdus: fits.HDUList) -> Sequence[Hdu]:
    """The HDUs of a file that astropy has opened."""
    return _Hdus(lambda index, _: AstropyHdu(hdus[index]))
