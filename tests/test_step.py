"""A step of training is that of a plain loop in PyTorch, and nothing in it waits for the device."""

import copy
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp
from halves import PICTURE, STEPS, TARGETS, make_step, shared_out
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.optim.swa_utils import AveragedModel

from spectromer import SpectrumBatch
from spectromer.config import TrainConfig
from spectromer.learning.design import Design
from spectromer.learning.step import TrainingStep, parameter_groups


@pytest.fixture(scope="module")
def labels() -> dict[str, Tensor]:
    """Some are missing."""
    return {
        "class": torch.tensor([0, 1, -1, 1, 0, 1, 0, 1]),
        "z": torch.tensor([0.1, 0.2, 0.3, torch.nan, 0.5, 0.6, 0.7, 0.8]),
        "teff": torch.tensor([torch.nan, 5e3, 6e3, 7e3, torch.nan, 8e3, torch.nan, 9e3]),
    }


def test_deeper_layers_learn_slower() -> None:
    """With a decay of 0.5 the rates are the peak's times powers of it; without, all have the peak's."""
    model = Design("test_vit", PICTURE, TARGETS).build()
    blocks = model.encoder.backbone.blocks
    for decay, want in ((None, {1.0}), (0.5, {0.5**k for k in range(len(blocks) + 1)})):
        groups = parameter_groups(model, TrainConfig(layer_decay=decay))
        assert {round(group["scale"], 9) for group in groups} == want
        assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
        scales = {id(p): group["scale"] for group in groups for p in group["params"]}
        assert scales[id(model.head("class").output.weight)] == 1.0


def test_biases_and_norms_do_not_decay() -> None:
    model = Design("test_vit", PICTURE, TARGETS).build()
    config = TrainConfig(weight_decay=0.3)
    groups = parameter_groups(model, config)
    assert [group["weight_decay"] for group in groups] == [0.3, 0.0]
    assert all(p.ndim > 1 for p in groups[0]["params"]) and all(p.ndim <= 1 for p in groups[1]["params"])
    model.encoder.requires_grad_(False)
    groups = parameter_groups(model, config)
    assert sum(len(group["params"]) for group in groups) == len(list(model.heads.parameters()))


def test_the_rate_rises_and_falls() -> None:
    """It rises to its peak over the first 5 % of the steps, then falls to 0 as a cosine."""
    factor = make_step().factor
    assert [factor(step) for step in (0, 4, 5)] == pytest.approx([1 / 6, 5 / 6, 1.0])
    assert factor(52) == pytest.approx(0.5, abs=0.01) and factor(100) == pytest.approx(0.0)
    assert all(factor(step) > factor(step + 1) for step in range(5, STEPS))


@pytest.mark.parametrize("options", [{}, {"layer_decay": 0.5}], ids=["plain", "layer decay"])
def test_it_is_the_step_of_a_plain_loop(
    batch: SpectrumBatch, labels: dict[str, Tensor], options: dict[str, Any], device: str
) -> None:
    """Its weights, averages and losses are those of torch's own AdamW, clipping, schedule and averaging.

    On a GPU, the first three steps run as they are, and the others as a CUDA graph.
    """
    batch, labels = batch.to(device), {name: value.to(device) for name, value in labels.items()}
    step = make_step(device=device, augment=False, weight_decay=0.1, **options)
    model = copy.deepcopy(step.model)
    groups = parameter_groups(model, step.config)
    optimizer = torch.optim.AdamW(
        [{"params": g["params"], "weight_decay": g["weight_decay"], "lr": 1e-3 * g["scale"]} for g in groups]
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, step.factor)
    average = AveragedModel(model, avg_fn=lambda a, w, n: a.lerp(w, 1.0 - min(0.995, (1.0 + n) / (10.0 + n))))
    images = step.transform(batch)
    for _ in range(6):
        sums, counts = model.losses(model(images), labels)
        want = sums / counts
        optimizer.zero_grad()
        want.sum().backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        average.update_parameters(model)
        step(batch, labels)
        found = step.take_totals()
        assert [found[name] for name in TARGETS.names] == pytest.approx(want.tolist(), rel=1e-4)
        assert found["loss"] == pytest.approx(float(want.detach().sum()), rel=1e-4)
    assert norm > 1.0  # it was clipped
    assert device == "cpu" or step._graph.captured is not None
    averages = step.weights()
    for (name, mine), theirs, averaged in zip(
        step.model.named_parameters(), model.parameters(), average.module.parameters(), strict=True
    ):
        # Adam divides by the gradients' own size, so that rounding of the smallest gradients counts.
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=2e-4, msg=name)
        torch.testing.assert_close(averages[name], averaged.detach(), rtol=1e-3, atol=2e-4, msg=name)
    current = {name: p.detach().clone() for name, p in step.model.named_parameters()}
    with step.averaged():
        assert all(torch.equal(p, averages[name]) for name, p in step.model.named_parameters())
    assert all(torch.equal(p, current[name]) for name, p in step.model.named_parameters())


