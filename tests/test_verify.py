"""Verification finds whatever has changed in a folder of shards, and repair restores it byte for byte."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet
import pytest

from spectromer.__main__ import main as spectromer_main
from spectromer.ingest import IngestConfig, ingest
from spectromer.shards.verify import verify
from spectromer.surveys.simulated import simulate
from spectromer.surveys.write import write_survey


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    write_survey(list(simulate(24)), folder)
    (folder / "torn.fits").write_bytes(b"SIMPLE")
    return folder


@pytest.fixture(scope="module")
def whole(survey: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shards")
    options = {"catalog": (survey / "catalog.csv",), "simulated": 8, "shard_size": 8}
    ingest(IngestConfig((str(survey),), out=out, workers=1, **options))
    return out


@pytest.fixture
def out(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "shards")
    return tmp_path / "shards"


def content(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir() if path.name != ".lock"}


def flip(path: Path) -> None:
    """Flip a bit in the middle of a file; of a Parquet file, in the middle of the values of its first column."""
    raw = bytearray(path.read_bytes())
    at = len(raw) // 2
    if path.suffix == ".parquet":
        column = pyarrow.parquet.ParquetFile(path).metadata.row_group(0).column(0)
        at = column.data_page_offset + column.total_compressed_size // 2
    raw[at] ^= 0x10
    path.write_bytes(raw)


def test_whole_shards_pass(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = content(out)
    assert spectromer_main(["verify", str(out), "--repair"]) == 0
    assert "5 shards with 32 spectra (" in capsys.readouterr().out and content(out) == before


REPAIRED = ("shard-00001.arrow", "index-00002.arrow", "index.arrow", "manifest.json", "shard-00000.json")


@pytest.mark.parametrize("name", REPAIRED)
@pytest.mark.parametrize("damage", [flip, Path.unlink])
def test_damage_is_named_and_repaired(
    name: str, damage: Callable[[Path], object], out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = content(out)
    damage(out / name)
    assert spectromer_main(["verify", str(out)]) == 2
    told = capsys.readouterr()
    assert "damaged: " in told.out and told.err.startswith(f"error: {out}: 1 file is damaged or missing; --repair")
    assert spectromer_main(["verify", str(out), "--repair"]) == 0
    assert content(out) == before
    assert not verify(out, progress=False).damaged


@pytest.mark.parametrize("name", ["settings.json", "files.parquet", "catalog-0.arrow"])
def test_what_cannot_be_repaired_is_named(name: str, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flip(out / name)
    before = content(out)
    assert spectromer_main(["verify", str(out), "--repair"]) == 2
    assert f"not repaired: {name}: the settings, the plan or a catalogue is damaged" in capsys.readouterr().out
    assert content(out) == before


def test_sources_that_are_missing_or_changed_lose_nothing(survey: Path, tmp_path: Path) -> None:
    """A damaged shard stays as it is if it cannot be made again as it was."""
    shutil.copytree(survey, tmp_path / "files")
    out = tmp_path / "shards"
    ingest(IngestConfig((str(tmp_path / "files"),), out=out, workers=1, shard_size=8))
    for name in ("shard-00000.arrow", "shard-00001.arrow"):
        flip(out / name)
    files = sorted((tmp_path / "files").glob("*.fits"))
    files[3].unlink()
    shutil.copy(files[0], files[9])
    before = content(out)
    found = verify(out, repair=True, progress=False)
    assert found.lost == {
        "shard-00000.arrow": f"these sources are missing: {files[3]}",
        "shard-00001.arrow": "its sources have changed: made again, it differs from what it was",
    }
    assert not found.repaired and content(out) == before


def test_a_folder_of_something_else(tmp_path: Path, error_line: Callable[..., str]) -> None:
    assert "so that it is no folder of shards" in error_line(spectromer_main, ["verify", str(tmp_path)])
