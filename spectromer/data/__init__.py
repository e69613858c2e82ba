"""Where spectra for training come from: survey files, catalogues, shards and the simulated survey."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

_T = TypeVar("_T")


def chunks(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """`size` items at a time; the last may be fewer."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
