"""Errors that a user can mend are one family, and survive the way between processes."""

import pickle
from pathlib import Path

import pytest

from spectromer import ReadError, SpectromerError, errors

KINDS = [getattr(errors, name) for name in errors.__all__ if name not in ("SpectromerError", "require")]


@pytest.mark.parametrize("kind", KINDS)
def test_all_are_one_family(kind: type[SpectromerError]) -> None:
    assert issubclass(kind, SpectromerError) and issubclass(SpectromerError, ValueError)


@pytest.mark.parametrize("kind", KINDS)
def test_they_go_from_process_to_process(kind: type[SpectromerError]) -> None:
    made = kind("a.fits", "cut off") if kind is ReadError else kind("a.fits: cut off")
    found = pickle.loads(pickle.dumps(made))
    assert type(found) is kind and str(found) == "a.fits: cut off" and found.__dict__ == made.__dict__


def test_a_file_that_cannot_be_read_keeps_its_path_and_its_reason() -> None:
    found = pickle.loads(pickle.dumps(ReadError(Path("folder") / "a.fits", "cut off")))
    assert (found.path, found.reason, str(found)) == ("folder/a.fits", "cut off", "folder/a.fits: cut off")


def test_a_rule_that_is_broken_is_told() -> None:
    errors.require(True, "nothing")
    with pytest.raises(errors.ArgumentError, match=r"^size must be at least 1, got 0$"):
        errors.require(False, "size must be at least 1, got 0")
