"""Spectra to work on, and the table of ratios at the end."""

import os
import platform
from collections import defaultdict
from typing import Any

import pytest
import torch

from spectromer import SpectrumBatch
from spectromer.data.simulate import simulate


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Peers use one core; so do we, unless a benchmark says otherwise."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def batch() -> SpectrumBatch:
    """64 simulated SDSS spectra."""
    return SpectrumBatch.from_spectra(list(simulate(64, surveys=("SDSS",))))


@pytest.fixture
def rate(benchmark: Any, request: pytest.FixtureRequest) -> Any:
    """Time `work`, which handles `spectra` spectra; the group's name decides which figures are compared."""

    def run(group: str, name: str, spectra: int, work: Any) -> Any:
        benchmark.group = group
        benchmark.extra_info |= {"name": name, "spectra": spectra}
        return benchmark(work)

    return run


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Spectra per second, and how many times faster ours (the first of each group) is."""
    session = getattr(config, "_benchmarksession", None)
    groups: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for bench in getattr(session, "benchmarks", []):
        if bench.extra_info and bench.stats:
            rate = bench.extra_info["spectra"] / bench.stats.median
            groups[bench.group].append((bench.extra_info["name"], rate))
    if not groups:
        return
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"
    terminalreporter.section(f"spectra per second, one thread ({machine})")
    for group, rows in groups.items():
        ours = next((rate for name, rate in rows if name.startswith("spectromer")), None)
        terminalreporter.write_line(group)
        for name, rate in sorted(rows, key=lambda row: -row[1]):
            ratio = f"{ours / rate:9.1f} x" if ours and not name.startswith("spectromer") else ""
            terminalreporter.write_line(f"  {name:<34}{rate:>12,.0f} /s {ratio}")
