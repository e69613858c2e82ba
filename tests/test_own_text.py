"""Tables of text of one's own: names, units and media of the columns, wherever they stand."""

from pathlib import Path

import numpy as np
import pytest
import torch
from astropy.table import Table

import spectromer
from spectromer import ReadError, Spectrum
from spectromer.spectra import air_to_vacuum

PIXELS = 40
WAVELENGTH = np.linspace(4000.0, 9000.0, PIXELS)
AIR = air_to_vacuum(torch.from_numpy(WAVELENGTH)).numpy()
FLUX = np.sin(WAVELENGTH / 500.0) + 2.0
THIRD = np.full(PIXELS, 16.0)  # an ivar of 16, a variance of 16 or an error of 16


def read(path: Path, head: str, *columns: np.ndarray, delimiter: str = " ") -> Spectrum:
    rows = [delimiter.join(map(repr, row)) for row in np.transpose(columns).tolist()]
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    found = spectromer.read(path)
    assert isinstance(found, Spectrum)
    np.testing.assert_allclose(found.flux, FLUX, rtol=1e-6)
    return found


@pytest.mark.parametrize(
    "head",
    [
        "# wave flux {0}",
        "# wave, flux, {0}",
        "# wave,flux,{0}",
        "# Columns: wavelength, flux, {0}",
        "# columns: wave flux {0}",
        "# wave flux {0}\n#------------------",
        "# wave flux {0}\n# ---- ---- ----",
        "# wave flux {0}\n# z=0.1",
        "# wave flux {0}\n# z=0.1 object=A",
        "# wave flux {0}\n# object: NGC 1234, observed 2020",
        "# by me\n#\n# wave flux {0}\n# Angstrom Jy -",
        "! wave\tflux\t{0}",
        "% WAVE | FLUX | {0}",
        "# 1 wave\n# 2 flux\n# 3 {0}",
        "# Column 1: wavelength (Angstrom)\n# Column 2: flux\n# Column 3: {0}",
        "#  1 wave  Wavelength of the pixel  [Angstrom]\n#  2 flux  The flux\n#  3 {0}",
        "wave flux {0}",
        "wave, flux, {0}",
        "wave flux {0}\nAngstrom Jy -",
        "wave flux {0}\n---- ---- ----",
    ],
)
@pytest.mark.parametrize(("name", "ivar"), [("ivar", 16.0), ("variance", 1 / 16.0), ("err", 1 / 256.0)])
def test_the_third_column_is_what_its_name_says(head: str, name: str, ivar: float, tmp_path: Path) -> None:
    found = read(tmp_path / "a.txt", head.format(name), WAVELENGTH, FLUX, THIRD)
    np.testing.assert_allclose(found.wavelength, WAVELENGTH)
    np.testing.assert_allclose(found.ivar, ivar, rtol=1e-6)


@pytest.mark.parametrize(
    ("head", "columns"),
    [
        ("# WAVELENGTH NORMFLUX IVAR", 3),
        ("# wave counts continuum", 3),
        ("# wave, counts, continuum", 3),
        ("# columns are wavelength, flux and inverse variance", 3),
        ("# wavelength\n# flux\n# ivar", 3),
        ("# 1 wave\n# 2 flx\n# 3 continuum", 3),
        ("# wave flux", 3),
        ("# counts lambda_AA", 2),
        ("# wave normflux", 2),
        ("# the wavelengths are in nm", 2),
        ("# wavelength flux\n# the wavelengths are in microns", 2),
        ("# wavelength flux\n# wavelengths in air", 2),
        ("# Air wavelengths", 2),
    ],
)
def test_comments_that_leave_doubt_are_refused(head: str, columns: int, tmp_path: Path) -> None:
    """Nothing is guessed: an ivar taken for an error, nm for Angstrom, or air for vacuum, would not be noticed."""
    with pytest.raises(ReadError, match=r"its comment '.*name|a table needs a column of wavelengths .*; it has "):
        read(tmp_path / "a.txt", head, *(WAVELENGTH, FLUX, THIRD)[:columns])


def test_a_file_in_doubt_is_not_passed_over_in_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="its comment"):
        read(tmp_path / "a.txt", "# wave counts continuum", WAVELENGTH, FLUX, THIRD)
    batch, errors = spectromer.read(tmp_path)
    assert len(batch) == 0 and len(errors) == 1


@pytest.mark.parametrize(
    "head", ["# my spectrum", "# of 2026", "# NGC 1234", "#", "# air mass 1.2", "# night of\n# May"]
)
def test_other_comments_do_no_harm(head: str, tmp_path: Path) -> None:
    found = read(tmp_path / "a.txt", head, WAVELENGTH, FLUX)
    np.testing.assert_allclose(found.wavelength, WAVELENGTH)
    assert bool((found.ivar == 1.0).all())


