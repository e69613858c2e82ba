"""Plain FITS files read without astropy: equal to what astropy reads, whatever is done to them."""

import csv
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from survey_files import equal, same, through_astropy

import spectromer
from spectromer import ReadError, Spectrum
from spectromer.surveys import reading
from spectromer.surveys.content import open_content
from spectromer.surveys.fits import plain_hdus
from spectromer.surveys.headers import NotPlain
from spectromer.surveys.lamost import SURVEY as LAMOST
from spectromer.surveys.sdss import SURVEY as SDSS


def plainly(path: Path) -> Spectrum | None:
    content = open_content(path)
    return reading._interpret(plain_hdus(content.data, content.size), path)


def test_what_is_not_plain_is_left_to_astropy(sdss: list[Spectrum], tmp_path: Path) -> None:
    """Scaled columns, arrays of variable length, long strings: the same values, by another way."""
    SDSS.write(sdss[0], tmp_path / "a.fits")
    with fits.open(tmp_path / "a.fits") as hdus:
        columns = hdus[1].columns
        whole = np.round(hdus[1].data["flux"] * 100)
        scaled = fits.Column("flux", "J", array=whole.astype(np.int32))
        ragged = fits.Column("rest", "PE()", array=np.array([[1.0]] * len(whole), dtype=object))
        for name, column in (("scaled", scaled), ("ragged", ragged)):
            kept = [c for c in columns if c.name != column.name]
            table = fits.BinTableHDU.from_columns([*kept, column], name="COADD")
            fits.HDUList([hdus[0].copy(), table, hdus[2].copy()]).writeto(tmp_path / f"{name}.fits")
            if name == "scaled":
                fits.setval(tmp_path / "scaled.fits", f"TSCAL{len(kept) + 1}", value=0.01, ext=1)
        primary = fits.PrimaryHDU(header=hdus[0].header)
        primary.header["TELESCOP"] = "SDSS " * 30
        fits.HDUList([primary, hdus[1].copy(), hdus[2].copy()]).writeto(tmp_path / "long.fits")
    assert plainly(tmp_path / "a.fits") is not None
    for name in ("scaled", "ragged"):
        with pytest.raises(NotPlain):
            plainly(tmp_path / f"{name}.fits")
    found = spectromer.read(tmp_path / "scaled.fits")
    np.testing.assert_allclose(found.flux, sdss[0].flux, atol=0.0051)
    equal(spectromer.read(tmp_path / "ragged.fits"), sdss[0])
    equal(spectromer.read(tmp_path / "long.fits"), sdss[0])


@pytest.mark.parametrize("survey", ["SDSS", "LAMOST"])
def test_damaged_headers_end_in_a_reason(
    survey: str, sdss: list[Spectrum], lamost: list[Spectrum], tmp_path: Path
) -> None:
    """Bytes changed at random in the headers: the spectrum as astropy reads it, or one ReadError."""
    path = tmp_path / "a.fits"
    SDSS.write(sdss[0], path) if survey == "SDSS" else LAMOST.write(lamost[0], path)
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    read = agreed = 0
    for _ in range(150):
        damaged = bytearray(whole)
        for at in rng.integers(0, 5760 if survey == "LAMOST" else 8640, 3):
            damaged[at] = rng.integers(32, 127)
        path.write_bytes(damaged)
        try:
            found = spectromer.read(path)
        except ReadError as error:
            assert error.reason
            continue
        read += 1
        with suppress(OSError, fits.VerifyError, TypeError):  # some damage is to what only astropy looks at
            astropys = through_astropy(path)
            assert astropys is not None and same(found, astropys)
            agreed += 1
    assert agreed > 10 and read < 150


@pytest.mark.survey
def test_real_files_are_read_as_by_astropy(survey_data: Path) -> None:
    """Every file of the catalogue, bit for bit, and none of them needs astropy."""
    for row in csv.DictReader((survey_data / "catalog.csv").read_text().splitlines()):
        path = survey_data / row["path"]
        found, astropys = plainly(path), through_astropy(path)
        assert found is not None and astropys is not None and same(found, astropys), path


@pytest.mark.parametrize(
    ("card", "label"),
    [
        ("CLASS   ? 'GALAXY'", None),  # without "= " it is a comment
        ("CLASS   = 'GAL'", "GAL"),
        ("CONTINUE  'AXY'", "GALAXY"),
    ],
)
def test_cards_that_astropy_reads_otherwise(
    card: str, label: str | None, lamost: list[Spectrum], tmp_path: Path
) -> None:
    """A card without a value indicator has no value, and a text is continued, by either way of reading."""
    LAMOST.write(lamost[0], tmp_path / "a.fits")
    data = bytearray((tmp_path / "a.fits").read_bytes())
    at = data.index(b"CLASS   = ")
    if card.startswith("CONTINUE"):
        data[at : at + 80] = b"CLASS   = 'GAL&'".ljust(80)
        following = data.index(b"SUBCLASS= ")
        assert following == at + 80
        at = following
    data[at : at + 80] = card.encode().ljust(80)
    (tmp_path / "a.fits").write_bytes(data)
    content = open_content(tmp_path / "a.fits")
    found = reading._read_by_astropy(content, tmp_path / "a.fits")
    assert isinstance(found, Spectrum)
    assert found.labels.get("class") == label
    equal(spectromer.read(tmp_path / "a.fits"), found)


def test_an_end_that_is_not_blank_is_refused(lamost: list[Spectrum], tmp_path: Path) -> None:
    """Readers disagree where a header ends whose END card has a value. Labels after it would be lost in silence."""
    LAMOST.write(lamost[0], tmp_path / "a.fits")
    data = bytearray((tmp_path / "a.fits").read_bytes())
    at = data.index(b"OBJTYPE = ")
    data[at : at + 80] = b"END     = 'LAMOST'".ljust(80)
    (tmp_path / "a.fits").write_bytes(data)
    with pytest.raises(ReadError, match="END card that is not blank"):
        spectromer.read(tmp_path / "a.fits")
