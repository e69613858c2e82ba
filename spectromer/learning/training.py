"""The training of a model, from its data to a run folder."""

import logging
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, RichProgressBar, Timer
from lightning.pytorch.loggers import TensorBoardLogger
from rich.console import Console
from torch import Tensor

from spectromer.config import SPECFORMER, TrainConfig
from spectromer.errors import ArgumentError, ModelError, RunError
from spectromer.files import write_rejected
from spectromer.learning import plots
from spectromer.learning.backbone import create_backbone, has_published_weights
from spectromer.learning.calibration import Calibration
from spectromer.learning.checkpoints import SafetensorsIO, check_resumable
from spectromer.learning.design import Design
from spectromer.learning.evaluation import evaluate
from spectromer.learning.figures import show_figures, write_report
from spectromer.learning.model import SpectrumModel
from spectromer.learning.predictor import Predictor
from spectromer.learning.targets import Targets
from spectromer.learning.task import LR_FROM_SCRATCH, LR_FROM_WEIGHTS, History, Position, SpectrumTask
from spectromer.runs import RunFolder
from spectromer.shards.feeds import Batches, Feed
from spectromer.shards.sources import Division, divide
from spectromer.shards.splits import SPLITS, some
from spectromer.shards.store import ShardSet

__all__ = ["train"]

_CLIP = 1.0  # largest norm of a gradient
_STEPS, _LEAST_EPOCHS = 1500, 3  # of a run whose epochs are not given
_TYPICAL, _HELD_OUT = 2048, 20000  # spectra of the training and the validation split to calibrate with, at most


class _Safetensors(ModelCheckpoint):
    """A ModelCheckpoint under a fixed name; SafetensorsIO writes it."""

    FILE_EXTENSION = ".safetensors"


def _from_scratch(config: TrainConfig) -> bool:
    if config.checkpoint is not None:
        return False
    return config.model == SPECFORMER or not (config.pretrained and has_published_weights(config.model))