def test_seed_step_and_process_decide_what_is_augmented(batch: SpectrumBatch, labels: dict[str, Tensor]) -> None:
    def losses(**options: Any) -> list[float]:
        step, found = make_step(**options), []
        for _ in range(2):
            step(batch, labels)
            found.append(step.take_totals()["loss"])
        return found

    first = losses(seed=3)
    assert losses(seed=3) == first
    others = [losses(seed=4), losses(seed=3, rank=1), losses(augment=False)]
    assert len({tuple(found) for found in (first, *others)}) == 4
    step = make_step(seed=3)
    step.count = 1  # the noise of the second step, from the first weights
    step(batch, labels)
    assert step.take_totals()["loss"] != first[0]


def test_a_state_goes_on(batch: SpectrumBatch, labels: dict[str, Tensor]) -> None:
    """A copy of the state gives the same weights as the original, to the last bit."""
    whole = make_step()
    for _ in range(3):
        whole(batch, labels)
    other = make_step(rank=0)
    other.load_state({name: tensor.clone() for name, tensor in whole.state().items()}, whole.count)
    for step in (whole, other):
        step(batch, labels)
    assert all(torch.equal(tensor, other.state()[name]) for name, tensor in whole.state().items())
    assert all(torch.equal(tensor, other.weights()[name]) for name, tensor in whole.weights().items())


def test_nothing_in_a_step_needs_a_number_on_the_host(labels: dict[str, Tensor]) -> None:
    """Fake tensors have no numbers. Whatever reads one, or has a shape that depends on one, raises an error."""
    step = make_step()
    with FakeTensorMode(allow_non_fake_inputs=True):
        step.transform = lambda batch: batch.flux.new_zeros(len(batch), *PICTURE.shape(1)[1:], dtype=torch.uint8)
        batch = SpectrumBatch(torch.randn(8, 500), torch.ones(8, 500), torch.linspace(4000.0, 9000.0, 500))
        fake = {name: torch.zeros_like(value, device="cpu") for name, value in labels.items()}
        step._advance(batch, fake)
        step.validate(batch, fake)
        with pytest.raises(DataDependentOutputException):
            step.take_totals()  # it reads them, at the end of an epoch


def test_two_processes_with_half_the_batch_are_one(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared_out(0, 1, port, str(tmp_path))
    mp.spawn(shared_out, (2, port, str(tmp_path)), nprocs=2)
    (one, state), (first, left), (second, right) = (
        torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("1-0", "2-0", "2-1")
    )
    assert first == second
    for want, got in zip(one, first, strict=True):
        assert got == pytest.approx(want, rel=1e-4)
    for name, tensor in state.items():
        assert name == "totals" or torch.equal(left[name], right[name])
        torch.testing.assert_close(left[name], tensor, rtol=1e-3, atol=2e-4, msg=name)


def test_plain_attention_is_the_fused_one(batch: SpectrumBatch) -> None:
    design = Design("test_vit", PICTURE, TARGETS)
    torch.manual_seed(0)
    model = design.build().eval()
    images = design.transform()(batch)
    assert any(getattr(module, "fused_attn", False) for module in model.modules())
    want = model(images)
    TrainingStep(model, torch.nn.Identity(), TrainConfig(), STEPS)
    assert not any(getattr(module, "fused_attn", False) for module in model.modules())
    for name, value in model(images).items():
        torch.testing.assert_close(value, want[name], rtol=1e-4, atol=1e-5)
