"""What a training run is told, typed; saved in its folder as config.json."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

__all__ = ["PRESETS", "DataConfig", "TrainConfig", "load_config", "save_config"]


@dataclass(frozen=True)
class DataConfig:
    """Which spectra, and how they are divided."""

    data: Path | None = None
    """A folder of shards or of survey files, or a catalogue of files with a column `path`. Without it, a simulated
    survey."""
    targets: tuple[str, ...] = ("class", "subclass", "z")
    """Of class, subclass, z, teff, logg, feh."""
    simulated: int = 14000
    """Spectra in the simulated survey."""
    shares: tuple[float, float, float] = (0.76, 0.1, 0.14)
    """Of train, val and test; every object is in one only."""
    turn: float = 0.0
    """Turns the division: with a test share of 0.2, the turns 0, 0.2, 0.4, 0.6 and 0.8 are five-fold
    cross-validation."""
    seed: int = 0
    """Decides the simulated survey, the division, the weights and the order of training."""


@dataclass(frozen=True)
class TrainConfig(DataConfig):
    """Train Spectromer and evaluate it on spectra it has not seen."""

    out: Path | None = None
    """The run folder; by default runs/<date>-<time>."""
    model: str = "vit_nano_patch16_128"
    """A Vision Transformer of timm, or this package's small default; or "specformer", the transformer over the
    spectrum's pixels that they are compared with."""
    pretrained: bool = True
    """Start from the weights timm publishes for the model (ImageNet), where it publishes any."""
    checkpoint: Path | None = None
    """Start from this local safetensors file of the model instead; or from a run folder, whose model, images and,
    where the targets are the same, heads are taken over."""
    frozen: bool = False
    """Leave the encoder's weights as they are and train the heads alone: with linear heads a linear probe."""
    layer_decay: float | None = None
    """Each block of the ViT learns at this share of the rate of the block above it."""
    heads: Literal["linear", "mlp"] = "linear"
    """One layer, or one hidden layer, between the mean token and each answer."""
    redshift_head: Literal["correlation", "pooled"] = "correlation"
    """Look for z by cross-correlation along the wavelength axis, or in the mean token alone."""
    keep_patches: float = 1.0
    """The share of an image's patches that the ViT reads: those with the most ink."""
    style: str = "panels"
    """How a spectrum is drawn: one of the styles of spectromer.render."""
    size: int | None = None
    """Image size in pixels; by default what the model was made for."""
    channels: tuple[str, ...] = ("flux",)
    """What the images show: flux, first and second (derivatives), error, mask."""
    panels: int | None = None
    """Wavelength segments; for the style "panels" by default one per row of patches."""
    block: int | None = None
    """Height and width, in pixels, of the squares of folded pictures; by default 4."""
    augment: bool = True
    """Train on spectra as they might have been observed: noisier, calibrated and masked otherwise."""
    epochs: int | None = None
    """By default as many as make 1500 steps, but 3 at least."""
    batch_size: int = 64
    lr: float | None = None
    """Peak learning rate, by default 2e-3 from scratch and 1e-4 from given weights; it rises over the first 5 % of the
    steps and falls to 0 as a cosine."""
    weight_decay: float = 0.05
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    """auto: bf16-mixed on a GPU, else 32-true."""
    save_minutes: float = 10.0
    """A run that is cut off goes on from so long before at most, or from the end of the last epoch."""
    feed: Literal["torch", "dali"] = "torch"
    """What hands on the spectra: torch's DataLoader, or NVIDIA DALI (extra `dali`)."""
    workers: int = 0
    """Processes that read ahead; worth while where the model is on a GPU."""


#: Named settings to start from; further options override them.
PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    # The thesis's: one line plot per spectrum over its own range, a ViT-B/16 pretrained with DINO, no leak of labels
    # (no rest-frame shift by the catalogue's z) and no object in two splits.
    "thesis": {
        "model": "vit_base_patch16_224.dino",
        "style": "thesis-plot",
        "lr": 1e-5,
        "weight_decay": 0.01,
        "batch_size": 64,
        "epochs": 30,
        "shares": (0.6, 0.2, 0.2),
    },
}


def save_config(config: TrainConfig, folder: Path) -> None:
    """Write config.json."""
    plain = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(config).items()}
    (folder / "config.json").write_text(json.dumps(plain, indent=2) + "\n")


def load_config(folder: Path) -> TrainConfig:
    """Read back `save_config`.

    Raises
    ------
    ValueError
        When the folder is no run folder.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise ValueError(f"{folder} is not a run folder: it holds no config.json")
    saved = json.loads(path.read_text())
    for name in ("data", "out", "checkpoint"):
        saved[name] = Path(saved[name]) if saved[name] is not None else None
    for name in ("targets", "shares", "channels"):
        saved[name] = tuple(saved[name])
    return replace(TrainConfig(), **saved)
