"""The command line of all verbs: parsing, error handling and exit codes.

The exit codes are

- 0 (`DONE`): the command did its work. Some of its inputs may have failed; their number is printed, with the name of
  the file that lists them.
- 1 (`NOTHING`): the command came to its end, but none of its inputs gave a result.
- 2 (`WRONG`): the user has to change something: an option, a file, a folder, the free space of a disk.
- 130 (`INTERRUPTED`): the user has interrupted the command with ^C.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import tyro

from spectromer.errors import NothingError, SpectromerError, require

__all__ = [
    "DONE",
    "INTERRUPTED",
    "NOTHING",
    "WRONG",
    "check_least",
    "exit_code",
    "parse",
    "refuse_empty",
    "split_model",
]

DONE, NOTHING, WRONG, INTERRUPTED = 0, 1, 2, 130
_T = TypeVar("_T")


def parse(kind: type[_T], verb: str, argv: Sequence[str] | None = None) -> _T:
    """Parse the options of a verb.

    An empty argument is refused, as it is nearly always a variable of the shell that is not set. Path would take it for
    the current folder.

    Parameters
    ----------
    kind : type
        The dataclass of the options.
    verb : str
        The name of the verb.
    argv : sequence of str, optional
        The arguments; by default those of the command line.

    Raises
    ------
    SystemExit
        When the arguments are wrong, with exit code 2.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    refuse_empty(args)
    return tyro.cli(kind, prog=f"spectromer {verb}", args=args)


def refuse_empty(args: Sequence[str]) -> None:
    """Exit with code 2 if one of the arguments is empty."""
    if not all(arg.strip() for arg in args):
        before = next((f" after {args[i - 1]!r}" for i, arg in enumerate(args) if i and not arg.strip()), "")
        print(f"error: an argument{before} is empty (is a variable of the shell not set?)", file=sys.stderr)
        raise SystemExit(WRONG)


def check_least(options: object, **bounds: float) -> None:
    """Raise ArgumentError unless each of the named options is at least its bound."""
    for name, bound in bounds.items():
        value = getattr(options, name)
        require(value >= bound, f"--{name.replace('_', '-')} must be at least {bound}, got {value}")


def split_model(model: str | None, paths: Sequence[str]) -> tuple[str | None, tuple[str, ...]]:
    """The model and the paths of the spectra. Without a model, the first path is one if it is a run folder."""
    if model is None and paths and (Path(paths[0]) / "model.json").is_file():
        return paths[0], tuple(paths[1:])
    return model, tuple(paths)


def exit_code(work: Callable[[], object]) -> int:
    """Run `work`, and return the exit code.

    An error that the user can fix, and ^C, become one line on standard error. Any other exception is a bug and keeps
    its traceback.
    """
    try:
        work()
    except SpectromerError as error:
        print(f"error: {error}", file=sys.stderr)
        return NOTHING if isinstance(error, NothingError) else WRONG
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return INTERRUPTED
    return DONE
