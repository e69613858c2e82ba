"""Redshift as a probability distribution: a cross-correlating head, and summary statistics of its output."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from spectromer.picture import Picture

__all__ = ["COARSE_EDGES", "LogAxis", "RedshiftDistribution", "RedshiftHead"]

_LOWEST = -0.01  # lower end of the axis of ln(1 + z), below the velocity of any star
_EVIDENCE_SCALE = 0.1  # the evidence sums thousands of terms; unscaled, it dominates early training
_DEFAULT_STEP = 1e-3  # bin width in ln(1 + z) if the image has no fixed wavelength axis
_FINE = 5e-4  # column width in ln(wavelength), 150 km/s, below which two redshift bins per column do not help
#: Edges in ln(1 + z) of the coarse redshift bins. Stars of any velocity share one bin.
COARSE_EDGES = (-0.003, 0.003, *(0.01 * 1.35**i for i in range(18)))
_NEAR = 3  # number of bins on each side of the most probable one that belong to the peak


@dataclass(frozen=True)
class LogAxis:
    """Positions of an image's tokens on a fixed log-linear wavelength axis.

    Attributes
    ----------
    rows, columns : int
        Shape of the token grid.
    panels : int
        Number of segments of the axis. They are panels, or the rows of squares of a folded picture in one panel.
    stacked : bool
        Whether the segments are stacked vertically. Otherwise they are channels.
    patch : int
        Number of columns of pixels, or of squares, per token.
    step : float
        Width of a column in ln(wavelength).
    samples : int
        Number of redshift bins per column. Redshifts of bright objects are accurate to a fraction of a column.
    """

    rows: int
    columns: int
    panels: int
    stacked: bool
    patch: int
    step: float
    samples: int = 2

    @property
    def pixels(self) -> int:
        """Number of columns along the whole axis."""
        return self.panels * self.columns * self.patch

    @property
    def per_token(self) -> int:
        """Number of segments that each token overlaps."""
        return max(1, self.panels // self.rows) if self.stacked else self.panels

    def by_segment(self, values: Tensor) -> Tensor:
        """Group the values of tokens in raster order, [B, rows * columns, ...], by the segments that they show.

        Returns
        -------
        Tensor [B, panels / per_token, tokens, columns, ...]
            Values by group of segments, vertical position within the group, and column.
        """
        groups = self.panels // self.per_token
        return values.reshape(values.shape[0], groups, self.rows // groups, self.columns, *values.shape[2:])

    def along(self, values: Tensor) -> Tensor:
        """Sum the values [B, T] of all tokens that show the same part of the axis, [B, panels * columns]."""
        grouped = self.by_segment(values).sum(2)
        return grouped[:, :, None].expand(-1, -1, self.per_token, -1).reshape(values.shape[0], -1)

    @classmethod
    def of(cls, picture: Picture, grid: tuple[int, int], patch: int) -> "LogAxis | None":
        """Return the axis of a picture cut into a grid of patches, or None if pixels have no fixed wavelength."""
        (rows, columns), block = grid, picture.block or 1
        if picture.wavelength_range is None or picture.axis != "log" or columns * patch != picture.size:
            return None
        # A folded picture has a row of squares for each segment, strips have a panel.
        folded = picture.block is not None and picture.panels == 1
        if folded and (patch % block or picture.order != "standard"):
            return None
        block = block if folded else 1
        panels = picture.size // block if folded else picture.panels
        if picture.stacked and rows % panels and panels % rows:
            return None
        low, high = picture.wavelength_range
        step = math.log(high / low) / (panels * columns * patch // block)
        return cls(rows, columns, panels, picture.stacked, patch // block, step, samples=2 if step > _FINE else 1)


class _Correlation(torch.autograd.Function):
    """The cross-correlation of features with templates, summed over the templates, by real FFTs.

    The features f are [B, C, samples] float32 and the templates K are [C, samples + bins] float32. Output k of the
    result [B, bins] is the sum of f_c(p) K_c(p - k + bins) over c and p. The gradients that autograd would derive need
    complex FFTs of twice the size.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, kernel: Tensor) -> Tensor:
        samples, length = features.shape[2], kernel.shape[1]
        # No index p - k + bins is outside the templates, so nothing wraps. ONNX Runtime needs a power of two.
        size = 1 << (length - 1).bit_length()
        with torch.autocast(features.device.type, enabled=False):
            spectrum, templates = torch.fft.rfft(features, size), torch.fft.rfft(kernel, size)
            shifted = torch.fft.irfft((spectrum * templates.conj()).sum(1), size)
        ctx.save_for_backward(spectrum, templates)
        ctx.sizes = size, samples, length
        evidence: Tensor = shifted[:, size - (length - samples) :]
        return evidence

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        spectrum, templates = ctx.saved_tensors
        size, samples, length = ctx.sizes
        with torch.autocast(grad.device.type, enabled=False):
            given = torch.fft.rfft(functional.pad(grad.float(), (size - grad.shape[1], 0)), size)[:, None]
            features = torch.fft.irfft(given * templates, size)[..., :samples]
            kernel = torch.fft.irfft((spectrum * given.conj()).sum(0), size)[..., :length]
        return features, kernel


