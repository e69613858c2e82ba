"""Spectra to learn from: folders and catalogues of files."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.table import Table

from spectromer.config import DataConfig
from spectromer.errors import ArgumentError
from spectromer.shards.sources import divide, load, open_inputs
from spectromer.surveys.simulated import simulate
from spectromer.surveys.write import write_survey


def test_a_catalogue_names_files_labels_and_objects(tmp_path: Path) -> None:
    spectra = list(simulate(6))
    write_survey(spectra, tmp_path)
    lines = (tmp_path / "catalog.csv").read_text().splitlines()
    rows = [
        lines[0] + ",object_group",
        *(f"{line},g{i // 2}" for i, line in enumerate(lines[1:])),
        "missing.fits" + "," * 10,
    ]
    (tmp_path / "catalog.csv").write_text("\n".join(rows).replace(f",{spectra[0].labels['z']},", ",0.25,"))
    shards, rejected = load(tmp_path / "catalog.csv", progress=False)
    assert shards.index["object"].to_pylist() == ["g0", "g0", "g1", "g1", "g2", "g2"]
    assert [Path(e.path).name for e in rejected] == ["missing.fits"]
    labels = list(shards.labels())
    assert labels[0]["z"] == 0.25 and labels[1]["z"] == spectra[1].labels["z"]
    with_teff = [row.get("teff") for row in labels]
    assert with_teff == [s.labels.get("teff") for s in spectra] and any(with_teff)
    (tmp_path / "bad.csv").write_text("file\na.fits\n")
    with pytest.raises(ValueError, match="a catalogue needs a column path"):
        load(tmp_path / "bad.csv", progress=False)
    with pytest.raises(ValueError, match="no such file or folder"):
        load(tmp_path / "nowhere", progress=False)


def test_objects_are_told_by_position(tmp_path: Path) -> None:
    spectra = list(simulate(4))
    near = replace(
        spectra[1],
        labels=spectra[1].labels | {"ra": spectra[0].labels["ra"], "dec": spectra[0].labels["dec"] + 1 / 3600},
    )
    write_survey([spectra[0], near, spectra[2], spectra[3]], tmp_path)
    shards, _ = load(tmp_path, progress=False)
    assert len(shards) == 4 and len(set(shards.index["object"].to_pylist())) == 3


def test_divide_loads_and_divides(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every usable spectrum stands in one part; a part without any is refused."""
    write_survey(simulate(60), tmp_path)
    asked = SimpleNamespace(
        data=tmp_path, simulated=0, seed=1, split=(0.5, 0.25, 0.25), fold_offset=0.0, targets=("class", "teff"), mix=0
    )
    found = divide(asked)
    assert sorted(np.concatenate(list(found.rows.values())).tolist()) == list(range(60)) and not found.rejected
    assert "60 spectra read, 0 files could not be read; 60 have a good pixel" in capsys.readouterr().out
    turned = divide(SimpleNamespace(**vars(asked) | {"fold_offset": 0.5})).rows
    assert set(found.rows["val"]) | set(found.rows["test"]) == set(turned["train"])
    with pytest.raises(
        ArgumentError,
        match=r"no spectrum is left for validation: 60 labelled spectra of 60 objects are too few .* --split 1 0 0$",
    ):
        divide(SimpleNamespace(**vars(asked) | {"split": (1.0, 0.0, 0.0)}))


def test_simulated_spectra_are_mixed_in_but_never_tested(tmp_path: Path) -> None:
    """They follow those of the data, in train and val alone, with their own pixels and labels."""
    write_survey(simulate(60, seed=5), tmp_path)
    asked = DataConfig(tmp_path, targets=("class", "z"), seed=1, split=(0.5, 0.25, 0.25))
    alone, mixed = divide(asked), divide(replace(asked, mix=40))
    count = len(alone.shards)
    for name, rows in mixed.rows.items():
        np.testing.assert_array_equal(rows[rows < count], alone.rows[name])
        assert (np.diff(rows) > 0).all()
    assert mixed.rows["test"].max() < count
    added = {name: mixed.rows[name][mixed.rows[name] >= count] - count for name in ("train", "val")}
    assert len(added["train"]) > len(added["val"]) > 0 and not set(added["train"]) & set(added["val"])
    simulated = list(simulate(40, seed=1))
    for i in added["val"][:3]:
        found = mixed.shards.batch(np.array([i + count])).spectrum(0)
        good = simulated[i].ivar > 0
        np.testing.assert_array_equal(found.flux[found.ivar > 0], simulated[i].flux[good])
        assert found.id == simulated[i].id and next(mixed.shards.labels([i + count]))["z"] == simulated[i].labels["z"]


