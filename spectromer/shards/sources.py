"""Sources of spectra for training: shards, a folder of files, a catalogue of files, or simulated spectra."""

import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.progress import track

from spectromer.errors import ArgumentError, CatalogError, ReadError
from spectromer.labels import replace_labels
from spectromer.shards.batches import in_order
from spectromer.shards.records import MANIFEST
from spectromer.shards.splits import name_objects, split_by_object
from spectromer.shards.store import ShardSet
from spectromer.spectra import Spectrum
from spectromer.surveys import Skipped, find_files, read_each
from spectromer.surveys.catalogs import OBJECT, Catalog, path_key, prepare_catalog
from spectromer.surveys.content import open_content
from spectromer.surveys.fits import astropy_hdus, open_by_astropy
from spectromer.surveys.own_files import holds_spectrum
from spectromer.surveys.simulated import simulate
from spectromer.surveys.tables import open_table
from spectromer.words import count

if TYPE_CHECKING:
    from spectromer.config import DataConfig

__all__ = ["Division", "Input", "divide", "is_shards", "load", "load_simulated", "open_inputs", "read_inputs"]

Input = ShardSet | list[str]  # shards, or survey files
_BATCH = 64  # spectra of shards that are read at a time

_CATALOGS = (".csv", ".parquet")  # endings of tables that are catalogues of files if they are no spectra
_PARTS = {"train": "training", "val": "validation", "test": "the test"}
_PATH = "PATH"  # the column of a catalogue of files


def is_shards(path: str | os.PathLike[str]) -> bool:
    """Tell whether `path` is a folder of finished shards."""
    return (Path(path) / MANIFEST).is_file()


def load_simulated(count: int, seed: int, progress: bool = True) -> ShardSet:
    """Simulate `count` spectra in memory, each of a different object."""
    made = simulate(count, seed=seed)
    return ShardSet.from_spectra(list(track(made, "simulating", total=count) if progress else made))


def is_catalog(path: Path) -> bool:
    """Tell whether a path is a table of files, and not a table that is a spectrum itself.

    A CSV or Parquet file that is no spectrum is taken for one, so that a missing column `path` is told. Other files
    (FITS, ECSV, VOTable, text) are taken for one only if they have this column.
    """
    if not path.is_file() or holds_spectrum(path):
        return False
    if path.name.lower().removesuffix(".gz").endswith(_CATALOGS):
        return True
    try:
        content = open_content(path)
        if content.kind == "FITS":
            with open_by_astropy(content, path) as hdus:
                return any(_PATH in hdu.columns for hdu in astropy_hdus(hdus)[1:])
        if content.kind not in ("VOTable", "text"):
            return False
        with open_table(path) as table:
            return _PATH in table
    except Exception:  # a file that cannot be read is no catalogue, and is told when it is read as a spectrum
        return False


def _catalog(path: Path) -> Catalog:
    """Open a catalogue of files."""
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "catalog.arrow"
        prepare_catalog(path, prepared)
        return Catalog(prepared)


def open_inputs(paths: Sequence[str]) -> list[Input]:
    """Open shards, and find the files of folders and of catalogues.

    Parameters
    ----------
    paths : sequence of str
        Folders of shards, survey files, folders of them at any depth, or catalogues (CSV, ECSV, FITS, VOTable or
        Parquet) with a column `path`. Files in folders that are not read are reported in one line for each folder.

    Returns
    -------
    list of Input
        The shards or the files of each path.

    Raises
    ------
    ArgumentError
        When a path does not exist.
    CatalogError
        When a catalogue cannot be read or has no column `path`.
    ShardError
        When shards are damaged.
    """
    found: list[Input] = []
    for path in paths:
        root = Path(path)
        if not path or not root.exists():
            raise ArgumentError(f"{path or 'an empty path'}: no such file or folder")
        if is_shards(root):
            found.append(ShardSet.open(root))
        elif is_catalog(root):
            found.append(_files_of(root, _catalog(root)))
        else:
            found.append([str(file) for file in _found_in(root)])
    return found


