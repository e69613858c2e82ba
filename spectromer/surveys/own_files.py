"""Text tables (CSV, ECSV, blank-separated), VOTables and Parquet files with one spectrum of one's own."""

import io
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from spectromer.errors import ArgumentError, DependencyError, LayoutError, SpectromerError
from spectromer.spectra import Spectrum
from spectromer.surveys.content import Content, open_content
from spectromer.surveys.own_columns import columns_needed, from_columns, is_air, is_spectrum, roles_of
from spectromer.surveys.own_text import COMMENT, outline_of

__all__ = ["SUFFIXES", "holds_spectrum", "read_by_specutils", "read_table"]

SUFFIXES = (
    *(".csv", ".ecsv", ".tsv", ".tab", ".txt", ".dat", ".asc", ".ascii", ".spec"),
    *(".vot", ".votable", ".xml", ".parquet", ".pq"),
)
_LARGEST = 8 << 20  # bytes of text; reading takes many times as much memory
_PIXELS = 1 << 20  # the largest number of rows in a Parquet file, whose size does not limit them
_HEAD = 1 << 16  # bytes in which the names of the columns must appear for a file in a folder to be taken as a spectrum
_ROWS = 5  # rows of a table without names that must be numbers for it to be taken as a spectrum
_ECSV = "# %ECSV"
_FIELD = re.compile(rb"<FIELD\b[^>]*?\bname\s*=\s*[\"']([^\"']*)[\"']", re.IGNORECASE)


def read_table(content: Content, name: str) -> Spectrum:
    """The spectrum in a text table, a VOTable or a Parquet file.

    Raises
    ------
    LayoutError
        When the file is none of these, or has no valid columns of wavelength and flux.
    """
    if content.kind == "Parquet":
        columns, units, meta = _read_parquet(content.data)
        return from_columns(columns, units, meta, name)
    if content.kind not in ("text", "VOTable"):
        raise LayoutError("neither a FITS or HDF5 file nor a table of text")
    if len(content.data) > _LARGEST:
        raise LayoutError(
            f"a table of text with one spectrum may have {_LARGEST >> 20} MiB, this has {len(content.data) >> 20}"
        )
    if content.kind == "VOTable":
        table, units = _read_votable(content.data), {}
    else:
        table, units = _read_text(_decoded(content.data))
    return from_columns({column: table[column] for column in table.colnames}, units, table.meta, name)


def holds_spectrum(path: Path) -> bool:
    """Tell whether a table in a folder is a spectrum.

    It is one if it names a wavelength and a flux, or if it has no names, and two or three columns of numbers of which
    the first increases or decreases. A large file is none, and is not opened.
    """
    try:
        if path.stat().st_size > _LARGEST:
            return False
        content = open_content(path)
        if content.kind == "Parquet":
            return is_spectrum(_parquet_file(content.data).schema_arrow.names)
        head = bytes(content.data[:_HEAD])
        if content.kind == "VOTable":
            return is_spectrum(name.decode("utf-8", "replace") for name in _FIELD.findall(head))
        if content.kind != "text":
            return False
        lines = head.decode("utf-8", "replace").splitlines()[: None if len(content.data) <= _HEAD else -1]
        outline = outline_of(lines)
        if outline.names:
            return is_spectrum(outline.names)
        first = np.array([float(row[0]) for row in outline.rows[:_ROWS]])
        steps = np.diff(first)
        return len(first) == _ROWS and len(outline.rows[0]) in (2, 3) and bool((steps > 0).all() or (steps < 0).all())
    except Exception:  # a file that cannot be read is no spectrum, as far as a folder is concerned
        return False


def _decoded(data: Any) -> str:
    try:
        return bytes(data).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LayoutError("a table of text must be in UTF-8") from error


def _read_text(text: str) -> tuple[Any, dict[str, str]]:
    """A table of text, as a table of astropy, and the units that a row of units holds."""
    from astropy.table import Table

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if text.lstrip().startswith(_ECSV):
            return Table.read(text.lstrip().splitlines(), format="ascii.ecsv"), {}
        lines = text.splitlines()
        outline = outline_of(lines)
        names = outline.names
        if names and not is_spectrum(names):
            raise LayoutError(columns_needed(names))
        if not outline.rows:
            raise LayoutError("a table of text without any row of numbers")
        if outline.doubt:
            raise LayoutError(outline.doubt)
        if not names:
            if len(outline.rows[0]) not in (2, 3):
                raise LayoutError(
                    f"a table of text without names needs two or three columns, this has {len(outline.rows[0])}"
                )
            names = ["wavelength", "flux", "error"][: len(outline.rows[0])]
        elif len(names) != len(outline.rows[0]):
            raise LayoutError(f"it has {len(names)} names, but {len(outline.rows[0])} columns of numbers")
        data = [line for line in lines if line.strip() and not line.strip().startswith(COMMENT)]
        missing = [(word, "0") for word in ("", "nan", "NaN", "null", "NULL", "None", "N/A", "--")]
        found = Table.read(
            data[outline.skipped :],
            format="ascii.fast_no_header",
            names=names,
            delimiter=outline.delimiter or " ",
            guess=False,
            fill_values=missing,
        )
    return found, dict(zip(names, outline.units, strict=False))


