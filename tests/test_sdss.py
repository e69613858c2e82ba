"""SDSS: files of every layout read back, and their oddities."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from astropy.io import fits
from survey_files import equal, write_table

import spectromer
from spectromer import ReadError, Spectrum
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


PIXELS = 300
LOGLAM = 3.58 + 1e-4 * np.arange(PIXELS)
SPEC = {"flux": np.ones(PIXELS), "ivar": np.ones(PIXELS), "and_mask": np.zeros(PIXELS), "or_mask": np.zeros(PIXELS)}


@pytest.mark.parametrize("moved", [0.0, 0.001, 0.03, 0.3])  # pixels
def test_a_moved_loglam_is_read_as_it_stands(moved: float, tmp_path: Path) -> None:
    """Within the rounding of single precision it is the grid of the survey."""
    loglam = (LOGLAM - moved * 1e-4).astype(np.float32)
    found = spectromer.read(write_table(tmp_path / "a.fits", SPEC | {"loglam": loglam}, {"TELESCOP": "SDSS 2.5-M"}))
    want = 10.0 ** (LOGLAM if moved < 0.005 else loglam.astype(np.float64))
    np.testing.assert_allclose(found.wavelength, want, rtol=1e-12)


@pytest.mark.parametrize(
    ("header", "masks", "survey"), [({"TELESCOP": "SDSS 2.5-M"}, False, "SDSS"), ({}, True, "SDSS"), ({}, False, "")]
)
def test_a_survey_is_told_by_its_marks(header: dict[str, Any], masks: bool, survey: str, tmp_path: Path) -> None:
    """Not by the names of three columns, which anyone's table may have."""
    columns = {name: SPEC[name] for name in (SPEC if masks else ("flux", "ivar"))} | {"loglam": LOGLAM}
    found = spectromer.read(write_table(tmp_path / "mine.fits", columns, header))
    assert found.survey == survey and (survey or found.id == "mine")
    columns = {"FLUX": SPEC["flux"], "IVAR": SPEC["ivar"], "WAVELENGTH": 10.0**LOGLAM}
    for rows in ("pixels", "vectors"):
        found = spectromer.read(write_table(tmp_path / "mine.fits", columns, rows=rows))
        assert found.name == "-mine" and len(found) == PIXELS


def mwm(path: Path, visits: int = 1, **header: Any) -> Path:
    """A file of the Milky Way Mapper: each row has vectors, and columns that describe it."""
    vectors = {"wavelength": 10.0**LOGLAM, "flux": SPEC["flux"], "ivar": SPEC["ivar"], "pixel_flags": SPEC["flux"]}
    columns = [fits.Column("sdss_id", "K", array=[42] * visits), fits.Column("telescope", "6A", array=["apo25m"])]
    columns += [fits.Column(n, f"{PIXELS}E", array=np.tile(a, (visits, 1))) for n, a in vectors.items()]
    primary = fits.PrimaryHDU(header=fits.Header({"V_ASTRA": "0.6.0", "SDSS_ID": 42} | header))
    fits.HDUList([primary, fits.BinTableHDU.from_columns(columns, name="BOSS/APO")]).writeto(path, overwrite=True)
    return path


def apogee(path: Path, shape: tuple[int, ...], bunit: str, **header: Any) -> Path:
    images = [fits.ImageHDU(np.ones(shape, np.float32), header=fits.Header({"BUNIT": bunit})) for _ in range(4)]
    fits.HDUList([fits.PrimaryHDU(header=fits.Header(header)), *images]).writeto(path, overwrite=True)
    return path


def test_other_files_of_the_survey_are_refused_by_name(tmp_path: Path) -> None:
    """The Milky Way Mapper's, whose spectra are in the rest frame, APOGEE's, catalogues, and spPlate."""
    path = tmp_path / "a.fits"
    flux = "Flux (10^-17 erg/s/cm^2/Ang)"

    def catalogue(*names: str) -> Path:
        return write_table(path, {name: np.zeros(3) for name in names})

    cases = [
        (
            lambda: mwm(path),
            r"SDSS-V's Milky Way Mapper \(mwmStar, mwmVisit or astraStar\), whose spectra are in the rest",
        ),
        (lambda: mwm(path, visits=3), "mwmVisit"),
        (lambda: catalogue("sdss_id", "v_astra", "teff"), "catalogue of SDSS-V's Milky Way Mapper, without spectra"),
        (lambda: catalogue("APOGEE_ID", "TEFF"), "catalogue of APOGEE"),
        (lambda: apogee(path, (3, 90), flux, SURVEY="apogee2"), "file of APOGEE"),  # apVisit
        (lambda: apogee(path, (3, 90), flux, SURVEY="SDSS-V"), "file of APOGEE"),
        (lambda: apogee(path, (90,), flux, APRED="1.2", NVISITS=2), "file of APOGEE"),  # apStar, asStar
        (lambda: apogee(path, (90,), flux, NVISITS=1), "file of APOGEE"),
    ]
    for make, reason in cases:
        with pytest.raises(ReadError, match=reason):
            spectromer.read(make())
    header = fits.Header({"TELESCOP": "SDSS 2.5-M", "PLATEID": 4055, "MJD": 55359, "COEFF0": 3.55, "COEFF1": 1e-4})
    fits.PrimaryHDU(np.ones((20, 90), np.float32), header=header).writeto(path, overwrite=True)
    with pytest.raises(ReadError, match="spPlate file with the spectra of a whole plate"):
        spectromer.read(path)