@pytest.mark.parametrize(
    "head",
    [
        "# Wavelength (nm) Flux {}",
        "# wavelength [nm]  flux [Jy]  {} [Jy]",
        "# wavelength (nm), flux (erg/(s cm2 nm)), {} (erg/(s cm2 nm))",
        "# wavelength flux {}\n# nm Jy Jy",
        "# wavelength flux {}\n# [nm] [Jy] [Jy]",
        "# nm Jy Jy",
        "Wavelength (nm) Flux {}",
        "wavelength flux {}\nnm Jy Jy",
        "# 1 wavelength [nm]\n# 2 flux [Jy]\n# 3 {} [Jy]",
    ],
)
def test_units_of_any_place_are_converted(head: str, tmp_path: Path) -> None:
    found = read(tmp_path / "a.txt", head.format("error"), WAVELENGTH / 10.0, FLUX, THIRD)
    np.testing.assert_allclose(found.wavelength, WAVELENGTH)
    np.testing.assert_allclose(found.ivar, 1 / 256.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("column", "factor", "air"),
    [
        ("wavelength_air (nm)", 0.1, True),
        ("wave_air[Angstrom]", 1.0, True),
        ("wave_air", 1.0, True),
        ("wavelength (air)", 1.0, True),
        ("WAVE_AIR (um)", 1e-4, True),
        ("wave_vac (nm)", 0.1, False),
        ("lambda [vacuum]", 1.0, False),
    ],
)
@pytest.mark.parametrize("comment", ["", "# "])
def test_the_medium_is_kept_beside_a_unit(column: str, factor: float, air: bool, comment: str, tmp_path: Path) -> None:
    found = read(tmp_path / "a.csv", f"{comment}{column},flux", WAVELENGTH * factor, FLUX, delimiter=",")
    np.testing.assert_allclose(found.wavelength, AIR if air else WAVELENGTH, rtol=1e-12)


def test_a_note_after_the_names_does_not_lose_the_air(tmp_path: Path) -> None:
    found = read(tmp_path / "a.txt", "# wave_air flux\n# reduced by me", WAVELENGTH, FLUX)
    np.testing.assert_allclose(found.wavelength, AIR, rtol=1e-12)


@pytest.mark.parametrize("unit", ["mag", "ABmag", "mag(AB)", "AB mag", "dex", "dB", "magnitudes"])
def test_magnitudes_are_refused(unit: str, tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"its column flux .* must be linear, it has the logarithmic unit"):
        read(tmp_path / "a.csv", f"wavelength,flux ({unit})", WAVELENGTH, FLUX, delimiter=",")


def test_an_error_in_percent_is_one_of_the_flux(tmp_path: Path) -> None:
    found = read(tmp_path / "a.csv", "wavelength,flux,err (%)", WAVELENGTH, FLUX, THIRD, delimiter=",")
    np.testing.assert_allclose(found.ivar, (0.16 * FLUX) ** -2.0, rtol=1e-6)
    with pytest.raises(ReadError, match="its ivar has the unit '%', which only a standard deviation may have"):
        read(tmp_path / "a.csv", "wavelength,flux,ivar (%)", WAVELENGTH, FLUX, THIRD, delimiter=",")


@pytest.mark.parametrize(
    ("flux", "error"), [("erg/s/cm2/A", "erg/s/cm2/Angstrom"), ("erg/s/cm2/Å", "erg s-1 cm-2 A-1")]
)
def test_in_files_a_is_angstrom(flux: str, error: str, tmp_path: Path) -> None:
    head = f"wavelength (A),flux ({flux}),error ({error})"
    found = read(tmp_path / "a.csv", head, WAVELENGTH, FLUX, THIRD, delimiter=",")
    np.testing.assert_allclose(found.ivar, 1 / 256.0, rtol=1e-6)


@pytest.mark.parametrize("delimiter", [" ", ","])
@pytest.mark.parametrize("name", ["a.csv", "a.ecsv", "a.txt"])
def test_ecsv_is_known_by_its_content(name: str, delimiter: str, tmp_path: Path) -> None:
    made = Table({"wavelength": WAVELENGTH, "flux": FLUX, "ivar": THIRD}, meta={"header": {"AIRORVAC": "air"}})
    made.write(tmp_path / name, format="ascii.ecsv", delimiter=delimiter)
    found = spectromer.read(tmp_path / name)
    np.testing.assert_allclose(found.wavelength, AIR, rtol=1e-12)
    np.testing.assert_allclose(found.ivar, THIRD)


def test_no_row_is_lost_or_misread(tmp_path: Path) -> None:
    """A first row with text is no row of units; decimal commas are refused; so is a header without rows."""
    path = tmp_path / "a.csv"
    path.write_text("wavelength,flux,err\n4000,bad,1\n4001,2,1\n4002,2,1\n4003,2,1\n")
    with pytest.raises(ReadError, match="its column flux must hold numbers, it has the text 'bad'"):
        spectromer.read(path)
    path.write_text("wavelength;flux\n4000,5;1,25\n4001,5;1,25\n4002,5;1,25\n")
    with pytest.raises(ReadError, match="its column wavelength must hold numbers, it has the text '4000,5'"):
        spectromer.read(path)
    path.write_text("wave flux\n4000 1 1\n4001 1 1\n4002 1 1\n")
    with pytest.raises(ReadError, match="it has 2 names, but 3 columns of numbers"):
        spectromer.read(path)
    for head in ("wavelength,flux\n", "# wavelength flux\n", "# made by me\nwavelength,flux\n"):
        path.write_text(head)
        with pytest.raises(ReadError, match="a table of text without any row of numbers"):
            spectromer.read(path)
