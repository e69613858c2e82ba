"""Downloads, from a local server with the archives' layout."""

import gzip
import http.server
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import pytest

import spectromer
from spectromer.__main__ import main as spectromer_main
from spectromer.download import DownloadConfig, download
from spectromer.errors import ArgumentError, DownloadError
from spectromer.surveys import downloads, lamost
from spectromer.surveys.lamost import SURVEY as LAMOST
from spectromer.surveys.sdss import SURVEY as SDSS
from spectromer.surveys.simulated import simulate

PATH = "/dr17/sdss/spectro/redux/26/spectra/0266/spec-0266-51602-{:04d}.fits"
ASKED: Counter[str] = Counter()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Serves three SDSS files, the second only when asked again, and one of LAMOST to those with a token."""
    files = {}
    for i, spectrum in enumerate(simulate(3, surveys=("SDSS",))):
        SDSS.write(spectrum, tmp_path / "a.fits")
        files[PATH.format(i + 1)] = (tmp_path / "a.fits").read_bytes()
    files["/dr18/spectro/sdss/redux/v6_0_4/spectra/full/15000p/59146/spec-15000-59146-04375786564.fits"] = files[
        PATH.format(3)
    ]
    LAMOST.write(next(simulate(1, surveys=("LAMOST",))), tmp_path / "a.fits")
    files["/dr10/v2.0/spectrum/fits/101"] = gzip.compress((tmp_path / "a.fits").read_bytes())
    ASKED.clear()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = urlparse(self.path)
            ASKED[address.path] += 1
            content = files.get(address.path)
            if address.path == PATH.format(2) and ASKED[address.path] == 1:
                self.send_error(503)
                return
            if content is None:
                self.send_error(404)
                return
            if "/spectrum/fits/" in address.path:
                content = content if parse_qs(address.query)["token"] == ["mine"] else b"<html>Please log in</html>"
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "_PAUSE", 0.01)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")  # astroquery's and astropy's own
def test_sdss(server: str, tmp_path: Path) -> None:
    """What is there is fetched once, what fails is tried again, what is missing is told."""
    sdss = pytest.importorskip("astroquery.sdss", reason="extra download")
    rows = "".join(f"266,51602,{fibre},26\n" for fibre in (1, 2, 3, 9))
    (tmp_path / "wanted.csv").write_text(f"plate,mjd,fiberid,run2d\n{rows}")
    config = DownloadConfig(tmp_path / "wanted.csv", tmp_path / "files", connections=2, attempts=2)
    with sdss.conf.set_temp("sas_baseurl", server):
        fetched, there, failed = download(config)
        assert (fetched, there) == (3, 0) and ASKED[PATH.format(2)] == 2 and ASKED[PATH.format(9)] == 2
        assert [Path(e.path).name for e in failed] == ["spec-0266-51602-0009.fits"] and "404" in failed[0].reason
        assert "spec-0266-51602-0009.fits" in (tmp_path / "files" / "failed.csv").read_text()
        assert download(config)[:2] == (0, 3) and ASKED[PATH.format(1)] == 1
    batch, rejected = spectromer.read(tmp_path / "files")
    assert len(batch) == 3 and not rejected


def test_lamost(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lamost, "ARCHIVE", server)
    monkeypatch.delenv("LAMOST_TOKEN", raising=False)
    (tmp_path / "wanted.csv").write_text("obsid|snrg\n101|20.0\n")
    config = DownloadConfig(tmp_path / "wanted.csv", tmp_path / "files", attempts=1)
    with pytest.raises(ValueError, match="need --token, or LAMOST_TOKEN"):
        download(config)
    monkeypatch.setenv("LAMOST_TOKEN", "another's")
    assert "is the token right?" in download(config)[2][0].reason
    monkeypatch.setenv("LAMOST_TOKEN", "mine")
    assert spectromer_main(["download", str(tmp_path / "wanted.csv"), "--out", str(tmp_path / "files")]) == 0
    assert spectromer.read(tmp_path / "files" / "101.fits").survey == "LAMOST"


def test_tables_that_name_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("name\nx\n")
    with pytest.raises(ValueError, match=r"it needs columns OBSID, or PLATE, MJD, FIBERID, RUN2D or .*; it has name"):
        download(DownloadConfig(tmp_path / "a.csv", tmp_path))
    with pytest.raises(ValueError, match="no such file"):
        download(DownloadConfig(tmp_path / "b.csv", tmp_path))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")  # astroquery's and astropy's own
def test_fields_of_sdss_v(server: str, tmp_path: Path) -> None:
    """Fields and catalogue numbers: the address of the archive, from the release and the reductions that have them."""
    sdss = pytest.importorskip("astroquery.sdss", reason="extra download")
    (tmp_path / "wanted.csv").write_text("field,mjd,catalogid,run2d\n15000,59146,4375786564,v6_0_4\n")
    config = DownloadConfig(tmp_path / "wanted.csv", tmp_path / "files", attempts=1)
    with sdss.conf.set_temp("sas_baseurl", server):
        assert download(config).fetched == 1
        assert spectromer.read(tmp_path / "files" / "spec-15000-59146-04375786564.fits").survey == "SDSS"
        with pytest.raises(DownloadError, match=r"by FIELD and CATALOGID .* from data release 18 .* got release 17"):
            download(replace(config, release="17"))
        (tmp_path / "wanted.csv").write_text("field,mjd,catalogid,run2d\n15000,59146,4375786564,v5_13_2\n")
        with pytest.raises(DownloadError, match="RUN2D v6 on, got release 18 and RUN2D 'v5_13_2'"):
            download(config)
        with pytest.raises(ArgumentError, match="--release must be the number of an SDSS data release, got 'dr17'"):
            download(replace(config, release="dr17"))


def test_tables_of_which_nothing_can_be_had(tmp_path: Path) -> None:
    for columns, message in (
        ("targetid", "this package does not download spectra of DESI"),
        ("plate,mjd,fiberid", "downloads from SDSS need the columns PLATE, .* the table has plate, mjd, fiberid"),
        ("specobjid", "downloads from SDSS need the columns"),
        ("lmjd,planid,spid,fiberid", "downloads from LAMOST need the column OBSID"),
    ):
        (tmp_path / "a.csv").write_text(f"{columns}\n{','.join('1' for _ in columns.split(','))}\n")
        with pytest.raises(DownloadError, match=message):
            download(DownloadConfig(tmp_path / "a.csv", tmp_path))
