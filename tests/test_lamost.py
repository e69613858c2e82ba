"""LAMOST: files of every layout read back, and their oddities."""

import gzip
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from astropy.io import fits
from survey_files import ARMS, equal, same, write_medium, write_table

import spectromer
from spectromer import ReadError, Spectrum, SpectrumBatch
from spectromer.spectra import air_to_vacuum
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


@pytest.mark.parametrize("layout", ["table", "image"])
def test_pixels_filled_with_zeros_are_masked(lamost: list[Spectrum], layout: str, tmp_path: Path) -> None:
    """Although their ivar is positive, as in many real files."""
    made = lamost[0]
    filled = torch.zeros(len(made), dtype=torch.bool)
    filled[-20:] = filled[1000] = True
    LAMOST.write(replace(made, flux=made.flux.masked_fill(filled, 0.0), ivar=made.ivar + 1e-3), tmp_path / "a", layout)
    assert torch.equal(spectromer.read(tmp_path / "a").ivar == 0, filled)


def test_lamost_dr1_third_row_is_no_wavelength(lamost: list[Spectrum], tmp_path: Path) -> None:
    LAMOST.write(lamost[0], tmp_path / "a.fits", "image")
    with fits.open(tmp_path / "a.fits", mode="update") as hdus:
        hdus[0].data[2] = hdus[0].data[0]
        hdus[0].header["Z"] = -9999.0
    found = spectromer.read(tmp_path / "a.fits")
    torch.testing.assert_close(found.wavelength, lamost[0].wavelength, rtol=1e-12, atol=0)
    assert "z" not in found.labels


@pytest.mark.parametrize("layout", ["table", "image"])
@pytest.mark.parametrize("shift", [1.0 - 1e-4, 0.5])  # 30 km/s, and a quasar at z = 1 in its rest frame
def test_shifted_wavelengths_are_read_as_they_stand(
    lamost: list[Spectrum], layout: str, shift: float, tmp_path: Path
) -> None:
    """Although COEFF0 was left as it was."""
    LAMOST.write(lamost[0], tmp_path / "a.fits", layout)
    with fits.open(tmp_path / "a.fits", mode="update") as hdus:
        if layout == "table":
            hdus[1].data["WAVELENGTH"] *= shift
        else:
            hdus[0].data[2] *= shift
    found = spectromer.read(tmp_path / "a.fits")
    torch.testing.assert_close(found.wavelength, lamost[0].wavelength * shift, rtol=2e-7, atol=0)


def test_rounded_wavelengths_are_the_grid_of_the_header(lamost: list[Spectrum], tmp_path: Path) -> None:
    LAMOST.write(lamost[0], tmp_path / "a.fits")
    exact = spectromer.read(tmp_path / "a.fits")
    with fits.open(tmp_path / "a.fits", mode="update") as hdus:
        hdus[1].data["WAVELENGTH"] *= 1.0 + 0.04 * 1e-4 * np.log(10.0)  # 0.04 pixels
    assert torch.equal(spectromer.read(tmp_path / "a.fits").wavelength, exact.wavelength)


def test_wavelengths_that_are_no_axis_are_refused(lamost: list[Spectrum], tmp_path: Path) -> None:
    LAMOST.write(lamost[0], tmp_path / "a.fits")
    with fits.open(tmp_path / "a.fits", mode="update") as hdus:
        hdus[1].data["WAVELENGTH"] = 0.0
        del hdus[0].header["COEFF0"]
    with pytest.raises(ReadError, match="neither COEFF0 and COEFF1 nor a row of wavelengths"):
        spectromer.read(tmp_path / "a.fits")


@pytest.mark.parametrize(
    ("cards", "air"),
    [
        ({"VACUUM": True}, False),
        ({"VACUUM": 1}, False),
        ({"VACUUM": "T"}, False),
        ({}, False),
        ({"AIRORVAC": "vac"}, False),
        ({"VACUUM": False}, True),
        ({"VACUUM": 0}, True),
        ({"VACUUM": 0.0}, True),
        ({"VACUUM": "F"}, True),
        ({"VACUUM": "f"}, True),
        ({"VACUUM": "FALSE"}, True),
        ({"VACUUM": "AIR"}, True),
        ({"AIRORVAC": "air"}, True),
        ({"VACUUM": "perhaps"}, None),
    ],
)
@pytest.mark.parametrize("kind", ["LAMOST", "medium", "SDSS", "own"])
def test_vacuum_is_a_value_whatever_its_type(
    cards: dict[str, Any], air: bool | None, kind: str, tmp_path: Path
) -> None:
    wavelength = 10.0 ** (3.6 + 1e-4 * np.arange(200))
    columns = {"flux": np.ones(200), "ivar": np.ones(200)}
    if kind == "medium":
        write_medium(tmp_path / "a.fits")
        with fits.open(tmp_path / "a.fits", mode="update") as hdus:
            del hdus[0].header["VACUUM"]
            hdus[0].header.update(cards)
        wavelength = 10.0 ** (3.69008 + 1e-5 * np.arange(200))
    elif kind == "SDSS":
        columns |= {"loglam": np.log10(wavelength), "and_mask": np.zeros(200), "or_mask": np.zeros(200)}
        write_table(tmp_path / "a.fits", columns, {"TELESCOP": "SDSS 2.5-M"} | cards)
    elif kind == "LAMOST":
        write_table(
            tmp_path / "a.fits", columns | {"wavelength": wavelength}, {"TELESCOP": "LAMOST"} | cards, "vectors"
        )
    else:
        write_table(tmp_path / "a.fits", columns | {"wavelength": wavelength}, cards)
    if air is None:
        with pytest.raises(ReadError, match="card VACUUM is 'perhaps', which says neither vacuum nor air"):
            spectromer.read(tmp_path / "a.fits")
        return
    found = spectromer.read(tmp_path / "a.fits")
    want = torch.from_numpy(wavelength)
    want = air_to_vacuum(want) if air else want
    torch.testing.assert_close(found.wavelength[:200], want, rtol=1e-7, atol=0)
    assert found.survey == {"medium": "LAMOST", "own": ""}.get(kind, kind)


