"""Make a folder to publish from a run: `python -m spectromer.export RUN --out FOLDER`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from spectromer.cli import exit_code


@dataclass(frozen=True)
class ExportConfig:
    """Make a folder to publish from a run: weights, calibration, model card, ONNX and torch.export programs."""

    run: Annotated[Path, tyro.conf.Positional]
    """A run folder of `spectromer train`."""
    out: Path
    """The folder to make; upload it as it is to a model hub."""
    formats: tuple[Literal["onnx", "torch"], ...] = ("onnx", "torch")
    """Programs to write beside the weights."""


def main(argv: Sequence[str] | None = None) -> int:
    """Export as the command line says, and tell how well the programs agree with the model."""
    config = tyro.cli(ExportConfig, prog="spectromer export", args=argv)

    def work() -> None:
        from spectromer.learning.exporting import export

        for name, value in export(config.run, config.out, config.formats).items():
            print(f"{config.out / name}: agrees with the model to {value:.1e} of its largest output")
        print(f"{config.out}: ready to be published")

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