def read_inputs(inputs: Sequence[Input], rejected: list[ReadError], title: str) -> Iterator[tuple[str, Spectrum]]:
    """The spectra of shards and of files that have a good pixel, each with its path, and a progress bar.

    Parameters
    ----------
    inputs : sequence of ShardSet, or of lists of files
        The result of `open_inputs`.
    rejected : list of ReadError
        The list to which what cannot be read, or has no good pixel, is added.
    title : str
        The label of the progress bar.
    """

    def every() -> Iterator[tuple[str, Spectrum | ReadError]]:
        for data in inputs:
            if isinstance(data, ShardSet):
                spectra = (spectrum for batch in in_order(data, batch_size=_BATCH) for spectrum in batch)
                yield from zip(data.index["path"].to_pylist(), spectra, strict=True)
            else:
                yield from ((str(path), result) for path, result in read_each(data))

    for path, result in track(every(), title, total=sum(map(len, inputs))):
        if isinstance(result, ReadError):
            rejected.append(result)
        elif not (result.ivar > 0).any():
            rejected.append(ReadError(path, "no good pixel"))
        else:
            yield path, result


def _found_in(root: Path) -> list[Path]:
    """The files of spectra in a folder. The number of others is printed."""
    skipped = Skipped()
    files = find_files(root, skipped)
    if str(skipped):
        print(f"{root}: {skipped}")
    return files


def _files_of(path: Path, catalog: Catalog) -> list[str]:
    files = catalog.paths()
    if not files:
        raise CatalogError(f"{path}: a catalogue of files needs a column path")
    return files


def load(data: str | os.PathLike[str], progress: bool = True) -> tuple[ShardSet, list[ReadError]]:
    """Open shards, or read survey files into memory.

    Parameters
    ----------
    data : path-like
        A folder of shards (made by `python -m spectromer.ingest`), a folder of survey files at any depth, a FITS file,
        or a catalogue for `prepare_catalog` that has a column `path`. The number of its rows that matched a spectrum is
        printed.
    progress : bool
        Whether to show a progress bar while files are read.

    Returns
    -------
    ShardSet, list of ReadError
        The spectra, and the files that could not be read, with reasons.

    Raises
    ------
    ArgumentError
        When `data` does not exist.
    CatalogError
        When `data` is a catalogue that cannot be read or has no column `path`.
    ShardError
        When `data` is a folder of damaged shards.
    """
    root = Path(data)
    if not root.exists():
        raise ArgumentError(f"--data {root}: no such file or folder")
    if is_shards(root):
        return ShardSet.open(root), []
    catalog = _catalog(root) if is_catalog(root) else None
    paths: Sequence[str | Path] = _found_in(root) if catalog is None else _files_of(root, catalog)
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
        counts = Counter(kept)  # a row cannot describe a file of several spectra
        more = catalog.labels([path_key(path) if counts[path] == 1 else "" for path in kept])
        given = [labels.pop(OBJECT, None) for labels in more]
        spectra = [replace(s, labels=replace_labels(s.labels, labels)) for s, labels in zip(spectra, more, strict=True)]
        _report_rows(root, len(paths), counts)
    ra, dec = (np.array([s.labels.get(name, np.nan) for s in spectra], float) for name in ("ra", "dec"))
    return ShardSet.from_spectra(spectra, kept, name_objects(ra, dec, given, kept)), rejected


def _report_rows(catalog: Path, rows: int, counts: Counter[str]) -> None:
    """Print how many files of a catalogue hold a spectrum, and how many hold several, to which no row applies.

    `counts` has the number of spectra of each file that could be read.
    """
    single = sum(number == 1 for number in counts.values())
    line = f"catalogue {catalog}: {single:,} of {count(rows, 'row')} matched a spectrum"
    if several := len(counts) - single:
        line += f"; {count(several, 'file')} with several spectra took no labels from the catalogue"
    print(line)
    if not single:
        print(f"warning: catalogue {catalog}: none of its rows matched a spectrum; their files were looked for by path")


