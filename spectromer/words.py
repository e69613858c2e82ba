"""Words for messages: numbers with nouns in the singular or the plural."""

import re

__all__ = ["count", "file_name", "first_line"]

_LONGEST_NAME = 200  # letters of the name of a file, so that the file system accepts it


def count(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun, such as "1 file" or "12,345 files".

    Parameters
    ----------
    number : int
    noun : str
        The noun in the singular.
    plural : str, optional
        The noun in the plural. By default an s is added to the singular, but "spectrum" becomes "spectra".
    """
    if number == 1:
        return f"1 {noun}"
    return f"{number:,} {plural or (noun.replace('spectrum', 'spectra') if 'spectrum' in noun else f'{noun}s')}"


def file_name(text: str) -> str:
    """A name for a file that says `text`, of letters that every file system accepts; empty if there are none."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", text).lstrip("-")[:_LONGEST_NAME]


def first_line(error: Exception) -> str:
    """The first line of an error's text, up to 200 characters; the name of its type if it has no text."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
