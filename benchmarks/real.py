"""Cross-validation on real spectra: models fine-tuned from simulated runs, a model without them, and the baselines.

`python benchmarks/real.py --data ../shared/data/catalog.csv --pretrained runs/simulated --out runs/real`, where the run
was trained on the simulated survey with the same targets. Every object is in the test split of one fold. For each fold,
the templates of the scan are made from simulated spectra and from the real spectra of the training split. Spectra that
are short, without a reliable label, of sky fibres or of a release of unclear terms are left out.
"""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro
from astropy.table import Table, vstack
from make_templates import KINDS, Real, make, read_real, simulated_at_rest
from pyarrow import parquet
from rich.console import Console

from spectromer import scan_redshift
from spectromer.config import BaselineConfig, TrainConfig
from spectromer.files import write_table
from spectromer.learning.baselines import baselines
from spectromer.learning.bootstrap import with_errors
from spectromer.learning.evaluation import evaluate_table
from spectromer.learning.figures import compare, headlines, show_comparison
from spectromer.learning.metrics import categories
from spectromer.learning.targets import Targets
from spectromer.learning.training import train
from spectromer.runs import RunFolder
from spectromer.shards.batches import in_order
from spectromer.shards.sources import Division, divide
from spectromer.shards.store import ShardSet
from spectromer.subclasses import LETTERS, is_subtype, spectral_type
from spectromer.templates import TemplateSet

TARGETS = ("class", "subclass", "z", "teff", "logg", "feh")
SPLIT = (0.7, 0.1, 0.2)
LEFT_OUT = "LAMOST DR13"  # a release whose terms are not clear
SIMULATED = 1500  # simulated spectra of each class for the templates
SHORTEST = 3000  # pixels of a full spectrum


@dataclass(frozen=True)
class Options:
    """Compare methods that learn from a few real spectra."""

    data: Path
    """A catalogue of files with the columns path, release, npix and sourcetype, as that of ../shared/data."""
    out: Path
    """A folder for the runs, the pooled figures, objects.csv, table.csv and snr.csv. Finished runs are reused."""
    pretrained: tuple[Path, ...] = ()
    """Runs on the simulated survey, each of which is fine-tuned. The methods are named after their folders."""
    alone: bool = False
    """Also train a model on the real spectra alone."""
    methods: tuple[Literal["forest", "svm", "specformer"], ...] = ("forest", "svm")
    """Baselines, as those of `spectromer baselines`."""
    scan: bool = True
    """Also measure the class and the redshift by the least chi-square of the templates."""
    folds: int = 5
    epochs: int = 60
    """Number of epochs, both from scratch and for fine-tuning."""
    lr: float = 5e-4
    """Learning rate of the fine-tuning."""
    mix: int = 800
    """Number of simulated spectra among the real ones, for fine-tuning."""
    seed: int = 0


