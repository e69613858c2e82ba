"""Heads for categories, ordered subclasses and scalars. The redshift head is in `redshift.py`."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from spectromer.subclasses import scale_positions, spectral_type

__all__ = ["SMOOTHING", "CategoryHead", "ScalarHead", "SubclassHead", "known_mask"]

#: Standard deviation, in subtypes, of the Gaussian over which the target of a subtype is spread. In the comparison on
#: real spectra by benchmarks/subclasses.py, widths from 0.4 to 0.6 are the best (docs/results.md).
SMOOTHING = 0.5


class _Head(nn.Module):
    """A linear layer, or with `hidden` a perceptron with one hidden layer."""

    def __init__(self, width: int, outputs: int, hidden: bool) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(width, width), nn.GELU()) if hidden else nn.Identity()
        self.output = nn.Linear(width, outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map inputs [B, width] to outputs [B, outputs]."""
        outputs: Tensor = self.output(self.hidden(inputs))
        return outputs


class CategoryHead(_Head):
    """Head for the logits of one category."""

    def loss(self, logits: Tensor, value: Tensor) -> Tensor:
        """Cross-entropy [B] with `value` int64 [B]."""
        return functional.cross_entropy(logits.float(), value, reduction="none")

    def surprise(self, logits: Tensor, value: Tensor) -> Tensor:
        """Negative log-probability [B] of `value` int64 [B], which is used to calibrate probabilities."""
        return CategoryHead.loss(self, logits, value)


class SubclassHead(CategoryHead):
    """Head for the logits of subclasses, which knows the order of the subtypes.

    Parameters
    ----------
    width : int
        Length of the inputs.
    vocabulary : sequence of str
        The subclasses.
    hidden : bool
        Whether there is a hidden layer.
    smoothing : float
        Standard deviation, in subtypes, of the Gaussian that spreads the target of a subtype over its neighbours on the
        scale. With 0, the loss is the cross-entropy.

    Notes
    -----
    Labels of `len(vocabulary)` and above denote spectral types, as encoded by `Targets.encode`. Their loss is minus the
    logarithm of the summed probability of the type's subclasses.
    """

    targets: Tensor
    members: Tensor

    def __init__(self, width: int, vocabulary: Sequence[str], hidden: bool, smoothing: float = SMOOTHING) -> None:
        super().__init__(width, len(vocabulary), hidden)
        places = torch.from_numpy(scale_positions(vocabulary)).float()
        apart = places[:, None] - places
        kernel = torch.exp(-0.5 * (apart / max(smoothing, 1e-6)) ** 2)
        kernel = torch.where(apart.isnan(), torch.eye(len(vocabulary)), kernel)
        types = [spectral_type(value) for value in vocabulary]
        members = [[float(kind == one) for kind in types] for one in sorted(set(types))]
        # The buffers follow from the vocabulary, so checkpoints do not hold them.
        self.register_buffer("targets", kernel / kernel.sum(1, keepdim=True), persistent=False)
        self.register_buffer("members", torch.tensor(members), persistent=False)

    def loss(self, logits: Tensor, value: Tensor) -> Tensor:
        """Cross-entropy [B] with the smoothed target of `value` int64 [B]."""
        return self._loss(logits, value, self.targets)

    def surprise(self, logits: Tensor, value: Tensor) -> Tensor:
        """Negative log-probability [B] of `value` int64 [B], without smoothing."""
        return self._loss(logits, value, torch.eye(len(self.targets), device=logits.device))

    def _loss(self, logits: Tensor, value: Tensor, targets: Tensor) -> Tensor:
        log_p = logits.float().log_softmax(1)
        n = len(targets)
        exact = -(targets[value.clamp(max=n - 1)] * log_p).sum(1)
        inside = self.members[(value - n).clamp(min=0)] > 0
        # A floor keeps the gradient finite.
        coarse = -log_p.masked_fill(~inside, -1e4).logsumexp(1)
        return torch.where(value < n, exact, coarse)


class ScalarHead(_Head):
    """Head for one scalar. It predicts mean and ln sigma of the standardised value or logarithm."""

    def __init__(self, width: int, mean: float, sigma: float, log: bool, hidden: bool = False) -> None:
        super().__init__(width, 2, hidden)
        self.mean, self.sigma, self.log = mean, sigma, log

    def loss(self, out: Tensor, value: Tensor) -> Tensor:
        """Negative log-likelihood [B] of `value` [B], given in its physical unit, times sigma (Seitzer et al. 2022).

        No gradient flows through the factor sigma. Without the factor, the few spectra with a small predicted sigma
        dominate the loss.
        """
        mean, log_sigma = out.float().unbind(1)
        standard = ((value.log() if self.log else value) - self.mean) / self.sigma
        likelihood = log_sigma + 0.5 * ((standard - mean) * torch.exp(-log_sigma)) ** 2
        return likelihood * log_sigma.detach().exp()

    def estimate(self, out: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [B] in the physical unit."""
        mean, log_sigma = out.float().unbind(1)
        value, error = self.mean + self.sigma * mean, self.sigma * torch.exp(log_sigma)
        return (value.exp(), value.exp() * error) if self.log else (value, error)


def known_mask(value: Tensor) -> Tensor:
    """Mask of the encoded labels [B] of a target that are known, [B] bool."""
    return torch.isfinite(value) if value.is_floating_point() else value >= 0
