"""LAMOST: files of every layout read back, and their oddities."""

import gzip
from pathlib import Path

import pytest
import torch
from astropy.io import fits
from survey_files import equal

import spectromer
from spectromer import ReadError, Spectrum
from spectromer.surveys.lamost import SURVEY as LAMOST


@pytest.mark.parametrize("layout", ["table", "image"])
@pytest.mark.parametrize("packed", [False, True])
def test_lamost_files_read_back_equal(lamost: list[Spectrum], layout: str, packed: bool, tmp_path: Path) -> None:
    path = tmp_path / "spec.fits"
    for made in lamost:
        LAMOST.write(made, path, layout)
        if packed:  # a gzip stream under a plain name, as some archives serve it
            path.write_bytes(gzip.compress(path.read_bytes(), 1))
        equal(spectromer.read(path), made)


def test_lamost_dr1_third_row_is_no_wavelength(lamost: list[Spectrum], tmp_path: Path) -> None:
    LAMOST.write(lamost[0], tmp_path / "a.fits", "image")
    with fits.open(tmp_path / "a.fits", mode="update") as hdus:
        hdus[0].data[2] = hdus[0].data[0]
        hdus[0].header["Z"] = -9999.0
    found = spectromer.read(tmp_path / "a.fits")
    torch.testing.assert_close(found.wavelength, lamost[0].wavelength, rtol=1e-12, atol=0)
    assert "z" not in found.labels


def test_contradicting_wavelengths_are_refused(lamost: list[Spectrum], tmp_path: Path) -> None:
    LAMOST.write(lamost[0], tmp_path / "a.fits")
    with fits.open(tmp_path / "a.fits", mode="update") as hdus:
        hdus[1].data["WAVELENGTH"] += 30.0
    with pytest.raises(ReadError, match="wavelengths differ from COEFF0 and COEFF1"):
        spectromer.read(tmp_path / "a.fits")
