"""The model: spectra drawn as images, a timm Vision Transformer, and one head per target."""

import logging
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from spectromer.data.targets import CATEGORIES, Targets
from spectromer.ops.picture import Picture
from spectromer.redshift import LogAxis, RedshiftHead

try:
    import timm
    from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
    from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
except RuntimeError as error:  # torchvision's operators do not fit the torch that is installed
    raise ImportError(
        f"torch {torch.__version__} and the installed torchvision do not belong together ({error}); install both from "
        "the same place, for example `pip install --force-reinstall torch torchvision`"
    ) from error

__all__ = ["ModelError", "ScalarHead", "SpectrumModel", "create_backbone"]


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


class ScalarHead(nn.Linear):
    """A normal distribution of one standardised number: mean and ln sigma."""

    def __init__(self, width: int, mean: float, sigma: float) -> None:
        super().__init__(width, 2)
        self.mean, self.sigma = mean, sigma

    def loss(self, out: Tensor, value: Tensor) -> Tensor:
        """Negative log-likelihood [B] of `value` in its own unit."""
        mean, log_sigma = out.float().unbind(1)
        return log_sigma + 0.5 * (((value - self.mean) / self.sigma - mean) * torch.exp(-log_sigma)) ** 2

    def estimate(self, out: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [B] in the number's own unit."""
        mean, log_sigma = out.float().unbind(1)
        return self.mean + self.sigma * mean, self.sigma * torch.exp(log_sigma)


class SpectrumModel(nn.Module):
    """A ViT and its heads.

    Parameters
    ----------
    backbone : VisionTransformer
        Without classifier.
    targets : Targets
    image : dict
        Style, size and options of `render`, of the images that come in.
    """

    def __init__(self, backbone: VisionTransformer, targets: Targets, image: dict[str, Any]) -> None:
        super().__init__()
        self.backbone, self.targets = backbone, targets
        width = backbone.num_features
        cfg: Any = backbone.pretrained_cfg
        # Published means and deviations are those of photographs in R, G, B; images of lines have one for all.
        self.mean, self.std = sum(cfg["mean"]) / len(cfg["mean"]), sum(cfg["std"]) / len(cfg["std"])
        embed: Any = backbone.patch_embed
        axis = LogAxis.of(Picture.of(**image), embed.grid_size, embed.patch_size[1])
        heads: dict[str, nn.Module] = {}
        for name in targets.names:
            if name in CATEGORIES:
                heads[name] = nn.Linear(width, len(targets.vocabulary[name]))
            elif name == "z":
                heads[name] = RedshiftHead(width, axis, targets.scale["z"][1])
            else:
                heads[name] = ScalarHead(width, *targets.scale[name])
        # "class" names no attribute of a ModuleDict, but keys may still clash with its methods: keep them apart.
        self.heads: nn.ModuleDict = nn.ModuleDict({f"{name}_head": head for name, head in heads.items()})

    def head(self, name: str) -> Any:
        """The head of one target."""
        return self.heads[f"{name}_head"]

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Images uint8 [B, C, H, W] to each head's output: logits, or mean and ln sigma."""
        tokens = self.backbone.forward_features((images.float() / 255.0 - self.mean) / self.std)
        tokens = tokens[:, self.backbone.num_prefix_tokens :]
        pooled = tokens.mean(1)
        out = {}
        for name in self.targets.names:
            head = self.head(name)
            out[name] = head(tokens, pooled) if isinstance(head, RedshiftHead) else head(pooled)
        return out

    def losses(self, out: dict[str, Tensor], labels: dict[str, Tensor]) -> dict[str, Tensor]:
        """Mean loss of each target over the spectra that have its label (0 where none has)."""
        losses = {}
        for name in self.targets.names:
            value = labels[name]
            known = value >= 0 if name in CATEGORIES else torch.isfinite(value)
            if name in CATEGORIES:
                each = functional.cross_entropy(out[name].float(), value.clamp(min=0), reduction="none")
            else:
                each = self.head(name).loss(out[name], torch.where(known, value, torch.zeros_like(value)))
            losses[name] = torch.where(known, each, torch.zeros_like(each)).sum() / known.sum().clamp(min=1)
        return losses
