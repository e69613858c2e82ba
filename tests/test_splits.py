"""Objects, and the division of spectra by object."""

import numpy as np
import pytest

from spectromer.shards.splits import name_objects, split_by_object


def test_objects_keep_the_names_they_have() -> None:
    ra, dec = np.array([10.0, 10.0005, np.nan, 50.0, 10.0]), np.array([0.0, 0.0, np.nan, 20.0, 0.0002])
    names = name_objects(ra, dec, [None] * 5, list("abcde"))
    assert names == ["10.00000+0.00000"] * 2 + ["c", "50.00000+20.00000", "10.00000+0.00000"]
    again = name_objects(ra[::-1].copy(), dec[::-1].copy(), [None, *names[:4][::-1]], list("abcde"))
    assert again == names[::-1]  # what is added takes the name of what was there
    assert name_objects(ra, dec, ["x", "y", None, None, None], list("abcde"))[:2] == ["x", "y"]


def test_an_object_stands_in_one_split_and_stays_there() -> None:
    objects = [f"o{i % 500}" for i in range(2000)]
    division = split_by_object(objects, (0.6, 0.2, 0.2), seed=1)
    sets = {name: {objects[i] for i in rows} for name, rows in division.items()}
    assert sum(len(s) for s in sets.values()) == 500 and len(set.union(*sets.values())) == 500
    assert sorted(i for rows in division.values() for i in rows) == list(range(2000))
    for name, share in (("train", 0.6), ("val", 0.2), ("test", 0.2)):
        assert len(sets[name]) / 500 == pytest.approx(share, abs=0.07)
    grown = split_by_object([*objects, *(f"new{i}" for i in range(300))], (0.6, 0.2, 0.2), seed=1)
    assert all(set(division[name]) <= set(grown[name]) for name in division)
    other = split_by_object(objects, (0.6, 0.2, 0.2), seed=2)
    assert not np.array_equal(other["train"], division["train"])


def test_turns_of_the_division_are_folds() -> None:
    """Five turns test every object once."""
    objects = [f"object {i}" for i in range(500)]
    folds = [split_by_object(objects, (0.7, 0.1, 0.2), seed=3, fold_offset=i / 5) for i in range(5)]
    assert sorted(np.concatenate([fold["test"] for fold in folds]).tolist()) == list(range(500))
    for fold in folds:
        assert sorted(np.concatenate(list(fold.values())).tolist()) == list(range(500))
