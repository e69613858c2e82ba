"""Labels of rows: the names of the Data Lab, and the position of each row."""

from pathlib import Path

import numpy as np
from test_catalogs import labels_of

from spectromer.surveys import survey_named


def test_labels_in_the_spellings_of_the_data_lab(tmp_path: Path) -> None:
    text = "plate,mjd,fiberid,spectype,redshift,redshift_err,redshift_warning\n3586,55181,3,GALAXY,0.5,0.0001,4\n"
    assert labels_of(text, tmp_path, "SDSS-3586-55181-0003") == [
        {"class": "GALAXY", "z": 0.5, "z_err": 1e-4, "zwarning": 4}
    ]


def test_a_position_is_the_first_valid_pair_of_each_row(tmp_path: Path) -> None:
    """PLUG_RA of SDSS-V may be NaN where RACAT is not; a pair is never mixed of two."""
    rows = ["nan,nan,10,20", "1,2,10,20", "1,-999,10,20", "1,nan,10,nan", "1,,-9999,95", ",,,"]
    body = "".join(f"3586,55181,{i + 1},{row}\n" for i, row in enumerate(rows))
    text = f"PLATE,MJD,FIBERID,PLUG_RA,PLUG_DEC,RACAT,DECCAT\n{body}"
    assert labels_of(text, tmp_path, *(f"SDSS-3586-55181-{i + 1:04d}" for i in range(6))) == [
        {"ra": 10.0, "dec": 20.0},
        {"ra": 1.0, "dec": 2.0},
        {"ra": 10.0, "dec": 20.0},
        {"ra": 1.0},
        {"ra": 1.0},
        {},
    ]
    row = {"PLUG_RA": np.nan, "PLUG_DEC": np.nan, "RACAT": 10.0, "DECCAT": 20.0}
    assert survey_named("SDSS").labels(row) == {"ra": 10.0, "dec": 20.0}  # that of a file
