"""The options of small runs, and how their tables are read."""

from pathlib import Path

import pyarrow.parquet
from astropy.table import Table

MODEL = ["--size", "64", "--panels", "4", "--model", "test_vit", "--no-pretrained"]
SMALL = ["--simulated", "600", "--epochs", "2", *MODEL]
TARGETS = ["--targets", "class", "subclass", "z", "teff"]


def read_table(path: Path) -> Table:
    """Astropy's reader of parquet needs pandas; pyarrow's own does not."""
    if path.suffix == ".parquet":
        return Table(pyarrow.parquet.read_table(path).to_pydict())
    return Table.read(path)
