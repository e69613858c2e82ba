"""The model: spectra drawn as images, a timm Vision Transformer, and one head per target."""

import json
import logging
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from spectromer.labels import CATEGORIES
from spectromer.learning.redshift import STRETCHES, LogAxis, RedshiftHead
from spectromer.learning.specformer import SpecFormer, SpectrumToSequence
from spectromer.learning.targets import LOGARITHMIC, Targets
from spectromer.picture import Picture
from spectromer.transforms import SpectrumToImage

try:
    import timm
    from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
    from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
except RuntimeError as error:  # torchvision's operators do not fit the torch that is installed
    raise ImportError(
        f"torch {torch.__version__} and the installed torchvision do not belong together ({error}); install both from "
        "the same place, for example `pip install --force-reinstall torch torchvision`"
    ) from error

__all__ = ["Design", "ImageEncoder", "ModelError", "ScalarHead", "SpectrumModel", "create_backbone", "is_known"]

SPECFORMER = "specformer"  # the one model that is no ViT of timm

default_cfgs = generate_default_cfgs(
    {
        "vit_nano_patch16_128": {
            "input_size": (3, 128, 128),
            "mean": (0.1, 0.1, 0.1),  # of spectra drawn as panels: mostly empty
            "std": (0.25, 0.25, 0.25),
            "num_classes": 0,
            "first_conv": "patch_embed.proj",
            "classifier": "head",
        }
    }
)


@register_model
def vit_nano_patch16_128(pretrained: bool = False, **kwargs: Any) -> VisionTransformer:
    """A ViT small enough to be trained from scratch on two CPU cores within minutes (0.8 M parameters)."""
    shape = {"img_size": 128, "patch_size": 16, "embed_dim": 128, "depth": 4, "num_heads": 4}
    return build_model_with_cfg(
        VisionTransformer,
        "vit_nano_patch16_128",
        pretrained,
        pretrained_filter_fn=checkpoint_filter_fn,
        **(shape | kwargs),
    )


class ModelError(ValueError):
    """A model cannot be made as asked; the message is one sentence that says what to do."""


def default_size(name: str) -> int:
    """The image size a timm model was made for."""
    if not timm.is_model(name):
        close = timm.list_models(f"*{name.split('.')[0][:8]}*")[:5]
        raise ModelError(f"model {name!r} is not one of timm's" + (f"; it has {', '.join(close)}" if close else ""))
    cfg = timm.get_pretrained_cfg(name)
    return int(cfg.input_size[-1]) if cfg is not None else 224


def create_backbone(
    name: str, *, size: int, channels: int, pretrained: bool = False, checkpoint: Path | None = None
) -> VisionTransformer:
    """A timm ViT without its classifier, its patch embedding and position embedding fitted to the images.

    Parameters
    ----------
    name : str
        As timm knows it, with or without a tag ("vit_base_patch16_224.dino").
    size, channels : int
        Of the images.
    pretrained : bool
        Start from the weights timm publishes for the model, where it publishes any.
    checkpoint : Path, optional
        Start from this safetensors file of such a model instead.

    Raises
    ------
    ModelError
        When there is no such ViT, or its weights cannot be had.
    """
    home = default_size(name)
    options: dict[str, Any] = {"num_classes": 0, "in_chans": channels}
    if size != home:
        options["img_size"] = size
    if checkpoint is not None:
        if checkpoint.suffix != ".safetensors":
            raise ModelError(f"--checkpoint {checkpoint}: weights are read from .safetensors files alone")
        if not checkpoint.is_file():
            raise ModelError(f"--checkpoint {checkpoint}: no such file")
        options |= {"pretrained": True, "pretrained_cfg_overlay": {"file": str(checkpoint)}}
    elif pretrained and has_published_weights(name):
        options["pretrained"] = True
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # its retries; what fails is told below
    try:
        model = timm.create_model(name, **options)
    except Exception as error:  # timm's, the hub's, and the network's errors have no common base
        if checkpoint is not None:
            raise ModelError(f"--checkpoint {checkpoint}: not weights of {name} ({_first_line(error)})") from error
        if options.get("pretrained"):
            raise ModelError(
                f"the published weights of {name} could not be downloaded ({type(error).__name__}); give a local "
                "file with --checkpoint FILE.safetensors, or start from scratch with --no-pretrained"
            ) from error
        raise ModelError(f"model {name!r} could not be made for {size}-pixel images ({_first_line(error)})") from error
    if not isinstance(model, VisionTransformer):
        raise ModelError(f"model {name!r} is not a Vision Transformer (timm calls it {type(model).__name__})")
    if checkpoint is not None:  # timm itself lets weights be missing where the classifier is left out
        missing = sorted(set(model.state_dict()) - set(checkpoint_filter_fn(load_file(checkpoint), model)))
        if missing:
            raise ModelError(f"--checkpoint {checkpoint}: not weights of {name} (no {', '.join(missing[:3])} in it)")
    return model


