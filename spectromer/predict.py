"""Predictions of a trained model: class probabilities, subclass, redshift and parameters with uncertainties."""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from astropy.table import Table, vstack
from rich.progress import track
from torch import Tensor

from spectromer.checkpoints import load_weights
from spectromer.cli import exit_code
from spectromer.config import load_config
from spectromer.data import chunks
from spectromer.data.feeds import in_order
from spectromer.data.shards import ShardSet
from spectromer.data.sources import is_shards
from spectromer.data.targets import CATEGORIES, Targets
from spectromer.files import atomic, write_rejected
from spectromer.models import SpectrumModel, create_backbone
from spectromer.readers import ReadError, find_files, read_each
from spectromer.spectra import Spectrum, SpectrumBatch
from spectromer.transforms import SpectrumToImage

__all__ = ["Predictor"]

_SHOWN = 20  # failures told on the screen
_FORMATS = {".csv": "ascii.csv", ".ecsv": "ascii.ecsv", ".fits": "fits", ".parquet": "parquet"}


@dataclass
class Predictor:
    """A trained model with its transform.

    Attributes
    ----------
    model : SpectrumModel
    draw : SpectrumToImage
    device : torch.device
    """

    model: SpectrumModel
    draw: SpectrumToImage
    device: torch.device

    @classmethod
    def load(cls, run: str | os.PathLike[str], device: str | None = None) -> "Predictor":
        """Load the best weights of a run folder.

        Raises
        ------
        ValueError
            When `run` is no finished run folder.
        """
        run = Path(run)
        config = load_config(run)
        saved, weights = run / "model.json", run / "best.safetensors"
        for path in (saved, weights):
            if not path.is_file():
                raise ValueError(f"{run} holds no {path.name}: its training has not come to the end of an epoch")
        description = json.loads(saved.read_text())
        image = description["image"]
        draw = SpectrumToImage(**image)
        backbone = create_backbone(config.model, size=image["size"], channels=draw.channels)
        model = SpectrumModel(backbone, Targets.from_json(description["targets"]), image)
        model.load_state_dict({name.removeprefix("model."): tensor for name, tensor in load_weights(weights).items()})
        where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        return cls(model.to(where).eval(), draw, where)

    @torch.no_grad()
    def outputs(self, batch: SpectrumBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Images uint8 [B, C, H, W] and the heads' outputs of a batch, on the model's device."""
        images = self.draw(batch.to(self.device))
        return images, self.model(images)

    def predict(self, batch: SpectrumBatch) -> Table:
        """One row per spectrum; a spectrum without a good pixel has NaN and empty columns and a warning."""
        _, out = self.outputs(batch)
        blank = ~(batch.ivar > 0).any(1).cpu().numpy()
        table = Table({"id": batch.ids, "survey": batch.surveys})
        targets = self.model.targets
        for name in targets.names:
            if name in CATEGORIES:
                self._add_category(table, name, out[name].float().softmax(1).double().cpu().numpy(), blank)
                continue
            head = self.model.head(name)
            if name == "z":
                numbers = head.estimate(out[name])
            else:
                mean, sigma = head.estimate(out[name])
                numbers = {name: mean, f"{name}_err": sigma}
            for column, value in numbers.items():
                table[column] = np.where(blank, np.nan, value.double().cpu().numpy())
        table["warning"] = np.where(blank, "no good pixel", "")
        return table

    def _add_category(self, table: Table, name: str, p: np.ndarray, blank: np.ndarray) -> None:
        """Columns of one category from its probabilities [B, values]: value, its probability, all probabilities.

        A subclass is one that its spectrum's class has.
        """
        targets = self.model.targets
        values = np.array(targets.vocabulary[name])
        allowed = np.ones(p.shape, dtype=bool)
        if name == "subclass" and "class" in table.colnames:
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


def write_table(table: Table, path: Path) -> None:
    """Write .csv, .ecsv, .fits or .parquet, whole or not at all.

    Raises
    ------
    ValueError
        For another ending.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as part:
        table.write(part, format=table_format(path), overwrite=True)


def table_format(path: Path) -> str:
    """Astropy's name of the format that the ending of `path` asks for."""
    if path.suffix not in _FORMATS:
        raise ValueError(f"--out {path}: the ending must be one of {', '.join(_FORMATS)}")
    return _FORMATS[path.suffix]


@dataclass(frozen=True)
class PredictConfig:
    """Predict every spectrum of some files or folders with a trained model."""

    run: Annotated[Path, tyro.conf.Positional]
    """A run folder of spectromer.train."""
    paths: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Survey files, folders of them, or folders of shards."""
    out: Path
    """The table to write: .csv, .ecsv, .fits or .parquet."""
    batch_size: int = 256


def run_predict(config: PredictConfig) -> None:
    """Predict, write the table and, beside it, what could not be read (<out>.unreadable.csv); say how many."""
    table_format(config.out)
    predictor = Predictor.load(config.run)
    rejected: list[ReadError] = []
    kept: list[str] = []

    def readable(files: Sequence[Path]) -> Iterator[Spectrum]:
        for path, result in read_each(track(files, "predicting")):
            if isinstance(result, ReadError):
                rejected.append(result)
            else:
                kept.append(str(path))
                yield result

    def batches() -> Iterator[SpectrumBatch]:
        for path in config.paths:
            if is_shards(path):
                shards = ShardSet.open(path)
                kept.extend(shards.index["path"].to_pylist())
                total = -(-len(shards) // config.batch_size)
                yield from track(in_order(shards, batch_size=config.batch_size), "predicting", total=total)
        files = [file for path in config.paths if not is_shards(path) for file in find_files(path)]
        yield from map(SpectrumBatch.from_spectra, chunks(readable(files), config.batch_size))

    table = predictor.predict_batches(batches())
    table.add_column(kept, index=0, name="path")
    write_table(table, config.out)
    unreadable = config.out.with_name(f"{config.out.stem}.unreadable.csv")
    write_rejected(rejected, unreadable)
    print(f"{len(table)} spectra predicted: {config.out}")
    for failure in rejected[:_SHOWN]:
        print(f"could not be read: {failure}")
    if rejected:
        print(f"{len(rejected)} files could not be read; all reasons: {unreadable}")


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m spectromer.predict RUN PATH... --out FILE`."""
    config = tyro.cli(PredictConfig, prog="spectromer predict", args=argv)
    return exit_code(lambda: run_predict(config))


if __name__ == "__main__":
    sys.exit(main())
