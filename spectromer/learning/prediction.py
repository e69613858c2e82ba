"""Prediction of the spectra in any number of files, written as a table."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.progress import track

from spectromer.chunks import chunks
from spectromer.errors import ReadError
from spectromer.files import make_folder, table_format, write_rejected, write_table
from spectromer.learning.predictor import Predictor
from spectromer.shards.feeds import in_order
from spectromer.shards.sources import is_shards
from spectromer.shards.store import ShardSet
from spectromer.spectra import Spectrum, SpectrumBatch
from spectromer.surveys import find_files, read_each

__all__ = ["predict_files"]

_MAX_PRINTED = 20  # largest number of unreadable files to print


def predict_files(run: Path, paths: Sequence[Path], out: Path, batch_size: int = 256) -> None:
    """Write a table of the predictions for each spectrum, and list the files that could not be read.

    Parameters
    ----------
    run : Path
        A run folder.
    paths : sequence of Path
        Survey files, folders of survey files, or folders of shards.
    out : Path
        The table to write, as .csv, .ecsv, .fits or .parquet. A second file next to it, named <stem>.unreadable.csv,
        lists the files that could not be read, with reasons.
    batch_size : int
        Number of spectra in a batch.

    Raises
    ------
    RunError
        If the run is not finished.
    ArgumentError
        If the suffix of `out` is another one.
    """
    table_format(out)
    predictor = Predictor.load(run)
    make_folder(out.parent)  # before the work, not after it
    rejected: list[ReadError] = []
    read_paths: list[str] = []

    def readable(files: Sequence[Path]) -> Iterator[Spectrum]:
        for path, result in read_each(track(files, "predicting")):
            if isinstance(result, ReadError):
                rejected.append(result)
            else:
                read_paths.append(str(path))
                yield result

    def batches() -> Iterator[SpectrumBatch]:
        for path in paths:
            if is_shards(path):
                shards = ShardSet.open(path)
                read_paths.extend(shards.index["path"].to_pylist())
                total = -(-len(shards) // batch_size)
                yield from track(in_order(shards, batch_size=batch_size), "predicting", total=total)
        files = [file for path in paths if not is_shards(path) for file in find_files(path)]
        yield from map(SpectrumBatch.from_spectra, chunks(readable(files), batch_size))

    table = predictor.predict_batches(batches())
    table.add_column(read_paths, index=0, name="path")
    write_table(table, out)
    unreadable = out.with_name(f"{out.stem}.unreadable.csv")
    write_rejected(rejected, unreadable)
    print(f"{out} holds the predictions of {len(table)} spectra")
    for failure in rejected[:_MAX_PRINTED]:
        print(f"unreadable: {failure}")
    if rejected:
        print(f"{len(rejected)} files could not be read; {unreadable} lists all of them")
