"""A second redshift of each spectrum, measured with templates and independent of the model."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from spectromer.learning.calibration import catastrophic_limits
from spectromer.ops.scan import scan_redshift
from spectromer.spectra import SpectrumBatch
from spectromer.templates import TemplateSet, load

__all__ = ["SCAN_FLAGS", "scan_columns"]

#: Bits of `z_scan_flag`. UNSURE: the scan is in doubt (see `RedshiftScan.flag`). DISAGREES: z and z_scan differ by more
#: than the limit above which a redshift is catastrophic.
SCAN_FLAGS = {"UNSURE": 1, "DISAGREES": 2}


@lru_cache(maxsize=1)
def _sets() -> dict[str, TemplateSet]:
    """The package's sets by name, which are read once and not for every batch."""
    return {one.name: one for one in load()}


def scan_columns(batch: SpectrumBatch, classes: Sequence[str], z: Tensor) -> dict[str, np.ndarray]:
    """Measure the redshift of each spectrum with the package's templates of its class.

    Parameters
    ----------
    batch : SpectrumBatch [B]
    classes : sequence of str
        The predicted class of each spectrum. A spectrum whose class has no templates, such as "", is scanned with all
        templates.
    z : Tensor [B]
        The model's redshifts.

    Returns
    -------
    dict of ndarray [B]
        z_scan and z_scan_err, NaN where the scan has no answer, and z_scan_flag.
    """
    sets = _sets()
    found = {name: torch.full((len(batch),), torch.nan, dtype=torch.float64) for name in ("z", "z_err")}
    unsure = torch.ones(len(batch), dtype=torch.bool)
    known = [name if name in sets else "" for name in classes]
    for name in sorted(set(known)):
        rows = [i for i, one in enumerate(known) if one == name]
        scan = scan_redshift(batch.select(rows), templates=sets.get(name, tuple(sets.values())))
        for column, values in found.items():
            values[rows] = getattr(scan, column).cpu()
        unsure[rows] = scan.flag.cpu()
    z = z.double().cpu()
    differ = (found["z"] - z).abs() > catastrophic_limits(classes) * (1.0 + z)
    return {
        "z_scan": found["z"].numpy(),
        "z_scan_err": found["z_err"].numpy(),
        "z_scan_flag": (SCAN_FLAGS["UNSURE"] * unsure + SCAN_FLAGS["DISAGREES"] * differ).numpy(),
    }
