"""The Lightning module of the training, and its callbacks."""

import math
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, WeightAveraging
from timm.optim import param_groups_layer_decay
from torch import Tensor, nn

from spectromer.config import TrainConfig
from spectromer.learning.augment import augment
from spectromer.learning.encoder import ImageEncoder
from spectromer.learning.model import SpectrumModel
from spectromer.shards.feeds import Feed
from spectromer.spectra import SpectrumBatch

__all__ = ["Averaging", "History", "Position", "SpectrumTask"]

LR_FROM_SCRATCH, LR_FROM_WEIGHTS = 2e-3, 1e-4
_WARMUP = 0.05  # fraction of the steps
_DECAY = 0.995  # of the running average of the weights, after a start in which it forgets faster
# On a CPU torch's generator takes 32 bits of its seed. This factor keeps the steps of two runs far apart in them.
_SEEDS_APART = 0x9E3779B1


class SpectrumTask(lightning.LightningModule):
    """Lightning module that draws each batch on the model's device and computes the losses of the model."""

    def __init__(self, model: SpectrumModel, transform: nn.Module, config: TrainConfig, steps: int) -> None:
        super().__init__()
        self.model, self.transform, self.config, self.steps = model, transform, config, steps
        self.lr = config.lr or LR_FROM_SCRATCH
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
        if self.config.augment:  # the seed follows from the step, so that a resumed run draws the same noise
            spectra = augment(spectra, (_SEEDS_APART * self.config.seed + self.global_step) % (1 << 32))
        return self._step((spectra, labels), "train")

    def validation_step(self, batch: tuple[SpectrumBatch, dict[str, Tensor]], _: int) -> None:
        """Log the losses of one validation batch."""
        self._step(batch, "val")

    def transfer_batch_to_device(self, batch: Any, device: torch.device, _: int) -> Any:
        """Move the spectra and labels to the device. The images are drawn there."""
        spectra, labels = batch
        return spectra.to(device), {name: value.to(device) for name, value in labels.items()}

    def configure_optimizers(self) -> Any:
        """AdamW without weight decay of biases and norms, with linear warm-up and cosine decay of the learning rate."""
        decay, encoder = self.config.weight_decay, self.model.encoder
        groups: list[dict[str, Any]] = []
        decayed: set[int] = set()
        if self.config.layer_decay is not None and isinstance(encoder, ImageEncoder):
            groups = param_groups_layer_decay(encoder.backbone, decay, layer_decay=self.config.layer_decay)
            for group in groups:
                group["lr"] = self.lr * group.pop("lr_scale")
                decayed.update(map(id, group["params"]))
        rest = [p for p in self.parameters() if p.requires_grad and id(p) not in decayed]
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
        """Save the learning curves."""
        checkpoint["history"] = self.history

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the learning curves."""
        self.history = checkpoint["history"]


class Averaging(WeightAveraging):
    """An exponential moving average of the weights, which is what is validated and saved."""

    def __init__(self) -> None:
        def average(averaged: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
            decay = min(_DECAY, (1.0 + int(count)) / (10.0 + int(count)))
            return averaged.lerp(current, 1.0 - decay)  # what does not change stays as it is, to the last bit

        super().__init__(avg_fn=average)


class History(Callback):
    """Callback that records the losses of each epoch for the learning curves."""

    def on_validation_epoch_end(self, trainer: lightning.Trainer, task: lightning.LightningModule) -> None:
        if trainer.sanity_checking or not isinstance(task, SpectrumTask):
            return
        losses = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("val/")}
        task.history.append({"epoch": trainer.current_epoch + 1, **losses})

    def on_train_epoch_end(self, trainer: lightning.Trainer, task: lightning.LightningModule) -> None:
        if isinstance(task, SpectrumTask) and task.history:
            task.history[-1] |= {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("train/")}


class Position(Callback):
    """Callback that saves the position of the feed, since Lightning does not restore loaders between epochs."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def state_dict(self) -> dict[str, Any]:
        """Return the position of the feed."""
        return self._feed.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the position of the feed."""
        self._feed.load_state_dict(state_dict)
