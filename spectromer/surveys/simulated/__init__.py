"""Simulated spectra: stars, galaxies and quasars as SDSS and LAMOST would see them.

Each module begins with its tables of lines and their sources. atmospheres.py has the spectra of normal stars, stars.py
their population, and dwarfs.py compact and peculiar stars. galaxies.py and quasars.py have the other classes, and
absorption.py the absorbers in front of quasars. sky.py has the interstellar medium and the atmosphere, and
instrument.py each survey's grid, throughput, masks and calibration errors. The spectra depend only on the arguments of
`simulate`. Wavelengths are vacuum wavelengths in Angstrom, unless they are called air wavelengths. Widths of lines are
in Angstrom or km/s, as stated. Temperatures are in K.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from spectromer.errors import ArgumentError
from spectromer.spectra import Spectrum
from spectromer.surveys.simulated.draw import Draw
from spectromer.surveys.simulated.galaxies import draw_galaxies
from spectromer.surveys.simulated.instrument import SPECTROGRAPHS, Spectrograph, observe
from spectromer.surveys.simulated.quasars import draw_quasars
from spectromer.surveys.simulated.stars import draw_stars
from spectromer.surveys.survey import survey_named

__all__ = ["CHUNK", "simulate"]

CHUNK = 256  # objects simulated at a time
_CLASSES = {"STAR": 0.45, "GALAXY": 0.33, "QSO": 0.22}


def _chunk(spectrograph: Spectrograph, seed: int, number: int) -> list[Spectrum]:
    """The spectra of one chunk of a survey, [CHUNK]; chunks are counted from 0."""
    survey = survey_named(spectrograph.survey)
    draw = Draw(seed, list(SPECTROGRAPHS).index(spectrograph.survey), number)
    wavelength = torch.from_numpy(10.0**spectrograph.loglam)
    wave = wavelength.to(torch.float32)
    classes = draw.choice(_CLASSES, CHUNK)
    flux = torch.empty(CHUNK, spectrograph.pixels)
    labels: list[dict[str, Any]] = [{}] * CHUNK
    for name in _CLASSES:
        index = np.flatnonzero(classes == name)
        if not len(index):
            continue
        grid = wave.expand(len(index), -1)
        if name == "STAR":
            drawn, rows = draw_stars(grid, draw, len(index), spectrograph.survey)
        elif name == "GALAXY":
            drawn, rows = draw_galaxies(grid, draw, len(index), spectrograph.redshift_reach)
        else:
            drawn, rows = draw_quasars(grid, draw, len(index))
        flux[torch.from_numpy(index)] = drawn
        for i, row in zip(index.tolist(), rows, strict=True):
            labels[i] = row
    flux, ivar = observe(flux, labels, spectrograph, wave, draw)
    ra, dec = draw.rng.uniform(0, 360, CHUNK), np.degrees(np.arcsin(draw.rng.uniform(-0.1, 0.9, CHUNK)))
    spectra = []
    for i in range(CHUNK):
        known = labels[i] | {"ra": float(ra[i]), "dec": float(dec[i]), **spectrograph.labels}
        name = survey.simulated_id(number * CHUNK + i)
        spectrum = Spectrum(flux[i], ivar[i], wavelength, survey.name, name, known)
        spectrum.labels["snr"] = spectrum.snr
        spectra.append(spectrum)
    return spectra


def simulate(
    count: int, *, seed: int = 0, surveys: tuple[str, ...] = ("SDSS", "LAMOST"), first: int = 0
) -> Iterator[Spectrum]:
    """Simulate spectra, alternating between surveys in chunks.

    Parameters
    ----------
    count : int
        The number of spectra.
    seed : int
        The seed of all random numbers. A longer series with the same seed begins with the objects of a shorter one.
    surveys : tuple of str
        Some of "SDSS" (3570 to 10340 A, 4620 pixels) and "LAMOST" (3700 to 9100 A, 3909 pixels).
    first : int
        The number of spectra that are skipped at the beginning of the series.

    Yields
    ------
    Spectrum
        All spectra have the labels class, subclass, z, snr, ra and dec. Those of SDSS also have zwarning, and stars of
        the types O to M also have teff, logg and feh. On average 45 % are stars, 33 % galaxies and 22 % quasars.

    Raises
    ------
    ArgumentError
        When a survey cannot be simulated.
    """
    for name in surveys:
        if name not in SPECTROGRAPHS:
            raise ArgumentError(f"surveys must be some of {', '.join(SPECTROGRAPHS)}; got {name!r}")
    end = first + count
    while first < end:
        turn = first // CHUNK
        spectrograph = SPECTROGRAPHS[surveys[turn % len(surveys)]]
        chunk = _chunk(spectrograph, seed, turn // len(surveys))
        rows = chunk[first - turn * CHUNK : end - turn * CHUNK]
        yield from rows
        first += len(rows)
