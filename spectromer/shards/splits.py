"""Which spectra show one object, and the division of spectra by object."""

import hashlib
from collections.abc import Sequence

import numpy as np

__all__ = ["SPLITS", "name_objects", "some", "split_by_object"]

SPLITS = ("train", "val", "test")
_SAME_OBJECT_ARCSEC = 3.0


def name_objects(ra: np.ndarray, dec: np.ndarray, given: Sequence[str | None], otherwise: Sequence[str]) -> list[str]:
    """One name per spectrum, the same for all spectra of an object.

    Parameters
    ----------
    ra, dec : ndarray [N]
        Degrees; NaN where they are not known.
    given : sequence of str or None
        Names that are known, as from a catalogue or an earlier division: they stay.
    otherwise : sequence of str
        Names of spectra without either.

    Returns
    -------
    list of str
        What was given; else what was given to, or the position of, the first spectrum within 3 arcsec, from neighbour
        to neighbour.
    """
    names = [name or "" for name in given]
    placed = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
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
    objects: Sequence[str], shares: tuple[float, float, float], seed: int, turn: float = 0.0
) -> dict[str, np.ndarray]:
    """Divide spectra into train, val and test by a hash of their object, so that no object stands in two.

    The hash depends on the object's name and the seed alone: an object stays where it is when others are added.

    Parameters
    ----------
    objects : sequence of str
    shares : (float, float, float)
        Of train, val and test; they add up to 1.
    seed : int
    turn : float
        Turns the circle of hashes: with a test share of 0.2, the turns 0, 0.2, ... 0.8 have five test splits without a
        common object, as cross-validation needs.

    Returns
    -------
    dict of ndarray int64
        The rows of each.
    """
    bounds = np.cumsum(shares)
    places = np.empty(len(objects))
    for i, name in enumerate(objects):
        digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
        places[i] = int.from_bytes(digest[:8], "big") / 2.0**64
    places = (places + turn) % 1.0
    split = np.minimum(np.searchsorted(bounds, places, side="right"), len(SPLITS) - 1)
    return {name: np.flatnonzero(split == i) for i, name in enumerate(SPLITS)}


def some(rows: np.ndarray, most: int) -> np.ndarray:
    """`most` of the rows at most, evenly spread over them."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(int)]
