"""The Multimodal Universe's SDSS, DESI and LAMOST sets: HDF5 files on disk, or rows of its Hugging Face datasets."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from spectromer.errors import LayoutError
from spectromer.grids import survey_grid
from spectromer.spectra import Spectrum
from spectromer.surveys.common import build

__all__ = ["from_multimodal"]

SUFFIXES = (".hdf5", ".h5")
STREAM = "hf"  # hf:NAME or hf:NAME:SPLIT is a Hugging Face dataset, hf:NAME:SPLIT:I:N the part I of its N
_ROWS = 256  # read at a time
_PIXELS = ("flux", "ivar", "mask", "lambda", "wavelength")
# Label: the columns it is read from, in lower case, the first that is there.
_LABELS = {
    "class": ("class", "spectype"),
    "subclass": ("subclass", "subtype"),
    "z": ("z",),
    "z_err": ("z_err", "zerr"),
    "zwarning": ("zwarning", "zwarn"),
    "ra": ("ra",),
    "dec": ("dec",),
    **{f"snr_{band}": (f"snr{band}",) for band in "ugriz"},
    **{name: (name,) for name in ("teff", "teff_err", "logg", "logg_err", "feh", "feh_err")},
}


def from_multimodal(example: Mapping[str, Any]) -> Spectrum:
    """A spectrum from one row of a Multimodal Universe dataset, such as a streamed Hugging Face dataset yields.

    Parameters
    ----------
    example : mapping
        With `spectrum` (a mapping of `flux`, `ivar`, `lambda` and, where there is one, `mask`, True for bad pixels) or
        the same as `spectrum_flux`, ...; wavelengths of 0 and less are padding. LAMOST's set has no `ivar`: it is 1
        where there is a flux. Of flags that are True or False, as the datasets make of ZWARN, True means no warning.

    Returns
    -------
    Spectrum
        In vacuum; of the survey LAMOST where there is an `obsid`, DESI where there is a `ZWARN`, else SDSS.

    Raises
    ------
    ValueError
        When it has no flux or no wavelengths, or they do not fit together.
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
    row = {name.lower(): value for name, value in example.items()}
    labels = {label: next((row[n] for n in names if n in row), None) for label, names in _LABELS.items()}
    flag = labels["zwarning"]
    if isinstance(flag, bool | np.bool_):
        labels["zwarning"] = 0 if flag else 1
    survey = "LAMOST" if "obsid" in row else "DESI" if "zwarn" in row else "SDSS"
    name = row.get("object_id", "")
    name = name.decode("ascii", "replace") if isinstance(name, bytes) else str(name)
    return build(flux, ivar, wavelength if exact is None else exact, False, survey, name.strip(), labels)


def read_hdf5(path: Path) -> Iterator[Spectrum]:
    """The objects of one file as the Multimodal Universe's scripts write it."""
    try:
        import h5py
    except ImportError as error:
        raise LayoutError("HDF5 files need h5py: pip install 'spectromer[multimodal]'") from error
    with h5py.File(path, "r") as file:
        if "spectrum_flux" not in file:
            raise LayoutError(f"not of the Multimodal Universe's spectra; the file holds {', '.join(list(file)[:8])}")
        lower = {name.lower(): name for name in file}
        wanted = {f"spectrum_{name}" for name in _PIXELS} | {name for names in _LABELS.values() for name in names}
        used = [lower[name] for name in sorted((wanted | {"object_id", "obsid"}) & lower.keys())]
        count = len(file["spectrum_flux"])
        for first in range(0, count, _ROWS):
            part = {name: file[name][first : first + _ROWS] for name in used}
            for i in range(min(_ROWS, count - first)):
                yield from_multimodal({name: values[i] for name, values in part.items()})


def _stream(name: str, split: str) -> Any:
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise ValueError("Hugging Face datasets need: pip install 'spectromer[multimodal]'") from error
    try:
        return load_dataset(name, split=split, streaming=True)
    except Exception as error:  # of many kinds, as anything may be wrong between here and there
        raise ValueError(f"{STREAM}:{name}:{split}: cannot be opened ({type(error).__name__}: {error})") from error


def stream_parts(path: str) -> list[str]:
    """The parts of a Hugging Face dataset that can be read apart.

    Raises
    ------
    ValueError
        When there is no such dataset, or no way to it.
    """
    _, name, *rest = path.split(":")
    split = rest[0] if rest else "train"
    parts = _stream(name, split).num_shards
    return [f"{STREAM}:{name}:{split}:{i}:{parts}" for i in range(parts)]


def read_stream(part: str) -> Iterator[Spectrum | ValueError]:
    """The spectra of one part, and for each row that is none the reason."""
    _, name, split, index, parts = part.split(":")
    for row in _stream(name, split).shard(num_shards=int(parts), index=int(index)):
        try:
            yield from_multimodal(row)
        except ValueError as error:
            yield error
