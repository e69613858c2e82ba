"""The package is found from a checkout, light to import, clear where something is missing, and in order."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import spectromer
from spectromer.__main__ import VERBS
from spectromer.ops import _native

PUBLIC = spectromer.__all__
ROOT = Path(__file__).resolve().parents[1]


def run(code: str) -> str:
    """What a fresh interpreter prints; it starts in the checkout, which comes first on its path as with python -m."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_checkout_does_not_hide_the_compiled_extension() -> None:
    code = "import spectromer, sys; from spectromer import _C; print(spectromer.__file__); print(_C.__file__)"
    package, extension = run(code).splitlines()
    assert Path(package).parent == ROOT / "spectromer"
    assert Path(extension).is_file()


def test_the_package_alone_imports_nothing_large() -> None:
    code = "import sys, spectromer; print(sorted({'torch', 'numpy', 'astropy', 'timm'} & set(sys.modules)))"
    assert run(code) == "[]"


def test_import_is_light() -> None:
    code = (
        "import sys, spectromer, torch\n"
        "spectromer.render, spectromer.Spectrum\n"
        "heavy = sorted({'timm', 'lightning', 'astropy', 'matplotlib', 'sklearn', 'nvidia.dali'} & set(sys.modules))\n"
        "print(heavy, torch.cuda.is_initialized(), spectromer.read.__module__, 'astropy.io.fits' in sys.modules)"
    )
    assert run(code) == "[] False spectromer.surveys.reading True"


def test_operators_do_not_wake_the_compiler() -> None:
    """torch._dynamo takes as long to import as the rest of torch."""
    code = (
        "import sys, torch\n"
        "assert 'torch._dynamo' not in sys.modules\n"
        "import spectromer\n"
        "print(spectromer.render.__module__, 'torch._dynamo' in sys.modules)"
    )
    assert run(code) == "spectromer.ops.render False"


def test_every_public_name_is_there() -> None:
    assert {"Picture", "Predictor", "ReadError", "SpectromerError", "Spectrum", "SpectrumBatch"} <= set(PUBLIC)
    assert {"plot", "rasterize", "read", "render", "resample", "scan_redshift"} <= set(PUBLIC)
    assert set(PUBLIC) <= set(dir(spectromer))
    for name in PUBLIC:
        assert getattr(spectromer, name).__module__.startswith("spectromer"), name
    with pytest.raises(AttributeError, match="module 'spectromer' has no attribute 'readd'"):
        _ = spectromer.readd


@pytest.mark.parametrize("verb", list(VERBS))
def test_help_is_light(verb: str) -> None:
    """A verb tells its options without what it works with."""
    names = ("torch", "timm", "lightning", "astropy", "pyarrow", "sklearn", "matplotlib")
    code = (
        "import contextlib, io, runpy, sys\n"
        f"sys.argv = ['spectromer', '--help']\n"
        "with contextlib.redirect_stdout(io.StringIO()) as told:\n"
        "    try:\n"
        f"        runpy.run_module('spectromer.{verb}', run_name='__main__')\n"
        "    except SystemExit as ended:\n"
        "        assert not ended.code\n"
        f"print('usage: spectromer {verb}' in told.getvalue(), sorted(set({names}) & set(sys.modules)))"
    )
    assert run(code) == "True []"


