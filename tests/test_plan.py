"""Odd files, names, lists and labels cost an ingestion themselves, and nothing else."""

import csv
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from astropy.io import fits

from spectromer import Spectrum
from spectromer.errors import ArgumentError, ShardError
from spectromer.ingest import IngestConfig, ingest
from spectromer.shards import build
from spectromer.shards.build import build_shard
from spectromer.shards.plan import find_sources, plan, read_plan
from spectromer.shards.records import Record
from spectromer.shards.schema import MAX_PIXELS, block_of
from spectromer.shards.selection import EVERYTHING
from spectromer.shards.splits import name_objects
from spectromer.shards.store import ShardSet
from spectromer.surveys.simulated import simulate
from spectromer.surveys.write import write_survey


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three files of SDSS and three of LAMOST."""
    folder = tmp_path_factory.mktemp("good")
    write_survey([*simulate(3, surveys=("SDSS",)), *simulate(3, surveys=("LAMOST",))], folder)
    return folder


@pytest.fixture
def files(good: Path, tmp_path: Path) -> Path:
    shutil.copytree(good, tmp_path / "files")
    return tmp_path / "files"


def rejected(out: Path) -> dict[str, str]:
    with (out / "rejected.csv").open(newline="") as file:
        return {row["path"]: row["reason"] for row in csv.DictReader(file)}


def ingested(out: Path, *paths: str | Path) -> dict[str, Any]:
    return ingest(IngestConfig(tuple(map(str, paths)), out=out, workers=1))


def card(name: str, value: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = next(p for p in sorted(folder.glob("*.fits")) if "LAMOST" in fits.getheader(p).get("TELESCOP", ""))
        with fits.open(path, mode="update") as hdus:
            hdus[0].header[name] = value

    return change


def cell(name: str, form: str, value: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = next(p for p in sorted(folder.glob("*.fits")) if len(fits.info(p, output=False)) > 2)
        with fits.open(path) as hdus:
            table = hdus[2]
            columns = [
                fits.Column(c.name, *((form, None, None) if c.name == name else (c.format, None, None)))
                for c in table.columns
            ]
            for column, old in zip(columns, table.columns, strict=True):
                column.array = np.array([value]) if column.name == name else table.data[old.name]
            changed = fits.BinTableHDU.from_columns(columns, name="SPECOBJ")
            fits.HDUList([hdus[0].copy(), hdus[1].copy(), changed]).writeto(path.with_suffix(".new"))
        os.replace(path.with_suffix(".new"), path)

    return change


ODD_LABELS = {
    "a class that is a number": card("CLASS", 5),
    "a subclass that is a number": card("SUBCLASS", 1.5),
    "a redshift of 2**64 - 1": card("Z", 2**64 - 1),
    "a right ascension of 2**63": card("RA", 2**63),
    "a declination of 999": card("DEC", 999.0),
    "a declination of -99": card("DEC", -99.0),
    "a declination of 1e300": card("DEC", 1e300),
    "a tiny grid": card("COEFF1", 1e-300),
    "a flag of a half": cell("ZWARNING", "D", 0.5),
    "a flag of 1e30": cell("ZWARNING", "D", 1e30),
    "a flag of 2**40": cell("ZWARNING", "K", 2**40),
    "a flag as text": cell("ZWARNING", "5A", "0.5"),
    "a class as number in a table": cell("CLASS", "J", 7),
    "a class that is true": cell("CLASS", "L", True),
    "three redshifts": cell("Z", "3E", [1.0, 2.0, 3.0]),
}


@pytest.mark.parametrize("odd", ODD_LABELS)
def test_an_odd_label_costs_one_spectrum_at_most(odd: str, files: Path, tmp_path: Path) -> None:
    ODD_LABELS[odd](files)
    manifest = ingested(tmp_path / "out", files)
    assert manifest["spectra"] + manifest["rejected"] == 6 and manifest["spectra"] >= 5
    assert len(rejected(tmp_path / "out")) == manifest["rejected"] and all(rejected(tmp_path / "out").values())
    if "declination" in odd:
        assert manifest["spectra"] == 6
    assert len(list(ShardSet.open(tmp_path / "out").labels())) == manifest["spectra"]


def test_a_row_that_cannot_be_stored_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a reader lets through: the blocks are those of the others."""
    spectra = list(simulate(300))
    odd = [
        Spectrum(s.flux, s.ivar, s.wavelength, s.survey, s.id, s.labels | labels)
        for s, labels in zip(spectra, ({"class": 5}, {"z": "x"}, {"zwarning": 0.5}, {"zwarning": 1 << 63}, {"ra": []}))
    ]
    odd.append(Spectrum(spectra[0].flux.double(), spectra[0].ivar, spectra[0].wavelength, "SDSS", "double"))
    results = {"good": spectra, "more": [*odd[:3], *spectra[:100], *odd[3:], *spectra[100:]]}
    monkeypatch.setattr(build, "read_source", lambda name: ((name, spectrum) for spectrum in results[name]))
    records = []
    for name in results:
        (tmp_path / name).mkdir()
        records.append(build_shard(tmp_path / name, 0, [name], (), EVERYTHING))
    assert [record.rows for record in records] == [300, 300] and len(records[1].rejected) == len(odd)
    assert all("its labels are odd" in why or "it cannot be stored" in why for _, why in records[1].rejected)
    assert records[0].surveys == records[1].surveys and records[0].classes == records[1].classes
    read = Record.read(tmp_path / "more", 0)
    assert read is not None and read.sha256 == records[1].sha256
    assert [tuple(pair) for pair in read.rejected] == records[1].rejected
    assert [block[1] for block in records[1].blocks] == [block[1] for block in records[0].blocks]


