"""One's own spectra: tables of every kind, read by the names of their columns."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from astropy.io import fits
from astropy.table import MaskedColumn, QTable, Table

import spectromer
from spectromer import ReadError, Spectrum, SpectrumBatch
from spectromer.errors import ArgumentError, DependencyError
from spectromer.shards.schema import block_of
from spectromer.spectra import air_to_vacuum

PIXELS = 50
WAVELENGTH = np.linspace(4000.0, 7000.0, PIXELS)
FLUX = np.sin(WAVELENGTH / 500.0) + 2.0
ERROR = np.full(PIXELS, 0.5)


def as_astropy(table: Table, path: Path, form: str, **options: Any) -> Path:
    table.write(path, format=form, overwrite=True, **options)
    return path


def as_parquet(table: Table, path: Path) -> Path:
    pyarrow.parquet.write_table(pa.table({name: np.asarray(table[name]) for name in table.colnames}), path)
    return path


def as_bare(table: Table, path: Path) -> Path:
    np.savetxt(path, np.array([table[name] for name in table.colnames]).T, header="my spectrum\n\nof 2026")
    return path


WRITERS: dict[str, Callable[[Table, Path], Path]] = {
    "a.csv": lambda t, p: as_astropy(t, p, "ascii.csv"),
    "a.ecsv": lambda t, p: as_astropy(t, p, "ascii.ecsv"),
    "a.txt": lambda t, p: as_astropy(t, p, "ascii.basic"),
    "commented.dat": lambda t, p: as_astropy(t, p, "ascii.commented_header"),
    "tab.dat": lambda t, p: as_astropy(t, p, "ascii.tab"),
    "bar.txt": lambda t, p: as_astropy(t, p, "ascii.basic", delimiter="|"),
    "bare.dat": as_bare,
    "a.vot": lambda t, p: as_astropy(t, p, "votable"),
    "a.xml": lambda t, p: as_astropy(t, p, "votable"),
    "a.parquet": as_parquet,
    "a.fits": lambda t, p: as_astropy(t, p, "fits"),
    "a.b.fits": lambda t, p: as_astropy(t, p, "fits"),
}


def table(**columns: Any) -> Table:
    return Table({"wavelength": WAVELENGTH, "flux": FLUX} | columns)


def check(found: Any, ivar: Any = 4.0, wavelength: np.ndarray = WAVELENGTH) -> None:
    assert isinstance(found, Spectrum) and found.survey == ""
    np.testing.assert_allclose(found.wavelength, wavelength, rtol=1e-12)
    np.testing.assert_allclose(found.flux, FLUX, rtol=1e-6)
    np.testing.assert_allclose(found.ivar, np.broadcast_to(ivar, (PIXELS,)), rtol=1e-6)


@pytest.mark.parametrize("name", WRITERS)
def test_tables_of_every_kind_are_read(name: str, tmp_path: Path) -> None:
    """The id is the name of the file, and the labels hold the S/N alone. They can be stored."""
    found = spectromer.read(WRITERS[name](table(error=ERROR), tmp_path / name))
    check(found)
    assert found.id == name.rpartition(".")[0] and found.labels == {"snr": found.snr}
    assert block_of([found]).num_rows == 1
    (tmp_path / name).unlink()
    check(spectromer.read(WRITERS[name](table(), tmp_path / name)), ivar=1.0)  # without a column of errors
    batch, errors = spectromer.read(tmp_path)
    assert isinstance(batch, SpectrumBatch) and len(batch) == 1 and errors == []


@pytest.mark.parametrize("name", ["a.csv", "a.txt", "commented.dat", "a.parquet", "a.fits", "a.ecsv", "a.vot"])
@pytest.mark.parametrize(
    ("columns", "ivar"),
    [
        ({"Wave": WAVELENGTH, "Flux": FLUX, "IVAR": ERROR}, 0.5),
        ({"lambda": WAVELENGTH, "flux_density": FLUX, "inverse_variance": ERROR}, 0.5),
        ({"LAM": WAVELENGTH, "FluxDensity": FLUX, "err": ERROR}, 4.0),
        ({"wl": WAVELENGTH, "flux": FLUX, "sigma": ERROR}, 4.0),
        ({"spectral_axis": WAVELENGTH, "flux": FLUX, "uncertainty": ERROR}, 4.0),
        ({"loglam": np.log10(WAVELENGTH), "flux": FLUX, "variance": ERROR}, 2.0),
        ({"log_lambda": np.log10(WAVELENGTH), "flux": FLUX, "std": ERROR, "mask": np.arange(PIXELS) % 5 == 2}, None),
        (
            {"flux_error": ERROR, "flux": FLUX, "model": FLUX, "wavelength": WAVELENGTH, "qual": np.arange(PIXELS)},
            "one",
        ),
    ],
)
def test_columns_are_known_by_their_names(name: str, columns: dict[str, Any], ivar: Any, tmp_path: Path) -> None:
    if ivar is None:
        ivar = np.where(np.arange(PIXELS) % 5 == 2, 0.0, 4.0)
    elif ivar == "one":
        ivar = np.where(np.arange(PIXELS) == 0, 4.0, 0.0)
    check(spectromer.read(WRITERS[name](Table(columns), tmp_path / name)), ivar)


@pytest.mark.filterwarnings("ignore:The unit")  # of VOTables, when they are written
@pytest.mark.parametrize("name", ["a.ecsv", "a.vot", "a.fits"])
@pytest.mark.parametrize("unit", ["Angstrom", "nm", "um", "m", "GHz", "eV", "1/cm"])
def test_units_are_converted(name: str, unit: str, tmp_path: Path) -> None:
    """Those of the wavelength to Angstrom, and those of the errors to that of the flux, which stays as it is."""
    made = QTable()
    made["spectral_axis"] = (WAVELENGTH * u.AA).to(unit, u.spectral())
    made["flux"] = FLUX * u.Unit("erg / (s cm2 Angstrom)")
    made["error"] = (ERROR * made["flux"].unit).to("W / (m2 Angstrom)")
    made.write(tmp_path / name, format={"a.vot": "votable", "a.ecsv": "ascii.ecsv", "a.fits": "fits"}[name])
    check(spectromer.read(tmp_path / name))


@pytest.mark.parametrize("name", ["a.csv", "a.txt", "a.dat"])
@pytest.mark.parametrize(("unit", "factor"), [("nm", 0.1), ("um", 1e-4), ("A", 1.0), ("micron", 1e-4)])
def test_a_unit_may_stand_in_the_name_of_a_column(name: str, unit: str, factor: float, tmp_path: Path) -> None:
    lines = [f"{w * factor!r},{f!r}" for w, f in zip(WAVELENGTH.tolist(), FLUX.tolist(), strict=True)]
    (tmp_path / name).write_text("\n".join([f"Wavelength ({unit}),Flux [arbitrary]", *lines]) + "\n")
    check(spectromer.read(tmp_path / name), ivar=1.0)


def test_wavelengths_that_cannot_be_in_angstrom_are_refused(tmp_path: Path) -> None:
    for axis, limits in (
        (WAVELENGTH * 0.1, "400 and 700"),
        (WAVELENGTH * 1e-4, "0.4 and 0.7"),
        (WAVELENGTH * 1e4, "4e\\+07 and 7e\\+07"),
        (np.linspace(336.0, 1020.0, PIXELS), "336 and 1020"),  # Gaia XP, in nm
        (np.linspace(300.0, 2480.0, PIXELS), "300 and 2480"),  # X-shooter, in nm
        (np.linspace(-100.0, 2000.0, PIXELS), "-100 and 2000"),
    ):
        as_astropy(table(wavelength=axis), tmp_path / "a.csv", "ascii.csv")
        with pytest.raises(ReadError, match=f"its wavelengths lie between {limits} and have no unit; in Angstrom they"):
            spectromer.read(tmp_path / "a.csv")
    with pytest.raises(ReadError, match="its wavelengths must be positive, the smallest is -10 Angstrom"):
        axis = np.linspace(-1.0, 400.0, PIXELS) * u.nm
        spectromer.read(as_astropy(table(wavelength=axis), tmp_path / "a.ecsv", "ascii.ecsv"))
    with pytest.raises(ReadError, match="unit 'kg', which is none of wavelength, frequency or energy"):
        spectromer.read(as_astropy(table(wavelength=WAVELENGTH * u.kg), tmp_path / "a.ecsv", "ascii.ecsv"))
    bad = table(flux=FLUX * u.Jy, error=ERROR * u.s)
    with pytest.raises(ReadError, match="its error has the unit 's', which does not fit the unit 'Jy' of the flux"):
        spectromer.read(as_astropy(bad, tmp_path / "a.ecsv", "ascii.ecsv"))


@pytest.mark.parametrize("name", ["a.csv", "a.ecsv", "a.vot", "a.fits", "a.txt"])
def test_missing_values_are_masked(name: str, tmp_path: Path) -> None:
    """In flux and error; a pixel without a wavelength is left out. NaN is missing too, and an error of 0 unknown."""
    rows = np.arange(PIXELS)
    flux = MaskedColumn(np.where(rows == 4, np.nan, FLUX), mask=rows == 3)
    error = MaskedColumn(np.where(rows == 6, 0.0, ERROR), mask=rows == 5)
    wavelength = MaskedColumn(WAVELENGTH, mask=rows == 7)
    forms = {"a.csv": "ascii.csv", "a.ecsv": "ascii.ecsv", "a.vot": "votable", "a.fits": "fits", "a.txt": "ascii.basic"}
    made = table(wavelength=wavelength, flux=flux, error=error)
    found = spectromer.read(as_astropy(made, tmp_path / name, forms[name]))
    assert len(found) == PIXELS - 1
    assert [i for i, v in enumerate(found.ivar.tolist()) if v == 0.0] == [3, 4, 5, 6]
    assert bool((found.ivar[7:] == 4.0).all()) and bool(torch.isfinite(found.flux).all())


def test_decreasing_wavelengths_are_turned_round(tmp_path: Path) -> None:
    check(spectromer.read(WRITERS["a.csv"](table(error=ERROR)[::-1], tmp_path / "a.csv")))


def test_small_fluxes_keep_their_scale(tmp_path: Path) -> None:
    found = spectromer.read(WRITERS["a.txt"](table(flux=FLUX * 1e-24, error=ERROR * 1e-24), tmp_path / "a.txt"))
    np.testing.assert_allclose(found.flux.double() * found.flux_scale, FLUX * 1e-24, rtol=1e-6)
    np.testing.assert_allclose(found.ivar.double() / found.flux_scale**2, 4e48, rtol=1e-6)


def test_one_row_of_vectors_and_air_wavelengths(tmp_path: Path) -> None:
    """As in the tables of ESO's archive, whose unit or TUCD says more."""
    columns = [
        fits.Column("WAVE", f"{PIXELS}D", unit="nm", array=WAVELENGTH[None] / 10.0),
        fits.Column("FLUX", f"{PIXELS}D", unit="erg cm**(-2) s**(-1) angstrom**(-1)", array=FLUX[None]),
        fits.Column("ERR", f"{PIXELS}D", unit="erg cm**(-2) s**(-1) angstrom**(-1)", array=ERROR[None]),
    ]
    made = fits.BinTableHDU.from_columns(columns)
    made.writeto(tmp_path / "a.fits")
    check(spectromer.read(tmp_path / "a.fits"))
    made.header["TUCD1"] = "em.wl;obs.atmos"
    made.writeto(tmp_path / "b.fits")
    air = air_to_vacuum(torch.from_numpy(WAVELENGTH)).numpy()
    check(spectromer.read(tmp_path / "b.fits"), wavelength=air)
    check(
        spectromer.read(WRITERS["a.csv"](Table({"wave_air": WAVELENGTH, "flux": FLUX}), tmp_path / "a.csv")), 1.0, air
    )


