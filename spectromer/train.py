"""Train a model and evaluate it: `python -m spectromer.train [--data PATH] [--out RUN] ...`."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import tyro

from spectromer.cli import exit_code, refuse_empty
from spectromer.config import PRESETS, SPECFORMER, TrainConfig
from spectromer.errors import RunError
from spectromer.picture import STYLES, Picture
from spectromer.runs import RunFolder


@dataclass(frozen=True)
class StartConfig:
    """Options that set the defaults of the other options."""

    preset: Literal["default", "thesis"] = "default"
    """Preset that sets the defaults. "thesis" has the picture, the model and the training settings of the thesis."""
    style: Literal[tuple(STYLES)] | None = None  # type: ignore[valid-type]
    """Style that sets the defaults of the picture; by default "strips". "strips" and "panels" have one panel for each
    row of the model's patches."""
    resume: Path | None = None
    """A run folder whose training is resumed where it stopped."""


@dataclass(frozen=True)
class _CommandLine:
    defaults: tyro.conf.OmitArgPrefixes[StartConfig]
    training: tyro.conf.OmitArgPrefixes[TrainConfig]


def parse(argv: Sequence[str] | None = None) -> tuple[TrainConfig, bool]:
    """Parse the command line.

    The defaults come from the preset, or from the run that is resumed. The default picture follows from the style and
    the model. Explicit options override both.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; the default is `sys.argv`.

    Returns
    -------
    config : TrainConfig
        Options of the training.
    resume : bool
        Whether a run is resumed.

    Raises
    ------
    ModelError
        If there is no such model, or the picture does not fit it.
    RunError
        If the run cannot be resumed.
    ArgumentError
        If an option breaks its rule.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    refuse_empty(args)
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("preset", "style", "resume", "model", "size"):
        first.add_argument(f"--{name}", nargs="?")
    given, _ = first.parse_known_args(args)  # what is wrong with them, tyro says below
    style, settings = PRESETS.get(given.preset, PRESETS["default"])
    base = TrainConfig(**settings)
    if given.resume is not None:
        run = RunFolder(given.resume)
        if not run.last.is_file():
            raise RunError(f"--resume {given.resume}: no {run.last.name} there to resume from")
        base = replace(run.read_config(), out=run.path)
    elif not {"-h", "--help"} & set(args):
        style = given.style if given.style in STYLES else style
        size = int(given.size) if given.size and given.size.isdigit() else None
        base = replace(base, picture=_picture(given.model or base.model, style, size))
    description = TrainConfig.__doc__
    parsed = tyro.cli(
        _CommandLine,
        prog="spectromer train",
        args=args,
        default=_CommandLine(StartConfig(), base),
        description=description,
    )
    return parsed.training, given.resume is not None


def _picture(model: str, style: str, size: int | None) -> Picture:
    if model == SPECFORMER:
        return TrainConfig.picture
    from spectromer.learning.backbone import default_picture

    return default_picture(model, style, size)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `spectromer train`."""

    def work() -> None:
        config, resume = parse(argv)
        from spectromer.learning.training import train

        train(config, resume)

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
