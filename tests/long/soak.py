"""Use the package for a long time: resident memory must not grow.

python tests/long/soak.py [--seconds 60]

Each use runs in a process of its own. Its memory after the first fifth of the time is compared with that at the end.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import torch

import spectromer
from spectromer import Picture
from spectromer.config import TrainConfig
from spectromer.learning.design import Design
from spectromer.learning.step import TrainingStep
from spectromer.learning.targets import Targets
from spectromer.shards.batches import Batches
from spectromer.shards.feeds import Feed
from spectromer.shards.store import ShardSet
from spectromer.surveys.simulated import simulate
from spectromer.surveys.write import write_survey

PAGE = os.sysconf("SC_PAGE_SIZE")
MOST = 64  # MiB by which the memory may grow, for what the allocators keep
STYLES = ("panels", "thesis-plot", "folded", "thesis-map-channels", "overlap")


def resident() -> int:
    """The resident memory of this process in MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE >> 20


def uses(shards: ShardSet, files: list[Path]) -> Iterator[tuple[str, Callable[[int], int]]]:
    """Ways to use the package. Each function does some of the work, and returns how many calls it made."""
    values = Targets.fit(("class", "z"), shards.believed).encode(shards.believed)
    kept = Feed(Batches(shards, batch_size=64), values)
    batch = shards.batch(range(64))

    def one_size(_: int) -> int:
        for _ in range(25):
            spectromer.render(batch, style="panels", size=128)
        return 25

    def many_sizes(number: int) -> int:
        for i in range(25):
            part = batch.select(list(range(1 + 13 * i % 60)))
            spectromer.render(part, style=STYLES[i % len(STYLES)], size=(64, 128, 192)[(i + number) % 3])
        return 25

    def read(number: int) -> int:
        chosen = [files[(50 * number + i) % len(files)] for i in range(50)]
        return sum(spectromer.read(path) is not None for path in chosen)

    yield "one feed", lambda _: sum(1 for _ in kept)
    yield (
        "a new feed for each epoch",
        lambda seed: sum(1 for _ in Feed(Batches(shards, batch_size=64, seed=seed), values)),
    )
    yield "pictures of one size", one_size
    yield "pictures of many sizes and styles", many_sizes
    yield "reading", read
    targets = Targets.fit(("class", "z"), shards.believed)
    picture = Picture.of("strips", 64, panels=4)
    design = Design("test_vit", picture, targets)
    config = TrainConfig(model="test_vit", picture=picture, targets=targets.names)
    step = TrainingStep(design.build(), design.transform(), config, 1 << 20)

    def learn(_: int) -> int:
        for spectra, labels in kept:
            step(spectra, labels)
        step.take_totals()
        return len(kept)

    yield "training", learn


def soak(name: str, use: Callable[[int], int], seconds: float) -> bool:
    """Use the package in a child process, print its memory, and tell whether it grew."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] != 0
    started, calls, number, memory = time.monotonic(), 0, 0, []
    while (now := time.monotonic() - started) < seconds:
        if now >= seconds / 5 * (1 + len(memory)):
            memory.append(resident())
        calls, number = calls + use(number), number + 1
    memory.append(resident())
    grown = memory[-1] - memory[0] > MOST
    arrow = pa.total_allocated_bytes() >> 20
    print(f"{name:36} {calls:8} calls, resident MiB {memory}, of Arrow {arrow}{'  GROWN' if grown else ''}", flush=True)
    os._exit(grown)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="time for each use")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        write_survey(simulate(1500), folder / "in")
        from killing import run

        run(["ingest", str(folder / "in"), "--shard-size", "512", "--out", str(folder / "shards")])
        files = sorted((folder / "in").glob("*.fits"))
        grown = [name for name, use in uses(ShardSet.open(folder / "shards"), files) if soak(name, use, asked.seconds)]
    if grown:
        sys.exit(f"the memory has grown: {', '.join(grown)}")


if __name__ == "__main__":
    main()
