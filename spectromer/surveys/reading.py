"""Reading of survey files. The layout is recognised by the structure of a file, never by its name or release."""

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from astropy.io import fits

from spectromer.errors import DependencyError, LayoutError, ReadError
from spectromer.spectra import Spectrum, SpectrumBatch
from spectromer.surveys import multimodal
from spectromer.surveys.fits import FIRST_HDUS, AstropyHdu, Hdu, read_plain
from spectromer.surveys.survey import surveys

__all__ = ["find_files", "read", "read_each"]

_SUFFIXES = (".fits", ".fit", ".fts", ".fits.gz", ".fit.gz", ".fts.gz", ".fits.bz2", *multimodal.SUFFIXES)
_DESCRIBED = 6  # HDUs that an error message describes


def _read_file(path: str | os.PathLike[str]) -> Spectrum | Iterable[Spectrum | LayoutError]:
    """The spectrum of a file; or the spectra of a file of many, with an error for each that is inconsistent."""
    if not os.path.isfile(path):
        raise ReadError(path, "no such file")
    if os.path.getsize(path) == 0:
        raise ReadError(path, "the file is empty")
    if os.fspath(path).lower().endswith(multimodal.SUFFIXES):
        return _each_of(path, multimodal.read_hdf5(Path(path)))
    with _reasons(path, "FITS"):
        spectrum = _read_plainly(path)
        return spectrum if spectrum is not None else _read_by_astropy(path)


def _read_plainly(path: str | os.PathLike[str]) -> Spectrum | None:
    """The spectrum of a plain file; None if the file is left to astropy."""
    try:
        return _interpret(read_plain(path))
    except LayoutError:
        raise
    except Exception:
        return None


def _read_by_astropy(path: str | os.PathLike[str]) -> Spectrum | Iterable[Spectrum | LayoutError]:
    """The spectrum or the spectra of any FITS file, read by astropy."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # astropy warns of harmless oddities in headers
        with fits.open(path, memmap=False, lazy_load_hdus=True) as hdus:
            spectrum = _interpret([AstropyHdu(hdu) for hdu in hdus[:FIRST_HDUS]])
            if spectrum is not None:
                return spectrum
            for survey in surveys():
                spectra = survey.read_many(hdus, Path(path))
                if spectra is not None:
                    return list(spectra)
            found = ", ".join(_describe(hdu) for hdu in hdus[:_DESCRIBED])
    known = ", ".join(survey.layouts for survey in surveys() if survey.layouts)
    raise LayoutError(f"not a layout this reads ({known}); the file holds {found}")


def _interpret(hdus: Sequence[Hdu]) -> Spectrum | None:
    """The spectrum in the first HDUs of a file, read by the first survey that knows the layout; None if none does."""
    return next((spectrum for survey in surveys() if (spectrum := survey.read(hdus)) is not None), None)


@contextmanager
def _reasons(path: str | os.PathLike[str], kind: str) -> Iterator[None]:
    """Convert any exception raised while a file is read to a ReadError."""
    try:
        yield
    except (LayoutError, DependencyError) as error:
        raise ReadError(path, str(error)) from error
    except Exception as error:  # a broken file may make a reader raise anything
        raise ReadError(path, f"not a readable {kind} file ({type(error).__name__}: {error})") from error


def _each_of(
    path: str | os.PathLike[str], spectra: Iterator[Spectrum | LayoutError]
) -> Iterator[Spectrum | LayoutError]:
    with _reasons(path, "HDF5"):
        yield from spectra


def _describe(hdu: fits.hdu.base._BaseHDU) -> str:
    kind = "table" if isinstance(hdu, fits.BinTableHDU) else "image"
    shape = tuple(hdu.header[f"NAXIS{i}"] for i in range(hdu.header.get("NAXIS", 0), 0, -1))
    return f"{hdu.name or 'unnamed'} ({kind} {shape or 'without data'})"


def find_files(path: str | os.PathLike[str]) -> list[Path]:
    """The FITS and HDF5 files below a folder, in alphabetical order; or a list of `path` alone if it is a file."""
    if not Path(path).is_dir():
        return [Path(path)]
    return sorted(p for p in Path(path).rglob("*") if p.name.lower().endswith(_SUFFIXES) and p.is_file())


def read_each(paths: Iterable[str | os.PathLike[str]]) -> Iterator[tuple[Path, Spectrum | ReadError]]:
    """Read files one after the other. Yields each path with its spectrum, once per spectrum, or with a ReadError."""
    for path in paths:
        try:
            found = _read_file(path)
            for spectrum in [found] if isinstance(found, Spectrum) else found:
                yield Path(path), spectrum if isinstance(spectrum, Spectrum) else ReadError(path, str(spectrum))
        except ReadError as error:
            yield Path(path), error


def read(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
) -> Spectrum | tuple[SpectrumBatch, list[ReadError]]:
    """Read survey spectra.

    Parameters
    ----------
    path : path-like, or a sequence of them
        An SDSS, BOSS, eBOSS or SDSS-V `spec-*` file (full or lite), a legacy `spSpec-*` file or a LAMOST
        low-resolution file of any release, compressed or not; a DESI coadd file (with its redrock file in the same
        folder) or an HDF5 file of the Multimodal Universe; a folder of such files at any depth; or a list of files.

    Returns
    -------
    Spectrum
        The spectrum of a file of one, with vacuum wavelengths and the labels of its header or table.
    SpectrumBatch, list of ReadError
        The spectra of a folder, a list or a file of many, in order, and what could not be read, with reasons.

    Raises
    ------
    ReadError
        When a single file cannot be read or has another layout.
    """
    if isinstance(path, str | os.PathLike):
        if not Path(path).is_dir():
            found = _read_file(path)
            if isinstance(found, Spectrum):
                return found
            return _divide(result if isinstance(result, Spectrum) else ReadError(path, str(result)) for result in found)
        path = find_files(path)
    return _divide(result for _, result in read_each(path))


def _divide(found: Iterable[Spectrum | ReadError]) -> tuple[SpectrumBatch, list[ReadError]]:
    results = list(found)
    spectra = [r for r in results if isinstance(r, Spectrum)]
    return SpectrumBatch.from_spectra(spectra), [r for r in results if isinstance(r, ReadError)]
