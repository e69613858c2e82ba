"""What the tests of survey files share: comparing spectra, and reading them by astropy."""

import warnings
from pathlib import Path

import pytest
import torch
from astropy.io import fits

from spectromer import Spectrum
from spectromer.surveys import reading
from spectromer.surveys.fits import astropy_hdus

WITHOUT_CATALOGUE = ("teff", "logg", "feh")  # survey files do not hold them


def equal(found: Spectrum, made: Spectrum) -> None:
    assert torch.equal(found.flux, made.flux) and torch.equal(found.ivar, made.ivar)
    torch.testing.assert_close(found.wavelength, made.wavelength, rtol=1e-12, atol=0)
    assert (found.survey, found.id) == (made.survey, made.id)
    want = {k: v for k, v in made.labels.items() if k not in WITHOUT_CATALOGUE and v != ""}
    for name, value in want.items():
        assert found.labels[name] == (value if isinstance(value, str) else pytest.approx(value, rel=1e-9)), name


def same(a: Spectrum, b: Spectrum) -> bool:
    """Bit for bit, labels and their types included."""
    pixels = all(torch.equal(getattr(a, name), getattr(b, name)) for name in ("flux", "ivar", "wavelength"))
    types = [{k: type(v) for k, v in s.labels.items()} for s in (a, b)]
    return pixels and a.labels == b.labels and types[0] == types[1] and (a.survey, a.id) == (b.survey, b.id)


def through_astropy(path: Path) -> Spectrum | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(path, memmap=False) as hdus:
            return reading._interpret(astropy_hdus(hdus), path)
