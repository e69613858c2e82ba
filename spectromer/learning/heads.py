"""Heads for categories and scalars. The redshift head is in `redshift.py`."""

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["CategoryHead", "ScalarHead", "known_mask"]


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


class ScalarHead(_Head):
    """Head for one scalar: mean and ln sigma of the standardised value, or of its logarithm."""

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
