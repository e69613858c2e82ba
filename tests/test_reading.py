"""Reading files, lists and folders: broken files, other layouts, and the real spectra."""

import csv
import gzip
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from astropy.io import fits

import spectromer
from spectromer import ReadError, Spectrum, SpectrumBatch
from spectromer.surveys.lamost import SURVEY as LAMOST
from spectromer.surveys.sdss import SURVEY as SDSS


def test_broken_files_are_named_and_the_others_arrive(sdss: list[Spectrum], tmp_path: Path) -> None:
    for i, made in enumerate(sdss[:3]):
        SDSS.write(made, tmp_path / f"good{i}.fits")
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
    assert reasons["bad_bomb.fits"] == (
        "its gzip stream decompresses to more than 16 MiB; decompress it first if it holds spectra"
    )
    assert "not a layout this reads" in reasons["bad_layout.fits"] and "(7, 9)" in reasons["bad_layout.fits"]
    with pytest.raises(ReadError, match="no such file"):
        spectromer.read(tmp_path / "absent.fits")
    assert issubclass(ReadError, ValueError)


def test_a_list_keeps_its_order_and_pads(sdss: list[Spectrum], lamost: list[Spectrum], tmp_path: Path) -> None:
    SDSS.write(sdss[0], tmp_path / "s.fits")
    LAMOST.write(lamost[0], tmp_path / "l.fits")
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
            assert spectromer.read(path).id == "747412076"  # see test_lamost.py
            continue
        found = spectromer.read(path)
        flux, ivar, wavelength = astropys(path, row["format"])
        good = np.isfinite(ivar) & (ivar > 0) & np.isfinite(flux) & (flux != 0)
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
    for pattern, reason in (("spPlate-*.fits", "an spPlate file"), ("redrock-*.fits", "a redrock table")):
        paths = list(spectra.rglob(pattern))
        assert paths
        for path in paths:
            with pytest.raises(ReadError, match=reason):
                spectromer.read(path)
