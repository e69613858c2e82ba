"""What the tests share: devices, spectra, small runs, and the real spectra where they are at hand."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from spectromer import Spectrum, SpectrumBatch
from spectromer.surveys.simulated import simulate

SURVEY_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def _cuda_operators() -> bool:
    from spectromer import _C

    return _C.has_cuda and torch.cuda.is_available()


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> str:
    """Every operator test runs on the CPU and, where there is one, on a GPU."""
    if request.param == "cuda" and not _cuda_operators():
        pytest.skip("no GPU, or a build without CUDA operators")
    return request.param


@pytest.fixture(scope="session")
def survey_data() -> Path:
    """The folder of real spectra."""
    if not (SURVEY_DATA / "catalog.csv").is_file():
        pytest.skip(f"no real spectra at {SURVEY_DATA}")
    return SURVEY_DATA


@pytest.fixture(scope="session")
def batch() -> SpectrumBatch:
    """Six spectra of SDSS and two of LAMOST."""
    spectra = list(simulate(260))
    return SpectrumBatch.from_spectra([*spectra[:6], *spectra[-2:]])


@pytest.fixture(scope="session")
def whole() -> list[Spectrum]:
    """Spectra without masked pixels, of which the thesis's pictures take no notice."""
    return [Spectrum(s.flux, torch.ones_like(s.flux), s.wavelength) for s in simulate(4, surveys=("SDSS",))]


@pytest.fixture(scope="session")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 40 good files, a dead fibre, and two that cannot be read."""
    from spectromer.surveys.write import write_survey

    folder = tmp_path_factory.mktemp("survey")
    spectra = list(simulate(40, seed=9))
    dead = Spectrum(spectra[0].flux * 0, spectra[0].ivar * 0, spectra[0].wavelength, "SDSS", "9999-55000-0001", {})
    write_survey([*spectra, dead], folder)
    (folder / "torn.fits").write_bytes((folder / "spec-9999-55000-0001.fits").read_bytes()[:7000])
    (folder / "text.fits").write_text("no spectrum")
    return folder


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs on 600 simulated spectra. Tests read it, and write elsewhere."""
    from small import SMALL, TARGETS

    from spectromer.train import main

    folder = tmp_path_factory.mktemp("runs") / "small"
    assert main([*SMALL, *TARGETS, "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="session")
def specformer_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch of the peer in one dimension, on 300 simulated spectra. Tests read it, and write elsewhere."""
    from spectromer.train import main

    folder = tmp_path_factory.mktemp("runs") / "specformer"
    options = ["--model", "specformer", "--heads", "mlp", "--simulated", "300", "--epochs", "1"]
    assert main([*options, "--targets", "class", "z", "--out", str(folder)]) == 0
    return folder


Main = Callable[[Sequence[str]], int]


@pytest.fixture
def error_line(capsys: pytest.CaptureFixture[str]) -> Callable[[Main, Sequence[str]], str]:
    """Runs a verb that has to end with status 2 and one line on standard error, and gives the sentence in it."""

    def run(main: Main, argv: Sequence[str]) -> str:
        capsys.readouterr()
        assert main(argv) == 2, argv
        line = capsys.readouterr().err.strip()
        assert line.startswith("error: ") and "\n" not in line, line
        return line.removeprefix("error: ")

    return run


@pytest.fixture
def error_box(capsys: pytest.CaptureFixture[str]) -> Callable[[Main, Sequence[str]], str]:
    """Runs a verb that has to end in tyro's box with status 2, and gives the text in it."""

    def run(main: Main, argv: Sequence[str]) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(argv)
        box = capsys.readouterr().err
        assert ended.value.code == 2 and "Traceback" not in box, box
        text = " ".join(box.translate(str.maketrans("╭╮╰╯│─", " " * 6)).split())  # its frame, where it has one
        assert "For full helptext" in text, box
        return text

    return run


@pytest.fixture
def broken(run: Path, tmp_path: Path) -> Path:
    """A copy of a good run folder, to be broken."""
    folder = tmp_path / "broken"
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("plots", "tensorboard", "*.parquet", "*.html"))
    return folder


@pytest.fixture(scope="module")
def sdss() -> list[Spectrum]:
    """Twelve simulated spectra of SDSS."""
    return list(simulate(12, surveys=("SDSS",)))


@pytest.fixture(scope="module")
def lamost() -> list[Spectrum]:
    """Twelve simulated spectra of LAMOST."""
    return list(simulate(12, surveys=("LAMOST",)))


@pytest.fixture
def help_and_heavy() -> Callable[[str], tuple[str, str]]:
    """What `--help` of a verb prints, and which heavy modules are imported by then, as a list in text."""

    def run(verb: str) -> tuple[str, str]:
        code = (
            f"import sys, spectromer.{verb} as door\n"
            "try:\n    door.main(['--help'])\nexcept SystemExit:\n    pass\n"
            "heavy = {'torch', 'astropy', 'pyarrow', 'numpy', 'spectromer.surveys', 'spectromer.spectra'}\n"
            "print(sorted(heavy & set(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        return done.stdout, done.stdout.splitlines()[-1]

    return run
