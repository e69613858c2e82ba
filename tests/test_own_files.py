"""One's own spectra in FITS, Parquet and VOTable files: masks, media, arms and axes that their metadata tell."""

from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from astropy.io import fits
from astropy.io.votable import from_table
from astropy.io.votable.tree import Resource
from astropy.nddata import StdDevUncertainty
from astropy.table import Column, MaskedColumn, QTable, Table
from astropy.utils.masked import Masked

import spectromer
from spectromer import ReadError, Spectrum
from spectromer.spectra import air_to_vacuum

PIXELS = 40
WAVELENGTH = np.linspace(4000.0, 9000.0, PIXELS)
AIR = air_to_vacuum(torch.from_numpy(WAVELENGTH)).numpy()
FLUX = np.arange(PIXELS) + 1.0
FORMS = {"a.fits": "fits", "a.ecsv": "ascii.ecsv", "a.vot": "votable", "a.parquet": "parquet"}


def read(path: Path) -> Spectrum:
    found = spectromer.read(path)
    assert isinstance(found, Spectrum)
    return found


def masked(found: Spectrum) -> list[int]:
    return np.flatnonzero(found.ivar.numpy() == 0.0).tolist()


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("kind", ["i2", "i4", "i8", "f4", "f8", "u2", "u4", "quantity"])
def test_masked_values_are_masked_in_every_form(name: str, kind: str, tmp_path: Path) -> None:
    """Of flux, and of errors and masks of whole numbers."""
    rows = np.arange(PIXELS)
    if kind in ("u2", "u4") and name == "a.vot":
        pytest.skip("VOTables have no unsigned type")
    flux: Any = MaskedColumn(FLUX.astype("f8" if kind == "quantity" else kind), mask=rows < 2)
    if kind == "quantity":
        flux = Masked(FLUX * u.Jy, mask=rows < 2)
    error = MaskedColumn(np.ones(PIXELS, int), mask=rows == 5)
    made = QTable({"wavelength": WAVELENGTH, "flux": flux, "error": error})
    made.write(tmp_path / name, format=FORMS[name])
    found = read(tmp_path / name)
    assert masked(found) == [0, 1, 5]
    np.testing.assert_array_equal(found.flux[2:], FLUX[2:])


@pytest.mark.parametrize(
    ("form", "options", "stored"),
    [
        ("I", {"null": -999}, np.r_[-999, 1, 2]),
        ("J", {"null": -999}, np.r_[-999, 1, 2]),
        ("B", {"null": 255}, np.r_[255, 1, 2]),
        ("I", {"null": -32768, "bzero": 32768}, np.r_[0, 1, 2].astype("u2")),
        ("J", {"null": -5, "bzero": 2147483648}, np.r_[2147483643, 1, 2].astype("u4")),
    ],
)
def test_tnull_masks_whole_numbers(form: str, options: dict[str, Any], stored: np.ndarray, tmp_path: Path) -> None:
    """TNULL is a number as stored: that of an unsigned column is less than the value by TZERO."""
    flux = np.tile(stored, 4)
    columns = [
        fits.Column("wave", "D", array=WAVELENGTH[:12]),
        fits.Column("flux", form, array=flux, **options),
        fits.Column("ivar", "E", array=np.ones(12)),
    ]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "a.fits")
    found = read(tmp_path / "a.fits")
    assert masked(found) == [0, 3, 6, 9]
    assert found.flux[[1, 2]].tolist() == [1.0, 2.0]


def test_tnull_masks_scaled_numbers(tmp_path: Path) -> None:
    columns = [fits.Column("wave", "D", array=WAVELENGTH), fits.Column("flux", "I", array=np.arange(PIXELS), null=7)]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "a.fits")
    fits.setval(tmp_path / "a.fits", "TSCAL2", value=0.1, ext=1)
    fits.setval(tmp_path / "a.fits", "TZERO2", value=10.0, ext=1)
    found = read(tmp_path / "a.fits")
    assert masked(found) == [7]
    np.testing.assert_allclose(np.delete(found.flux.numpy(), 7), np.delete(np.arange(PIXELS), 7) * 0.1 + 10.0)


