"""Train a model and evaluate it."""

import argparse
import json
import logging
import math
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
import tyro
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, RichProgressBar, Timer
from lightning.pytorch.loggers import TensorBoardLogger
from rich.console import Console
from timm.models.vision_transformer import VisionTransformer
from timm.optim import param_groups_layer_decay
from torch import Tensor, nn

from spectromer.cli import exit_code
from spectromer.config import PRESETS, TrainConfig, load_config, save_config
from spectromer.evaluate import evaluate
from spectromer.files import write_rejected
from spectromer.learning import plots
from spectromer.learning.augment import augment
from spectromer.learning.calibration import Calibration
from spectromer.learning.checkpoints import SafetensorsIO
from spectromer.learning.model import (
    SPECFORMER,
    Design,
    ImageEncoder,
    ModelError,
    SpectrumModel,
    create_backbone,
    default_size,
    has_published_weights,
)
from spectromer.learning.targets import Targets, check_names
from spectromer.predict import CALIBRATION, Predictor, find, find_weights
from spectromer.report import report, write_report
from spectromer.shards.feeds import Batches, Feed
from spectromer.shards.sources import Division, divide
from spectromer.shards.splits import SPLITS, some
from spectromer.shards.store import ShardSet
from spectromer.spectra import SpectrumBatch
from spectromer.transforms import SpectrumToImage

__all__ = ["SpectrumTask", "train"]

_WARMUP = 0.05
_CLIP = 1.0
_LR_FROM_SCRATCH, _LR_FROM_WEIGHTS = 2e-3, 1e-4
_STEPS, _LEAST_EPOCHS = 1500, 3
_TYPICAL, _HELD_OUT = 2048, 20000  # spectra of the training and the validation split to calibrate with, at most


class SpectrumTask(lightning.LightningModule):
    """Draws each batch on the model's device, then takes one step of the model."""

    def __init__(self, model: SpectrumModel, transform: nn.Module, config: TrainConfig, steps: int) -> None:
        super().__init__()
        self.model, self.transform, self.config, self.steps = model, transform, config, steps
        self.lr = config.lr or _LR_FROM_SCRATCH
        self.history: list[dict[str, float]] = []

    def _step(self, batch: tuple[SpectrumBatch, dict[str, Tensor]], stage: str) -> Tensor:
        spectra, labels = batch
        losses = self.model.losses(self.model(self.transform(spectra)), labels)
        total = torch.stack(list(losses.values())).sum()
        for name, value in {"loss": total, **losses}.items():
            self.log(
                f"{stage}/{name}", value, on_epoch=True, on_step=False, batch_size=len(spectra), prog_bar=name == "loss"
            )
        return total

    def training_step(self, batch: tuple[SpectrumBatch, dict[str, Tensor]], _: int) -> Tensor:
        """Loss of one training batch."""
        spectra, labels = batch
        if self.config.augment:  # by the step's number, so that a resumed run draws the same
            spectra = augment(spectra, (self.config.seed << 32) + self.global_step)
        return self._step((spectra, labels), "train")

    def validation_step(self, batch: tuple[SpectrumBatch, dict[str, Tensor]], _: int) -> None:
        """Log the losses of one validation batch."""
        self._step(batch, "val")

    def transfer_batch_to_device(self, batch: Any, device: torch.device, _: int) -> Any:
        """Move spectra, not images: those are drawn where the model is."""
        spectra, labels = batch
        return spectra.to(device), {name: value.to(device) for name, value in labels.items()}

    def configure_optimizers(self) -> Any:
        """AdamW without decay of biases, norms and embeddings; warm-up and cosine."""
        decay, encoder = self.config.weight_decay, self.model.encoder
        groups: list[dict[str, Any]] = []
        apart: set[int] = set()
        if self.config.layer_decay is not None and isinstance(encoder, ImageEncoder):
            groups = param_groups_layer_decay(encoder.backbone, decay, layer_decay=self.config.layer_decay)
            for group in groups:
                group["lr"] = self.lr * group.pop("lr_scale")
                apart.update(map(id, group["params"]))
        rest = [p for p in self.parameters() if p.requires_grad and id(p) not in apart]
        groups.append({"params": [p for p in rest if p.ndim > 1]})
        groups.append({"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0})
        optimizer = torch.optim.AdamW(groups, lr=self.lr, weight_decay=decay)
        steps = self.steps
        warmup = max(1, round(_WARMUP * steps))

        def factor(step: int) -> float:
            if step < warmup:
                return (step + 1) / (warmup + 1)
            return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup))))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the learning curves."""
        checkpoint["history"] = self.history

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take them up again."""
        self.history = checkpoint["history"]


