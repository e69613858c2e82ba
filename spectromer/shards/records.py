"""The files in a folder of shards other than the shards themselves, and the schemas of the JSON files among them.

Format 2 has checksums: each JSON file of its own content, and the manifest of the index and of every block.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spectromer.errors import ShardError
from spectromer.files import atomic

__all__ = [
    "FORMAT",
    "INDEX",
    "MANIFEST",
    "SETTINGS",
    "Record",
    "catalog_path",
    "indexed_path",
    "read_manifest",
    "read_settings",
    "shard_path",
    "write_manifest",
    "write_settings",
]

FORMAT = 2
MANIFEST, INDEX, SETTINGS = "manifest.json", "index.arrow", "settings.json"

_CHECKSUM = "checksum"
_COUNTS = {str: int}  # an object of whole numbers under any keys
_SUM = {"bytes": int, "crc32": int}  # the size and the checksum of a file
_FIRST_SHARD = {"name": str, "rows": int, "bytes": int, "sha256": str}
_SHARD = _FIRST_SHARD | {"blocks": [[int]]}  # of each block its offset in the file, its size and its CRC-32
_FIRST_SETTINGS = {"select": {str: object}, "shard_size": int, "simulated": [int], "catalogs": [[str]]}
_SETTINGS = {"format": int} | _FIRST_SETTINGS
_FIRST_MANIFEST = {
    "format": int,
    "spectromer": str,
    "pyarrow": str,
    "spectra": int,
    "objects": int,
    "surveys": _COUNTS,
    "classes": _COUNTS,
    "sources": int,
    "rejected": int,
    "left_out": _COUNTS,
    "settings": _FIRST_SETTINGS,
    "shards": [_FIRST_SHARD],
}
_MANIFEST = _FIRST_MANIFEST | {"settings": _SETTINGS, "shards": [_SHARD], "index": _SUM}
_RECORD = _SHARD | {
    "sources": int,
    "surveys": _COUNTS,
    "classes": _COUNTS,
    "left_out": _COUNTS,
    "rejected": [[str]],
    "index": _SUM,
}
_KINDS = {int: "a whole number", str: "a text"}


def _wrong(value: Any, shape: Any, where: str) -> str | None:
    """A sentence that says why a JSON value does not match a schema; None if it matches.

    A schema is a type, a list of one schema for all items, or a dict of schemas by key. The key `str` stands for any
    key.
    """
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{where} must be a list"
        return next((why for i, item in enumerate(value) if (why := _wrong(item, shape[0], f"{where}[{i}]"))), None)
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return f"{where} must be an object"
        if str in shape:
            shape = dict.fromkeys(value, shape[str])
        for name in shape.keys() ^ value.keys():
            return f"{where} lacks the key {name!r}" if name in shape else f"{where} has the unknown key {name!r}"
        return next(
            (why for name, kind in shape.items() if (why := _wrong(value[name], kind, f"{where}.{name}"))), None
        )
    if not isinstance(value, shape) or (shape is int and (isinstance(value, bool) or value < 0)):
        return f"{where} must be {_KINDS[shape]}"
    return None


def _checksum(content: Mapping[str, Any]) -> str:
    """The SHA-256 of JSON content, in a form that does not depend on the order of keys or on blanks."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _read(path: Path, shape: Mapping[str, Any], mend: str, first: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Read a JSON file that must match a schema. The error message ends with `mend`, a remedy for the user.

    `first` is the schema of format 1, if that can be read. It has no checksum.

    Raises
    ------
    ShardError
        When the file is missing, is not JSON, is damaged, or does not match the schema.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ShardError(f"{path}: not a whole JSON file ({error}); {mend}") from error
    saved = content.pop(_CHECKSUM, None) if isinstance(content, dict) else None
    version = FORMAT
    if isinstance(content, dict):
        version = content.get("format", 1 if saved is None else FORMAT)  # settings and records of format 1 lack it
    if first is not None and version == 1 and saved is None:
        shape = first
    elif version != FORMAT:
        raise ShardError(f"{path}: format {version!r} is not {FORMAT}, that of this version of Spectromer; {mend}")
    elif isinstance(content, dict) and saved != _checksum(content):
        raise ShardError(f"{path}: it is damaged, as its checksum differs from its content's; {mend}")
    why = _wrong(content, dict(shape), path.stem)
    if why is not None:
        raise ShardError(f"{path}: {why}; {mend}")
    found: dict[str, Any] = content
    return found


