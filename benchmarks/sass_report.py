"""Examines the kernels' machine code without a GPU: `python benchmarks/sass_report.py`.

Compiles the CUDA kernels for compute capability 9.0, plays their machine code on the CPU for the cases of cases.py, and
prints what Nsight Compute would count for each image: instructions of a warp (its smsp__inst_executed), lanes at work
in them, sectors of global memory, wavefronts of shared memory; besides registers and spilled bytes. What is drawn is
compared with what the CPU's own code draws. `--lines 20` adds the lines of source that take most instructions.

One block draws all images of a case, 6 unless `--images` says otherwise: 4096 images are about 6 for each of 660 blocks
on an H100. Needs nvcc, nvdisasm (which comes with Triton, too), a C++ compiler and pybind11; takes a minute.
"""

import argparse
import ctypes
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from cases import NORMALISED, cases
from torch import Tensor

from spectromer import SpectrumBatch
from spectromer.surveys.simulated import simulate

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from emulation.play import extension, module, played  # noqa: E402

OPERATORS = ("render", "raster", "resample")
#: As in CMakeLists.txt, plus what makes nvcc write a cubin and report registers.
OPTIONS = [
    "-std=c++17",
    "-O3",
    "--fmad=false",
    "--extended-lambda",
    "-arch=sm_90",
    "-cubin",
    "-lineinfo",
    "-Xptxas",
    "-v",
]
CONSTANTS = 0x210  # where the arguments of a kernel begin in constant bank 0, on compute capability 9.0
#: The kernel's name after the namespaces that nvcc and the C++ compiler write in different ways.
MANGLED = re.compile(r"_ZN10spectromer(?:12_GLOBAL__N_1|\d+_GLOBAL__N__[0-9a-f]+_\d+_\w+?_cu_[0-9a-f]{8})(\d+\w+)$")


def program(name: str) -> str:
    """Where a program is; RuntimeError if it is nowhere."""
    folders = [Path(os.environ.get("CUDA_HOME", "/usr/local/cuda")) / "bin"]
    if (triton := importlib.util.find_spec("triton")) is not None and triton.origin is not None:
        folders.append(Path(triton.origin).parent / "backends" / "nvidia" / "bin")
    found = shutil.which(name) or shutil.which(name, path=os.pathsep.join(map(str, folders)))
    if found is None:
        raise RuntimeError(f"sass_report.py needs {name}, which is neither on PATH nor in CUDA_HOME's bin")
    return found


def short(mangled: str) -> str:
    """A kernel's name as cubin and library have it in common."""
    match = MANGLED.match(mangled)
    return match[1] if match else mangled


@dataclass
class Kernel:
    """A kernel's machine code: addresses and instructions, labels, and the source that each instruction is for."""

    registers: int = 0
    spilled: int = 0  # bytes of spill stores and spill loads, added up
    lines: list[tuple[int, str]] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    source: dict[int, list[tuple[str, int]]] = field(default_factory=dict)  # file and line, the innermost first


def compiled(folder: Path) -> dict[str, Kernel]:
    """All kernels by their short names."""
    kernels: dict[str, Kernel] = defaultdict(Kernel)
    for operator in OPERATORS:
        cubin = folder / f"{operator}.cubin"
        said = run(program("nvcc"), *OPTIONS, "-o", cubin, ROOT / "csrc" / "cuda" / f"{operator}.cu").stderr
        for mangled, details in re.findall(r"entry function '(\S+)'(.*?)Used (?=\d)", said, flags=re.DOTALL):
            kernel = kernels[short(mangled)]
            kernel.spilled = sum(map(int, re.findall(r"(\d+) bytes spill", details)))
        for mangled, registers in re.findall(r"entry function '(\S+)'.*?Used (\d+) registers", said, flags=re.DOTALL):
            kernels[short(mangled)].registers = int(registers)
        disassemble(run(program("nvdisasm"), "-g", "-gi", "-c", cubin).stdout, kernels)
    return kernels


def disassemble(text: str, kernels: dict[str, Kernel]) -> None:
    """Read what nvdisasm prints."""
    kernel, names, here, complete = None, list[str](), list[tuple[str, int]](), True
    for line in text.splitlines():
        if line.strip().startswith(".section"):
            section = re.match(r"\s*\.section\s+\.text\.([^\s,]+)", line)
            kernel, here = kernels[short(section[1])] if section else None, []
        elif kernel is None:
            continue
        elif at := re.match(r'\s*//## File "([^"]+)", line (\d+)', line):
            here = [*([] if complete else here), (Path(at[1]).name, int(at[2]))]
            complete = False
        elif instruction := re.match(r"\s*/\*([0-9a-f]{4,})\*/\s+(.*?)\s*;", line):
            address = int(instruction[1], 16)
            kernel.lines.append((address, instruction[2]))
            kernel.source[address] = here
            kernel.labels |= dict.fromkeys(names, address)
            names, complete = [], True
        elif label := re.match(r"(\S+):\s*$", line):
            names.append(label[1])


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a program; RuntimeError with what it said if it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))} failed:\n{done.stderr[-3000:]}")
    return done


@dataclass
class Launch:
    """One kernel's run, with what each of its instructions came to."""

    name: str
    shared: int
    counts: list[tuple[int, int, int, int, int]]  # address, executed, lanes, sectors, wavefronts


