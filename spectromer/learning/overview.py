"""An HTML page of a prediction: counts, flags, and a table of spectra with small plots.

The page is one file that needs no network. It shows at most 200 spectra. At least half of them are flagged, unknown or
have a warning, if there are as many, and the others are taken evenly from the rest.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jinja2 import Environment, PackageLoader
from markupsafe import Markup

import spectromer
from spectromer.errors import ReadError
from spectromer.files import atomic
from spectromer.learning.evidence import SCAN_FLAGS
from spectromer.learning.looking import answer, observed_lines
from spectromer.learning.predictor import Z_FLAGS
from spectromer.learning.tables import from_arrow
from spectromer.markup import chart, sparkline
from spectromer.shards.batches import in_order
from spectromer.shards.sources import Input
from spectromer.shards.splits import subsample
from spectromer.shards.store import ShardSet
from spectromer.spectra import Spectrum
from spectromer.surveys import read_each
from spectromer.words import count

__all__ = ["FLAGS", "write_overview"]

#: The columns of flags, with their bits.
FLAGS = {"z_flag": Z_FLAGS, "z_scan_flag": SCAN_FLAGS}
_MOST = 200  # spectra on the page
_Key = tuple[str, str]  # survey, id
_Rows = Callable[[], Iterable[pa.RecordBatch]]


def write_overview(rows: _Rows, inputs: Sequence[Input], model: str, summary: Sequence[str], path: Path) -> None:
    """Write the page.

    Parameters
    ----------
    rows : callable
        A function that returns the parts of the table of predictions. It is called twice.
    inputs : sequence of ShardSet, or of lists of files
        The inputs of the prediction, from which the spectra are read again.
    model : str
        The model.
    summary : sequence of str
        Lines that are shown first.
    path : Path
        The file to write.
    """
    marked = np.concatenate([_marked(batch) for batch in rows()])
    chosen = _choose(marked)
    found = list(_chosen_rows(rows(), chosen))
    spectra = _spectra(inputs, [((row["survey"], row["id"]), row["path"]) for row in found])
    entries = [_entry(row, spectra.get((row["survey"], row["id"]))) for row in found]
    page = Environment(loader=PackageLoader("spectromer.learning"), autoescape=True).get_template("overview.html")
    text = page.render(
        title=f"{count(len(marked), 'spectrum')}, predicted by the model {model}",
        version=spectromer.__version__,
        summary=summary,
        total=len(marked),
        entries=entries,
        scalars=[name for name in ("teff", "logg", "feh") if entries and name in entries[0]["values"]],
        flags=sorted({flag for entry in entries for flag in entry["flags"]}),
        classes=sorted({entry["values"].get("class", "") for entry in entries} - {""}),
    )
    with atomic(path) as part:
        part.write_text(text, encoding="utf-8")


def _marked(batch: pa.RecordBatch) -> np.ndarray:
    """Which rows are flagged, unknown or have a warning."""
    names = [name for name in ("unknown", *FLAGS) if name in batch.schema.names]
    marks = [batch[name].to_numpy(zero_copy_only=False) != 0 for name in names]
    marks.append(np.array([bool(text) for text in batch["warning"].to_pylist()], dtype=bool))
    any_mark: np.ndarray = np.logical_or.reduce(marks)
    return any_mark


def _choose(marked: np.ndarray) -> np.ndarray:
    """The rows that are shown, ascending."""
    first = subsample(np.flatnonzero(marked), _MOST // 2)
    rest = np.setdiff1d(np.arange(len(marked)), first)
    return np.union1d(first, subsample(rest, _MOST - len(first)))


def _chosen_rows(parts: Iterable[pa.RecordBatch], chosen: np.ndarray) -> Iterator[Any]:
    """The chosen rows of the parts of a table."""
    start = 0
    for batch in parts:
        inside = chosen[(chosen >= start) & (chosen < start + batch.num_rows)] - start
        start += batch.num_rows
        if len(inside):
            yield from from_arrow(batch.take(pa.array(inside)))


def _spectra(inputs: Sequence[Input], wanted: Sequence[tuple[_Key, str]]) -> dict[_Key, Spectrum]:
    """Read the wanted spectra again, as far as they are still there."""
    keys = {key for key, _ in wanted}
    found: dict[_Key, Spectrum] = {}
    for data in inputs:
        if isinstance(data, ShardSet):
            likely = np.flatnonzero(np.isin(data.index["object_id"].to_numpy(), [name for _, name in keys]))
            spectra = (spectrum for batch in in_order(data, likely) for spectrum in batch)
            found |= {(s.survey, s.id): s for s in spectra if (s.survey, s.id) in keys}
    files = list(dict.fromkeys(path for key, path in wanted if key not in found and path))
    for _, result in read_each(files):
        if not isinstance(result, ReadError) and (result.survey, result.id) in keys:
            found[result.survey, result.id] = result
    return found


def _entry(row: Any, spectrum: Spectrum | None) -> dict[str, Any]:
    """The entry of a spectrum on the page: its values, flags, answer and plots."""
    values = {name: row[name] for name in row.colnames}
    flags = [
        f"{name} {bit}"
        for name, bits in FLAGS.items()
        if name in values
        for bit, at in bits.items()
        if int(values[name]) & at
    ]
    flags += [name for name in ("unknown", "warning") if values[name]]
    small = large = ""
    if spectrum is not None:
        flux, ivar, wavelength = (part.double().numpy() for part in (spectrum.flux, spectrum.ivar, spectrum.wavelength))
        small = sparkline(flux, ivar > 0, wavelength)
        large = chart(flux, ivar > 0, wavelength, observed_lines(row))
    return {
        "values": values,
        "flags": flags,
        "answer": answer(row),
        "small": Markup(small),
        "large": Markup(large),
    }