def has_published_weights(name: str) -> bool:
    """Whether timm knows where to download weights of this model."""
    cfg = timm.get_pretrained_cfg(name)
    return cfg is not None and bool(cfg.has_weights)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


class ImageEncoder(nn.Module):
    """A ViT that reads images of spectra: tokens and their mean.

    Parameters
    ----------
    backbone : VisionTransformer
        Without classifier.
    picture : Picture
        What the images show.
    keep : float
        Share of the patches that are read, those with the most ink; the others are dropped before the transformer.
    """

    def __init__(self, backbone: VisionTransformer, picture: Picture, keep: float = 1.0) -> None:
        super().__init__()
        if not 0.0 < keep <= 1.0:
            raise ModelError(f"keep_patches must lie in (0, 1], got {keep}")
        self.backbone, self.keep, self.light = backbone, keep, picture.ground == "light"
        self.width: int = backbone.num_features
        cfg: Any = backbone.pretrained_cfg
        # Published means and deviations are those of photographs in R, G, B; images of lines have one for all.
        self.mean, self.std = sum(cfg["mean"]) / len(cfg["mean"]), sum(cfg["std"]) / len(cfg["std"])
        embed: Any = backbone.patch_embed
        self.patch: tuple[int, int] = embed.patch_size
        self.axis = LogAxis.of(picture, embed.grid_size, self.patch[1])
        self.prefix: int = backbone.num_prefix_tokens

    @property
    def layers(self) -> nn.Sequential:
        """The transformer's blocks."""
        return self.backbone.blocks

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images uint8 [B, C, H, W] to tokens [B, T, D] in raster order, 0 where dropped, and the mean of those read.

        Where every patch is read these are the ViT's own features.
        """
        vit: Any = self.backbone
        inputs, prefix = (images.float() / 255.0 - self.mean) / self.std, self.prefix
        if self.keep == 1.0:
            tokens = vit.forward_features(inputs)[:, prefix:]
            return tokens, tokens.mean(1)
        tokens = vit._pos_embed(vit.patch_embed(inputs))  # as in its forward_features, where patch_drop would come next
        kept = self.kept(images)[:, :, None].expand(-1, -1, self.width)
        read = torch.cat((tokens[:, :prefix], tokens[:, prefix:].gather(1, kept)), 1)
        read = vit.norm(vit.blocks(vit.norm_pre(read)))[:, prefix:]
        everywhere = torch.zeros_like(tokens[:, prefix:], dtype=read.dtype)
        return everywhere.scatter(1, kept, read), read.mean(1)

    def kept(self, images: Tensor) -> Tensor:
        """Which patches of each image are read, [B, K] ascending."""
        ink = (255 - images if self.light else images).amax(1, keepdim=True).float()
        ink = functional.avg_pool2d(ink, self.patch).flatten(1)
        return ink.topk(math.ceil(self.keep * ink.shape[1])).indices.sort(1).values


class _Head(nn.Module):
    """One output layer, or with `hidden` a perceptron of one hidden layer."""

    def __init__(self, width: int, outputs: int, hidden: bool) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(width, width), nn.GELU()) if hidden else nn.Identity()
        self.output = nn.Linear(width, outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """[B, width] to [B, outputs]."""
        return self.output(self.hidden(inputs))


class CategoryHead(_Head):
    """Logits of the values of one category, from the mean token and what the redshift may be."""

    def loss(self, logits: Tensor, value: Tensor) -> Tensor:
        """Cross-entropy [B] with `value` int64 [B]."""
        return functional.cross_entropy(logits.float(), value, reduction="none")


class ScalarHead(_Head):
    """A normal distribution of one standardised number, or of its logarithm: mean and ln sigma."""

    def __init__(self, width: int, mean: float, sigma: float, log: bool, hidden: bool = False) -> None:
        super().__init__(width, 2, hidden)
        self.mean, self.sigma, self.log = mean, sigma, log

    def loss(self, out: Tensor, value: Tensor) -> Tensor:
        """Negative log-likelihood [B] of `value` in its own unit, times sigma as it stands (Seitzer et al. 2022).

        Without that factor the few that are thought to be certain outweigh all others, and those of other heads.
        """
        mean, log_sigma = out.float().unbind(1)
        standard = ((value.log() if self.log else value) - self.mean) / self.sigma
        likelihood = log_sigma + 0.5 * ((standard - mean) * torch.exp(-log_sigma)) ** 2
        return likelihood * log_sigma.detach().exp()

    def estimate(self, out: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [B] in the number's own unit."""
        mean, log_sigma = out.float().unbind(1)
        value, error = self.mean + self.sigma * mean, self.sigma * torch.exp(log_sigma)
        return (value.exp(), value.exp() * error) if self.log else (value, error)


