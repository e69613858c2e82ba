"""Spectra to learn from: the simulated survey, a folder, or a catalogue; and their division by object."""

import csv
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from spectromer.data.simulate import simulate
from spectromer.readers import ReadError, find_files, read_each
from spectromer.readers.common import clean_labels
from spectromer.spectra import Spectrum

__all__ = ["Source", "load_files", "load_simulated", "split_by_object"]

SPLITS = ("train", "val", "test")
_SAME_OBJECT_ARCSEC = 3.0


@dataclass(frozen=True)
class Source:
    """Spectra side by side with where each came from and which object it shows.

    Attributes
    ----------
    spectra : list of Spectrum
    paths : list of str
        Empty strings for simulated spectra.
    objects : list of str
        Spectra of one object share one name.
    rejected : list of ReadError
        What could not be read, and why.
    """

    spectra: list[Spectrum]
    paths: list[str]
    objects: list[str]
    rejected: list[ReadError]


def load_simulated(count: int, seed: int, progress: bool = True) -> Source:
    """`count` simulated spectra, each an object of its own."""
    made = simulate(count, seed=seed)
    spectra = list(track(made, "simulating", total=count) if progress else made)
    return Source(spectra, [""] * count, [f"{s.survey}-{s.id}" for s in spectra], [])


def load_files(data: str | os.PathLike[str], progress: bool = True) -> Source:
    """Read a folder of survey files, one file, or the files that a catalogue lists.

    Parameters
    ----------
    data : path-like
        A folder (searched at any depth), a FITS file, or a CSV with a column `path`, relative to the CSV's folder.
        Columns of the CSV named as labels (class, subclass, z, zwarning, sourcetype, teff, logg, feh, ra, dec) go
        before the files' own; `object_group` names the object, else its position does.

    Raises
    ------
    ValueError
        When `data` does not exist, or is a CSV without a column `path`.
    """
    root = Path(data)
    if not root.exists():
        raise ValueError(f"--data {root}: no such file or folder")
    if root.suffix.lower() == ".csv":
        rows = _catalogue_rows(root)
        paths = [root.parent / row["path"] for row in rows]
    else:
        paths = find_files(root)
        rows = [{} for _ in paths]
    results = read_each(paths)
    spectra, kept, groups, rejected = [], [], [], []
    for row, (path, result) in zip(
        rows, track(results, "reading", total=len(paths)) if progress else results, strict=True
    ):
        if isinstance(result, ReadError):
            rejected.append(result)
            continue
        named = {k: v for k, v in row.items() if k not in ("path", "survey", "format", "release", "snr")}
        groups.append(named.pop("object_group", "") or "")
        spectra.append(replace(result, labels=result.labels | clean_labels(named)))
        kept.append(str(path))
    return Source(spectra, kept, _objects(spectra, kept, groups), rejected)


def _catalogue_rows(path: Path) -> list[dict[str, Any]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        if "path" not in (reader.fieldnames or ()):
            raise ValueError(f"--data {path}: a catalogue needs a column 'path', this has {reader.fieldnames}")
        return list(reader)


def _objects(spectra: Sequence[Spectrum], paths: Sequence[str], groups: Sequence[str]) -> list[str]:
    """The catalogue's group, else the first spectrum within 3 arcsec, else the path."""
    names = list(groups)
    placed = [i for i, s in enumerate(spectra) if not names[i] and {"ra", "dec"} <= s.labels.keys()]
    if placed:
        import astropy.units as u
        from astropy.coordinates import SkyCoord
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        sky = SkyCoord(
            [spectra[i].labels["ra"] for i in placed], [spectra[i].labels["dec"] for i in placed], unit="deg"
        )
        a, b, *_ = sky.search_around_sky(sky, _SAME_OBJECT_ARCSEC * u.arcsec)
        pairs = coo_array((np.ones(len(a), dtype=bool), (a, b)), shape=(len(placed), len(placed)))
        component = connected_components(pairs, directed=False)[1]
        first: dict[int, str] = {}
        for i, group in zip(placed, component, strict=True):
            labels = spectra[i].labels
            names[i] = first.setdefault(group, f"{labels['ra']:.5f}{labels['dec']:+.5f}")
    return [name or path for name, path in zip(names, paths, strict=True)]


def split_by_object(objects: Sequence[str], shares: tuple[float, float, float], seed: int) -> dict[str, list[int]]:
    """Divide spectra into train, val and test by a hash of their object, so that no object stands in two.

    The hash depends on the object's name and the seed alone: an object stays where it is when others are added.

    Parameters
    ----------
    objects : sequence of str
    shares : (float, float, float)
        Of train, val and test; they add up to 1.
    seed : int
    """
    bounds = np.cumsum(shares)
    division: dict[str, list[int]] = {name: [] for name in SPLITS}
    for i, name in enumerate(objects):
        digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
        place = int.from_bytes(digest[:8], "big") / 2.0**64
        division[SPLITS[min(int(np.searchsorted(bounds, place, side="right")), 2)]].append(i)
    return division
