"""Words for messages: numbers with nouns in the singular or the plural."""

__all__ = ["count", "first_line"]


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


def first_line(error: Exception) -> str:
    """The first line of an error's text, up to 200 characters; the name of its type if it has no text."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
