"""Make the default model and the templates of the package, or evaluate them again.

`python benchmarks/make_model.py --real ../shared/data/catalog.csv --out runs/model` trains on the simulated survey,
then on real and simulated spectra together, and writes spectromer/models/default. It also makes the templates of the
scan, spectromer/templates/default.safetensors, from the same real spectra. If the command is repeated, it continues
with what is missing. With `--check`, it evaluates the model in the package on the same test split of real spectra,
which was used neither for training nor for templates or calibration, and compares the figures with those in the
package.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from make_templates import read_real, write
from real import SHORTEST, SIMULATED, TARGETS, catalogue, templates_of, tuning
from rich.console import Console

from spectromer.config import TrainConfig
from spectromer.learning.evaluation import evaluate
from spectromer.learning.exporting import export
from spectromer.learning.figures import compare, show_comparison
from spectromer.learning.predictor import Predictor
from spectromer.learning.training import train
from spectromer.learning.zoo import DEFAULT, find_model
from spectromer.runs import RunFolder
from spectromer.shards.sources import divide
from spectromer.templates import DEFAULT as TEMPLATES

MODEL = Path(__file__).resolve().parents[1] / "spectromer" / "models" / DEFAULT
ABOUT = """
## Training

`python benchmarks/make_model.py --real catalog.csv` made this model with seed {seed}. It learnt from a simulated
survey of {simulated:,} spectra (`spectromer.surveys.simulated`) and then from {real:,} real spectra of SDSS, BOSS,
eBOSS and LAMOST (DR1 to DR10), gathered from public repositories, together with {mixed:,} simulated ones. The
figures above are for real spectra of other objects. Most of these are A, F and G stars of LAMOST, and galaxies and
quasars are few. The labels are those of the surveys' pipelines. The model contains no spectrum. Its licence is that
of the package.

Before it was fine-tuned on real spectra, the model had these figures on the test split of the simulated survey:

{table}
"""


@dataclass(frozen=True)
class Options:
    """Make or check the default model."""

    real: Path
    """A catalogue of real spectra with the columns path and release, as that of ../shared/data."""
    out: Path = Path("runs/model")
    """A folder for the runs. Finished ones are reused."""
    mix: int = 800
    """Number of simulated spectra among the real ones."""
    epochs: int = 60
    """Number of epochs with real spectra."""
    lr: float = 5e-4
    """Peak learning rate with real spectra."""
    seed: int = 0
    """Seed of the simulated survey, the splits, the weights and the order of the spectra."""
    check: bool = False
    """Evaluate the model in the package instead of making it."""


def main(options: Options) -> None:
    """Train what is missing and write the model, or check it."""
    simulated = TrainConfig(out=options.out / "simulated", targets=TARGETS, seed=options.seed)
    data = catalogue(options.real, options.out / "real.csv", SHORTEST)
    tuned = tuning(data, simulated.out, options.out / "real", options)
    division = divide(tuned)
    if options.check:
        again = RunFolder(options.out / "check")
        again.create()
        figures = evaluate(Predictor.load(), division.shards, division.rows["test"], again)
        lines = compare([("in the package", RunFolder(find_model()).read_metrics()["test"]), ("now", figures)])
        show_comparison(lines, Console())
        return
    files = np.array(division.shards.index["path"].to_pylist())[division.rows["train"]]
    real, mixed = int((files != "").sum()), int((files == "").sum())
    templates = templates_of(division, read_real(options.real), options.seed)
    command = "python benchmarks/make_model.py --real CATALOG"
    write(templates, TEMPLATES, command, SIMULATED, real)
    if not RunFolder(options.out / "simulated").metrics.is_file():
        train(simulated)
    if not RunFolder(options.out / "real").metrics.is_file():
        train(tuned, division=division)
    shutil.rmtree(MODEL, ignore_errors=True)
    MODEL.parent.mkdir(exist_ok=True)
    export(options.out / "real", MODEL, formats=(), half=True)
    card = MODEL / "README.md"
    lines = compare([("value", RunFolder(options.out / "simulated").read_metrics()["test"])])
    table = "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], ["---"] * len(lines[0]), *lines[1:]])
    about = ABOUT.format(seed=options.seed, simulated=simulated.simulated, real=real, mixed=mixed, table=table)
    card.write_text(card.read_text() + about)


if __name__ == "__main__":
    main(tyro.cli(Options))
