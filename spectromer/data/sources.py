"""Spectra to learn from: shards, a folder of files, a catalogue of them, or the simulated survey."""

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.progress import track

from spectromer.data.catalogs import OBJECT, Catalog, path_key, prepare_catalog
from spectromer.data.objects import name_objects
from spectromer.data.shards import MANIFEST, ShardSet
from spectromer.data.simulate import simulate
from spectromer.readers import ReadError, find_files, read_each
from spectromer.spectra import Spectrum

__all__ = ["is_shards", "load", "load_simulated"]


def is_shards(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a folder of finished shards."""
    return (Path(path) / MANIFEST).is_file()


def load_simulated(count: int, seed: int, progress: bool = True) -> ShardSet:
    """`count` simulated spectra in memory, each an object of its own."""
    made = simulate(count, seed=seed)
    return ShardSet.from_spectra(list(track(made, "simulating", total=count) if progress else made))


def _catalog(path: Path) -> Catalog:
    """A catalogue of files."""
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "catalog.arrow"
        prepare_catalog(path, prepared)
        return Catalog(prepared)


def load(data: str | os.PathLike[str], progress: bool = True) -> tuple[ShardSet, list[ReadError]]:
    """Open shards; or read survey files into memory, and tell which could not be read.

    Parameters
    ----------
    data : path-like
        A folder of shards (of `python -m spectromer.ingest`), a folder of survey files (searched at any depth), a FITS
        file, or a catalogue as `prepare_catalog` takes it, with a column `path`.

    Raises
    ------
    ValueError
        When `data` does not exist, or is a catalogue without a column `path`.
    """
    root = Path(data)
    if not root.exists():
        raise ValueError(f"--data {root}: no such file or folder")
    if is_shards(root):
        return ShardSet.open(root), []
    catalog = _catalog(root) if root.suffix.lower() in (".csv", ".parquet") else None
    paths = find_files(root) if catalog is None else catalog.paths()
    if catalog is not None and not paths:
        raise ValueError(f"--data {root}: a catalogue of files needs a column path")
    results = read_each(track(paths, "reading") if progress else paths)
    rejected: list[ReadError] = []
    spectra: list[Spectrum] = []
    kept: list[str] = []
    for path, result in results:
        if isinstance(result, ReadError):
            rejected.append(result)
        else:
            spectra.append(result)
            kept.append(str(path))
    given: list[str | None] = [None] * len(spectra)
    if catalog is not None:
        more = catalog.labels([path_key(path) for path in kept])
        given = [labels.pop(OBJECT, None) for labels in more]
        spectra = [replace(s, labels=s.labels | labels) for s, labels in zip(spectra, more, strict=True)]
    ra, dec = (np.array([s.labels.get(name, np.nan) for s in spectra], float) for name in ("ra", "dec"))
    return ShardSet.from_spectra(spectra, kept, name_objects(ra, dec, given, kept)), rejected
