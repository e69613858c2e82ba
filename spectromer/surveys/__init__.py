"""Reading, writing and downloading the spectra of each survey; one file holds all that is known of a survey."""

from spectromer.surveys.reading import find_files, read, read_each

__all__ = ["find_files", "read", "read_each"]