def test_texts_that_are_no_unicode_are_escaped() -> None:
    (spectrum,) = simulate(1)
    odd = Spectrum(spectrum.flux, spectrum.ivar, spectrum.wavelength, "SDSS", "a\ud800", {"class": "b\udcff"})
    block = block_of([odd], ["c\udc80"], ["d\udc80"])
    assert [block[name][0].as_py() for name in ("object_id", "class", "path", "object")] == [
        r"a\ud800",
        r"b\udcff",
        r"c\udc80",
        r"d\udc80",
    ]


def test_a_spectrum_of_too_many_pixels_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    (spectrum,) = simulate(1)
    assert MAX_PIXELS * 256 < 1 << 31
    monkeypatch.setattr("spectromer.shards.schema.MAX_PIXELS", 100)
    with pytest.raises(ArgumentError, match="a shard holds spectra of at most 100"):
        block_of([spectrum])


def test_impossible_positions_are_unknown() -> None:
    ra, dec = np.array([10.0, 20.0, 1e300, 10.0, np.inf]), np.array([-99.0, 5.0, 5.0, 1e300, 0.0])
    assert name_objects(ra, dec, [None] * 5, list("abcde")) == ["a", "20.00000+5.00000", "c", "d", "e"]


def test_odd_names_and_files_of_every_kind(files: Path, tmp_path: Path) -> None:
    whole = next(files.glob("*.fits"))
    shutil.copy(whole, os.fsencode(files) + b"/spec-\xff\xfe.fits")
    (files / "new\nline.fits").write_bytes(b"junk")
    (files / "empty.fits").touch()
    os.mkfifo(files / "fifo.fits")
    (files / "folder.fits").mkdir()
    (files / "loop.fits").symlink_to("loop.fits")
    (files / "zero.fits").symlink_to("/dev/zero")
    (files / "text.fits").symlink_to("/etc/passwd")
    (files / "above").symlink_to(files)
    out = tmp_path / "out"
    assert ingested(out, files)["spectra"] == 6
    odd = ("new\nline.fits", "empty.fits", "text.fits", "fifo.fits", "loop.fits", "zero.fits")
    reasons = rejected(out)
    assert reasons.pop(str(files / r"spec-\udcff\udcfe.fits")) == "its name is not valid UTF-8"
    assert reasons.keys() == {str(files / name) for name in odd}
    assert reasons[str(files / "fifo.fits")] == reasons[str(files / "zero.fits")] == "a device or pipe, not a file"
    for name in ("fifo.fits", "zero.fits"):
        assert ingested(tmp_path / name, files / name, whole)["spectra"] == 1
        assert rejected(tmp_path / name) == {str(files / name): reasons[str(files / name)]}
    for name in ("loop.fits", "nowhere.fits", "no\0where.fits"):
        with pytest.raises(ArgumentError, match="no such file or folder"):
            ingested(tmp_path / "none", f"{files}/{name}")


def test_what_is_wrong_in_a_list_costs_itself(files: Path, tmp_path: Path) -> None:
    whole = next(files.glob("*.fits"))
    (tmp_path / "inner.txt").write_text(f"{whole}\n")
    lines = [str(tmp_path / "inner.txt"), "missing.fits", "nul\0.fits", "no-*.fits", "", str(tmp_path / "missing.txt")]
    (tmp_path / "list.txt").write_bytes("\n".join(lines).encode() + b"\r\n\xff\xfe.fits\n")
    out = tmp_path / "out"
    assert ingested(out, tmp_path / "list.txt")["spectra"] == 1
    assert {Path(path).name for path in rejected(out)} == {
        "missing.fits",
        "nul\0.fits",
        "no-*.fits",
        "missing.txt",
        r"\udcff\udcfe.fits",
    }
    (tmp_path / "self.txt").write_text(f"{whole}\n{tmp_path / 'other.txt'}\n")
    (tmp_path / "other.txt").write_text(f"{tmp_path / 'self.txt'}\n")
    with pytest.raises(ArgumentError, match=r"self\.txt: this list of files names itself"):
        ingested(tmp_path / "none", tmp_path / "self.txt")


def test_files_that_vanish_after_the_plan_are_rejected(files: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    plan(out, find_sources([str(files)], simulated=0, seed=0, shard_size=4096), 4096)
    gone = sorted(files.glob("*.fits"))[2]
    content = gone.read_bytes()
    gone.unlink()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "z.fits").write_bytes(content)
    manifest = ingested(out, tmp_path / "other")
    assert manifest["spectra"] == 6 and rejected(out) == {str(gone): "no such file"}


def test_a_damaged_plan_is_told(files: Path, tmp_path: Path) -> None:
    """Even where the file is a whole Parquet file of the right columns."""
    shards = plan(tmp_path, find_sources([str(files)], simulated=0, seed=0, shard_size=3), 3)
    assert read_plan(tmp_path) == shards and len(shards) == 2
    path = tmp_path / "files.parquet"
    table = pyarrow.parquet.read_table(path)
    pyarrow.parquet.write_table(table.slice(1), path)
    with pytest.raises(ShardError, match=r"files\.parquet: it is damaged, as its checksum differs"):
        read_plan(tmp_path)
