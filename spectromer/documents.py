"""JSON documents with a schema version, which are read and written as dataclasses."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from spectromer.errors import ArgumentError, RunError
from spectromer.files import atomic

if TYPE_CHECKING:
    from pydantic import ValidationError

__all__ = [
    "SCHEMA",
    "convert_first",
    "json_object",
    "load_json",
    "parse_document",
    "parse_fields",
    "parse_json",
    "shorten",
    "write_document",
]

#: Version of the documents that are written. Version 1 had no number; it is converted when it is read. Version 2 may
#: lack keys that have a default.
SCHEMA = 3
T = TypeVar("T")


def write_document(file: Path, document: Any) -> None:
    """Write a dataclass as a JSON document with the version of its schema."""
    from pydantic import TypeAdapter

    saved = {"schema": SCHEMA, **TypeAdapter(type(document)).dump_python(document, mode="json")}
    with atomic(file) as part:
        part.write_text(json.dumps(saved, indent=2) + "\n")


def parse_document(
    file: Path, saved: Any, kind: type[T], convert: Callable[[dict[str, Any]], dict[str, Any]] | None = None
) -> T:
    """Convert a JSON document to a dataclass. Its version, keys, types and ranges of values are checked.

    Parameters
    ----------
    file : Path
        The file that holds the document.
    saved
        The document.
    kind : type
        The dataclass.
    convert : callable, optional
        Converts version 1 of the document. Without it, version 1 has the same keys as the present version.

    Raises
    ------
    RunError
        If the document breaks a rule.
    """
    saved = dict(json_object(file, "the document", saved))
    version = saved.pop("schema", 1)
    if type(version) is not int or not 1 <= version <= SCHEMA:
        raise RunError(f"{file}: its schema is of version {version!r}, and this Spectromer reads 1 to {SCHEMA}")
    if version == 1 and convert is not None:
        saved = convert_first(file, saved, convert)
    return parse_fields(file, saved, kind, complete=version == SCHEMA)


def parse_fields(file: Path, saved: dict[str, Any], kind: type[T], complete: bool = True) -> T:
    """Convert a JSON object that `file` holds to a dataclass. Its keys, types and ranges of values are checked.

    With `complete`, every key must be there. Otherwise those that have a default may be missing.

    Raises
    ------
    RunError
        If the object breaks a rule.
    """
    from pydantic import TypeAdapter, ValidationError

    adapter = TypeAdapter(kind)
    try:
        document = adapter.validate_json(json.dumps(saved), strict=True)
    except ValidationError as error:
        raise RunError(f"{file}: {_sentence(error, saved)}") from error
    missing = _missing(adapter.dump_python(document, mode="json"), saved)
    if complete and missing:
        raise RunError(f"{file}: {missing} is missing")
    return document


def parse_json(file: Path, text: str) -> Any:
    """Parse the JSON text of `file`.

    Raises
    ------
    RunError
        If it is not JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RunError(f"{file}: it is not readable as JSON ({error})") from error


def load_json(file: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    RunError
        If it cannot be read, or is not JSON.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{file}: it is not readable as text ({error})") from error
    return parse_json(file, text)


def convert_first(
    file: Path, saved: dict[str, Any], convert: Callable[[dict[str, Any]], dict[str, Any]]
) -> dict[str, Any]:
    """Convert version 1 of a document.

    Raises
    ------
    RunError
        If it lacks a key of version 1, or a value breaks a rule.
    """
    try:
        return convert(saved)
    except KeyError as error:
        raise RunError(f"{file}: it has neither a schema nor {error.args[0]}, which version 1 has") from error
    except ArgumentError as error:
        raise RunError(f"{file}: {error}") from error


def json_object(file: Path, name: str, found: Any) -> dict[str, Any]:
    """Return `found`, which must be a JSON object."""
    if not isinstance(found, dict):
        raise RunError(f"{file}: {name} must be a JSON object, got {shorten(found)}")
    return found


def shorten(value: Any) -> str:
    """Represent a value in a message, with at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _sentence(error: "ValidationError", saved: dict[str, Any]) -> str:
    """Describe the first fault that pydantic found in the document `saved`."""
    faults = error.errors(include_url=False)
    first = faults[0]
    if first["type"] in ("unexpected_keyword_argument", "missing"):
        name = ".".join(str(part) for part in first["loc"])
        return f"{shorten(name)[1:-1]} is {'missing' if first['type'] == 'missing' else 'not one of its keys'}"
    where = _place(first["loc"], saved)
    # A value that may be of several types has a fault for each of them.
    here = (str(fault["msg"]).removeprefix("Value error, ") for fault in faults if _place(fault["loc"], saved) == where)
    message = ", or ".join(dict.fromkeys(f"{text[0].lower()}{text[1:]}" for text in here))
    name = f"{'.'.join(where)}: " if where else ""
    return f"{name}{message}" + ("" if "got" in message else f", got {shorten(first['input'])}")


def _place(loc: tuple[int | str, ...], saved: Any) -> list[str]:
    """The keys that lead to a fault. Pydantic lists the types of a union among them."""
    keys = []
    for part in loc:
        try:
            saved = saved[part]
        except (LookupError, TypeError):
            break
        keys.append(str(part))
    return keys


def _missing(wanted: Any, saved: Any, where: str = "") -> str:
    """The first key of `wanted` that `saved` lacks, with the keys above it. Empty if there is none."""
    if not isinstance(wanted, dict) or not isinstance(saved, dict):
        return ""
    for key, value in wanted.items():
        if key not in saved:
            return f"{where}{key}"
        if found := _missing(value, saved[key], f"{where}{key}."):
            return found
    return ""
