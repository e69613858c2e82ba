"""Which spectra show one object, and the division of spectra by object."""

import hashlib
from collections.abc import Sequence

import numpy as np

__all__ = ["SPLITS", "name_objects", "split_by_object", "subsample"]

SPLITS = ("train", "val", "test")
_SAME_OBJECT_ARCSEC = 3.0


def name_objects(
    ra: np.ndarray,  # [N] degrees, NaN where it is not known
    dec: np.ndarray,  # [N] degrees, NaN where it is not known
    given: Sequence[str | None],  # [N]
    otherwise: Sequence[str],  # [N]
) -> list[str]:
    """Name the object of each spectrum; all spectra of an object get one name.

    Spectra within 3 arcsec of one another show one object, and so do spectra that are joined by others between them.

    Parameters
    ----------
    ra, dec : ndarray [N]
        Positions in degrees, NaN where they are not known.
    given : sequence of str or None
        Names that are known, as from a catalogue or an earlier division. They stay as they are.
    otherwise : sequence of str
        Names for spectra that have neither a known name nor a position.

    Returns
    -------
    list of str
        The name of each spectrum: its given name; without one, the first name given to a spectrum of the same object;
        without any, the position of the first spectrum of the object; without a position, the name in `otherwise`.
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
    objects: Sequence[str], split: tuple[float, float, float], seed: int, fold_offset: float = 0.0
) -> dict[str, np.ndarray]:
    """Divide spectra into train, val and test by a hash of their object, so that no object stands in two.

    The hash depends on the object's name and the seed alone: an object stays where it is when others are added.

    Parameters
    ----------
    objects : sequence of str
        The object of each spectrum.
    split : (float, float, float)
        The shares of train, val and test, which add up to 1.
    seed : int
    fold_offset : float
        A share by which the boundaries between the three are moved around the circle of hashes. With a test share of
        0.2, the offsets 0, 0.2, 0.4, 0.6 and 0.8 have five test splits without a common object, as five-fold
        cross-validation needs them.

    Returns
    -------
    dict of ndarray int64
        The rows of each of the three.
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
    """At most `count` of the rows, evenly spread over them."""
    return rows if len(rows) <= count else rows[np.linspace(0, len(rows) - 1, count).astype(int)]
