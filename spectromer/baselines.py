"""Train baseline methods on the same spectra: `python -m spectromer.baselines [--run RUN] [--data PATH] ...`."""

import sys
from collections.abc import Sequence

from spectromer.cli import exit_code, parse
from spectromer.config import BaselineConfig


def main(argv: Sequence[str] | None = None) -> int:
    """Run `spectromer baselines`."""
    config = parse(BaselineConfig, "baselines", argv)

    def work() -> None:
        from rich.console import Console

        from spectromer.learning.baselines import baselines
        from spectromer.learning.figures import compare, show_comparison

        show_comparison(compare(baselines(config)), Console())

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
