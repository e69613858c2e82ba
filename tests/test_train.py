"""The command line of train knows presets, styles, the picture that a model reads, and runs that go on."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small import SMALL

from spectromer.config import PRESETS, TrainConfig
from spectromer.errors import ModelError, RunError
from spectromer.picture import STYLES, Picture
from spectromer.runs import RunFolder
from spectromer.train import main, parse

pytestmark = pytest.mark.filterwarnings(
    "default"  # Lightning's, TensorBoard's and rich's own warnings are not this package's to mend
)


def test_without_options_it_is_the_default() -> None:
    assert parse([]) == (TrainConfig(), False) == parse(["--preset", "default"])


def test_presets_come_first_and_options_override() -> None:
    config, resumed = parse(["--preset", "thesis", "--epochs", "3"])
    assert (config.model, config.lr, config.weight_decay, config.batch_size) == (
        "vit_base_patch16_224.dino",
        1e-5,
        0.01,
        64,
    )
    assert config.split == (0.6, 0.2, 0.2) and config.epochs == 3 and not resumed
    assert config.picture == Picture.of("thesis-plot", 224)
    config, _ = parse(["--preset", "thesis", "--style", "thesis-map", "--model", "test_vit"])
    assert config.picture == Picture.of("thesis-map", 160) and config.epochs == 30
    assert list(PRESETS) == ["default", "thesis"]


def test_a_run_goes_on_with_what_it_was_told(run: Path) -> None:
    config, resumed = parse(["--resume", str(run), "--epochs", "5"])
    assert resumed and config.model == "test_vit" and config.epochs == 5 and config.out == run
    assert config == replace(RunFolder(run).read_config(), epochs=5)
    assert config.targets == ("class", "subclass", "z", "teff") and config.picture == Picture.of("strips", 64, panels=4)


@pytest.mark.parametrize(
    ("options", "want"),
    [
        (["--model", "test_vit", "--size", "96"], Picture.of("strips", 96, panels=6)),
        (["--model", "vit_tiny_patch16_224"], Picture.of("strips", 224, panels=14)),
        (["--size", "224"], Picture.of("strips", 224, panels=14)),
        (["--style", "panels", "--size", "224"], Picture.of("panels", 224, panels=14)),
        (["--model", "vit_tiny_patch16_224", "--panels", "4"], Picture.of("strips", 224, panels=4)),
        (["--channels", "flux", "error"], Picture.of("strips", 128, panels=8, channels=("flux", "error"))),
        (["--model", "specformer"], Picture.of("strips", 128, panels=8)),
    ],
)
def test_a_panel_is_as_high_as_a_patch(options: list[str], want: Picture) -> None:
    assert parse(options)[0].picture == want


@pytest.mark.parametrize("style", list(STYLES))
def test_a_style_is_what_render_draws(style: str) -> None:
    panels = {"panels": 8} if style in ("panels", "strips") else {}
    assert parse(["--style", style])[0].picture == Picture.of(style, 128, **panels)


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("--channels flux error mask --axis linear", {"channels": ("flux", "error", "mask"), "axis": "linear"}),
        ("--scale -5 40 --margin 0.1", {"scale": (-5.0, 40.0), "margin": 0.1}),
        ("--scale minmax --wavelength-range 4000 9000", {"scale": "minmax", "wavelength_range": (4000.0, 9000.0)}),
        ("--wavelength-range None --side-margin 0.1", {"wavelength_range": None, "side_margin": 0.1}),
        ("--percentiles 5 95 --per-panel", {"percentiles": (5.0, 95.0), "per_panel": True}),
        ("--panels 4 --layout channels --points 3", {"panels": 4, "layout": "channels", "points": 3}),
        ("--linewidth 2 --coverage agg --subcolumns 16", {"linewidth": 2.0, "coverage": "agg", "subcolumns": 16}),
        ("--block 4 --order boustrophedon", {"block": 4, "order": "boustrophedon"}),
        ("--channels flux regions --regions lines", {"channels": ("flux", "regions"), "regions": "lines"}),
        (
            "--channels regions --regions 4000 4200 5000 7000",
            {"channels": ("regions",), "regions": ((4000.0, 4200.0), (5000.0, 7000.0))},
        ),
        ("--colors red --alpha 0.5 --ground light", {"colors": ("red",), "alpha": 0.5, "ground": "light"}),
        ("--colormap viridis", {"colormap": "viridis"}),
    ],
)
def test_every_option_of_render_is_one_of_train(words: str, options: dict[str, Any]) -> None:
    assert parse(["--style", "plot", *words.split()])[0].picture == Picture.of("plot", 128, **options)


def test_what_cannot_be_asked_for(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=f"--resume {tmp_path}: no last.safetensors there to resume from"):
        parse(["--resume", str(tmp_path)])
    with pytest.raises(ModelError, match="'vit_enormous' is not one of timm's"):
        parse(["--model", "vit_enormous"])


def test_errors_are_one_sentence(
    run: Path, tmp_path: Path, error_line: Callable[..., str], error_box: Callable[..., str]
) -> None:
    out = ["--out", str(tmp_path / "x")]
    for argv, message in (
        ([*out, "--model", "vit_enormous"], "'vit_enormous' is not one of timm's"),
        (["--resume", str(tmp_path)], "no last.safetensors there to resume from"),
        ([*SMALL, "--out", str(run)], f"already holds a run; resume it with --resume {run}"),
    ):
        assert message in error_line(main, argv)
    for argv, message in (
        (["--targets", "colour"], "targets must be some of class, subclass, z, teff, logg, feh, each once; got colour"),
        (["--panels", "7"], "size must be a multiple of panels for panels in rows, got size 128 and panels 7"),
        (["--keep-patches", "0"], "keep_patches must lie in (0, 1], got 0.0"),
        (["--dtype", "float32"], "dtype must be uint8 for training, got float32"),
        (["--split", "0.5", "0.5", "0.5"], "split must be three fractions above 0 that add up to 1"),
        (["--colour", "red"], "Unrecognized options: --colour, red"),
    ):
        assert message in error_box(main, [*out, *argv])
    assert not (tmp_path / "x").exists()
