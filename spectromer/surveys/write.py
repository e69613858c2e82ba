"""Writing of spectra as survey files that this package can read, for experiments and tests."""

import csv
import os
from collections.abc import Iterable
from pathlib import Path

from spectromer.spectra import Spectrum
from spectromer.surveys.survey import survey_named

__all__ = ["write_survey"]

_CATALOGUE = ("path", "survey", "class", "subclass", "z", "ra", "dec", "teff", "logg", "feh")


def write_survey(spectra: Iterable[Spectrum], folder: str | os.PathLike[str]) -> Path:
    """Write spectra as files named in the style of their surveys, and catalog.csv in the same folder.

    Parameters
    ----------
    spectra : iterable of Spectrum
        Spectra of surveys that have a writer, such as SDSS and LAMOST.
    folder : path-like
        The folder for the files. It is created if it does not exist.

    Returns
    -------
    Path
        The catalogue, which can be passed as `--data`.

    Raises
    ------
    ArgumentError
        When a survey has no writer, or its layout cannot store the spectrum.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "catalog.csv"
    with path.open("w", newline="") as file:
        catalogue = csv.DictWriter(file, _CATALOGUE, restval="", extrasaction="ignore")
        catalogue.writeheader()
        for spectrum in spectra:
            survey = survey_named(spectrum.survey)
            name = survey.file_name(spectrum.id)
            survey.write(spectrum, folder / name)
            catalogue.writerow({"path": name, "survey": spectrum.survey} | spectrum.labels)
    return path
