"""What the verbs share on the command line."""

import sys
from collections.abc import Callable

from spectromer.errors import SpectromerError

__all__ = ["exit_code"]


def exit_code(work: Callable[[], object]) -> int:
    """Run `work`. What a user can mend becomes one line on standard error and exit status 2.

    Anything else is a bug, and keeps its traceback.
    """
    try:
        work()
    except SpectromerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
