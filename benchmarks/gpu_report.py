"""Everything that only a GPU can tell, in one run of under six minutes: `python benchmarks/gpu_report.py`.

Builds the package into a folder of its own (needs pybind11 and scikit-build-core, no network), then runs the
operators' tests on the GPU, small cases of all kernels under compute-sanitizer, the benchmarks, and a short training
run. A step that fails, or finds that something is not installed, does not keep the others from running. Ends with one
table, writes all of it as JSON, and exits with 1 if a step failed.
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

#: Launches every kernel in all its forms, on few and small spectra.
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
#: What Nsight Compute is asked for, and what it is called in the table.
METRICS = {
    "smsp__inst_executed.sum": "instructions",
    "launch__registers_per_thread": "registers",
    "sm__warps_active.avg.pct_of_peak_sustained_active": "occupancy",
    "l1tex__t_sectors_pipe_lsu_mem_global_op_ld.sum": "sectors",
}
PROFILED = 256


@dataclass
class Step:
    """One step: what came of it, how long it took, and the rows that it adds to the table."""

    name: str
    result: str = "passed"
    seconds: float = 0.0
    rows: list[dict[str, Any]] = field(default_factory=list)


class Report:
    """Runs step after step, each in processes of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.steps = folder, list[Step]()
        self.environment = os.environ | {"PYTHONPATH": str(folder / "site"), "PYTHONUNBUFFERED": "1"}

    def run(self, command: Sequence[str | Path], limit: float, keep: bool = False, **environment: str) -> str:
        """Run a command, and show or return what it prints; RuntimeError if it fails."""
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
        """Do one step, whatever comes of it."""
        print(f"\n== {name}", flush=True)
        step, started = Step(name), time.perf_counter()
        try:
            work(self, step)
        except FileNotFoundError as error:
            step.result = f"not installed: {error}"
        except Exception as error:  # a step of its own must not end the report
            step.result = f"FAILED: {error}"
        step.seconds = time.perf_counter() - started
        self.steps.append(step)
        return step


Work = Callable[[Report, Step], None]


def program(name: str) -> str:
    """Where a program is."""
    found = shutil.which(name) or shutil.which(f"/usr/local/cuda/bin/{name}")
    if found is None:
        raise FileNotFoundError(name)
    return found


def build(report: Report, step: Step) -> None:
    """The package, for this machine's GPU."""
    options = ["-Ccmake.define.SPECTROMER_CUDA=ON", "-Ccmake.define.CMAKE_CUDA_ARCHITECTURES=native"]
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-build-isolation", "--no-deps"]
    report.run([*install, "--target", report.folder / "site", *options, ROOT], 300)


def tests(report: Report, step: Step) -> None:
    """The operators' tests, on the GPU; not the emulation's."""
    files = [ROOT / "tests" / f"test_{name}.py" for name in ("cuda", "resample", "raster", "render")]
    report.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not emulated", *files], 240)


def sanitizer(tool: str) -> Work:
    """One tool of compute-sanitizer. Every tensor is an allocation of its own, so that its ends are seen."""

    def work(report: Report, step: Step) -> None:
        command = [program("compute-sanitizer"), "--tool", tool, "--error-exitcode", "1", sys.executable, "-c", SMALL]
        report.run(command, 150, PYTORCH_NO_CUDA_MEMORY_CACHING="1")

    return work


def benchmarks(report: Report, step: Step) -> None:
    """Rates by CUDA events over 20 launches: operators, steps of training, feeds."""
    out = report.folder / "benchmarks.json"
    file = ROOT / "benchmarks" / "bench_gpu.py"
    options = ["--benchmark-max-time=0.3", "--benchmark-min-rounds=3", f"--benchmark-json={out}"]
    try:
        report.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", file, *options], 200)
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
    """A run of the default model, with its start, its validation and its checkpoints."""
    run = report.folder / "run"
    report.run([sys.executable, "-m", "spectromer.train", "--simulated", "3000", "--epochs", "3", "--out", run], 150)
    took = json.loads((run / "metrics.json").read_text())["training"]["milliseconds_per_step"]
    step.rows.append({"group": "python -m spectromer.train", "name": "milliseconds a step", "milliseconds": took})


def profile(report: Report, step: Step) -> None:
    """Nsight Compute's counts of each kernel that the table's cases launch."""
    command = [program("ncu"), "--csv", "--page", "raw", "--clock-control", "none", "--metrics", ",".join(METRICS)]
    kernels = ["--kernel-name-base", "mangled", "-k", "regex:spectromer", "--print-kernel-base", "function"]
    cases = [sys.executable, ROOT / "benchmarks" / "cases.py", str(PROFILED)]
    step.rows += profiled(report.run([*command, *kernels, *cases], 150, keep=True))


def profiled(text: str) -> list[dict[str, Any]]:
    """The rows of Nsight Compute's CSV among what the profiled program prints."""
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
    """The card, and what runs on it."""

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
    """Run all steps, and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=Path("gpu_report.json"), help="where all of it is written")
    parser.add_argument("--profile", action="store_true", help="count instructions with Nsight Compute (ncu), too")
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
