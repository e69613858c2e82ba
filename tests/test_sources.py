"""Spectra to learn from: folders and catalogues of files."""

from pathlib import Path

import pytest

from spectromer.shards.sources import load
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
    from dataclasses import replace

    spectra = list(simulate(4))
    near = replace(
        spectra[1],
        labels=spectra[1].labels | {"ra": spectra[0].labels["ra"], "dec": spectra[0].labels["dec"] + 1 / 3600},
    )
    write_survey([spectra[0], near, spectra[2], spectra[3]], tmp_path)
    shards, _ = load(tmp_path, progress=False)
    assert len(shards) == 4 and len(set(shards.index["object"].to_pylist())) == 3
