"""Report for each catalogue of an ingestion how many of the spectra that it names are in the shards."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from spectromer.errors import ReadError
from spectromer.shards.records import INDEX, catalog_path
from spectromer.spectra import name_of
from spectromer.surveys.catalogs import Catalog, path_key
from spectromer.words import count

__all__ = ["Match", "match_catalogs"]

_ROWS = 1 << 16  # number of rows of the index that are looked up at a time


class Match(NamedTuple):
    """What a catalogue and the shards have in common.

    Attributes
    ----------
    rows, matched : int
        The number of rows of the catalogue with different identities, and the number of these whose spectrum is in the
        shards.
    named, read : str
        The identities of one of these rows and of one of the spectra, as examples. They are empty if there is none.
    """

    rows: int
    matched: int
    named: str
    read: str

    def describe(self, name: str) -> str:
        """A line about the catalogue with this name, and a warning if no row matched."""
        line = f"catalogue {name}: {self.matched:,} of {count(self.rows, 'row')} matched a spectrum"
        if self.matched or not self.read:
            return line
        if not self.rows:
            return f"warning: {line}"
        return f"warning: {line}; it names spectra such as {self.named}, and the files hold such as {self.read}"


def match_catalogs(out: Path, catalogs: int, rejected: Sequence[ReadError] = ()) -> list[Match]:
    """Look up the spectra of all shards in the prepared catalogues of their ingestion.

    Parameters
    ----------
    out : Path
        The folder of the finished shards.
    catalogs : int
        The number of catalogues.
    rejected : sequence of ReadError
        The rejected files and spectra. A row with a path does not apply to a file if another spectrum of this file was
        rejected.
    """
    if not catalogs:
        return []
    tables = [Catalog(catalog_path(out, i)) for i in range(catalogs)]
    with pa.memory_map(str(out / INDEX)) as file:
        index = pa.ipc.open_file(file).read_all().select(["survey", "object_id", "path"])
    paths = Counter(index["path"].to_pylist())
    paths.update(error.path for error in rejected)
    found = [np.zeros(len(table), bool) for table in tables]
    read = ["", ""]  # a name, and the key of a path
    for batch in index.to_batches(_ROWS):
        rows = batch.to_pydict()
        names = [name_of(*names) for names in zip(rows["survey"], rows["object_id"], strict=True)]
        keys = [path_key(path) for path in rows["path"] if paths[path] == 1]
        read = [read[0] or next(iter(names), ""), read[1] or next(iter(keys), "")]
        for table, mask in zip(tables, found, strict=True):
            for wanted in (names, keys):
                mask[table.find(wanted)[1]] = True
    matches = []
    for table, mask in zip(tables, found, strict=True):
        named = table.first()
        by_path = named.startswith(path_key("/"))
        example = (read[1] if by_path else read[0]) or read[0]
        matches.append(Match(len(table), int(mask.sum()), _shown(named), _shown(example)))
    return matches


def _shown(key: str) -> str:
    return key.removeprefix(path_key("/")[:-1])
