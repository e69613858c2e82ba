"""What is known of a survey stands in one file: a pretend survey is added by writing it."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import spectromer
import spectromer.surveys
from spectromer import Spectrum
from spectromer.__main__ import main as spectromer_main
from spectromer.errors import ArgumentError
from spectromer.ingest import IngestConfig, Selection, ingest
from spectromer.shards.store import ShardSet
from spectromer.surveys import Survey, survey_named, surveys
from spectromer.surveys.catalogs import Catalog, prepare_catalog
from spectromer.surveys.multimodal import from_multimodal
from spectromer.surveys.simulated import simulate
from spectromer.surveys.write import write_survey

PRETEND = """
from astropy.io import fits

from spectromer.surveys.common import build
from spectromer.surveys.survey import Part, Survey


class Pretend(Survey):
    name = "PRETEND"
    layouts = "PRETEND three-row images"
    identities = ((Part(("NIGHT",)), Part(("SLIT", "SLITNO"), digits=3)),)
    label_columns = {"class": ("KIND",), "z": ("REDSHIFT",)}
    multimodal_mark = "SLITNO"

    def read(self, hdus):
        header = hdus[0].header
        if header.get("INSTRUME") != "PRETEND":
            return None
        flux, ivar, wavelength = hdus[0].image()
        return build(flux, ivar, wavelength, False, self.name, self.identity(header), self.labels(header))

    def file_name(self, identity):
        return f"pretend_{identity}.fits"

    def write(self, spectrum, path):
        night, slit = spectrum.id.split("-")
        header = fits.Header({"INSTRUME": "PRETEND", "NIGHT": int(night), "SLIT": int(slit), "KIND": "STAR"})
        rows = [getattr(spectrum, name).double().numpy() for name in ("flux", "ivar", "wavelength")]
        fits.PrimaryHDU(rows, header=header).writeto(path, overwrite=True)


SURVEY = Pretend()
"""


@pytest.fixture
def pretend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Survey]:
    """A further survey, of one file that lies elsewhere."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "pretend.py").write_text(PRETEND)
    monkeypatch.setattr(spectromer.surveys, "__path__", [*spectromer.surveys.__path__, str(tmp_path / "modules")])
    yield survey_named("PRETEND")
    monkeypatch.undo()
    assert [survey.name for survey in surveys()] == ["DESI", "LAMOST", "SDSS"]


@pytest.fixture
def spectra() -> list[Spectrum]:
    """Three spectra off the grids of SDSS and LAMOST."""
    wavelength = np.linspace(5000.0, 6000.0, 50)
    return [
        Spectrum.from_arrays(np.arange(50.0) + i, np.ones(50), wavelength, survey="PRETEND", id=f"77-00{i}")
        for i in range(3)
    ]


def test_a_new_survey_is_one_new_file(pretend: Survey, spectra: list[Spectrum], tmp_path: Path) -> None:
    """It is read, written, joined to its catalogue, brought into shards and selected like any other."""
    write_survey([*spectra, next(simulate(1))], tmp_path / "files")
    found = spectromer.read(tmp_path / "files" / "pretend_77-001.fits")
    assert isinstance(found, Spectrum) and found.name == "PRETEND-77-001" and torch.equal(found.flux, spectra[1].flux)
    assert found.labels["class"] == "STAR" and "z" not in found.labels

    (tmp_path / "pretend.csv").write_text("night,slitno,kind,redshift\n77,2,QSO,1.5\n77,1,GALAXY,0.5\n")
    prepare_catalog(tmp_path / "pretend.csv", tmp_path / "pretend.arrow")
    assert Catalog(tmp_path / "pretend.arrow").labels(["PRETEND-77-002"]) == [{"class": "QSO", "z": 1.5}]

    arguments = [str(tmp_path / "files"), "--catalog", str(tmp_path / "pretend.csv"), "--surveys", "PRETEND"]
    assert spectromer_main(["ingest", *arguments, "--out", str(tmp_path / "out"), "--workers", "1"]) == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["surveys"] == {"PRETEND": 3} and manifest["left_out"] == {"survey": 1}
    shards = ShardSet.open(tmp_path / "out")
    assert [row["class"] for row in shards.labels()] == ["STAR", "GALAXY", "QSO"]
    assert shards.index["object"].to_pylist() == [spectrum.name for spectrum in spectra]

    row = {"flux": [1.0, 2.0, 3.0], "ivar": [1.0, 1.0, 1.0], "lambda": [5000.0, 5001.0, 5002.0]}
    found = from_multimodal({"spectrum": row, "slitno": 3, "kind": "QSO", "object_id": "x"})
    assert (found.survey, found.labels["class"]) == ("PRETEND", "QSO")


def test_messages_name_every_survey(pretend: Survey, tmp_path: Path) -> None:
    (tmp_path / "a.fits").write_bytes(b"SIMPLE")
    from astropy.io import fits

    fits.PrimaryHDU(np.zeros((7, 9))).writeto(tmp_path / "a.fits", overwrite=True)
    layouts = "DESI coadd, LAMOST low and medium resolution, PRETEND three-row images, SDSS spec and spSpec, a table"
    with pytest.raises(ValueError, match=rf"not a layout this reads \({layouts} with wavelength and flux\)"):
        spectromer.read(tmp_path / "a.fits")
    (tmp_path / "a.csv").write_text("name\nx\n")
    with pytest.raises(
        ValueError, match=r"or OBSID \(LAMOST\), or NIGHT and SLIT \(PRETEND\), or PLATE, MJD and FIBERI"
    ):
        prepare_catalog(tmp_path / "a.csv", tmp_path / "a.arrow")


def test_what_a_survey_does_not_offer_is_one_sentence(tmp_path: Path) -> None:
    desi = survey_named("DESI")
    for offer in (
        lambda: desi.file_name("1"),
        lambda: desi.write(next(simulate(1)), tmp_path / "a.fits"),
        lambda: desi.simulated_id(0),
    ):
        with pytest.raises(ArgumentError, match=r"this package does not \w+ (files|spectra) of DESI"):
            offer()
    with pytest.raises(ArgumentError, match="a survey must be one of DESI, LAMOST, SDSS; got 'PRETEND'"):
        survey_named("PRETEND")
    with pytest.raises(ArgumentError, match="got 'sdss'"):
        ingest(IngestConfig(simulated=1, out=tmp_path / "out", workers=1, select=Selection(surveys=("sdss",))))
    with pytest.raises(ArgumentError, match="surveys must be some of SDSS, LAMOST; got 'DESI'"):
        next(simulate(1, surveys=("DESI",)))
