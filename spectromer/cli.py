"""Error handling shared by all commands."""

import sys
from collections.abc import Callable

from spectromer.errors import SpectromerError

__all__ = ["exit_code"]


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
