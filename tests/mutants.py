"""Damaged survey files: seeded mutations of good ones, and what reading one of them comes to."""

import bz2
import gzip
import io
import lzma
import random
import resource
import signal
import time
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

import spectromer
from spectromer import ReadError, Spectrum
from spectromer.errors import LayoutError
from spectromer.shards.schema import block_of
from spectromer.surveys import reading
from spectromer.surveys.content import GROWTH, MEMORY, open_content

BLOCK, CARD = 2880, 80
ADDRESS_SPACE = 6 << 30  # bytes; a worker that asks for more gets a MemoryError
TIME = 20.0  # seconds for one file


def _words(text: str) -> list[str]:
    return text.split()


NUMBERS = _words("""0 1 -1 2 3 5 7 8 16 -32 -64 64 127 999 1000 65536 2147483647 2147483648 -2147483648 4294967296
9223372036854775807 -9223372036854775808 18446744073709551616 99999999999999999999 1E308 1E400 1.5 0.5 -0.0 NaN INF T F
1D3 1E-400 0x10 1e5 +5 005 '' 'A' '1E' (1,2) 1/2 1_000""")
TEXTS = _words("""'CLASS' 'FLUX' 'flux' 'LOGLAM' 'IVAR' 'WAVELENGTH' 'COADD' 'COADD_B' 'R-84450349' 'STAR' 'LAMOST'
'BINTABLE' 'IMAGE' 'TABLE' 'A''B' 'unterminated 'x&' 'nan' '-9999' '4.0' 'T' 'air' 'DP1:' 'Angstrom' 'nm'""")
FORMS = _words("""1PE(100) PE 1QD(5) 1PJ(2147483647) 0E E 1E 5E D 3867D 100000E 999999999E 99999999999999999999E -1E 1A
0A 10A A 1X 9X L B I J K C M e 1EE 2147483647A 1PA(3)""")
DIMENSIONS = _words("'(1)' '(2,2)' '(0)' '(-1)' '(1,1,1,1,1)' '(99999999999)' '()' 'x'")
INSERTED = _words("""TSCAL1 TZERO2 TDIM1 TDIM2 TNULL1 THEAP BSCALE BZERO BLANK GROUPS ZIMAGE PCOUNT GCOUNT NAXIS NAXIS1
NAXIS2 BITPIX TFIELDS COEFF0 COEFF1 VACUUM AIRORVAC CLASS SUBCLASS Z Z_ERR ZWARNING OBSID FIBERID PLATEID MJD RA DEC
SNRU SPEC_CLN ARRAY3 TELESCOP ORIGIN EXTNAME LMJD FILENAME OBJTYPE FIBERTYP NAXIS3 XTENSION END CONTINUE HIERARCH CRVAL1
CDELT1 CTYPE1 TUNIT1 DC-FLAG""")


@dataclass
class Seed:
    """A good file: its bytes, where its HDUs lie (header, data, end), and its cards (HDU, byte, keyword)."""

    name: str
    data: bytes
    hdus: list[tuple[int, int, int]] = field(default_factory=list)
    cards: list[tuple[int, int, str]] = field(default_factory=list)


