"""Prediction of any number of spectra, written in parts, so that no finished work is lost.

The parts lie in a folder beside the table that is to be written. Each covers some of the inputs. When all are there,
the table is put together from them. A prediction that was interrupted goes on where it stopped when it is repeated.
"""

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from rich.progress import Progress

import spectromer
from spectromer.chunks import chunks
from spectromer.errors import ReadError, SpectromerError
from spectromer.files import alone, atomic, check_writable, printable, table_format, write_rejected
from spectromer.learning.columns import describe_columns
from spectromer.learning.overview import FLAGS, write_overview
from spectromer.learning.predictor import Predictor
from spectromer.learning.tables import to_arrow, write_parts
from spectromer.learning.zoo import find_model
from spectromer.runs import RunFolder
from spectromer.shards.batches import in_order
from spectromer.shards.records import MANIFEST
from spectromer.shards.sources import Input, open_inputs
from spectromer.shards.store import ShardSet
from spectromer.spectra import Spectrum, SpectrumBatch
from spectromer.surveys import read_each
from spectromer.words import count

__all__ = ["Predicted", "describe", "predict_files"]

_MAX_PRINTED = 20  # largest number of unreadable files to print
_PART_ROWS = 1024  # approximate number of inputs of a part


class Predicted(NamedTuple):
    """The result of a prediction.

    Attributes
    ----------
    spectra : int
        The number of rows of the table.
    rejected : list of ReadError
        What could not be predicted, with reasons.
    earlier : bool
        Whether nothing could be predicted, and the table is that of an earlier prediction.
    summary : list of str
        How many spectra have each class, and each bit of the flags.
    """

    spectra: int
    rejected: list[ReadError]
    earlier: bool = False
    summary: Sequence[str] = ()


@dataclass
class _Part:
    """The predictions of some inputs.

    Attributes
    ----------
    inputs : Input
        The shards, or the files.
    first, last : int
        The range of their rows, or of the files; `last` is not included.
    rejected : list of (str, str)
        The files and spectra that could not be predicted, with reasons.
    """

    inputs: Input
    first: int
    last: int
    rejected: list[tuple[str, str]] = field(default_factory=list)

    def batches(self, size: int) -> Iterator[tuple[list[str], SpectrumBatch]]:
        """The batches of spectra, with the path of each spectrum."""
        if isinstance(self.inputs, ShardSet):
            rows = np.arange(self.first, self.last)
            paths = self.inputs.index["path"].slice(self.first, len(rows)).to_pylist()
            yield from zip(chunks(paths, size), in_order(self.inputs, rows, size), strict=True)
            return
        for read in chunks(self._readable(self.inputs[self.first : self.last]), size):
            try:
                yield [path for path, _ in read], SpectrumBatch.from_spectra([spectrum for _, spectrum in read])
            except Exception:  # one of them is odd
                for path, spectrum in read:
                    with self._rejecting(path):
                        yield [path], SpectrumBatch.from_spectra([spectrum])

    def _readable(self, files: Sequence[str]) -> Iterator[tuple[str, Spectrum]]:
        for path, result in read_each(files):
            if isinstance(result, ReadError):
                self.rejected.append((result.path, result.reason))
            else:
                yield str(path), result

    @contextmanager
    def _rejecting(self, path: str) -> Iterator[None]:
        """Reject a spectrum if the work for it alone fails."""
        try:
            yield
        except Exception as error:  # a model may raise anything
            self.rejected.append((path, f"it cannot be predicted ({type(error).__name__}: {error})"))

    def predict(self, predictor: Predictor, size: int, scan: bool) -> Iterator[pa.RecordBatch]:
        """The predictions of all batches. A spectrum that the model fails at costs its own row alone."""
        for paths, batch in self.batches(size):
            rows: list[pa.RecordBatch] = []
            try:
                rows = [_rows(predictor, paths, batch, scan)]
            except Exception:
                for i, path in enumerate(paths):
                    with self._rejecting(path):
                        rows.append(_rows(predictor, [path], batch.select([i]), scan))
            yield from rows