def test_tnull_of_a_floating_point_column_does_not_count(tmp_path: Path) -> None:
    """The standard has none; a flux of 0 is not missing."""
    columns = [fits.Column("wave", "D", array=WAVELENGTH), fits.Column("flux", "E", array=np.zeros(PIXELS))]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "a.fits")
    fits.setval(tmp_path / "a.fits", "TNULL2", value=0, ext=1)
    assert masked(read(tmp_path / "a.fits")) == []


def test_parquet_may_hold_one_row_of_lists(tmp_path: Path) -> None:
    lists: dict[str, Any] = {"wavelength": [WAVELENGTH], "flux": [[None, *FLUX[1:]]], "mask": [[False, True] * 20]}
    pyarrow.parquet.write_table(pa.table(lists), tmp_path / "a.parquet")
    found = read(tmp_path / "a.parquet")
    np.testing.assert_allclose(found.wavelength, WAVELENGTH)
    assert masked(found) == [0, *range(1, PIXELS, 2)]
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(FLUX), PIXELS)
    pyarrow.parquet.write_table(pa.table({"wave": [WAVELENGTH], "flux": fixed}), tmp_path / "a.parquet")
    np.testing.assert_array_equal(read(tmp_path / "a.parquet").flux, FLUX)
    for columns, reason in (
        ({"wave": [WAVELENGTH] * 2, "flux": [FLUX] * 2}, "its column wave holds lists, .* one row; it has 2"),
        ({"wave": [WAVELENGTH], "flux": [FLUX[:-1]]}, "must have equally many values, at least 3; got 40, 39"),
        ({"wave": [WAVELENGTH], "flux": [None]}, "its column flux must hold one number per pixel"),
        ({"wave": WAVELENGTH, "flux": ["1.0"] * PIXELS}, "its column flux must hold one number per pixel"),
    ):
        pyarrow.parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
        with pytest.raises(ReadError, match=reason):
            read(tmp_path / "a.parquet")


@pytest.mark.parametrize("name", ["a.ecsv", "a.vot", "a.parquet"])
def test_a_ucd_means_air(name: str, tmp_path: Path) -> None:
    made = Table({"flux": FLUX, "wavelength": Column(WAVELENGTH / 10.0, unit="nm", meta={"ucd": "em.wl;obs.atmos"})})
    made.write(tmp_path / name, format=FORMS[name])
    np.testing.assert_allclose(read(tmp_path / name).wavelength, AIR, rtol=1e-12)


@pytest.mark.parametrize("name", ["a.ecsv", "a.parquet"])
@pytest.mark.parametrize("meta", [{"AIRORVAC": "air"}, {"header": {"airorvac": "AIR"}}, {"a": {"b": {"VACUUM": "F"}}}])
def test_metadata_within_metadata_mean_air(name: str, meta: dict[str, Any], tmp_path: Path) -> None:
    Table({"wavelength": WAVELENGTH, "flux": FLUX}, meta=meta).write(tmp_path / name, format=FORMS[name])
    np.testing.assert_allclose(read(tmp_path / name).wavelength, AIR, rtol=1e-12)


def test_a_votable_holds_one_spectrum(tmp_path: Path) -> None:
    """It may have other tables. Names count, and not the identifiers."""
    whole = from_table(Table({"name": ["a star"]}))
    whole.resources.append(Resource())
    found = from_table(Table({"col1": WAVELENGTH, "col2": FLUX})).get_first_table()
    found.fields[0].name, found.fields[1].name = "wavelength", "flux"
    whole.resources[1].tables.append(found)
    whole.to_xml(str(tmp_path / "a.vot"))
    np.testing.assert_array_equal(read(tmp_path / "a.vot").flux, FLUX)
    whole.resources[1].tables.append(found)
    whole.to_xml(str(tmp_path / "a.vot"))
    with pytest.raises(ReadError, match="a VOTable must hold one spectrum, this has 2 with wavelength and flux"):
        read(tmp_path / "a.vot")


