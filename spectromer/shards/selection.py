"""Which spectra are brought into shards; free of heavy imports, as the command line reads it before any work."""

from dataclasses import dataclass

__all__ = ["EVERYTHING", "Selection"]


@dataclass(frozen=True)
class Selection:
    """Which spectra are kept."""

    surveys: tuple[str, ...] = ()
    """Surveys whose spectra are kept, such as SDSS, LAMOST and DESI; by default all."""
    classes: tuple[str, ...] = ()
    """Classes of which spectra are kept: STAR, GALAXY, QSO; by default all, and spectra without a class."""
    min_snr: float | None = None
    """Lowest median S/N per pixel of the spectra that are kept; by default any."""
    trusted: bool = False
    """Keep only spectra whose class is worth learning from: no sky fibres, no class Unknown, no ZWARNING."""


EVERYTHING = Selection()
