"""A trained model that says what spectra are."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from astropy.table import Table, vstack
from rich.progress import track
from torch import Tensor

from spectromer.chunks import chunks
from spectromer.labels import CATEGORIES
from spectromer.learning.calibration import Calibration, catastrophic_limits
from spectromer.learning.design import Design
from spectromer.learning.encoder import ImageEncoder
from spectromer.learning.model import SpectrumModel
from spectromer.learning.specformer import SpecFormer, SpectrumToSequence
from spectromer.runs import RunFolder
from spectromer.shards.feeds import in_order
from spectromer.shards.store import ShardSet
from spectromer.spectra import Spectrum, SpectrumBatch
from spectromer.transforms import SpectrumToImage

__all__ = ["Z_FLAGS", "Predictor"]

#: What makes up `z_flag`: z is likely to be wrong; at the end of the redshifts told apart; the spectrum is like none of
#: training; it has no good pixel.
Z_FLAGS = {"UNSURE": 1, "EDGE": 2, "UNKNOWN": 4, "NO_DATA": 8}
_INTERVALS = {"z_lo95": 0.025, "z_lo68": 0.16, "z_hi68": 0.84, "z_hi95": 0.975}
_CRPS_STEPS = 50
_BATCH = 256


@dataclass
class Predictor:
    """A trained model with its transform and its calibration.

    Attributes
    ----------
    model : SpectrumModel
    design : Design
    transform : SpectrumToImage or SpectrumToSequence
    calibration : Calibration
    device : torch.device
    """

    model: SpectrumModel
    design: Design
    transform: SpectrumToImage | SpectrumToSequence
    calibration: Calibration
    device: torch.device

    @classmethod
    def load(
        cls, run: str | os.PathLike[str], device: str | None = None, calibration: Calibration | None = None
    ) -> "Predictor":
        """Load the best weights of a run folder, or what `python -m spectromer.export` made of it.

        Parameters
        ----------
        run : path-like
        device : str, optional
            By default the GPU where there is one.
        calibration : Calibration, optional
            Stands in for that of the run folder.

        Raises
        ------
        RunError
            When `run` is no finished run folder, or a file in it is damaged.
        """
        files = RunFolder(run)
        design, model = Design.load(files)
        if calibration is None:
            calibration = Calibration.load(files.find(files.calibration))
            features = 2 * len(_read_blocks(model.encoder)) * model.encoder.width
            calibration.check(files.calibration, design.targets, features)
        where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        return cls(model.to(where).eval(), design, design.transform(), calibration, where)

    @torch.no_grad()
    def outputs(self, batch: SpectrumBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """What the model reads [B, ...], on its device, and what it says, on the CPU.

        That is what `SpectrumModel.forward` gives, and `features` [B, F], which tell how typical a spectrum is: mean
        and standard deviation of the tokens after a quarter, a half and all of the transformer's blocks. The last
        block alone has forgotten what does not matter for its answers, and takes for usual what is not.
        """
        inputs = self.transform(batch.to(self.device))
        encoder, features = self.model.encoder, list[Tensor]()

        def keep(_: Any, __: Any, tokens: Tensor) -> None:
            tokens = tokens[:, encoder.prefix :].float()
            features.extend((tokens.mean(1), tokens.std(1)))

        hooks = [encoder.layers[i].register_forward_hook(keep) for i in _read_blocks(encoder)]
        try:
            out = self.model(inputs)
        finally:
            for hook in hooks:
                hook.remove()
        return inputs, {
            name: value.float().cpu() for name, value in (out | {"features": torch.cat(features, 1)}).items()
        }

    def collect(self, shards: ShardSet, rows: np.ndarray, title: str) -> dict[str, Tensor]:
        """What the model says of some rows, ascending; `title` stands beside the progress bar."""
        batches = track(in_order(shards, rows, _BATCH), title, total=-(-len(rows) // _BATCH))
        parts = [self.outputs(batch)[1] for batch in batches]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def predict(self, batch: SpectrumBatch, true_z: Tensor | None = None) -> Table:
        """What spectra are, one row each.

        Parameters
        ----------
        batch : SpectrumBatch
        true_z : Tensor [B], optional
            Redshifts to judge the distributions by.

        Returns
        -------
        Table
            id, survey. For class and subclass: the value, its probability (`class_prob`), all probabilities
            (`class_prob_STAR`). For z: the point estimate; z_err, half the width of the 68 % interval; z_lo68, z_hi68,
            z_lo95, z_hi95; z_prob, the probability that z is right to within 1000 km/s (quasars 3000 km/s); z_flag,
            the sum of `Z_FLAGS`, 0 where nothing is amiss. For teff, logg, feh: the number and its error (`teff_err`).
            typical, the share of held-out spectra that are as unlike the training's as this one, and unknown, where
            hardly any is. warning: a spectrum without a good pixel has NaN and empty columns and is told here. With
            `true_z`: z_crps, the continuous ranked probability score in ln(1 + z), and z_pit, the share of the
            distribution below the truth.
        """
        out = self.outputs(batch)[1]
        blank = ~(batch.ivar > 0).any(1).cpu().numpy()
        table = Table({"id": batch.ids, "survey": batch.surveys})
        typical, unknown = self.calibration.unknown(out["features"])
        targets = self.model.targets
        for name in targets.names:
            if name in CATEGORIES:
                self._add_category(table, name, self.calibration.probabilities(name, out[name]).numpy(), blank)
                continue
            if name == "z":
                numbers = self._redshifts(out, true_z)
                flag = numbers.pop("z_flag") + Z_FLAGS["UNKNOWN"] * unknown
            else:
                mean, sigma = self.model.head(name).estimate(out[name])
                numbers = {name: mean, f"{name}_err": sigma * self.calibration.sigma.get(name, 1.0)}
            for column, value in numbers.items():
                table[column] = np.where(blank, np.nan, value.double().numpy())
            if name == "z":
                table["z_flag"] = np.where(blank, Z_FLAGS["NO_DATA"], flag.numpy())
        table["typical"] = np.where(blank, np.nan, typical.numpy())
        table["unknown"] = unknown.numpy() & ~blank
        table["warning"] = np.where(blank, "no good pixel", "")
        return table

    def _redshifts(self, out: dict[str, Tensor], true_z: Tensor | None) -> dict[str, Tensor]:
        found = self.calibration.redshift(self.model, out["z"])
        classes = self.calibration.classes(self.model, out)
        bounds = found.quantile(self.calibration.levels(_INTERVALS.values(), classes))
        numbers = {"z": found.z} | dict(zip(_INTERVALS, bounds.unbind(1), strict=True))
        numbers["z_err"] = 0.5 * (numbers["z_hi68"] - numbers["z_lo68"])
        numbers["z_prob"] = found.within(catastrophic_limits(classes))
        unsure = numbers["z_prob"] < self.calibration.least
        numbers["z_flag"] = Z_FLAGS["UNSURE"] * unsure + Z_FLAGS["EDGE"] * found.at_edge
        if true_z is not None:
            # CRPS = 2 * integral over the shares q of the pinball loss of the quantile q (Gneiting & Ranjan 2011).
            q = (torch.arange(_CRPS_STEPS, dtype=torch.float64) + 0.5) / _CRPS_STEPS
            at = torch.log1p(found.quantile(self.calibration.levels(q.tolist(), classes)))
            miss = torch.log1p(true_z.double())[:, None] - at
            numbers["z_crps"] = 2.0 * torch.maximum(q * miss, (q - 1.0) * miss).mean(1)
            numbers["z_pit"] = found.cdf(true_z[:, None])[:, 0]
        return numbers

    def _add_category(self, table: Table, name: str, p: np.ndarray, blank: np.ndarray) -> None:
        """Columns of one category from its probabilities [B, values]: value, its probability, all probabilities.

        A subclass is one that its spectrum's class has.
        """
        targets = self.model.targets
        values = np.array(targets.vocabulary[name])
        allowed = np.ones(p.shape, dtype=bool)
        if name == "subclass" and targets.subclasses and "class" in table.colnames:
            fitting = {kind: np.isin(values, found) for kind, found in targets.subclasses.items()}
            allowed = np.array([fitting.get(kind, np.zeros(len(values), bool)) for kind in table["class"]])
            allowed = allowed.reshape(p.shape)
        p = np.where(allowed, p, 0.0)
        total = p.sum(1, keepdims=True)
        p = np.where(blank[:, None] | (total == 0), np.nan, p / np.where(total == 0, 1.0, total))
        best = np.nan_to_num(p, nan=-1.0).argmax(1)
        table[name] = np.where(np.isnan(p[:, 0]), "", values[best])
        table[f"{name}_prob"] = p[np.arange(len(p)), best]
        for i, value in enumerate(values):
            table[f"{name}_prob_{value}"] = p[:, i]

    def predict_all(self, spectra: Iterable[Spectrum], batch_size: int = 256) -> Table:
        """Predict any number of spectra, batch by batch."""
        return self.predict_batches(map(SpectrumBatch.from_spectra, chunks(spectra, batch_size)))

    def predict_batches(self, batches: Iterable[SpectrumBatch]) -> Table:
        """Predict any number of batches."""
        parts = [self.predict(batch) for batch in batches]
        return vstack(parts, metadata_conflicts="silent") if parts else Table()


def _read_blocks(encoder: ImageEncoder | SpecFormer) -> list[int]:
    """The blocks of a transformer whose tokens give the features: after a quarter, a half and all of them."""
    depth = len(encoder.layers)
    return sorted({max(1, depth // 4) - 1, max(1, depth // 2) - 1, depth - 1})
