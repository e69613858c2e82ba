"""From survey files to shards, batches and images on one core, compared with astropy in a torch Dataset."""

import csv
import gzip
import warnings
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from astropy.io import fits
from torch.utils.data import DataLoader, Dataset

import spectromer
from spectromer import SpectrumBatch
from spectromer.ingest import IngestConfig, Selection, ingest
from spectromer.shards.batches import Batches
from spectromer.shards.build import build_shard
from spectromer.shards.feeds import Feed
from spectromer.shards.store import ShardSet
from spectromer.surveys import read_each
from spectromer.surveys.lamost import SURVEY as LAMOST
from spectromer.surveys.sdss import SURVEY as SDSS
from spectromer.surveys.simulated import simulate

FILES = "files, read"
WHOLE = "the whole way, SDSS lite files"
COUNT = 256
BATCH = 64
REAL = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Simulated spectra as SDSS lite files and as gzip-compressed LAMOST tables."""
    root = tmp_path_factory.mktemp("files")
    for name in ("sdss", "lamost"):
        (root / name).mkdir()
    for i, spectrum in enumerate(simulate(COUNT, surveys=("SDSS",))):
        SDSS.write(spectrum, root / "sdss" / f"spec-{i}.fits")
    for i, spectrum in enumerate(simulate(COUNT, surveys=("LAMOST",))):
        path = root / "lamost" / f"spec-{i}.fits"
        LAMOST.write(spectrum, path)
        path.write_bytes(gzip.compress(path.read_bytes()))
    return root


def files(folder: Path, layout: str) -> list[Path]:
    """Files of one layout: simulated ones, or real ones if they are available."""
    if layout.startswith("simulated"):
        return sorted((folder / ("sdss" if "SDSS" in layout else "lamost")).iterdir())
    if not (REAL / "catalog.csv").is_file():
        pytest.skip(f"no real spectra at {REAL}")
    with (REAL / "catalog.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    if "SDSS" in layout:
        return [REAL / row["path"] for row in rows if row["format"].startswith("spec-lite")]
    tables = (REAL / row["path"] for row in rows if row["release"] == "LAMOST DR10")
    return list(islice((path for path in tables if path.read_bytes().startswith(b"\x1f\x8b")), COUNT))


def by_astropy(path: Path, labels: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read flux, ivar and wavelength, and optionally class and z, with astropy in the usual way."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(path, memmap=False) as hdus:
            table = hdus[1].data
            if labels:
                where = hdus[2].data[0] if len(hdus) > 2 else hdus[0].header
                str(where["CLASS"]), float(where["Z"])
            if "loglam" in (name.lower() for name in table.columns.names):
                return np.array(table["flux"]), np.array(table["ivar"]), 10.0 ** table["loglam"].astype(float)
            return table["FLUX"][0], table["IVAR"][0], table["WAVELENGTH"][0]


LAYOUTS = ("simulated SDSS lite", "simulated LAMOST, gzip", "real SDSS lite", "real LAMOST DR10, gzip")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_readers(rate: Any, folder: Path, layout: str) -> None:
    paths = files(folder, layout)
    rate(f"{FILES}: {layout}", "spectromer, with labels", len(paths), lambda: list(read_each(paths)))


@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_astropy(rate: Any, folder: Path, layout: str, labels: bool) -> None:
    paths = files(folder, layout)[:16]
    name = "astropy, with class and z" if labels else "astropy, pixels alone"
    rate(f"{FILES}: {layout}", name, len(paths), lambda: [by_astropy(path, labels) for path in paths])


@pytest.mark.parametrize("layout", [layout for layout in LAYOUTS if "gzip" in layout])
def test_decompression(rate: Any, folder: Path, layout: str) -> None:
    """Decompression by the standard library, the lower limit for a compressed file."""
    content = [path.read_bytes() for path in files(folder, layout)]
    rate(f"{FILES}: {layout}", "gzip.decompress alone", len(content), lambda: [gzip.decompress(c) for c in content])


@pytest.fixture(scope="module")
def shards(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    out = tmp_path_factory.mktemp("shards")
    ingest(IngestConfig((str(folder / "sdss"),), out=out, workers=1))
    return ShardSet.open(out)


def drawn(feed: Feed) -> list[torch.Tensor]:
    return [spectromer.render(batch) for batch, _ in feed]


def test_feed(rate: Any, shards: ShardSet) -> None:
    feed = Feed(Batches(shards, batch_size=BATCH))
    rate(WHOLE, "shards to images, feed torch", len(shards), lambda: drawn(feed))


def test_feed_dali(rate: Any, peer: Any, shards: ShardSet) -> None:
    peer("nvidia.dali", "DALI")
    feed = Feed(Batches(shards, batch_size=BATCH), feed="dali")
    rate(WHOLE, "shards to images, feed dali", len(shards), lambda: drawn(feed))


def test_shards_alone(rate: Any, shards: ShardSet) -> None:
    batches = Batches(shards, batch_size=BATCH)

    def work() -> list:
        fresh = Batches(shards, batch_size=BATCH)  # a new object has no cached batches
        return [fresh[i] for i in range(len(batches))]

    rate(WHOLE, "shards to batches alone", len(shards), work, size=2 * 8 * 4620)


def test_render_alone(rate: Any, shards: ShardSet) -> None:
    batch = shards.batch(np.arange(BATCH))
    rate(WHOLE, "render alone", BATCH, lambda: spectromer.render(batch))


def test_files_to_shards(rate: Any, folder: Path, tmp_path: Path) -> None:
    paths = [str(path) for path in files(folder, "simulated SDSS lite")]
    rate(WHOLE, "files to shards", len(paths), lambda: build_shard(tmp_path, 0, paths, (), Selection()))


class Usual(Dataset):
    """A simple torch Dataset that reads one file at a time with astropy and resamples it to one grid."""

    def __init__(self, paths: list[Path], grid: np.ndarray) -> None:
        self.paths, self.grid = paths, grid

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        flux, ivar, wavelength = by_astropy(self.paths[i])
        on_grid = [np.interp(self.grid, wavelength, values).astype(np.float32) for values in (flux, ivar)]
        return torch.from_numpy(on_grid[0]), torch.from_numpy(on_grid[1])


def test_the_usual_way(rate: Any, folder: Path, shards: ShardSet) -> None:
    assert shards.grid is not None
    wavelength = torch.from_numpy(shards.grid.wavelength)
    loader = DataLoader(Usual(files(folder, "simulated SDSS lite")[:BATCH], shards.grid.wavelength), BATCH)

    def work() -> list:
        return [spectromer.render(SpectrumBatch(flux, ivar, wavelength)) for flux, ivar in loader]

    rate(WHOLE, "astropy in a torch Dataset, to images", BATCH, work, error="np.interp: masked flux leaks in")
