"""Predicting the spectra of any number of files, as a table."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.progress import track

from spectromer.chunks import chunks
from spectromer.errors import ReadError
from spectromer.files import table_format, write_rejected, write_table
from spectromer.learning.predictor import Predictor
from spectromer.shards.feeds import in_order
from spectromer.shards.sources import is_shards
from spectromer.shards.store import ShardSet
from spectromer.spectra import Spectrum, SpectrumBatch
from spectromer.surveys import find_files, read_each

__all__ = ["predict_files"]

_SHOWN = 20  # failures that are told on the screen


def predict_files(run: Path, paths: Sequence[Path], out: Path, batch_size: int = 256) -> None:
    """Write a table of what a model says of each spectrum, and tell what could not be read.

    Parameters
    ----------
    run : Path
        A run folder.
    paths : sequence of Path
        Survey files, folders of them, or folders of shards.
    out : Path
        The table: .csv, .ecsv, .fits or .parquet. Beside it, <out>.unreadable.csv lists what could not be read and why.
    batch_size : int

    Raises
    ------
    SpectromerError
        When the run is not finished, or the ending of `out` is another.
    """
    table_format(out)
    predictor = Predictor.load(run)
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
        for path in paths:
            if is_shards(path):
                shards = ShardSet.open(path)
                kept.extend(shards.index["path"].to_pylist())
                total = -(-len(shards) // batch_size)
                yield from track(in_order(shards, batch_size=batch_size), "predicting", total=total)
        files = [file for path in paths if not is_shards(path) for file in find_files(path)]
        yield from map(SpectrumBatch.from_spectra, chunks(readable(files), batch_size))

    table = predictor.predict_batches(batches())
    table.add_column(kept, index=0, name="path")
    write_table(table, out)
    unreadable = out.with_name(f"{out.stem}.unreadable.csv")
    write_rejected(rejected, unreadable)
    print(f"{len(table)} spectra predicted: {out}")
    for failure in rejected[:_SHOWN]:
        print(f"could not be read: {failure}")
    if rejected:
        print(f"{len(rejected)} files could not be read; all reasons: {unreadable}")
