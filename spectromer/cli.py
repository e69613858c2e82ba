"""Error handling shared by all commands."""

import sys
from collections.abc import Callable

from spectromer.errors import SpectromerError, require

__all__ = ["check_least", "exit_code"]


def check_least(options: object, **bounds: int) -> None:
    """Raise ArgumentError unless each of the named options is at least its bound."""
    for name, bound in bounds.items():
        value = getattr(options, name)
        require(value >= bound, f"--{name.replace('_', '-')} must be at least {bound}, got {value}")


def exit_code(work: Callable[[], object]) -> int:
    """Run `work`, and return the exit code.

    An error that the user can fix becomes one line on standard error and exit code 2. Any other exception is a bug and
    keeps its traceback.
    """
    try:
        work()
    except SpectromerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
