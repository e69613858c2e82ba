"""Kill a training at random moments and resume it: the weights and figures must be those of a training left alone.

python tests/long/kill_train.py [--times 10] [--seed 0]
"""

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from killing import kill_often, run

from spectromer.runs import load_weights

OPTIONS = ["--simulated", "1500", "--epochs", "3", "--save-minutes", "0.05", "--size", "64", "--panels", "4"]
OPTIONS += ["--model", "test_vit", "--no-pretrained"]
CLOCKS = ("seconds", "milliseconds_per_step", "torch_threads")  # figures that depend on the time it took


def figures(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return found | {"training": {name: value for name, value in found["training"].items() if name not in CLOCKS}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=10, help="number of kills")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # the last bits of sums depend on the number of threads
    rng, kills, resumed, started = random.Random(asked.seed), 0, 0, time.monotonic()
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        took = run(["train", *OPTIONS, "--out", str(folder / "alone")])
        print(f"left alone: {took:.1f} s", flush=True)
        out = folder / "killed"

        def command() -> list[str]:
            nonlocal resumed
            if (out / "last.safetensors").is_file():
                resumed += 1
                return ["train", "--resume", str(out)]
            shutil.rmtree(out, ignore_errors=True)
            return ["train", *OPTIONS, "--out", str(out)]

        while kills < asked.times:
            kills += kill_often(command, asked.times - kills, rng, 0.8 * took, lambda: None)
            if not (out / "metrics.json").is_file():
                run(command())
            for name in ("weights.safetensors", "last.safetensors"):
                one, other = load_weights(folder / "alone" / name), load_weights(out / name)
                if one.keys() != other.keys() or not all(torch.equal(one[key], other[key]) for key in one):
                    sys.exit(f"after {kills} kills {name} differs")
            if figures(folder / "alone") != figures(out):
                sys.exit(f"after {kills} kills metrics.json differs")
            print(f"{kills} kills: the same weights and figures", flush=True)
            shutil.rmtree(out)
    print(f"{kills} kills, {resumed} resumptions in {time.monotonic() - started:.0f} s: the same weights and figures")


if __name__ == "__main__":
    main()
