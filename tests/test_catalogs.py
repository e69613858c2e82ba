"""Catalogues of every survey, and tables of one's own."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, Table

from spectromer.labels import believe
from spectromer.surveys.catalogs import Catalog, path_key, prepare_catalog


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


def labels_of(text: str, folder: Path, *names: str) -> list[dict[str, object]]:
    """The labels that a text catalogue gives spectra."""
    (folder / "a.csv").write_text(text)
    prepare_catalog(folder / "a.csv", folder / "a.arrow")
    return Catalog(folder / "a.arrow").labels(names)


def test_identifiers_are_exact(tmp_path: Path) -> None:
    """An identifier of 64 bits is none of a float, even beside a missing one; one that was rounded is refused."""
    names = [f"SDSS-15000-59146-2702159784267914{i}" for i in (0, 1)]
    for value in ("27021597842679141", '"27021597842679141"', "027021597842679141"):
        text = f"field,mjd,catalogid,class,z\n15000,59146,{value},STAR,0.5\n15000,59147,,STAR,0\n"
        assert labels_of(text, tmp_path, *names) == [{}, {"class": "STAR", "z": 0.5}]
    large = 2**63 + 12345  # as unsigned identifiers of SDSS may be
    assert labels_of(f"specObjID,class,z\n{large},STAR,0.5\n", tmp_path, f"SDSS-{large}", f"SDSS-{large + 1}") == [
        {"class": "STAR", "z": 0.5},
        {},
    ]
    for value in ("27021597842679141.0", "2.702159784267914e+16"):  # as they are written of floats
        with pytest.raises(ValueError, match=r"a\.csv: its column CATALOGID has identifiers as floating-point numbers"):
            labels_of(f"field,mjd,catalogid,class,z\n15000,59146,{value},STAR,0.5\n", tmp_path)
    table = Table({"FIELD": [15000], "MJD": [59146], "CATALOGID": [27021597842679141.0], "CLASS": ["STAR"], "Z": [0.5]})
    table.write(tmp_path / "b.fits")
    with pytest.raises(ValueError, match=r"b\.fits: its column CATALOGID has identifiers as floating-point numbers"):
        prepare_catalog(tmp_path / "b.fits", tmp_path / "b.arrow")


def test_rows_without_an_identity_name_nothing(tmp_path: Path) -> None:
    text = "plate,mjd,fiberid,class,z\n266,51602,,GALAXY,0.1\n266,51602,-9999,GALAXY,0.1\n266,51602,7,STAR,0\n"
    assert labels_of(text, tmp_path, "SDSS-0266-51602-0000", "SDSS-0266-51602-0007")[0] == {}
    with pa.memory_map(str(tmp_path / "a.arrow")) as file:
        assert pa.ipc.open_file(file).read_all()["key"].to_pylist() == [b"SDSS-0266-51602-0007"]
    assert labels_of("path,class\n,STAR\na.fits,STAR\n", tmp_path, "path:", path_key(tmp_path)) == [{}, {}]
    with pytest.raises(ValueError, match=r"a\.csv: none of its rows names a spectrum, .* \(1 row\)"):
        labels_of("path,class\n,STAR\n", tmp_path)


def test_a_catalogue_of_paths_alone(tmp_path: Path) -> None:
    (tmp_path / "gr\u00fcn.csv").write_text("path\n\u00e9toile.fits\nb.fits\n")
    assert prepare_catalog(tmp_path / "gr\u00fcn.csv", tmp_path / "a.arrow") == 2
    catalog = Catalog(tmp_path / "a.arrow")
    assert catalog.paths() == [str(tmp_path / name) for name in ("b.fits", "\u00e9toile.fits")]
    assert catalog.labels([path_key(tmp_path / "\u00e9toile.fits"), path_key(tmp_path / "other\udcff.fits")]) == [
        {},
        {},
    ]


def test_nulls_of_fits_tables_are_no_labels(tmp_path: Path) -> None:
    table = Table(
        {"PLATE": [266, 266], "MJD": [51602] * 2, "FIBERID": [3, 4], "CLASS": ["GALAXY", "STAR"], "Z": [0.1, 0.3]}
    )
    table["ZWARNING"] = MaskedColumn([0, 4], mask=[False, True])
    table["SUBCLASS"] = MaskedColumn(["AGN", ""], mask=[False, True])
    table["RA"] = MaskedColumn([10.0, 20.0], mask=[False, True])
    found = catalogue_of(table, tmp_path / "c.fits").labels(["SDSS-0266-51602-0003", "SDSS-0266-51602-0004"])
    assert found[0] == {"class": "GALAXY", "subclass": "AGN", "z": 0.1, "zwarning": 0, "ra": 10.0}
    assert found[1] == {"class": "STAR", "z": 0.3}


def test_every_form_of_a_parquet_column(tmp_path: Path) -> None:
    """Categories, bytes, unsigned and missing integers, and flags as words or as true and false."""
    for flags in (pa.array([True, False, None]), pa.array(["T", "F", None]), pa.array([1, 0, None])):
        table = pa.table(
            {
                "targetid": pa.array([1, 2, 3], pa.uint64()),
                "spectype": pa.array(["STAR", "GALAXY", None]).dictionary_encode(),
                "subtype": pa.array([b"A0", None, b""]),
                "zwarn": flags,
            }
        )
        pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
        prepare_catalog(tmp_path / "a.parquet", tmp_path / "a.arrow")
        found = Catalog(tmp_path / "a.arrow").labels(["DESI-1", "DESI-2", "DESI-3"])
        assert found[:2] == [{"class": "STAR", "subclass": "A0", "zwarning": 1}, {"class": "GALAXY", "zwarning": 0}]
        assert "zwarning" not in found[2]


def test_every_spelling_of_the_labels(tmp_path: Path) -> None:
    """SpecObj and spAll, SkyServer and CasJobs, the catalogues of LAMOST and DESI, and tables of one's own."""
    fit = {"class": "STAR", "subclass": "A0", "z": 0.5, "z_err": 0.25, "zwarning": 4}
    sdss, values = "266,51602,3", "STAR,A0,0.5,0.25,4"
    for names in (
        "PLATE,MJD,FIBERID,CLASS,SUBCLASS,Z,Z_ERR,ZWARNING",
        "plate,mjd,fiberID,class,subClass,z,zErr,zWarning",
        "plate,MJD,fiber_ID,class,subclass,redshift,z_err,z_warning",
    ):
        assert labels_of(f"{names}\n{sdss},{values}\n", tmp_path, "SDSS-0266-51602-0003") == [fit]
    for names in ("SPECTYPE,SUBTYPE,Z,ZERR,ZWARN", "class,subclass,z,zerr,zwarn", "CLASS,SUBCLASS,Z,Z_ERR,ZWARNING"):
        assert labels_of(f"targetid,{names}\n39633,{values}\n", tmp_path, "DESI-39633") == [fit]
        assert labels_of(f"path,{names}\na.fits,{values}\n", tmp_path, path_key(tmp_path / "a.fits")) == [fit]
    medium = "obsid,teff_lasp,teff_lasp_err,logg_lasp,logg_lasp_err,feh_lasp,feh_lasp_err\n7,5000,50,4,0.5,-1,0.25\n"
    assert labels_of(medium, tmp_path, "LAMOST-7") == [
        {"teff": 5000.0, "teff_err": 50.0, "logg": 4.0, "logg_err": 0.5, "feh": -1.0, "feh_err": 0.25}
    ]
    parameters = "plate,mjd,fiberid,teffadop,loggadop,fehadop,teff,feh_err\n266,51602,3,5000,4,-1,6000,0.5\n"
    assert labels_of(parameters, tmp_path, "SDSS-0266-51602-0003") == [{"teff": 5000.0, "logg": 4.0, "feh": -1.0}]


