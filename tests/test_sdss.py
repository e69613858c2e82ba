"""SDSS: files of every layout read back, and their oddities."""

from pathlib import Path

import numpy as np
import torch
from astropy.io import fits
from survey_files import equal

import spectromer
from spectromer import Spectrum
from spectromer.surveys.sdss import SURVEY as SDSS


def test_sdss_files_read_back_equal(sdss: list[Spectrum], tmp_path: Path) -> None:
    for made in sdss:
        SDSS.write(made, tmp_path / "a.fits")
        found = spectromer.read(tmp_path / "a.fits")
        equal(found, made)
        with fits.open(tmp_path / "a.fits") as hdus:
            assert np.array_equal(hdus[1].data["flux"], found.flux.numpy())
            assert np.array_equal(hdus[1].data["ivar"], found.ivar.numpy())
            np.testing.assert_allclose(10.0 ** hdus[1].data["loglam"].astype(float), found.wavelength, rtol=6e-7)
            assert hdus[2].data["Z"][0] == found.labels["z"]


def test_upper_case_columns_and_unnamed_hdus(sdss: list[Spectrum], tmp_path: Path) -> None:
    """As SDSS-V and picca's files have them."""
    SDSS.write(sdss[0], tmp_path / "a.fits")
    with fits.open(tmp_path / "a.fits") as hdus:
        tables = [fits.BinTableHDU(hdu.data, hdu.header) for hdu in hdus[1:]]
        for table in tables:
            del table.header["EXTNAME"]
            for name in list(table.columns.names):
                table.columns.change_name(name, name.upper())
        fits.HDUList([hdus[0].copy(), *tables]).writeto(tmp_path / "b.fits")
    equal(spectromer.read(tmp_path / "b.fits"), sdss[0])


def test_a_cut_spectrum_keeps_its_wavelengths(sdss: list[Spectrum], tmp_path: Path) -> None:
    """COEFF0 belongs to the first pixel of the whole, not of the rest."""
    SDSS.write(sdss[0], tmp_path / "a.fits")
    with fits.open(tmp_path / "a.fits") as hdus:
        hdus[1].data = hdus[1].data[1000:1710]
        hdus.writeto(tmp_path / "b.fits")
    found = spectromer.read(tmp_path / "b.fits")
    torch.testing.assert_close(found.wavelength, sdss[0].wavelength[1000:1710], rtol=1e-12, atol=0)


def test_spspec_rows_are_errors_not_ivar(tmp_path: Path) -> None:
    header = fits.Header({"COEFF0": 3.58, "COEFF1": 1e-4, "VACUUM": True, "SPEC_CLN": 2, "Z": 0.0651, "PLATEID": 271})
    header.update({"MJD": 51883, "FIBERID": 171, "ARRAY3": "ERROR", "Z_WARNIN": 0})
    rows = np.ones((5, 100), np.float32) * np.array([[3.0], [0.5], [0.25], [0.0], [1.0]], np.float32)
    rows[2, 7] = 0.0
    fits.PrimaryHDU(rows, header=header).writeto(tmp_path / "spSpec.fit")
    found = spectromer.read(tmp_path / "spSpec.fit")
    assert found.id == "0271-51883-0171" and found.labels["class"] == "GALAXY" and found.labels["z"] == 0.0651
    assert float(found.ivar[0]) == 16.0 and float(found.ivar[7]) == 0.0
    np.testing.assert_allclose(found.wavelength[[0, 99]], 10.0 ** np.array([3.58, 3.5899]), rtol=1e-12)