def _settle(config: TrainConfig, spectra: int) -> TrainConfig:
    """The configuration with epochs and learning rate filled in, for that many training spectra."""
    steps = max(1, spectra // config.batch_size)
    epochs = config.epochs or max(_LEAST_EPOCHS, math.ceil(_STEPS / steps))
    lr = config.lr or (LR_FROM_SCRATCH if _from_scratch(config) else LR_FROM_WEIGHTS)
    return replace(config, epochs=epochs, lr=lr)


def _told(design: Design, config: TrainConfig) -> dict[str, Any]:
    """The options of a run that its model settles. A model without a picture leaves that as it is."""
    names = ("model", "picture", "heads", "redshift_head", "keep_patches")
    return {name: getattr(design, name) for name in names} | {"picture": design.picture or config.picture}


def _prepare(config: TrainConfig, run: RunFolder, resume: bool) -> Callable[[Targets], tuple[Design, SpectrumModel]]:
    """A function that makes the model once the targets are known. All that can fail before that fails here.

    A resumed run has its weights in its own checkpoint. A run folder as checkpoint gives its own model and picture.
    """
    if resume:
        design, model = Design.read(run)
        for name, value in {**_told(design, config), "targets": design.targets.names}.items():
            if getattr(config, name) != value:
                raise RunError(f"{run.config}: {name} must be that of {run.model.name} in a run that goes on")
        return lambda targets: (design, model)
    if config.checkpoint is not None and config.checkpoint.is_dir():
        earlier, teacher = Design.load(RunFolder(config.checkpoint))

        def following(targets: Targets) -> tuple[Design, SpectrumModel]:
            design = replace(earlier, targets=targets.following(earlier.targets))
            model = design.build()
            heads = model.take_over(teacher.state_dict(), earlier.targets)
            print(f"From {config.checkpoint}: the encoder and the heads of {', '.join(heads) or 'no target'}.")
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
        raise ModelError(f"--checkpoint {config.checkpoint}: {SPECFORMER} starts from a run folder alone")

    def fresh(targets: Targets) -> tuple[Design, SpectrumModel]:
        design = Design(config.model, picture, targets, config.heads, config.redshift_head, config.keep_patches)
        return design, design.build(backbone)

    return fresh


def _fit(task: SpectrumTask, loaders: tuple[Feed, Feed], run: RunFolder, resume: bool) -> dict[str, Any]:
    """Train, leave weights, learning curves and the trainer's state in `run`, and return how long it took."""
    config, timer = task.config, Timer()
    gpu = torch.cuda.is_available()
    precision = ("bf16-mixed" if gpu else "32-true") if config.precision == "auto" else config.precision
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # its tips and device lists
    trainer = lightning.Trainer(
        max_epochs=config.epochs,
        accelerator="gpu" if gpu else "cpu",
        devices=1,
        precision=precision,
        gradient_clip_val=_CLIP,
        plugins=[SafetensorsIO()],
        logger=TensorBoardLogger(run.path, name="tensorboard", version=""),
        callbacks=[
            History(),
            Position(loaders[0]),
            _Safetensors(
                run.path, run.weights.stem, monitor="val/loss", save_weights_only=True, enable_version_counter=False
            ),
            _Safetensors(run.path, run.last.stem, enable_version_counter=False, save_on_train_epoch_end=True),
            _Safetensors(
                run.path,
                run.last.stem,
                enable_version_counter=False,
                train_time_interval=timedelta(minutes=config.save_minutes),
            ),
            RichProgressBar(),
            timer,
        ],
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=min(10, len(loaders[0])),
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*exists and is not empty")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated")
        trainer.fit(task, *loaders, ckpt_path=str(run.last) if resume else None)
    seconds = timer.time_elapsed("train")
    return {
        "epochs": trainer.current_epoch,
        "steps": trainer.global_step,
        "seconds": round(seconds, 1),
        "milliseconds_per_step": round(1000.0 * seconds / max(1, trainer.global_step), 1),
        "parameters": sum(p.numel() for p in task.model.parameters()),
        "torch_threads": torch.get_num_threads(),
    }


def _calibrate(run: RunFolder, shards: ShardSet, rows: dict[str, np.ndarray], values: dict[str, Tensor]) -> None:
    """Correct the model's answers by the validation split; the training's own features say what is typical."""
    predictor = Predictor.load(run.path, calibration=Calibration())
    chosen = {name: some(rows[name], most) for name, most in (("train", _TYPICAL), ("val", _HELD_OUT))}
    trained, held_out = (predictor.collect(shards, chosen[name], f"calibrating ({name})") for name in chosen)
    labels = {name: value[chosen["val"]] for name, value in values.items()}
    Calibration.fit(predictor.model, held_out, labels, trained["features"]).save(run.calibration)


def train(config: TrainConfig, resume: bool = False, division: Division | None = None) -> dict[str, Any]:
    """Train, evaluate on the test split, and leave everything in the run folder.

    Parameters
    ----------
    config : TrainConfig
    resume : bool
        Go on with the run in `config.out`.
    division : Division, optional
        The spectra, where they are loaded already.

    Returns
    -------
    dict
        What metrics.json holds.

    Raises
    ------
    SpectromerError
        When data, targets or model do not allow it.
    """
    console = Console()
    run = RunFolder(config.out or Path("runs") / time.strftime("%Y%m%d-%H%M%S"))
    if not resume and run.config.exists():
        raise ArgumentError(
            f"--out {run.path} already holds a run; continue it with --resume {run.path}, or name another folder"
        )
    lightning.seed_everything(config.seed, verbose=False)
    if not resume and config.checkpoint is None and not _from_scratch(config):
        console.print(f"Fetching the published weights of {config.model}, where they are not here yet.")
    make = _prepare(config, run, resume)  # first, as it may fail: reading can take minutes
    division = division or divide(config)
    shards, rows = division.shards, division.rows
    design, model = make(Targets.fit(config.targets, shards.believed.take(rows["train"])))
    config = replace(_settle(config, len(rows["train"])), **_told(design, config), out=run.path)
    if config.frozen:
        model.encoder.requires_grad_(False)

    run.create()
    run.write_config(config)
    run.write_model(design)
    write_rejected(division.rejected, run.unreadable)
    console.print(
        f"{config.model} ({sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters) from "
        f"{'scratch' if _from_scratch(config) else config.checkpoint or 'published weights'}; "
        + ", ".join(f"{len(rows[name])} {name}" for name in SPLITS)
        + f"; {config.epochs} epochs; run folder {run.path}"
    )
    values = model.targets.encode(shards.believed)

    def feed(split: str, **order: Any) -> Feed:
        batches = Batches(shards, rows[split], batch_size=config.batch_size, **order)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return Feed(batches, values, feed=config.feed, device=device, workers=config.workers)

    loaders = feed("train", seed=config.seed), feed("val", shuffle=False)
    task = SpectrumTask(model, design.transform(), config, steps=len(loaders[0]) * (config.epochs or 0))
    if resume:
        check_resumable(run.last, task)
    training = _fit(task, loaders, run, resume)
    _calibrate(run, shards, rows, values)

    plots.learning_curves(task.history, run.plots / "learning_curves.png")
    metrics: dict[str, Any] = {
        "test": evaluate(Predictor.load(run.path), shards, rows["test"], run),
        "counts": {name: len(found) for name, found in rows.items()} | {"unreadable": len(division.rejected)},
        "training": training,
    }
    run.write_metrics(metrics)
    title = "test split: spectra it was not trained on"
    write_report(run.path, metrics["test"], title, details=asdict(config) | metrics["counts"] | training)
    show_figures(metrics["test"], title, console)
    console.print(
        f"Everything is in {run.path}: weights, metrics.json, report.html, predictions.parquet, plots, tensorboard."
    )
    return metrics