class RedshiftHead(nn.Module):
    r"""Head for a distribution over ln(1 + z), by cross-correlation of the tokens along the wavelength axis.

    On a log-linear axis a redshift is a shift: :math:`\ln\lambda_{obs} = \ln\lambda_{rest} + \ln(1+z)`. A linear layer
    unfolds each token into features of its pixel columns, so that the spectrum is again a sequence :math:`f_c(p)`. The
    evidence for shift k is the cross-correlation :math:`\sum_{c,p} f_c(p) K_c(p - k)` with learnt templates K over rest
    wavelengths, computed by FFT. Redshift pipelines cross-correlate with fixed templates in the same way (Tonry & Davis
    1979). A linear layer on the pooled features is added to the evidence; without an axis it is the only term.

    Parameters
    ----------
    width : int
        Number of features per token.
    axis : LogAxis, optional
        Positions of the tokens on the wavelength axis.
    highest : float
        Highest z of the distribution.
    step : float, optional
        Bin width in ln(1 + z) if there is no axis.
    templates : int
        Number of templates c.
    """

    bounds: Tensor

    def __init__(
        self, width: int, axis: LogAxis | None, highest: float, step: float | None = None, templates: int = 8
    ) -> None:
        super().__init__()
        self.axis, self.templates, self.lowest = axis, templates, _LOWEST
        self.step = axis.step / axis.samples if axis is not None else step or _DEFAULT_STEP
        self.bins = math.ceil((math.log1p(highest) - _LOWEST) / self.step) + 1
        bounds = ((torch.tensor(COARSE_EDGES) - _LOWEST) / self.step).round().long().clamp(0, self.bins)
        bounds = functional.pad(functional.pad(bounds, (1, 0)), (0, 1), value=self.bins)
        self.register_buffer("bounds", bounds, persistent=False)
        self.pooled = nn.Linear(width, self.bins)
        nn.init.zeros_(self.pooled.weight)
        nn.init.zeros_(self.pooled.bias)
        if axis is not None:
            samples = axis.pixels * axis.samples
            self.norm = nn.LayerNorm(width)
            self.unfold = nn.Linear(width, axis.per_token * axis.patch * axis.samples * templates)
            self.kernel = nn.Parameter(0.02 * torch.randn(templates, samples + self.bins))

    def extra_repr(self) -> str:
        """Number of bins and their width, for `repr`."""
        return f"bins={self.bins}, step={self.step:.2e}"

    def forward(self, tokens: Tensor, pooled: Tensor) -> Tensor:
        """Compute logits [B, bins] float32 from tokens [B, T, D] in raster order and pooled features [B, D]."""
        logits: Tensor = self.pooled(pooled).float()
        if self.axis is None:
            return logits
        features = self._sequence(self.unfold(self.norm(tokens))).float()
        evidence: Tensor = _Correlation.apply(features, self.kernel.float())
        return logits + _EVIDENCE_SCALE * evidence

    def _sequence(self, unfolded: Tensor) -> Tensor:
        """Rearrange unfolded tokens [B, T, ...] to features along the axis, [B, templates, samples]."""
        a = self.axis
        assert a is not None
        unfolded = unfolded.unflatten(2, (a.per_token, a.patch * a.samples, self.templates))
        grid = a.by_segment(unfolded).mean(2).transpose(2, 3)  # average the tokens that show the same segments
        return grid.reshape(unfolded.shape[0], -1, self.templates).transpose(1, 2)

    @property
    def centres(self) -> Tensor:
        """Bin centres in ln(1 + z), [bins] float64."""
        return _LOWEST + self.step * torch.arange(self.bins, dtype=torch.float64)

    def loss(self, logits: Tensor, z: Tensor) -> Tensor:
        """Cross-entropy [B] with a target that divides its weight linearly between the two bins around z [B]."""
        position = ((torch.log1p(z.double()) - _LOWEST) / self.step).clamp(0.0, self.bins - 1.001)
        below = position.floor().to(torch.int64)
        fraction = (position - below).to(logits.dtype)
        log_p = functional.log_softmax(logits, 1)
        at = log_p.gather(1, torch.stack((below, below + 1), 1))
        return -(at[:, 0] * (1.0 - fraction) + at[:, 1] * fraction)

    def coarse_probabilities(self, logits: Tensor) -> Tensor:
        """Probabilities of the coarse redshift bins, [B, len(COARSE_EDGES) + 1], as an input of other heads."""
        below = functional.pad(logits.softmax(1).cumsum(1), (1, 0))
        return below[:, self.bounds].diff(dim=1)

    def adapt_weights(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Adapt the weights of a head with another redshift range; redshifts that it lacks keep this head's weights."""
        adapted = {name: tensor.clone() for name, tensor in self.state_dict().items()}
        for name in adapted.keys() & weights.keys():
            if name.startswith("pooled."):
                shared = min(len(adapted[name]), len(weights[name]))
                adapted[name][:shared] = weights[name][:shared]
            elif name == "kernel":  # it starts with the bluest rest wavelengths, which only the highest redshifts reach
                shared = min(adapted[name].shape[1], weights[name].shape[1])
                adapted[name][:, -shared:] = weights[name][:, -shared:]
            else:
                adapted[name] = weights[name]
        return adapted

    def distribution(self, logits: Tensor) -> "RedshiftDistribution":
        """Return the distributions that logits [B, bins] describe."""
        return RedshiftDistribution(logits.double().softmax(1), self.step)


class RedshiftDistribution:
    """Continuous distributions over z, from the probabilities of bins of ln(1 + z).

    The peak around the most probable bin is modelled as a normal distribution in ln(1 + z), which can be narrower than
    a bin. Outside the peak, the probability of each bin is spread uniformly over its width.

    Parameters
    ----------
    p : Tensor [B, bins] float64
        Probabilities of the bins.
    step : float
        Bin width in ln(1 + z).
    lowest : float
        Centre of the first bin in ln(1 + z).
    near : int
        Number of bins on each side of the most probable one that belong to the peak.
    peak : (Tensor, Tensor), optional
        Mean and standard deviation of the peaks in bins, each [B, 1]. By default it is the mean of the bins of the
        peak, and the standard deviation that follows from their variance (see `_peak_sigma`).

    Attributes
    ----------
    z : Tensor [B] float64
        Redshift at the mean of the peak.
    at_edge : Tensor [B] bool
        Whether the most probable bin is the first or the last.
    """

    def __init__(
        self,
        p: Tensor,
        step: float,
        lowest: float = _LOWEST,
        *,
        near: int = _NEAR,
        peak: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        self._p, self._step, self._lowest, bins = p, step, lowest, p.shape[1]
        self._near = min(near, (bins - 1) // 2)
        best = p.argmax(1, keepdim=True)
        self._first = (best - self._near).clamp(0, bins - 2 * self._near - 1)
        index = self._first + torch.arange(2 * self._near + 1, device=p.device)
        weights = p.gather(1, index)
        self._peak = weights.sum(1, keepdim=True)
        if peak is None:
            mean = (weights * index).sum(1, keepdim=True) / self._peak
            variance = (weights * (index - mean) ** 2).sum(1, keepdim=True) / self._peak
            peak = mean, _peak_sigma(variance, mean)
        self._mean, self._sigma = peak
        self._total = p.cumsum(1)
        self._before = self._total.gather(1, self._first) - p.gather(1, self._first)
        self.z = self._redshift(self._mean)[:, 0]
        self.at_edge = ((best == 0) | (best == bins - 1))[:, 0]

    def _redshift(self, position: Tensor) -> Tensor:
        return torch.expm1(self._lowest + self._step * position)

    @property
    def sigma(self) -> Tensor:
        """Standard deviation [B] of the peak in ln(1 + z)."""
        return self._step * self._sigma[:, 0]

    def widened(self, floor: float) -> "RedshiftDistribution":
        """The distributions after an independent error with the standard deviation `floor` in ln(1 + z) is added."""
        peak = self._mean, torch.hypot(self._sigma, torch.full_like(self._sigma, floor / self._step))
        return RedshiftDistribution(self._p, self._step, self._lowest, near=self._near, peak=peak)

    def quantile(self, q: Tensor) -> Tensor:
        """Quantiles [B, K] of the distributions for the probabilities q [B, K]."""
        bin_of = torch.searchsorted(self._total, q.contiguous()).clamp(max=self._p.shape[1] - 1)
        height = self._p.gather(1, bin_of)
        part = (q - self._total.gather(1, bin_of) + height) / height.clamp(min=1e-300)
        outside = bin_of + part.clamp(0.0, 1.0) - 0.5
        within = torch.special.ndtri(((q - self._before) / self._peak).clamp(1e-9, 1.0 - 1e-9))
        low, high = self._first - 0.5, self._first + 2 * self._near + 0.5
        inside = torch.minimum(torch.maximum(self._mean + self._sigma * within, low), high)
        # The sum of the probabilities can reach 1 within the peak, as it is rounded.
        outside = torch.where(q > self._before, torch.maximum(outside, high), torch.minimum(outside, low))
        return self._redshift(torch.where((q > self._before) & (q < self._before + self._peak), inside, outside))

    def cdf(self, z: Tensor) -> Tensor:
        """Cumulative probabilities [B, K] at z [B, K], the inverse of `quantile`. NaN gives NaN."""
        position = (torch.log1p(z.double()) - self._lowest) / self._step
        bin_of = (position + 0.5).nan_to_num(0.0).floor().clamp(0, self._p.shape[1] - 1).to(torch.int64)
        height = self._p.gather(1, bin_of)
        outside = self._total.gather(1, bin_of) - height * (1.0 - (position + 0.5 - bin_of).clamp(0.0, 1.0))
        normal = torch.special.ndtr((position - self._mean) / self._sigma.clamp(min=1e-12))
        low, high = self._first - 0.5, self._first + 2 * self._near + 0.5
        inside = (self._before + self._peak * normal).clamp(max=1.0)  # a sum that may round above
        return torch.where((position > low) & (position < high), inside, outside)

    def within(self, limit: Tensor) -> Tensor:
        """Probability [B] that the true redshift differs from `z` by |dz| / (1 + z) <= limit [B]."""
        width = limit * (1.0 + self.z)
        below, above = self.cdf(torch.stack((self.z - width, self.z + width), 1)).unbind(1)
        return (above - below).clamp(0.0, 1.0)


def _peak_sigma(variance: Tensor, mean: Tensor) -> Tensor:
    r"""Infer the standard deviation, in bins, of a normal distribution from the variance of its bins.

    The training target divides its weight between the two bins around z. A value at a fraction t of the way from one
    bin to the next therefore adds a variance of t (1 - t). Averaged over a normal distribution this is

    .. math:: h(\sigma) = 1/6 - \sum_m \cos(2 \pi m \mu) \exp(-2 \pi^2 m^2 \sigma^2) / (\pi m)^2

    (from the Fourier series of t (1 - t)). sigma solves variance = sigma^2 + h(sigma), which is done by bisection.
    """
    m = torch.arange(1, 9, dtype=mean.dtype, device=mean.device)
    low, high = torch.zeros_like(variance), (variance + 1.0).sqrt()
    for _ in range(40):
        sigma = 0.5 * (low + high)
        series = torch.cos(2 * math.pi * m * mean) * torch.exp(-2 * (math.pi * m * sigma) ** 2) / (math.pi * m) ** 2
        too_wide = sigma**2 + 1.0 / 6.0 - series.sum(-1, keepdim=True) > variance
        low, high = torch.where(too_wide, low, sigma), torch.where(too_wide, sigma, high)
    return 0.5 * (low + high)
