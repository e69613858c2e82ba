"""Everything that only a GPU can tell, in one run of some minutes: `python benchmarks/gpu_report.py`.

Builds the package into a folder of its own (needs pybind11 and scikit-build-core, no network), runs the tests of the
operators and the benchmarks on the GPU, and a small case under compute-sanitizer where that is installed. Ends with a
table of what passed, and exits with 1 unless all of it did.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: Draws each kind of kernel once: true area, as AGG, own pixels, squares, bands; and resamples there and back.
CASE = """
import torch
from spectromer import SpectrumBatch, rasterize, render, resample
flux = torch.randn(3, 300).cumsum(1).cuda().requires_grad_()
ivar, wavelength = torch.ones(3, 300).cuda(), torch.linspace(3600, 9900, 300, dtype=torch.float64).cuda()
batch = SpectrumBatch(flux.detach(), ivar, wavelength)
for style in ("plot", "panels", "overlap", "folded", "thesis-plot", "thesis-overlap", "thesis-map-channels"):
    render(batch, style=style, size=60)
render(batch, size=60, channels=("flux", "error", "mask", "first", "second"), dtype="bfloat16")
rasterize(torch.randn(3, 100).cuda() * 20 + 30, height=300, width=60)
rasterize(torch.randn(3, 100).cuda() * 20 + 30, height=300, width=60, coverage="agg")
resample(flux, ivar, wavelength, torch.linspace(3700, 9000, 200, dtype=torch.float64).cuda())[0].sum().backward()
torch.cuda.synchronize()
"""


def run(name: str, command: list[str], environment: dict[str, str], folder: Path) -> tuple[str, str, float]:
    """One step: its name, what came of it, and how long it took."""
    print(f"\n== {name}: {' '.join(command)}", flush=True)
    started = time.perf_counter()
    done = subprocess.run(command, env=environment, cwd=folder, check=False)
    return name, "passed" if done.returncode == 0 else f"FAILED ({done.returncode})", time.perf_counter() - started


def main() -> int:
    """Run all steps and print what came of them."""
    with tempfile.TemporaryDirectory() as target:
        environment = os.environ | {"PYTHONPATH": target, "PYTHONUNBUFFERED": "1"}
        python = sys.executable
        options = ["-Ccmake.define.SPECTROMER_CUDA=ON", "-Ccmake.define.CMAKE_CUDA_ARCHITECTURES=native"]
        install = [python, "-m", "pip", "install", "-q", "--no-build-isolation", "--no-deps", "--target", target]
        case = Path(target) / "case.py"
        steps = [run("build", [*install, *options, str(ROOT)], environment, ROOT)]
        if steps[0][1] == "passed":
            case.write_text(CASE)
            tests = [str(ROOT / "tests" / f"test_{name}.py") for name in ("cuda", "resample", "raster", "render")]
            pytest = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
            steps.append(run("tests", [*pytest, *tests], environment, ROOT))
            sanitizer = shutil.which("compute-sanitizer")
            for tool in ("memcheck", "racecheck"):
                name = f"compute-sanitizer {tool}"
                if sanitizer is None:
                    steps.append((name, "not installed", 0.0))
                    continue
                command = [sanitizer, "--tool", tool, "--error-exitcode", "1", python, str(case)]
                steps.append(run(name, command, environment, Path(target)))
            bench = [str(ROOT / "benchmarks" / "bench_gpu.py"), "--benchmark-max-time=0.5"]
            steps.append(run("benchmarks", [*pytest, *bench], environment, ROOT))
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    print(f"\ncommit {commit.stdout.strip() or 'unknown'}")
    for name, result, seconds in steps:
        print(f"{name:<28}{result:<16}{seconds:>8.0f} s")
    return int(any(result.startswith("FAILED") for _, result, _ in steps))


if __name__ == "__main__":
    sys.exit(main())
