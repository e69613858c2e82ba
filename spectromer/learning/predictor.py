"""Prediction of labels with a trained model."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from astropy.table import Table, vstack
from rich.progress import track
from torch import Tensor

from spectromer.chunks import chunks
from spectromer.forms import batch_of
from spectromer.labels import CATEGORIES
from spectromer.learning.calibration import Calibration
from spectromer.learning.columns import describe_columns
from spectromer.learning.coverage import NO_GOOD_PIXEL, range_warnings
from spectromer.learning.design import Design
from spectromer.learning.devices import has_gpu
from spectromer.learning.encoder import ImageEncoder
from spectromer.learning.evidence import Group, package_templates
from spectromer.learning.evidence import scan as scan_classes
from spectromer.learning.intervals import Intervals
from spectromer.learning.metrics import catastrophic_limits
from spectromer.learning.model import SpectrumModel
from spectromer.learning.specformer import SpecFormer, SpectrumToSequence
from spectromer.learning.zoo import find_model
from spectromer.runs import RunFolder
from spectromer.shards.batches import in_order
from spectromer.shards.store import ShardSet
from spectromer.spectra import Spectrum, SpectrumBatch
from spectromer.templates import TemplateSet
from spectromer.transforms import SpectrumToImage

__all__ = ["Z_FLAGS", "Predictor"]

#: Bits of `z_flag`: z may be wrong; z lies at the end of the model's range of redshifts; the spectrum resembles no
#: training spectrum; the spectrum has no good pixel at the wavelengths that the model reads.
Z_FLAGS = {"UNSURE": 1, "EDGE": 2, "UNKNOWN": 4, "NO_DATA": 8}
_INTERVALS = {"z_lo95": 0.025, "z_lo68": 0.16, "z_hi68": 0.84, "z_hi95": 0.975}
_CRPS_STEPS = 50
_BATCH = 256
_ANY_RANGE = (4000.0, 9000.0)  # Angstrom; wavelengths of no meaning


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
    templates : tuple of TemplateSet
        The templates of the scan.
    """

    model: SpectrumModel
    design: Design
    transform: SpectrumToImage | SpectrumToSequence
    calibration: Calibration
    device: torch.device
    templates: tuple[TemplateSet, ...] = field(default_factory=package_templates)

    @classmethod
    def load(
        cls,
        run: str | os.PathLike[str] | None = None,
        device: str | None = None,
        calibration: Calibration | None = None,
        templates: Sequence[TemplateSet] | None = None,
    ) -> "Predictor":
        """Load a trained model.

        Parameters
        ----------
        run : str or path-like, optional
            A run folder; a folder written by `python -m spectromer.export`; or the name
            of a model, see `spectromer.learning.zoo.find_model`. The default is the default model of the package.
        device : str, optional
            The device of the model; by default the GPU, if there is one.
        calibration : Calibration, optional
            A calibration that replaces that of the run folder.
        templates : sequence of TemplateSet, optional
            The templates of the scan. The default is those of the package.

        Raises
        ------
        RunError
            When `run` is not the folder of a finished run, a file in it is damaged, or a model cannot be downloaded.
        """
        files = RunFolder(find_model(run))
        design, model = Design.load(files)
        if calibration is None:
            calibration = Calibration.load(files.find(files.calibration))
            features = 2 * len(_read_blocks(model.encoder)) * model.encoder.width
            calibration.check(files.calibration, design.targets, features)
        where = torch.device(device or ("cuda" if has_gpu() else "cpu"))
        sets = package_templates() if templates is None else tuple(templates)
        return cls(model.to(where).eval(), design, design.transform(), calibration, where, sets)

    @torch.no_grad()
    def outputs(self, batch: SpectrumBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """The model's input [B, ...] on its device, and its outputs on the CPU.

        The outputs are those of `SpectrumModel.forward` and the `features` [B, F] from which `Typicality` is computed:
        mean and standard deviation of the tokens after a quarter, a half and all of the transformer's blocks. The last
        block alone would not do: it discards what is irrelevant to the targets, so unusual spectra would look typical.
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
        """The model's outputs for the given rows, which ascend. `title` is the label of the progress bar."""
        batches = track(in_order(shards, rows, _BATCH), title, total=-(-len(rows) // _BATCH))
        parts = [self.outputs(batch)[1] for batch in batches]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def collect_scans(self, shards: ShardSet, rows: np.ndarray, out: dict[str, Tensor]) -> list[Group]:
        """The redshift distributions of the given rows by model and scan, given the model's outputs for them."""
        groups = []
        starts = range(0, len(rows), _BATCH)
        batches = track(in_order(shards, rows, _BATCH), "calibrating (redshifts)", total=len(starts))
        for start, batch in zip(starts, batches, strict=True):
            part = {name: value[start : start + _BATCH] for name, value in out.items()}
            scans = scan_classes(batch.to(self.device), self.calibration.classes(self.model, part), self.templates)
            own = self.calibration.groups(self.model, part, batch.surveys)
            for group in self.calibration.combined(self.model, part, own, scans, self.templates):
                groups.append(group._replace(rows=group.rows + start))
        return groups

    def predict(
        self,
        spectra: Any,
        true_z: Tensor | None = None,
        *,
        ivar: Any = None,
        wavelength: Any = None,
        scan: bool = True,
    ) -> Table:
        """Predict the labels of spectra, as a table with one row for each.

        Parameters
        ----------
        spectra : SpectrumBatch, Spectrum, object of specutils, iterable of these, or array-like [N] or [B, N]
            The spectra, or their flux. See `spectromer.forms.batch_of`. Of no spectra comes a table without rows.
        true_z : Tensor [B], optional
            True redshifts, for scores of the predicted distributions.
        ivar, wavelength : array-like [N] or [B, N], optional
            The inverse variance and the wavelength of a flux.
        scan : bool
            Whether to measure redshifts by templates too, and to combine them with those of the model, if it predicts
            z. It takes most of the time.

        Returns
        -------
        Table
            A table with these columns, which have units and descriptions:

            - id, survey;
            - for class and subclass, the value, its probability (`class_prob`) and the probabilities of all values
              (`class_prob_STAR`). A subclass is chosen among those of the predicted class;
            - with subclass, spectral_type, such as G for G2, with the summed probabilities of its subclasses
              (`spectral_type_prob`, `spectral_type_prob_G`). The subclass is the most probable one of this type;
            - for z, the point estimate; z_err, half the width of the 68 % interval; z_lo68, z_hi68, z_lo95, z_hi95;
              z_prob, the probability that z is right to within 1000 km/s (3000 km/s for quasars); z_flag, the sum of
              the `Z_FLAGS` that apply;
            - with `scan`, z_scan and z_scan_err, the redshift and its statistical error by `spectromer.scan_redshift`
              with the templates of the predicted class; z_scan_flag, the sum of the `SCAN_FLAGS` that apply, as where
              z_scan and the model's own redshift disagree. z is then that of both together (see
              `spectromer.learning.evidence`), unless the model was trained by an earlier version;
            - for teff, logg and feh, the value and its error (`teff_err`);
            - typical, the fraction of held-out spectra that differ at least as much from the training spectra; unknown,
              whether this fraction is very small;
            - warning, which says if a spectrum has no good pixel, or none at the wavelengths that the model reads. Its
              predictions are then NaN or empty. It also says if the good pixels cover less than half of these
              wavelengths;
            - with `true_z`, z_crps, the continuous ranked probability score in ln(1 + z); and z_pit, the cumulative
              probability of the distribution at the true value.

        Raises
        ------
        ArgumentError
            When `spectra` is in none of these forms.
        """
        batch = batch_of(spectra, ivar, wavelength)
        if not len(batch):  # the table of a spectrum without data has the columns
            axis = torch.tensor(self.transform.wavelength_range or _ANY_RANGE, dtype=torch.float64)
            blank_one = Spectrum(torch.zeros(2), torch.zeros(2), axis)
            return self.predict(blank_one, None if true_z is None else torch.zeros(1), scan=scan)[:0]
        out = self.outputs(batch)[1]
        warnings = range_warnings(batch, self.transform.wavelength_range)
        blank = np.char.startswith(warnings, NO_GOOD_PIXEL)
        table = Table({"id": batch.ids, "survey": batch.surveys})
        typical, unknown = self.calibration.unknown(out["features"])
        targets = self.model.targets
        for name in targets.names:
            if name in CATEGORIES:
                self._add_category(table, name, self.calibration.probabilities(name, out[name]).numpy(), blank)
                continue
            if name == "z":
                numbers, second = self._redshifts(batch, out, true_z, scan)
                flag = numbers.pop("z_flag") + Z_FLAGS["UNKNOWN"] * unknown
            else:
                mean, sigma = self.model.head(name).estimate(out[name])
                numbers = {name: mean, f"{name}_err": sigma * self.calibration.sigma.get(name, 1.0)}
            for column, value in numbers.items():
                table[column] = np.where(blank, np.nan, value.double().numpy())
            if name == "z":
                table["z_flag"] = np.where(blank, Z_FLAGS["NO_DATA"], flag.numpy())
                table.update(second)
        table["typical"] = np.where(blank, np.nan, typical.numpy())
        table["unknown"] = unknown.numpy() & ~blank
        table["warning"] = warnings
        return describe_columns(table)

    def _redshifts(
        self, batch: SpectrumBatch, out: dict[str, Tensor], true_z: Tensor | None, scan: bool
    ) -> tuple[dict[str, Tensor], dict[str, np.ndarray]]:
        """The columns of z, and those of the scan."""
        classes = self.calibration.classes(self.model, out)
        groups, second = self.calibration.groups(self.model, out, batch.surveys), {}
        intervals = self.calibration.alone
        if scan:
            own = torch.empty(len(batch), dtype=torch.float64)
            for group in groups:
                own[group.rows] = group.distribution.z
            scans = scan_classes(batch.to(self.device), classes, self.templates)
            second = scans.columns(classes, own)
            if self.calibration.scanned is not None:
                intervals = self.calibration.scanned
                groups = self.calibration.combined(self.model, out, groups, scans, self.templates)
        numbers: dict[str, Tensor] = {}
        for group in groups:
            found = _numbers(group, intervals, None if true_z is None else true_z[group.rows].double())
            for name, values in found.items():
                column = numbers.setdefault(name, torch.empty(len(batch), dtype=values.dtype))
                column[group.rows] = values
        if second and self.calibration.scanned is not None:  # a doubt about the scan is one about z
            numbers["z_flag"] |= Z_FLAGS["UNSURE"] * torch.from_numpy(second["z_scan_flag"] > 0)
        return numbers, second

    def _add_category(self, table: Table, name: str, p: np.ndarray, blank: np.ndarray) -> None:
        """Add the columns of one category, given its probabilities [B, values].

        A subclass is chosen among those of the predicted class, and of these among those of the most probable type.
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
        eligible = p
        if name == "subclass":
            types, sums = np.array(targets.spectral_types), targets.sum_types(p)
            best = np.nan_to_num(sums, nan=-1.0).argmax(1)
            eligible = np.where(targets.members[best], p, -1.0)
            _add_columns(table, "spectral_type", types, sums, best)
        _add_columns(table, name, values, p, np.nan_to_num(eligible, nan=-1.0).argmax(1))

    def predict_all(self, spectra: Iterable[Spectrum], batch_size: int = 256) -> Table:
        """Predict any number of spectra, batch by batch."""
        return self.predict_batches(map(SpectrumBatch.from_spectra, chunks(spectra, batch_size)))

    def predict_batches(self, batches: Iterable[SpectrumBatch]) -> Table:
        """Predict any number of batches."""
        parts = [self.predict(batch) for batch in batches]
        return vstack(parts, metadata_conflicts="silent") if parts else self.predict([])


def _numbers(group: Group, intervals: Intervals, true_z: Tensor | None) -> dict[str, Tensor]:
    """The columns of z for the spectra of one class from one survey."""
    found = intervals.widened(group)
    bounds = found.quantile(intervals.levels(_INTERVALS.values(), group))
    numbers = {"z": found.z} | dict(zip(_INTERVALS, bounds.unbind(1), strict=True))
    numbers["z_err"] = 0.5 * (numbers["z_hi68"] - numbers["z_lo68"])
    numbers["z_prob"] = found.within(catastrophic_limits([group.name] * len(group.rows)))
    unsure = numbers["z_prob"] < intervals.threshold(group)
    numbers["z_flag"] = Z_FLAGS["UNSURE"] * unsure + Z_FLAGS["EDGE"] * found.at_edge
    if true_z is not None:
        # CRPS = 2 * integral over q from 0 to 1 of the pinball loss of the quantile q (Gneiting & Ranjan 2011).
        q = (torch.arange(_CRPS_STEPS, dtype=torch.float64) + 0.5) / _CRPS_STEPS
        at = torch.log1p(found.quantile(intervals.levels(q.tolist(), group)))
        miss = torch.log1p(true_z)[:, None] - at
        numbers["z_crps"] = 2.0 * torch.maximum(q * miss, (q - 1.0) * miss).mean(1)
        numbers["z_pit"] = found.cdf(true_z[:, None])[:, 0]
    return numbers


def _read_blocks(encoder: ImageEncoder | SpecFormer) -> list[int]:
    """The indices of the blocks that end a quarter, a half and all of a transformer. Their tokens give the features."""
    depth = len(encoder.layers)
    return sorted({max(1, depth // 4) - 1, max(1, depth // 2) - 1, depth - 1})


def _add_columns(table: Table, name: str, values: np.ndarray, p: np.ndarray, best: np.ndarray) -> None:
    """Add the value at `best` [B], its probability, and all probabilities [B, values], which are NaN if unknown."""
    table[name] = np.where(np.isnan(p[:, 0]), "", values[best])
    table[f"{name}_prob"] = p[np.arange(len(p)), best]
    for i, value in enumerate(values):
        table[f"{name}_prob_{value}"] = p[:, i]
