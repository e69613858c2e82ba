"""Find the spectra that are most like others, or unlike all others: `python -m spectromer.similar VECTORS ...`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from spectromer.cli import check_least, exit_code, parse
from spectromer.errors import require


@dataclass(frozen=True)
class SimilarConfig:
    """Find the spectra that are most like given ones, or the rarest."""

    vectors: Annotated[Path, tyro.conf.Positional]
    """The table of `spectromer embed`."""
    to: tuple[str, ...] = ()
    """Ids of spectra in the table whose neighbours are wanted. Without any, the rarest spectra are found."""
    number: int = 10
    """Number of neighbours of each spectrum, or of the rarest spectra."""
    out: Path | None = None
    """A table to write, as .csv, .ecsv, .fits or .parquet. Without it, the result is printed."""

    def __post_init__(self) -> None:
        require(len(set(self.to)) == len(self.to), "to must name each id once")
        check_least(self, number=1)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `spectromer similar`."""
    config = parse(SimilarConfig, "similar", argv)

    def work() -> None:
        from spectromer.files import check_writable, table_format, write_table
        from spectromer.learning.embedding import neighbours, rarest, read_vectors

        if config.out is not None:
            table_format(config.out)
            check_writable(config.out)
        names, vectors = read_vectors(config.vectors)
        if config.to:
            found = neighbours(names, vectors, config.to, config.number)
        else:
            found = rarest(names, vectors, config.number)
        if config.out is None:
            print("\n".join(found.pformat(max_lines=-1, max_width=-1)))
        else:
            write_table(found, config.out)
            print(f"{config.out} holds {len(found)} rows")

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