class _History(Callback):
    """Each epoch's losses, for the learning curves."""

    def on_validation_epoch_end(self, trainer: lightning.Trainer, task: lightning.LightningModule) -> None:
        if trainer.sanity_checking or not isinstance(task, SpectrumTask):
            return
        found = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("val/")}
        task.history.append({"epoch": trainer.current_epoch + 1, **found})

    def on_train_epoch_end(self, trainer: lightning.Trainer, task: lightning.LightningModule) -> None:
        if isinstance(task, SpectrumTask) and task.history:
            task.history[-1] |= {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("train/")}


class _Position(Callback):
    """Keeps in the checkpoint which batch comes next; between epochs Lightning does not restore its loaders itself."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def state_dict(self) -> dict[str, Any]:
        """Where the feed stands."""
        return self._feed.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take it there."""
        self._feed.load_state_dict(state_dict)


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
    lr = config.lr or (_LR_FROM_SCRATCH if _from_scratch(config) else _LR_FROM_WEIGHTS)
    return replace(config, epochs=epochs, lr=lr)


def _inputs(config: TrainConfig) -> tuple[dict[str, Any], VisionTransformer | None]:
    """Options of the images, and the backbone that reads them; neither for a model that reads no images."""
    if config.model == SPECFORMER:
        if config.checkpoint is not None:
            raise ModelError(f"--checkpoint {config.checkpoint}: {SPECFORMER} starts from a run folder alone")
        return {}, None
    size = config.size or default_size(config.model)
    inputs: dict[str, Any] = {"style": config.style, "size": size, "channels": config.channels}
    inputs |= {name: value for name in ("panels", "block") if (value := getattr(config, name)) is not None}
    a_panel_per_patch = config.style == "panels" and config.panels is None
    channels = SpectrumToImage(**(inputs | {"panels": 1} if a_panel_per_patch else inputs)).channels
    backbone = create_backbone(
        config.model, size=size, channels=channels, pretrained=config.pretrained, checkpoint=config.checkpoint
    )
    if a_panel_per_patch:
        inputs["panels"] = backbone.patch_embed.grid_size[0]
    return inputs, backbone


def _prepare(config: TrainConfig, run: Path, resume: bool) -> Callable[[Targets], tuple[Design, SpectrumModel]]:
    """What makes the model once the targets are known; all that can fail before that fails here.

    A resumed run has its weights in its own checkpoint; a run folder as checkpoint gives its own model and images.
    """
    if resume:
        design = Design.read(run / "model.json")
        return lambda targets: (design, design.build())
    if config.checkpoint is not None and config.checkpoint.is_dir():
        earlier, weights = Design.read(find(config.checkpoint, "model.json")), find_weights(config.checkpoint)

        def following(targets: Targets) -> tuple[Design, SpectrumModel]:
            design = replace(earlier, targets=targets.following(earlier.targets))
            model = design.build()
            heads = model.take_over(weights, earlier.targets)
            print(f"From {config.checkpoint}: the encoder and the heads of {', '.join(heads) or 'no target'}.")
            return design, model

        return following
    inputs, backbone = _inputs(config)
    options = {name: getattr(config, name) for name in ("heads", "redshift_head", "keep_patches")}

    def fresh(targets: Targets) -> tuple[Design, SpectrumModel]:
        design = Design(config.model, inputs, targets, **options)
        return design, design.build(backbone)

    return fresh


