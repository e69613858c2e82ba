"""What a training run is told. Nothing here needs torch, so that command lines can tell the options at once."""

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
SPECFORMER = "specformer"  # the one model that is no ViT of timm


@dataclass(frozen=True)
class DataConfig:
    """Which spectra are used, and how they are divided."""

    data: Path | None = None
    """A folder of shards or of survey files, or a catalogue of files with a column `path`. Without it a survey is
    simulated."""
    targets: tuple[str, ...] = ("class", "subclass", "z")
    """Labels to learn: some of class, subclass, z, teff, logg, feh."""
    simulated: int = 14000
    """Number of spectra in the simulated survey."""
    split: tuple[float, float, float] = (0.76, 0.1, 0.14)
    """Shares of the objects for training, validation and test. All spectra of an object are in the same one."""
    fold_offset: float = 0.0
    """Turns the division around: with a test share of 0.2, the offsets 0, 0.2, 0.4, 0.6 and 0.8 give the folds of a
    five-fold cross-validation."""
    seed: int = 0
    """Seed of the simulated survey, the division, the first weights and the order of training."""

    def __post_init__(self) -> None:
        check_targets(self.targets)
        _check_count("simulated", self.simulated)
        shares = all(0.0 < share < 1.0 for share in self.split) and math.isclose(sum(self.split), 1.0, abs_tol=1e-6)
        require(shares, f"split must be three shares above 0 that add up to 1, got {self.split}")
        require(math.isfinite(self.fold_offset), f"fold_offset must be a number, got {self.fold_offset}")
        require(0 <= self.seed < 1 << 32, f"seed must be at least 0 and below 2^32, got {self.seed}")


@dataclass(frozen=True)
class TrainConfig(DataConfig):
    """Train Spectromer, and evaluate it on spectra that it has not seen."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - no field

    out: Path | None = None
    """The run folder; by default runs/<date>-<time>."""
    model: str = "vit_nano_patch16_128"
    """A Vision Transformer of timm or this package's small default; or "specformer", the transformer over the pixels of
    a spectrum that they are compared with."""
    pretrained: bool = True
    """Start from the weights that timm publishes for the model (ImageNet), where it publishes any."""
    checkpoint: Path | None = None
    """Start from this safetensors file of the model instead; or from a run folder, whose model, picture and, where the
    targets are the same, heads are taken over."""
    frozen: bool = False
    """Leave the weights of the encoder as they are and train the heads alone. With linear heads this is a linear
    probe."""
    layer_decay: float | None = None
    """Ratio of the learning rates of neighbouring blocks of the ViT; each block learns more slowly than the next by
    this factor."""
    heads: HeadKind = "linear"
    """Whether each head is one layer, or has a hidden layer."""
    redshift_head: RedshiftMethod = "correlation"
    """Look for z by cross-correlation along the wavelength axis, or in the mean token alone."""
    keep_patches: float = 1.0
    """Share of an image's patches that the ViT reads: those with the most ink."""
    picture: tyro.conf.OmitArgPrefixes[Picture] = Picture.of("panels", size=128, panels=8)  # noqa: RUF009 - frozen
    """How a spectrum is drawn."""
    augment: bool = True
    """Train on spectra as they might have been observed: with more noise, another calibration and other masks."""
    epochs: int | None = None
    """Number of epochs; by default as many as make 1500 steps, but at least 3."""
    batch_size: int = 64
    """Spectra in a batch."""
    lr: float | None = None
    """Peak learning rate, by default 2e-3 from scratch and 1e-4 from given weights. It rises over the first 5 % of the
    steps and falls to 0 as a cosine."""
    weight_decay: float = 0.05
    """Weight decay of AdamW."""
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    """Precision of training; "auto" is bf16-mixed on a GPU and 32-true elsewhere."""
    save_minutes: float = 10.0
    """Minutes between two saves within an epoch. A run that is cut off goes on from the last save."""
    feed: Literal["torch", "dali"] = "torch"
    """What loads the spectra: torch's DataLoader, or NVIDIA DALI (extra `dali`)."""
    workers: int = 0
    """Processes that read ahead; they pay where the model is on a GPU."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_count("batch_size", self.batch_size)
        if self.epochs is not None:
            _check_count("epochs", self.epochs)
        require(self.lr is None or 0.0 < self.lr < math.inf, f"lr must be above 0, got {self.lr}")
        require(0.0 < self.save_minutes <= 1e6, f"save_minutes must lie in (0, 1e6], got {self.save_minutes}")
        for name in ("layer_decay", "keep_patches"):
            value = getattr(self, name)
            require(value is None or 0.0 < value <= 1.0, f"{name} must lie in (0, 1], got {value}")
        require(0.0 <= self.weight_decay < math.inf, f"weight_decay must be at least 0, got {self.weight_decay}")
        require(0 <= self.workers <= 1024, f"workers must lie in [0, 1024], got {self.workers}")
        require(self.picture.dtype == "uint8", f"dtype must be uint8 for training, got {self.picture.dtype}")


@dataclass(frozen=True)
class BaselineConfig(DataConfig):
    """Train what others would use on the same spectra, divided alike, and print all figures side by side."""

    run: Path | None = None
    """A run of `spectromer train`, whose data, targets, division and budget are taken, and which is shown beside the
    others."""
    out: Path | None = None
    """The folder that holds a folder for each method; by default RUN/baselines, or runs/<date>-<time>-baselines."""
    methods: tuple[Literal["forest", "svm", "specformer", "specformer-correlation"], ...] = (
        "forest",
        "svm",
        "specformer",
    )
    """Random Forest; support vector machine; SpecFormer, a 1-D transformer in the manner of AstroCLIP's spectrum
    encoder; and SpecFormer with this package's own redshift head."""
    max_train: int = 20000
    """Largest number of spectra that forest and support vector machine learn from, evenly chosen. Their cost grows
    faster than the data."""
    epochs: int | None = None
    """Number of epochs of the 1-D transformer; by default as many as the run has, or as `spectromer train` takes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_count("max_train", self.max_train)
        if self.epochs is not None:
            _check_count("epochs", self.epochs)


#: Named settings to start from: a style, and options of TrainConfig. Options that are given override them.
PRESETS: dict[str, tuple[str, dict[str, Any]]] = {
    "default": ("panels", {}),
    # The thesis's: one line plot of each spectrum over its own range, and a ViT-B/16 pretrained with DINO. Unlike
    # there, no spectrum is shifted by the catalogue's z (which would leak the label), and no object is in two splits.
    "thesis": (
        "thesis-plot",
        {
            "model": "vit_base_patch16_224.dino",
            "lr": 1e-5,
            "weight_decay": 0.01,
            "batch_size": 64,
            "epochs": 30,
            "split": (0.6, 0.2, 0.2),
        },
    ),
}


def _check_count(name: str, value: int) -> None:
    require(1 <= value < 1 << 31, f"{name} must be at least 1 and below 2^31, got {value}")
