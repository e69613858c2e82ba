"""Tables that are written in parts are the tables that astropy writes whole."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from astropy.table import Table, vstack
from small import read_table

from spectromer.files import write_table
from spectromer.learning.tables import from_arrow, to_arrow, write_parts


def parts(odd: str = "") -> list[Table]:
    """Three parts, whose texts differ in length."""
    rng = np.random.default_rng(0)
    return [
        Table(
            {
                "path": [f'/a "b",{odd}{"x" * i}\n' for i in range(rows)],
                "class": rng.choice(["", "QSO", "GALAXY"], rows),
                "p": rng.random(rows).astype(np.float32),
                "z": np.where(rng.random(rows) < 0.3, np.nan, rng.random(rows) * 1e-7),
                "flag": rng.integers(0, 9, rows),
                "unknown": rng.random(rows) < 0.5,
                "warning": [""] * rows,
            }
        )
        for rows in (5, 1, 9)
    ]


@pytest.mark.parametrize("ending", ["csv", "ecsv", "fits"])
def test_parts_are_written_as_the_whole(ending: str, tmp_path: Path) -> None:
    made = parts()
    write_parts(lambda: map(to_arrow, made), tmp_path / f"a.{ending}")
    write_table(vstack(made), tmp_path / f"b.{ending}")
    assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()


@pytest.mark.parametrize("ending", ["csv", "ecsv", "fits", "parquet"])
def test_texts_of_any_letters(ending: str, tmp_path: Path) -> None:
    """FITS holds ASCII alone; astropy cannot write anything else."""
    made = parts("é☉")
    write_parts(lambda: map(to_arrow, made), tmp_path / f"a.{ending}")
    found, want = read_table(tmp_path / f"a.{ending}"), vstack(made)
    paths = [str(path) for path in want["path"]]
    if ending == "fits":
        paths = [path.encode("ascii", "backslashreplace").decode() for path in paths]
        assert [path.strip() for path in found["path"].astype(str)] == [path.strip() for path in paths]
    else:
        assert [str(path) for path in found["path"]] == paths
    for name in ("p", "z", "flag"):
        np.testing.assert_array_equal(np.asarray(found[name]), np.asarray(want[name]))
    assert [str(flag) for flag in found["unknown"]] == [str(flag) for flag in want["unknown"]]


def test_tables_go_to_arrow_and_back() -> None:
    table = parts()[0]
    assert to_arrow(table).schema.field("path").type == pa.string()
    back = from_arrow(to_arrow(table))
    assert back.colnames == table.colnames and back.dtype == table.dtype
    assert (back["path"] == table["path"]).all()