class SpectrumModel(nn.Module):
    """An encoder and its heads.

    Parameters
    ----------
    encoder : ImageEncoder or SpecFormer
    targets : Targets
    heads : {"linear", "mlp"}
        Whether the heads have a hidden layer; that of the redshift has none.
    redshift_head : {"correlation", "pooled"}
        Whether the redshift is looked for along the wavelength axis, where there is one, or in the mean token alone.
    """

    def __init__(
        self,
        encoder: ImageEncoder | SpecFormer,
        targets: Targets,
        heads: Literal["linear", "mlp"] = "linear",
        redshift_head: Literal["correlation", "pooled"] = "correlation",
    ) -> None:
        super().__init__()
        self.encoder, self.targets = encoder, targets
        width, hidden = encoder.width, heads == "mlp"
        told = len(STRETCHES) + 1 if "z" in targets.names else 0
        made: dict[str, nn.Module] = {}
        for name in targets.names:
            if name in CATEGORIES:
                made[name] = CategoryHead(width + told, len(targets.vocabulary[name]), hidden)
            elif name == "z":
                axis = encoder.axis
                step = None if axis is None else axis.step / axis.samples
                axis = axis if redshift_head == "correlation" else None
                made[name] = RedshiftHead(width, axis, targets.scale["z"][1], step)
            else:
                made[name] = ScalarHead(width, *targets.scale[name], name in LOGARITHMIC, hidden)
        # "class" names no attribute of a ModuleDict, but keys may still clash with its methods: keep them apart.
        self.heads: nn.ModuleDict = nn.ModuleDict({f"{name}_head": head for name, head in made.items()})

    def head(self, name: str) -> Any:
        """The head of one target."""
        return self.heads[f"{name}_head"]

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        """What the encoder reads [B, ...] to each head's output (logits, or mean and ln sigma), and `pooled` [B, D]."""
        tokens, pooled = self.encoder(inputs)
        out, told = {"pooled": pooled}, pooled
        if "z" in self.targets.names:
            head = self.head("z")
            out["z"] = head(tokens, pooled)
            # What z is tells much of what it is; what it is shall not bend z.
            told = torch.cat((pooled, head.coarse(out["z"].detach()).to(pooled.dtype)), 1)
        for name in self.targets.names:
            if name != "z":
                out[name] = self.head(name)(told if name in CATEGORIES else pooled)
        return out

    def losses(self, out: dict[str, Tensor], labels: dict[str, Tensor]) -> dict[str, Tensor]:
        """Mean loss of each target over the spectra that have its label (0 where none has)."""
        losses = {}
        for name in self.targets.names:
            value = labels[name]
            known = is_known(value)
            each = self.head(name).loss(out[name], torch.where(known, value, torch.ones_like(value)))
            losses[name] = torch.where(known, each, torch.zeros_like(each)).sum() / known.sum().clamp(min=1)
        return losses

    def take_over(self, weights: dict[str, Tensor], targets: Targets) -> list[str]:
        """Start from the weights of another model with the same encoder, which learnt `targets`.

        A value of a category that both know keeps its weights, and so do the redshifts that both tell apart; `targets`
        passed through `Targets.following` keep those of their numbers.

        Returns
        -------
        list of str
            The targets whose heads were taken over.

        Raises
        ------
        ModelError
            When its encoder is another.
        """
        own = self.state_dict()
        differing = [
            name
            for name, tensor in own.items()
            if name.startswith("encoder.") and (name not in weights or weights[name].shape != tensor.shape)
        ]
        if differing:
            raise ModelError(f"the run's encoder is not the one asked for: {', '.join(differing[:3])} differ")
        taken = {name: weights[name] for name in own if name.startswith("encoder.")}
        followed = []
        for name in set(self.targets.names) & set(targets.names):
            prefix = f"heads.{name}_head."
            theirs = {key: value for key, value in weights.items() if key.startswith(prefix)}
            mine = {key: value for key, value in own.items() if key.startswith(prefix)}
            if name in CATEGORIES and f"{prefix}output.weight" in theirs:
                old, new = targets.vocabulary[name], self.targets.vocabulary[name]
                for part in ("weight", "bias"):
                    rows = mine[f"{prefix}output.{part}"].clone()
                    for i, value in enumerate(new):
                        if value in old and rows[i].shape == theirs[f"{prefix}output.{part}"][0].shape:
                            rows[i] = theirs[f"{prefix}output.{part}"][old.index(value)]
                    theirs[f"{prefix}output.{part}"] = rows
            if name == "z" and theirs.keys() == mine.keys():
                known = self.head("z").following({key.removeprefix(prefix): value for key, value in theirs.items()})
                theirs = {prefix + key: value for key, value in known.items()}
            if {k: v.shape for k, v in theirs.items()} == {k: v.shape for k, v in mine.items()}:
                taken |= theirs
                followed.append(name)
        self.load_state_dict(own | taken)
        return sorted(followed)


