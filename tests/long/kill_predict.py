"""Kill a prediction at random moments and repeat it: the table must be that of a prediction left alone.

python tests/long/kill_predict.py RUN [--times 10] [--seed 0]
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from killing import kill_often, run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="the folder of a finished run")
    parser.add_argument("--times", type=int, default=10, help="number of kills")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rng, kills, started = random.Random(asked.seed), 0, time.monotonic()
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        run(["ingest", "--simulated", "6000", "--out", str(folder / "shards")])
        options = ["predict", str(asked.run), str(folder / "shards"), "--out"]
        took = run([*options, str(folder / "alone.csv")])
        print(f"left alone: {took:.1f} s", flush=True)
        number = 0
        while kills < asked.times:
            out = folder / f"{number}.csv"
            kills += kill_often(
                lambda out=out: [*options, str(out)], min(5, asked.times - kills), rng, took, lambda: None
            )
            run([*options, str(out)])
            if out.read_bytes() != (folder / "alone.csv").read_bytes() or list(folder.glob("*.parts")):
                sys.exit(f"after {kills} kills the table differs")
            number += 1
            print(f"{kills} kills: the same table", flush=True)
    print(f"{kills} kills of {number} predictions in {time.monotonic() - started:.0f} s: the same table each time")


if __name__ == "__main__":
    main()
