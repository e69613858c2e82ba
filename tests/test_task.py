"""A step of training has its learning rates and its augmentation; a checkpoint keeps more than the weights."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch

from spectromer import Picture, SpectrumBatch
from spectromer.config import TrainConfig
from spectromer.learning.design import Design
from spectromer.learning.targets import Targets
from spectromer.learning.task import Averaging, Position, SpectrumTask

pytestmark = pytest.mark.filterwarnings(
    "default"  # Lightning's, TensorBoard's and rich's own warnings are not this package's to mend
)
PICTURE = Picture.of("panels", 64, panels=4)
TARGETS = Targets(("class",), {"class": ["QSO", "STAR"]})


def task(**options: Any) -> SpectrumTask:
    config = TrainConfig(model="test_vit", picture=PICTURE, lr=1e-3, targets=("class",), **options)
    torch.manual_seed(0)
    design = Design("test_vit", PICTURE, TARGETS)
    found = SpectrumTask(design.build(), design.transform(), config, steps=100)
    found.log = lambda *_, **__: None  # there is no trainer
    return found


def test_deeper_layers_learn_slower() -> None:
    """With a decay of 0.5 the rates are the peak's times powers of it; without, all have the peak's."""
    config = TrainConfig(model="test_vit", picture=PICTURE, lr=1e-3, targets=("class",))
    model = Design("test_vit", PICTURE, TARGETS).build()
    backbone = model.encoder.backbone
    for decay, want in ((None, {1.0}), (0.5, {0.5**k for k in range(len(backbone.blocks) + 1)})):
        task = SpectrumTask(model, torch.nn.Identity(), replace(config, layer_decay=decay), steps=10)
        groups = task.configure_optimizers()["optimizer"].param_groups
        assert {round(group["initial_lr"] / 1e-3, 9) for group in groups} == want
        assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
        rates = {id(p): group["initial_lr"] for group in groups for p in group["params"]}
        assert rates[id(model.head("class").output.weight)] == 1e-3


def test_biases_and_norms_do_not_decay() -> None:
    made = task(weight_decay=0.3)
    groups = made.configure_optimizers()["optimizer"].param_groups
    assert [group["weight_decay"] for group in groups] == [0.3, 0.0]
    assert all(p.ndim > 1 for p in groups[0]["params"]) and all(p.ndim <= 1 for p in groups[1]["params"])
    made.model.encoder.requires_grad_(False)
    groups = made.configure_optimizers()["optimizer"].param_groups
    assert sum(len(group["params"]) for group in groups) == len(list(made.model.heads.parameters()))


def test_the_rate_rises_and_falls() -> None:
    """It rises to its peak over the first 5 % of the steps, then falls to 0 as a cosine."""
    found = task().configure_optimizers()
    factor = found["lr_scheduler"]["scheduler"].lr_lambdas[0]
    assert found["lr_scheduler"]["interval"] == "step"
    assert [factor(step) for step in (0, 4, 5)] == pytest.approx([1 / 6, 5 / 6, 1.0])
    assert factor(52) == pytest.approx(0.5, abs=0.01) and factor(100) == pytest.approx(0.0)
    assert all(factor(step) > factor(step + 1) for step in range(5, 100))


def test_seed_and_step_decide_what_is_augmented(batch: SpectrumBatch) -> None:
    labels = {"class": torch.tensor([0, 1] * 4)}

    def loss(made: SpectrumTask) -> float:
        return float(made.training_step((batch, labels), 0).detach())

    augmented, plain = task(seed=3), task(augment=False)
    first = loss(augmented)
    assert loss(augmented) == first != loss(task(seed=4))
    want = plain.model.losses(plain.model(plain.transform(batch)), labels)["class"]
    assert first != loss(plain) == float(want.detach())


def test_a_checkpoint_keeps_the_curves_and_the_place() -> None:
    made, checkpoint = task(), {}
    made.history = [{"epoch": 1, "val/loss": 0.5}]
    made.on_save_checkpoint(checkpoint)
    again = task()
    again.on_load_checkpoint(checkpoint)
    assert again.history == made.history

    class Feed:
        def __init__(self, **place: int) -> None:
            self.place = place

        def state_dict(self) -> dict[str, int]:
            return self.place

        def load_state_dict(self, state: dict[str, int]) -> None:
            self.place = state

    feed, other = Feed(epoch=1, batch=7), Feed()
    Position(other).load_state_dict(Position(feed).state_dict())
    assert other.place == {"epoch": 1, "batch": 7}


class Counter(lightning.LightningModule):
    """One number, which grows by 1 in each step."""

    def __init__(self) -> None:
        super().__init__()
        self.number = torch.nn.Parameter(torch.zeros(()))

    def training_step(self, *_: Any) -> torch.Tensor:
        return -self.number

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1.0)


@pytest.mark.parametrize("steps", [1, 5, 400])
def test_the_weights_are_a_moving_average(tmp_path: Path, steps: int) -> None:
    """A short run forgets its first weights at once, and a long one averages about 200 steps."""
    counter = Counter()
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=1,
        default_root_dir=tmp_path,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Averaging()],
    )
    trainer.fit(counter, torch.utils.data.DataLoader(torch.zeros(steps, 1)))
    want = 1.0  # the first update takes the weights as they are
    for count in range(1, steps):
        decay = min(0.995, (1 + count) / (10 + count))
        want = decay * want + (1 - decay) * (count + 1)
    assert float(counter.number.detach()) == pytest.approx(want, rel=1e-4)
