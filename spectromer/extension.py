"""The compiled extension; an ImportError that says what to do where it is missing."""

try:
    from spectromer import _C
except ImportError as error:
    raise ImportError(
        "spectromer's compiled extension was not found; install the package with `pip install .` from its source "
        f"folder ({error})"
    ) from error

__all__ = ["_C"]
