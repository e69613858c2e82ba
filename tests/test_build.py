"""Ingestion, the whole way from files to shards: labels, selections, broken files, and every way of being cut off."""

import csv
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from spectromer.__main__ import main as spectromer_main
from spectromer.errors import ShardError
from spectromer.ingest import IngestConfig, Selection, ingest
from spectromer.shards.store import ShardSet
from spectromer.surveys.simulated import simulate
from spectromer.surveys.write import write_survey


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """50 good files in two folders, with a catalogue, and four that cannot be read."""
    folder = tmp_path_factory.mktemp("survey")
    spectra = list(simulate(300, seed=4))
    write_survey(spectra[:30], folder / "a")
    write_survey(spectra[270:290], folder / "b")
    whole = next((folder / "a").glob("spec-*.fits")).read_bytes()
    (folder / "a" / "torn.fits").write_bytes(whole[:9000])
    (folder / "a" / "empty.fits").write_bytes(b"")
    (folder / "b" / "text.fits").write_text("no spectrum")
    huge = whole.replace(b"NAXIS2  =                 4620", b"NAXIS2  =      999999999999999", 1)
    (folder / "b" / "huge.fits").write_bytes(huge)  # claims more than there can be
    return folder


def config(out: Path, *paths: Path, **options: object) -> IngestConfig:
    return IngestConfig(tuple(str(p) for p in paths), out=out, **({"workers": 1, "shard_size": 16} | options))


def content(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.glob("*-?????.arrow"))}  # indices too