def seed_of(path: Path) -> Seed:
    data = path.read_bytes()
    seed = Seed(path.name, gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(io.BytesIO(seed.data)) as hdus:
            infos = [hdu.fileinfo() for hdu in hdus]
    seed.hdus = [(i["hdrLoc"], i["datLoc"], i["datLoc"] + i["datSpan"]) for i in infos][:4]
    for k, (start, end, _) in enumerate(seed.hdus):
        for at in range(start, end, CARD):
            key = seed.data[at : at + 8].decode("ascii", "replace").strip()
            if key and seed.data[at + 8 : at + 10] == b"= ":
                seed.cards.append((k, at, key))
    return seed


def card(key: str, value: str) -> bytes:
    return f"{key:8s}= {value if value.startswith(chr(39)) else value.rjust(20)}".encode()[:CARD].ljust(CARD)


def _value(rng: random.Random, key: str) -> str:
    if key.startswith("TFORM"):
        return f"'{rng.choice(FORMS)}'"
    if key.startswith("TDIM"):
        return rng.choice(DIMENSIONS)
    return (
        str(rng.randrange(-10, 20000)) if rng.random() < 0.15 else rng.choice(NUMBERS if rng.random() < 0.6 else TEXTS)
    )


def _change_card(rng: random.Random, seed: Seed, data: bytearray) -> str:
    structural = rng.random() < 0.5
    cards = [c for c in seed.cards if c[2].startswith(("NAXIS", "BITPIX", "TFORM", "TTYPE", "TFIELDS", "PCOUNT", "XT"))]
    _, at, key = rng.choice(cards if structural and cards else seed.cards)
    value = _value(rng, key)
    data[at : at + CARD] = card(key, value)
    return f"{key}={value}"


def _insert_card(rng: random.Random, seed: Seed, data: bytearray) -> str:
    start, end, _ = rng.choice(seed.hdus)
    key = rng.choice(INSERTED)
    value = _value(rng, key)
    at = start + CARD * rng.randrange(1, max(2, (end - start) // CARD))
    header = data[start:at] + card(key, value) + data[at:end]
    data[start:end] = header[:-CARD] if not header[-CARD:].strip() else header + b" " * (BLOCK - CARD)
    return f"+{key}={value}"


def _change_bytes(rng: random.Random, seed: Seed, data: bytearray) -> str:
    start, middle, end = rng.choice(seed.hdus)
    in_header = rng.random() < 0.5 or end == middle
    count = rng.choice((1, 2, 5, 20) if in_header else (1, 5, 50, 500))
    for _ in range(count):
        at = rng.randrange(start, middle) if in_header else rng.randrange(middle, end)
        if at < len(data):
            data[at] = rng.randrange(256) if rng.random() < 0.5 else data[at] ^ (1 << rng.randrange(8))
    return f"{count} bytes of the {'header' if in_header else 'data'}"


def _change_values(rng: random.Random, seed: Seed, data: bytearray) -> str:
    with_data = [(middle, end) for _, middle, end in seed.hdus if end > middle]
    if not with_data:
        return "nothing"
    begin, end = rng.choice(with_data)
    kind = np.dtype(rng.choice((">f4", ">f8")))
    values = np.frombuffer(bytes(data[begin:end]), kind, (min(end, len(data)) - begin) // kind.itemsize).copy()
    if not len(values):
        return "nothing"
    first = rng.randrange(len(values))
    part = values[first : first + rng.choice((1, 2, 10, 1000, len(values)))]
    new = rng.choice((np.nan, np.inf, -np.inf, 0.0, 3e38, 1e-45, 1e10, "reversed", "negative"))
    part[:] = part[::-1].copy() if new == "reversed" else -part if new == "negative" else new
    data[begin : begin + values.nbytes] = values.tobytes()
    return f"{len(part)} values {new}"


def _move(rng: random.Random, seed: Seed, data: bytearray) -> str:
    parts = [bytes(data[start:end]) for start, _, end in seed.hdus]
    i, j = rng.randrange(len(parts)), rng.randrange(len(parts))
    what = rng.choice(("double", "delete", "swap"))
    if what == "double":
        parts.insert(i, parts[j])
    elif what == "delete":
        del parts[i]
    else:
        parts[i], parts[j] = parts[j], parts[i]
    data[:] = b"".join(parts)
    return f"{what} HDU {i}"


def _cut(rng: random.Random, seed: Seed, data: bytearray) -> str:
    end = rng.randrange(len(data) // BLOCK + 1) * BLOCK if rng.random() < 0.6 else rng.randrange(len(data) + 1)
    del data[end:]
    return f"cut at {end}"


def _not_ascii(rng: random.Random, seed: Seed, data: bytearray) -> str:
    _, at, key = rng.choice(seed.cards)
    at += rng.randrange(CARD - 1)
    data[at : at + 2] = "é".encode()
    return f"not ASCII in {key}"


CHANGES = (_change_card,) * 5 + (_insert_card,) * 3 + (_change_bytes, _change_values) * 2 + (_move, _cut, _not_ascii)


def mutate(rng: random.Random, seeds: Sequence[Seed]) -> tuple[bytes, str]:
    """A damaged copy of one of the seeds, and what has been done to it."""
    seed = rng.choice(seeds)
    if len(seed.data) > 500_000 and rng.random() < 0.6:
        seed = rng.choice(seeds)
    data, done = bytearray(seed.data), [seed.name]
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3))):
        change = rng.choice(CHANGES)
        if len(data) >= len(seed.data):  # the places of the cards are those of the whole file
            done.append(change(rng, seed, data))
    packed = rng.choice((None,) * 8 + tuple(PACKED))
    if packed is None:
        return bytes(data), "; ".join(done)
    return PACKED[packed](rng, bytes(data)), "; ".join([*done, packed])


def _flipped(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(3):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _zipped(data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../a.fits", data)
    return file.getvalue()


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data, 1)


PACKED: dict[str, Any] = {
    "gzip": lambda rng, data: _gzip(data),
    "two gzip streams": lambda rng, data: _gzip(data[:5760]) + _gzip(data[5760:]),
    "gzip twice": lambda rng, data: _gzip(_gzip(data)),
    "gzip and more": lambda rng, data: _gzip(data) + rng.choice((b"more", bytes(512), data[:BLOCK])),
    "gzip, cut": lambda rng, data: _gzip(data)[: rng.randrange(20, 2000)],
    "gzip, changed": lambda rng, data: _flipped(rng, _gzip(data)),
    "zip": lambda rng, data: _zipped(data),
    "zip, changed": lambda rng, data: _flipped(rng, _zipped(data)),
    "bzip2, changed": lambda rng, data: _flipped(rng, bz2.compress(data, 1)),
    "xz": lambda rng, data: lzma.compress(data, preset=0),
    "compress": lambda rng, data: b"\x1f\x9d\x90" + rng.randbytes(2000),
}


class Hang(BaseException):
    """Reading has taken longer than `TIME`."""


@contextmanager
def time_limit() -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise Hang

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, TIME)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def limit_memory() -> None:
    """Limit the address space of this process, which is a worker."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))


def _peak() -> int:
    """The largest resident memory of this process since `_forget_peak`, in bytes; 0 where the system does not tell."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM")), 0)


