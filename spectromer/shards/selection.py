"""The criteria for the spectra in shards, and the limits for their files.

The command line parser imports this module, so it has no heavy imports.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["EVERYTHING", "LIMITS", "Limits", "Selection"]


@dataclass(frozen=True)
class Selection:
    """The criteria for the spectra that are kept."""

    surveys: tuple[str, ...] = ()
    """Surveys whose spectra are kept, such as SDSS, LAMOST and DESI; by default all."""
    classes: tuple[str, ...] = ()
    """Classes whose spectra are kept: STAR, GALAXY, QSO; by default all, including spectra without a class."""
    min_snr: float | None = None
    """Minimum median S/N per pixel of the spectra that are kept; by default there is none."""
    trusted: bool = False
    """Keep only spectra with a reliable class: no sky fibres, no class Unknown, no ZWARNING."""

    @classmethod
    def of(cls, saved: Mapping[str, Any]) -> "Selection":
        """The selection that was saved as JSON, which has lists for tuples."""
        options: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in saved.items()}
        return cls(**options)


EVERYTHING = Selection()


@dataclass(frozen=True)
class Limits:
    """The time and the memory that the reading of a file may take.

    Attributes
    ----------
    seconds : float
        The time for each spectrum of the file.
    memory : int
        The memory in MiB, of a child process beyond that of its supervisor.
    """

    seconds: float = 60.0
    memory: int = 4096


LIMITS = Limits()
