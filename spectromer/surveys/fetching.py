"""Fetching of one file from an archive, with limits, and the check that it is a whole FITS file."""

import io
import time
import urllib.request
import warnings
import zlib

from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning

from spectromer.errors import DownloadError
from spectromer.surveys.survey import DOWNLOAD_TIMEOUT

__all__ = ["FITS_STARTS", "check_fits", "fetch"]

_MOST_SECONDS = 600.0  # for one file, from its first byte to the last one
_MOST_BYTES = 1 << 28  # of one file; spectra have a few MB at most
_MOST_UNPACKED = 1 << 30  # bytes of a compressed file, after decompression
_PIECE = 1 << 16  # bytes that are received at a time
_SIMPLE, _GZIP = b"SIMPLE  =", b"\x1f\x8b"
FITS_STARTS = (_SIMPLE, _GZIP)  # the first bytes of a FITS file, and of a gzip stream
_GZIP_FORMAT = 31  # zlib's number for streams with a gzip header


def fetch(address: str) -> bytes:
    """Fetch a file by HTTP.

    Raises
    ------
    DownloadError
        When the file is too large, takes too long, or ends before the length that the server has announced.
    OSError
        When the server cannot be reached, or answers with an error.
    """
    with urllib.request.urlopen(address, timeout=DOWNLOAD_TIMEOUT) as answer:
        end, content = time.monotonic() + _MOST_SECONDS, bytearray()
        while piece := answer.read1(_PIECE):
            content += piece
            if len(content) > _MOST_BYTES:
                raise DownloadError(f"the file has more than {_MOST_BYTES >> 20} MiB")
            if time.monotonic() > end:
                raise DownloadError(f"the file has not come within {_MOST_SECONDS:g} s")
        announced = answer.headers.get("Content-Length", "")
    if announced.isdigit() and int(announced) != len(content):
        raise DownloadError(f"the server sent {len(content)} bytes of {announced}")
    return bytes(content)


def check_fits(content: bytes) -> None:
    """Check that the content of a file, compressed with gzip or not, is a FITS file with the data of all its headers.

    Raises
    ------
    DownloadError
        When it is something else, or incomplete.
    """
    if content.startswith(_GZIP):
        content = _unpacked(content)
    if not content.startswith(_SIMPLE):
        raise DownloadError("the server sent something else than a FITS file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", ".*truncated.*", AstropyUserWarning)
            with fits.open(io.BytesIO(content), memmap=False, lazy_load_hdus=False) as hdus:
                places = [(hdu.fileinfo()["datLoc"], hdu.size, hdu.fileinfo()["datSpan"]) for hdu in hdus]
    except Exception as error:  # a broken file may make astropy raise anything
        raise DownloadError(f"the server sent a broken FITS file ({error})") from error
    needed = max((start + size for start, size, _ in places), default=0)
    used = max((start + span for start, _, span in places), default=0)
    if not places or needed > len(content):
        raise DownloadError(f"the server sent {len(content)} bytes of a FITS file of {needed}")
    if content[used:].strip(b"\0 "):
        raise DownloadError(f"the server sent a FITS file with {len(content) - used} bytes after its last HDU")


def _unpacked(content: bytes) -> bytes:
    """Decompress a gzip file."""
    stream = zlib.decompressobj(_GZIP_FORMAT)
    try:
        unpacked = stream.decompress(content, _MOST_UNPACKED)
    except zlib.error as error:
        raise DownloadError(f"the server sent a broken gzip file ({error})") from error
    if stream.unconsumed_tail:
        raise DownloadError(f"the file has more than {_MOST_UNPACKED >> 20} MiB when it is decompressed")
    if not stream.eof:
        raise DownloadError("the server sent the beginning of a gzip file only")
    return unpacked
