"""Reading of survey files. The layout is recognised by the structure of a file, never by its name or release."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from astropy.io import fits

from spectromer.errors import ArgumentError, DependencyError, LayoutError, ReadError
from spectromer.files import printable
from spectromer.spectra import Spectrum, SpectrumBatch
from spectromer.surveys import multimodal, own, own_files
from spectromer.surveys.content import Content, open_content
from spectromer.surveys.fits import Hdu, astropy_hdus, open_by_astropy, plain_hdus
from spectromer.surveys.survey import surveys
from spectromer.words import count

__all__ = ["Skipped", "find_files", "read", "read_each"]

_SUFFIXES = (".fits", ".fit", ".fts", *multimodal.SUFFIXES)
_PACKED = (".gz", ".bz2", ".xz", ".zip", ".z")
_DESCRIBED = 6  # HDUs that an error message describes
_ENDINGS = 4  # endings that the message about skipped files names


def _read_file(path: str | os.PathLike[str], form: str | None = None) -> Spectrum | Iterable[Spectrum | LayoutError]:
    """The spectrum of a file; or the spectra of a file of many, with an error for each that is inconsistent."""
    file = path if isinstance(path, Path) else Path(path)
    with _reasons(path, "FITS"):
        if not _is_utf8(path):
            raise LayoutError("its name is not valid UTF-8")
        content = open_content(path)
        if form is not None:
            spectra = own_files.read_by_specutils(file, form)
            return spectra if len(spectra) > 1 else spectra[0]
        if content.kind == "FITS":
            spectrum = _read_plainly(content, file)
            return spectrum if spectrum is not None else _read_by_astropy(content, file)
    if content.kind == "HDF5" or file.name.lower().endswith(multimodal.SUFFIXES):
        return _each_of(path, multimodal.read_hdf5(file))
    with _reasons(path, content.kind or "table"):
        return own_files.read_table(content, _stem(file))


def _is_utf8(path: str | os.PathLike[str]) -> bool:
    try:
        os.fspath(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _stem(path: Path) -> str:
    """The name of a file without its endings."""
    name = path.name
    while name.lower().endswith((*_SUFFIXES, *_PACKED, *own_files.SUFFIXES)) and "." in name[1:]:
        name = name.rpartition(".")[0]
    return name


def _read_plainly(content: Content, path: Path) -> Spectrum | None:
    """The spectrum of a plain file; None if the file is left to astropy."""
    try:
        return _interpret(plain_hdus(content.data, content.size), path)
    except LayoutError:
        raise
    except Exception:
        return None


def _read_by_astropy(content: Content, path: Path) -> Spectrum | Iterable[Spectrum | LayoutError]:
    """The spectrum or the spectra of any FITS file, read by astropy."""
    with open_by_astropy(content, path) as hdus:
        for survey in surveys():
            spectra = survey.read_many(hdus, path)
            if spectra is not None:
                return list(spectra)
        spectrum = _interpret(astropy_hdus(hdus), path)
        if spectrum is not None:
            return spectrum
        found = ", ".join(_describe(hdu) for hdu in hdus[:_DESCRIBED])
    known = ", ".join(survey.layouts for survey in surveys() if survey.layouts)
    raise LayoutError(f"not a layout this reads ({known}, a table with wavelength and flux); the file holds {found}")


def _interpret(hdus: Sequence[Hdu], path: Path) -> Spectrum | None:
    """The spectrum of a file, read by the first survey that knows the layout, or as one's own; None if none does."""
    spectrum = next((spectrum for survey in surveys() if (spectrum := survey.read(hdus)) is not None), None)
    return spectrum if spectrum is not None else own.read_hdus(hdus, _stem(path))


@contextmanager
def _reasons(path: str | os.PathLike[str], kind: str) -> Iterator[None]:
    """Convert any exception raised while a file is read to a ReadError."""
    try:
        yield
    except (ReadError, ArgumentError):
        raise
    except (LayoutError, DependencyError) as error:
        raise ReadError(path, str(error)) from error
    except Exception as error:  # a broken file may make a reader raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ReadError(path, f"not a readable {kind} file ({reason})") from error


def _each_of(
    path: str | os.PathLike[str], spectra: Iterator[Spectrum | LayoutError]
) -> Iterator[Spectrum | LayoutError]:
    with _reasons(path, "HDF5"):
        yield from spectra


def _describe(hdu: fits.hdu.base._BaseHDU) -> str:
    kind = "table" if isinstance(hdu, fits.BinTableHDU) else "image"
    shape = tuple(hdu.header[f"NAXIS{i}"] for i in range(hdu.header.get("NAXIS", 0), 0, -1))
    return f"{hdu.name or 'unnamed'} ({kind} {shape or 'without data'})"