#: A module may import what stands in the rows above its own, and its own part. Verbs come last.
LAYERS = (
    ("errors", "extension", "subclasses", "words"),
    ("files", "chunks", "picture", "labels", "grids", "arrays", "markup"),
    ("config", "documents", "spectra"),
    ("runs", "regions", "forms", "templates"),
    ("ops", "surveys"),
    ("transforms", "shards", "reference"),
    ("learning",),
    ("cli",),
)
ANYWHERE = ("_C",)


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Every module of the package that a file imports, and whether for its types alone."""
    tree = ast.parse(path.read_text())
    typed = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node in typed) for alias in node.names if alias.name.startswith("spectromer"))
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: {ast.unparse(node)}"
            if node.module == "spectromer":
                yield from ((f"spectromer.{alias.name}", node in typed) for alias in node.names)
            elif node.module and node.module.startswith("spectromer."):
                folder = ROOT / node.module.replace(".", "/")
                for alias in node.names:
                    module = (folder / f"{alias.name}.py").is_file() or (folder / alias.name).is_dir()
                    yield (f"{node.module}.{alias.name}" if module else node.module), node in typed


def modules() -> Iterator[tuple[str, Path]]:
    """The part of the package that each file belongs to, and the file."""
    package = ROOT / "spectromer"
    for path in sorted(package.rglob("*.py")):
        yield path.relative_to(package).with_suffix("").parts[0], path


def test_import_arrows_run_one_way() -> None:
    """They point to rows above in LAYERS, and no verb imports another. Types and the lazy `spectromer` are free."""
    rank = {name: i for i, names in enumerate(LAYERS) for name in names}
    rank |= dict.fromkeys(VERBS, len(LAYERS))
    wrong = []
    for part, path in modules():
        if part in ("__init__", "__main__"):
            continue
        assert part in rank, f"{path}: where in LAYERS does it stand?"
        for name, typed in imports(path):
            target = name.split(".")[1] if "." in name else ""
            if target in ("", *ANYWHERE) or target == part or typed:
                continue
            if rank.get(target, len(LAYERS)) >= rank[part]:
                wrong.append(f"{path.relative_to(ROOT)}: {name}")
    assert not wrong, "\n".join(wrong)


def test_nothing_imports_a_verb() -> None:
    """`__main__` alone does, by the verb's name."""
    found = [
        f"{path.relative_to(ROOT)}: {name}"
        for _, path in modules()
        for name, _ in imports(path)
        if name.split(".")[1:2] and name.split(".")[1] in VERBS
    ]
    assert not found, "\n".join(found)


def test_packages_have_no_circles() -> None:
    """The modules within one have none either: each can be imported before those that import it."""
    names = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for _, path in modules()
    }
    arrows = {
        name: {target for target, typed in imports(path) if target in names and not typed and target != "spectromer"}
        for name, path in names.items()
    }
    list(TopologicalSorter(arrows).static_order())


def test_no_file_is_long() -> None:
    long = {str(path.relative_to(ROOT)): n for _, path in modules() if (n := len(path.read_text().splitlines())) > 350}
    assert not long


def test_a_missing_extension_is_one_sentence() -> None:
    code = (
        "import sys; sys.modules['spectromer._C'] = None\n"  # it is as if it were not there
        "try:\n    from spectromer import render\nexcept ImportError as error:\n    print(error)"
    )
    assert "install the package with `pip install .`" in run(code)


def test_arguments_of_native_operators_are_checked_by_name() -> None:
    """A field that is unknown, forgotten or of a wrong type is a TypeError that names it."""
    C = _native._C
    fields = {"y": 0, "x": 0, "images": 0, "points": 0, "x_stride": 0, "height": 1, "width": 1, "linewidth": 1.0}
    fields |= {"subcolumns": 1, "coverage": C.Coverage.agg, "out": 0}
    args = C.RasterizeArgs(**fields)
    assert (args.coverage, args.height, args.band) == (C.Coverage.agg, 1, 0)
    for wrong, message in (
        (fields | {"colour": 1}, "RasterizeArgs has no field 'colour'"),
        ({name: value for name, value in fields.items() if name != "out"}, "RasterizeArgs needs the field 'out'"),
        (fields | {"coverage": 1}, "RasterizeArgs cannot take type int as the field 'coverage'"),
    ):
        with pytest.raises(TypeError, match=message):
            C.RasterizeArgs(**wrong)


def test_a_cuda_tensor_in_a_cpu_build_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_native, "_C", SimpleNamespace(has_cuda=False))
    with pytest.raises(RuntimeError, match=r"no CUDA operator in this build .* move the tensors to the CPU"):
        _native.call("resample", torch.device("cuda"), None)
