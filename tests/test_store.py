"""Shards: what is written is read back, by this package and by any reader of Arrow."""

import gc
import json
import random
import shutil
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
from spectromer.shards import blocks as shard_files
from spectromer.shards.batches import Batches
from spectromer.shards.blocks import read_indexed, write_shard
from spectromer.shards.feeds import Feed
from spectromer.shards.records import _checksum
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


def write_arrow(path: Path, table: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=BLOCK_ROWS)


def write_whole(folder: Path, blocks: list[pa.RecordBatch]) -> None:
    """Replace the first shard, with checksums that fit."""
    written = write_shard(blocks, folder / "shard-00000.arrow")
    new = {name: getattr(written, name) for name in ("rows", "bytes", "sha256", "blocks")}
    changed(folder / "manifest.json", lambda m: m["shards"][0].update(new))


def changed(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a JSON file, with a checksum that fits, as somebody would who means it."""
    content = json.loads(path.read_text())
    change(content)
    content.pop("checksum", None)
    path.write_text(json.dumps(content | {"checksum": _checksum(content)}))


DAMAGE: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "another format": (lambda m: m.update(format=3), "format 3 is not 2"),
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
    "a block outside": (lambda m: m["shards"][0]["blocks"][1].__setitem__(1, 1 << 50), "a block that ends after the"),
    "a block without a checksum": (lambda m: m["shards"][0]["blocks"][1].pop(), "must have an offset, a size and"),
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
def test_files_of_another_content_are_one_sentence(name: str, folder: Path) -> None:
    """Truncated, overwritten, of other columns, or missing."""
    path = folder / name
    whole = path.read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"x" * len(whole), whole + b"x"):
        path.write_bytes(content)
        with pytest.raises(ShardError, match=rf"{name}: "):
            ShardSet.open(folder).batch([0])
    write_arrow(path, pa.table({"a": [1]}))
    with pytest.raises(ShardError, match=rf"{name}: "):
        ShardSet.open(folder)
    path.unlink()
    with pytest.raises(ShardError, match=rf"{name}: "):
        ShardSet.open(folder)


def test_an_index_of_other_columns_is_one_sentence(folder: Path) -> None:
    """With a checksum that fits."""
    path = folder / "index.arrow"
    write_arrow(path, pa.table({"a": [1]}))
    changed(folder / "manifest.json", lambda m: m.update(index=shard_files.sums(path)))
    with pytest.raises(ShardError, match=r"index\.arrow: its columns are not those of this version"):
        ShardSet.open(folder)


def test_a_damaged_block_is_one_sentence(folder: Path) -> None:
    """One bit; the other block is read."""
    block = json.loads((folder / "manifest.json").read_text())["shards"][0]["blocks"][0]
    path = folder / "shard-00000.arrow"
    content = bytearray(path.read_bytes())
    content[block[0] + block[1] // 2] ^= 0x01
    path.write_bytes(content)
    shards = ShardSet.open(folder)
    with pytest.raises(ShardError, match=r"shard-00000\.arrow: block 0 is damaged, as its checksum differs"):
        shards.batch([0])
    assert len(shards.batch([299])) == 1


def test_blocks_of_another_shard_are_told(folder: Path) -> None:
    """Whole, with checksums that fit, but not those that the index lists."""
    short = Spectrum.from_arrays(np.ones(9), np.ones(9), np.linspace(4000.0, 5000.0, 9))
    write_whole(folder, [block_of([short] * 256), block_of([short] * 44)])
    with pytest.raises(ShardError, match="block 0 does not hold the spectra that the index lists"):
        ShardSet.open(folder).batch([0])


def test_lengths_that_contradict_each_other_are_told(spectra: list[Spectrum], folder: Path) -> None:
    """A hostile file, whose checksums fit: nothing is read outside of its arrays."""
    block = block_of(spectra[:256])
    flux = block["flux"]
    ends = flux.offsets.to_numpy().copy()
    ends[3] = 1 << 30
    lists = pa.Array.from_buffers(flux.type, 256, [None, pa.py_buffer(ends)], children=[flux.values])
    place = block.schema.get_field_index("flux")
    hostile = block.set_column(place, block.schema.field(place), lists)
    write_whole(folder, [hostile, block_of(spectra[256:300])])
    with pytest.raises(ShardError, match="block 0 cannot be read"):
        ShardSet.open(folder).batch([0])


def _damaged(content: bytes, rng: random.Random) -> bytes:
    raw = bytearray(content)
    kind = rng.choice(("bit", "bytes", "ends", "cut", "zeros"))
    if kind == "bit":
        raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
    elif kind == "bytes":
        for _ in range(20):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
    elif kind == "ends":  # where lengths and offsets are
        for _ in range(3):
            at = rng.randrange(min(8000, len(raw)))
            raw[rng.choice((at, len(raw) - 1 - at))] = rng.choice((0, 255, 127, 128, rng.randrange(256)))
    elif kind == "cut":
        del raw[rng.randrange(len(raw)) :]
    else:
        at = rng.randrange(len(raw))
        raw[at : at + 4096] = bytes(min(4096, len(raw) - at))
    return bytes(raw)


@pytest.fixture(scope="module")
def two_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("two")
    ingest(IngestConfig(out=out, simulated=512, shard_size=256, workers=1))
    return out


@pytest.mark.parametrize("name", ["shard-00000.arrow", "index.arrow", "manifest.json"])
def test_damage_anywhere_is_told_or_harmless(name: str, two_shards: Path, tmp_path: Path) -> None:
    """What is read from damaged files is what was written, or a ShardError."""
    rng = random.Random(name)
    folder = tmp_path / "shards"
    shutil.copytree(two_shards, folder)

    def used() -> tuple[Any, ...]:
        shards = ShardSet.open(folder)
        batch = shards.batch(rows)
        return batch, list(shards.labels()), shards.index

    rows = np.array([0, 3, 255, 256, 400])
    (want, labels, index), whole = used(), (folder / name).read_bytes()
    told = 0
    for _ in range(120):
        (folder / name).write_bytes(_damaged(whole, rng))
        try:
            batch, found, table = used()
        except ShardError:
            told += 1
            continue
        assert found == labels and batch.ids == want.ids and table.equals(index)
        for pixels in ("flux", "ivar", "wavelength"):
            assert torch.equal(getattr(batch, pixels), getattr(want, pixels))
    assert told > 60


def test_format_1_is_read_with_a_warning(two_shards: Path, tmp_path: Path) -> None:
    """As the version before wrote it: without checksums and flux_scale."""
    want = ShardSet.open(two_shards)
    for number in range(2):
        table = pa.ipc.open_file(two_shards / f"shard-0000{number}.arrow").read_all().drop_columns(["flux_scale"])
        write_arrow(tmp_path / f"shard-0000{number}.arrow", table)
    table = want.index.drop_columns(["flux_scale"])
    write_arrow(tmp_path / "index.arrow", table)
    manifest = json.loads((two_shards / "manifest.json").read_text())
    for shard in manifest["shards"]:
        del shard["blocks"]
        shard["bytes"] = (tmp_path / shard["name"]).stat().st_size
    for name in ("index", "checksum"):
        del manifest[name]
    del manifest["settings"]["format"]
    manifest["format"] = 1
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "settings.json").write_text(json.dumps(manifest["settings"]))
    with pytest.warns(UserWarning, match="is of format 1: it is read unchecked"):
        found = ShardSet.open(tmp_path)
    assert found.index.equals(want.index)
    assert torch.equal(found.batch([1, 300]).flux, want.batch([1, 300]).flux)
    with pytest.raises(ShardError, match=r"settings\.json: format 1 is not 2, .*; name another folder"):
        ingest(IngestConfig(out=tmp_path, simulated=512, shard_size=256, workers=1))


def test_flux_scales_are_kept(spectra: list[Spectrum], tmp_path: Path) -> None:
    from dataclasses import replace

    made = [replace(spectra[0], flux_scale=1e-17), spectra[1]]
    assert ShardSet.from_spectra(made).batch([1, 0]).flux_scale == [1.0, 1e-17]
    assert ShardSet.from_spectra(spectra[:3]).batch([2]).flux_scale == [1.0]


def test_any_arrow_tool_finds_each_spectrum_once(two_shards: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="extra multimodal")
    files = str(two_shards / "shard-*.arrow")
    table = pa.concat_tables([pa.ipc.open_file(path).read_all() for path in sorted(two_shards.glob("shard-*.arrow"))])
    assert table["object_id"].to_pylist() == ShardSet.open(two_shards).index["object_id"].to_pylist()
    assert datasets.load_dataset("arrow", data_files=files, split="train", streaming=True).num_shards == 2


def test_a_feed_leaves_no_blocks_behind(two_shards: Path) -> None:
    """Blocks go with their feed, without waiting for the collector of cycles."""
    shards = ShardSet.open(two_shards)
    gc.collect()
    gc.disable()
    try:
        before = pa.total_allocated_bytes()
        for seed in range(3):
            for _ in Feed(Batches(shards, batch_size=64, seed=seed)):
                pass
            assert pa.total_allocated_bytes() - before < 1 << 20
    finally:
        gc.enable()