def test_a_magnitude_is_no_redshift(tmp_path: Path) -> None:
    """Tables of photometry have magnitudes u, g, r, i and z, and the redshift in a column of that name."""
    names, values = "plate,mjd,fiberid,class,u,g,r,i,z", "266,51602,3,GALAXY,19.1,18.2,17.5,17.1,16.9"
    name = "SDSS-0266-51602-0003"
    for more in ("g,r,i,z,y", "g,r,z,w1,w2", "G,R,I,Z,J"):  # Pan-STARRS, the Legacy Surveys
        head, row = f"plate,mjd,fiberid,class,{more}", "266,51602,3,GALAXY,20.1,19.5,19.3,19.2,19.1"
        assert labels_of(f"{head}\n{row}\n", tmp_path, name) == [{"class": "GALAXY"}]
        assert labels_of(f"{head},z_spec\n{row},0.1\n", tmp_path, name) == [{"class": "GALAXY", "z": 0.1}]
    with pytest.raises(ValueError, match="several of its columns are named Z but for letter case"):
        labels_of("plate,mjd,fiberid,class,Z,z\n266,51602,3,GALAXY,0.1,19\n", tmp_path)
    assert labels_of(f"{names},redshift\n{values},0.1\n", tmp_path, name) == [{"class": "GALAXY", "z": 0.1}]
    assert labels_of(f"{names}\n{values}\n", tmp_path, name) == [{"class": "GALAXY"}]


