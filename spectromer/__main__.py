"""`spectromer VERB ...`, the same as `python -m spectromer.VERB ...`."""

import importlib
import sys
from collections.abc import Sequence

import spectromer

VERBS = {
    "download": "fetch spectra from the archives of SDSS and LAMOST",
    "ingest": "bring survey files into shards, from which any number of spectra is read",
    "train": "train a model, and evaluate it on spectra that it has not seen",
    "evaluate": "compare the answers of a model with labels",
    "predict": "write what a model says of spectra into a table",
    "baselines": "train Random Forest, SVM and a 1-D transformer on the same spectra",
    "report": "show the figures of several runs side by side",
    "explain": "draw which wavelengths an answer rests on",
    "export": "make a folder to publish: weights, model card, ONNX and torch.export programs",
}


def _usage() -> str:
    verbs = "\n".join(f"  {name:<10} {line}" for name, line in VERBS.items())
    return (
        f"usage: spectromer VERB ...\n\n{verbs}\n\n"
        "  VERB --help  shows the options of a verb\n  --version    shows the version"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Hand the rest of the command line to the verb."""
    args = list(sys.argv[1:] if argv is None else argv)
    verb = args[0] if args else ""
    if verb in VERBS:
        status: int = importlib.import_module(f"spectromer.{verb}").main(args[1:])
        return status
    if verb == "--version":
        print(f"spectromer {spectromer.__version__}")
        return 0
    asked = verb in ("-h", "--help")
    if verb and not asked:
        print(f"error: {verb!r} is not a verb of spectromer", file=sys.stderr)
    print(_usage(), file=sys.stdout if asked else sys.stderr)
    return 0 if asked else 2


if __name__ == "__main__":
    sys.exit(main())
