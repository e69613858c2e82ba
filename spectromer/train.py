"""Train a model and evaluate it."""

import argparse
import json
import logging
import math
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
import tyro
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from rich.console import Console
from torch import Tensor

from spectromer import plots
from spectromer.checkpoints import SafetensorsIO
from spectromer.cli import exit_code
from spectromer.config import PRESETS, TrainConfig, load_config, save_config
from spectromer.data.feeds import Batches, Feed
from spectromer.data.objects import SPLITS, split_by_object
from spectromer.data.shards import ShardSet
from spectromer.data.sources import load, load_simulated
from spectromer.data.targets import Targets, check_names, trusted
from spectromer.evaluate import evaluate, report
from spectromer.files import write_rejected
from spectromer.models import SpectrumModel, create_backbone, default_size, has_published_weights
from spectromer.predict import Predictor
from spectromer.readers import ReadError
from spectromer.spectra import SpectrumBatch
from spectromer.transforms import SpectrumToImage

__all__ = ["SpectrumTask", "train"]

_WARMUP = 0.05
_CLIP = 1.0
_LR_FROM_SCRATCH, _LR_FROM_WEIGHTS = 2e-3, 1e-4
_STEPS, _LEAST_EPOCHS = 1000, 3


class SpectrumTask(lightning.LightningModule):
    """Draws each batch on the model's device, then one step of the model."""

    def __init__(self, model: SpectrumModel, draw: SpectrumToImage, config: TrainConfig, steps: int) -> None:
        super().__init__()
        self.model, self.draw, self.config, self.steps = model, draw, config, steps
        self.lr = config.lr or _LR_FROM_SCRATCH
        self.history: list[dict[str, float]] = []

    def _step(self, batch: tuple[SpectrumBatch, dict[str, Tensor]], stage: str) -> Tensor:
        spectra, labels = batch
        losses = self.model.losses(self.model(self.draw(spectra)), labels)
        total = torch.stack(list(losses.values())).sum()
        for name, value in {"loss": total, **losses}.items():
            self.log(
                f"{stage}/{name}", value, on_epoch=True, on_step=False, batch_size=len(spectra), prog_bar=name == "loss"
            )
        return total

    def training_step(self, batch: tuple[SpectrumBatch, dict[str, Tensor]], _: int) -> Tensor:
        """Loss of one training batch."""
        return self._step(batch, "train")

    def validation_step(self, batch: tuple[SpectrumBatch, dict[str, Tensor]], _: int) -> None:
        """Log the losses of one validation batch."""
        self._step(batch, "val")

    def transfer_batch_to_device(self, batch: Any, device: torch.device, _: int) -> Any:
        """Move spectra, not images: those are drawn where the model is."""
        spectra, labels = batch
        return spectra.to(device), {name: value.to(device) for name, value in labels.items()}

    def configure_optimizers(self) -> Any:
        """AdamW without decay of biases, norms and embeddings; warm-up and cosine."""
        decayed = [p for p in self.parameters() if p.ndim > 1]
        others = [p for p in self.parameters() if p.ndim <= 1]
        groups: list[dict[str, Any]] = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=self.lr, weight_decay=self.config.weight_decay)
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


def _load(config: TrainConfig, console: Console) -> tuple[ShardSet, dict[str, np.ndarray], list[ReadError]]:
    """Spectra with something to learn from, divided by object; and what could not be read."""
    rejected: list[ReadError] = []
    if config.data is None:
        console.print(f"No --data given: simulating a survey of {config.simulated} spectra (seed {config.seed}).")
        shards = load_simulated(config.simulated, config.seed)
    else:
        shards, rejected = load(config.data)
    known = (
        row.get("snr") != 0.0 and any(name in trusted(row) for name in config.targets)  # 0: not one good pixel
        for row in shards.labels()
    )
    usable = np.fromiter(known, bool, len(shards))
    console.print(
        f"{len(shards)} spectra read, {len(rejected)} files could not be; {usable.sum()} have a good pixel and a label "
        f"of {', '.join(config.targets)}."
    )
    division = split_by_object(shards.index["object"].to_pylist(), config.shares, config.seed)
    division = {name: rows[usable[rows]] for name, rows in division.items()}
    for name, rows in division.items():
        if not len(rows):
            raise ValueError(
                f"the {name} split is empty: {usable.sum()} usable spectra are too few for the shares {config.shares}"
            )
    return shards, division, rejected


