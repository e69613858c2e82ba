"""The files of a folder that describe all of its shards: the index, the list of rejected files and the manifest."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

import spectromer
from spectromer.errors import ReadError, ShardError
from spectromer.files import atomic, write_rejected
from spectromer.shards.blocks import read_indexed, sums
from spectromer.shards.records import FORMAT, INDEX, MANIFEST, Record, write_manifest
from spectromer.shards.schema import INDEX_SCHEMA, index_of
from spectromer.shards.splits import name_objects
from spectromer.spectra import name_of

__all__ = ["REJECTED", "finish", "named_before"]

REJECTED = "rejected.csv"
_DESCRIBED = ("name", "rows", "bytes", "sha256", "blocks")  # of each shard, in the manifest
_NAMES = b"objects_sha256"  # the key of the checksum of the objects' names in the metadata of the index

_MEND = "`spectromer verify SHARDS --repair` writes it anew"


def named_before(out: Path) -> list[str]:
    """The names of the objects in the index of an earlier ingestion, which are kept.

    Raises
    ------
    ShardError
        When the index is damaged.
    """
    path = out / INDEX
    if not path.is_file():
        return []
    try:
        with pa.memory_map(str(path)) as file:
            table = pa.ipc.open_file(file).read_all()
        table.validate(full=True)
        names: list[str] = table["object"].to_pylist()
    except (OSError, KeyError, pa.ArrowException) as error:
        raise ShardError(f"{path}: not a whole Arrow file ({error}); {_MEND}") from error
    if (table.schema.metadata or {}).get(_NAMES) != _checksum(names):
        raise ShardError(f"{path}: it is damaged, as its checksum differs from its content's; {_MEND}")
    return names


def _checksum(names: Sequence[str]) -> bytes:
    return hashlib.sha256("\n".join(names).encode()).hexdigest().encode()


def finish(out: Path, shards: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Write the files that describe all shards: the index, the list of rejected files and finally the manifest."""
    records = [record for i in range(shards) if (record := Record.read(out, i)) is not None]
    tables = [read_indexed(out / record.name, record.index) for record in records]
    rows = pa.concat_tables(tables) if tables else INDEX_SCHEMA.empty_table()
    given = rows["object"].to_pylist()
    named = named_before(out)
    given = named + given[len(named) :]
    ra, dec = (rows[name].to_numpy() for name in ("ra", "dec"))
    columns = (rows[name].to_pylist() for name in ("survey", "object_id", "path"))
    # Files of one's own, which no survey numbers, may have the same name in several folders.
    names = [name_of(survey, identity) if survey else path for survey, identity, path in zip(*columns, strict=True)]
    objects = name_objects(ra, dec, given, names)
    if objects != named:
        (out / MANIFEST).unlink(missing_ok=True)  # until the end, it would contradict the index
    index = index_of(rows, objects).replace_schema_metadata({**INDEX_SCHEMA.metadata, _NAMES: _checksum(objects)})
    with atomic(out / INDEX) as part:
        with pa.OSFile(str(part), "wb") as sink, pa.ipc.new_file(sink, index.schema) as writer:
            writer.write_table(index)
        index_sums = sums(part)
    rejected = [ReadError(path, reason) for record in records for path, reason in record.rejected]
    write_rejected(rejected, out / REJECTED)

    def total(name: str) -> dict[str, int]:
        return dict(sorted(sum((Counter(getattr(record, name)) for record in records), Counter()).items()))

    manifest = {
        "format": FORMAT,
        "spectromer": spectromer.__version__,
        "pyarrow": pa.__version__,
        "spectra": len(rows),
        "objects": len(set(objects)),
        "surveys": total("surveys"),
        "classes": total("classes"),
        "sources": sum(record.sources for record in records),
        "rejected": len(rejected),
        "left_out": total("left_out"),
        "settings": settings,
        "shards": [{name: getattr(record, name) for name in _DESCRIBED} for record in records],
        "index": index_sums,
    }
    write_manifest(manifest, out)
    return manifest
