"""DESI: coadd files and their tables of redshifts."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

import spectromer
from spectromer import ReadError
from spectromer.labels import believe


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


def table(path: Path, change: dict[str, object], hdu: str) -> None:
    """Replace columns of a table in a file, or add them."""
    with fits.open(path, memmap=False) as hdus:
        columns = Table(hdus[hdu].data)
        for name, values in change.items():
            columns[name] = values
        place = hdus.index_of(hdu)
        hdus[place] = fits.BinTableHDU(columns, name=hdu)
        hdus.writeto(path, overwrite=True)


@pytest.mark.parametrize("status", ["COADD_FIBERSTATUS", "FIBERSTATUS"])
def test_bad_fibres_are_a_warning(status: str, tmp_path: Path) -> None:
    """Redrock may fit their spectra well, so that ZWARN is 0."""
    path = tmp_path / "coadd-1.fits"
    coadd_file(path)
    table(path, {status: [1 << 16, 0, 0], "OBJTYPE": ["TGT", "TGT", "BAD"]}, "FIBERMAP")
    table(tmp_path / "redrock-1.fits", {"ZWARN": [0, 0, 0], "SPECTYPE": ["GALAXY"] * 3}, "REDSHIFTS")
    batch, _ = spectromer.read(path)
    assert [believe(labels).get("z") for labels in batch.labels] == [None, 0.2, None]
    assert batch.labels[1]["zwarning"] == 0


@pytest.mark.parametrize("name", ["redrock-1.fits.gz", "zbest-1.fits", "zbest-1.fits.gz"])
def test_every_companion_file_is_found(name: str, tmp_path: Path) -> None:
    coadd_file(tmp_path / "coadd-1.fits")
    with fits.open(tmp_path / "redrock-1.fits") as hdus:
        if "zbest" in name:
            hdus["REDSHIFTS"].name = "ZBEST"
        hdus.writeto(tmp_path / name)
    (tmp_path / "redrock-1.fits").unlink()
    batch, rejected = spectromer.read(tmp_path)
    assert batch.labels[0]["z"] == 0.1 and [Path(error.path).name for error in rejected] == [name]
    assert "a redrock table of redshifts" in rejected[0].reason


def test_one_odd_target_costs_that_target(tmp_path: Path) -> None:
    coadd_file(tmp_path / "coadd-1.fits")
    table(tmp_path / "redrock-1.fits", {"ZWARN": [0.0, 0.5, 0.0]}, "REDSHIFTS")
    batch, rejected = spectromer.read(tmp_path / "coadd-1.fits")
    assert batch.ids == ["39633345008634465", "39633345008634467"]
    assert [e.reason for e in rejected] == [
        "target 39633345008634466: its zwarning must be a whole number of 64 bits, got 0.5"
    ]


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