@pytest.mark.parametrize("card", ["CDELT1", "CD1_1"])
@pytest.mark.parametrize("kind", ["linear", "log", "air", "nm"])
def test_an_image_of_one_axis_is_read(card: str, kind: str, tmp_path: Path) -> None:
    want = 10.0 ** np.linspace(3.6, 3.8, PIXELS) if kind == "log" else WAVELENGTH
    axis = np.log10(want) if kind == "log" else want / 10.0 if kind == "nm" else want
    header = fits.Header({"CRVAL1": axis[2], card: axis[1] - axis[0], "CRPIX1": 3.0, "CTYPE1": "WAVE"})
    header.update({"log": {"DC-FLAG": 1}, "air": {"CTYPE1": "AWAV"}, "nm": {"CUNIT1": "nm"}}.get(kind, {}))
    fits.PrimaryHDU(FLUX, header=header).writeto(tmp_path / "a.fits")
    want = air_to_vacuum(torch.from_numpy(want)).numpy() if kind == "air" else want
    found = spectromer.read(tmp_path / "a.fits")
    np.testing.assert_allclose(found.wavelength, want, rtol=1e-9)
    np.testing.assert_allclose(found.flux, FLUX, rtol=1e-6)
    assert bool((found.ivar == 1.0).all())


def test_an_image_that_is_not_linear_is_left_to_specutils(tmp_path: Path) -> None:
    header = fits.Header({"CRVAL1": 4000.0, "CDELT1": 1.0, "CTYPE1": "WAVE-LOG"})
    fits.PrimaryHDU(FLUX, header=header).writeto(tmp_path / "a.fits")
    with pytest.raises(ReadError, match='it can be read with format="wcs1d-fits" if specutils is installed'):
        spectromer.read(tmp_path / "a.fits")


