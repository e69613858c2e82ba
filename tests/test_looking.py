"""Spectra and answers can be looked at: plots with lines where they are, tables with units, HTML for notebooks."""

import importlib.metadata
import re
import subprocess
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from shutil import which

import numpy as np
import pytest
import torch
from astropy.table import Table
from matplotlib.figure import Figure
from matplotlib.image import imread
from pyarrow import parquet

import spectromer
from spectromer import Predictor, Spectrum, SpectrumBatch
from spectromer.info import main as info_main
from spectromer.learning.columns import describe_columns
from spectromer.learning.looking import LINES, answer, plot
from spectromer.learning.overview import _choose
from spectromer.markup import chart, html_table, sparkline
from spectromer.predict import main as predict_main
from spectromer.show import main as show_main
from spectromer.surveys.simulated import simulate


@pytest.fixture
def spectrum() -> Spectrum:
    wavelength = torch.linspace(4000.0, 9000.0, 500, dtype=torch.float64)
    flux, ivar = torch.linspace(1.0, 2.0, 500), torch.full((500,), 25.0)
    ivar[100:120] = 0.0
    flux[100:120] = 1e6
    return Spectrum(flux, ivar, wavelength, "SDSS", "1-2-3", {"class": "GALAXY", "z": 0.1})


def row(**columns: object) -> Table.Row:
    base = {
        "class": "GALAXY",
        "class_prob": 0.98,
        "z": 0.1,
        "z_err": 0.001,
        "z_flag": 1,
        "unknown": False,
        "warning": "",
    }
    return Table({name: [value] for name, value in (base | columns).items()})[0]


def test_a_plot_shows_flux_errors_masks_and_lines(spectrum: Spectrum) -> None:
    axes = plot(spectrum, row(), Figure().subplots())
    (line,) = [found for found in axes.lines if found.get_label() == "flux"]
    drawn = np.asarray(line.get_ydata(), float)
    assert np.isnan(drawn[100:120]).all() and np.allclose(drawn[:100], spectrum.flux[:100])
    assert axes.get_xlabel() == "vacuum wavelength (Å)" and axes.get_ylim()[1] < 3.0
    marked = {text.get_text(): text.get_position()[0] for text in axes.texts}
    assert marked["Hβ"] == pytest.approx(4862.7 * 1.1) and "[O II]" in marked
    assert set(marked) == {name for name, rest in LINES["GALAXY"].items() if 4000 < rest * 1.1 < 9000}
    (masked,) = [patch for patch in axes.patches if patch.get_facecolor()[:3] == pytest.approx((0.851,) * 3, abs=0.01)]
    assert masked.get_x() == pytest.approx(float(spectrum.wavelength[100]))
    assert axes.get_title() == "SDSS 1-2-3: GALAXY (0.98), z = 0.10000 ± 0.00100 (z_flag 1)"


def test_an_answer_in_words() -> None:
    assert answer(row(unknown=True, warning="half of it is masked")).endswith(", unknown, half of it is masked")
    star = row(**{"class": "STAR", "teff": 5777.0, "teff_err": 100.0, "logg": 4.4, "logg_err": 0.1})
    assert answer(star).endswith("Teff = 5777 ± 100 K, log g = 4.40 ± 0.10")
    assert "Teff" not in answer(row(teff=5777.0, teff_err=100.0))
    assert answer(Table({"teff": [5777.0], "teff_err": [100.0]})[0]) == "Teff = 5777 ± 100 K"  # of a model of numbers


def test_a_spectrum_without_a_good_pixel_is_plotted(spectrum: Spectrum) -> None:
    dead = Spectrum(spectrum.flux, torch.zeros(500), spectrum.wavelength)
    assert not plot(dead, ax=Figure().subplots()).lines