def catalogue(source: Path, path: Path, shortest: int = 0) -> Path:
    """Write the catalogue of the spectra that are used, with absolute paths, to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with source.open(newline="") as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if not row["release"].startswith(LEFT_OUT)
            and int(row["npix"]) >= shortest
            and (not shortest or row["sourcetype"] != "SKY")
        ]
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0].keys())
        table.writeheader()
        table.writerows(row | {"path": str((source.parent / row["path"]).resolve())} for row in rows)
    return path


def tuning(data: Path, pretrained: Path, out: Path, options: Any) -> TrainConfig:
    """Options of a run on real spectra that continues a run on simulated ones."""
    return TrainConfig(
        data=data,
        out=out,
        targets=TARGETS,
        split=SPLIT,
        seed=options.seed,
        mix=options.mix,
        checkpoint=pretrained,
        epochs=options.epochs,
        lr=options.lr,
    )


@cache
def _at_rest(name: str, seed: int) -> np.ndarray:
    return simulated_at_rest(name, SIMULATED, seed)


def templates_of(division: Division, real: Real, seed: int) -> list[TemplateSet]:
    """The templates made from simulated spectra and the real spectra of the training split."""
    paths = {Path(path).name for path in division.shards.index["path"].take(division.rows["train"]).to_pylist()}
    used = np.array([Path(path).name in paths for path in real.path])
    return [make(name, real, used, _at_rest(name, seed)) for name in KINDS]


def scanned(division: Division, templates: Sequence[TemplateSet], run: RunFolder) -> None:
    """Write the class and the redshift by the least chi-square of the templates for the test split."""
    rows, tables = division.rows["test"], []
    for batch in in_order(division.shards, rows, 64):
        found = scan_redshift(batch, templates=templates)
        names = {"id": batch.ids, "survey": batch.surveys, "class": found.class_names, "z": found.z.numpy()}
        tables.append(Table(names | {"z_flag": found.flag.numpy().astype(int), "warning": [""] * len(batch)}))
    run.create()
    table = vstack(tables)
    targets = Targets.fit(("class", "z"), division.shards.believed)
    run.write_metrics({"test": evaluate_table(table, division.shards, rows, targets, run)})


def of_stars(table: Table) -> dict[str, Any]:
    """The figures of the letters O to M, and those of the subtypes A0 to G9, of stars with such a label."""
    if "subclass" not in table.colnames:
        return {}

    subclass = np.asarray(table["true_subclass"]).astype(str)
    types = np.array([spectral_type(value) for value in subclass])
    subtype = np.array([is_subtype(value) for value in subclass])
    letters = subtype & np.isin(types, list(LETTERS))
    early = subtype & np.isin(types, ["A", "F", "G"])
    columns = {name: np.asarray(table[name]).astype(str) for name in ("spectral_type", "subclass")}
    return {
        "letters O to M": with_errors(categories, columns["spectral_type"][letters], types[letters]),
        "subtypes A0 to G9": with_errors(categories, columns["subclass"][early], subclass[early]),
    }


def pool(runs: Sequence[RunFolder], shards: ShardSet, rows: np.ndarray, out: Path) -> dict[str, Any]:
    """The figures of all folds together, given the rows of their test splits one after the other; written to `out`."""
    tables = [Table(parquet.read_table(run.predictions).to_pydict()) for run in runs]
    table = vstack(tables, join_type="inner", metadata_conflicts="silent")
    pooled = RunFolder(out)
    pooled.create()
    targets = Targets.fit([target for target in TARGETS if target in table.colnames], shards.believed)
    metrics = evaluate_table(table, shards, rows, targets, pooled)
    metrics = of_stars(table) | metrics
    pooled.write_metrics(metrics)
    return metrics


def write_lines(lines: Sequence[Sequence[Any]], path: Path) -> None:
    """Write a table as CSV."""
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(lines)


def by_snr(found: Sequence[tuple[str, dict[str, Any]]]) -> list[list[Any]]:
    """A header, and a row for each figure in each bin of S/N."""
    lines: list[list[Any]] = [["method", "target", "snr", "n", "figure", "value", "error"]]
    for method, metrics in found:
        for what, figures, names in headlines(metrics):
            for snr, part in figures.get("by_snr", {}).items():
                values = [(name, part[name], part["errors"].get(name)) for name in names if name in part]
                lines += [[method, what, snr, part["n"], *value] for value in values]
    return lines


def main(options: Options) -> None:
    """Train the missing runs, pool the folds, and print the table."""
    data = catalogue(options.data, options.out / "real.csv", SHORTEST)
    real = read_real(options.data)
    fresh = TrainConfig(data=data, targets=TARGETS, split=SPLIT, seed=options.seed, epochs=options.epochs)
    tested: list[np.ndarray] = []
    names: list[str] = []
    for fold in range(options.folds):
        folder, turn = options.out / f"fold-{fold}", {"fold_offset": fold / options.folds}
        division = divide(replace(fresh, **turn, mix=options.mix))
        shards, rows = division.shards, division.rows["test"]
        tested.append(rows)
        templates = templates_of(division, real, options.seed)
        work: dict[str, Callable[[], Any]] = {
            run.name: partial(
                train,
                replace(tuning(data, run, folder / run.name, options), **turn),
                division=division,
                templates=templates,
            )
            for run in options.pretrained
        }
        if options.alone:
            work["alone"] = partial(train, replace(fresh, **turn, out=folder / "alone"), templates=templates)
        own = {field: getattr(fresh, field) for field in ("data", "targets", "split", "seed")} | turn
        for name in options.methods:
            work[name] = partial(baselines, BaselineConfig(**own, out=folder, methods=(name,)))
        if options.scan:
            work["scan"] = partial(scanned, division, templates, RunFolder(folder / "scan"))
        for name, begin in work.items():
            if not RunFolder(folder / name).metrics.is_file():
                begin()
        names = list(work)
    every = np.concatenate(tested)
    found = []
    for name in names:
        runs = [RunFolder(options.out / f"fold-{fold}" / name) for fold in range(options.folds)]
        found.append((name, pool(runs, shards, every, options.out / name)))
    folds = np.repeat(np.arange(options.folds), [len(rows) for rows in tested])
    columns = {name: shards.index[name].take(every).to_pylist() for name in ("path", "object")}
    write_table(Table(columns | {"fold": folds}), options.out / "objects.csv")
    lines = compare(found)
    show_comparison(lines, Console(width=40 + 20 * len(found)))
    write_lines(lines, options.out / "table.csv")
    write_lines(by_snr(found), options.out / "snr.csv")


if __name__ == "__main__":
    main(tyro.cli(Options))
