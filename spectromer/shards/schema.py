"""The Arrow schema of spectra in shards, with one row per spectrum."""

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from spectromer.errors import ArgumentError
from spectromer.files import printable
from spectromer.grids import log_coefficients
from spectromer.labels import LABELS
from spectromer.spectra import Spectrum

__all__ = ["BLOCK_ROWS", "FIRST_INDEX_SCHEMA", "FIRST_SCHEMA", "INDEX_SCHEMA", "SCHEMA", "block_of", "index_of"]

BLOCK_ROWS = 256

_PYTHON = {str: str, int: Integral, float: Real}
_ARROW = {str: pa.string(), int: pa.int64(), float: pa.float64()}
_INDEXED = [
    *(pa.field(name, pa.string()) for name in ("object_id", "survey", "path", "object")),
    *(pa.field(name, _ARROW[kind]) for name, kind in LABELS.items()),
    pa.field("flux_scale", pa.float64()),
    pa.field("coeff0", pa.float64()),
    pa.field("coeff1", pa.float64()),
    pa.field("pixels", pa.int32()),
]
_PIXELS = [
    pa.field("lambda", pa.list_(pa.float64())),
    pa.field("flux", pa.list_(pa.float32())),
    pa.field("ivar", pa.list_(pa.float32())),
]
SCHEMA = pa.schema([*_INDEXED, *_PIXELS], metadata={"spectromer": "shard 2"})
INDEX_SCHEMA = pa.schema(_INDEXED, metadata={"spectromer": "index 2"})
#: The schemas of format 1.
FIRST_SCHEMA, FIRST_INDEX_SCHEMA = (
    pa.schema([field for field in schema if field.name != "flux_scale"]) for schema in (SCHEMA, INDEX_SCHEMA)
)
MAX_PIXELS = 1 << 22  # of a spectrum; the offsets of the pixels of a block are 32-bit integers


def block_of(
    spectra: Sequence[Spectrum], paths: Sequence[str] | None = None, objects: Sequence[str | None] | None = None
) -> pa.RecordBatch:
    """Convert spectra to one record batch.

    Parameters
    ----------
    spectra : sequence of Spectrum
    paths : sequence of str, optional
        The file of each spectrum.
    objects : sequence of str or None, optional
        The name of the object that each spectrum shows; None if it is not known.

    Raises
    ------
    ArgumentError
        When a spectrum has a label that is not in `LABELS` or of another type, too many pixels, or arrays that differ
        in length or are not in single precision.
    """
    for s in spectra:
        _check(s)
    grids = [log_coefficients(s.wavelength.numpy()) for s in spectra]
    columns: dict[str, Any] = {
        "object_id": [printable(s.id) for s in spectra],
        "survey": [s.survey for s in spectra],
        "path": [printable(path) for path in paths or [""] * len(spectra)],
        "object": [_text(name) for name in objects or [None] * len(spectra)],
        **{name: [s.labels.get(name) for s in spectra] for name, kind in LABELS.items() if kind is not str},
        **{name: [_text(s.labels.get(name)) for s in spectra] for name, kind in LABELS.items() if kind is str},
        "flux_scale": [s.flux_scale for s in spectra],
        "coeff0": [None if g is None else g[0] for g in grids],
        "coeff1": [None if g is None else g[1] for g in grids],
        "pixels": [len(s) for s in spectra],
        "lambda": [s.wavelength.numpy() if g is None else None for s, g in zip(spectra, grids, strict=True)],
    }
    arrays = {name: pa.array(values, SCHEMA.field(name).type) for name, values in columns.items()}
    ends = pa.array(np.cumsum([0, *columns["pixels"]], dtype=np.int32))
    for name in ("flux", "ivar"):
        values = np.concatenate([getattr(s, name).numpy() for s in spectra] or [np.empty(0, np.float32)])
        arrays[name] = pa.ListArray.from_arrays(ends, pa.array(values))
    return pa.record_batch([arrays[name] for name in SCHEMA.names], schema=SCHEMA)


def _check(s: Spectrum) -> None:
    """Raise ArgumentError unless a shard can hold a spectrum as it is."""
    if len(s) > MAX_PIXELS:
        raise ArgumentError(f"spectrum {s.id!r} has {len(s)} pixels; a shard holds spectra of at most {MAX_PIXELS}")
    if not (s.flux.shape == s.ivar.shape == s.wavelength.shape and s.flux.dtype == s.ivar.dtype == torch.float32):
        raise ArgumentError(f"spectrum {s.id!r} must have float32 flux and ivar, and as many wavelengths")
    for name, value in s.labels.items():
        if name not in LABELS:
            raise ArgumentError(f"label {name!r} of spectrum {s.id!r} must be one of {', '.join(LABELS)}")
        if not isinstance(value, _PYTHON[LABELS[name]]):
            raise ArgumentError(f"label {name!r} of spectrum {s.id!r} must be a {LABELS[name].__name__}, got {value!r}")


def _text(value: str | None) -> str | None:
    return None if value is None else printable(value)


def index_of(rows: pa.Table, objects: Sequence[str]) -> pa.Table:
    """The rows without their pixels, but with the names of their objects."""
    rows = rows.select(INDEX_SCHEMA.names)
    place = rows.schema.get_field_index("object")
    return rows.set_column(place, "object", pa.array(objects, pa.string())).cast(INDEX_SCHEMA)
