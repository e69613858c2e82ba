"""Spectra for the benchmarks, and the final table of rates, ratios to peers and to the memory bandwidth, and errors."""

import importlib
import os
import platform
import time
from collections import defaultdict
from typing import Any

import pytest
import torch

from spectromer import SpectrumBatch
from spectromer.surveys.simulated import simulate

LAUNCHES = 20
_MISSING: dict[str, str] = {}


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Use one thread, as the peers do, unless a benchmark changes it."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def batch() -> SpectrumBatch:
    """256 simulated SDSS spectra."""
    return SpectrumBatch.from_spectra(list(simulate(256, surveys=("SDSS",))))


@pytest.fixture
def peer() -> Any:
    """Import a peer. If it is not installed, skip the benchmark and note it in the table."""

    def load(module: str, name: str) -> Any:
        try:
            return importlib.import_module(module)
        except ImportError as error:
            _MISSING[name] = str(error)
            pytest.skip(f"{name} is not installed (extra bench)")

    return load


@pytest.fixture
def rate(benchmark: Any) -> Any:
    """Time `work`, which processes `spectra` spectra and must read and write `size` bytes for each.

    The rows of a group are compared with its first row. `error` describes the error of the result. On a GPU, a round is
    `LAUNCHES` calls without synchronisation, timed by the clock of the device (the timer of bench_gpu.py).
    """

    def run(
        group: str, name: str, spectra: int, work: Any, *, size: int = 0, error: str = "", device: str = "cpu"
    ) -> Any:
        benchmark.group = group
        benchmark.extra_info |= {"name": name, "spectra": spectra, "bytes": size, "error": error, "device": device}
        if device == "cpu":
            return benchmark(work)

        benchmark.extra_info["spectra"] *= LAUNCHES

        def launches() -> None:
            for _ in range(LAUNCHES):
                work()

        launches()  # compile, load and fill the caches
        return benchmark(launches)

    return run


def _copy_rate(device: str) -> float:
    """Bytes per second that one core, or a GPU, reads and writes in a copy. No operator can be faster."""
    source = torch.ones(1 << (26 if device == "cpu" else 30), device=device)
    target = torch.empty_like(source)
    seconds = []
    for _ in range(7):
        start = time.perf_counter()
        target.copy_(source)
        if device != "cpu":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return 2 * source.nbytes / sorted(seconds)[3]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print one table of all medians."""
    session = getattr(config, "_benchmarksession", None)
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for bench in getattr(session, "benchmarks", []):
        if bench.extra_info and bench.stats:
            info = dict(bench.extra_info)
            groups[bench.group].append(info | {"rate": info["spectra"] / bench.stats.median})
    if not groups:
        return
    write = terminalreporter.write_line
    copied = {
        device: _copy_rate(device) for device in sorted({row["device"] for rows in groups.values() for row in rows})
    }
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"
    terminalreporter.section(f"medians, one thread unless named ({machine})")
    for device, moves in copied.items():
        where = "memory" if device == "cpu" else f"the memory of {torch.cuda.get_device_name()}"
        write(f"a copy in {where} moves {moves / 1e9:,.1f} GB/s; of it: what the spectra and results alone would take")
    for group, rows in groups.items():
        write(f"\n{group:<50}{'spectra/s':>12}{'GB/s':>8}{'of copy':>9}{'ours is':>10}  error")
        for row in rows:
            moved = row["rate"] * row["bytes"]
            share = f"{moved / 1e9:>8.2f}{moved / copied[row['device']]:>8.0%} " if row["bytes"] else " " * 17
            ratio = f"{rows[0]['rate'] / row['rate']:>8.2f} x" if row is not rows[0] else " " * 10
            write(f"  {row['name']:<48}{row['rate']:>12,.0f}{share}{ratio}  {row['error']}")
    for name, reason in sorted(_MISSING.items()):
        write(f"\nnot compared: {name} ({reason})")