def test_other_tables_are_no_spectra(tmp_path: Path) -> None:
    """A catalogue or a text in a folder is left alone. Named, it is refused for what it is."""
    (tmp_path / "catalogue.csv").write_text("path,class,z\na.fits,STAR,0.0\n")
    (tmp_path / "README.txt").write_text("These are\nmy spectra, of\nlast night.\n")
    (tmp_path / "counts.dat").write_text("1 5\n9 4\n3 3\n8 9\n2 2\n6 1\n")
    (tmp_path / "numbers.txt").write_text("1 2 3 4\n2 3 4 5\n3 4 5 6\n4 5 6 7\n5 6 7 8\n")
    with pytest.raises(ReadError, match="a folder without a FITS or HDF5 file, or a table with wavelength and flux"):
        spectromer.read(tmp_path)
    for name, reason in (
        (
            "catalogue.csv",
            r"needs a column of wavelengths \(wavelength, wave, loglam, ...\) and one of flux; it has path, cl",
        ),
        ("README.txt", "a table needs a column of wavelengths"),
        ("numbers.txt", "without names needs two or three columns, this has 4"),
        ("counts.dat", "its wavelengths lie between 1 and 9 and have no unit"),
    ):
        with pytest.raises(ReadError, match=reason):
            spectromer.read(tmp_path / name)
    WRITERS["a.csv"](table(), tmp_path / "a.csv")
    WRITERS["a.fits"](table(), tmp_path / "b.fits.gz")
    batch, errors = spectromer.read(tmp_path)
    assert batch.ids == ["a", "b"] and errors == []


