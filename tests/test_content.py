"""Files that are no files, containers, and headers that lie: one sentence each, in little time and memory."""

import bz2
import gzip
import io
import lzma
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from astropy.io import fits
from mutants import Outcome, card, outcome
from survey_files import same, write_medium

import spectromer
from spectromer import ReadError, Spectrum
from spectromer.surveys import read_each
from spectromer.surveys.content import MEMORY, most_unpacked
from spectromer.surveys.headers import last_byte
from spectromer.surveys.lamost import SURVEY as LAMOST
from spectromer.surveys.sdss import SURVEY as SDSS

BLOCK = 2880


def zipped(data: bytes, *names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names or ("a.fits",):
            archive.writestr(name, data)
    return file.getvalue()


PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, 1),
    "two gzip streams": lambda data: gzip.compress(data[:5000], 1) + gzip.compress(data[5000:], 1),
    "gzip and zeros": lambda data: gzip.compress(data, 1) + bytes(512),
    "bzip2": lambda data: bz2.compress(data, 1),
    "xz": lambda data: lzma.compress(data, preset=0),
    "zip": zipped,
}


@pytest.fixture
def whole(sdss: list[Spectrum], tmp_path: Path) -> bytes:
    SDSS.write(sdss[0], tmp_path / "whole.fits")
    return (tmp_path / "whole.fits").read_bytes()


