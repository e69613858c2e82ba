"""Reading, writing and downloading the spectra of each survey. Each survey has one module."""

from spectromer.surveys.reading import Skipped, find_files, read, read_each
from spectromer.surveys.survey import Survey, survey_named, surveys

__all__ = ["Skipped", "Survey", "find_files", "read", "read_each", "survey_named", "surveys"]
