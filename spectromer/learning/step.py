"""One step of the training, all of whose work can run on the device without waiting for the host.

The parameters of each group of the optimizer lie in one tensor, and so do their gradients and averages. Clipping,
AdamW and averaging are therefore a few operations for a model of any size, and the processes of a parallel run add up
their gradients in one operation for each group. What changes from step to step (the learning rate, the weight of the
average, the seed of the augmentation) is written to tensors before the step. On a GPU, the step is captured as a CUDA
graph.
"""

import math
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from timm.layers import Attention
from timm.optim import param_groups_layer_decay
from torch import Tensor, nn

from spectromer.config import TrainConfig
from spectromer.learning.augment import augment
from spectromer.learning.devices import has_gpu
from spectromer.learning.encoder import ImageEncoder
from spectromer.learning.model import SpectrumModel
from spectromer.learning.parallel import add_up, spread
from spectromer.spectra import SpectrumBatch

__all__ = ["LR_FROM_SCRATCH", "LR_FROM_WEIGHTS", "TrainingStep", "parameter_groups", "precision_of"]

LR_FROM_SCRATCH, LR_FROM_WEIGHTS = 2e-3, 1e-4
_MAX_GRADIENT_NORM = 1.0
_WARMUP = 0.05  # fraction of the steps
_DECAY = 0.995  # of the running average of the weights, after a start in which it forgets faster
# On a CPU torch's generator takes 32 bits of its seed. These factors keep the steps of two runs, and the processes of
# one, far apart in them.
_SEEDS_APART, _RANKS_APART = 0x9E3779B1, 0x85EBCA6B
_ALIGNED = 16  # numbers, 64 bytes, at whose multiples the parameters begin in the tensor of their group
_EAGER = 3  # steps before the capture of a graph, in which libraries allocate what they need
_MOMENTS = ("exp_avg", "exp_avg_sq")


