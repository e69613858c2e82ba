"""Shards: what is written is read back, by this package and by any reader of Arrow."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch

from spectromer import Spectrum, SpectrumBatch
from spectromer.errors import ShardError
from spectromer.ingest import IngestConfig, ingest
from spectromer.shards.blocks import read_indexed, write_shard
from spectromer.shards.schema import BLOCK_ROWS, block_of
from spectromer.shards.store import ShardSet
from spectromer.surveys.simulated import simulate


@pytest.fixture(scope="module")
def spectra() -> list[Spectrum]:
    """600 spectra of both surveys: more than two blocks."""
    return list(simulate(600))


def test_what_is_written_is_read_back(spectra: list[Spectrum], tmp_path: Path) -> None:
    blocks = [block_of(spectra[i : i + BLOCK_ROWS]) for i in range(0, len(spectra), BLOCK_ROWS)]
    written = write_shard(blocks, tmp_path / "shard-a.arrow")
    assert written.rows == 600 and len(written.blocks) == 3
    table = pa.ipc.open_file(tmp_path / "shard-a.arrow").read_all()  # as anybody would
    assert table["flux"][7].as_py() == spectra[7].flux.tolist()
    assert table["class"].to_pylist() == [s.labels["class"] for s in spectra]
    assert table["teff"].to_pylist() == [s.labels.get("teff") for s in spectra]
    indexed = read_indexed(tmp_path / "shard-a.arrow", written.indexed)
    assert indexed.equals(table.select(indexed.column_names)) and "flux" not in indexed.column_names
    shards = ShardSet.from_spectra(spectra)
    assert len(shards) == 600 and shards.grid is not None
    rows = [599, 3, 300, 3]
    batch, want = shards.batch(rows), SpectrumBatch.from_spectra([spectra[i] for i in rows])
    assert batch.ids == want.ids and batch.surveys == want.surveys
    torch.testing.assert_close(batch.wavelength[: want.wavelength.shape[0]], want.wavelength, rtol=1e-12, atol=0)
    for name in ("flux", "ivar"):
        assert torch.equal(getattr(batch, name)[:, : want.flux.shape[1]], getattr(want, name))
        assert not getattr(batch, name)[:, want.flux.shape[1] :].any()
    assert list(shards.labels(rows)) == [spectra[i].labels for i in rows]
    assert list(shards.labels()) == [s.labels for s in spectra]


def test_any_wavelengths(spectra: list[Spectrum]) -> None:
    """Spectra off the logarithmic grids keep theirs, next to others that are on one."""
    linear = Spectrum.from_arrays(np.arange(7.0), np.ones(7), np.linspace(4000.0, 5000.0, 7), id="linear")
    one = Spectrum(torch.ones(1), torch.ones(1), torch.tensor([5000.0], dtype=torch.float64), id="one")
    shards = ShardSet.from_spectra([linear, spectra[0], one])
    assert shards.grid is None
    batch = shards.batch([0, 1, 2])
    assert batch.wavelength.shape == batch.flux.shape == (3, len(spectra[0]))
    for row, made in enumerate((linear, spectra[0], one)):
        torch.testing.assert_close(batch.wavelength[row, : len(made)], made.wavelength, rtol=1e-12, atol=0)
        assert torch.equal(batch.flux[row, : len(made)], made.flux) and not batch.ivar[row, len(made) :].any()
    assert bool((batch.wavelength.diff(dim=1) > 0).all())
    alone = shards.batch([1])
    assert alone.wavelength.ndim == 1 and len(alone.wavelength) == len(spectra[0])


@pytest.fixture
def folder(spectra: list[Spectrum], tmp_path: Path) -> Path:
    """A folder of shards, of two blocks."""
    ingest(IngestConfig(out=tmp_path / "shards", simulated=300, workers=1))
    return tmp_path / "shards"


def changed(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


DAMAGE: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "another format": (lambda m: m.update(format=2), "format 2 is not 1"),
    "a missing key": (lambda m: m.pop("objects"), "manifest lacks the key 'objects'"),
    "an unknown key": (lambda m: m.update(colour=1), "manifest has the unknown key 'colour'"),
    "a number as text": (lambda m: m.update(spectra="300"), r"manifest\.spectra must be a whole number"),
    "a negative number": (lambda m: m.update(spectra=-1), r"manifest\.spectra must be a whole number"),
    "no list": (lambda m: m.update(shards={}), r"manifest\.shards must be a list"),
    "a shard without a size": (lambda m: m["shards"][0].pop("bytes"), r"manifest\.shards\[0\] lacks the key 'bytes'"),
    "a shard elsewhere": (
        lambda m: m["shards"][0].update(name="../a.arrow"),
        "is not the name of a file in its folder",
    ),
    "a text in the counts": (lambda m: m["classes"].update(STAR="many"), r"manifest\.classes\.STAR must be a whole"),
    "other rows": (lambda m: m["shards"][0].update(rows=900), "it must have 4 blocks for 900 rows, it has 2"),
    "fewer rows": (lambda m: m["shards"][0].update(rows=290), "the index has 300 rows, the shards 290"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_manifest_is_one_sentence(damage: str, folder: Path) -> None:
    change, message = DAMAGE[damage]
    changed(folder / "manifest.json", change)
    with pytest.raises(ShardError, match=message):
        ShardSet.open(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"format": 1}'])
def test_a_manifest_that_is_none_is_one_sentence(content: str, folder: Path) -> None:
    (folder / "manifest.json").write_text(content)
    with pytest.raises(
        ShardError, match=r"manifest\.json: (not a whole JSON|manifest must be an object|manifest lacks)"
    ):
        ShardSet.open(folder)


@pytest.mark.parametrize("name", ["shard-00000.arrow", "index.arrow"])
def test_damaged_arrow_files_are_one_sentence(name: str, folder: Path) -> None:
    """Truncated, overwritten, or of other columns; a block that is damaged inside is named when it is read."""
    path = folder / name
    whole = path.read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"x" * len(whole)):
        path.write_bytes(content)
        if name.startswith("shard"):
            changed(folder / "manifest.json", lambda m: m["shards"][0].update(bytes=path.stat().st_size))
        with pytest.raises(ShardError, match=rf"{name}: not a whole Arrow file"):
            ShardSet.open(folder)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, pa.schema([("a", pa.int64())])) as writer:
        writer.write_table(pa.table({"a": [1]}))
    if name.startswith("shard"):
        changed(folder / "manifest.json", lambda m: m["shards"][0].update(bytes=path.stat().st_size))
    with pytest.raises(ShardError, match=rf"{name}: its columns are not those of this version"):
        ShardSet.open(folder)
    path.unlink()
    with pytest.raises(ShardError, match=rf"{name}: "):
        ShardSet.open(folder)


def test_a_damaged_block_is_one_sentence(folder: Path) -> None:
    path = folder / "shard-00000.arrow"
    with pa.OSFile(str(path)) as file:
        size = pa.ipc.open_file(file).schema.serialize().size
    with path.open("r+b") as file:
        file.seek(8 + size)
        file.write(b"\xff" * 4096)  # where the first block begins
    shards = ShardSet.open(folder)
    with pytest.raises(ShardError, match=r"shard-00000\.arrow: block 0 cannot be read"):
        shards.batch([0])
    assert len(shards.batch([299])) == 1