@pytest.mark.parametrize("kind", PACK)
def test_containers_are_known_by_their_content(kind: str, whole: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.fits").write_bytes(PACK[kind](whole))
    assert same(spectromer.read(tmp_path / "a.fits"), spectromer.read(tmp_path / "whole.fits"))


@pytest.mark.parametrize("kind", PACK)
def test_what_decompresses_to_too_much_is_refused(kind: str, whole: bytes, tmp_path: Path) -> None:
    """In one sentence, and without decompressing it all."""
    (tmp_path / "a.fits").write_bytes(PACK[kind](whole[:5000] + bytes(MEMORY)))
    result = outcome(tmp_path / "a.fits")
    assert result.kind == "refused" and "decompresses to more than 16 MiB; decompress it first" in result.detail, result
    assert result.memory < MEMORY


def test_damaged_containers_are_refused(whole: bytes, tmp_path: Path) -> None:
    cases = {
        "its gzip stream is cut off": gzip.compress(whole)[:5000],
        "its bzip2 stream is cut off": bz2.compress(whole)[:5000],
        "its xz stream is cut off": lzma.compress(whole)[:5000],
        "its zip stream is damaged": zipped(whole)[:5000],
        "its gzip stream is damaged": b"\x1f\x8b\x08\x00" + bytes(100),
        "its gzip stream is followed by other bytes": gzip.compress(whole) + b"other",
        "a zip archive must hold one file of spectra, this holds 2": zipped(whole, "a.fits", "b.fits"),
        "neither a FITS or HDF5 file nor a table": gzip.compress(gzip.compress(whole)),
    }
    for reason, data in cases.items():
        (tmp_path / "a.fits").write_bytes(data)
        with pytest.raises(ReadError, match=reason):
            spectromer.read(tmp_path / "a.fits")


def test_the_limit_grows_with_the_file() -> None:
    assert most_unpacked(1000) == 16 << 20 and most_unpacked(100 << 20) == 500 << 20


def put(data: bytes, key: str, value: str, hdu: int = 0) -> bytes:
    """A file with another value of a card that it has."""
    at = -1
    for _ in range(hdu + 1):
        at = data.find(key.encode().ljust(8) + b"=", at + 1)
    return data[:at] + card(key, value) + data[at + 80 :]


def headers(*cards: tuple[str, str]) -> bytes:
    made = b"".join(card(*pair) for pair in cards) + b"END"
    return made.ljust(-(-len(made) // BLOCK) * BLOCK)


EMPTY = headers(("SIMPLE", "T"), ("BITPIX", "8"), ("NAXIS", "0"))
TABLE = (("XTENSION", "'BINTABLE'"), ("BITPIX", "8"), ("NAXIS", "2"))
COLUMNS = (("TTYPE1", "'FLUX'"), ("TTYPE2", "'IVAR'"), ("TTYPE3", "'WAVELENGTH'"))
HEAP = tuple((f"TFORM{i}", "'1PE(500000000)'") for i in (1, 2, 3))
LIES = {
    "axes": headers(("SIMPLE", "T"), ("BITPIX", "8"), ("NAXIS", str(2**62))),
    "one long axis": headers(("SIMPLE", "T"), ("BITPIX", "8"), ("NAXIS", "1"), ("NAXIS1", "4000000000")) + bytes(BLOCK),
    "long spectrum": headers(
        ("SIMPLE", "T"), ("BITPIX", "-64"), ("NAXIS", "2"), ("NAXIS1", "90000000"), ("NAXIS2", "5")
    )
    + bytes(BLOCK),
    "999 axes": headers(
        ("SIMPLE", "T"), ("BITPIX", "8"), ("NAXIS", "999"), *((f"NAXIS{i}", "1") for i in range(1, 1000))
    ),
    "rows of nothing": EMPTY
    + headers(*TABLE, ("NAXIS1", "0"), ("NAXIS2", "2000"), ("PCOUNT", "0"), ("GCOUNT", "1"), ("TFIELDS", "0")),
    "many fields": EMPTY
    + headers(*TABLE, ("NAXIS1", "0"), ("NAXIS2", "0"), ("PCOUNT", "0"), ("GCOUNT", "1"), ("TFIELDS", "2000000000")),
    "negative heap": EMPTY
    + headers(*TABLE, ("NAXIS1", "0"), ("NAXIS2", "0"), ("PCOUNT", "-5760"), ("GCOUNT", "1"), ("TFIELDS", "0")),
    "long arrays in the heap": EMPTY
    + headers(
        *(*TABLE, ("NAXIS1", "24"), ("NAXIS2", "1"), ("PCOUNT", "2000"), ("GCOUNT", "1"), ("TFIELDS", "3")),
        *(*COLUMNS, *HEAP, ("EXTNAME", "'ANDMASK'")),
    )
    + struct.pack(">6i", *(500_000_000, 0) * 3).ljust(BLOCK, b"\0"),
    "wide columns": EMPTY
    + headers(
        *(*TABLE, ("NAXIS1", "12"), ("NAXIS2", "1"), ("PCOUNT", "0"), ("GCOUNT", "1"), ("TFIELDS", "3"), *COLUMNS),
        *((f"TFORM{i}", "'2000000000E'") for i in (1, 2, 3)),
    )
    + bytes(BLOCK),
    "a header without an end": EMPTY[:80] + b"COMMENT x".ljust(80) * 20000,
    "ends that are none": EMPTY[:80] + (b"xEND" + b" " * 77) * 20000,
}


@pytest.mark.parametrize("name", LIES)
@pytest.mark.parametrize("packed", [False, True])
def test_headers_that_lie_are_refused(name: str, packed: bool, tmp_path: Path) -> None:
    """Before astropy sees them, which would loop, or reserve the memory that they ask for."""
    (tmp_path / "a.fits").write_bytes(gzip.compress(LIES[name]) if packed else LIES[name])
    result = outcome(tmp_path / "a.fits")
    assert result.kind == "refused" and result.memory < MEMORY and result.seconds < 5.0, result


@pytest.mark.parametrize(("key", "value"), [("NAXIS", str(2**62)), ("NAXIS2", "-1"), ("NAXIS2", str(2**31))])
@pytest.mark.parametrize("layout", ["table", "image"])
@pytest.mark.parametrize("packed", [False, True])
def test_real_layouts_with_one_lie(
    key: str, value: str, layout: str, packed: bool, lamost: list[Spectrum], tmp_path: Path
) -> None:
    LAMOST.write(lamost[0], tmp_path / "a.fits", layout)
    data = put((tmp_path / "a.fits").read_bytes(), key, value)
    (tmp_path / "a.fits").write_bytes(gzip.compress(data, 1) if packed else data)
    result = outcome(tmp_path / "a.fits")
    assert result.kind == "refused" and "HDU" in result.detail, result


def test_bytes_after_the_last_hdu_do_not_matter(whole: bytes, tmp_path: Path) -> None:
    """A later extension that is mangled is not followed."""
    for more in (b"junk" * 1000, put(whole[BLOCK:], "XTENSION", "'NONE'").replace(b"XTENSION", b"XTENSOIN", 1)):
        (tmp_path / "a.fits").write_bytes(whole + more)
        assert last_byte(whole + more, len(whole + more)) == len(whole)
        assert same(spectromer.read(tmp_path / "a.fits"), spectromer.read(tmp_path / "whole.fits"))


@pytest.mark.parametrize("kind", ["SDSS", "LAMOST", "image", "medium"])
def test_comments_that_are_not_ascii_do_not_change_a_spectrum(
    kind: str, sdss: list[Spectrum], lamost: list[Spectrum], tmp_path: Path
) -> None:
    path = tmp_path / "a.fits"
    if kind == "medium":
        write_medium(path)
    elif kind == "SDSS":
        SDSS.write(sdss[0], path)
    else:
        LAMOST.write(lamost[0], path, "image" if kind == "image" else "table")
    whole, data = spectromer.read(path), bytearray(path.read_bytes())
    for key in (b"COEFF0  =", b"COEFF1  =", b"VACUUM  =", b"TELESCOP="):
        at = data.find(key)
        if at >= 0:
            data[at + 45 : at + 51] = b"/ caf\xe9"
    path.write_bytes(data)
    assert same(spectromer.read(path), whole)


def test_what_is_no_file_is_one_error_each(whole: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    os.mkfifo(folder / "pipe.fits")
    (folder / "folder.fits").mkdir()
    (folder / "loop.fits").symlink_to("loop.fits")
    (folder / "gone.fits").symlink_to("nowhere")
    not_utf8 = os.fsencode(folder) + b"/caf\xe9.fits"
    Path(os.fsdecode(not_utf8)).write_bytes(whole)
    (folder / "good.fits").write_bytes(whole)
    batch, errors = spectromer.read(folder)
    reasons = {Path(error.path).name: error.reason for error in errors}
    assert len(batch) == 1 and len(errors) == 4
    assert reasons.pop("pipe.fits") == "a device or pipe, not a file"
    assert reasons.pop("gone.fits") == "no such file"
    assert reasons.pop("loop.fits").startswith("cannot be opened (Too many levels of symbolic links")
    assert list(reasons.values()) == ["its name is not valid UTF-8"]
    for error in errors:
        str(error).encode("utf-8"), error.path.encode("utf-8")
    (_, error), (_, device) = read_each([folder / "folder.fits", "/dev/null"])
    assert isinstance(error, ReadError) and error.reason == "a folder, not a file"
    assert isinstance(device, ReadError) and device.reason == "a device or pipe, not a file"
    with pytest.raises(ReadError, match="cannot be opened"):
        spectromer.read("a\0b.fits")


def test_reading_leaves_earlier_spectra_alone(sdss: list[Spectrum], tmp_path: Path) -> None:
    """The buffer of a thread is used again for the next file."""
    for i, made in enumerate(sdss[:3]):
        SDSS.write(made, tmp_path / f"{i}.fits")
    found = [spectromer.read(tmp_path / f"{i}.fits") for i in range(3)]
    for one, made in zip(found, sdss, strict=False):
        assert torch.equal(one.flux, made.flux) and torch.equal(one.ivar, made.ivar)


def test_large_files_are_read(sdss: list[Spectrum], tmp_path: Path) -> None:
    """Through a map of the file; by astropy if they are not plain."""
    SDSS.write(sdss[0], tmp_path / "a.fits")
    with fits.open(tmp_path / "a.fits") as hdus:
        large = fits.ImageHDU(np.zeros((5000, 1000), np.float32))
        fits.HDUList([*(hdu.copy() for hdu in hdus), large]).writeto(tmp_path / "b.fits")
        hdus[0].header["TELESCOP"] = "SDSS " * 30
        fits.HDUList([*(hdu.copy() for hdu in hdus), large]).writeto(tmp_path / "c.fits")
    for name in ("b.fits", "c.fits"):
        assert same(spectromer.read(tmp_path / name), spectromer.read(tmp_path / "a.fits"))
        with (tmp_path / name).open("ab") as file:
            file.write(bytes(BLOCK))
    assert same(spectromer.read(tmp_path / "b.fits"), spectromer.read(tmp_path / "a.fits"))
    with pytest.raises(ReadError, match="its last HDU is followed by bytes that are no HDU"):
        spectromer.read(tmp_path / "c.fits")


def test_the_wavelengths_of_desi_are_no_longer_than_its_pixels(tmp_path: Path) -> None:
    hdus = [
        fits.PrimaryHDU(),
        fits.BinTableHDU.from_columns([fits.Column("TARGETID", "K", array=[1])], name="FIBERMAP"),
    ]
    for arm, first in (("B", 3600.0), ("R", 5760.0), ("Z", 7520.0)):
        wavelength = first + 0.8 * np.arange(100)
        wavelength[-1] = 2e8 if arm == "Z" else wavelength[-1]
        hdus += [fits.ImageHDU(wavelength, name=f"{arm}_WAVELENGTH")]
        hdus += [fits.ImageHDU(np.ones((1, 100), np.float32), name=f"{arm}_{part}") for part in ("FLUX", "IVAR")]
    fits.HDUList(hdus).writeto(tmp_path / "coadd.fits")
    result: Outcome = outcome(tmp_path / "coadd.fits")
    assert result.kind == "refused" and "further than their pixels do" in result.detail and result.memory < MEMORY