def _rows(predictor: Predictor, paths: list[str], batch: SpectrumBatch, scan: bool) -> pa.RecordBatch:
    table = predictor.predict(batch, scan=scan)
    table.add_column([printable(path) for path in paths], index=0, name="path")
    return to_arrow(describe_columns(table, ["path"]))


class _Parts:
    """The folder of the parts of one prediction.

    Part N has a file of rows (`part-N.arrow`), and then a record (`part-N.json`). A part with a record is finished.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def begin(self, key: str) -> None:
        """Keep the parts that are there if they belong to the prediction with this key; otherwise remove them."""
        path = self.folder / "key.txt"
        if path.is_file() and path.read_text() == key:
            return
        for old in self.folder.glob("part-*"):
            old.unlink()
        with atomic(path) as part:
            part.write_text(key)

    def record(self, number: int) -> dict[str, Any] | None:
        """The number of rows, and the rejected inputs, of a finished part; None if it is not finished."""
        path = self.folder / f"part-{number}.json"
        try:
            record: dict[str, Any] = json.loads(path.read_text())
            rows = sum(batch.num_rows for batch in self.rows(number)) if record["rows"] else 0
        except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):  # it is absent or damaged
            return None
        return record if rows == record["rows"] else None

    def write(self, number: int, batches: Iterable[pa.RecordBatch], rejected: list[tuple[str, str]]) -> dict[str, Any]:
        """Write a part and its record."""
        path, rows = self._path(number), 0
        with atomic(path) as part, part.open("wb") as file:
            writer = None
            for batch in batches:
                writer = writer or pa.ipc.new_file(file, batch.schema)
                writer.write_batch(batch)
                rows += batch.num_rows
            if writer is not None:
                writer.close()
        record = {"rows": rows, "rejected": rejected}
        with atomic(path.with_suffix(".json")) as part:
            part.write_text(json.dumps(record))
        return record

    def rows(self, number: int) -> Iterator[pa.RecordBatch]:
        """The rows of a part."""
        with pa.OSFile(str(self._path(number))) as file:
            reader = pa.ipc.open_file(file)
            for i in range(reader.num_record_batches):
                yield reader.get_batch(i)

    def _path(self, number: int) -> Path:
        return self.folder / f"part-{number}.arrow"


def _stamp(file: str) -> str:
    """A line that changes when a file does."""
    try:
        status = os.stat(file)
    except (OSError, ValueError):  # it will be rejected
        return f"{file}\n"
    return f"{file} {status.st_size} {status.st_mtime_ns}\n"


def _key(run: Path, inputs: Sequence[Input], paths: Sequence[str], batch_size: int, scan: bool) -> str:
    """The SHA-256 of all that decides about the predictions: the model, the inputs, and the options."""
    found = hashlib.sha256(f"{spectromer.__version__} {batch_size} {scan}".encode())
    files = RunFolder(run)
    for path in (files.model, files.weights, files.calibration):
        with path.open("rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    for name, data in zip(paths, inputs, strict=True):
        if isinstance(data, ShardSet):
            found.update((Path(name) / MANIFEST).read_bytes())
        else:
            found.update("".join(map(_stamp, data)).encode("utf-8", "surrogateescape"))
    return found.hexdigest()


def predict_files(
    model: str | os.PathLike[str] | None,
    paths: Sequence[str],
    out: Path,
    batch_size: int = 256,
    scan: bool = True,
    report: bool = False,
) -> Predicted:
    """Write a table of the predictions for each spectrum, and list what could not be read or predicted.

    Parameters
    ----------
    model : str or path-like, optional
        The model, as in `Predictor.load`.
    paths : sequence of str
        Survey files, folders of survey files, catalogues of files with a column `path`, or folders of shards.
    out : Path
        The table to write, as .csv, .ecsv, .fits or .parquet. A second file next to it, named <stem>.unreadable.csv,
        lists the files and spectra without a prediction, with reasons. Until the table is finished, its parts are in
        the folder <name>.parts. If nothing can be predicted, no table is written, and an earlier one is kept.
    batch_size : int
        Number of spectra in a batch.
    scan : bool
        As in `Predictor.predict`.
    report : bool
        If true, an HTML page, <stem>.html, is written next to the table.

    Returns
    -------
    Predicted

    Raises
    ------
    RunError
        If the run is not finished.
    ArgumentError, CatalogError
        If the suffix of `out` is another one, `out` cannot be written, or an input does not exist or cannot be read.
    ShardError
        If shards are damaged, or if another prediction writes the same table. Finished parts are kept.
    """
    table_format(out)
    check_writable(out)  # before the work, not after it
    run = find_model(model)
    predictor = Predictor.load(run)
    inputs = open_inputs(paths)
    step = -(-_PART_ROWS // batch_size) * batch_size
    work = [_Part(data, i, min(i + step, len(data))) for data in inputs for i in range(0, len(data), step)]
    folder = out.with_name(f"{out.name}.parts")
    with alone(folder, "prediction"):
        parts = _Parts(folder)
        parts.begin(_key(run, inputs, paths, batch_size, scan))
        records = _finish_parts(parts, work, predictor, batch_size, scan)
        filled = [number for number, record in enumerate(records) if record["rows"]]

        def rows() -> Iterator[pa.RecordBatch]:
            return (batch for number in filled for batch in parts.rows(number))

        if filled:
            write_parts(rows, out)
        rejected = [ReadError(*reason) for record in records for reason in record["rejected"]]
        write_rejected(rejected, out.with_name(f"{out.stem}.unreadable.csv"))

        summary = _summary(rows())
        if report and filled:
            write_overview(rows, inputs, run.name, summary, out.with_suffix(".html"))
        shutil.rmtree(folder)
    earlier = not filled and out.exists()
    return Predicted(sum(record["rows"] for record in records), rejected, earlier, summary)


def _summary(rows: Iterable[pa.RecordBatch]) -> list[str]:
    """The numbers of spectra of each class, and with each bit of the flags, in lines."""
    counts = {name: Counter[str]() for name in ("class", *FLAGS)}
    for batch in rows:
        for name, found in counts.items():
            if name not in batch.schema.names:
                continue
            values = batch[name].to_numpy(zero_copy_only=False)
            if name == "class":
                found.update(value for value in values if value)
            else:
                found.update({bit: int(((values.astype(np.int64) & at) > 0).sum()) for bit, at in FLAGS[name].items()})
    return [
        f"{name}: " + ", ".join(f"{number:,} {value}" for value, number in found.most_common() if number)
        for name, found in counts.items()
        if found.total()
    ]


def _finish_parts(
    parts: _Parts, work: Sequence[_Part], predictor: Predictor, size: int, scan: bool
) -> list[dict[str, Any]]:
    """Make the parts that are missing, and return the records of all."""
    records = []
    kept = 0
    with Progress() as progress:
        bar = progress.add_task("predicting", total=sum(part.last - part.first for part in work))
        for number, part in enumerate(work):
            record = parts.record(number)
            kept += record is not None
            if record is None:
                try:
                    record = parts.write(number, part.predict(predictor, size, scan), part.rejected)
                except (SpectromerError, KeyboardInterrupt):
                    print(f"{number} of {len(work)} parts are kept in {parts.folder}: repeat the command to continue")
                    raise
            records.append(record)
            progress.advance(bar, part.last - part.first)
    if kept:
        print(f"{kept} of {len(work)} parts were finished before")
    return records


def describe(found: Predicted, out: Path) -> str:
    """A summary of a prediction, in lines."""
    lines = [f"{out} holds the predictions of {count(found.spectra, 'spectrum')}"] if found.spectra else []
    lines += [f"{out} is that of an earlier prediction"] if found.earlier else []
    lines += found.summary
    lines += [f"unreadable: {failure}" for failure in found.rejected[:_MAX_PRINTED]]
    if found.rejected:
        unreadable = out.with_name(f"{out.stem}.unreadable.csv")
        number = count(len(found.rejected), "file or spectrum", "files or spectra")
        lines.append(f"{number} without a prediction; {unreadable} lists all of them")
    return "\n".join(lines)
