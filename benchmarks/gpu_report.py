"""All tests and measurements that need a GPU, in one run of less than six minutes: `python benchmarks/gpu_report.py`.

The report builds the package into a separate folder, which needs pybind11 and scikit-build-core but no network. It then
runs the tests of the operators on the GPU, small cases of all kernels under compute-sanitizer, the benchmarks, and a
short training run. If a step fails or needs a program that is not installed, the other steps still run. At the end it
prints one table, writes all results as JSON, and exits with status 1 if a step failed.
"""

import argparse
import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

#: A script that launches every variant of every kernel on a few small spectra.
SMALL = """
import torch
from spectromer import SpectrumBatch, rasterize, render, resample
flux, ivar = torch.randn(3, 300).cumsum(1).cuda(), torch.ones(3, 300).cuda()
ivar[1, 100:140] = 0
wavelength = torch.linspace(3600, 9900, 300, dtype=torch.float64).cuda()
grid = torch.linspace(3700, 9000, 200, dtype=torch.float64).cuda()
own = wavelength.expand(3, -1).contiguous()
for axis in (wavelength, own):
    batch = SpectrumBatch(flux, ivar, axis)
    for style in ("plot", "panels", "overlap", "folded", "thesis-plot", "thesis-overlap", "thesis-map-channels"):
        for coverage in ("union", "agg"):
            render(batch, style=style, size=64, coverage=coverage)
    render(batch, size=64, channels=("flux", "error", "mask", "first", "second"), dtype="bfloat16")
    render(batch, size=60, channels=("flux", "regions"), regions=((4000, 5000),), dtype="float32")
    for method in ("flux_conserving", "linear"):
        spectra = flux.clone().requires_grad_()
        resample(spectra, ivar, axis, grid, method=method)[0].sum().backward()
        resample(flux, ivar, axis, grid.expand(3, -1).contiguous(), method=method)
offsets, shift = torch.tensor([0, 250, 450, 700]).cuda(), torch.tensor([0, 9, 50]).cuda()
resample(flux.flatten()[:700], ivar.flatten()[:700], wavelength, grid, offsets=offsets, shift=shift)
for coverage in ("union", "agg"):
    for points, height in ((100, 300), (20000, 60)):
        rasterize(torch.randn(2, points).cuda() * 20 + 30, height=height, width=60, coverage=coverage)
rasterize(torch.randn(2, 100).cuda() * 20 + 30, band=torch.randn(2, 100).cuda(), height=60, width=60)
torch.cuda.synchronize()
"""
#: Metrics of Nsight Compute, with their names in the table.
METRICS = {
    "smsp__inst_executed.sum": "instructions",
    "launch__registers_per_thread": "registers",
    "sm__warps_active.avg.pct_of_peak_sustained_active": "occupancy",
    "l1tex__t_sectors_pipe_lsu_mem_global_op_ld.sum": "sectors",
}
PROFILED = 256


@dataclass
class Step:
    """A step of the report: its result, its duration, and its rows of the table."""

    name: str
    result: str = "passed"
    seconds: float = 0.0
    rows: list[dict[str, Any]] = field(default_factory=list)