class Skipped:
    """The files of folders that are not read, as their ending or their content is not that of a spectrum."""

    def __init__(self) -> None:
        self._endings: Counter[str] = Counter()
        self._first: Path | None = None

    def add(self, path: Path) -> None:
        """Count a file."""
        self._endings[path.suffix.lower()] += 1
        self._first = path if self._first is None else min(self._first, path)

    def __str__(self) -> str:
        """A sentence that says how many files were skipped, with which endings, and which is the first; or nothing."""
        if self._first is None:
            return ""
        found = [(number, ending or "without an ending") for ending, number in self._endings.most_common()]
        words = [f"{number:,} {ending}" for number, ending in found[:_ENDINGS]]
        words += [f"{sum(number for number, _ in found[_ENDINGS:]):,} others"] if len(found) > _ENDINGS else []
        number = self._endings.total()
        return (
            f"skipped {count(number, 'file')} of the folder that {'is' if number == 1 else 'are'} not taken for "
            f"spectra ({', '.join(words)}), such as {printable(str(self._first))}"
        )


def find_files(path: str | os.PathLike[str], skipped: Skipped | None = None) -> list[Path]:
    """The files of spectra below a folder, in alphabetical order; or a list of `path` alone if it is no folder.

    These are all FITS and HDF5 files, and those tables (CSV, ECSV, text, VOTable and Parquet by the endings `SUFFIXES`
    of `own_files`, compressed or not) that name a wavelength and a flux, or are two or three columns of numbers of
    which the first increases or decreases. Other tables, such as catalogues, and files with other endings are left
    alone. They are counted in `skipped`, except for those whose names begin with a dot.
    """
    if not Path(path).is_dir():
        return [Path(path)]
    found = []
    for file in Path(path).rglob("*"):
        if _is_listed(file):
            found.append(file)
        elif skipped is not None and not file.name.startswith(".") and not file.is_dir():
            skipped.add(file)
    return sorted(found)


def _is_listed(path: Path) -> bool:
    name = path.name.lower()
    for packed in _PACKED:
        name = name.removesuffix(packed)
    if name.endswith(_SUFFIXES):
        return not path.is_dir()
    return name.endswith(own_files.SUFFIXES) and not path.is_dir() and own_files.holds_spectrum(path)


def read_each(
    paths: Iterable[str | os.PathLike[str]], form: str | None = None
) -> Iterator[tuple[Path, Spectrum | ReadError]]:
    """Read files one after the other. Yields each path with its spectrum, once per spectrum, or with a ReadError.

    `form` is the option `format` of `read`.
    """
    for path in paths:
        path = path if isinstance(path, Path) else Path(path)
        try:
            found = _read_file(path, form)
            for spectrum in [found] if isinstance(found, Spectrum) else found:
                yield path, spectrum if isinstance(spectrum, Spectrum) else ReadError(path, str(spectrum))
        except ReadError as error:
            yield path, error


def read(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], format: str | None = None
) -> Spectrum | tuple[SpectrumBatch, list[ReadError]]:
    """Read spectra.

    Parameters
    ----------
    path : path-like, or a sequence of them
        An SDSS, BOSS, eBOSS or SDSS-V `spec-*` file (full or lite), a legacy `spSpec-*` file or a LAMOST file of low or
        medium resolution of any release; a DESI coadd file (with its redrock file in the same folder) or an HDF5 file
        of the Multimodal Universe; a table of one's own with columns of wavelength and flux, as CSV, ECSV, text,
        VOTable, Parquet or FITS; each compressed or not; a folder of such files at any depth; or a list of files.
    format : str, optional
        The name of one of specutils' loaders, such as "tabular-fits" or "wcs1d-fits", which is then used instead.

    Returns
    -------
    Spectrum
        The spectrum of a file of one, with vacuum wavelengths and the labels of its header or table. The survey of
        one's own spectrum is "", and its id the name of the file.
    SpectrumBatch, list of ReadError
        The spectra of a folder, a list or a file of many, in order, and what could not be read, with reasons.

    Raises
    ------
    ReadError
        When a single file cannot be read or has another layout, or a folder has no file of spectra.
    ArgumentError
        When specutils has no loader `format`.
    """
    if isinstance(path, str | os.PathLike):
        if not Path(path).is_dir():
            found = _read_file(path, format)
            if isinstance(found, Spectrum):
                return found
            return _divide(result if isinstance(result, Spectrum) else ReadError(path, str(result)) for result in found)
        skipped = Skipped()
        files = find_files(path, skipped)
        if not files:
            reason = "a folder without a FITS or HDF5 file, or a table with wavelength and flux"
            raise ReadError(path, f"{reason}; {skipped}" if str(skipped) else reason)
        path = files
    return _divide(result for _, result in read_each(path, format))


def _divide(found: Iterable[Spectrum | ReadError]) -> tuple[SpectrumBatch, list[ReadError]]:
    results = list(found)
    spectra = [r for r in results if isinstance(r, Spectrum)]
    return SpectrumBatch.from_spectra(spectra), [r for r in results if isinstance(r, ReadError)]
