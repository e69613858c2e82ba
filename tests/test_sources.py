"""Spectra to learn from: folders and catalogues of files."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from spectromer.config import DataConfig
from spectromer.errors import ArgumentError
from spectromer.shards.sources import divide, load
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
    assert "60 spectra read, 0 files could not be; 60 have a good pixel" in capsys.readouterr().out
    turned = divide(SimpleNamespace(**vars(asked) | {"fold_offset": 0.5})).rows
    assert set(found.rows["val"]) | set(found.rows["test"]) == set(turned["train"])
    with pytest.raises(ArgumentError, match=r"the val split is empty: 60 usable spectra are too few for the split \(1"):
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