def _fit(task: SpectrumTask, loaders: tuple[Feed, Feed], run: Path, resume: bool) -> dict[str, Any]:
    """Train; returns how long. Weights, learning curves and the trainer's state are in `run`."""
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
        logger=TensorBoardLogger(run, name="tensorboard", version=""),
        callbacks=[
            _History(),
            _Position(loaders[0]),
            _Safetensors(run, "best", monitor="val/loss", save_weights_only=True, enable_version_counter=False),
            _Safetensors(run, "last", enable_version_counter=False, save_on_train_epoch_end=True),
            _Safetensors(
                run, "last", enable_version_counter=False, train_time_interval=timedelta(minutes=config.save_minutes)
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
        trainer.fit(task, *loaders, ckpt_path=str(run / "last.safetensors") if resume else None)
    seconds = timer.time_elapsed("train")
    return {
        "epochs": trainer.current_epoch,
        "steps": trainer.global_step,
        "seconds": round(seconds, 1),
        "milliseconds_per_step": round(1000.0 * seconds / max(1, trainer.global_step), 1),
        "parameters": sum(p.numel() for p in task.model.parameters()),
        "torch_threads": torch.get_num_threads(),
    }


def _calibrate(run: Path, shards: ShardSet, rows: dict[str, np.ndarray], values: dict[str, Tensor]) -> None:
    """Correct the model's answers by the validation split; the training's own features say what is typical."""
    predictor = Predictor.load(run)
    chosen = {name: some(rows[name], most) for name, most in (("train", _TYPICAL), ("val", _HELD_OUT))}
    trained, held_out = (predictor.collect(shards, chosen[name], f"calibrating ({name})") for name in chosen)
    labels = {name: value[chosen["val"]] for name, value in values.items()}
    Calibration.fit(predictor.model, held_out, labels, trained["features"]).save(run / CALIBRATION)


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
    ValueError
        When data, targets or model do not allow it.
    """
    console = Console()
    run = config.out or Path("runs") / time.strftime("%Y%m%d-%H%M%S")
    if not resume and (run / "config.json").exists():
        raise ValueError(f"--out {run} already holds a run; continue it with --resume {run}, or name another folder")
    check_names(config.targets)
    lightning.seed_everything(config.seed, verbose=False)
    if not resume and config.checkpoint is None and not _from_scratch(config):
        console.print(f"Fetching the published weights of {config.model}, where they are not here yet.")
    make = _prepare(config, run, resume)  # first, as it may fail: reading can take minutes
    division = division or divide(config)
    shards, rows = division.shards, division.rows
    design, model = make(Targets.fit(config.targets, shards.labels(rows["train"])))
    config = replace(_settle(config, len(rows["train"])), model=design.model, out=run)
    if config.frozen:
        model.encoder.requires_grad_(False)

    run.mkdir(parents=True, exist_ok=True)
    save_config(config, run)
    (run / "model.json").write_text(design.to_json())
    write_rejected(division.rejected, run / "unreadable.csv")
    console.print(
        f"{config.model} ({sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters) from "
        f"{'scratch' if _from_scratch(config) else config.checkpoint or 'published weights'}; "
        + ", ".join(f"{len(rows[name])} {name}" for name in SPLITS)
        + f"; {config.epochs} epochs; run folder {run}"
    )
    values = model.targets.encode(shards.labels())

    def feed(split: str, **order: Any) -> Feed:
        batches = Batches(shards, rows[split], batch_size=config.batch_size, **order)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return Feed(batches, values, feed=config.feed, device=device, workers=config.workers)

    loaders = feed("train", seed=config.seed), feed("val", shuffle=False)
    task = SpectrumTask(model, design.transform(), config, steps=len(loaders[0]) * (config.epochs or 0))
    training = _fit(task, loaders, run, resume)
    _calibrate(run, shards, rows, values)

    plots.learning_curves(task.history, run / "plots" / "learning_curves.png")
    metrics: dict[str, Any] = {
        "test": evaluate(Predictor.load(run), shards, rows["test"], run),
        "counts": {name: len(found) for name, found in rows.items()} | {"unreadable": len(division.rejected)},
        "training": training,
    }
    (run / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    title = "test split: spectra it was not trained on"
    write_report(run, metrics["test"], title, details=asdict(config) | metrics["counts"] | training)
    report(metrics["test"], title, console)
    console.print(
        f"Everything is in {run}: weights, metrics.json, report.html, predictions.parquet, plots, tensorboard."
    )
    return metrics


def _parse(argv: Sequence[str] | None) -> tuple[TrainConfig, bool]:
    """The configuration, and whether it continues a run: its preset or the run's own comes first, options override."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--preset", choices=list(PRESETS), default="default")
    first.add_argument("--resume", type=Path)
    known, rest = first.parse_known_args(argv)
    base = TrainConfig(**PRESETS[known.preset])
    if known.resume is not None:
        if not (known.resume / "last.safetensors").is_file():
            raise ValueError(f"--resume {known.resume}: no last.safetensors there to continue from")
        base = replace(load_config(known.resume), out=known.resume)
    description = (
        f"{TrainConfig.__doc__} Besides the options below: --preset {{{','.join(PRESETS)}}} starts from named "
        "settings, --resume RUN continues a run where it stopped."
    )
    config = tyro.cli(TrainConfig, prog="spectromer train", args=rest, default=base, description=description)
    return config, known.resume is not None


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m spectromer.train [--data PATH] [--out RUN] ...`."""
    return exit_code(lambda: train(*_parse(argv)))


if __name__ == "__main__":
    sys.exit(main())
