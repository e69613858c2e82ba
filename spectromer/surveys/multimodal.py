"""Spectra of the Multimodal Universe, from HDF5 files or from its Hugging Face datasets."""

import re
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from spectromer.errors import DependencyError, LayoutError, ReadError
from spectromer.grids import survey_grid
from spectromer.spectra import Spectrum
from spectromer.surveys.common import build
from spectromer.surveys.survey import Survey, surveys

__all__ = ["STREAM", "SUFFIXES", "from_multimodal", "read_hdf5", "read_stream", "stream_parts"]

SUFFIXES = (".hdf5", ".h5")
STREAM = "hf"  # hf:NAME or hf:NAME:SPLIT is a Hugging Face dataset, hf:NAME:SPLIT:I:N the part I of its N
_ROWS = 256  # rows that are read at a time
_PIXELS = ("flux", "ivar", "mask", "lambda", "wavelength")
_IDENTITY = "OBJECT_ID"
_BYTES_TEXT = re.compile(r"b(['\"])(.*)\1")


def _survey_of(row: Mapping[str, Any]) -> Survey | None:
    """The survey of a row with upper-case names of columns; None if it has the mark of none."""
    return next((survey for survey in surveys() if survey.multimodal_mark in row), None)


def from_multimodal(example: Mapping[str, Any]) -> Spectrum:
    """Make a spectrum from one row of a Multimodal Universe dataset, for example of a streamed Hugging Face dataset.

    Parameters
    ----------
    example : mapping
        A row with `spectrum`, a mapping of `flux`, `ivar`, `lambda` and optionally `mask`, which is True for bad
        pixels. The row may have separate columns `spectrum_flux`, ... instead. Wavelengths of 0 and less are padding.
        LAMOST's dataset has no `ivar`; it is taken as 1 where the flux is not 0. A ZWARNING of True is a warning in
        the dataset of SDSS; in that of DESI, a ZWARN of True means that there is none.

    Returns
    -------
    Spectrum
        The spectrum, with vacuum wavelengths. Its survey is LAMOST if the row has an `obsid`, DESI if it has a `ZWARN`,
        SDSS if it has a `ZWARNING` or other columns of that dataset, and empty otherwise.

    Raises
    ------
    LayoutError
        When the row has no flux or no wavelengths, they differ in length, or a label has a wrong type.
    """
    nested = example.get("spectrum")
    pixels = dict(nested) if isinstance(nested, Mapping) else {}
    pixels |= {name: example[f"spectrum_{name}"] for name in _PIXELS if f"spectrum_{name}" in example}
    wavelength = pixels.get("lambda", pixels.get("wavelength"))
    if "flux" not in pixels or wavelength is None:
        raise LayoutError(f"a spectrum needs flux and lambda, this has {', '.join(pixels) or 'neither'}")
    wavelength, flux = np.asarray(wavelength, np.float64).ravel(), np.asarray(pixels["flux"], np.float32).ravel()
    ivar = np.asarray(pixels.get("ivar", flux != 0), np.float32).ravel()
    if "mask" in pixels:
        ivar = np.where(np.asarray(pixels["mask"], bool).ravel(), np.float32(0), ivar)
    if not wavelength.shape == flux.shape == ivar.shape:
        raise LayoutError(f"flux, ivar and lambda differ in length: {len(flux)}, {len(ivar)}, {len(wavelength)}")
    there = wavelength > 0
    flux, ivar, wavelength = flux[there], ivar[there], wavelength[there]
    exact = survey_grid(np.log10(wavelength)) if len(wavelength) else None
    row = {name.upper(): value for name, value in example.items()}
    survey = _survey_of(row) or Survey()
    labels = survey.labels(row)
    flag = labels.get("zwarning")
    if flag is not None and np.asarray(flag).dtype == bool and np.size(flag) == 1:
        labels["zwarning"] = int(bool(flag) == survey.multimodal_warning)
    return build(flux, ivar, wavelength if exact is None else exact, False, survey.name, _identity(row), labels)


def _identity(row: Mapping[str, Any]) -> str:
    """The object_id of a row as text. Some datasets have it as the text of a bytes object, such as "b'461'"."""
    name = row.get(_IDENTITY, "")
    name = (name.decode("ascii", "replace") if isinstance(name, bytes) else str(name)).strip()
    quoted = _BYTES_TEXT.fullmatch(name)
    return quoted[2].strip() if quoted else name


def read_hdf5(path: Path) -> Iterator[Spectrum | LayoutError]:
    """The spectra of an HDF5 file that the Multimodal Universe's scripts have written, and an error for each other row.

    Raises
    ------
    DependencyError
        When h5py is not installed.
    LayoutError
        When the file contains no such spectra.
    """
    try:
        import h5py
    except ImportError as error:
        raise DependencyError("HDF5 files need h5py: pip install 'spectromer[multimodal]'") from error
    with h5py.File(path, "r") as file:
        if "spectrum_flux" not in file:
            raise LayoutError(f"not of the Multimodal Universe's spectra; the file holds {', '.join(list(file)[:8])}")
        wanted = {_IDENTITY, *(f"SPECTRUM_{name.upper()}" for name in _PIXELS)}
        for survey in (Survey(), *surveys()):
            wanted |= {survey.multimodal_mark or "", *chain.from_iterable(survey.label_columns.values())}
        used = sorted(name for name in file if name.upper() in wanted)
        count = len(file["spectrum_flux"])
        for first in range(0, count, _ROWS):
            part = {name: file[name][first : first + _ROWS] for name in used}
            for i in range(min(_ROWS, count - first)):
                try:
                    yield from_multimodal({name: values[i] for name, values in part.items()})
                except LayoutError as error:
                    yield LayoutError(f"row {first + i}: {error}")


def _stream(name: str, split: str) -> Any:
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise DependencyError("Hugging Face datasets need: pip install 'spectromer[multimodal]'") from error
    try:
        return load_dataset(name, split=split, streaming=True)
    except Exception as error:  # of many kinds, as anything may fail on the network
        raise ReadError(f"{STREAM}:{name}:{split}", f"cannot be opened ({type(error).__name__}: {error})") from error


def stream_parts(path: str) -> list[str]:
    """The parts of a Hugging Face dataset that can be read independently.

    Raises
    ------
    DependencyError
        When the `datasets` library of Hugging Face is not installed.
    ReadError
        When the dataset does not exist or cannot be reached.
    """
    _, name, *rest = path.split(":")
    split = rest[0] if rest else "train"
    parts = _stream(name, split).num_shards
    return [f"{STREAM}:{name}:{split}:{i}:{parts}" for i in range(parts)]


def read_stream(part: str) -> Iterator[Spectrum | ReadError]:
    """The spectra of one part of a dataset, and a ReadError for each row that is not a spectrum."""
    _, name, split, index, parts = part.split(":")
    for row in _stream(name, split).shard(num_shards=int(parts), index=int(index)):
        try:
            yield from_multimodal(row)
        except ValueError as error:
            yield ReadError(part, str(error))
