"""The criteria for the spectra in shards. Without heavy imports, as the command line parser imports this module."""

from dataclasses import dataclass

__all__ = ["EVERYTHING", "Selection"]


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


EVERYTHING = Selection()
