"""`spectromer VERB ...`, the same as `python -m spectromer.VERB ...`."""

import importlib
import sys
from collections.abc import Sequence

_VERBS = ("download", "ingest", "train", "evaluate", "predict", "baselines", "report", "explain", "export")


def main(argv: Sequence[str] | None = None) -> int:
    """Hand the rest of the line to the verb."""
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] not in _VERBS:
        asked = bool(args) and args[0] in ("-h", "--help")
        print(
            f"usage: spectromer {{{','.join(_VERBS)}}} ...  (--help after a verb tells its options)",
            file=sys.stdout if asked else sys.stderr,
        )
        return 0 if asked else 2
    return importlib.import_module(f"spectromer.{args[0]}").main(args[1:])


if __name__ == "__main__":
    sys.exit(main())