def test_only_given_data_can_be_mixed() -> None:
    with pytest.raises(ArgumentError, match="mix is for data"):
        DataConfig(mix=10)


@pytest.mark.parametrize(
    ("name", "form"),
    [("c.fits", None), ("c.ecsv", None), ("c.vot", "votable"), ("c.xml", "votable"), ("c.csv", None), ("c.tsv", "tab")],
)
def test_catalogues_of_every_format_are_loaded(
    name: str, form: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table with a column path is a catalogue whatever its format; the rows that matched are counted."""
    spectra = list(simulate(3))
    write_survey(spectra, tmp_path / "files")
    paths = [f"files/{path.name}" for path in sorted((tmp_path / "files").glob("*.fits"))]
    table = Table({"path": [*paths, "files/none.fits"], "class": ["QSO"] * 4, "z": [0.5, 1.5, 2.5, 3.5]})
    table.write(tmp_path / name, format={"tab": "ascii.tab"}.get(str(form), form))
    (tmp_path / f"{name}.other").write_bytes((tmp_path / name).read_bytes())  # known by its content
    for path in (tmp_path / name, tmp_path / f"{name}.other"):
        if name == "c.csv" and path.suffix == ".other":
            continue
        shards, rejected = load(path, progress=False)
        assert [row["z"] for row in shards.labels()] == [0.5, 1.5, 2.5] and len(rejected) == 1
        assert {row["class"] for row in shards.labels()} == {"QSO"}
        assert f"catalogue {path}: 3 of 4 rows matched a spectrum\n" == capsys.readouterr().out
        assert [Path(file).name for file in open_inputs([str(path)])[0]] == [
            "none.fits",
            *(Path(p).name for p in paths),
        ]


def test_a_catalogue_without_a_match_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.csv").write_text("path,class\na.fits,STAR\n")
    asked = SimpleNamespace(
        data=tmp_path / "c.csv", simulated=0, seed=1, split=(0.5, 0.25, 0.25), fold_offset=0.0, targets=("class",)
    )
    with pytest.raises(
        ArgumentError, match=r"none of its files could be read \(1 file\); the first is .*a\.fits: no such file"
    ):
        divide(asked)
    told = capsys.readouterr().out
    assert "0 of 1 row matched a spectrum" in told and "warning: catalogue" in told and "looked for by path" in told
    assert "0 spectra read, 1 file could not be read; 0 have a good pixel" in told


def test_skipped_files_of_a_folder_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_survey(simulate(2), tmp_path)
    (tmp_path / "catalog.csv").unlink()
    rows = "".join(f"{4000 + i}\t1.0\t0.1\n" for i in range(9))
    for name in ("a.tsv", "a.asc", "a.dat", "a.tab", "a.ascii", "a.spec"):
        (tmp_path / name).write_text(rows)
    assert len(open_inputs([str(tmp_path)])[0]) == 8 and capsys.readouterr().out == ""
    for name in ("b.png", "c.png", "z.LOG", ".hidden", "README"):
        (tmp_path / name).write_text("nothing")
    assert len(open_inputs([str(tmp_path)])[0]) == 8
    line = f"{tmp_path}: skipped 4 files of the folder that are not taken for spectra "
    assert capsys.readouterr().out.startswith(line + "(2 .png, 1 ")
    divided = load(tmp_path, progress=False)
    assert len(divided[0]) == 8 and "such as " + str(tmp_path / "README") in capsys.readouterr().out
