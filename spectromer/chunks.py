"""Iterating over many things, some at a time."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

__all__ = ["chunks"]

_T = TypeVar("_T")


def chunks(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """`size` items at a time; the last list may hold fewer."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