def test_masks_of_pypeit_mark_good_pixels(tmp_path: Path) -> None:
    made = Table({"wave": WAVELENGTH, "flux": FLUX, "ivar": np.ones(PIXELS), "mask": np.arange(PIXELS) >= 3})
    made["mask"] = made["mask"].astype(int)
    table = fits.BinTableHDU(made, name="SPECTRUM")
    table.header["DMODCLS"] = "OneSpec"
    table.writeto(tmp_path / "a.fits")
    assert masked(read(tmp_path / "a.fits")) == [0, 1, 2]
    table.header["DMODCLS"] = "OrderStack"
    table.writeto(tmp_path / "a.fits", overwrite=True)
    with pytest.raises(
        ReadError, match="a file of PypeIt with the data model OrderStack, of which only OneSpec is read"
    ):
        read(tmp_path / "a.fits")


def arms(path: Path, *columns: dict[str, Any]) -> Path:
    tables = [fits.BinTableHDU(Table(c), name=f"ARM{i}") for i, c in enumerate(columns)]
    fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(path, overwrite=True)
    return path


def test_arms_are_joined_in_the_order_of_their_wavelengths(tmp_path: Path) -> None:
    """A masked pixel at each side keeps a gap a gap; arms that only touch have none. Small fluxes keep their scale."""
    blue, red = np.linspace(3000.0, 5500.0, 26), np.linspace(6000.0, 9000.0, 31)
    path = arms(
        tmp_path / "a.fits",
        {"wavelength": red, "flux": np.full(31, 2e-17), "error": np.full(31, 1e-20)},
        {"wavelength": blue[::-1], "flux": np.full(26, 1e-17), "error": np.full(26, 1e-18)},
    )
    found = read(path)
    np.testing.assert_allclose(found.wavelength, [*blue, 5600.0, 5900.0, *red])
    np.testing.assert_allclose(found.flux * found.flux_scale, [1e-17] * 26 + [0.0] * 2 + [2e-17] * 31, rtol=1e-6)
    np.testing.assert_allclose(
        found.ivar.double() / found.flux_scale**2, [1e36] * 26 + [0.0] * 2 + [1e40] * 31, rtol=1e-6
    )
    assert found.labels == {"snr": found.snr} and found.id == "a"
    touching = arms(path, *({"wavelength": w, "flux": w} for w in (blue, np.linspace(5550.0, 9000.0, 31))))
    assert len(read(touching)) == 57 and masked(read(touching)) == []


def test_tables_that_are_no_arms_are_refused(tmp_path: Path) -> None:
    for first, second, reason in (
        ({}, {}, r"it has 2 tables with wavelength and flux \(ARM0, ARM1\) that overlap: one ends at 9000.0 Angstrom"),
        ({}, {"wavelength": WAVELENGTH + 4900.0}, "overlap"),
        ({"error": FLUX}, {"wavelength": WAVELENGTH + 6000.0}, "no arms of one spectrum"),
        ({}, {"wavelength": WAVELENGTH + 6000.0, "flux": FLUX * u.Jy}, "the units of their fluxes differ"),
    ):
        whole = {"wavelength": WAVELENGTH, "flux": FLUX}
        with pytest.raises(ReadError, match=reason):
            read(arms(tmp_path / "a.fits", whole | first, whole | second))
    other = {"wave": WAVELENGTH, "model": FLUX}  # a table without flux is none
    assert len(read(arms(tmp_path / "a.fits", {"wave": WAVELENGTH, "flux": FLUX}, other))) == PIXELS


def image(path: Path, scale: float = 1.0, **cards: Any) -> Path:
    """An image of the spectrum, with an axis in Angstrom times `scale`."""
    step = (WAVELENGTH[1] - WAVELENGTH[0]) * scale
    header = fits.Header({"CRVAL1": 4000.0 * scale, "CDELT1": step, "CRPIX1": 1.0} | cards)
    fits.PrimaryHDU(FLUX, header=header).writeto(path, overwrite=True)
    return path


