"""Whatever a server sends, a download keeps whole FITS files and a reason for each of the others."""

import gzip
import http.server
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from spectromer.__main__ import main as spectromer_main
from spectromer.download import DownloadConfig, download
from spectromer.errors import DownloadError
from spectromer.surveys import downloads, fetching, lamost
from spectromer.surveys.fetching import check_fits
from spectromer.surveys.lamost import SURVEY as LAMOST
from spectromer.surveys.simulated import simulate

Handler = http.server.BaseHTTPRequestHandler
ANSWERS: dict[str, Callable[[Handler], None]] = {}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("file") / "a.fits"
    LAMOST.write(next(simulate(1, surveys=("LAMOST",))), path)
    return path.read_bytes()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    class Hostile(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with suppress(BrokenPipeError, ConnectionResetError):
                ANSWERS[self.path.split("/")[-1].split("?")[0]](self)

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setattr(downloads, "_PAUSE", 0.01)
    monkeypatch.setattr(fetching, "_MOST_SECONDS", 1.0)
    monkeypatch.setattr(fetching, "_MOST_BYTES", 1 << 22)
    monkeypatch.setattr(fetching, "_MOST_UNPACKED", 1 << 22)
    monkeypatch.setenv("LAMOST_TOKEN", "mine")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hostile) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        monkeypatch.setattr(lamost, "ARCHIVE", f"http://127.0.0.1:{httpd.server_port}")
        yield
        httpd.shutdown()


def body(content: bytes, announced: int | None = None, code: int = 200) -> Callable[[Handler], None]:
    def answer(handler: Handler) -> None:
        handler.send_response(code)
        if announced is not None:
            handler.send_header("Content-Length", str(announced))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def redirect(to: str) -> Callable[[Handler], None]:
    def answer(handler: Handler) -> None:
        handler.send_response(302)
        handler.send_header("Location", to or handler.path)
        handler.end_headers()

    return answer


def endless(handler: Handler) -> None:
    body(b"SIMPLE  =")(handler)
    while True:
        handler.wfile.write(bytes(1 << 16))


def dribble(handler: Handler) -> None:
    body(b"SIMPLE  =")(handler)
    for _ in range(100):
        handler.wfile.write(b"x")
        time.sleep(0.05)


def hang_up(handler: Handler) -> None:
    handler.connection.close()


def test_only_whole_files_are_kept(good: bytes, server: None, tmp_path: Path) -> None:
    packed = gzip.compress(good)
    bomb = gzip.compress(good + bytes(1 << 23))
    kept = {"1": body(good, len(good)), "2": body(packed), "3": body(good, -5)}
    refused = {
        "11": (redirect("file:///etc/passwd"), "is not allowed"),
        "12": (redirect(""), "infinite loop"),
        "13": (body(b"<html>Please log in</html>"), "something else than a FITS file"),
        "14": (body(b"", 0), "something else than a FITS file"),
        "15": (body(b"no", code=500), "500"),
        "16": (body(good[:5000], len(good)), f"the server sent 5000 bytes of {len(good)}"),
        "17": (body(good[:20000]), "broken FITS file"),
        "18": (body(packed[:5000]), "the beginning of a gzip file only"),
        "19": (body(b"\x1f\x8bjunk"), "broken gzip file"),
        "20": (body(b"SIMPLE; rm -rf /"), "something else than a FITS file"),
        "21": (body(good + b"<html>"), "6 bytes after its last HDU"),
        "22": (body(bomb), "more than 4 MiB when it is decompressed"),
        "23": (endless, "the file has more than 4 MiB"),
        "24": (dribble, "the file has not come within 1 s"),
        "25": (hang_up, "RemoteDisconnected"),
    }
    ANSWERS.clear()
    ANSWERS.update(kept | {name: answer for name, (answer, _) in refused.items()})
    (tmp_path / "wanted.csv").write_text("obsid\n" + "".join(f"{name}\n" for name in ANSWERS))
    out = tmp_path / "out"
    found = download(DownloadConfig(tmp_path / "wanted.csv", out, attempts=1, connections=8))
    assert (found.fetched, found.present) == (3, 0)
    assert {path.name for path in out.iterdir()} == {"failed.csv", *(f"{name}.fits" for name in kept)}
    reasons = {Path(failure.path).stem: failure.reason for failure in found.failed}
    assert reasons.keys() == refused.keys()
    for name, (_, reason) in refused.items():
        assert reason in reasons[name], name


def test_nothing_downloaded_is_code_1(server: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ANSWERS["7"] = body(b"no", code=404)
    (tmp_path / "wanted.csv").write_text("obsid\n7\n")
    arguments = ["download", str(tmp_path / "wanted.csv"), "--out", str(tmp_path / "out"), "--attempts", "1"]
    assert spectromer_main(arguments) == 1
    assert capsys.readouterr().err == "error: nothing was downloaded: 1 file failed\n"


@pytest.mark.parametrize("end", [100, 2000, 6000, -1])
def test_a_file_that_is_cut_is_refused(end: int, good: bytes) -> None:
    check_fits(good)
    with pytest.raises(DownloadError):
        check_fits(good[:end] if end > 0 else good[: -len(good) // 3])


@pytest.mark.survey
def test_real_files_are_whole(survey_data: Path) -> None:
    """Files of every layout, as the archives have sent them."""
    paths = sorted((survey_data / "spectra").rglob("*.fits"))[::29]
    for path in paths:
        content = path.read_bytes()
        if content.startswith(fetching.FITS_STARTS):
            check_fits(content)
    assert paths
