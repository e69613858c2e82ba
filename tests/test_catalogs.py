"""Catalogues of every survey, and tables of one's own."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from astropy.table import Table

from spectromer.surveys.catalogs import Catalog, prepare_catalog


def catalogue_of(table: Table, path: Path, **options: object) -> Catalog:
    table.write(path, **options)
    assert prepare_catalog(path, path.with_suffix(".arrow")) == len(table)
    return Catalog(path.with_suffix(".arrow"))


@pytest.mark.parametrize("ending", ["fits", "csv"])
def test_sdss_catalogues_and_their_noqso_columns(ending: str, tmp_path: Path) -> None:
    """Z_NOQSO where the target was selected as a galaxy (BOSS_TARGET1 bit 1, GAL_CMASS), Z elsewhere."""
    table = Table(
        {
            "PLATE": ["3586.0", "3586.0", "266.0"],
            "MJD": [55181, 55181, 51602],
            "FIBERID": [7, 8, 1],
            "CLASS": ["QSO", "QSO", "STAR"],
            "SUBCLASS": ["BROADLINE", "BROADLINE", "A0"],
            "Z": [2.1, 2.2, 0.0001],
            "Z_ERR": [0.1, 0.1, 0.1],
            "ZWARNING": [4, 0, 0],
            "CLASS_NOQSO": ["GALAXY", "GALAXY", "  "],
            "SUBCLASS_NOQSO": ["", "", ""],
            "Z_NOQSO": [0.55, 0.56, 0.0],
            "Z_ERR_NOQSO": [0.01, 0.01, 0.0],
            "ZWARNING_NOQSO": [0, 0, 0],
            "BOSS_TARGET1": [2, 1 << 10, 2],
            "PLUG_RA": [10.0, 11.0, np.nan],
        }
    )
    catalog = catalogue_of(table, tmp_path / f"specObj.{ending}")
    galaxy, quasar, star, absent = catalog.labels(
        ["SDSS-3586-55181-0007", "SDSS-3586-55181-0008", "SDSS-0266-51602-0001", "LAMOST-1"]
    )
    assert galaxy == {"class": "GALAXY", "z": 0.55, "z_err": 0.01, "zwarning": 0, "ra": 10.0}
    assert (quasar["class"], quasar["z"], quasar["subclass"]) == ("QSO", 2.2, "BROADLINE")
    assert (star["class"], star["z"]) == ("STAR", 0.0001) and "ra" not in star
    assert absent == {} and isinstance(galaxy["zwarning"], int)


def test_lamost_catalogues(tmp_path: Path) -> None:
    """As the survey publishes them, with "|" between; -9999 and empty fields are missing."""
    text = "obsid|designation|objra|objdec|snrg|class|subclass|z|teff|logg|feh|fibertype\n"
    text += "101001|J1|332.2|-2.05|23.5|STAR|F5|-0.0001|6120.5|4.1|-9999|Obj\n"
    text += "101002|J2|332.3|-2.06||Unknown|Non|-9999.0||||Sky\n"
    (tmp_path / "dr5.csv").write_text(text)
    assert prepare_catalog(tmp_path / "dr5.csv", tmp_path / "dr5.arrow") == 2
    star, sky = Catalog(tmp_path / "dr5.arrow").labels(["LAMOST-101001", "LAMOST-101002"])
    assert star == {
        "class": "STAR", "subclass": "F5", "z": -0.0001, "ra": 332.2, "dec": -2.05, "snr_g": 23.5, "teff": 6120.5,
        "logg": 4.1, "sourcetype": "Obj",
    }  # fmt: skip
    assert sky == {"class": "Unknown", "subclass": "Non", "ra": 332.3, "dec": -2.06, "sourcetype": "Sky"}


def test_catalogues_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("name,mass\nx,1\n")
    with pytest.raises(ValueError, match=r"a\.csv: a catalogue needs a column path, or .*OBSID .* this has name, mass"):
        prepare_catalog(tmp_path / "a.csv", tmp_path / "a.arrow")
    (tmp_path / "b.fits").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"b\.fits: "):
        prepare_catalog(tmp_path / "b.fits", tmp_path / "b.arrow")
    with pytest.raises(ValueError, match="no such file"):
        prepare_catalog(tmp_path / "c.csv", tmp_path / "c.arrow")
    assert not list(tmp_path.glob("*.arrow*"))


def keys(text: str, folder: Path) -> list[str]:
    """The names that a catalogue of one row gives its spectrum."""
    (folder / "a.csv").write_text(text)
    prepare_catalog(folder / "a.csv", folder / "a.arrow")
    with pa.memory_map(str(folder / "a.arrow")) as file:
        return [key.decode() for key in pa.ipc.open_file(file).read_all()["key"].to_pylist()]


def test_every_spelling_of_an_identity(tmp_path: Path) -> None:
    for text, name in (
        ("PLATEID,MJD,FIBERID\n266,51602,1\n", "SDSS-0266-51602-0001"),
        ("FIELD,MJD,CATALOGID\n15000,59146,4375786564\n", "SDSS-15000-59146-4375786564"),
        ("SPECOBJID,z\n299489677444933632,0.1\n", "SDSS-299489677444933632"),
        ("plate,mjd,specobjid\n266,51602,299489677444933632\n", "SDSS-0266-51602-299489677444933632"),
        ("LMJD,PLANID,SPID,FIBERID\n55859,F5902,1,7\n", "LAMOST-55859-F5902-1-7"),
        ("TARGETID,Z\n39633345008634465,0.1\n", "DESI-39633345008634465"),
    ):
        assert keys(text, tmp_path) == [name]


def test_desi_catalogues(tmp_path: Path) -> None:
    text = (
        "TARGETID,SPECTYPE,SUBTYPE,Z,ZERR,ZWARN,TARGET_RA,TARGET_DEC\n39633345008634465,STAR,M,0.0001,1e-5,4,10.5,-2\n"
    )
    (tmp_path / "zcat.csv").write_text(text)
    prepare_catalog(tmp_path / "zcat.csv", tmp_path / "zcat.arrow")
    (star,) = Catalog(tmp_path / "zcat.arrow").labels(["DESI-39633345008634465"])
    assert star == {"class": "STAR", "subclass": "M", "z": 1e-4, "z_err": 1e-5, "zwarning": 4, "ra": 10.5, "dec": -2}
