"""The readers: simulated files of every layout written with astropy, broken files, and the real spectra."""

import csv
import gzip
import warnings
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from astropy.io import fits

import spectromer
from spectromer import ReadError, Spectrum, SpectrumBatch
from spectromer.surveys import reading as readers
from spectromer.surveys.fits import FIRST_HDUS, AstropyHdu, NotPlain, read_plain
from spectromer.surveys.multimodal import from_multimodal
from spectromer.surveys.simulated import simulate
from spectromer.surveys.write import write_lamost, write_sdss, write_survey

WITHOUT_CATALOGUE = ("teff", "logg", "feh")  # survey files do not hold them


def equal(found: Spectrum, made: Spectrum) -> None:
    assert torch.equal(found.flux, made.flux) and torch.equal(found.ivar, made.ivar)
    torch.testing.assert_close(found.wavelength, made.wavelength, rtol=1e-12, atol=0)
    assert (found.survey, found.id) == (made.survey, made.id)
    want = {k: v for k, v in made.labels.items() if k not in WITHOUT_CATALOGUE and v != ""}
    for name, value in want.items():
        assert found.labels[name] == (value if isinstance(value, str) else pytest.approx(value, rel=1e-9)), name


@pytest.fixture(scope="module")
def sdss() -> list[Spectrum]:
    return list(simulate(12, surveys=("SDSS",)))


@pytest.fixture(scope="module")
def lamost() -> list[Spectrum]:
    return list(simulate(12, surveys=("LAMOST",)))


def test_sdss_files_read_back_equal(sdss: list[Spectrum], tmp_path: Path) -> None:
    for made in sdss:
        write_sdss(made, tmp_path / "a.fits")
        found = spectromer.read(tmp_path / "a.fits")
        equal(found, made)
        with fits.open(tmp_path / "a.fits") as hdus:
            assert np.array_equal(hdus[1].data["flux"], found.flux.numpy())
            assert np.array_equal(hdus[1].data["ivar"], found.ivar.numpy())
            np.testing.assert_allclose(10.0 ** hdus[1].data["loglam"].astype(float), found.wavelength, rtol=6e-7)
            assert hdus[2].data["Z"][0] == found.labels["z"]


@pytest.mark.parametrize("layout", ["table", "image"])
@pytest.mark.parametrize("packed", [False, True])
def test_lamost_files_read_back_equal(lamost: list[Spectrum], layout: str, packed: bool, tmp_path: Path) -> None:
    path = tmp_path / "spec.fits"
    for made in lamost:
        write_lamost(made, path, layout)
        if packed:  # a gzip stream under a plain name, as some archives serve it
            path.write_bytes(gzip.compress(path.read_bytes(), 1))
        equal(spectromer.read(path), made)


def test_upper_case_columns_and_unnamed_hdus(sdss: list[Spectrum], tmp_path: Path) -> None:
    """As SDSS-V and picca's files have them."""
    write_sdss(sdss[0], tmp_path / "a.fits")
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
    write_sdss(sdss[0], tmp_path / "a.fits")
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


def test_lamost_dr1_third_row_is_no_wavelength(lamost: list[Spectrum], tmp_path: Path) -> None:
    write_lamost(lamost[0], tmp_path / "a.fits", "image")
    with fits.open(tmp_path / "a.fits", mode="update") as hdus:
        hdus[0].data[2] = hdus[0].data[0]
        hdus[0].header["Z"] = -9999.0
    found = spectromer.read(tmp_path / "a.fits")
    torch.testing.assert_close(found.wavelength, lamost[0].wavelength, rtol=1e-12, atol=0)
    assert "z" not in found.labels


def test_contradicting_wavelengths_are_refused(lamost: list[Spectrum], tmp_path: Path) -> None:
    write_lamost(lamost[0], tmp_path / "a.fits")
    with fits.open(tmp_path / "a.fits", mode="update") as hdus:
        hdus[1].data["WAVELENGTH"] += 30.0
    with pytest.raises(ReadError, match="wavelengths differ from COEFF0 and COEFF1"):
        spectromer.read(tmp_path / "a.fits")


