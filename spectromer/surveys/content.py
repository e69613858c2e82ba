"""The content of a file of spectra: regular files alone, decompressed, and within one limit of memory."""

import bz2
import io
import lzma
import mmap
import os
import stat
import threading
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from spectromer.errors import LayoutError, ReadError

try:
    from isal.isal_zlib import decompressobj  # twice as fast
except ImportError:
    from zlib import decompressobj  # type: ignore[assignment]

__all__ = ["COPIES", "MEMORY", "Content", "most_unpacked", "open_content"]

MEMORY = 64 << 20  # bytes; reading a file takes no more memory than this, or than `GROWTH` times the file
GROWTH = 20
COPIES = 4  # copies of a file's content that reading it may hold at the same time
_SMALL = 1 << 24  # bytes; larger files are mapped into memory instead of being read
_KINDS = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"PK\x03\x04": "zip",
}
_FITS, _PARQUET, _HDF5 = b"SIMPLE  =", b"PAR1", b"\x89HDF\r\n\x1a\n"
_MARK = 10  # bytes by which compressed files and FITS files are told
_KEPT = 1 << 20  # bytes of the buffer that is kept for the next file
_buffers = threading.local()
_HEAD = 4096  # bytes at the beginning of a file by which its kind is told


@dataclass(frozen=True)
class Content:
    """The content of a file.

    Attributes
    ----------
    data : bytes, bytearray or mmap
        The bytes of the file, decompressed, in the first `size` elements. Those of a FITS file that is not compressed
        are overwritten by the next call of `open_content` in the same thread, and a large file is mapped into memory.
    size : int
    """

    data: Any
    size: int

    @property
    def kind(self) -> str:
        """The kind of the file by its first bytes: "FITS", "HDF5", "Parquet", "VOTable", "text" or "" (any other)."""
        head = bytes(self.data[: min(_HEAD, self.size)])
        for mark, kind in ((_FITS, "FITS"), (_HDF5, "HDF5"), (_PARQUET, "Parquet")):
            if head.startswith(mark):
                return kind
        if head.startswith(b"SIMPLE") and head[_HEAD // 4 :].count(b"\n") == 0 and len(head) > _HEAD // 4:
            return "FITS"  # with a first card that is not standard
        if b"\x00" in head:
            return ""
        if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<"):
            return "VOTable" if b"<VOTABLE" in head.upper() else ""
        return "text" if b"\n" in head or b"\r" in head or len(head) < _HEAD else ""


def open_content(path: str | os.PathLike[str]) -> Content:
    """Open a file.

    Raises
    ------
    ReadError
        When the file does not exist, is empty, or is no regular file.
    LayoutError
        When it is compressed, and the stream is damaged or decompresses to more than the limit.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError as error:
        raise ReadError(path, "no such file") from error
    except (OSError, ValueError) as error:
        raise ReadError(path, f"cannot be opened ({getattr(error, 'strerror', None) or error})") from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise ReadError(path, f"{'a folder' if stat.S_ISDIR(status.st_mode) else 'a device or pipe'}, not a file")
        size = status.st_size
        if size == 0:
            raise ReadError(path, "the file is empty")
        data: Any
        if size > _SMALL:
            data = mmap.mmap(handle, 0, access=mmap.ACCESS_READ)
        else:
            data, size = _read(handle, size)
    finally:
        os.close(handle)
    head = bytes(data[:_MARK])
    if head.startswith(_FITS):
        return Content(data, size)
    data = data if size > _SMALL else bytes(memoryview(data)[:size])
    kind = next((kind for mark, kind in _KINDS.items() if head.startswith(mark)), None)
    if kind is not None:
        data = _unpacked(data, kind, most_unpacked(size))
    return Content(data, len(data))


def _read(handle: int, size: int) -> tuple[bytearray, int]:
    """The content of a small file at the beginning of a buffer of this thread, and its length.

    The pages of new memory take several times as long as reading does.
    """
    buffer = getattr(_buffers, "buffer", None)
    if buffer is None or len(buffer) < size:
        buffer = bytearray(max(size, _KEPT))
        if len(buffer) <= _KEPT:
            _buffers.buffer = buffer
    with memoryview(buffer) as view:
        done = 0
        while done < size and (more := os.readv(handle, [view[done:size]])):
            done += more
    return buffer, done


def most_unpacked(size: int) -> int:
    """The largest content, in bytes, of a compressed file of `size` bytes that is read."""
    return max(MEMORY, GROWTH * size) // COPIES


def _unpacked(data: Any, kind: str, most: int) -> bytes:
    """The content of a compressed file."""
    try:
        unpacked = _unzip(data, most) if kind == "zip" else _streams(data, kind, most)
    except LayoutError:
        raise
    except Exception as error:  # each decompressor raises exceptions of its own
        raise LayoutError(f"its {kind} stream is damaged ({error})") from error
    if len(unpacked) > most:
        raise LayoutError(
            f"its {kind} stream decompresses to more than {most >> 20} MiB; decompress it first if it holds spectra"
        )
    return unpacked


def _streams(data: Any, kind: str, most: int) -> bytes:
    """The content of one compressed stream, or of several, one after the other; up to one byte more than `most`."""
    mark = next(mark for mark, name in _KINDS.items() if name == kind)
    new: Callable[[], Any] = {
        "gzip": lambda: decompressobj(wbits=31),
        "bzip2": bz2.BZ2Decompressor,
        "xz": lambda: lzma.LZMADecompressor(memlimit=MEMORY),
    }[kind]
    parts: list[bytes] = []
    left = most + 1
    rest = data
    while left > 0:
        stream = new()
        part = stream.decompress(rest, left)
        parts.append(part)
        left -= len(part)
        if left > 0 and not stream.eof:
            raise LayoutError(f"its {kind} stream is cut off")
        rest = stream.unused_data
        if not rest.startswith(mark):
            break
    if rest.strip(b"\x00") and left > 0:
        raise LayoutError(f"its {kind} stream is followed by other bytes")
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _unzip(data: Any, most: int) -> bytes:
    """The content of the only file in a zip archive; up to one byte more than `most`."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        if len(names) != 1:
            raise LayoutError(f"a zip archive must hold one file of spectra, this holds {len(names)}")
        with archive.open(names[0]) as file:
            return file.read(most + 1)
