"""The door of `spectromer ingest`: its help is quick, and what is wrong is one line."""

from collections.abc import Callable
from pathlib import Path

import pytest
from astropy.table import Table

from spectromer.__main__ import main as spectromer_main
from spectromer.surveys.simulated import simulate
from spectromer.surveys.write import write_survey


def test_help_needs_nothing_heavy(help_and_heavy: Callable[[str], tuple[str, str]]) -> None:
    text, heavy = help_and_heavy("ingest")
    assert "Folder for the shards." in text and heavy == "[]"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name files or folders to ingest, or --simulated N"),
        (["--simulated", "1", "--shard-size", "0"], "--shard-size must be at least 1, got 0"),
        (["--simulated", "-1"], "--simulated must be at least 0, got -1"),
        (["nowhere"], "nowhere: no such file or folder"),
        (["--simulated", "1", "--surveys", "sdss"], "a survey must be one of DESI, LAMOST, SDSS; got 'sdss'"),
    ],
)
def test_a_wrong_option_is_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert spectromer_main(["ingest", *arguments, "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"
    assert not (tmp_path / "out").exists()


def test_what_is_wrong_leaves_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_survey(simulate(1), tmp_path / "files")
    out = tmp_path / "out"
    for wrong in (["nosuch"], [str(tmp_path / "files"), "--catalog", str(tmp_path / "none.csv")]):
        assert spectromer_main(["ingest", *wrong, "--out", str(out)]) == 2
        assert not out.exists()
    out.mkdir()
    assert spectromer_main(["ingest", "nosuch", "--out", str(out)]) == 2
    assert not list(out.iterdir())
    for name in ("config.json", "model.json"):
        (out / name).write_text("{}")
    capsys.readouterr()
    assert spectromer_main(["ingest", str(tmp_path / "files"), "--out", str(out)]) == 2
    assert capsys.readouterr().err == f"error: --out {out} is a folder of a run; name another folder\n"
    assert {path.name for path in out.iterdir()} == {"config.json", "model.json"}


@pytest.mark.parametrize("ending", ["csv", "fits", "ecsv", "vot", "parquet"])
def test_rows_that_match_are_counted(ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spectra = list(simulate(4, surveys=("SDSS",)))
    write_survey(spectra, tmp_path / "files")
    numbers = [[int(part) for part in s.id.split("-")] for s in spectra[:3]] + [[1, 2, 3], [1, 2, 4]]
    catalog, other = tmp_path / f"c.{ending}", tmp_path / "o.csv"
    table = Table(rows=numbers, names=("PLATE", "MJD", "FIBERID"))
    table["CLASS"] = "QSO"
    table.write(catalog, **({"format": "votable"} if ending == "vot" else {}))
    other.write_text("OBSID,class\n7,STAR\n")
    paths = tmp_path / "p.csv"
    paths.write_text("path,class\nfiles/none.fits,STAR\n")
    options = ["--catalog", str(catalog), str(other), str(paths), "--workers", "1", "--out", str(tmp_path / "out")]
    for _ in range(2):  # also if all is done already
        assert spectromer_main(["ingest", str(tmp_path / "files"), *options]) == 0
        told = capsys.readouterr().out
        assert f"catalogue c.{ending}: 3 of 5 rows matched a spectrum\n" in told
        sentence = "it names spectra such as LAMOST-7, and the files hold such as SDSS-"
        assert f"warning: catalogue o.csv: 0 of 1 row matched a spectrum; {sentence}" in told
        looked = (
            f"it names spectra such as {tmp_path}/files/none.fits, and the files hold such as {tmp_path}/files/spec-"
        )
        assert f"warning: catalogue p.csv: 0 of 1 row matched a spectrum; {looked}" in told
        assert "4 spectra of 4 objects (" in told and " from 4 files, in 1 shard: " in " ".join(told.split())
        assert "skipped 1 file of the folder that is not taken for spectra (1 .csv), such as" in told


def test_one_is_singular(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_survey(simulate(1), tmp_path / "files")
    (tmp_path / "files" / "bad.fits").write_text("no spectrum")
    out = tmp_path / "out"
    assert spectromer_main(["ingest", str(tmp_path / "files"), "--workers", "1", "--out", str(out)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "1 spectrum of 1 object (1 " in told and "from 2 files, in 1 shard:" in told
    assert "rejected: 1 file or spectrum, listed with reasons" in told
