"""Errors that a user can fix. The command line prints each as one sentence; any other exception is a bug."""

import os

__all__ = [
    "ArgumentError",
    "CatalogError",
    "DependencyError",
    "DownloadError",
    "LayoutError",
    "ModelError",
    "NothingError",
    "ReadError",
    "RunError",
    "ShardError",
    "SpectromerError",
    "require",
]


class SpectromerError(ValueError):
    """Base class of errors that a user can fix.

    The message is one sentence that names the file or argument and the rule.
    """


class ArgumentError(SpectromerError):
    """An argument or an option breaks its rule."""


class DependencyError(SpectromerError):
    """A required package is not installed. The message says how to install it."""


class LayoutError(SpectromerError):
    """A file has a known layout, but its content is inconsistent."""


class ReadError(SpectromerError):
    """A file could not be read.

    Attributes
    ----------
    path : str
        Path of the file. Bytes of its name that are not valid UTF-8 are escaped.
    reason : str
        Why the file could not be read, in one sentence.
    """

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        self.path = os.fspath(path).encode("utf-8", "backslashreplace").decode("utf-8")
        self.reason = reason
        super().__init__(f"{self.path}: {reason}")

    def __reduce__(self) -> tuple[type["ReadError"], tuple[str, str]]:
        return type(self), (self.path, self.reason)


class CatalogError(SpectromerError):
    """A catalogue cannot be read, or none of its columns identifies a spectrum."""


class DownloadError(SpectromerError):
    """The spectra that a table names cannot be downloaded."""


class ShardError(SpectromerError):
    """A folder of shards is incomplete, or its files differ from those that were written."""


class ModelError(SpectromerError):
    """A model cannot be built as requested."""


class NothingError(SpectromerError):
    """A command has come to its end, but none of its inputs gave a result."""


class RunError(SpectromerError):
    """A run folder is incomplete, or one of its files is damaged or has another version."""


def require(condition: bool, message: str) -> None:
    """Raise ArgumentError with `message` unless `condition` holds."""
    if not condition:
        raise ArgumentError(message)
