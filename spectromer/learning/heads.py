"""Heads for categories and scalars; that for the redshift has a file of its own."""

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["CategoryHead", "ScalarHead", "is_known"]


class _Head(nn.Module):
    """One output layer, or with `hidden` a perceptron of one hidden layer."""

    def __init__(self, width: int, outputs: int, hidden: bool) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(width, width), nn.GELU()) if hidden else nn.Identity()
        self.output = nn.Linear(width, outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """[B, width] to [B, outputs]."""
        outputs: Tensor = self.output(self.hidden(inputs))
        return outputs


class CategoryHead(_Head):
    """Logits of the values of one category, from the mean token and what the redshift may be."""

    def loss(self, logits: Tensor, value: Tensor) -> Tensor:
        """Cross-entropy [B] with `value` int64 [B]."""
        return functional.cross_entropy(logits.float(), value, reduction="none")


class ScalarHead(_Head):
    """A normal distribution of one standardised number, or of its logarithm: mean and ln sigma."""

    def __init__(self, width: int, mean: float, sigma: float, log: bool, hidden: bool = False) -> None:
        super().__init__(width, 2, hidden)
        self.mean, self.sigma, self.log = mean, sigma, log

    def loss(self, out: Tensor, value: Tensor) -> Tensor:
        """Negative log-likelihood [B] of `value` in its own unit, times sigma as it stands (Seitzer et al. 2022).

        Without that factor the few that are thought to be certain outweigh all others, and those of other heads.
        """
        mean, log_sigma = out.float().unbind(1)
        standard = ((value.log() if self.log else value) - self.mean) / self.sigma
        likelihood = log_sigma + 0.5 * ((standard - mean) * torch.exp(-log_sigma)) ** 2
        return likelihood * log_sigma.detach().exp()

    def estimate(self, out: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [B] in the number's own unit."""
        mean, log_sigma = out.float().unbind(1)
        value, error = self.mean + self.sigma * mean, self.sigma * torch.exp(log_sigma)
        return (value.exp(), value.exp() * error) if self.log else (value, error)


def is_known(value: Tensor) -> Tensor:
    """Which of a target's encoded labels [B] are there."""
    return torch.isfinite(value) if value.is_floating_point() else value >= 0
