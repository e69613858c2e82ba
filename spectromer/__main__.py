"""The command `spectromer VERB ...`, which is the same as `python -m spectromer.VERB ...`."""

import importlib
import sys
from collections.abc import Sequence

import spectromer

VERBS = {
    "download": "download spectra from the archives of SDSS and LAMOST",
    "ingest": "convert survey files to shards, for data sets of any size",
    "verify": "verify shards against their checksums, and repair them from their sources",
    "train": "train a model, and evaluate it on a test split",
    "evaluate": "evaluate a trained model on labelled spectra",
    "predict": "write the predictions of a trained model to a table",
    "baselines": "train a Random Forest, an SVM and a 1-D transformer on the same spectra",
    "report": "compare the figures of several runs",
    "show": "plot spectra, what a model says of them, and the picture that it read",
    "embed": "write vectors of spectra, in which similar ones are near",
    "similar": "find the spectra most like given ones, or the rarest",
    "explain": "plot which wavelengths a prediction depends on",
    "export": "export weights, a model card, and ONNX and torch.export programs",
    "info": "print versions, build and devices, for a bug report",
}


def _usage() -> str:
    verbs = "\n".join(f"  {name:<10} {line}" for name, line in VERBS.items())
    return (
        f"usage: spectromer VERB ...\n\n{verbs}\n\n"
        "  VERB --help  show the options of a verb\n  --model-zoo  list the models of the package\n"
        "  --version    show the version"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb with the rest of the command line."""
    args = list(sys.argv[1:] if argv is None else argv)
    verb = args[0] if args else ""
    if verb in VERBS:
        status: int = importlib.import_module(f"spectromer.{verb}").main(args[1:])
        return status
    if verb == "--version":
        print(f"spectromer {spectromer.__version__}")
        return 0
    if verb == "--model-zoo":
        from spectromer.learning.zoo import describe_models

        print(describe_models())
        return 0
    asked = verb in ("-h", "--help")
    if verb and not asked:
        print(f"error: {verb!r} is not a verb of spectromer", file=sys.stderr)
    print(_usage(), file=sys.stdout if asked else sys.stderr)
    return 0 if asked else 2


if __name__ == "__main__":
    sys.exit(main())