class Report:
    """Run the steps in order, each in separate processes."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.steps = folder, list[Step]()
        self.environment = os.environ | {"PYTHONPATH": str(folder / "site"), "PYTHONUNBUFFERED": "1"}

    def run(self, command: Sequence[str | Path], limit: float, keep: bool = False, **environment: str) -> str:
        """Run a command, and print or return its output. A failure raises RuntimeError."""
        print(f"\n$ {' '.join(map(str, command))[:200]}", flush=True)
        try:
            done = subprocess.run(
                command,
                cwd=ROOT,
                env=self.environment | environment,
                timeout=limit,
                stdout=subprocess.PIPE if keep else None,
                text=True,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(f"ran past {limit:.0f} s") from error
        if done.returncode != 0:
            print(done.stdout or "", end="")
            raise RuntimeError(f"exit status {done.returncode}")
        return done.stdout or ""

    def step(self, name: str, work: "Work") -> Step:
        """Run one step, and record its result or its error."""
        print(f"\n== {name}", flush=True)
        step, started = Step(name), time.perf_counter()
        try:
            work(self, step)
        except FileNotFoundError as error:
            step.result = f"not installed: {error}"
        except Exception as error:  # a failed step must not end the report
            step.result = f"FAILED: {error}"
        step.seconds = time.perf_counter() - started
        self.steps.append(step)
        return step


Work = Callable[[Report, Step], None]


def program(name: str) -> str:
    """Return the path of a program; raise FileNotFoundError if there is none."""
    found = shutil.which(name) or shutil.which(f"/usr/local/cuda/bin/{name}")
    if found is None:
        raise FileNotFoundError(name)
    return found


def build(report: Report, step: Step) -> None:
    """Build the package for the GPU of this machine."""
    options = ["-Ccmake.define.SPECTROMER_CUDA=ON", "-Ccmake.define.CMAKE_CUDA_ARCHITECTURES=native"]
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-build-isolation", "--no-deps"]
    report.run([*install, "--target", report.folder / "site", *options, ROOT], 300)


def tests(report: Report, step: Step) -> None:
    """Run the tests of operators, steps and feeds on the GPU, without those of the emulation."""
    names = ("cuda", "gpu", "resample", "raster", "render", "step", "feeds")
    files = [ROOT / "tests" / f"test_{name}.py" for name in names]
    report.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not emulated", *files], 240)


def sanitizer(tool: str) -> Work:
    """Run a tool of compute-sanitizer, with a separate allocation for every tensor to detect out-of-bounds access."""

    def work(report: Report, step: Step) -> None:
        command = [program("compute-sanitizer"), "--tool", tool, "--error-exitcode", "1", sys.executable, "-c", SMALL]
        report.run(command, 150, PYTORCH_NO_CUDA_MEMORY_CACHING="1")

    return work


def benchmarks(report: Report, step: Step) -> None:
    """Measure operators, training steps and feeds with CUDA events over 20 launches."""
    out = report.folder / "benchmarks.json"
    files = [ROOT / "benchmarks" / f"bench_{name}.py" for name in ("gpu", "train")]
    options = ["-k", "not cpu", "--benchmark-max-time=0.3", "--benchmark-min-rounds=3", f"--benchmark-json={out}"]
    try:
        report.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files, *options], 200)
    finally:
        for bench in json.loads(out.read_text())["benchmarks"] if out.is_file() else []:
            info, seconds = bench["extra_info"], bench["stats"]["median"]
            rate = info["spectra"] / seconds
            row = {"group": bench["group"], "name": info["name"], "spectra_per_second": rate}
            if info["bytes"]:
                row["bytes_per_second"] = rate * info["bytes"]
            if "host's share" in bench["group"]:
                row["milliseconds"] = 1000.0 * seconds
            step.rows.append(row)


def training(report: Report, step: Step) -> None:
    """Train the default model, including start-up, validation and checkpoints."""
    run = report.folder / "run"
    report.run([sys.executable, "-m", "spectromer.train", "--simulated", "3000", "--epochs", "3", "--out", run], 150)
    took = json.loads((run / "metrics.json").read_text())["training"]["milliseconds_per_step"]
    step.rows.append({"group": "python -m spectromer.train", "name": "milliseconds a step", "milliseconds": took})


def profile(report: Report, step: Step) -> None:
    """Count the instructions of each kernel with Nsight Compute."""
    command = [program("ncu"), "--csv", "--page", "raw", "--clock-control", "none", "--metrics", ",".join(METRICS)]
    kernels = ["--kernel-name-base", "mangled", "-k", "regex:spectromer", "--print-kernel-base", "function"]
    cases = [sys.executable, ROOT / "benchmarks" / "cases.py", str(PROFILED)]
    step.rows += profiled(report.run([*command, *kernels, *cases], 150, keep=True))


def profiled(text: str) -> list[dict[str, Any]]:
    """Parse the CSV of Nsight Compute in the output of the profiled program."""
    cases = re.findall(r"^CASE (.*)$", text, flags=re.MULTILINE)
    start = text.find('"ID"')
    if start < 0:
        raise RuntimeError(f"ncu printed no table: {text[-500:]}")
    rows, table = [], list(csv.DictReader(io.StringIO(text[start:])))
    kernels = [row for row in table if row["ID"].isdigit()]  # the first row holds units
    launched = [row for row in kernels if "plan_kernel" not in row["Kernel Name"]]
    for case, kernel in zip(cases, launched, strict=True):
        row: dict[str, Any] = {"group": f"a spectrum, of {PROFILED}", "name": case, "kernel": kernel["Kernel Name"]}
        for metric, name in METRICS.items():
            number = float(kernel[metric].replace(",", ""))
            row[name] = number / PROFILED if name in ("instructions", "sectors") else number
        rows.append(row)
    return rows


def machine() -> dict[str, str]:
    """Describe the GPU and the software."""

    def first_line(*command: str) -> str:
        try:
            return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip().split("\n")[0]
        except FileNotFoundError:
            return ""

    return {
        "card": first_line("nvidia-smi", "--query-gpu=name", "--format=csv,noheader"),
        "driver": first_line("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"),
        "torch": first_line(sys.executable, "-c", "import torch; print(torch.__version__)"),
        "commit": first_line("git", "describe", "--always", "--dirty"),
    }


def main() -> int:
    """Run all steps, and print their results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=Path("gpu_report.json"), help="file for all results")
    parser.add_argument("--profile", action="store_true", help="also count instructions with Nsight Compute (ncu)")
    options = parser.parse_args()
    where = machine()
    if not where["card"]:
        print("gpu_report.py needs an NVIDIA GPU and nvidia-smi; sass_report.py counts instructions without one")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        report = Report(Path(folder))
        steps: dict[str, Work] = {
            "tests": tests,
            **{f"compute-sanitizer {tool}": sanitizer(tool) for tool in ("memcheck", "racecheck", "initcheck")},
            "benchmarks": benchmarks,
            "training": training,
        }
        steps |= {"profile": profile} if options.profile else {}
        if report.step("build", build).result == "passed":
            for name, work in steps.items():
                report.step(name, work)
        options.json.write_text(json.dumps({**where, "steps": [asdict(step) for step in report.steps]}, indent=2))
    print("\n" + ", ".join(f"{name} {value or 'unknown'}" for name, value in where.items()))
    for step in report.steps:
        print(f"{step.name:<30}{step.seconds:>6.0f} s  {step.result}")
    for group in dict.fromkeys(row["group"] for step in report.steps for row in step.rows):
        print(f"\n{group}")
        for row in (row for step in report.steps for row in step.rows if row["group"] == group):
            numbers = (f"{k} {v:,.4g}" for k, v in row.items() if isinstance(v, float | int))
            print(f"  {row['name']:<46}{'  '.join(numbers)}")
    return int(any(step.result.startswith("FAILED") for step in report.steps))


if __name__ == "__main__":
    sys.exit(main())