def is_known(value: Tensor) -> Tensor:
    """Which of a target's encoded labels [B] are there."""
    return torch.isfinite(value) if value.is_floating_point() else value >= 0


@dataclass(frozen=True)
class Design:
    """What a model is, but for its weights: kept as model.json beside them.

    Attributes
    ----------
    model : str
        A ViT of timm, or "specformer".
    inputs : dict
        Options of `SpectrumToImage`, or of `SpectrumToSequence` for "specformer".
    targets : Targets
    heads, redshift_head, keep_patches
        As in `SpectrumModel` and `ImageEncoder`.
    """

    model: str
    inputs: dict[str, Any]
    targets: Targets
    heads: Literal["linear", "mlp"] = "linear"
    redshift_head: Literal["correlation", "pooled"] = "correlation"
    keep_patches: float = 1.0

    def to_json(self) -> str:
        """As text."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def read(cls, path: Path) -> "Design":
        """Back from the file that holds `to_json`."""
        saved = json.loads(path.read_text())
        return cls(**(saved | {"targets": Targets.from_json(saved["targets"])}))

    def transform(self) -> SpectrumToImage | SpectrumToSequence:
        """What brings spectra before the encoder."""
        return SpectrumToSequence(**self.inputs) if self.model == SPECFORMER else SpectrumToImage(**self.inputs)

    def build(self, backbone: VisionTransformer | None = None) -> SpectrumModel:
        """The model, around a backbone that has weights already or a fresh one."""
        encoder: ImageEncoder | SpecFormer
        transform = self.transform()
        if isinstance(transform, SpectrumToSequence):
            encoder = SpecFormer(transform.bins, transform.step)
        else:
            size = transform.size
            backbone = backbone or create_backbone(self.model, size=size, channels=transform.channels)
            encoder = ImageEncoder(backbone, Picture.of(**self.inputs), self.keep_patches)
        return SpectrumModel(encoder, self.targets, self.heads, self.redshift_head)