def test_columns_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("wavelength,flux\n4000,bright\n4001,faint\n")
    with pytest.raises(ReadError, match="its column flux must hold numbers, it has the text 'bright'"):
        spectromer.read(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text("wavelength,flux\n")
    with pytest.raises(ReadError, match="without any row of numbers"):
        spectromer.read(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_bytes("wavelength,flux\n4000,é\n".encode("latin-1"))
    with pytest.raises(ReadError, match="must be in UTF-8"):
        spectromer.read(tmp_path / "a.csv")


def test_the_example_of_the_documentation_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Path(__file__).resolve().parents[1] / "docs" / "files.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(code, str(page), "exec"), names)
    assert names["spectrum"].id == "mine" and names["errors"] == [] and len(names["batch"]) == 2
    np.testing.assert_allclose(names["spectrum"].wavelength[[0, -1]], [4000.0, 9000.0])
    np.testing.assert_allclose(names["spectrum"].ivar, 100.0, rtol=1e-6)
    assert names["other"].ivar.tolist() == [1.0, 1.0, 0.0]


def test_loaders_of_specutils_are_offered(tmp_path: Path) -> None:
    path = WRITERS["a.fits"](
        table(wavelength=WAVELENGTH * u.AA, flux=FLUX * u.Jy, error=ERROR * u.Jy), tmp_path / "a.fits"
    )
    try:
        import specutils  # noqa: F401
    except ImportError:
        with pytest.raises(ReadError, match="the option format needs specutils: pip install"):
            spectromer.read(path, format="tabular-fits")
        pytest.skip("specutils is not installed")
    check(spectromer.read(path, format="tabular-fits"))
    batch, errors = spectromer.read([path], format="tabular-fits")
    assert len(batch) == 1 and errors == []
    with pytest.raises(ArgumentError, match="format must be the name of a loader of specutils, got 'tabular'"):
        spectromer.read(path, format="tabular")
    with pytest.raises(ReadError):
        spectromer.read(path, format="SDSS-V mwm")
    assert issubclass(DependencyError, ValueError)


@pytest.mark.parametrize(
    "name",
    [
        *("flux_unc", "fluxerr", "flux_err", "flux_sigma", "noise", "FLUX_ERROR", "unc", "sigma_flux", "dflux"),
        *("fluxError", "flux_uncertainty", "err_flux", "e_flux", "stddev", "flux_std", "noise_flux", "uncertainty"),
    ],
)
def test_names_of_uncertainties(name: str, tmp_path: Path) -> None:
    rows = "".join(f"{4000 + i},2.0,0.5\n" for i in range(4))
    (tmp_path / "a.csv").write_text(f"wavelength,flux,{name}\n{rows}")
    spectrum = spectromer.read(tmp_path / "a.csv")
    assert spectrum.ivar.tolist() == [4.0] * 4 and spectrum.flux.tolist() == [2.0] * 4


@pytest.mark.parametrize(("name", "value"), [("flux_var", 4.0), ("flux_ivar", 0.25), ("invvar", 0.25)])
def test_names_of_variances(name: str, value: float, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"wave,flux,{name}\n" + "".join(f"{4000 + i},2,{value}\n" for i in range(4)))
    assert spectromer.read(tmp_path / "a.csv").ivar.tolist() == [0.25] * 4


@pytest.mark.parametrize(
    ("unit", "factor"),
    [(unit, 1.0) for unit in ("ANGSTROM", "Angstroms", "angstrom", "A", "AA", "Ang", "Angstroem", "ANGSTROMS")]
    + [(unit, 0.1) for unit in ("NM", "nm", "Nanometers", "NANOMETRES", "nanometer")]
    + [(unit, 1e-4) for unit in ("MICRON", "micron", "Microns", "um", "UM", "micrometre", "MICROMETERS")],
)
def test_spellings_of_units(unit: str, factor: float, tmp_path: Path) -> None:
    waves = [4000.0, 4001.0, 4002.0, 4003.0]
    rows = "".join(f"{wave * factor:.9g},2.0\n" for wave in waves)
    (tmp_path / "a.csv").write_text(f"wavelength ({unit}),flux\n{rows}")
    (tmp_path / "b.csv").write_text(f"# {unit} Jy\nwavelength,flux\n{rows}")
    columns = [
        fits.Column("wavelength", "D", unit, array=np.array(waves) * factor),
        fits.Column("flux", "D", array=waves),
    ]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "c.fits")
    for name in ("a.csv", "b.csv", "c.fits"):
        np.testing.assert_allclose(spectromer.read(tmp_path / name).wavelength, waves, rtol=1e-8)
