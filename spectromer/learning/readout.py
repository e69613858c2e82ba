r"""Regression of scalars on the features of a trained model, by a sparse Gaussian process.

A linear head can use the features only linearly. After the training, a Gaussian process with a squared-exponential
kernel is fitted to the features of the training spectra, in the subspace of the kernel functions around some of them,
the centres (the projected process of Rasmussen & Williams 2006, section 8.3.4). The orthonormal functions
:math:`\varphi_j` of this subspace have independent normal weights, so that the fit is a Bayesian linear regression,
whose precisions and length scale maximise the evidence (MacKay 1992). The variance of the noise of a spectrum is
proportional to the standard deviation that the head predicts for it.
"""

import numpy as np
import torch
from sklearn.linear_model import BayesianRidge
from torch import Tensor, nn

from spectromer.shards.splits import subsample

__all__ = ["LEAST", "KernelReadout"]

_CENTRES = 256
_LENGTHS = (1.0, 2.0, 4.0)  # length scales that are tried, in units of the root of the number of features
_LEAST_EIGENVALUE = 1e-6  # of the kernel, relative to the largest; the directions of smaller ones are left out
LEAST = 30  #: Minimum number of spectra of a fit.


class KernelReadout(nn.Module):
    r"""A sparse Gaussian process from features to mean and ln sigma of a scalar.

    Before it is fitted, its outputs are those of the head. It computes in double precision.

    Parameters
    ----------
    width : int
        Number of features.

    Attributes
    ----------
    shift, scale : Tensor [D]
        The features are standardised by these.
    centres : Tensor [M, D]
        The standardised features of the centres.
    basis : Tensor [M, M]
        The coefficients of the functions :math:`\varphi_j`, in columns, of the kernel functions around the centres.
    weights, spread : Tensor [M]
        Means and variances of the weights of the functions.
    fitted, length, offset, prior, noise : Tensor []
        Whether it is fitted (1) or not (0); length scale; mean of the targets; prior variance of the weights; variance
        of the noise divided by the head's sigma.
    """

    shift: Tensor
    scale: Tensor
    centres: Tensor
    basis: Tensor
    weights: Tensor
    spread: Tensor
    fitted: Tensor
    length: Tensor
    offset: Tensor
    prior: Tensor
    noise: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        sizes = {"centres": (_CENTRES, width), "basis": (_CENTRES, _CENTRES), "weights": (_CENTRES,)}
        for name, size in (sizes | {"spread": (_CENTRES,), "shift": (width,)}).items():
            self.register_buffer(name, torch.zeros(size))
        self.register_buffer("scale", torch.ones(width))
        for name in ("fitted", "length", "offset", "prior", "noise"):
            self.register_buffer(name, torch.tensor(float(name == "length")))

    def forward(self, features: Tensor, out: Tensor) -> Tensor:
        """Mean and ln sigma [B, 2] of features [B, D], given the head's own [B, 2]."""
        mean, log_sigma = out.double().unbind(1)
        functions = self._kernel(self._standardised(features)) @ self.basis.double()
        squares = functions**2
        variance = squares @ self.spread.double() + self.prior.double() * (1.0 - squares.sum(1)).clamp(min=0.0)
        variance = variance + self.noise.double() * log_sigma.exp()
        fitted = self.fitted > 0
        mean = torch.where(fitted, functions @ self.weights.double() + self.offset.double(), mean)
        log_sigma = torch.where(fitted, 0.5 * variance.clamp(min=1e-12).log(), log_sigma)
        return torch.stack((mean, log_sigma), 1).to(out.dtype)

    def fit(self, features: Tensor, out: Tensor, value: Tensor) -> None:
        """Fit to the features [n, D], head outputs [n, 2] and standardised true values [n] of training spectra.

        With fewer than 30 spectra, nothing is fitted.
        """
        if len(value) < LEAST:
            return
        chosen = torch.from_numpy(subsample(np.arange(len(value)), _CENTRES))
        count = len(chosen)
        self.shift.copy_(features.mean(0))
        self.scale.copy_(features.std(0).clamp(min=1e-6))
        x = self._standardised(features)
        self.centres[:count] = x[chosen].float()
        sigma = out[:, 1].double().exp()
        weight = sigma.mean() / sigma
        offset = value.double().mean()
        best = -np.inf
        for length in _LENGTHS:
            self.length.fill_(length)
            kernel = self._kernel(x)[:, :count]
            eigenvalues, vectors = torch.linalg.eigh(kernel[chosen])
            kept = eigenvalues > _LEAST_EIGENVALUE * eigenvalues[-1]
            basis = vectors[:, kept] / eigenvalues[kept].sqrt()
            found = BayesianRidge(compute_score=True, fit_intercept=False)
            found.fit((kernel @ basis).numpy(), (value.double() - offset).numpy(), sample_weight=weight.numpy())
            if found.scores_[-1] > best:
                best, fit = found.scores_[-1], (length, basis, found)
        length, basis, found = fit
        # In the axes of the posterior covariance, the weights are independent.
        spread, axes = torch.linalg.eigh(torch.from_numpy(found.sigma_))
        size = len(spread)
        self.basis.zero_()[:count, :size] = (basis @ axes).float()
        self.weights.zero_()[:size] = (axes.T @ torch.from_numpy(found.coef_)).float()
        self.spread.zero_()[:size] = spread.clamp(min=0.0).float()
        numbers = {"fitted": 1.0, "length": length, "offset": float(offset), "prior": 1.0 / found.lambda_}
        numbers["noise"] = 1.0 / (found.alpha_ * float(sigma.mean()))
        for name, number in numbers.items():
            getattr(self, name).fill_(number)

    def _standardised(self, features: Tensor) -> Tensor:
        return (features.double() - self.shift.double()) / self.scale.double()

    def _kernel(self, x: Tensor) -> Tensor:
        """The kernel [n, M] between standardised features [n, D] and the centres."""
        z = self.centres.double()
        squares = ((x**2).sum(1, keepdim=True) + (z**2).sum(1) - 2.0 * x @ z.T).clamp(min=0.0)
        return torch.exp(-0.5 * squares / (self.length.double() ** 2 * z.shape[1]))
