"""The emulation reports faults that on a GPU would crash the process or spoil an image."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from emulation.play import SOURCES, compiled, emulation, module, played

from spectromer import SpectrumBatch, render
from spectromer.surveys.simulated import simulate

# Bodies of kernels of 64 threads, each with part of the error that it must raise. `t` is a thread; `s` and `n` are 64
# floats and 64 whole numbers in shared memory.
WRONG = {
    "half of the threads wait": ("if (t < 32) __syncthreads();", "different barriers"),
    "a lane is missing": ("if (t != 5) __shfl_sync(~0u, 1, 1);", "different barriers"),
    "what is not reserved": ("shared_at<float>(Reserved{})[t] = 1;", "not reserved"),
    "beyond the end": ("s[t + 1] = 1;", "beyond its reservation"),
    "before the beginning": ("n[t - 1] = 1;", "beyond its reservation"),
    "misaligned": ("shared_at<double>(Reserved{4, 64})[0] = 1;", "misaligned"),
    "never written": ("float v = s[t];", "uninitialised"),
    "two write": ("s[t / 2] = 1;", "race with a write"),
    "a read after another's write": ("s[t] = 1; if (t == 40) s[40] = s[3];", "race with a write"),
    "a write after another's read": (
        "s[t] = 1; __syncthreads(); if (t == 3) s[3] = s[40]; s[t] = 2;",
        "race with a read",
    ),
    "warps meet, the block does not": (
        "s[t] = 0; __syncthreads(); s[t] = 1; __syncwarp(); float v = s[63 - t];",
        "race with a",
    ),
    "a read between atomics": ("n[t] = 0; __syncthreads(); atomicAdd(n, 1); int v = n[0];", "race with a"),
}
RIGHT = [
    "__syncthreads();",
    "s[t] = 1; __syncwarp(); s[t ^ 1] = 2;",
    "s[t] = 1; __syncthreads(); s[63 - t] = 2;",
    "if (t == 0) n[0] = 1; __syncthreads(); int v = n[0]; __syncthreads(); atomicAdd(n, v);",
]
KERNEL = """void kernel{number}(Reserved some, Reserved more) {{
  [[maybe_unused]] const int t = thread_index();
  [[maybe_unused]] const Shared<float> s = shared_at<float>(some);
  [[maybe_unused]] const Shared<int> n = shared_at<int>(more);
  {body}
}}
"""
LAUNCH = """  try {{
    launch(kernel{number}, Grid{{1, 64, layout.bytes}}, nullptr, some, more);
    std::puts("");
  }} catch (const std::runtime_error& error) {{
    std::puts(error.what());
  }}
"""
PROGRAM = """#include <cuda/launch.h>
#include <cstdio>
using namespace spectromer;
{kernels}
int main() {{
  SharedLayout layout;
  const Reserved some = layout.reserve<float>(64), more = layout.reserve<int>(64);
{launches}}}
"""


def test_what_is_wrong_is_told(tmp_path: Path) -> None:
    """Faulty kernels raise their errors; correct ones raise none."""
    bodies = [body for body, _ in WRONG.values()] + RIGHT
    source = tmp_path / "kernels.cpp"
    source.write_text(
        PROGRAM.format(
            kernels="".join(KERNEL.format(number=i, body=body) for i, body in enumerate(bodies)),
            launches="".join(LAUNCH.format(number=i) for i in range(len(bodies))),
        )
    )
    program = compiled(source, tmp_path / "kernels", *emulation())
    told = subprocess.run([program], capture_output=True, text=True, check=True).stdout.splitlines()
    for (name, (_, wanted)), answer in zip(WRONG.items(), told, strict=False):
        assert wanted in answer, (name, answer)
    assert told[len(WRONG) :] == [""] * len(RIGHT)


@pytest.mark.parametrize(
    ("name", "right", "wrong", "style", "told"),
    [
        (  # the invalid read that crashed the first run on a GPU
            "heights.cuh",
            "const float number = series[i];",
            "const float number = series[i] + 0.0f * bins_.ivar_at(i);",
            "folded",
            "not reserved",
        ),
        ("painter.cuh", "bins_.gather(row);\n    __syncthreads();", "bins_.gather(row);", "plot", "race|uninitialised"),
    ],
)
def test_faults_in_the_kernels_themselves_are_told(
    tmp_path: Path, name: str, right: str, wrong: str, style: str, told: str
) -> None:
    """A read of what is not there, and a barrier left out."""
    sources = tmp_path / "csrc"
    shutil.copytree(SOURCES, sources)
    file = sources / "cuda" / name
    text = file.read_text()
    assert text.count(right) == 1
    file.write_text(text.replace(right, wrong))
    kernels = module(tmp_path, sources)
    batch = SpectrumBatch.from_spectra(list(simulate(2)))
    with pytest.raises(RuntimeError, match=told):
        played(kernels, render, batch, style=style, size=32)


def test_global_memory_ends_where_a_tensor_ends() -> None:
    """A read of the byte behind it ends the process."""
    code = (
        "import ctypes, torch; from emulation.play import guarded; tensor = guarded((1024,), torch.float32);"
        "print(ctypes.string_at(tensor.data_ptr() + {}, 1))"
    )
    ends = {}
    for offset in (4095, 4096):
        run = subprocess.run(
            [sys.executable, "-c", code.format(offset)], cwd=Path(__file__).parent, capture_output=True
        )
        ends[offset] = run.returncode
    assert ends == {4095: 0, 4096: -signal.SIGSEGV}
