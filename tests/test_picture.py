"""Picture checks the options of render, which are known by the same names everywhere."""

import json
import subprocess
import sys
from dataclasses import fields
from typing import Any, get_args

import pytest
import torch

from spectromer import _C, SpectrumBatch, render
from spectromer.errors import ArgumentError
from spectromer.ops.raster import COVERAGES
from spectromer.ops.tables import DTYPES
from spectromer.picture import (
    RELATIVE,
    STYLES,
    Axis,
    Coverage,
    DType,
    Ground,
    Layout,
    Order,
    Picture,
    Quantity,
    Scale,
    check_stroke,
)
from spectromer.train import main as train_main


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"style": "pie"}, "style must be one of"),
        ({"colour": "red"}, "render has no option colour"),
        ({"panels": 5}, "size must be a multiple of panels"),
        ({"layout": "circle"}, "layout must be one of"),
        ({"wavelength_range": (9000.0, 4000.0)}, "wavelength_range must be two rising"),
        ({"side_margin": 0.1}, "side_margin is for wavelength_range=None"),
        ({"block": 3, "panels": 4, "size": 32}, "their sides multiples of block = 3, got rows, standard and 32 x 8"),
        ({"block": 40}, "block must lie in"),
        ({"block": 20}, "a picture must have at least 2 bins, got 1"),
        ({"order": "spiral"}, "order must be one of"),
        ({"channels": ("flux", "sky")}, "channels must be some of"),
        ({"channels": ("flux", "regions")}, 'regions and a channel "regions" come together'),
        ({"channels": ("regions",), "regions": "bands"}, 'regions must be "lines" or windows'),
        ({"channels": ("regions",), "regions": ((5.0, 4.0),)}, "regions must be windows"),
        ({"colors": ("red", "blue")}, "colors must name one colour for each of the 1 planes"),
        ({"colormap": "no"}, "colormap must be one of matplotlib's"),
        ({"colormap": "viridis", "ground": "light"}, "a colormap is for one plane"),
        ({"alpha": 1.5}, "alpha must lie in"),
        ({"alpha": (0.5, 0.5)}, "alpha must be one value or one for each of the 1 planes"),
        ({"ground": "grey"}, "ground must be one of"),
        ({"dtype": "int8"}, "dtype must be one of"),
        ({"mean": 0.5}, "mean and std are for dtype float32 and bfloat16"),
        ({"std": 0.0, "dtype": "float32"}, "std must be above 0"),
        ({"linewidth": 0.0}, "linewidth must lie in"),
        ({"coverage": "area"}, "coverage must be one of"),
        ({"scale": "log"}, "scale must be one of"),
        ({"scale": (1.0, 1.0)}, "scale must be two rising fluxes"),
        ({"percentiles": (90.0, 10.0)}, "percentiles must rise"),
        ({"margin": 0.5}, "margin must lie in"),
        ({"points": 0}, "points must be at least 1"),
        ({"axis": "sqrt"}, "axis must be one of"),
    ],
)
def test_says_what_is_wrong(options: dict, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        Picture.of(**({"style": "plot", "size": 32} | options))


@pytest.mark.parametrize("style", list(STYLES))
def test_the_schema_holds_every_option(style: str) -> None:
    picture = Picture.of(style, 96)
    assert Picture.from_json(picture.to_json()) == picture
    assert json.loads(picture.to_json()).keys() == {field.name for field in fields(Picture)}


def test_options_may_be_lists_tensors_and_types_of_torch() -> None:
    picture = Picture.of("overlap", 96, mean=torch.zeros(3), std=[1.0, 2.0, 4.0], dtype=torch.float32)
    assert picture == Picture.of("overlap", 96, mean=(0.0, 0.0, 0.0), std=(1.0, 2.0, 4.0), dtype="float32")
    assert hash(picture) == hash(Picture.of("overlap", 96, mean=(0.0,) * 3, std=(1.0, 2.0, 4.0), dtype="float32"))


@pytest.mark.parametrize(
    ("picture", "shape", "bins", "plain"),
    [
        (Picture(), (5, 1, 224, 224), 448, True),
        (Picture.of("panels", 64, channels=("flux", "error")), (5, 2, 64, 64), 512, True),
        (Picture.of("overlap", 64), (5, 3, 64, 64), 384, True),
        (Picture.of("folded", 64), (5, 1, 64, 64), 256, True),
        (Picture.of("strips", 64), (5, 3, 64, 64), 1024, True),
        (Picture.of("thesis-plot", 64), (5, 3, 64, 64), 128, False),
        (Picture.of("plot", 64, alpha=0.5), (5, 1, 64, 64), 128, False),
    ],
)
def test_what_follows_from_the_options(picture: Picture, shape: tuple[int, ...], bins: int, plain: bool) -> None:
    assert (picture.shape(5), picture.bins, picture.plain) == (shape, bins, plain)


@pytest.mark.parametrize(
    ("option", "names", "others"),
    [
        ("channels", Quantity, {"wavelength_range": (3000.0, 11000.0)}),  # with bins of no pixel
        ("layout", Layout, {"panels": 2}),
        ("axis", Axis, {}),
        ("scale", Scale, {}),
        ("coverage", Coverage, {}),
        ("order", Order, {"block": 4}),
        ("ground", Ground, {}),
        ("dtype", DType, {}),
    ],
)
def test_the_operators_draw_every_name(batch: SpectrumBatch, option: str, names: Any, others: dict[str, Any]) -> None:
    few = batch.select([0, 1])
    for name in get_args(names):
        value = (name,) if option == "channels" else name
        given = others | {option: value} | ({"regions": ((4000.0, 5000.0),)} if name == "regions" else {})
        image = render(few, size=32, **given)
        assert image.shape == Picture.of("plot", 32, **given).shape(2) and bool(image.any()), name
    assert set(COVERAGES) == set(get_args(Coverage))
    assert set(_C.Quantity.__members__) | set(RELATIVE) == set(get_args(Quantity))
    assert set(DTYPES) == set(_C.PixelType.__members__) == set(get_args(DType))
    assert set(_C.Scale.__members__) == {*get_args(Scale), "fixed"}


def test_strokes_are_checked() -> None:
    for options, message in (
        ((0.0, "union", 8), r"linewidth must lie in \(0, 64\] pixels, got 0.0"),
        ((1.0, "area", 8), "coverage must be one of .*, got 'area'"),
        ((1.0, "agg", 0), r"subcolumns must lie in \[1, 1024\], got 0"),
    ):
        with pytest.raises(ArgumentError, match=message):
            check_stroke(*options)


def test_training_has_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        train_main(["--help"])
    words = capsys.readouterr().out.replace(",", " ").split()
    assert ended.value.code == 0
    assert {f"--{field.name.replace('_', '-')}" for field in fields(Picture)} <= set(words)


def test_is_known_without_torch() -> None:
    code = "import sys, spectromer.picture; print(sorted({'torch', 'numpy', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
