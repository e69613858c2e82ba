"""Read many damaged files: python tests/long/fuzz_files.py --count 20000.

Each mutant is read in a child process with limits of time and memory, stored as `spectromer ingest` stores it, and
compared with what astropy reads. The seeds are one real file of each layout, if they are available, and written ones.
The mutants depend on --seed alone. The command prints the faults, and ends with status 1 if there are any.
"""

import argparse
import csv
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

import torch  # noqa: E402
from mutants import Outcome, Seed, limit_memory, mutate, outcome, seed_of  # noqa: E402

from spectromer.surveys.lamost import SURVEY as LAMOST  # noqa: E402
from spectromer.surveys.sdss import SURVEY as SDSS  # noqa: E402
from spectromer.surveys.simulated import simulate  # noqa: E402

REAL = ROOT.parent / "shared" / "data"
CHUNK = 500  # mutants that one child reads
PRIME = 10_000_019


def seeds(folder: Path) -> list[Seed]:
    """One file of each layout."""
    (sdss,), (lamost,) = simulate(1, surveys=("SDSS",)), simulate(1, surveys=("LAMOST",))
    SDSS.write(sdss, folder / "sdss.fits")
    for layout in ("table", "image"):
        LAMOST.write(lamost, folder / f"lamost_{layout}.fits", layout)
    paths = sorted(folder.glob("*.fits"))
    if (REAL / "catalog.csv").is_file():
        smallest: dict[tuple[str, str], Path] = {}
        for row in csv.DictReader((REAL / "catalog.csv").read_text().splitlines()):
            path, key = REAL / row["path"], (row["format"].split("(")[0], row["release"])
            if key not in smallest or path.stat().st_size < smallest[key].stat().st_size:
                smallest[key] = path
        paths += [*smallest.values(), *sorted(REAL.rglob("coadd-4-*.fits")), *sorted(REAL.rglob("spPlate-*.fits"))]
    return [seed_of(path) for path in paths]


def read_chunk(first: int, count: int, seed: int, known: list[Seed], folder: Path, log: int) -> None:
    """Read mutants in this process, and write a line about each to the file descriptor `log`."""
    limit_memory()
    for number in range(first, first + count):
        data, done = mutate(random.Random(seed * PRIME + number), known)
        path = folder / ("coadd-mutant.fits" if done.startswith("coadd") else "mutant.fits")
        path.write_bytes(data)
        os.write(log, (json.dumps([number, done]) + "\n").encode())
        os.write(log, (json.dumps([number, vars(outcome(path))]) + "\n").encode())


def run_chunk(first: int, count: int, seed: int, known: list[Seed], folder: Path) -> list[tuple[int, str, Outcome]]:
    """The outcomes of mutants, read in a child. If it dies, the last of them is a crash, and the rest is left."""
    out, log = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(out)
        code = 1
        try:
            read_chunk(first, count, seed, known, folder, log)
            code = 0
        finally:
            os._exit(code)
    os.close(log)
    with os.fdopen(out, "rb") as file:
        lines = [json.loads(line) for line in file]
    _, status = os.waitpid(child, 0)
    told = {number: text for number, text in lines if isinstance(text, str)}
    found = {number: Outcome(**result) for number, result in lines if isinstance(result, dict)}
    results = [(number, told[number], found.get(number, Outcome("crash", f"status {status}"))) for number in told]
    if not results:
        raise RuntimeError(f"a child ended with status {status} before it read anything")
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000, help="mutants to read")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=120.0, help="stop after this time")
    parser.add_argument("--first", type=int, default=0, help="number of the first mutant, to repeat one")
    options = parser.parse_args()
    torch.set_num_threads(1)
    start, kinds, worst, slowest = time.monotonic(), Counter[str](), 0, 0.0
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        known = seeds(folder)
        number, end = options.first, options.first + options.count
        while number < end and time.monotonic() - start < 60.0 * options.minutes:
            results = run_chunk(number, min(CHUNK, end - number), options.seed, known, folder)
            for number, done, result in results:
                kinds[result.kind] += 1
                worst, slowest = max(worst, result.memory), max(slowest, result.seconds)
                if result.is_fault:
                    faults.append(f"{number}: {result.kind}: {result.detail} [{done}]")
                    print(faults[-1], flush=True)
            number += 1
    took = time.monotonic() - start
    print(
        f"{sum(kinds.values())} mutants of {len(known)} files in {took:.0f} s with seed {options.seed}: {dict(kinds)}"
    )
    print(f"largest memory {worst / 2**20:.1f} MiB, longest time {slowest:.2f} s, faults {len(faults)}")
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
