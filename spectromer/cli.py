"""What the verbs share on the command line."""

import sys
from collections.abc import Callable

__all__ = ["exit_code"]


def exit_code(work: Callable[[], object]) -> int:
    """Run `work`; what is wrong with its input becomes one line on standard error and exit status 2."""
    try:
        work()
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
