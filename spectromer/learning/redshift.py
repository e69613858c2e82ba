"""Redshift as a distribution: a head that cross-correlates, and the numbers of what it finds."""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from spectromer.picture import Picture

__all__ = ["STRETCHES", "LogAxis", "RedshiftDistribution", "RedshiftHead"]

#: Below any velocity of a star: the lowest ln(1 + z) told apart.
_LOWEST = -0.01
_EVIDENCE = 0.1  # keeps the sum over thousands of terms from outrunning the other heads while it is learnt
_OWN_STEP = 1e-3  # of ln(1 + z) where the image has no fixed wavelength axis to take it from
_FINE = 5e-4  # 150 km/s: of ln(1 + z) from bin to bin; finer ones bring nothing
#: Bounds of ln(1 + z): stars, whatever their velocity, have one stretch for themselves.
STRETCHES = (-0.003, 0.003, *(0.01 * 1.35**i for i in range(18)))
_NEAR = 3  # bins to either side of the most probable one that belong to its peak


@dataclass(frozen=True)
class LogAxis:
    """Where an image's tokens lie on a fixed logarithmic wavelength axis.

    Attributes
    ----------
    rows, columns : int
        Of the token grid.
    panels : int
        Segments of the axis: panels, or the rows of squares of a folded picture.
    stacked : bool
        Whether the segments lie under one another (else they are channels).
    patch : int
        Columns of pixels, or of squares, per token.
    step : float
        ln(wavelength) per column.
    samples : int
        Of a redshift per column: those of bright objects are good to a fraction of one.
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
        """Columns from the axis's start to its end."""
        return self.panels * self.columns * self.patch

    @property
    def per_token(self) -> int:
        """Segments that a token shows a part of."""
        return max(1, self.panels // self.rows) if self.stacked else self.panels

    def by_segment(self, values: Tensor) -> Tensor:
        """Values of tokens in raster order [B, rows * columns, ...] by segments that no two of these groups share.

        Returns
        -------
        Tensor [B, panels / per_token, tokens, columns, ...]
            The tokens one under another that show the same segments.
        """
        groups = self.panels // self.per_token
        return values.reshape(values.shape[0], groups, self.rows // groups, self.columns, *values.shape[2:])

    def along(self, share: Tensor) -> Tensor:
        """Sums of values per token [B, T] over the tokens that show each stretch of the axis, [B, stretches]."""
        grouped = self.by_segment(share).sum(2)
        return grouped[:, :, None].expand(-1, -1, self.per_token, -1).reshape(share.shape[0], -1)

    @classmethod
    def of(cls, picture: Picture, grid: tuple[int, int], patch: int) -> "LogAxis | None":
        """The axis of a picture cut in a grid of patches; None where a pixel means no one wavelength."""
        (rows, columns), block = grid, picture.block or 1
        if picture.wavelength_range is None or picture.axis != "log" or columns * patch != picture.size:
            return None
        folded = picture.block is not None
        if folded and (patch % block or picture.order != "standard"):
            return None
        panels = picture.size // block if folded else picture.panels
        if picture.stacked and rows % panels and panels % rows:
            return None
        low, high = picture.wavelength_range
        step = math.log(high / low) / (panels * columns * patch // block)
        return cls(rows, columns, panels, picture.stacked, patch // block, step, samples=2 if step > _FINE else 1)


class RedshiftHead(nn.Module):
    r"""A distribution over ln(1 + z), from a learnt cross-correlation of the tokens along the wavelength axis.

    On a logarithmic axis a redshift is a shift: :math:`\ln\lambda_{obs} = \ln\lambda_{rest} + \ln(1+z)`. Each token is
    unfolded into features of its pixel columns (two samples each), so that the spectrum is a sequence :math:`f_c(p)`
    again, and the evidence for shift k is :math:`\sum_{c,p} f_c(p) K_c(p - k)` with learnt templates K over rest
    wavelengths, as pipelines cross-correlate with theirs (Tonry & Davis 1979), in one FFT. What is no shift, the
    pooled features say directly. Without such an axis they alone do.

    Parameters
    ----------
    width : int
        Features per token.
    axis : LogAxis, optional
    highest : float
        The highest z told apart.
    step : float, optional
        ln(1 + z) from bin to bin where there is no axis.
    templates : int
        Number of features c.
    """

    def __init__(
        self, width: int, axis: LogAxis | None, highest: float, step: float | None = None, templates: int = 8
    ) -> None:
        super().__init__()
        self.axis, self.templates = axis, templates
        self.step = axis.step / axis.samples if axis is not None else step or _OWN_STEP
        self.bins = math.ceil((math.log1p(highest) - _LOWEST) / self.step) + 1
        self.pooled = nn.Linear(width, self.bins)
        nn.init.zeros_(self.pooled.weight)
        nn.init.zeros_(self.pooled.bias)
        if axis is not None:
            samples = axis.pixels * axis.samples
            self.norm = nn.LayerNorm(width)
            self.unfold = nn.Linear(width, axis.per_token * axis.patch * axis.samples * templates)
            self.kernel = nn.Parameter(0.02 * torch.randn(templates, samples + self.bins))
            self.fft = 1 << (2 * samples + self.bins).bit_length()

    def extra_repr(self) -> str:
        """How many bins, how wide."""
        return f"bins={self.bins}, step={self.step:.2e}"

    def forward(self, tokens: Tensor, pooled: Tensor) -> Tensor:
        """Tokens [B, T, D] in raster order and pooled features [B, D] to logits [B, bins] float32."""
        logits: Tensor = self.pooled(pooled).float()
        if self.axis is None:
            return logits
        features = self._sequence(self.unfold(self.norm(tokens))).float()
        with torch.autocast(tokens.device.type, enabled=False):
            spectrum = torch.fft.rfft(features, self.fft)
            kernel = torch.fft.rfft(self.kernel.float(), self.fft)
            shifted = torch.fft.irfft((spectrum * kernel.conj()).sum(1), self.fft)
        # Entry m holds sum_p f(p) K(p - m); kernel index p - k + bins, never negative, is rest position p - k.
        evidence: Tensor = shifted[:, -self.bins :]
        return logits + _EVIDENCE * evidence

    def _sequence(self, unfolded: Tensor) -> Tensor:
        """Unfolded tokens [B, T, ...] to features along the axis [B, templates, samples]."""
        a = self.axis
        assert a is not None
        unfolded = unfolded.unflatten(2, (a.per_token, a.patch * a.samples, self.templates))
        grid = a.by_segment(unfolded).mean(2).transpose(2, 3)  # tokens that show the same are averaged
        return grid.reshape(unfolded.shape[0], -1, self.templates).transpose(1, 2)

    @property
    def centres(self) -> Tensor:
        """ln(1 + z) of the bins, [bins] float64."""
        return _LOWEST + self.step * torch.arange(self.bins, dtype=torch.float64)

    def loss(self, logits: Tensor, z: Tensor) -> Tensor:
        """Cross-entropy [B] with z's weight shared between the two bins around it."""
        position = ((torch.log1p(z.double()) - _LOWEST) / self.step).clamp(0.0, self.bins - 1.001)
        below = position.floor().to(torch.int64)
        share = (position - below).to(logits.dtype)
        log_p = functional.log_softmax(logits, 1)
        at = log_p.gather(1, torch.stack((below, below + 1), 1))
        return -(at[:, 0] * (1.0 - share) + at[:, 1] * share)

    def coarse(self, logits: Tensor) -> Tensor:
        """Probabilities of a few wide stretches of ln(1 + z), [B, len(STRETCHES) + 1], for other heads to read."""
        bounds = ((torch.tensor(STRETCHES) - _LOWEST) / self.step).round().long().clamp(0, self.bins).tolist()
        parts = logits.softmax(1).split([b - a for a, b in pairwise([0, *bounds, self.bins])], 1)
        return torch.stack([part.sum(1) for part in parts], 1)

    def following(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """The weights of a head that tells other redshifts apart, for those that both do, and this one's own beyond."""
        own = {name: tensor.clone() for name, tensor in self.state_dict().items()}
        for name in own.keys() & weights.keys():
            if name.startswith("pooled."):
                shared = min(len(own[name]), len(weights[name]))
                own[name][:shared] = weights[name][:shared]
            elif name == "kernel":  # the highest redshifts are the bluest rest wavelengths: at its start
                shared = min(own[name].shape[1], weights[name].shape[1])
                own[name][:, -shared:] = weights[name][:, -shared:]
            else:
                own[name] = weights[name]
        return own

    def distribution(self, logits: Tensor) -> "RedshiftDistribution":
        """What logits [B, bins] say."""
        return RedshiftDistribution(logits.double().softmax(1), self.step)


class RedshiftDistribution:
    """Distributions over z: probabilities of bins of ln(1 + z), made continuous.

    Around the most probable bin stands a normal distribution, with the mean and the variance that the bins there have
    from it (see `_peak_sigma`: it can be narrower than a bin); elsewhere each bin's probability is spread evenly over
    its width.

    Parameters
    ----------
    p : Tensor [B, bins] float64
    step : float
        Of ln(1 + z), from bin to bin.

    Attributes
    ----------
    z : Tensor [B] float64
        The mean of the peak.
    at_edge : Tensor [B] bool
        Whether the most probable bin is the first or the last.
    """

    def __init__(self, p: Tensor, step: float) -> None:
        self._p, self._step, bins = p, step, p.shape[1]
        best = p.argmax(1, keepdim=True)
        self._first = (best - _NEAR).clamp(0, bins - 2 * _NEAR - 1)
        index = self._first + torch.arange(2 * _NEAR + 1, device=p.device)
        share = p.gather(1, index)
        self._peak = share.sum(1, keepdim=True)
        self._mean = (share * index).sum(1, keepdim=True) / self._peak
        variance = (share * (index - self._mean) ** 2).sum(1, keepdim=True) / self._peak
        self._sigma = _peak_sigma(variance, self._mean)
        self._total = p.cumsum(1)
        self._before = self._total.gather(1, self._first) - p.gather(1, self._first)
        self.z = self._redshift(self._mean)[:, 0]
        self.at_edge = ((best == 0) | (best == bins - 1))[:, 0]

    def _redshift(self, position: Tensor) -> Tensor:
        return torch.expm1(_LOWEST + self._step * position)

    def quantile(self, q: Tensor) -> Tensor:
        """Redshifts below which the shares q [B, K] of the distributions lie, [B, K]."""
        bin_of = torch.searchsorted(self._total, q.contiguous()).clamp(max=self._p.shape[1] - 1)
        height = self._p.gather(1, bin_of)
        part = (q - self._total.gather(1, bin_of) + height) / height.clamp(min=1e-300)
        outside = bin_of + part.clamp(0.0, 1.0) - 0.5
        within = torch.special.ndtri(((q - self._before) / self._peak).clamp(1e-9, 1.0 - 1e-9))
        low, high = self._first - 0.5, self._first + 2 * _NEAR + 0.5
        inside = torch.minimum(torch.maximum(self._mean + self._sigma * within, low), high)
        return self._redshift(torch.where((q > self._before) & (q < self._before + self._peak), inside, outside))

    def cdf(self, z: Tensor) -> Tensor:
        """Shares [B, K] of the distributions below z [B, K], NaN where that is NaN: the inverse of `quantile`."""
        position = (torch.log1p(z.double()) - _LOWEST) / self._step
        bin_of = (position + 0.5).nan_to_num(0.0).floor().clamp(0, self._p.shape[1] - 1).to(torch.int64)
        height = self._p.gather(1, bin_of)
        outside = self._total.gather(1, bin_of) - height * (1.0 - (position + 0.5 - bin_of).clamp(0.0, 1.0))
        normal = torch.special.ndtr((position - self._mean) / self._sigma.clamp(min=1e-12))
        low, high = self._first - 0.5, self._first + 2 * _NEAR + 0.5
        return torch.where((position > low) & (position < high), self._before + self._peak * normal, outside)

    def within(self, limit: Tensor) -> Tensor:
        """Probability [B] that the true redshift is within |dz| / (1 + z) <= limit [B] of `z`."""
        width = limit * (1.0 + self.z)
        below, above = self.cdf(torch.stack((self.z - width, self.z + width), 1)).unbind(1)
        return (above - below).clamp(0.0, 1.0)


def _peak_sigma(variance: Tensor, mean: Tensor) -> Tensor:
    r"""Standard deviation of a normal distribution, in bins, from the variance that its bins have.

    Training shares z between the two bins around it, so that a value t of the way from one bin to the next leaves
    them a variance of t (1 - t) of its own. Averaged over a normal distribution that is

    .. math:: h(\sigma) = 1/6 - \sum_m \cos(2 \pi m \mu) \exp(-2 \pi^2 m^2 \sigma^2) / (\pi m)^2

    (the Fourier series of t (1 - t)), and sigma solves variance = sigma^2 + h(sigma), found by bisection.
    """
    m = torch.arange(1, 9, dtype=mean.dtype, device=mean.device)
    low, high = torch.zeros_like(variance), (variance + 1.0).sqrt()
    for _ in range(40):
        sigma = 0.5 * (low + high)
        series = torch.cos(2 * math.pi * m * mean) * torch.exp(-2 * (math.pi * m * sigma) ** 2) / (math.pi * m) ** 2
        too_wide = sigma**2 + 1.0 / 6.0 - series.sum(-1, keepdim=True) > variance
        low, high = torch.where(too_wide, low, sigma), torch.where(too_wide, sigma, high)
    return 0.5 * (low + high)
