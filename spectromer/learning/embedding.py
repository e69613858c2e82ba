"""Vectors of spectra, and what is near and far among them.

A vector holds the features from which a model measures how typical a spectrum is (see `Typicality`), whitened. Their
distances are Euclidean.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from astropy.table import Table
from torch import Tensor

from spectromer.chunks import chunks
from spectromer.errors import ArgumentError, CatalogError, ReadError
from spectromer.files import atomic, check_writable, printable, write_rejected
from spectromer.learning.predictor import Predictor
from spectromer.shards.sources import open_inputs, read_inputs
from spectromer.spectra import Spectrum, SpectrumBatch
from spectromer.words import first_line

__all__ = ["embed", "embed_files", "neighbours", "rarest", "read_vectors"]

_NAMES = ("path", "survey", "id")
_NEAREST = 10  # neighbours from whose mean distance the rarity follows
_MOST = 20_000  # vectors with which all are compared, to find the rarest
_ROWS = 4096


def embed(predictor: Predictor, batch: SpectrumBatch) -> Tensor:
    """The vectors [B, K] float32 of spectra.

    Parameters
    ----------
    predictor : Predictor
        The model.
    batch : SpectrumBatch
        The spectra.
    """
    features, typicality = predictor.outputs(batch)[1]["features"].float(), predictor.calibration.typicality
    return features if typicality is None else (features - typicality.mean) @ typicality.whiten


def embed_files(
    model: str | None, paths: Sequence[str], out: Path, batch_size: int = 256
) -> tuple[int, list[ReadError]]:
    """Write the vectors of spectra as a Parquet table with the columns path, survey, id and vector.

    Parameters
    ----------
    model : str, optional
        The model, as in `Predictor.load`.
    paths : sequence of str
        Survey files, folders of survey files, catalogues of files with a column `path`, or folders of shards.
    out : Path
        The table to write. A second file next to it, <stem>.unreadable.csv, lists what has no vector, with reasons.
    batch_size : int
        Number of spectra in a batch.

    Returns
    -------
    int, list of ReadError
        The number of vectors, and the files and spectra without one, with reasons.

    Raises
    ------
    RunError
        If the run is not finished.
    ArgumentError, CatalogError, ShardError
        If an input does not exist or cannot be read, or `out` cannot be written.
    """
    check_writable(out)  # before the work, not after it
    predictor = Predictor.load(model)
    inputs = open_inputs(paths)
    rejected: list[ReadError] = []

    def rows() -> Iterator[pa.RecordBatch]:
        for some in chunks(read_inputs(inputs, rejected, "embedding"), batch_size):
            try:
                yield _rows(predictor, some)
            except Exception:  # one of them is odd; a model may raise anything
                for path, one in some:
                    try:
                        yield _rows(predictor, [(path, one)])
                    except Exception as error:
                        rejected.append(ReadError(path, f"it cannot be embedded ({first_line(error)})"))

    written, parts = 0, rows()
    if (first := next(parts, None)) is not None:
        with atomic(out) as part, part.open("wb") as file, pq.ParquetWriter(file, first.schema) as writer:
            for found in chain([first], parts):
                writer.write_batch(found)
                written += found.num_rows
    write_rejected(rejected, out.with_name(f"{out.stem}.unreadable.csv"))
    return written, rejected


def _rows(predictor: Predictor, some: Sequence[tuple[str, Spectrum]]) -> pa.RecordBatch:
    """The rows of some spectra, given with their paths."""
    batch = SpectrumBatch.from_spectra([spectrum for _, spectrum in some])
    vectors = embed(predictor, batch).numpy()
    columns = {
        "path": pa.array([printable(path) for path, _ in some]),
        "survey": pa.array(batch.surveys),
        "id": pa.array(batch.ids),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1]),
    }
    return pa.record_batch(columns)


def read_vectors(path: Path) -> tuple[Table, np.ndarray]:
    """The names (path, survey, id) and the vectors [N, K] float32 in a table of `embed_files`.

    Raises
    ------
    CatalogError
        If it is not such a table.
    """
    try:
        table = pq.read_table(path)
        vectors = table["vector"].combine_chunks()
        names = Table({name: np.array(table[name].to_pylist(), str) for name in _NAMES})
        found: np.ndarray = vectors.flatten().to_numpy().reshape(len(table), -1)
    except (OSError, KeyError, AttributeError, ValueError, pa.ArrowException) as error:
        raise CatalogError(f"{path}: not a table of spectromer embed ({first_line(error)})") from error
    return names, found


def neighbours(names: Table, vectors: np.ndarray, to: Sequence[str], number: int) -> Table:
    """The spectra nearest to those with the ids `to`, with their distances, nearest first.

    Raises
    ------
    ArgumentError
        If there is no spectrum with one of the ids.
    """
    rows = []
    for wanted in to:
        found = np.flatnonzero(names["id"] == wanted)
        if not len(found):
            raise ArgumentError(f"--to {wanted}: no spectrum in the table has this id")
        rows.append(int(found[0]))
    distances = _distances(vectors[rows], vectors)
    distances[np.arange(len(rows)), rows] = np.inf
    number = min(number, len(vectors) - 1)
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :number]
    table = names[nearest.reshape(-1)]
    table.add_column(np.repeat(np.array(to, str), number), index=0, name="to")
    table["distance"] = np.take_along_axis(distances, nearest, 1).reshape(-1)
    return table


def rarest(names: Table, vectors: np.ndarray, number: int) -> Table:
    """The spectra with the largest mean distance to their ten nearest ones, largest first.

    If there are more than 20,000, these are found among 20,000 of them.

    Raises
    ------
    ArgumentError
        If there are fewer than two.
    """
    count = min(len(vectors), _MOST)
    others = np.linspace(0, len(vectors) - 1, count).astype(int)
    nearest = min(_NEAREST, count - 1)
    if not nearest:
        raise ArgumentError(f"the rarest of {len(vectors)} spectra cannot be told: two are the least")
    means = []
    for start in range(0, len(vectors), _ROWS):
        part = slice(start, start + _ROWS)
        distances = _distances(vectors[part], vectors[others])
        itself = others == np.arange(len(vectors))[part, None]
        distances[itself] = np.inf
        means.append(np.partition(distances, nearest - 1, 1)[:, :nearest].mean(1))
    rarity = np.concatenate(means)
    order = np.argsort(-rarity, kind="stable")[:number]
    table = names[order]
    table["distance"] = rarity[order]
    return table


def _distances(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Distances [A, B] float32 of vectors [A, K] and [B, K]."""
    found: np.ndarray = torch.cdist(torch.from_numpy(np.array(some)), torch.from_numpy(np.array(others))).numpy()
    return found