@pytest.mark.parametrize(
    ("scale", "cards"),
    [
        (1.0, {}),
        (1.0, {"CTYPE1": "LINEAR", "WAT1_001": "wtype=linear label=Wavelength units=angstroms"}),
        (0.1, {"CTYPE1": "LINEAR", "WAT1_001": "wtype=linear label=Wavelength units=nanometers"}),
        (0.1, {"CTYPE1": "LINEAR", "WAT1_001": 'wtype=linear label="Wavelength" units="Nanometers" a=b'}),
        (1e-4, {"CTYPE1": "LINEAR", "WAT1_001": "wtype=linear label=Wavelength units=microns"}),
        (0.1, {"WAT1_001": f"{'wtype=linear label=Wavelength':65}uni", "WAT1_002": "ts=nanometers"}),
        (1.0, {"CTYPE1": "PIXEL", "CUNIT1": "Angstrom"}),
        (0.1, {"CTYPE1": "PIXEL", "WAT1_001": "wtype=linear label=Wavelength units=nanometers"}),
        (0.1, {"CUNIT1": "nm"}),
    ],
)
def test_the_axis_of_an_image_is_what_its_header_says(scale: float, cards: dict[str, Any], tmp_path: Path) -> None:
    np.testing.assert_allclose(read(image(tmp_path / "a.fits", scale, **cards)).wavelength, WAVELENGTH, rtol=1e-9)


@pytest.mark.parametrize(
    ("cards", "reason"),
    [
        ({"CTYPE1": "PIXEL"}, "an image of one axis of pixels"),
        ({"CTYPE1": "PIXEL", "CRVAL1": 1.0, "CDELT1": 1.0}, "an image of one axis of pixels"),
        ({"CRVAL1": 1.0, "CDELT1": 1.0}, "its wavelengths lie between 1 and 40 and have no unit"),
        ({"CTYPE1": "LINEAR", "CUNIT1": "pixel"}, "its wavelengths have the unit 'pixel', which is none of"),
        (
            {"WAT1_001": "wtype=linear label=Velocity units=km/s"},
            "labelled 'Velocity', which is no axis of wavelengths",
        ),
        ({"WAT1_001": "wtype=linear label=Pixel"}, "labelled 'Pixel', which is no axis of wavelengths"),
        ({"WAT1_001": "wtype=linear units=km/s"}, "its wavelengths have the unit 'km/s', which is none of"),
        ({"BUNIT": "mag"}, "its column flux must be linear"),
    ],
)
def test_images_of_other_axes_are_refused(cards: dict[str, Any], reason: str, tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=reason):
        read(image(tmp_path / "a.fits", **cards))


@pytest.mark.parametrize(("cards", "air"), [({"CTYPE1": "AWAV"}, True), ({"CTYPE1": "WAVE"}, False)])
def test_loaders_of_specutils_keep_the_air(cards: dict[str, Any], air: bool, tmp_path: Path) -> None:
    pytest.importorskip("specutils")
    path = image(tmp_path / "a.fits", 1e-10, CUNIT1="m", **cards)
    for form in (None, "wcs1d-fits"):
        np.testing.assert_allclose(spectromer.read(path, format=form).wavelength, AIR if air else WAVELENGTH, rtol=1e-9)
    made = Table({"wavelength": WAVELENGTH * u.AA, "flux": FLUX * u.Jy})
    made.meta["AIRORVAC"] = "air" if air else "vac"
    made.write(tmp_path / "b.fits")
    for form in (None, "tabular-fits"):
        found = spectromer.read(tmp_path / "b.fits", format=form)
        np.testing.assert_allclose(found.wavelength, AIR if air else WAVELENGTH, rtol=1e-9)


@pytest.mark.parametrize("name", ["a.ecsv", "a.fits", "a.parquet"])
def test_errors_are_converted_as_in_memory(name: str, tmp_path: Path) -> None:
    """From a flux density per frequency to one per wavelength, and from other units of the same kind."""
    flux, error = FLUX * 1e-17 * u.Unit("erg / (s cm2 AA)"), np.full(PIXELS, 1e-6) * u.Jy
    wave = WAVELENGTH * u.AA
    want = Spectrum.from_arrays(flux, StdDevUncertainty(error), wave)
    per_wavelength = error.to(flux.unit, u.spectral_density(wave)).value
    np.testing.assert_allclose(want.ivar.double() / want.flux_scale**2, per_wavelength**-2.0, rtol=1e-6)
    made = {"error": error, "variance": error**2, "ivar": error**-2}
    for column, values in made.items():
        table = Table({"wavelength": wave, "flux": flux, column: values})
        table.write(tmp_path / name, format=FORMS[name], overwrite=True)
        found = read(tmp_path / name)
        np.testing.assert_allclose(found.ivar, want.ivar, rtol=1e-6)
        assert found.flux_scale == want.flux_scale
