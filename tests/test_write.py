"""Writing spectra as survey files."""

import csv
from pathlib import Path

from survey_files import equal

import spectromer
from spectromer.surveys.simulated import simulate
from spectromer.surveys.write import write_survey


def test_a_survey_writes_a_catalogue(tmp_path: Path) -> None:
    made = list(simulate(300))[250:262]
    path = write_survey(made, tmp_path)
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert len(rows) == 12 and {row["survey"] for row in rows} == {"SDSS", "LAMOST"}
    for row, spectrum in zip(rows, made, strict=True):
        equal(spectromer.read(tmp_path / row["path"]), spectrum)