@pytest.mark.parametrize("rows", ["pixels", "vectors"])
def test_the_arms_of_medium_resolution_are_one_spectrum(rows: str, tmp_path: Path) -> None:
    """In the order of wavelengths, with a gap that no resampling fills."""
    found = spectromer.read(write_medium(tmp_path / "a.fits", rows=rows))
    assert (found.name, found.labels["ra"], found.labels["dec"]) == ("LAMOST-747412076", 292.05, 43.93)
    assert "class" not in found.labels and "z" not in found.labels
    assert len(found) == 4156 + 2 + 3802 and found.ivar[4156:4158].tolist() == [0.0, 0.0]
    blue, red = (10.0 ** (first + 1e-5 * torch.arange(n, dtype=torch.float64)) for first, n in ARMS.values())
    torch.testing.assert_close(found.wavelength[:4156], blue, rtol=1e-6 if rows == "vectors" else 1e-12, atol=0)
    torch.testing.assert_close(found.wavelength[4158:], red, rtol=1e-6 if rows == "vectors" else 1e-12, atol=0)
    assert found.flux[0] == 1.0 and found.flux[4155] == found.flux[-1] == 2.0 and bool((found.ivar[:4156] == 4.0).all())
    batch = SpectrumBatch.from_spectra([found])
    for first, last, full in ((4950.0, 5390.0, True), (5391.5, 6269.5, False), (6271.0, 6800.0, True)):
        grid = torch.linspace(first, last, 1000, dtype=torch.float64)
        _, ivar = spectromer.resample(batch.flux, batch.ivar, batch.wavelength, grid)
        assert bool((ivar > 0).all()) if full else not ivar.any()


@pytest.mark.parametrize("alive", ["COADD_B", "COADD_R"])
def test_an_arm_without_data_is_left_out(alive: str, tmp_path: Path) -> None:
    """Where the table is missing, and where it has no rows. Single exposures may come first."""
    found = spectromer.read(write_medium(tmp_path / "a.fits", ["B-84450349", "R-84450349", alive]))
    assert len(found) == ARMS[alive][1]
    write_medium(tmp_path / "b.fits")
    with fits.open(tmp_path / "b.fits") as hdus:
        dead = next(name for name in ARMS if name != alive)
        hdus[dead].data = hdus[dead].data[:0]
        hdus.writeto(tmp_path / "c.fits")
    assert same(spectromer.read(tmp_path / "c.fits"), replace(found, id=found.id))


def test_medium_resolution_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="medium-resolution file of single exposures, without a coadded spectrum"):
        spectromer.read(write_medium(tmp_path / "a.fits", ["B-84450349", "R-84450349"]))
    write_medium(tmp_path / "a.fits")
    with fits.open(tmp_path / "a.fits", mode="update") as hdus:
        hdus["COADD_R"].data["LOGLAM"] -= 0.08
    with pytest.raises(ReadError, match=r"two arms overlap: one ends at 5390\.5 Angstrom"):
        spectromer.read(tmp_path / "a.fits")


@pytest.mark.survey
def test_a_real_file_of_medium_resolution(survey_data: Path) -> None:
    (path,) = survey_data.rglob("med-*.fits.gz")
    found = spectromer.read(path)
    assert found.name == "LAMOST-747412076" and found.labels["ra"] == 292.058716
    with fits.open(path, memmap=False) as hdus:
        for place, name in ((slice(0, 4156), "COADD_B"), (slice(4158, None), "COADD_R")):
            data = hdus[name].data
            good = (data["IVAR"] > 0) & (data["FLUX"] != 0)
            assert np.array_equal(found.flux.numpy()[place], data["FLUX"].astype(np.float32))
            assert np.array_equal(found.ivar.numpy()[place], np.where(good, data["IVAR"], 0.0).astype(np.float32))
            np.testing.assert_allclose(found.wavelength[place], 10.0 ** data["LOGLAM"].astype(float), rtol=1e-6)