def test_targets_selected_as_galaxies_in_every_spelling(tmp_path: Path) -> None:
    fits = "3586,55181,3,QSO,BROADLINE,2.1,0.001,0,GALAXY,0.5,0.0001,0,LRG"
    for c, z, e, w in (
        ("class_noqso", "z_noqso", "zErr_noqso", "zWarning_noqso"),
        ("classNoQSO", "zNoQSO", "zErrNoQSO", "zWarningNoQSO"),
        ("class_noqso", "z_noqso", "z_noqso_err", "zwarning_noqso"),
        ("spectype_noqso", "redshift_noqso", "redshift_err_noqso", "redshift_warning_noqso"),
    ):
        text = f"plate,mjd,fiberID,class,subClass,z,zErr,zWarning,{c},{z},{e},{w},sourceType\n{fits}\n"
        assert labels_of(text, tmp_path, "SDSS-3586-55181-0003") == [
            {"class": "GALAXY", "z": 0.5, "z_err": 1e-4, "zwarning": 0, "sourcetype": "LRG"}
        ]


def test_catalogues_of_quasars(tmp_path: Path) -> None:
    """As DR16Q: redshifts without a class. Its superset has other objects, too."""
    text = "PLATE,MJD,FIBERID,Z,Z_PIPE,ZWARN_PIPE,IS_QSO_FINAL\n7000,56000,1,2.31,0.3,4,1\n7000,56000,2,0.1,0.1,0,0\n"
    found = labels_of(text, tmp_path, "SDSS-7000-56000-0001", "SDSS-7000-56000-0002")
    assert found == [{"class": "QSO", "z": 2.31}, {"z": 0.1}]
    text = "PLATE,MJD,FIBERID,Z_VI,Z_PIPE,ZWARNING,RA,DEC\n7000,56000,1,2.31,0.3,4,10,20\n"  # DR12Q
    assert labels_of(text, tmp_path, "SDSS-7000-56000-0001") == [{"class": "QSO", "z": 2.31, "ra": 10.0, "dec": 20.0}]


def test_tables_of_the_legacy_releases(tmp_path: Path) -> None:
    """Bit 4 of zWarning means something else there, and classes are numbers."""
    text = "plate,mjd,fiberid,specClass,z,zWarning\n266,51602,1,2,0.1,16\n266,51602,2,3,1.5,0\n266,51602,3,5,0,0\n"
    found = labels_of(text, tmp_path, *(f"SDSS-0266-51602-000{i}" for i in (1, 2, 3)))
    assert [believe(labels) for labels in found] == [{}, {"class": "QSO", "z": 1.5}, {}]


def test_a_field_of_the_imaging_survey_names_no_spectrum(tmp_path: Path) -> None:
    text = "run,camcol,field,specobjid,mjd,fiberid,class\n756,3,266,299489676975171584,51602,3,GALAXY\n"
    found = labels_of(text, tmp_path, "SDSS-0266-51602-0003", "SDSS-299489676975171584")
    assert found == [{}, {"class": "GALAXY"}]


def test_rows_of_plates_and_of_fields(tmp_path: Path) -> None:
    text = "plate,field,mjd,fiberid,class\n266,,51602,3,GALAXY\n,15000,59146,7,STAR\n"
    found = labels_of(text, tmp_path, "SDSS-0266-51602-0003", "SDSS-15000-59146-0007")
    assert found == [{"class": "GALAXY"}, {"class": "STAR"}]


def test_masked_columns_of_parquet_files_of_astropy(tmp_path: Path) -> None:
    table = Table({"path": ["a.fits", "b.fits"], "class": ["STAR", "QSO"]})
    table["z"] = MaskedColumn([9.99, 0.2], mask=[True, False])
    table["zwarning"] = MaskedColumn([4, 0], mask=[True, False])
    found = catalogue_of(table, tmp_path / "c.parquet").labels([path_key(tmp_path / name) for name in table["path"]])
    assert found == [{"class": "STAR"}, {"class": "QSO", "z": 0.2, "zwarning": 0}]


def test_odd_text_tables(tmp_path: Path) -> None:
    """Comments with commas, decimal commas, NULL of MySQL, and fits of one element."""
    text = "# Downloaded from X, 2024-01-02\n# a\tb\ntargetid,class,z\n1,STAR,\\N\n2,QSO,1.5\n"
    assert labels_of(text, tmp_path, "DESI-1", "DESI-2") == [{"class": "STAR"}, {"class": "QSO", "z": 1.5}]
    assert labels_of("targetid;class;z\n1;QSO;1,5\n", tmp_path, "DESI-1") == [{"class": "QSO", "z": 1.5}]
    with pytest.raises(ValueError, match="column of the class must hold texts such as STAR, it holds numbers"):
        labels_of("targetid,class,z\n1,2,0.1\n", tmp_path)
    table = Table({"TARGETID": [1], "SPECTYPE": ["STAR"], "Z": [[0.5]]})
    assert catalogue_of(table, tmp_path / "v.fits").labels(["DESI-1"]) == [{"class": "STAR", "z": 0.5}]