@dataclass
class Division:
    """Spectra with usable labels, divided by object into train, val and test.

    Attributes
    ----------
    shards : ShardSet
        All spectra that were read, including those that are not used.
    rows : dict of ndarray int64
        The rows of train, val and test.
    rejected : list of ReadError
        The files that could not be read, with reasons.
    mixed : int
        Number of simulated spectra that are mixed in. They are the last rows of `shards`.
    """

    shards: ShardSet
    rows: dict[str, np.ndarray]
    rejected: list[ReadError]
    mixed: int = 0


def _why_unusable(asked: "DataConfig", read: int, rejected: list[ReadError]) -> str:
    """The sentence that says why there is nothing to train on."""
    where = "the simulated survey" if asked.data is None else f"--data {asked.data}"
    if read:
        labels, spectra = ", ".join(asked.targets), count(read, "spectrum")
        return f"{where}: none of its spectra has a good pixel and a reliable label of {labels} ({spectra})"
    if rejected:
        return f"{where}: none of its files could be read ({count(len(rejected), 'file')}); the first is {rejected[0]}"
    return f"{where}: it holds no file of spectra"


def divide(asked: "DataConfig") -> Division:
    """Load or simulate spectra, print a summary of them, and divide them by object.

    Parameters
    ----------
    asked : DataConfig
        The source of the spectra (`data`, or the number of `simulated` spectra, and `seed`), the labels to learn
        (`targets`), the division (`split` and `fold_offset`, as in `split_by_object`), and the number of simulated
        spectra to `mix` with those of `data`, outside of the test split.

    Raises
    ------
    ArgumentError
        When a part is empty, or `data` does not exist.
    CatalogError, ShardError
        When `data` cannot be read; see `load`.
    """
    rejected: list[ReadError] = []
    if asked.data is None:
        print(f"No --data given: simulating a survey of {asked.simulated} spectra (seed {asked.seed}).")
        shards = load_simulated(asked.simulated, asked.seed)
    else:
        shards, rejected = load(asked.data)
    labelled = np.any([shards.believed.known(name) for name in asked.targets], axis=0)
    usable = labelled & (shards.index["snr"].to_numpy() != 0.0)  # the S/N is 0 if no pixel is good
    able = int(usable.sum())
    print(
        f"{count(len(shards), 'spectrum')} read, {count(len(rejected), 'file')} could not be read; "
        f"{able:,} {'has' if able == 1 else 'have'} a good pixel and a reliable label of {', '.join(asked.targets)}."
    )
    if not able:
        raise ArgumentError(_why_unusable(asked, len(shards), rejected))
    rows = split_by_object(shards.index["object"].to_pylist(), asked.split, asked.seed, asked.fold_offset)
    rows = {name: found[usable[found]] for name, found in rows.items()}
    for name, found in rows.items():
        if not len(found):
            objects = len({shards.index["object"][int(i)].as_py() for i in np.flatnonzero(usable)})
            raise ArgumentError(
                f"no spectrum is left for {_PARTS[name]}: {count(able, 'labelled spectrum')} of "
                f"{count(objects, 'object')} {'is' if able == 1 else 'are'} too few to be divided by "
                f"--split {' '.join(f'{part:g}' for part in asked.split)}"
            )
    mixed = 0 if asked.data is None else asked.mix
    if mixed:
        simulated = load_simulated(mixed, asked.seed)
        more = split_by_object(simulated.index["object"].to_pylist(), asked.split, asked.seed)
        rows |= {name: np.concatenate([rows[name], more[name] + len(shards)]) for name in ("train", "val")}
        shards = ShardSet.join([shards, simulated])
        print(f"{len(more['train'])} simulated spectra are added to train, and {len(more['val'])} to val.")
    return Division(shards, rows, rejected, mixed)
