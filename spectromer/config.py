"""Options of training runs. This module does not import torch, so that `--help` is fast."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from spectromer.errors import require
from spectromer.labels import check_targets
from spectromer.picture import Picture

__all__ = ["PRESETS", "SPECFORMER", "BaselineConfig", "DataConfig", "TrainConfig"]

HeadKind = Literal["linear", "mlp"]
RedshiftMethod = Literal["correlation", "pooled"]
Pooling = Literal["positions", "mean"]
LoggerName = Literal["tensorboard", "csv", "wandb", "mlflow"]
SPECFORMER = "specformer"  # the only model that is not a timm ViT


@dataclass(frozen=True)
class DataConfig:
    """Options that select the spectra and divide them into splits."""

    data: Path | None = None
    """A folder of shards or of survey files, or a catalogue of files (CSV, ECSV, FITS, VOTable or Parquet) with a
    column `path`. A survey is simulated if this is omitted."""
    targets: tuple[str, ...] = ("class", "subclass", "z")
    """Labels to learn, chosen from class, subclass, z, teff, logg and feh."""
    simulated: int = 14000
    """Number of spectra in the simulated survey."""
    mix: int = 0
    """Number of simulated spectra to mix with those of `data` in the training and validation splits. The test split has
    none of them."""
    split: tuple[float, float, float] = (0.76, 0.1, 0.14)
    """Fractions of the objects in the training, validation and test splits. All spectra of an object are in the same
    split."""
    fold_offset: float = 0.0
    """Cyclic shift of the splits over the objects. With a test fraction of 0.2, the offsets 0, 0.2, 0.4, 0.6 and 0.8
    give the folds of a five-fold cross-validation."""
    seed: int = 0
    """Seed of the simulated survey, the splits, the initial weights and the order of the training spectra."""

    def __post_init__(self) -> None:
        check_targets(self.targets)
        _check_count("simulated", self.simulated)
        _check_count("mix", self.mix, least=0)
        require(not self.mix or self.data is not None, f"mix is for data, and none is given, got {self.mix}")
        valid = all(0.0 < part < 1.0 for part in self.split) and math.isclose(sum(self.split), 1.0, abs_tol=1e-6)
        require(valid, f"split must be three fractions above 0 that add up to 1, got {self.split}")
        require(math.isfinite(self.fold_offset), f"fold_offset must be finite, got {self.fold_offset}")
        _check_count("seed", self.seed, least=0, limit=32)


@dataclass(frozen=True)
class TrainConfig(DataConfig):
    """Train a model, and evaluate it on the test split."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - not a field

    out: Path | None = None
    """The run folder. The default is runs/<date>-<time>."""
    model: str = "vit_nano_patch16_128"
    """The name of a Vision Transformer in timm, this package's small default, or "specformer", a 1-D transformer over
    the pixels of a spectrum that serves as a baseline."""
    pretrained: bool = True
    """Start from the ImageNet weights that timm publishes for the model, if there are any."""
    checkpoint: Path | None = None
    """A safetensors file of the model's weights to start from, or a run folder. A run folder also sets the model and
    the picture, and provides the heads of the targets that both runs share."""
    frozen: bool = False
    """Freeze the backbone and train only the heads and the pooling. With linear heads and the pooling
    "mean", this is a linear probe."""
    layer_decay: float | None = None
    """Layer-wise learning-rate decay of the ViT. The learning rate of each block is that of the next block times this
    factor."""
    heads: HeadKind = "mlp"
    """Architecture of the heads: "linear" is one linear layer, "mlp" adds a hidden layer."""
    redshift_head: RedshiftMethod = "correlation"
    """Input of the redshift head: "correlation" cross-correlates the tokens along the wavelength axis, "pooled" uses
    only the features of the whole image."""
    pooling: Pooling = "positions"
    """Features of the whole image: "mean" is the mean token of the ViT; "positions" adds to it a linear function of all
    tokens, in which each position has its own weights."""
    keep_patches: float = 1.0
    """Fraction of an image's patches that the ViT reads. The patches with the most ink are kept."""
    picture: tyro.conf.OmitArgPrefixes[Picture] = Picture.of("strips", size=128, panels=8)  # noqa: RUF009 - it is immutable
    """Options of the picture that the model reads."""
    augment: bool = True
    """Augment the training spectra with extra noise, flux-calibration errors and masked stretches."""
    epochs: int | None = None
    """Number of epochs. The default is as many as 1500 steps take, but at least 3."""
    batch_size: int = 64
    """Number of spectra in a batch, which all processes share."""
    lr: float | None = None
    """Peak learning rate. The default is 2e-3 from scratch and 1e-4 from pretrained weights. The schedule is a linear
    warm-up over the first 5 % of the steps and a cosine decay to 0."""
    weight_decay: float = 0.05
    """Weight decay of AdamW."""
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    """Precision of training. "auto" selects bf16-mixed on a GPU and on CPUs with bfloat16 instructions (AVX-512 or
    AMX, if torch reports them), and 32-true on other CPUs."""
    scan: bool = True
    """Calibrate and evaluate redshifts that are combined with those by templates, as `predict` gives them. Without it,
    they are the model's own, and a large test split is evaluated faster."""
    compile: bool = False
    """Compile the model by torch.compile, which needs a C++ compiler on a CPU and takes about a minute."""
    save_minutes: float = 2.0
    """Minutes between checkpoints. A run that was killed resumes from the last one, and a run that was interrupted by
    ^C where it stopped."""
    logger: LoggerName = "tensorboard"
    """Where the losses of each epoch are logged: in the run folder for TensorBoard or as a CSV file, or by Weights &
    Biases or MLflow (extras `wandb` and `mlflow`)."""
    devices: int = 1
    """Number of GPUs to train on, or of processes on the CPU. On a cluster, the number on each node."""
    nodes: int = 1
    """Number of nodes. Start the command on each node with torchrun or SLURM's srun."""
    feed: Literal["torch", "dali"] = "torch"
    """Data loader: torch's DataLoader, or NVIDIA DALI (extra `dali`)."""
    workers: int = 0
    """Number of worker processes that prefetch batches. They help when the model is on a GPU."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_count("batch_size", self.batch_size)
        if self.epochs is not None:
            _check_count("epochs", self.epochs)
        for name in ("devices", "nodes"):
            _check_count(name, getattr(self, name), limit=16)
        processes = self.devices * self.nodes
        rule = "batch_size must be a multiple of the number of processes, devices times nodes"
        require(self.batch_size % processes == 0, f"{rule}, {processes}, got {self.batch_size}")
        for name in ("lr", "save_minutes"):
            value = getattr(self, name)
            require(value is None or 0.0 < value < math.inf, f"{name} must be above 0, got {value}")
        require(self.save_minutes <= 1e6, f"save_minutes must be at most 1e6, got {self.save_minutes}")
        for name in ("layer_decay", "keep_patches"):
            value = getattr(self, name)
            require(value is None or 0.0 < value <= 1.0, f"{name} must lie in (0, 1], got {value}")
        require(0.0 <= self.weight_decay < math.inf, f"weight_decay must be at least 0, got {self.weight_decay}")
        if self.model == SPECFORMER:
            require(self.layer_decay is None, f"layer_decay is for Vision Transformers, and {SPECFORMER} is none")
            require(self.keep_patches == 1.0, f"keep_patches is for Vision Transformers, and {SPECFORMER} is none")
        _check_count("workers", self.workers, least=0, limit=10)
        require(self.picture.dtype == "uint8", f"dtype must be uint8 for training, got {self.picture.dtype}")


@dataclass(frozen=True)
class BaselineConfig(DataConfig):
    """Train baseline methods on the same spectra and splits, and print all figures side by side."""

    run: Path | None = None
    """A run of `spectromer train` to compare with. It sets the data, the targets, the splits, the batch size and the
    number of epochs."""
    out: Path | None = None
    """The folder that will hold a run folder for each method. The default is RUN/baselines with `--run`, and
    runs/<date>-<time>-baselines without."""
    methods: tuple[Literal["forest", "svm", "specformer", "specformer-correlation"], ...] = (
        "forest",
        "svm",
        "specformer",
    )
    """Methods to train: "forest" is a Random Forest, "svm" a support vector machine, "specformer" a 1-D transformer
    like AstroCLIP's spectrum encoder, and "specformer-correlation" the same transformer with Spectromer's redshift
    head."""
    max_train: int = 20000
    """Maximum number of training spectra for the Random Forest and the support vector machine, whose cost grows faster
    than the number of spectra. A larger training split is subsampled evenly."""
    epochs: int | None = None
    """Number of epochs of the 1-D transformer. The default is that of the run, or of `spectromer train` without
    `--run`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        distinct = bool(self.methods) and len(set(self.methods)) == len(self.methods)
        require(distinct, f"methods must name at least one method, each once, got {self.methods}")
        _check_count("max_train", self.max_train)
        if self.epochs is not None:
            _check_count("epochs", self.epochs)


#: Presets. Each is a picture style and options of TrainConfig; explicit options override them.
PRESETS: dict[str, tuple[str, dict[str, Any]]] = {
    "default": ("strips", {}),
    # The thesis draws one line plot of each spectrum over its own wavelength range and trains a ViT-B/16 pretrained
    # with DINO. Unlike the thesis, we do not shift spectra by the catalogue redshift, which would leak the label, and
    # no object is in two splits.
    "thesis": (
        "thesis-plot",
        {
            "model": "vit_base_patch16_224.dino",
            "heads": "linear",
            "pooling": "mean",
            "lr": 1e-5,
            "weight_decay": 0.01,
            "batch_size": 64,
            "epochs": 30,
            "split": (0.6, 0.2, 0.2),
        },
    ),
}


def _check_count(name: str, value: int, least: int = 1, limit: int = 31) -> None:
    """Raise ArgumentError unless `value` is at least `least` and below 2 to the power of `limit`."""
    require(value >= least, f"{name} must be at least {least}, got {value}")
    require(value < 1 << limit, f"{name} must be below 2^{limit}, got {value}")