def test_unsigned_nulls_and_tables_behind_others(tmp_path: Path) -> None:
    masked = Table({"TARGETID": [1, 2], "SPECTYPE": ["STAR", "STAR"]})
    masked["ZWARN"] = MaskedColumn(np.array([0, 4], np.uint16), mask=[True, False])
    found = catalogue_of(masked, tmp_path / "b.fits").labels(["DESI-1", "DESI-2"])
    assert found == [{"class": "STAR"}, {"class": "STAR", "zwarning": 4}]
    unsigned = fits.Column("ZWARN", "I", bzero=32768, null=-32768, array=np.array([0, 4], np.uint16))
    columns = [
        fits.Column("TARGETID", "K", array=[1, 2]),
        fits.Column("SPECTYPE", "4A", array=["STAR", "STAR"]),
        unsigned,
    ]
    meta = fits.BinTableHDU.from_columns([fits.Column("META", "4A", array=["x"])])
    fits.HDUList([fits.PrimaryHDU(), meta, fits.BinTableHDU.from_columns(columns)]).writeto(tmp_path / "a.fits")
    prepare_catalog(tmp_path / "a.fits", tmp_path / "a.arrow")
    found = Catalog(tmp_path / "a.arrow").labels(["DESI-1", "DESI-2"])
    assert found == [{"class": "STAR"}, {"class": "STAR", "zwarning": 4}]


def test_parameters_of_failed_fits_are_missing(tmp_path: Path) -> None:
    text = "targetid,teff,logg,rvs_warn,success,coadd_fiberstatus,z,spectype,zwarn\n"
    text += "1,5000,4,0,True,,0,STAR,0\n2,5000,4,1,True,0,0,STAR,0\n3,5000,4,0,False,0,0,STAR,0\n"
    found = labels_of(text, tmp_path, "DESI-1", "DESI-2", "DESI-3")
    assert [labels.get("teff") for labels in found] == [5000.0, None, None]
    assert [believe(labels).get("z") for labels in found] == [0.0, 0.0, 0.0]


def test_flags_of_desi_fibres(tmp_path: Path) -> None:
    """A bad fibre is a warning, a sky fibre has no labels, and the primary row of a target counts."""
    text = (
        "TARGETID,SPECTYPE,Z,ZWARN,{level}FIBERSTATUS,OBJTYPE,ZCAT_PRIMARY\n"
        "11,GALAXY,0.1,0,0,TGT,{yes}\n12,GALAXY,0.2,0,65536,TGT,{yes}\n13,GALAXY,0.3,0,0,SKY,{yes}\n"
        "14,GALAXY,0.4,0,0,BAD,{yes}\n15,STAR,0.5,0,0,TGT,{no}\n15,GALAXY,0.6,0,0,TGT,{yes}\n"
    )
    for yes, no, level in (("True", "False", "COADD_"), ("T", "F", "COADD_"), ("1", "0", "COADD_"), ("1", "0", "")):
        found = labels_of(text.format(yes=yes, no=no, level=level), tmp_path, *(f"DESI-{i}" for i in range(11, 16)))
        assert [believe(labels).get("z") for labels in found] == [0.1, None, None, None, 0.6]


@pytest.mark.parametrize(
    "head",
    [
        "#Table1\nplate,mjd,fiberID,class,z",
        "\ufeffplate,mjd,fiberID,class,z",
        "# plate,mjd,fiberID,class,z",
        "# a\n#\nplate,mjd,fiberID,class,z",
    ],
)
def test_lines_before_the_names_of_columns(head: str, tmp_path: Path) -> None:
    found = labels_of(f"{head}\n266,51602,3,GALAXY,0.1\n", tmp_path, "SDSS-0266-51602-0003")
    assert found == [{"class": "GALAXY", "z": 0.1}]


def test_one_odd_row_costs_that_row(tmp_path: Path) -> None:
    text = "targetid,class,z,zwarn,dec\n1,STAR,0.1,0.5,5\n2,STAR,abc,0,-99\n3,STAR,0.1,0,5\n"
    assert labels_of(text, tmp_path, "DESI-1", "DESI-2", "DESI-3") == [
        {"class": "STAR", "z": 0.1, "zwarning": 1, "dec": 5.0},  # an odd zwarning is a warning
        {"class": "STAR", "zwarning": 0},
        {"class": "STAR", "z": 0.1, "zwarning": 0, "dec": 5.0},
    ]


def test_a_catalogue_of_two_surveys_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"a\.csv: it names spectra of DESI and LAMOST; its labels can be those of one"
    ):
        labels_of("targetid,obsid,class\n1,2,STAR\n", tmp_path)


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