def test_show_plots_every_spectrum(survey: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(path) for path in sorted(survey.glob("spec-*"))[:2]]
    assert show_main([*files, str(survey / "text.fits"), "--model", str(run), "--out", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert f"2 spectra plotted in {tmp_path}" in told and "1 file or spectrum could not be plotted" in told
    images = sorted(tmp_path.glob("*.png"))
    assert len(images) == 2 and all(imread(path).shape[0] > 400 for path in images)
    assert show_main([str(survey / "text.fits"), "--model", str(run), "--out", str(tmp_path / "none")]) == 1


def test_predictions_have_units_and_descriptions(run: Path, survey: Path, tmp_path: Path) -> None:
    table = Predictor.load(run, device="cpu").predict(next(simulate(1)))
    assert str(table["teff"].unit) == "K" and table["z_flag"].description.startswith("0 if good; bits")
    assert table["class_prob_STAR"].description == "probability that the class is STAR"
    assert all(table[name].description for name in table.colnames)
    for kind in ("ecsv", "fits", "parquet"):
        out = tmp_path / f"found.{kind}"
        assert predict_main([str(run), str(survey), "--out", str(out)]) == 0
        if kind == "parquet":
            fields = parquet.read_schema(out)
            assert fields.field("teff").metadata[b"unit"] == b"K"
            assert all(field.metadata[b"description"] for field in fields)
        else:
            found = Table.read(out)
            assert str(found["teff"].unit) == "K" and len(found) > 30
    from astropy.io import fits

    header = fits.getheader(tmp_path / "found.fits", 1)
    at = [header[f"TTYPE{i}"] for i in range(1, header["TFIELDS"] + 1)].index("z_prob") + 1
    assert header[f"TCOMM{at}"].startswith("probability that z is right")


def test_columns_that_are_not_known_stay() -> None:
    table = describe_columns(Table({"colour": [1.0]}))
    assert table["colour"].unit is None and table["colour"].description is None


class Tags(HTMLParser):
    """Checks that every tag is closed, and counts them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.count: dict[str, int] = {}
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, _: object) -> None:
        self.open.append(tag)
        self.count[tag] = self.count.get(tag, 0) + 1

    def handle_startendtag(self, tag: str, _: object) -> None:
        self.count[tag] = self.count.get(tag, 0) + 1

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_notebooks_show_spectra(spectrum: Spectrum) -> None:
    shown = spectrum._repr_html_()
    tags = Tags(shown)
    assert tags.count["svg"] == 1 and "SDSS 1-2-3" in shown and "480" in shown and "<td>GALAXY</td>" in shown
    batch = SpectrumBatch.from_spectra([spectrum] * 12)
    shown = batch._repr_html_()
    assert Tags(shown).count["tr"] == 11 and "12 spectra of 500 pixels on one grid" in shown and "and 2 more" in shown
    assert "<b>SpectrumBatch: 0 spectra" in SpectrumBatch.from_spectra([])._repr_html_()
    assert "&lt;script&gt;" in html_table("a", [{"b": "<script>"}]) and Tags(html_table("<", [])).count["table"] == 1


def test_a_sparkline_follows_the_flux() -> None:
    """A rising flux is drawn from the bottom to the top, and masked pixels are not drawn."""
    flux, good = np.arange(1000.0), np.ones(1000, bool)
    good[250:500] = False
    path = sparkline(flux, good, 4000.0 + flux).split('d="M')[1].split('"')[0]
    strokes = [tuple(float(word) for word in part.replace("V", " ").split()) for part in path.split("M")]
    assert len(strokes) == 180
    assert strokes[0][1] > 70 and strokes[-1][1] < 10 and all(a[1] >= b[1] for a, b in pairwise(strokes))
    assert sparkline(flux, np.zeros(1000, bool), flux) == "<em>no good pixel</em>"


def test_info_names_what_matters(capsys: pytest.CaptureFixture[str]) -> None:
    assert info_main([]) == 0
    rows = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    found = {name.strip(): value.strip() for name, value in rows.items()}
    assert found["spectromer"].startswith(spectromer.__version__)
    assert found["torch"] == importlib.metadata.version("torch")
    assert spectromer._C.target() in found["vector code"] and "GPU" in " ".join(found)


def test_a_chart_has_an_axis_and_names_of_lines() -> None:
    flux, good, wavelength = np.arange(1000.0), np.ones(1000, bool), np.linspace(3800.0, 9200.0, 1000)
    shown = chart(flux, good, wavelength, {"H<b>": 5000.0, "far": 12000.0})
    tags = Tags(shown)
    assert tags.count["svg"] == 1 and "H&lt;b&gt;" in shown and "far" not in shown
    assert all(f">{tick}<" in shown for tick in (4000, 4500, 9000)) and ">3500<" not in shown
    assert f"translate({(5000 - 3800) * 900 / 5400 + 4:.1f} " in shown
    assert chart(flux, ~good, wavelength, {}) == "<em>no good pixel</em>"
    flat = chart(np.ones(1000), good, wavelength, {})
    assert "nan" not in flat and "inf" not in flat


@pytest.fixture(scope="module")
def page(run: Path, survey: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("page") / "found.parquet"
    assert predict_main([str(run), str(survey), "--out", str(out), "--report"]) == 0
    return out.with_suffix(".html")


def test_a_report_of_a_prediction(page: Path) -> None:
    """It is one file without links, has a row with two plots for each spectrum, and counts."""
    text = page.read_text()
    assert "http" not in text and "src=" not in text
    table = Table(parquet.read_table(page.with_suffix(".parquet")).to_pydict())
    assert text.count('<tr tabindex="0"') == len(table) == text.count("<template>")
    assert f"{len(table):,} spectra, predicted by the model" in text and text.count("<svg") > 1.9 * len(table)
    assert all(f"<td>{name}</td>" in text for name in table["id"])
    assert "<li>class: " in text


def test_a_report_chooses_flagged_spectra_first() -> None:
    marked = np.zeros(5000, bool)
    marked[::10] = True
    chosen = _choose(marked)
    assert len(chosen) == 200 == len(set(chosen.tolist())) and marked[chosen].sum() >= 100
    assert chosen[~marked[chosen]].max() > 4900 and chosen.min() < 100
    assert _choose(np.zeros(7, bool)).tolist() == list(range(7)) and len(_choose(np.ones(500, bool))) == 200


def test_a_report_in_a_browser(page: Path, tmp_path: Path) -> None:
    """Chromium runs its script: it sorts and filters as the address says."""
    names = ("chromium", "chromium-browser", "google-chrome")
    browser = next((found for name in names if (found := which(name))), None)
    if browser is None:
        pytest.skip("no Chromium")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", "--dump-dom"]
    address = f"file://{page}#sort=z&class=STAR"
    done = subprocess.run([*command, address], capture_output=True, text=True, timeout=120, check=True)
    row = r'<tr tabindex="0" data-class="(\w*)"[^>]*?( hidden="")?>.*?data-value="([^"]+)"'
    rows = re.findall(row, done.stdout, re.DOTALL)
    shown = [float(z) for kind, hidden, z in rows if not hidden]
    assert all(bool(hidden) == (kind != "STAR") for kind, hidden, _ in rows)
    assert shown == sorted(shown) and f"{len(shown)} of {len(rows)} shown" in done.stdout
