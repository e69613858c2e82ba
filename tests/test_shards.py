"""Shards: what is written is read back, by this package and by any reader of Arrow; catalogues; objects."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from astropy.table import Table

from spectromer import Spectrum, SpectrumBatch
from spectromer.grids import common_grid, log_coefficients, log_grid
from spectromer.shards.splits import name_objects
from spectromer.shards.store import BLOCK_ROWS, ShardSet, block_of, read_indexed, write_shard
from spectromer.surveys.catalogs import Catalog, prepare_catalog
from spectromer.surveys.simulated import simulate


@pytest.fixture(scope="module")
def spectra() -> list[Spectrum]:
    """600 spectra of both surveys: more than two blocks."""
    return list(simulate(600))


def test_logarithmic_grids() -> None:
    grid = log_grid(3.5526, 1e-4, 4620)
    np.testing.assert_allclose(grid, 10.0 ** (3.5526 + 1e-4 * np.arange(4620)), rtol=1e-14)
    assert np.array_equal(log_grid(3.5, 1e-4, 4620, start=526), grid)  # equal to the last bit on the surveys' pixels
    assert log_coefficients(grid) == (3.5526, 1e-4)
    assert log_coefficients(grid[100:]) == (3.5626, 1e-4)
    odd = 10.0 ** (3.55261234567 + 1.234567e-4 * np.arange(1000))
    coeff0, coeff1 = log_coefficients(odd) or (0.0, 0.0)
    np.testing.assert_allclose(log_grid(coeff0, coeff1, 1000), odd, rtol=1e-12)
    assert log_coefficients(np.linspace(3600.0, 9000.0, 1000)) is None
    assert log_coefficients(grid[:1]) is None
    common = common_grid([3.5526, 3.5682], [1e-4, 1e-4], [4620, 3909])
    assert common is not None and (common.coeff0, common.pixels) == (3.5526, 4620)
    assert common.starts(np.array([3.5682])).tolist() == [156]
    assert common_grid([3.5526, 3.55265], [1e-4, 1e-4], [4620, 4620]) is None  # half a pixel off
    assert common_grid([3.5526, 4.5], [1e-4, 1e-4], [4620, 4620]) is None  # far apart
    assert common_grid([3.5526, np.nan], [1e-4, np.nan], [10, 10]) is None


def test_what_is_written_is_read_back(spectra: list[Spectrum], tmp_path: Path) -> None:
    blocks = [block_of(spectra[i : i + BLOCK_ROWS]) for i in range(0, len(spectra), BLOCK_ROWS)]
    assert write_shard(blocks, tmp_path / "a.arrow") == 600
    table = pa.ipc.open_file(tmp_path / "a.arrow").read_all()  # as anybody would
    assert table["flux"][7].as_py() == spectra[7].flux.tolist()
    assert table["class"].to_pylist() == [s.labels["class"] for s in spectra]
    assert table["teff"].to_pylist() == [s.labels.get("teff") for s in spectra]
    indexed = read_indexed(tmp_path / "a.arrow")
    assert indexed.equals(table.select(indexed.column_names)) and "flux" not in indexed.column_names
    shards = ShardSet.from_spectra(spectra)
    assert len(shards) == 600 and shards.grid is not None
    rows = [599, 3, 300, 3]
    batch, want = shards.batch(rows), SpectrumBatch.from_spectra([spectra[i] for i in rows])
    assert batch.ids == want.ids and batch.surveys == want.surveys
    torch.testing.assert_close(batch.wavelength[: want.wavelength.shape[0]], want.wavelength, rtol=1e-12, atol=0)
    for name in ("flux", "ivar"):
        assert torch.equal(getattr(batch, name)[:, : want.flux.shape[1]], getattr(want, name))
        assert not getattr(batch, name)[:, want.flux.shape[1] :].any()
    assert list(shards.labels(rows)) == [spectra[i].labels for i in rows]
    assert list(shards.labels()) == [s.labels for s in spectra]


def test_any_wavelengths(spectra: list[Spectrum]) -> None:
    """Spectra off the logarithmic grids keep theirs, next to others that are on one."""
    linear = Spectrum.from_arrays(np.arange(7.0), np.ones(7), np.linspace(4000.0, 5000.0, 7), id="linear")
    one = Spectrum(torch.ones(1), torch.ones(1), torch.tensor([5000.0], dtype=torch.float64), id="one")
    shards = ShardSet.from_spectra([linear, spectra[0], one])
    assert shards.grid is None
    batch = shards.batch([0, 1, 2])
    assert batch.wavelength.shape == batch.flux.shape == (3, len(spectra[0]))
    for row, made in enumerate((linear, spectra[0], one)):
        torch.testing.assert_close(batch.wavelength[row, : len(made)], made.wavelength, rtol=1e-12, atol=0)
        assert torch.equal(batch.flux[row, : len(made)], made.flux) and not batch.ivar[row, len(made) :].any()
    assert bool((batch.wavelength.diff(dim=1) > 0).all())
    alone = shards.batch([1])
    assert alone.wavelength.ndim == 1 and len(alone.wavelength) == len(spectra[0])


def test_unknown_labels_and_empty_sets(spectra: list[Spectrum]) -> None:
    with pytest.raises(ValueError, match=r"label 'mass' of spectrum .* must be one of class, "):
        block_of([replace(spectra[0], labels={"mass": 1.0})])
    empty = ShardSet.from_spectra([])
    assert len(empty) == 0 and empty.grid is None and list(empty.labels()) == []
    assert empty.batch([]).flux.shape == (0, 0)
    assert ShardSet.from_spectra(spectra[:1]).batch([]).flux.shape == (0, len(spectra[0]))


def test_objects_keep_the_names_they_have() -> None:
    ra, dec = np.array([10.0, 10.0005, np.nan, 50.0, 10.0]), np.array([0.0, 0.0, np.nan, 20.0, 0.0002])
    names = name_objects(ra, dec, [None] * 5, list("abcde"))
    assert names == ["10.00000+0.00000"] * 2 + ["c", "50.00000+20.00000", "10.00000+0.00000"]
    again = name_objects(ra[::-1].copy(), dec[::-1].copy(), [None, *names[:4][::-1]], list("abcde"))
    assert again == names[::-1]  # what is added takes the name of what was there
    assert name_objects(ra, dec, ["x", "y", None, None, None], list("abcde"))[:2] == ["x", "y"]


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
        ["SDSS:3586-55181-0007", "SDSS:3586-55181-0008", "SDSS:0266-51602-0001", "LAMOST:1"]
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
    star, sky = Catalog(tmp_path / "dr5.arrow").labels(["LAMOST:101001", "LAMOST:101002"])
    assert star == {
        "class": "STAR", "subclass": "F5", "z": -0.0001, "ra": 332.2, "dec": -2.05, "snr_g": 23.5, "teff": 6120.5,
        "logg": 4.1, "sourcetype": "Obj",
    }  # fmt: skip
    assert sky == {"class": "Unknown", "subclass": "Non", "ra": 332.3, "dec": -2.06, "sourcetype": "Sky"}


def test_catalogues_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("name,mass\nx,1\n")
    with pytest.raises(ValueError, match=r"a\.csv: a catalogue needs a column path, or OBSID .* this has name, mass"):
        prepare_catalog(tmp_path / "a.csv", tmp_path / "a.arrow")
    (tmp_path / "b.fits").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"b\.fits: "):
        prepare_catalog(tmp_path / "b.fits", tmp_path / "b.arrow")
    with pytest.raises(ValueError, match="no such file"):
        prepare_catalog(tmp_path / "c.csv", tmp_path / "c.arrow")
    assert not list(tmp_path.glob("*.arrow*"))
