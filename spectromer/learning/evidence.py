r"""Redshifts by all evidence: the model's distribution as a prior, and the chi-square of templates as a likelihood.

For a spectrum of class c, the probability of the redshift z on the grid of the templates of c is

.. math:: p(z) \propto p_{model}(z) \, \exp(-\chi^2_c(z) / 2 T), \qquad T = f_c \max(1, \chi^2_{min} / n),

with n degrees of freedom. Where the best fit has a chi-square above n, the errors are taken to be too small, as usual.
The factor f, 16 for quasars and 4 for other classes, allows for what a few templates cannot fit. On real spectra of
SDSS and LAMOST, factors from 4 to 32 for quasars and from 2 to 8 for galaxies give redshifts that are right equally
often (docs/results.md).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from spectromer.learning.metrics import catastrophic_limits
from spectromer.learning.redshift import RedshiftDistribution, RedshiftHead
from spectromer.ops.scan import scan_redshift
from spectromer.spectra import SpectrumBatch
from spectromer.templates import TemplateSet, load

__all__ = ["SCAN_FLAGS", "Group", "Scans", "grouped", "package_templates", "posterior", "scan"]

#: Bits of `z_scan_flag`. UNSURE: the scan is in doubt (see `RedshiftScan.flag`). DISAGREES: z_scan differs from the
#: model's own redshift by more than the limit above which a redshift is catastrophic.
SCAN_FLAGS = {"UNSURE": 1, "DISAGREES": 2}
T = TypeVar("T", str, tuple[str, str])
_FACTOR = {"QSO": 16.0}  # f of each class
_OTHER_FACTOR = 4.0
_ANYWHERE = 1e-5  # probability that the redshift is anywhere in the range of the templates, whatever the model says


class Group(NamedTuple):
    """The redshift distributions of the spectra of one class from one survey.

    Attributes
    ----------
    name : str
        The class.
    survey : str
        The survey.
    rows : Tensor [n] int64
        Their rows in the batch.
    distribution : RedshiftDistribution
        The distributions.
    """

    name: str
    survey: str
    rows: Tensor
    distribution: RedshiftDistribution


@dataclass
class Scans:
    """The scans of B spectra, each with the templates of its class, or with all templates if its class has none.

    Attributes
    ----------
    z, z_err : Tensor [B] float64
        As in `RedshiftScan`.
    unsure : Tensor [B] bool
        The flags of the scans.
    curves : dict
        For each class with templates, the rows of its n spectra in ascending order, their chi-square above the minimum
        [n, S], and the minima divided by the degrees of freedom [n].
    """

    z: Tensor
    z_err: Tensor
    unsure: Tensor
    curves: dict[str, tuple[Tensor, Tensor, Tensor]]

    def columns(self, classes: Sequence[str], own: Tensor) -> dict[str, np.ndarray]:
        """z_scan and z_scan_err, NaN where the scan has no answer, and z_scan_flag, given the model's own z [B]."""
        differ = (self.z - own).abs() > catastrophic_limits(classes) * (1.0 + own)
        flags = SCAN_FLAGS["UNSURE"] * self.unsure + SCAN_FLAGS["DISAGREES"] * differ
        return {"z_scan": self.z.numpy(), "z_scan_err": self.z_err.numpy(), "z_scan_flag": flags.numpy()}


@lru_cache(maxsize=1)
def package_templates() -> tuple[TemplateSet, ...]:
    """The package's templates, which are read once and not for every batch."""
    return load()


def grouped(values: Sequence[T]) -> Iterator[tuple[T, Tensor]]:
    """The rows of each value that occurs, in ascending order."""
    for value in sorted(set(values)):
        yield value, torch.tensor([i for i, one in enumerate(values) if one == value], dtype=torch.int64)


def scan(batch: SpectrumBatch, classes: Sequence[str], templates: Sequence[TemplateSet]) -> Scans:
    """Scan each spectrum with the templates of its class. A class without templates, such as "", is tried with all."""
    sets = {one.name: one for one in templates}
    z, z_err = torch.full((2, len(batch)), torch.nan, dtype=torch.float64)
    unsure, curves = torch.ones(len(batch), dtype=torch.bool), {}
    for name, rows in grouped([kind if kind in sets else "" for kind in classes]):
        own = sets.get(name)
        found = scan_redshift(batch.select(rows.tolist()), templates=own or tuple(templates), curves=own is not None)
        z[rows], z_err[rows], unsure[rows] = found.z.cpu(), found.z_err.cpu(), found.flag.cpu()
        if found.curves is not None:
            least, dof = found.set_chi2[:, :1].double(), found.dof.clamp(min=1)
            above = torch.where(least.isfinite(), found.curves[0] - least, 0.0)  # nothing is learnt without an answer
            reduced = torch.where(least[:, 0].isfinite(), least[:, 0] / dof, 1.0)
            curves[name] = (rows, above.cpu(), reduced.cpu())
    return Scans(z, z_err, unsure, curves)


def posterior(
    head: RedshiftHead, logits: Tensor, templates: TemplateSet, above: Tensor, reduced: Tensor
) -> RedshiftDistribution:
    """Combine a head's calibrated logits [n, bins] with chi-square above its minimum [n, S] to distributions.

    `reduced` [n] are the minima divided by the degrees of freedom.
    """
    axis = torch.log1p(templates.z)
    place = ((axis - head.lowest) / head.step).clamp(-1.0, head.bins)
    below = place.floor().clamp(0, head.bins - 2).to(torch.int64)
    part = place - below
    p = logits.double().softmax(1)
    prior = p[:, below] * (1.0 - part) + p[:, below + 1] * part
    prior = torch.where((place >= 0) & (place <= head.bins - 1), prior, 0.0) * templates.ln_step / head.step
    prior = (1.0 - _ANYWHERE) * prior + _ANYWHERE / len(axis)
    factor = _FACTOR.get(templates.name, _OTHER_FACTOR)
    log_p = prior.log() - 0.5 * above / (factor * reduced.clamp(min=1.0))[:, None]

    p = log_p.softmax(1)
    near = math.floor(float(catastrophic_limits([templates.name])) / templates.ln_step)
    return RedshiftDistribution(p, templates.ln_step, float(axis[0]), near=near, peak=_peak(log_p, p, near))


def _peak(log_p: Tensor, p: Tensor, near: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation in bins, each [n, 1], of the peak around the most probable bin of samples [n, S].

    They are those of the bins within `near` of it if the peak is wider than a bin. Otherwise they follow from the
    parabola through the logarithms of three values.
    """
    ends = p.shape[1] - 1
    best = p.argmax(1, keepdim=True)
    index = best + torch.arange(-near, near + 1)
    weights = p.gather(1, index.clamp(0, ends)) * ((index >= 0) & (index <= ends))
    total = weights.sum(1, keepdim=True)
    mean = (weights * index).sum(1, keepdim=True) / total
    variance = (weights * (index - mean) ** 2).sum(1, keepdim=True) / total

    left, middle, right = (log_p.gather(1, (best + i).clamp(0, ends)) for i in (-1, 0, 1))
    curvature = torch.where((best > 0) & (best < ends), 2.0 * middle - left - right, 0.0)
    curved = curvature > 0
    safe = torch.where(curved, curvature, 1.0)
    offset = torch.where(curved, (0.5 * (right - left) / safe).clamp(-1.0, 1.0), 0.0)
    narrow = variance < 1.0
    return torch.where(narrow, best + offset, mean), torch.where(narrow, safe.rsqrt(), variance.sqrt())