class Player:
    """Plays launches of the operators' kernels."""

    def __init__(self, folder: Path) -> None:
        sass = Path(__file__).parent / "sass"
        self.kernels = compiled(folder)
        self.machine = extension("machine", sass / "machine.cpp", folder, "-O2", "-frounding-math")
        self.launches: list[Launch] = []
        self.module = module(folder, extra=[f"-I{sass}", "-g1"])
        library = ctypes.PyDLL(self.module.__file__)
        library.listen.argtypes, library.listen.restype = [ctypes.py_object], None
        self.listener = self.launched  # the library holds no reference of its own
        library.listen(self.listener)
        symbols = [line.split() for line in run("nm", self.module.__file__).stdout.splitlines()]
        self.names = {int(s[0], 16): short(s[2]) for s in symbols if len(s) == 3 and s[1] in "tT"}

    def launched(self, place: int, blocks: int, threads: int, shared: int, arguments: bytes) -> None:
        """Play one launch. Kernels that loop over rows are launched with one block, which takes all rows."""
        name = self.names[place]
        blocks = blocks if "plan_kernel" in name else 1
        constants = bytearray(CONSTANTS)
        for offset, value in {0x0: threads, 0x4: 1, 0x8: 1, 0xC: blocks, 0x10: 1, 0x14: 1, 0x28: 0x1800}.items():
            constants[offset : offset + 4] = value.to_bytes(4, "little")  # blockDim, gridDim, the stack
        kernel = self.kernels[name]
        constants += arguments + bytes(64)
        counts = self.machine.run(kernel.lines, kernel.labels, blocks, threads, shared, bytes(constants))
        self.launches.append(Launch(name, shared, counts))

    def play(self, work: Callable[[], Tensor]) -> Tensor:
        """Return what an operator computes when the kernels' machine code is played."""
        self.launches.clear()
        drawn: Tensor = played(self.module, work)
        return drawn


def readable(name: str) -> str:
    """A kernel's name, and the numbers of its template arguments: render_kernel<0, 0, 2, 1>."""
    length, rest = re.match(r"(\d+)(.*)", name).groups()  # type: ignore[union-attr]
    numbers = re.findall(r"(?:E|Lb)(\d+)E", rest[int(length) :])
    return rest[: int(length)] + (f"<{', '.join(numbers)}>" if numbers else "")


def agree(want: Tensor, got: Tensor) -> bool:
    """Return whether two results agree: bytes to one level, bfloat16 to two levels, other values to rounding."""
    if want.dtype == torch.uint8:
        return int((want.int() - got.int()).abs().max()) <= 1
    tolerance = 2.0 / 255.0 / NORMALISED["std"] if want.dtype == torch.bfloat16 else 1e-5
    return torch.allclose(want.float(), got.float(), rtol=1e-5, atol=tolerance)


COLUMNS = "{:<34}{:>14}{:>7}{:>9}{:>12}{:>14}{:>11}{:>15}"


def report(player: Player, name: str, work: Callable[[], Tensor], images: int, lines: int) -> bool:
    """Play a case, print what came of it, and return whether it drew what the CPU draws."""
    same = agree(work(), player.play(work))
    print(f"{name}{'' if same else ': NOT what the CPU draws'}")
    for launch in player.launches:
        kernel, once = player.kernels[launch.name], "plan_kernel" in launch.name
        executed, lanes, sectors, wavefronts = (sum(count[k] for count in launch.counts) for k in (1, 2, 3, 4))
        each = [f"{number / (1 if once else images):,.0f}" for number in (executed, sectors, wavefronts)]
        row = [each[0], f"{lanes / max(executed, 1):.1f}", *each[1:], f"{launch.shared:,}", kernel.registers]
        print(COLUMNS.format(f"  {readable(launch.name)}{', once' if once else ''}", *row, kernel.spilled))
        if lines and not once:
            for (file, line), count in by_line(kernel, launch).most_common(lines):
                print(f"{count / images:>48,.0f}  {file}:{line}")
    return same


def by_line(kernel: Kernel, launch: Launch) -> Counter[tuple[str, int]]:
    """Instructions by file and line: the innermost of the kernels' own, not of what they call in core/ and CUDA."""
    spent: Counter[tuple[str, int]] = Counter()
    for address, executed, *_ in launch.counts:
        source = kernel.source[address] or [("", 0)]
        spent[next((at for at in source if at[0].endswith((".cu", ".cuh"))), source[0])] += executed
    return spent


def main() -> int:
    """Print all kernels, then all cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", help="all whose names contain one of these; default: all")
    parser.add_argument("--images", type=int, default=6, help="drawn by a block")
    parser.add_argument("--lines", type=int, default=0, help="of source with most instructions, for each case")
    options = parser.parse_args()
    batch = SpectrumBatch.from_spectra(list(simulate(options.images, surveys=("SDSS",))))
    chosen = {k: v for k, v in cases(batch).items() if not options.cases or any(c in k for c in options.cases)}
    with tempfile.TemporaryDirectory() as folder:
        try:
            player = Player(Path(folder))
        except RuntimeError as error:
            print(error)
            return 1
        for name, kernel in sorted(player.kernels.items()):
            size = (
                f"instructions {len(kernel.lines):>6,}  registers {kernel.registers:>3}  spilled bytes {kernel.spilled}"
            )
            print(f"{readable(name):<34}{size}")
        print()
        heads = ("instructions", "lanes", "sectors", "wavefronts", "shared bytes", "registers", "spilled bytes")
        print(COLUMNS.format("for each image", *heads))
        same = [report(player, name, work, options.images, options.lines) for name, work in chosen.items()]
    return 0 if all(same) else 1


if __name__ == "__main__":
    sys.exit(main())