def _has_bfloat16() -> bool:
    """Tell whether the CPU has bfloat16 instructions."""
    if not hasattr(torch.cpu, "get_capabilities"):  # an earlier version of torch
        return False
    found = torch.cpu.get_capabilities()
    return any(found.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def precision_of(asked: str) -> str:
    """The precision that an option of `TrainConfig` stands for: "32-true" or "bf16-mixed"."""
    if asked != "auto":
        return asked
    return "bf16-mixed" if has_gpu() or _has_bfloat16() else "32-true"


def parameter_groups(model: SpectrumModel, config: TrainConfig) -> list[dict[str, Any]]:
    """The groups of trainable parameters, each with its `weight_decay` and its `scale` of the learning rate.

    Biases and norms have no weight decay. The scales are the powers of the layer decay.
    """
    decay, encoder = config.weight_decay, model.encoder
    groups: list[dict[str, Any]] = []
    if config.layer_decay is not None and isinstance(encoder, ImageEncoder):
        for group in param_groups_layer_decay(encoder.backbone, decay, layer_decay=config.layer_decay):
            groups.append({name: group[name] for name in ("params", "weight_decay")} | {"scale": group["lr_scale"]})
    taken = {id(parameter) for group in groups for parameter in group["params"]}
    rest = [p for p in model.parameters() if p.requires_grad and id(p) not in taken]
    groups.append({"params": [p for p in rest if p.ndim > 1], "weight_decay": decay, "scale": 1.0})
    groups.append({"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0, "scale": 1.0})
    return [group for group in groups if group["params"]]


class TrainingStep:
    """A training step of a model, with its optimizer, its learning rates, and the average of its weights.

    Parameters
    ----------
    model : SpectrumModel
        The model. It is moved to the device, and its parameters become views of the tensors of their groups.
    transform : Module
        The transform that draws the spectra.
    config : TrainConfig
        Options of the training.
    steps : int
        Number of steps of the whole training.
    device : torch.device or str
    precision : {"32-true", "bf16-mixed"}
    rank : int
        The number of this process among those that train together.

    Attributes
    ----------
    count : int
        Number of steps done.
    totals : Tensor [2, targets] float32
        Sums of the losses and numbers of known labels since the last `take_totals`.
    """

    def __init__(
        self,
        model: SpectrumModel,
        transform: nn.Module,
        config: TrainConfig,
        steps: int,
        device: torch.device | str = "cpu",
        precision: str = "32-true",
        rank: int = 0,
    ) -> None:
        self.device = torch.device(device)
        self.model, self.transform = model.to(self.device), transform.to(self.device)
        self.config, self.steps = config, steps
        self.count = 0
        self._bfloat16 = precision == "bf16-mixed"
        on_gpu = self.device.type == "cuda"
        if not on_gpu:
            _attend_plainly(model)
        groups = parameter_groups(model, config)
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        self._names = [[names[id(parameter)] for parameter in group["params"]] for group in groups]
        self._shapes = [[parameter.shape for parameter in group["params"]] for group in groups]
        self._flat = [_packed(group["params"]) for group in groups]
        for flat in self._flat:
            spread(flat.data)
        self._averages = [flat.detach().clone() for flat in self._flat]
        lr = config.lr or LR_FROM_SCRATCH
        self._peaks = torch.tensor([lr * group["scale"] for group in groups], device=self.device)
        self._rates = self._peaks.clone()
        self._factor, self._weight = torch.zeros((), device=self.device), torch.zeros((), device=self.device)
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [flat], "weight_decay": group["weight_decay"], "lr": rate}
                for flat, group, rate in zip(self._flat, groups, self._rates.unbind(), strict=True)
            ],
            fused=True,
            capturable=on_gpu,
        )
        for flat in self._flat:
            moments = {name: torch.zeros_like(flat.data) for name in _MOMENTS}
            self.optimizer.state[flat] = {"step": torch.zeros((), device=self.device), **moments}
        self.totals = torch.zeros(2, len(model.targets.names), device=self.device)
        self._seed = _SEEDS_APART * config.seed + _RANKS_APART * rank
        self._generator = torch.Generator(self.device)
        self._losses: Callable[..., Tensor] = torch.compile(self._forward) if config.compile else self._forward
        self._graph = _Graph(self) if on_gpu else None

    def __call__(self, spectra: SpectrumBatch, labels: dict[str, Tensor]) -> None:
        """Learn from one batch on the device. The losses are added to `totals`."""
        self._factor.fill_(self.factor(self.count))
        # The first average is the weights as they are.
        decay = min(_DECAY, (1.0 + self.count) / (10.0 + self.count)) if self.count else 0.0
        self._weight.fill_(1.0 - decay)
        # The seed follows from the step, so that a resumed run draws the same noise.
        self._generator.manual_seed((self._seed + self.count) % (1 << 32))
        work = self._advance if self._graph is None else self._graph
        work(spectra, {name: labels[name] for name in self.model.targets.names})
        self.count += 1

    def close(self) -> None:
        """Give up the CUDA graph and its memory. NCCL cannot end while a graph holds its operations."""
        if self._graph is not None:
            torch.cuda.synchronize(self.device)
            self._graph.reset()

    def factor(self, step: int) -> float:
        """The learning rate of a step divided by its peak: a linear warm-up, then a cosine decay to 0."""
        warmup = max(1, round(_WARMUP * self.steps))
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, self.steps - warmup))))

    def _forward(self, images: Tensor, labels: dict[str, Tensor]) -> Tensor:
        """The result of `SpectrumModel.losses`."""
        # A graph must make the bfloat16 copies of the weights anew, which the cache would keep.
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bfloat16, cache_enabled=False):
            return self.model.losses(self.model(images), labels)

    def _advance(self, spectra: SpectrumBatch, labels: dict[str, Tensor]) -> None:
        """The work of a step on the device."""
        if self.config.augment:
            spectra = augment(spectra, self._generator)
        losses = self._losses(self.transform(spectra), labels)
        self.totals += losses.detach()
        counts = add_up(losses[1].detach().clone())  # of all processes
        for flat in self._flat:
            assert flat.grad is not None
            flat.grad.zero_()
        (losses[0] / counts.clamp(min=1.0)).sum().backward()
        gradients = [add_up(flat.grad) for flat in self._flat if flat.grad is not None]
        norm = torch.stack([torch.linalg.vector_norm(gradient) for gradient in gradients]).norm()
        scale = (_MAX_GRADIENT_NORM / (norm + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(scale)
        torch.mul(self._peaks, self._factor, out=self._rates)
        self.optimizer.step()
        for average, flat in zip(self._averages, self._flat, strict=True):
            average.lerp_(flat.data, self._weight)

    @torch.no_grad()
    def validate(self, spectra: SpectrumBatch, labels: dict[str, Tensor]) -> None:
        """Add the losses of a batch to `totals`."""
        self.totals += self._forward(self.transform(spectra), labels)

    def take_totals(self) -> dict[str, float]:
        """The mean loss of each target over the spectra of all processes since the last call, and their sum `loss`."""
        sums, counts = add_up(self.totals.double()).tolist()
        self.totals.zero_()
        means = [total / max(count, 1.0) for total, count in zip(sums, counts, strict=True)]
        return {"loss": sum(means), **dict(zip(self.model.targets.names, means, strict=True))}

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Give the model its averaged weights for a while."""
        current = [flat.detach().clone() for flat in self._flat]
        try:
            _copy(self._flat, self._averages)
            yield
        finally:
            _copy(self._flat, current)

    def weights(self) -> dict[str, Tensor]:
        """The averaged weights, under the names of the model."""
        found = dict(self.model.state_dict())
        for names, shapes, average in zip(self._names, self._shapes, self._averages, strict=True):
            found |= dict(zip(names, _views(average, shapes), strict=True))
        return found

    def state(self) -> dict[str, Tensor]:
        """All tensors that change in a step, which are views. The number of steps is not among them."""
        found = {"totals": self.totals}
        for i, (flat, average) in enumerate(zip(self._flat, self._averages, strict=True)):
            moments = self.optimizer.state[flat]
            found |= {f"{i}.weights": flat.data, f"{i}.average": average}
            found |= {f"{i}.{name}": moments[name] for name in ("step", *_MOMENTS)}
        return found

    def load_state(self, state: dict[str, Tensor], count: int) -> None:
        """Go on from a state after `count` steps."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])
        self.count = count


class _Graph:
    """The work of a step as a CUDA graph, captured after a few steps and replayed for batches of the same shape.

    If it cannot be captured, a warning says why, and the steps run as usual. So do those of spectra with a flux_scale.
    """

    def __init__(self, step: TrainingStep) -> None:
        self._step: Any = weakref.proxy(step)  # so that the graph goes with the step
        self._stream = torch.cuda.Stream(step.device)  # of the steps before the capture
        self._calls = 0
        self.captured: torch.cuda.CUDAGraph | None = None
        self._inputs: list[Tensor] = []

    def __call__(self, spectra: SpectrumBatch, labels: dict[str, Tensor]) -> None:
        if any(scale != 1.0 for scale in spectra.flux_scale):
            self._step._advance(spectra, labels)
            return
        inputs = [spectra.flux, spectra.ivar, spectra.wavelength, *labels.values()]
        self._calls += 1
        if self._calls <= _EAGER:
            current = torch.cuda.current_stream()
            self._stream.wait_stream(current)
            with torch.cuda.stream(self._stream):
                self._step._advance(spectra, labels)
            current.wait_stream(self._stream)
            return
        if self._calls == _EAGER + 1:
            self._capture(inputs, list(labels))
        if self.captured is None or [t.shape for t in inputs] != [t.shape for t in self._inputs]:
            self._step._advance(spectra, labels)
            return
        torch._foreach_copy_(self._inputs, inputs)
        self.captured.replay()

    def _capture(self, inputs: Sequence[Tensor], names: Sequence[str]) -> None:
        self._inputs = [tensor.clone() for tensor in inputs]
        flux, ivar, wavelength, *values = self._inputs
        graph, current, generator = torch.cuda.CUDAGraph(), torch.cuda.current_stream(), self._step._generator
        graph.register_generator_state(generator)
        try:
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self._step._advance(SpectrumBatch(flux, ivar, wavelength), dict(zip(names, values, strict=True)))
        except RuntimeError as error:
            warnings.warn(f"the training step could not be captured as a CUDA graph: {error}", stacklevel=2)
            torch.cuda.set_stream(current)  # which torch does not restore
            graph.reset()
            fresh = torch.Generator(self._step.device)  # the other one may still be that of the capture
            self._step._generator = fresh.manual_seed(generator.initial_seed())
            return
        self.captured = graph

    def reset(self) -> None:
        """Give up the graph."""
        if self.captured is not None:
            self.captured.reset()
        self.captured, self._inputs = None, []


def _packed(parameters: Sequence[nn.Parameter]) -> nn.Parameter:
    """Make parameters and their gradients views of one tensor with a gradient, and return it."""
    first, shapes = parameters[0], [p.shape for p in parameters]
    flat = nn.Parameter(torch.zeros(sum(_sizes(shapes)), dtype=first.dtype, device=first.device))
    flat.grad = torch.zeros_like(flat)
    views = zip(parameters, _views(flat.data, shapes), _views(flat.grad, shapes), strict=True)
    for parameter, data, gradient in views:
        data.copy_(parameter.data)
        parameter.data, parameter.grad = data, gradient
    return flat


def _sizes(shapes: Sequence[torch.Size]) -> list[int]:
    """The numbers that parameters with the given shapes take in the tensor of their group."""
    return [-(-shape.numel() // _ALIGNED) * _ALIGNED for shape in shapes]


def _views(flat: Tensor, shapes: Sequence[torch.Size]) -> list[Tensor]:
    """The views of the parameters with the given shapes."""
    parts = flat.split(_sizes(shapes))
    return [part[: shape.numel()].view(shape) for part, shape in zip(parts, shapes, strict=True)]


def _copy(to: Sequence[Tensor], source: Sequence[Tensor]) -> None:
    for one, other in zip(to, source, strict=True):
        one.data.copy_(other)


def _attend_plainly(model: nn.Module) -> None:
    """Compute attention by products of matrices.

    The gradient of torch's fused attention on a CPU takes eight times as long in bfloat16 (torch 2.14).
    """
    for module in model.modules():
        if isinstance(module, Attention):
            module.fused_attn = False  # type: ignore[misc]
