"""Verify shards against their checksums: `python -m spectromer.verify SHARDS [--repair]`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from spectromer.cli import exit_code, parse
from spectromer.errors import ShardError
from spectromer.words import count


@dataclass(frozen=True)
class VerifyConfig:
    """Read a folder of shards whole, and compare every file in it with its checksums."""

    shards: Annotated[Path, tyro.conf.Positional]
    """A folder of shards."""
    repair: bool = False
    """Make damaged shards again from their sources. A shard is replaced only by one with the same bytes as before."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `spectromer verify`."""
    config = parse(VerifyConfig, "verify", argv)

    def work() -> None:
        from spectromer.shards.verify import verify

        found = verify(config.shards, config.repair)
        shards, spectra = count(found.shards, "shard"), count(found.spectra, "spectrum")
        print(f"{shards} with {spectra} ({found.bytes:,} bytes) {'is' if found.shards == 1 else 'are'} as written")
        for name, reason in found.damaged.items():
            print(f"damaged: {reason}" if str(config.shards) in reason else f"damaged: {name}: {reason}")
        for name in found.repaired:
            print(f"repaired: {name}")
        for name, reason in found.lost.items():
            print(f"not repaired: {name}: {reason}")
        left = found.damaged.keys() - set(found.repaired)
        if left:
            repair = "" if config.repair else "; --repair makes shards again from their sources"
            number = f"{count(len(left), 'file')} {'is' if len(left) == 1 else 'are'}"
            raise ShardError(f"{config.shards}: {number} damaged or missing{repair}")

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