def _read_votable(data: Any) -> Any:
    """The table of a VOTable that holds a spectrum, or the first if there is none."""
    from astropy.io.votable import parse

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tables = list(parse(io.BytesIO(data)).iter_tables())
        spectra = [table for table in tables if is_spectrum(field.name for field in table.fields)]
        if len(spectra) > 1:
            raise LayoutError(f"a VOTable must hold one spectrum, this has {len(spectra)} with wavelength and flux")
        if not tables:
            raise LayoutError("a VOTable without any table")
        return (spectra or tables)[0].to_table(use_names_over_ids=True)


def _parquet_file(data: Any) -> Any:
    import pyarrow as pa
    import pyarrow.parquet

    return pyarrow.parquet.ParquetFile(pa.BufferReader(pa.py_buffer(data)))


def _read_parquet(data: Any) -> tuple[dict[str, Any], dict[str, str], dict[str, Any]]:
    """The columns of a Parquet file, and their units, where astropy has stored them."""
    file = _parquet_file(data)
    rows = file.metadata.num_rows
    if rows > _PIXELS:
        raise LayoutError(f"a Parquet file of one spectrum may have {_PIXELS} rows, this has {rows}")
    schema = file.schema_arrow
    if not is_spectrum(schema.names):
        return dict.fromkeys(schema.names), {}, {}
    wanted = [column for _, column in roles_of(schema.names).values()]
    masks = [f"{column}.mask" for column in wanted if f"{column}.mask" in schema.names]  # as astropy writes them
    for column in (*wanted, *masks):
        _check_type(schema.field(column).type, column, rows)
    groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
    values = max(
        (sum(group.column(i).num_values for group in groups) for i in range(file.metadata.num_columns)), default=0
    )
    if values > _PIXELS:
        raise LayoutError(f"a Parquet file of one spectrum may have {_PIXELS} values in a column, this has {values}")
    table = file.read(columns=[*wanted, *masks])
    columns = {column: _from_arrow(table[column]) for column in wanted}
    for mask in masks:
        columns[mask.removesuffix(".mask")][_from_arrow(table[mask]).filled(1) != 0] = np.ma.masked
    return columns, *_parquet_metadata(file)


def _check_type(kind: Any, column: str, rows: int) -> None:
    """Refuse a column that holds neither a number per row, nor one list of numbers."""
    import pyarrow as pa

    of_lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    number = kind.value_type if of_lists else kind
    if not (pa.types.is_integer(number) or pa.types.is_floating(number) or pa.types.is_boolean(number)):
        raise LayoutError(f"its column {column} must hold one number per pixel, it has the type {kind}")
    if of_lists and rows != 1:
        raise LayoutError(
            f"its column {column} holds lists, of which a file of one spectrum has one row; it has {rows}"
        )


def _from_arrow(column: Any) -> np.ma.MaskedArray:
    """The numbers of a column, or of its only list, with those that are missing masked."""
    import pyarrow as pa

    if hasattr(column.type, "value_type"):
        column = pa.chunked_array([chunk.flatten() for chunk in column.chunks], column.type.value_type)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    return np.ma.masked_invalid(column.to_numpy())


def _parquet_metadata(file: Any) -> tuple[dict[str, str], dict[str, Any]]:
    """The units of the columns, and the metadata, that astropy writes; empty for other Parquet files."""
    from astropy.table import meta

    text = (file.schema_arrow.metadata or {}).get(b"table_meta_yaml")
    if text is None:
        return {}, {}
    header = meta.get_header_from_yaml(text.decode("utf-8").split("\n"))
    columns = header.get("datatype", ())
    ucds = {f"TUCD{i}": (column.get("meta") or {}).get("ucd", "") for i, column in enumerate(columns)}
    units = {str(column["name"]): str(column.get("unit", "")) for column in columns}
    return units, dict(header.get("meta") or {}) | ucds


def read_by_specutils(path: Path, form: str) -> list[Spectrum]:
    """The spectra of a file that one of specutils' loaders reads.

    Raises
    ------
    DependencyError
        When specutils is not installed.
    ArgumentError
        When it has no such loader.
    LayoutError
        When the loader cannot read the file.
    """
    try:
        import specutils
    except ImportError as error:
        raise DependencyError("the option format needs specutils: pip install 'spectromer[specutils]'") from error
    from astropy.io.registry import IORegistryError

    kind = getattr(specutils, "Spectrum", None) or specutils.Spectrum1D
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = kind.read(str(path), format=form)
        except IORegistryError as error:
            raise ArgumentError(f"format must be the name of a loader of specutils, got {form!r}") from error
        name = path.name.split(".")[0]
        air = is_air(found.meta or {}) or _headers_say_air(path)
        if found.flux.ndim > 1:
            rows = [found[index] for index in np.ndindex(found.flux.shape[:-1])]
            return [Spectrum.from_specutils(row, air=air, id=f"{name}-{i}") for i, row in enumerate(rows)]
        try:
            return [Spectrum.from_specutils(found, air=air, id=name)]
        except SpectromerError as error:
            raise LayoutError(str(error)) from error


def _headers_say_air(path: Path) -> bool:
    """Tell whether any header of a FITS file says so; the loaders of specutils keep but one. False for other files."""
    from astropy.io import fits

    try:
        with fits.open(path) as hdus:
            return any(is_air(hdu.header) for hdu in hdus)
    except OSError:
        return False
