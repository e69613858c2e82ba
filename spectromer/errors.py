"""Every error that a user can mend. The command line turns these into one sentence; anything else is a bug of ours."""

import os

__all__ = [
    "ArgumentError",
    "CatalogError",
    "DependencyError",
    "DownloadError",
    "LayoutError",
    "ModelError",
    "ReadError",
    "RunError",
    "ShardError",
    "SpectromerError",
    "require",
]


class SpectromerError(ValueError):
    """Something that a user can mend; the message is one sentence that names the file or argument and the rule."""


class ArgumentError(SpectromerError):
    """An argument or an option breaks its rule."""


class DependencyError(SpectromerError):
    """A package is needed that is not installed; the message says how to install it."""


class LayoutError(SpectromerError):
    """A file has a known layout, but its content does not hold together."""


class ReadError(SpectromerError):
    """A file could not be read.

    Attributes
    ----------
    path : str
    reason : str
        One sentence.
    """

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        self.path = os.fspath(path)
        self.reason = reason
        super().__init__(f"{self.path}: {reason}")

    def __reduce__(self) -> tuple[type["ReadError"], tuple[str, str]]:
        return type(self), (self.path, self.reason)


class CatalogError(SpectromerError):
    """A catalogue cannot be read, or no column of it names a spectrum."""


class DownloadError(SpectromerError):
    """The spectra that a table names cannot be downloaded."""


class ShardError(SpectromerError):
    """A folder of shards is not finished, or its files are not those that were written."""


class ModelError(SpectromerError):
    """A model cannot be made as asked."""


class RunError(SpectromerError):
    """A run folder is not finished, or a file in it is damaged or of another version."""


def require(condition: bool, message: str) -> None:
    """Raise ArgumentError with `message` unless `condition` holds."""
    if not condition:
        raise ArgumentError(message)