def _from_scratch(config: TrainConfig) -> bool:
    return config.checkpoint is None and not (config.pretrained and has_published_weights(config.model))


def _settle(config: TrainConfig, spectra: int) -> TrainConfig:
    """The configuration with epochs and learning rate filled in, for that many training spectra."""
    steps = max(1, spectra // config.batch_size)
    epochs = config.epochs or max(_LEAST_EPOCHS, math.ceil(_STEPS / steps))
    lr = config.lr or (_LR_FROM_SCRATCH if _from_scratch(config) else _LR_FROM_WEIGHTS)
    return replace(config, epochs=epochs, lr=lr)


def _vision(config: TrainConfig, run: Path, resume: bool) -> tuple[dict[str, Any], SpectrumToImage, Any]:
    """Options of the images, what draws them, and the backbone; a resumed run has its weights in its checkpoint."""
    if resume:
        image = json.loads((run / "model.json").read_text())["image"]
        draw = SpectrumToImage(**image)
        return image, draw, create_backbone(config.model, size=image["size"], channels=draw.channels)
    image = {"style": config.style, "size": config.size or default_size(config.model)}
    if config.panels is not None:
        image["panels"] = config.panels
    a_panel_per_patch = config.style == "panels" and config.panels is None
    channels = 1 if a_panel_per_patch else SpectrumToImage(**image).channels
    backbone = create_backbone(
        config.model, size=image["size"], channels=channels, pretrained=config.pretrained, checkpoint=config.checkpoint
    )
    if a_panel_per_patch:
        image["panels"] = backbone.patch_embed.grid_size[0]
    return image, SpectrumToImage(**image), backbone


def _fit(task: SpectrumTask, loaders: tuple[Feed, Feed], run: Path, resume: bool) -> int:
    """Train; returns the epochs done. Weights, learning curves and the trainer's state are in `run`."""
    config = task.config
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
    return trainer.current_epoch


def train(config: TrainConfig, resume: bool = False) -> dict[str, Any]:
    """Train, evaluate on the test split, and leave everything in the run folder.

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
    started = time.time()
    if not resume and config.checkpoint is None and not _from_scratch(config):
        console.print(f"Fetching the published weights of {config.model}, where they are not here yet.")
    image, draw, backbone = _vision(config, run, resume)  # first, as it may fail: reading can take minutes
    shards, division, rejected = _load(config, console)
    targets = Targets.fit(config.targets, shards.labels(division["train"]))
    config = replace(_settle(config, len(division["train"])), out=run)
    model = SpectrumModel(backbone, targets, image)

    run.mkdir(parents=True, exist_ok=True)
    save_config(config, run)
    (run / "model.json").write_text(json.dumps({"image": image, "targets": targets.to_json()}, indent=2) + "\n")
    write_rejected(rejected, run / "unreadable.csv")
    console.print(
        f"{config.model} ({sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters) from "
        f"{'scratch' if _from_scratch(config) else config.checkpoint or 'published weights'}; "
        + ", ".join(f"{len(division[name])} {name}" for name in SPLITS)
        + f"; {config.epochs} epochs; run folder {run}"
    )
    values = targets.encode(shards.labels())

    def feed(split: str, **order: Any) -> Feed:
        batches = Batches(shards, division[split], batch_size=config.batch_size, **order)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return Feed(batches, values, feed=config.feed, device=device, workers=config.workers)

    loaders = feed("train", seed=config.seed), feed("val", shuffle=False)
    task = SpectrumTask(model, draw, config, steps=len(loaders[0]) * (config.epochs or 0))
    epochs = _fit(task, loaders, run, resume)
    seconds = time.time() - started

    plots.learning_curves(task.history, run / "plots" / "learning_curves.png")
    metrics: dict[str, Any] = {
        "test": evaluate(Predictor.load(run), shards, division["test"], run / "plots"),
        "counts": {name: len(rows) for name, rows in division.items()} | {"unreadable": len(rejected)},
        "epochs": epochs,
        "seconds_to_read_and_train": round(seconds, 1),
        "torch_threads": torch.get_num_threads(),
    }
    (run / "plots" / "predictions.parquet").replace(run / "test_predictions.parquet")
    (run / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    report(metrics["test"], "test split: spectra it was not trained on", console)
    console.print(f"Everything is in {run}: weights, metrics.json, test_predictions.parquet, plots, tensorboard.")
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