def test_broken_files_are_named_and_the_others_arrive(sdss: list[Spectrum], tmp_path: Path) -> None:
    for i, made in enumerate(sdss[:3]):
        write_sdss(made, tmp_path / f"good{i}.fits")
    whole = (tmp_path / "good0.fits").read_bytes()
    (tmp_path / "bad_cut.fits").write_bytes(whole[: len(whole) // 3])
    (tmp_path / "bad_empty.fits").write_bytes(b"")
    (tmp_path / "bad_text.fits").write_text("SIMPLE lies\n" * 1000)
    (tmp_path / "bad_zip.fits.gz").write_bytes(gzip.compress(whole)[:2000])
    (tmp_path / "bad_bomb.fits").write_bytes(gzip.compress(whole[:2880] + bytes(1 << 29), 9))
    fits.PrimaryHDU(np.zeros((7, 9))).writeto(tmp_path / "bad_layout.fits")
    (tmp_path / "README.md").write_text("not a spectrum")
    batch, rejected = spectromer.read(tmp_path)
    assert len(batch) == 3
    assert {Path(e.path).name for e in rejected} == {
        "bad_cut.fits",
        "bad_empty.fits",
        "bad_text.fits",
        "bad_zip.fits.gz",
        "bad_bomb.fits",
        "bad_layout.fits",
    }
    for error in rejected:
        assert str(error) == f"{error.path}: {error.reason}" and "\n" not in error.reason
    reasons = {Path(e.path).name: e.reason for e in rejected}
    assert reasons["bad_empty.fits"] == "the file is empty"
    assert reasons["bad_zip.fits.gz"] == "its gzip stream is cut off"
    assert reasons["bad_bomb.fits"] == "its gzip stream decompresses to more than 256 MiB"
    assert "not a layout this reads" in reasons["bad_layout.fits"] and "(7, 9)" in reasons["bad_layout.fits"]
    with pytest.raises(ReadError, match="no such file"):
        spectromer.read(tmp_path / "absent.fits")
    assert issubclass(ReadError, ValueError)


def test_a_list_keeps_its_order_and_pads(sdss: list[Spectrum], lamost: list[Spectrum], tmp_path: Path) -> None:
    write_sdss(sdss[0], tmp_path / "s.fits")
    write_lamost(lamost[0], tmp_path / "l.fits")
    batch, rejected = spectromer.read([tmp_path / "l.fits", tmp_path / "s.fits"])
    assert isinstance(batch, SpectrumBatch) and not rejected and batch.surveys == ["LAMOST", "SDSS"]
    for row, spectrum in enumerate((lamost[0], sdss[0])):  # both surveys' pixels lie on one grid
        first = int((batch.wavelength - spectrum.wavelength[0]).abs().argmin())
        place = slice(first, first + len(spectrum))
        torch.testing.assert_close(batch.wavelength[place], spectrum.wavelength, rtol=1e-9, atol=0)
        assert torch.equal(batch.flux[row, place], spectrum.flux)
        assert bool((batch.ivar[row, place] > 0).any()) and not batch.ivar[row, : place.start].any()
        assert not batch.ivar[row, place.stop :].any()
    moved = replace(lamost[0], wavelength=lamost[0].wavelength * (1.0 + 1e-5))
    batch = SpectrumBatch.from_spectra([moved, sdss[0]])
    assert batch.wavelength.shape == batch.flux.shape == (2, len(sdss[0]))
    assert not batch.ivar[0, len(moved) :].any() and bool((batch.wavelength.diff(dim=1) > 0).all())


def test_a_survey_writes_a_catalogue(tmp_path: Path) -> None:
    made = list(simulate(300))[250:262]
    path = write_survey(made, tmp_path)
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert len(rows) == 12 and {row["survey"] for row in rows} == {"SDSS", "LAMOST"}
    for row, spectrum in zip(rows, made, strict=True):
        equal(spectromer.read(tmp_path / row["path"]), spectrum)


def same(a: Spectrum, b: Spectrum) -> bool:
    """Bit for bit, labels and their types included."""
    pixels = all(torch.equal(getattr(a, name), getattr(b, name)) for name in ("flux", "ivar", "wavelength"))
    types = [{k: type(v) for k, v in s.labels.items()} for s in (a, b)]
    return pixels and a.labels == b.labels and types[0] == types[1] and (a.survey, a.id) == (b.survey, b.id)


def through_astropy(path: Path) -> Spectrum | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(path, memmap=False) as hdus:
            return readers._interpret([AstropyHdu(hdu) for hdu in hdus[:FIRST_HDUS]])


def test_what_is_not_plain_is_left_to_astropy(sdss: list[Spectrum], tmp_path: Path) -> None:
    """Scaled columns, arrays of variable length, long strings: the same values, by another way."""
    write_sdss(sdss[0], tmp_path / "a.fits")
    with fits.open(tmp_path / "a.fits") as hdus:
        columns = hdus[1].columns
        whole = np.round(hdus[1].data["flux"] * 100)
        scaled = fits.Column("flux", "J", array=whole.astype(np.int32))
        ragged = fits.Column("rest", "PE()", array=np.array([[1.0]] * len(whole), dtype=object))
        for name, column in (("scaled", scaled), ("ragged", ragged)):
            kept = [c for c in columns if c.name != column.name]
            table = fits.BinTableHDU.from_columns([*kept, column], name="COADD")
            fits.HDUList([hdus[0].copy(), table, hdus[2].copy()]).writeto(tmp_path / f"{name}.fits")
            if name == "scaled":
                fits.setval(tmp_path / "scaled.fits", f"TSCAL{len(kept) + 1}", value=0.01, ext=1)
        primary = fits.PrimaryHDU(header=hdus[0].header)
        primary.header["TELESCOP"] = "SDSS " * 30
        fits.HDUList([primary, hdus[1].copy(), hdus[2].copy()]).writeto(tmp_path / "long.fits")
    assert readers._interpret(read_plain(tmp_path / "a.fits")) is not None
    for name in ("scaled", "ragged"):
        with pytest.raises(NotPlain):
            readers._interpret(read_plain(tmp_path / f"{name}.fits"))
    found = spectromer.read(tmp_path / "scaled.fits")
    np.testing.assert_allclose(found.flux, sdss[0].flux, atol=0.0051)
    equal(spectromer.read(tmp_path / "ragged.fits"), sdss[0])
    equal(spectromer.read(tmp_path / "long.fits"), sdss[0])


@pytest.mark.parametrize("survey", ["SDSS", "LAMOST"])
def test_damaged_headers_end_in_a_reason(
    survey: str, sdss: list[Spectrum], lamost: list[Spectrum], tmp_path: Path
) -> None:
    """Bytes changed at random in the headers: the spectrum as astropy reads it, or one ReadError."""
    path = tmp_path / "a.fits"
    write_sdss(sdss[0], path) if survey == "SDSS" else write_lamost(lamost[0], path)
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    read = agreed = 0
    for _ in range(150):
        damaged = bytearray(whole)
        for at in rng.integers(0, 5760 if survey == "LAMOST" else 8640, 3):
            damaged[at] = rng.integers(32, 127)
        path.write_bytes(damaged)
        try:
            found = spectromer.read(path)
        except ReadError as error:
            assert error.reason
            continue
        read += 1
        with suppress(OSError, fits.VerifyError, TypeError):  # some damage is to what only astropy looks at
            astropys = through_astropy(path)
            assert astropys is not None and same(found, astropys)
            agreed += 1
    assert agreed > 10 and read < 150


@pytest.mark.survey
def test_real_files_are_read_as_by_astropy(survey_data: Path) -> None:
    """Every file of the catalogue, bit for bit, and none of them needs astropy."""
    for row in csv.DictReader((survey_data / "catalog.csv").read_text().splitlines()):
        if row["format"] == "MRS-bintable":
            continue
        path = survey_data / row["path"]
        found, astropys = readers._interpret(read_plain(path)), through_astropy(path)
        assert found is not None and astropys is not None and same(found, astropys), path


@pytest.mark.survey
def test_real_files_agree_with_astropy_and_the_catalogue(survey_data: Path) -> None:
    """Every layout: the first few files of each, their pixels against astropy, their labels against the catalogue."""
    seen: dict[tuple[str, str], int] = {}
    for row in csv.DictReader((survey_data / "catalog.csv").read_text().splitlines()):
        key = (row["format"], row["release"])
        seen[key] = seen.get(key, 0) + 1
        if seen[key] > 8:
            continue
        path = survey_data / row["path"]
        if row["format"] == "MRS-bintable":
            with pytest.raises(ReadError, match="medium resolution"):
                spectromer.read(path)
            continue
        found = spectromer.read(path)
        flux, ivar, wavelength = astropys(path, row["format"])
        good = np.isfinite(ivar) & (ivar > 0) & np.isfinite(flux)
        assert np.array_equal(found.flux.numpy()[good], flux[good].astype(np.float32)), path
        assert np.array_equal(found.ivar.numpy(), np.where(good, ivar, 0).astype(np.float32)), path
        np.testing.assert_allclose(found.wavelength, wavelength, rtol=1e-6)
        assert len(found) == int(row["npix"])
        for name in ("class", "subclass", "sourcetype"):
            assert found.labels.get(name, "") == row[name], (path, name)
        for name in ("z", "ra", "dec", "zwarning"):
            want = float(row[name]) if row[name] else None
            if want is None or want == -9999.0:
                assert name not in found.labels, (path, name)
            else:
                assert found.labels[name] == pytest.approx(want, abs=1e-6), (path, name)


def astropys(path: Path, layout: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """flux, ivar, wavelength as a user of astropy alone would get them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(path, memmap=False) as hdus:
            header = hdus[0].header
            if "spec-" in layout:
                table = hdus[1].data
                return table["flux"], table["ivar"], 10.0 ** table["loglam"].astype(float)
            if layout == "LRS-bintable_1row":
                table = hdus[1].data
                return table["FLUX"][0], table["IVAR"][0], table["WAVELENGTH"][0]
            data = hdus[0].data
            grid = 10.0 ** (header["COEFF0"] + header["COEFF1"] * np.arange(data.shape[1]))
            if layout.startswith("spSpec"):
                with np.errstate(divide="ignore"):
                    return data[0], np.where(data[2] > 0, 1.0 / data[2].astype(float) ** 2, 0.0), grid
            return data[0], data[1], data[2] if layout == "LRS-image5-wave" else grid


@pytest.mark.survey
def test_other_layouts_of_the_surveys_are_refused(survey_data: Path) -> None:
    spectra = survey_data / "spectra"
    for pattern, reason in (("spPlate-*.fits", "not a layout this reads"), ("redrock-*.fits", "a redrock table")):
        paths = list(spectra.rglob(pattern))
        assert paths
        for path in paths:
            with pytest.raises(ReadError, match=reason):
                spectromer.read(path)


def coadd_file(path: Path, targets: int = 3, shift: float = 0.0) -> dict[str, np.ndarray]:
    """A DESI coadd file with the redrock table beside it; what its arms hold."""
    rng = np.random.default_rng(3)
    ids = 39633345008634465 + np.arange(targets)
    columns = [fits.Column("TARGETID", "K", array=ids), fits.Column("OBJTYPE", "3A", array=["TGT", "SKY", "TGT"])]
    columns += [fits.Column(f"TARGET_{n}", "D", array=np.arange(3.0) + i) for i, n in enumerate(("RA", "DEC"))]
    hdus: list[fits.hdu.base._BaseHDU] = [fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns, name="FIBERMAP")]
    arms = {}
    for arm, first, count in (("B", 3600.0, 101), ("R", 3672.0 + shift, 91), ("Z", 3736.0, 111)):
        arms[f"{arm}_WAVELENGTH"] = first + 0.8 * np.arange(count)
        arms[f"{arm}_FLUX"] = rng.normal(size=(targets, count)).astype(np.float32)
        arms[f"{arm}_IVAR"] = rng.uniform(0.0, 2.0, (targets, count)).astype(np.float32)
        arms[f"{arm}_MASK"] = (rng.random((targets, count)) < 0.1).astype(np.int32)
    hdus += [fits.ImageHDU(values, name=name) for name, values in arms.items()]
    fits.HDUList(hdus).writeto(path)
    redshifts = [fits.Column("TARGETID", "K", array=ids[::-1]), fits.Column("Z", "D", array=[0.3, 0.2, 0.1])]
    redshifts += [fits.Column("ZERR", "D", array=[3e-5, 2e-5, 1e-5]), fits.Column("ZWARN", "K", array=[4, 0, 0])]
    redshifts += [fits.Column(n, "6A", array=["STAR", "", "GALAXY"]) for n in ("SPECTYPE", "SUBTYPE")]
    table = fits.BinTableHDU.from_columns(redshifts, name="REDSHIFTS")
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path.with_name(path.name.replace("coadd", "redrock")))
    return arms


def test_desi_coadd_files(tmp_path: Path) -> None:
    """Three arms become one spectrum: means by inverse variance where they overlap, pixel by pixel."""
    arms = coadd_file(tmp_path / "coadd-1.fits")
    found = spectromer.read(tmp_path / "coadd-1.fits")
    assert isinstance(found, tuple)
    batch, rejected = found
    assert not rejected and batch.surveys == ["DESI"] * 3 and batch.ids[0] == "39633345008634465"
    np.testing.assert_allclose(batch.wavelength, 3600.0 + 0.8 * np.arange(281), rtol=1e-12)
    for row in range(3):
        for i, wavelength in enumerate(batch.wavelength.tolist()):
            total = weight = 0.0
            for arm in "BRZ":
                at = np.flatnonzero(np.abs(arms[f"{arm}_WAVELENGTH"] - wavelength) < 0.1)
                if len(at) and arms[f"{arm}_MASK"][row, at[0]] == 0:
                    weight += float(arms[f"{arm}_IVAR"][row, at[0]])
                    total += float(arms[f"{arm}_IVAR"][row, at[0]] * arms[f"{arm}_FLUX"][row, at[0]])
            assert float(batch.ivar[row, i]) == pytest.approx(weight, rel=1e-6)
            assert weight == 0 or float(batch.flux[row, i]) == pytest.approx(total / weight, rel=1e-5, abs=1e-6)
    star, sky, galaxy = batch.labels
    assert (galaxy["class"], galaxy["z"], galaxy["zwarning"], galaxy["dec"]) == ("STAR", 0.3, 4, 3.0)
    assert sky["sourcetype"] == "SKY" and "class" not in sky and star["class"] == "GALAXY" and star["z_err"] == 1e-5
    batch, rejected = spectromer.read(tmp_path)
    assert len(batch) == 3 and [Path(e.path).name for e in rejected] == ["redrock-1.fits"]
    coadd_file(tmp_path / "coadd-2.fits", shift=0.3)
    with pytest.raises(ReadError, match=r"its arms do not share a grid of 0\.8 Angstrom"):
        spectromer.read(tmp_path / "coadd-2.fits")


@pytest.mark.survey
def test_real_desi_files(survey_data: Path) -> None:
    """Away from the overlaps they are what the arms hold; the redrock table gives class and z."""
    (path,) = (survey_data / "spectra").rglob("coadd-4-80613-thru20210324.fits")
    batch, _ = spectromer.read(path)
    with fits.open(path, memmap=False) as hdus:
        for arm, part in (("B", slice(0, 2600)), ("Z", slice(400, None))):
            first = round((hdus[f"{arm}_WAVELENGTH"].data[part][0] - 3600.0) / 0.8)
            flux, good = hdus[f"{arm}_FLUX"].data[:, part], hdus[f"{arm}_MASK"].data[:, part] == 0
            there = batch.flux[:, first : first + flux.shape[1]].numpy()
            np.testing.assert_allclose(there[good], flux[good], rtol=1e-6)
    assert batch.labels[0]["class"] == "GALAXY" and batch.labels[0]["z"] == pytest.approx(0.368744, abs=1e-6)


def test_multimodal_universe_files_and_rows(sdss: list[Spectrum], lamost: list[Spectrum], tmp_path: Path) -> None:
    """As its scripts write them: padded, wavelengths in single precision, flags; LAMOST without ivar."""
    h5py = pytest.importorskip("h5py")
    made = sdss[:3]
    pixels = len(made[0]) + 5

    def padded(values: list[torch.Tensor], fill: float) -> np.ndarray:
        return np.stack([np.pad(v.numpy(), (0, pixels - len(v)), constant_values=fill) for v in values])

    wavelength = padded([s.wavelength for s in made], -1.0).astype(np.float32)
    with h5py.File(tmp_path / "sdss.hdf5", "w") as file:
        file["object_id"] = np.array([b"11", b"12", b"13"])
        file["spectrum_flux"] = padded([s.flux for s in made], 7.0)
        file["spectrum_ivar"] = padded([torch.ones(len(s)) for s in made], 0.0)
        file["spectrum_mask"] = padded([s.ivar for s in made], 0.0) == 0
        file["spectrum_lambda"] = wavelength
        file["Z"], file["Z_ERR"] = [s.labels["z"] for s in made], np.full(3, 0.01)
        file["ZWARNING"], file["CLASS"] = np.zeros(3, int), np.array([s.labels["class"].encode() for s in made])
        file["ra"], file["dec"] = [1.0, 2.0, 3.0], [4.0, 5.0, 6.0]
    with h5py.File(tmp_path / "lamost.h5", "w") as file:
        file["object_id"] = file["obsid"] = [101, 102]
        file["spectrum_flux"] = np.stack([s.flux.numpy() for s in lamost[:2]])
        file["spectrum_wavelength"] = np.stack([s.wavelength.numpy() for s in lamost[:2]]).astype(np.float32)
        file["teff"], file["snrg"] = [5000.0, -9999.0], [10.0, 20.0]
    with h5py.File(tmp_path / "other.hdf5", "w") as file:
        file["image"] = np.zeros(3)
    (tmp_path / "torn.hdf5").write_bytes((tmp_path / "sdss.hdf5").read_bytes()[:3000])
    batch, rejected = spectromer.read([tmp_path / "sdss.hdf5"])
    assert not rejected and batch.ids == ["11", "12", "13"] and batch.surveys == ["SDSS"] * 3
    for row, want in zip(batch, made, strict=True):
        torch.testing.assert_close(row.wavelength, want.wavelength, rtol=1e-12, atol=0)
        assert torch.equal(row.flux, want.flux) and torch.equal(row.ivar > 0, want.ivar > 0)
        assert row.labels["z"] == want.labels["z"] and row.labels["class"] == want.labels["class"]
    batch, rejected = spectromer.read(tmp_path)
    assert batch.surveys == ["LAMOST"] * 2 + ["SDSS"] * 3 and batch.ids[:2] == ["101", "102"]
    assert {Path(e.path).name for e in rejected} == {"other.hdf5", "torn.hdf5"}
    assert batch.labels[0]["teff"] == 5000.0 and batch.labels[1]["snr_g"] == 20.0 and "teff" not in batch.labels[1]

    row = {"flux": [1.0, 2.0, 3.0], "ivar": [1.0, 1.0, 1.0], "lambda": [3600.0, 3600.8, 3601.6]}
    found = from_multimodal(
        {"spectrum": row | {"mask": [False, True, False]}, "ZWARN": False, "z": 0.5, "object_id": "5"}
    )
    assert found.survey == "DESI" and found.ivar.tolist() == [1.0, 0.0, 1.0] and found.labels["zwarning"] == 1
    with pytest.raises(ValueError, match="a spectrum needs flux and lambda, this has flux"):
        from_multimodal({"spectrum_flux": [1.0]})
