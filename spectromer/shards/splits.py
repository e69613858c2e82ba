"""The grouping of spectra by object, and their division into train, val and test."""

import hashlib
from collections.abc import Sequence

import numpy as np

__all__ = ["SPLITS", "name_objects", "split_by_object", "subsample"]

SPLITS = ("train", "val", "test")
_SAME_OBJECT_ARCSEC = 3.0
_FULL_CIRCLE, _POLE = 360.0, 90.0  # degrees; beyond them a position is impossible, and counts as unknown


def name_objects(
    ra: np.ndarray,  # [N] degrees, NaN if unknown
    dec: np.ndarray,  # [N] degrees, NaN if unknown
    given: Sequence[str | None],  # [N]
    otherwise: Sequence[str],  # [N]
) -> list[str]:
    """Name the object of each spectrum. All spectra of an object get the same name, except for names that are given.

    Spectra within 3 arcsec of each other show the same object. This relation is transitive (friends of friends). An
    impossible position, such as a declination of -99, counts as unknown.

    Parameters
    ----------
    ra, dec : ndarray [N]
        Positions in degrees, NaN if unknown.
    given : sequence of str or None
        Known names, for example from a catalogue or an earlier division. They are not changed.
    otherwise : sequence of str
        Names for spectra that have neither a known name nor a position.

    Returns
    -------
    list of str
        The name of the object of each spectrum. It is the name given for the spectrum or, failing that, the first name
        given for any spectrum of the object. If there is none, it is made from the position of the first spectrum of
        the object. A spectrum without a position gets the name in `otherwise`.
    """
    names = [name or "" for name in given]
    placed = np.flatnonzero((np.abs(ra) <= _FULL_CIRCLE) & (np.abs(dec) <= _POLE))  # False for NaN
    if len(placed) and not all(names):
        import astropy.units as u
        from astropy.coordinates import SkyCoord
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        sky = SkyCoord(ra[placed], dec[placed], unit="deg")
        a, b, *_ = sky.search_around_sky(sky, _SAME_OBJECT_ARCSEC * u.arcsec)
        pairs = coo_array((np.ones(len(a), dtype=bool), (a, b)), shape=(len(placed), len(placed)))
        component = connected_components(pairs, directed=False)[1].tolist()
        known: dict[int, str] = {}
        for i, group in zip(placed.tolist(), component, strict=True):
            if names[i]:
                known.setdefault(group, names[i])
        for i, group in zip(placed.tolist(), component, strict=True):
            names[i] = names[i] or known.setdefault(group, f"{ra[i]:.5f}{dec[i]:+.5f}")
    return [name or other for name, other in zip(names, otherwise, strict=True)]


def split_by_object(
    objects: Sequence[str], split: tuple[float, float, float], seed: int, fold_offset: float = 0.0
) -> dict[str, np.ndarray]:
    """Divide spectra into train, val and test by a hash of their object, so that no object is in two of them.

    The hash depends on the object's name and the seed alone, so that an object stays in its part when others are added.

    Parameters
    ----------
    objects : sequence of str
        The object of each spectrum.
    split : (float, float, float)
        The fractions of train, val and test, which add up to 1.
    seed : int
    fold_offset : float
        The fraction of the circle of hashes by which the boundaries between the three parts are shifted. With a test
        fraction of 0.2, the offsets 0, 0.2, 0.4, 0.6 and 0.8 give five disjoint test splits for five-fold
        cross-validation.

    Returns
    -------
    dict of ndarray int64
        The rows of train, val and test.
    """
    bounds = np.cumsum(split)
    places = np.empty(len(objects))
    for i, name in enumerate(objects):
        digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
        places[i] = int.from_bytes(digest[:8], "big") / 2.0**64
    places = (places + fold_offset) % 1.0
    part = np.minimum(np.searchsorted(bounds, places, side="right"), len(SPLITS) - 1)
    return {name: np.flatnonzero(part == i) for i, name in enumerate(SPLITS)}


def subsample(rows: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of the rows, evenly spaced."""
    return rows if len(rows) <= count else rows[np.linspace(0, len(rows) - 1, count).astype(int)]
