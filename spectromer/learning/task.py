"""One training step, and what Lightning keeps beside it."""

import math
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from timm.optim import param_groups_layer_decay
from torch import Tensor, nn

from spectromer.config import TrainConfig
from spectromer.learning.augment import augment
from spectromer.learning.encoder import ImageEncoder
from spectromer.learning.model import SpectrumModel
from spectromer.shards.feeds import Feed
from spectromer.spectra import SpectrumBatch

__all__ = ["History", "Position", "SpectrumTask"]

LR_FROM_SCRATCH, LR_FROM_WEIGHTS = 2e-3, 1e-4
_WARMUP = 0.05  # share of the steps
# Two seeds draw their steps from places far apart among the 32 bits that torch's generator takes notice of on a CPU.
_SEEDS_APART = 0x9E3779B1


class SpectrumTask(lightning.LightningModule):
    """Draws each batch on the model's device, then takes one step of the model."""

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
        if self.config.augment:  # by the step's number, so that a resumed run draws the same
            spectra = augment(spectra, (_SEEDS_APART * self.config.seed + self.global_step) % (1 << 32))
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


class History(Callback):
    """Each epoch's losses, for the learning curves."""

    def on_validation_epoch_end(self, trainer: lightning.Trainer, task: lightning.LightningModule) -> None:
        if trainer.sanity_checking or not isinstance(task, SpectrumTask):
            return
        found = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("val/")}
        task.history.append({"epoch": trainer.current_epoch + 1, **found})

    def on_train_epoch_end(self, trainer: lightning.Trainer, task: lightning.LightningModule) -> None:
        if isinstance(task, SpectrumTask) and task.history:
            task.history[-1] |= {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("train/")}


class Position(Callback):
    """Keeps in the checkpoint which batch comes next; between epochs Lightning does not restore its loaders itself."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def state_dict(self) -> dict[str, Any]:
        """Where the feed stands."""
        return self._feed.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take it there."""
        self._feed.load_state_dict(state_dict)
