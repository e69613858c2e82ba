"""Kill ingestions at random moments: the shards must be, byte for byte, those of an ingestion that was left alone.

python tests/long/kill_ingest.py [--times 20] [--seed 0]
"""

import argparse
import hashlib
import random
import sys
import tempfile
import time
from pathlib import Path

from killing import kill_often, run

from spectromer.shards.store import ShardSet
from spectromer.shards.verify import verify
from spectromer.surveys.simulated import simulate
from spectromer.surveys.write import write_survey


def sums(folder: Path) -> dict[str, str]:
    files = (path for path in folder.iterdir() if path.name != ".lock")
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20, help="number of kills")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rng, kills, started = random.Random(asked.seed), 0, time.monotonic()
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        write_survey(simulate(1500, seed=asked.seed), folder / "in")
        for name, content in (("torn.fits", b"SIMPLE"), ("empty.fits", b""), ("text.fits", b"no spectrum")):
            (folder / "in" / name).write_bytes(content)
        options = [str(folder / "in"), "--catalog", str(folder / "in" / "catalog.csv"), "--simulated", "512"]
        options += ["--shard-size", "128", "--workers", "2"]
        took = run(["ingest", *options, "--out", str(folder / "alone")])
        want = sums(folder / "alone")
        print(f"left alone: {len(want)} files in {took:.1f} s", flush=True)
        number = 0
        while kills < asked.times:
            out = folder / f"killed-{number}"

            def readable(out: Path = out) -> None:
                if (out / "manifest.json").exists():  # what a reader sees in between is finished
                    ShardSet.open(out)

            most = min(6, asked.times - kills)
            kills += kill_often(
                lambda out=out: ["ingest", *options, "--out", str(out)], most, rng, 1.5 * took, readable
            )
            run(["ingest", *options, "--out", str(out)])
            different = {name for name, _ in sums(out).items() ^ want.items()}
            if different or verify(out, progress=False).damaged:
                sys.exit(f"after {kills} kills these files differ: {', '.join(sorted(different))}")
            number += 1
            print(f"{kills} kills: the same {len(want)} files", flush=True)
    print(f"{kills} kills of {number} ingestions in {time.monotonic() - started:.0f} s: the same bytes each time")


if __name__ == "__main__":
    main()