def _forget_peak() -> None:
    refs = Path("/proc/self/clear_refs")
    if refs.is_file():
        refs.write_text("5")


@dataclass
class Outcome:
    """What came of one file: "read", "refused" or a fault, with its description; bytes of memory; seconds."""

    kind: str
    detail: str = ""
    memory: int = 0
    seconds: float = 0.0

    @property
    def is_fault(self) -> bool:
        return self.kind not in ("read", "refused")


def outcome(path: Path) -> Outcome:
    """Read a file, and store it as ingest does. Exceptions but ReadError and differences to astropy are faults."""
    _forget_peak()
    before, start = _peak(), time.perf_counter()
    found: Any = None
    try:
        with time_limit(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = spectromer.read(path)
            result = Outcome("read")
    except ReadError as error:
        result = Outcome("refused" if error.reason and "\n" not in error.reason else "reason", error.reason)
    except Hang:
        return Outcome("hang", "reading")
    except BaseException as error:
        return Outcome("exception", f"{type(error).__name__}: {error}")
    result.memory, result.seconds = max(_peak() - before, 0), time.perf_counter() - start
    if result.memory > max(MEMORY, GROWTH * path.stat().st_size):
        return Outcome("memory", f"{result.memory >> 20} MiB for {path.stat().st_size} bytes", result.memory)
    fault = _compare(path, found, result)
    return fault or result


def _compare(path: Path, found: Any, result: Outcome) -> Outcome | None:
    """A fault if astropy reads other values, or if the spectra cannot be stored; None if there is none."""
    try:
        with time_limit(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if found is not None:
                block_of([found] if isinstance(found, Spectrum) else list(found[0]))
            content = open_content(path)
            try:
                plain = reading._read_plainly(content, path)
            except LayoutError:
                plain = None
                if content.kind != "FITS":
                    raise
            else:
                if plain is None:
                    return None
            try:
                astropys = reading._read_by_astropy(content, path)
            except Exception:
                return None  # it refuses also what does not concern the spectrum
            if plain is None:
                return Outcome("misreading", "refused, but not by astropy")
            return (
                None
                if isinstance(astropys, Spectrum) and same(plain, astropys)
                else Outcome("misreading", "other values")
            )
    except ReadError:
        return None
    except Hang:
        return Outcome("hang", "comparing or storing")
    except spectromer.SpectromerError as error:
        return None if result.kind == "refused" else Outcome("storing", str(error))
    except BaseException as error:
        return Outcome("exception", f"storing: {type(error).__name__}: {error}")


def same(a: Spectrum, b: Spectrum) -> bool:
    """Bit for bit, labels included."""
    pixels = all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("flux", "ivar", "wavelength"))
    return pixels and a.labels == b.labels and (a.survey, a.id) == (b.survey, b.id)
