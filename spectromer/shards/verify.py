"""Verification of a folder of shards against its checksums, and repair from the sources."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.progress import track

from spectromer.errors import ShardError, SpectromerError
from spectromer.files import alone, printable
from spectromer.shards.blocks import places_of, read_block, read_index, read_indexed, sha256_of, sums
from spectromer.shards.finish import finish
from spectromer.shards.plan import PLAN, is_file, read_plan
from spectromer.shards.records import (
    INDEX,
    MANIFEST,
    SETTINGS,
    Record,
    indexed_path,
    read_manifest,
    read_settings,
    shard_path,
)
from spectromer.shards.selection import LIMITS, Selection
from spectromer.shards.workers import executor, make_shard

__all__ = ["Verified", "verify"]

_REPAIRS = ".repair"  # the folder in which shards are made again
_NAMED = 5  # missing sources that a message names


@dataclass
class Verified:
    """The result of a verification.

    Attributes
    ----------
    shards, spectra, bytes : int
        The numbers of shards and spectra, and the size of the shards.
    damaged : dict
        The damage to each file, by its name.
    repaired : list of str
        The files that were made again.
    lost : dict
        Why a file could not be repaired, by its name.
    """

    shards: int = 0
    spectra: int = 0
    bytes: int = 0
    damaged: dict[str, str] = field(default_factory=dict)
    repaired: list[str] = field(default_factory=list)
    lost: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def noting(self, name: str) -> Iterator[None]:
        """Note an error as damage to the file with this name."""
        try:
            yield
        except (SpectromerError, OSError) as error:
            self.damaged.setdefault(name, str(error))


def verify(folder: Path, repair: bool = False, progress: bool = True) -> Verified:
    """Read all files in a folder of shards, and compare them with their checksums.

    Parameters
    ----------
    folder : Path
        The folder of a finished ingestion.
    repair : bool
        If true, damaged shards are made again from their sources. A shard is replaced only if the new one is the same
        as the old one was before it was damaged, byte for byte.
    progress : bool
        If true, a progress bar is shown.

    Raises
    ------
    ShardError
        When the folder holds no shards, or when an ingestion is at work there.
    """
    if not (folder / MANIFEST).is_file() and not (folder / SETTINGS).is_file():
        raise ShardError(f"{folder}: it holds neither {MANIFEST} nor {SETTINGS}, so that it is no folder of shards")
    found = Verified()
    manifest: dict[str, Any] | None = None
    with found.noting(MANIFEST):
        manifest = read_manifest(folder)
    if manifest is not None and manifest["format"] == 1:
        return _verify_first(folder, manifest, found)
    settings, plan = _begin(folder, found)
    shards = {shard["name"]: shard for shard in manifest["shards"]} if manifest is not None else {}
    count = len(plan) if plan is not None else len(shards)
    if manifest is not None and len(shards) != count:
        found.damaged[MANIFEST] = f"{folder / MANIFEST}: it has {len(shards)} shards, the plan {count}"
    for number in track(range(count), "verifying") if progress else range(count):
        _verify_shard(folder, number, shards.get(shard_path(folder, number).name), found)
    if manifest is not None:
        _verify_index(folder, manifest, found)
    if repair and found.damaged:
        _repair(folder, found, settings, plan, shards)
    return found


def _verify_first(folder: Path, manifest: dict[str, Any], found: Verified) -> Verified:
    """Compare the shards of format 1 with the manifest, which has their SHA-256."""
    for shard in manifest["shards"]:
        with found.noting(shard["name"]):
            for place in places_of(folder, shard):
                read_block(place)
            _check_sha256(folder / shard["name"], shard["sha256"])
        found.shards, found.spectra = found.shards + 1, found.spectra + shard["rows"]
        found.bytes += shard["bytes"]
    with found.noting(INDEX):
        read_index(folder / INDEX, None)
    found.lost |= dict.fromkeys(found.damaged, "shards of format 1 cannot be repaired; ingest into another folder")
    return found


def _begin(folder: Path, found: Verified) -> tuple[dict[str, Any] | None, list[list[str]] | None]:
    """Check the settings, the plan and the prepared catalogues. Returns the first two; None if they are damaged."""
    settings, plan = None, None
    with found.noting(SETTINGS):
        settings = read_settings(folder)
        if settings is None:
            raise ShardError(f"{folder / SETTINGS}: no such file")
    with found.noting(PLAN):
        plan = read_plan(folder)
    for i, (_, sha256) in enumerate(settings["catalogs"] if settings is not None else []):
        name = f"catalog-{i}.arrow"
        with found.noting(name):
            _check_sha256(folder / name, sha256)
    return settings, plan


def _check_sha256(path: Path, sha256: str) -> None:
    if sha256_of(path) != sha256:
        raise ShardError(f"{path}: it is damaged, as its checksum differs from its content's")


def _verify_shard(folder: Path, number: int, shard: dict[str, Any] | None, found: Verified) -> None:
    """Check a shard, its rows without pixels, its record, and its entry in the manifest, which may be None."""
    name = shard_path(folder, number).name
    with found.noting(name):
        record = Record.read(folder, number)
        if record is None:
            raise ShardError(f"{folder / name}: the shard or its record is missing, or its size differs")
        described = vars(record)
        if shard is not None and any(described[key] != value for key, value in shard.items()):
            raise ShardError(f"{folder / name}: its record differs from the manifest")
        for place in places_of(folder, described):
            read_block(place)
        _check_sha256(folder / name, record.sha256)
        rows = len(read_indexed(folder / name, record.index))
        if rows != record.rows:
            raise ShardError(f"{indexed_path(folder / name)}: it has {rows} rows, the shard {record.rows}")
        found.shards, found.spectra, found.bytes = found.shards + 1, found.spectra + rows, found.bytes + record.bytes


def _verify_index(folder: Path, manifest: dict[str, Any], found: Verified) -> None:
    """Check the index, and the counts in the manifest."""
    with found.noting(INDEX):
        index = read_index(folder / INDEX, manifest["index"])
        rows = sum(shard["rows"] for shard in manifest["shards"])
        if not len(index) == manifest["spectra"] == rows == sum(manifest["surveys"].values()):
            raise ShardError(f"{folder / INDEX}: its {len(index)} rows and the counts of the manifest differ")
        if len(set(index["object"].to_pylist())) != manifest["objects"]:
            raise ShardError(f"{folder / INDEX}: the number of its objects is not that of the manifest")


def _repair(
    folder: Path,
    found: Verified,
    settings: dict[str, Any] | None,
    plan: list[list[str]] | None,
    shards: dict[str, dict[str, Any]],
) -> None:
    """Make damaged shards again from their sources, and then the files that describe all shards."""
    if settings is None or plan is None or any(name.startswith("catalog-") for name in found.damaged):
        why = "the settings, the plan or a catalogue is damaged; ingest into another folder"
        found.lost |= dict.fromkeys(found.damaged, why)
        return
    with alone(folder, "ingestion"):
        for number, sources in enumerate(plan):
            name = shard_path(folder, number).name
            if name in found.damaged:
                _make_again(folder, number, sources, settings, shards.get(name), found)
        if found.lost:
            return
        if INDEX in found.damaged:
            (folder / INDEX).unlink(missing_ok=True)
        before = sums(folder / INDEX) if (folder / INDEX).is_file() else None
        manifest = finish(folder, len(plan), settings)
        found.repaired += [name for name in (INDEX, MANIFEST) if name in found.damaged]
        if before is not None and before != manifest["index"]:
            found.repaired.append(INDEX)


def _make_again(
    folder: Path,
    number: int,
    sources: list[str],
    settings: dict[str, Any],
    shard: dict[str, Any] | None,
    found: Verified,
) -> None:
    """Make a shard again beside the damaged one, and replace that if the new one is what it was."""
    name = shard_path(folder, number).name
    record = None
    with found.noting(name):
        record = Record.read_any(folder, number)
    rejected = {path for path, _ in record.rejected} if record is not None else set()
    files = [source for source in sources if is_file(source) and printable(source) not in rejected]
    missing = [printable(file) for file in files if not os.path.exists(file)]
    if missing:
        others = f" and {len(missing) - _NAMED} others" if len(missing) > _NAMED else ""
        found.lost[name] = f"these sources are missing: {', '.join(missing[:_NAMED])}{others}"
        return
    beside = folder / _REPAIRS
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    try:
        catalogs = [folder / f"catalog-{i}.arrow" for i in range(len(settings["catalogs"]))]
        select = Selection.of(settings["select"])
        with executor(1, None) as pool:
            pool.submit(make_shard, beside, number, sources, catalogs, select, LIMITS).result()
        made = Record.read(beside, number)
        assert made is not None
        wanted = shard["sha256"] if shard is not None else record.sha256 if record is not None else made.sha256
        if made.sha256 != wanted:
            found.lost[name] = "its sources have changed: made again, it differs from what it was"
            return
        new = shard_path(beside, number)
        for path in (new, indexed_path(new), new.with_suffix(".json")):  # the record last
            os.replace(path, folder / path.name)
        found.repaired.append(name)
    except SpectromerError as error:
        found.lost[name] = str(error)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