@pytest.fixture(scope="module")
def shards(survey: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shards")
    ingest(config(out, survey))
    return out


def test_every_good_file_arrives_and_every_other_is_named(survey: Path, shards: Path) -> None:
    manifest = json.loads((shards / "manifest.json").read_text())
    assert (manifest["spectra"], manifest["sources"], manifest["rejected"]) == (50, 54, 4)
    assert manifest["surveys"] == {"LAMOST": 20, "SDSS": 30} and sum(manifest["classes"].values()) == 50
    assert [shard["rows"] for shard in manifest["shards"]] == [15, 15, 15, 5]  # 16 files each, less the broken
    with (shards / "rejected.csv").open(newline="") as file:
        rejected = {Path(row["path"]).name: row["reason"] for row in csv.DictReader(file)}
    assert rejected.keys() == {"torn.fits", "empty.fits", "text.fits", "huge.fits"} and all(rejected.values())
    found = ShardSet.open(shards)
    made = {(s.survey, s.id): s for s in simulate(300, seed=4)}
    for row, spectrum in enumerate(found.batch(range(50))):
        want = made[spectrum.survey, spectrum.id]
        good = spectrum.ivar > 0
        assert (spectrum.flux[good] == want.flux[want.ivar > 0]).all(), row
    assert len(set(found.index["object"].to_pylist())) == 50


def test_catalogues_and_selections(survey: Path, tmp_path: Path) -> None:
    """The catalogue's labels go before the files'; what is left out is counted by its reason."""
    lines = (survey / "a" / "catalog.csv").read_text().splitlines()
    rows = list(csv.DictReader(lines))
    (tmp_path / "own.csv").write_text(
        "path,class,z,object_group\n"
        + "".join(f"{survey / 'a' / row['path']},STAR,{0.001 * i},g{i // 2}\n" for i, row in enumerate(rows))
    )
    select = Selection(classes=("STAR",))
    manifest = ingest(config(tmp_path / "out", survey, catalog=(tmp_path / "own.csv",), select=select))
    found = ShardSet.open(tmp_path / "out")
    labels = list(found.labels())
    assert manifest["left_out"]["class"] == 50 - len(found) and manifest["classes"] == {"STAR": len(found)}
    named = [name for name in found.index["object"].to_pylist() if name.startswith("g")]
    assert len(named) == 30 and len(set(named)) == 15
    by_path = dict(zip(found.index["path"].to_pylist(), labels, strict=True))
    assert by_path[str(survey / "a" / rows[7]["path"])]["z"] == pytest.approx(0.007)
    bright = ingest(config(tmp_path / "bright", survey, select=Selection(surveys=("SDSS",), min_snr=12.0)))
    assert bright["left_out"].keys() == {"survey", "S/N"} and bright["left_out"]["survey"] == 20
    assert min(row["snr"] for row in ShardSet.open(tmp_path / "bright").labels()) >= 12.0


def test_more_files_later(survey: Path, shards: Path, tmp_path: Path) -> None:
    """Shards that are there stay as they are; what is new follows; nothing comes twice."""
    out = tmp_path / "grown"
    ingest(config(out, survey / "a"))
    before, names = content(out), ShardSet.open(out).index["object"].to_pylist()
    manifest = ingest(config(out, survey))
    assert manifest["spectra"] == 50 and {name: content(out)[name] for name in before} == before
    index = ShardSet.open(out).index
    assert index["object"].to_pylist()[: len(names)] == names
    assert len(set(index["path"].to_pylist())) == 50
    assert ingest(config(out, survey)) == manifest
    for options, name in (({"shard_size": 17}, "shard_size"), ({"simulated": 256}, "simulated")):
        with pytest.raises(ValueError, match=rf"begun with other settings \({name}: "):
            ingest(config(out, survey, **options))


def test_a_lost_or_cut_shard_is_made_again(survey: Path, shards: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ingest(config(out, survey))
    (out / "shard-00001.arrow").unlink()
    (out / "shard-00002.arrow").write_bytes(b"short")
    with pytest.raises(ValueError, match=r"shard-00001\.arrow: the manifest says"):
        ShardSet.open(out)
    ingest(config(out, survey))
    assert content(out) == content(shards)


def test_paths_of_every_kind(survey: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"{survey / 'a'}\n\n{survey / 'b' / 'text.fits'}\n")
    listed = ingest(config(tmp_path / "list", tmp_path / "list.txt"))
    assert (listed["spectra"], listed["rejected"]) == (30, 3)
    fitting = ingest(config(tmp_path / "glob", survey / "*" / "spec-55000-*.fits"))
    assert (fitting["spectra"], fitting["surveys"]) == (20, {"LAMOST": 20})
    for paths, message in (((), "name files"), (("nowhere",), "no such file"), (("no-*.fits",), "no file fits")):
        with pytest.raises(ValueError, match=message):
            ingest(IngestConfig(paths, out=tmp_path / "none", workers=1))


def test_processes_make_the_same_shards(survey: Path, shards: Path, tmp_path: Path) -> None:
    assert (
        spectromer_main(["ingest", str(survey), "--out", str(tmp_path / "out"), "--workers", "2", "--shard-size", "16"])
        == 0
    )
    assert content(tmp_path / "out") == content(shards)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")  # its own
def test_a_cluster_makes_the_same_shards(survey: Path, shards: Path, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="extra cluster")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        ingest(config(tmp_path / "out", survey, scheduler=cluster.scheduler_address))
    assert content(tmp_path / "out") == content(shards)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # the library's own
def test_a_hugging_face_dataset_streams_in(tmp_path: Path) -> None:
    """Two parts of local Parquet files, of the columns that the Multimodal Universe's datasets have."""
    pytest.importorskip("datasets", reason="extra multimodal")
    made = list(simulate(6, surveys=("SDSS",)))
    for part in range(2):
        rows = [
            {
                "spectrum": {"flux": s.flux.tolist(), "ivar": s.ivar.tolist(), "lambda": s.wavelength.tolist()},
                "Z": s.labels["z"],
                "object_id": s.id,
            }
            for s in made[3 * part : 3 * part + 3]
        ]
        rows[0]["spectrum"]["lambda"] = rows[0]["spectrum"]["lambda"][::-1][:-1]  # broken
        (tmp_path / "data").mkdir(exist_ok=True)
        pyarrow.parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "data" / f"train-{part}-of-2.parquet")
    manifest = ingest(IngestConfig((f"hf:{tmp_path / 'data'}",), out=tmp_path / "out", workers=1))
    assert (manifest["spectra"], manifest["rejected"], len(manifest["shards"])) == (4, 2, 2)
    found = ShardSet.open(tmp_path / "out")
    assert found.index["object_id"].to_pylist() == [made[i].id for i in (1, 2, 4, 5)]
    assert found.batch([3]).flux[0].tolist() == made[5].flux.tolist()
    with pytest.raises(ValueError, match="nowhere:train: cannot be opened"):
        ingest(IngestConfig((f"hf:{tmp_path / 'nowhere'}",), out=tmp_path / "none", workers=1))


def children(pid: str) -> list[str]:
    return [child for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]


def alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_killed_at_any_moment_it_goes_on(tmp_path: Path) -> None:
    """Killed by -9 as soon as a shard is there, it ends, called again, with the shards of an undisturbed run."""
    options = ["--simulated", "1536", "--shard-size", "256", "--workers", "2"]
    command = [sys.executable, "-m", "spectromer.ingest", *options]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    with subprocess.Popen([*command, "--out", str(killed)]) as process:
        while process.poll() is None and not list(killed.glob("shard-*.json")):
            time.sleep(0.01)
        workers = children(str(process.pid))
        workers += [pid for worker in workers for pid in children(worker)]
        process.kill()
    until = time.monotonic() + 60
    while any(map(alive, workers)) and time.monotonic() < until:
        time.sleep(0.1)
    assert workers and not any(map(alive, workers))  # they end with it
    done = {path.name: path.stat().st_mtime_ns for path in killed.glob("shard-?????.arrow")}
    finished = len(list(killed.glob("shard-*.json")))
    assert 1 <= finished < 6 and not (killed / "manifest.json").exists()
    with pytest.raises(ValueError, match="its ingestion has not come to an end"):
        ShardSet.open(killed)
    (killed / ".shard-00005.part-1.arrow").write_bytes(b"half a shard")
    subprocess.run([*command, "--out", str(killed)], check=True)
    ingest(IngestConfig(out=whole, simulated=1536, shard_size=256, workers=1))  # in this process, of more threads
    assert content(killed) == content(whole) and not list(killed.glob(".*.part-*"))
    kept = [name for name, when in done.items() if (killed / name).stat().st_mtime_ns == when]
    assert len(kept) >= finished  # and what was done was not done again
    assert ShardSet.open(killed).index.equals(ShardSet.open(whole).index)


def test_one_at_a_time(survey: Path, tmp_path: Path) -> None:
    import fcntl

    (tmp_path / "out").mkdir()
    with (tmp_path / "out" / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match="another ingestion is at work"):
            ingest(config(tmp_path / "out", survey))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("files.parquet", b"PAR1", "not a whole Parquet file"),
        ("files.parquet", None, "not a plan of this version"),
        ("settings.json", b'{"select"', "not a whole JSON file"),
        ("settings.json", b"{}", "format 1 is not 2"),
        ("shard-00000.json", b'{"name": ', "not a whole JSON file"),
        ("shard-00000.json", b'{"name": "a", "checksum": ""}', "it is damaged"),
        ("index-00000.arrow", b"ARROW1", "it is damaged"),
    ],
)
def test_a_damaged_folder_is_one_sentence(
    name: str, content: bytes | None, message: str, survey: Path, shards: Path, tmp_path: Path
) -> None:
    """What a half-done ingestion left, damaged afterwards."""
    out = tmp_path / "out"
    shutil.copytree(shards, out)
    (out / "manifest.json").unlink()
    if content is None:
        pyarrow.parquet.write_table(pa.table({"a": [1]}), out / name)
    else:
        (out / name).write_bytes(content)
    with pytest.raises(ShardError, match=rf"{name}: {message}"):
        ingest(config(out, survey))
