"""Export a run as a folder to publish: `python -m spectromer.export RUN --out FOLDER`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from spectromer.cli import exit_code, parse


@dataclass(frozen=True)
class ExportConfig:
    """Export a run as a folder to publish: weights, calibration, model card, and ONNX and torch.export programs."""

    run: Annotated[Path, tyro.conf.Positional]
    """A run folder of `spectromer train`."""
    out: Path
    """The folder to create. It can be uploaded to a model hub as it is."""
    formats: tuple[Literal["onnx", "torch"], ...] = ("onnx", "torch")
    """Programs to write in addition to the weights."""
    half: bool = False
    """Write the weights in half precision, which halves the size of the folder."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `spectromer export`, and print how well the programs agree with the model."""
    config = parse(ExportConfig, "export", argv)

    def work() -> None:
        from spectromer.learning.exporting import export

        for name, value in export(config.run, config.out, config.formats, config.half).items():
            print(f"{config.out / name}: differs from the model by at most {value:.1e} of its largest output")
        print(f"{config.out} is ready to be published")

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
