"""The files in a folder of shards other than the shards themselves, and the schemas of the JSON files among them."""

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
    "Record",
    "read_manifest",
    "read_settings",
    "shard_path",
    "write_manifest",
    "write_settings",
]

FORMAT = 1
MANIFEST, INDEX, SETTINGS = "manifest.json", "index.arrow", "settings.json"

_COUNTS = {str: int}  # an object of whole numbers under any keys
_SHARD = {"name": str, "rows": int, "bytes": int, "sha256": str}
_SETTINGS = {"select": {str: object}, "shard_size": int, "simulated": [int], "catalogs": [[str]]}
_MANIFEST = {
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
    "settings": _SETTINGS,
    "shards": [_SHARD],
}
_RECORD = _SHARD | {"sources": int, "surveys": _COUNTS, "classes": _COUNTS, "left_out": _COUNTS, "rejected": [[str]]}
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


def _read(path: Path, shape: Mapping[str, Any], mend: str) -> dict[str, Any]:
    """Read a JSON file that must match a schema. The error message ends with `mend`, a remedy for the user.

    Raises
    ------
    ShardError
        When the file is missing, is not JSON, or does not match the schema.
    """
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ShardError(f"{path}: not a whole JSON file ({error}); {mend}") from error
    if isinstance(content, dict) and "format" in shape and content.get("format", FORMAT) != FORMAT:
        raise ShardError(
            f"{path}: format {content['format']!r} is not {FORMAT}, which this version of Spectromer reads"
        )
    why = _wrong(content, dict(shape), path.stem)
    if why is not None:
        raise ShardError(f"{path}: {why}; {mend}")
    found: dict[str, Any] = content
    return found


def _write(content: Mapping[str, Any], path: Path, indent: int | None) -> None:
    with atomic(path) as part:
        part.write_text(json.dumps(content, indent=indent) + ("\n" if indent else ""))


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read manifest.json, which describes the shards in a folder.

    Raises
    ------
    ShardError
        When the manifest is missing, damaged or of another version.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise ShardError(f"{folder} holds no {MANIFEST}: its ingestion has not come to an end")
    manifest = _read(path, _MANIFEST, "remove it and give the command of the ingestion again")
    for shard in manifest["shards"]:
        if Path(shard["name"]).name != shard["name"]:
            raise ShardError(f"{path}: {shard['name']!r} is not the name of a file in its folder")
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
        path = shard_path(folder, shard)
        record = path.with_suffix(".json")
        if not record.is_file():
            return None
        found = cls(**_read(record, _RECORD, "remove it, and the shard is made again"))
        return found if path.is_file() and path.stat().st_size == found.bytes else None

    def write(self, folder: Path, shard: int) -> None:
        """Write the record atomically. The shard is then finished."""
        _write(vars(self), shard_path(folder, shard).with_suffix(".json"), None)
