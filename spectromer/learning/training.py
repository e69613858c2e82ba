"""Training of a model, from its data to a finished run folder."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from spectromer.config import SPECFORMER, TrainConfig
from spectromer.errors import ArgumentError, ModelError, RunError
from spectromer.files import check_folder, write_rejected
from spectromer.learning import plots
from spectromer.learning.backbone import create_backbone, has_published_weights
from spectromer.learning.calibration import Calibration
from spectromer.learning.checkpoints import Place, load_checkpoint
from spectromer.learning.design import Design
from spectromer.learning.encoder import ImageEncoder
from spectromer.learning.evaluation import evaluate
from spectromer.learning.figures import show_figures, write_report
from spectromer.learning.fitting import fit, make_logger
from spectromer.learning.intervals import Intervals
from spectromer.learning.model import SpectrumModel
from spectromer.learning.parallel import launch, on_first
from spectromer.learning.predictor import Predictor
from spectromer.learning.step import LR_FROM_SCRATCH, LR_FROM_WEIGHTS, TrainingStep, precision_of
from spectromer.learning.targets import Targets
from spectromer.runs import RunFolder
from spectromer.shards.batches import Batches
from spectromer.shards.feeds import Feed
from spectromer.shards.sources import Division, divide
from spectromer.shards.splits import SPLITS, subsample
from spectromer.templates import TemplateSet

__all__ = ["train"]

_DEFAULT_STEPS, _MIN_EPOCHS = 1500, 3  # length of a run without the option epochs
_CALIBRATION_TRAIN, _CALIBRATION_VAL = 2048, 8000  # largest numbers of spectra per split to calibrate with


def _from_scratch(config: TrainConfig) -> bool:
    if config.checkpoint is not None:
        return False
    return config.model == SPECFORMER or not (config.pretrained and has_published_weights(config.model))


def _with_defaults(config: TrainConfig, spectra: int) -> TrainConfig:
    """Fill in the default epochs and learning rate for a number of training spectra."""
    steps = max(1, spectra // config.batch_size)
    epochs = config.epochs or max(_MIN_EPOCHS, math.ceil(_DEFAULT_STEPS / steps))
    lr = config.lr or (LR_FROM_SCRATCH if _from_scratch(config) else LR_FROM_WEIGHTS)
    return replace(config, epochs=epochs, lr=lr)


def _design_options(design: Design, config: TrainConfig) -> dict[str, Any]:
    """The options of a run that the design of its model sets. The picture is kept if the model has none."""
    names = ("model", "picture", "heads", "redshift_head", "keep_patches", "pooling")
    return {name: getattr(design, name) for name in names} | {"picture": design.picture or config.picture}


def _prepare(config: TrainConfig, run: RunFolder, resume: bool) -> Callable[[Targets], tuple[Design, SpectrumModel]]:
    """Return a function that makes the design and the model once the targets are known.

    Errors in the options are raised here, before any spectrum is read. The weights of a resumed run are in its last
    checkpoint. If the option checkpoint is a run folder, that run sets the model and the picture.
    """
    if resume:
        design, model = Design.read(run)
        for name, value in {**_design_options(design, config), "targets": design.targets.names}.items():
            if getattr(config, name) != value:
                raise RunError(f"{run.config}: {name} must be that of {run.model.name} in a run that goes on")
        return lambda targets: (design, model)
    if config.checkpoint is not None and config.checkpoint.is_dir():
        earlier, teacher = Design.load(RunFolder(config.checkpoint))

        def following(targets: Targets) -> tuple[Design, SpectrumModel]:
            design = replace(earlier, targets=targets.with_scales_of(earlier.targets))
            model = design.build()
            heads = model.load_matching(teacher.state_dict(), earlier.targets)
            print(f"Loaded from {config.checkpoint}: the encoder and the heads of {', '.join(heads) or 'no target'}.")
            return design, model

        return following
    picture, backbone = None, None
    if config.model != SPECFORMER:
        picture = config.picture
        backbone = create_backbone(
            config.model,
            size=picture.size,
            channels=picture.image_channels,
            pretrained=config.pretrained,
            checkpoint=config.checkpoint,
        )
    elif config.checkpoint is not None:
        raise ModelError(f"--checkpoint {config.checkpoint}: {SPECFORMER} can start only from a run folder")

    def fresh(targets: Targets) -> tuple[Design, SpectrumModel]:
        options = {name: getattr(config, name) for name in ("heads", "redshift_head", "keep_patches", "pooling")}
        design = Design(config.model, picture, targets, **options)
        return design, design.build(backbone)

    return fresh


def _calibrate(predictor: Predictor, division: Division, values: dict[str, Tensor], scan: bool) -> Calibration:
    """Fit the calibration to the validation split, and the measure of typical spectra to training features."""
    shards = division.shards
    chosen = {
        name: subsample(division.rows[name], limit)
        for name, limit in (("train", _CALIBRATION_TRAIN), ("val", _CALIBRATION_VAL))
    }
    trained, held_out = (predictor.collect(shards, chosen[name], f"calibrating ({name})") for name in chosen)
    labels = {name: value[chosen["val"]] for name, value in values.items()}
    kindred = torch.from_numpy(chosen["val"] < len(shards) - division.mixed)
    surveys = shards.index["survey"].take(chosen["val"]).to_pylist()
    found = Calibration.fit(predictor.model, held_out, labels, trained["features"], surveys, kindred)
    if scan and found.alone.central:
        groups = replace(predictor, calibration=found).collect_scans(shards, chosen["val"], held_out)
        found.scanned = Intervals.fit(groups, labels["z"], kindred)
    return found


def train(
    config: TrainConfig,
    resume: bool = False,
    division: Division | None = None,
    templates: Sequence[TemplateSet] | None = None,
) -> dict[str, Any]:
    """Train a model, evaluate it on the test split, and write everything to the run folder.

    Parameters
    ----------
    config : TrainConfig
        Options of the training.
    resume : bool
        Whether to resume the run in `config.out`.
    division : Division, optional
        The spectra and their splits, if they are already loaded.
    templates : sequence of TemplateSet, optional
        As in `Predictor.load`, for the calibration and the evaluation.

    Returns
    -------
    dict
        Content of metrics.json.

    Raises
    ------
    ArgumentError
        If the run folder already holds a run, or the data or targets are unsuitable.
    ModelError
        If the model cannot be built, or its weights cannot be loaded.
    RunError
        If the run cannot be resumed, or a run folder given as checkpoint is incomplete.
    """
    fabric = launch(config)
    console = Console()
    run = RunFolder(on_first(lambda: _begin(config, resume)))
    torch.manual_seed(config.seed)
    if not resume and config.checkpoint is None and not _from_scratch(config):
        console.print(f"Downloading the published weights of {config.model}, unless they are in the cache.")
    build = _prepare(config, run, resume)  # before the data are read, which can take minutes
    division = division or divide(config)
    shards, rows = division.shards, division.rows
    if few := [name for name in ("train", "val") if len(rows[name]) < fabric.world_size]:
        raise ArgumentError(f"the {few[0]} split has fewer spectra ({len(rows[few[0]])}) than there are processes")
    design, model = build(Targets.fit(config.targets, shards.believed.take(rows["train"])))
    config = replace(_with_defaults(config, len(rows["train"])), **_design_options(design, config), out=run.path)
    if config.frozen:
        encoder = model.encoder
        (encoder.backbone if isinstance(encoder, ImageEncoder) else encoder).requires_grad_(False)
    values = model.targets.encode(shards.believed)

    def feed(split: str, **order: Any) -> Feed:
        rank, ranks = fabric.global_rank, fabric.world_size
        size = config.batch_size // ranks
        batches = Batches(shards, rows[split], batch_size=size, rank=rank, ranks=ranks, **order)
        return Feed(batches, values, feed=config.feed, device=fabric.device, workers=config.workers)

    feeds = feed("train", seed=config.seed), feed("val", shuffle=False)
    step = TrainingStep(
        model,
        design.transform(),
        config,
        steps=len(feeds[0]) * (config.epochs or 0),
        device=fabric.device,
        precision=precision_of(config.precision),
        rank=fabric.global_rank,
    )
    place = load_checkpoint(run.last, step) if resume else Place()

    def write() -> None:
        run.create()
        run.write_config(config)
        run.write_model(design)
        write_rejected(division.rejected, run.unreadable)

    on_first(write)
    console.print(
        f"{config.model} ({sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters) from "
        f"{'scratch' if _from_scratch(config) else config.checkpoint or 'published weights'}; "
        + ", ".join(f"{len(rows[name])} {name}" for name in SPLITS)
        + f"; {config.epochs} epochs; run folder {run.path}"
    )
    try:
        training = fit(step, feeds, run, config, fabric, place)
    except KeyboardInterrupt:
        console.print(f"The training can go on: python -m spectromer.train --resume {run.path}")
        raise
    predictor = Predictor.load(run.path, str(fabric.device), Calibration(), templates)

    def calibrate() -> None:
        _calibrate(predictor, division, values, config.scan).save(run.calibration)

    on_first(calibrate)
    predictor.calibration = Calibration.load(run.calibration)
    test = evaluate(predictor, shards, rows["test"], run, config.scan)
    counts = {name: len(indices) for name, indices in rows.items()} | {"unreadable": len(division.rejected)}
    metrics: dict[str, Any] = {"test": test, "counts": counts, "training": training}

    def report() -> None:
        plots.learning_curves(place.history, run.plots / "learning_curves.png")
        run.write_metrics(metrics)
        title = "test split"
        write_report(run.path, test, title, details=asdict(config) | counts | training)
        show_figures(test, title, console)

    on_first(report)
    console.print(
        f"Results are in {run.path}: weights, metrics.json, report.html, predictions.parquet, plots, and the losses of "
        f"each epoch ({config.logger})."
    )
    return metrics


def _begin(config: TrainConfig, resume: bool) -> Path:
    """Check that a run can be written, and return its folder."""
    run = RunFolder(config.out or Path("runs") / time.strftime("%Y%m%d-%H%M%S"))
    if not resume and (run.last.exists() or run.weights.exists()):
        raise ArgumentError(
            f"--out {run.path} already holds a run; resume it with --resume {run.path}, or choose another folder"
        )
    check_folder(run.path, "a run")  # before the work, not after it
    make_logger(config.logger, run.path)
    return run.path