def _write(content: Mapping[str, Any], path: Path, indent: int | None) -> None:
    text = json.dumps({**content, _CHECKSUM: _checksum(content)}, indent=indent)
    with atomic(path) as part:
        part.write_text(text + ("\n" if indent else ""))


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read manifest.json, which describes the shards in a folder, in format 2 or 1.

    Raises
    ------
    ShardError
        When the manifest is missing, damaged or of another version.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise ShardError(f"{folder} holds no {MANIFEST}: its ingestion has not come to an end")
    mend = "give the command of the ingestion again, which writes it anew"
    manifest = _read(path, _MANIFEST, mend, _FIRST_MANIFEST)
    for shard in manifest["shards"]:
        if Path(shard["name"]).name != shard["name"]:
            raise ShardError(f"{path}: {shard['name']!r} is not the name of a file in its folder")
        if any(len(block) != 3 for block in shard.get("blocks", [])):
            raise ShardError(
                f"{path}: the blocks of {shard['name']} must have an offset, a size and a checksum; {mend}"
            )
    return manifest


def write_manifest(manifest: Mapping[str, Any], folder: Path) -> None:
    """Write manifest.json atomically."""
    _write(manifest, folder / MANIFEST, 1)


def read_settings(folder: Path) -> dict[str, Any] | None:
    """The settings with which a folder was begun; None for a new folder.

    Raises
    ------
    ShardError
        When settings.json is damaged or of another version.
    """
    path = folder / SETTINGS
    return _read(path, _SETTINGS, "name another folder") if path.is_file() else None


def write_settings(settings: Mapping[str, Any], folder: Path) -> None:
    """Write settings.json atomically."""
    _write(settings, folder / SETTINGS, 1)


def shard_path(folder: Path, shard: int) -> Path:
    """The path of the shard with the given number."""
    return folder / f"shard-{shard:05d}.arrow"


def catalog_path(folder: Path, number: int) -> Path:
    """The path of the prepared catalogue with the given number."""
    return folder / f"catalog-{number}.arrow"


def indexed_path(shard: Path) -> Path:
    """The path of the rows of a shard without their pixels. Its name does not fit the pattern shard-*.arrow."""
    return shard.with_name(shard.name.replace("shard-", "index-", 1))


@dataclass
class Record:
    """The description of a finished shard, in a JSON file. A shard without a record is not finished.

    Attributes
    ----------
    name : str
        The name of the shard's file.
    rows, bytes : int
        The number of spectra, and the size of the file.
    sha256 : str
        The checksum of the file, in hexadecimal digits.
    blocks : list of [int, int, int]
        The offset, the size and the CRC-32 of each block in the file.
    index : dict
        The size and the CRC-32 of the file of the rows without pixels.
    sources : int
        The number of sources of the shard.
    surveys, classes, left_out : Counter
        The numbers of spectra by survey and by class, and of the spectra left out by reason.
    rejected : list of (str, str)
        The files that could not be read, with reasons.
    """

    name: str = ""
    rows: int = 0
    bytes: int = 0
    sha256: str = ""
    blocks: list[list[int]] = field(default_factory=list)
    index: dict[str, int] = field(default_factory=dict)
    sources: int = 0
    surveys: Counter[str] = field(default_factory=Counter)
    classes: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    rejected: list[tuple[str, str]] = field(default_factory=list)

    @classmethod
    def read(cls, folder: Path, shard: int) -> "Record | None":
        """The record of a shard; None if the shard is not finished, or if its file has changed since.

        Raises
        ------
        ShardError
            When the record is damaged or of another version.
        """
        path, found = shard_path(folder, shard), cls.read_any(folder, shard)
        return found if found is not None and path.is_file() and path.stat().st_size == found.bytes else None

    @classmethod
    def read_any(cls, folder: Path, shard: int) -> "Record | None":
        """The record of a shard, whatever has become of its file; None if there is no record.

        Raises
        ------
        ShardError
            When the record is damaged or of another version.
        """
        path = shard_path(folder, shard).with_suffix(".json")
        return cls(**_read(path, _RECORD, "remove it, and the shard is made again")) if path.is_file() else None

    def write(self, folder: Path, shard: int) -> None:
        """Write the record atomically. The shard is then finished."""
        _write(vars(self), shard_path(folder, shard).with_suffix(".json"), None)
