"""Vision Transformers of timm, adapted to images of spectra."""

import logging
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from spectromer.errors import ModelError
from spectromer.picture import Picture
from spectromer.words import first_line

try:
    import timm
    from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
    from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
except RuntimeError as error:  # torchvision's operators were built for another version of torch
    raise ImportError(
        f"torch {torch.__version__} and the installed torchvision are incompatible ({error}); install both from "
        "the same source, for example `pip install --force-reinstall torch torchvision`"
    ) from error

__all__ = ["create_backbone", "default_picture", "default_size", "has_published_weights"]

default_cfgs = generate_default_cfgs(
    {
        "vit_nano_patch16_128": {
            "input_size": (3, 128, 128),
            "mean": (0.5, 0.5, 0.5),  # about those of spectra drawn as strips
            "std": (0.25, 0.25, 0.25),
            "num_classes": 0,
            "first_conv": "patch_embed.proj",
            "classifier": "head",
        }
    }
)


@register_model
def vit_nano_patch16_128(pretrained: bool = False, **kwargs: Any) -> VisionTransformer:
    """A ViT with 0.8 M parameters, which trains from scratch within minutes on two CPU cores."""
    shape = {"img_size": 128, "patch_size": 16, "embed_dim": 128, "depth": 4, "num_heads": 4}
    return build_model_with_cfg(
        VisionTransformer,
        "vit_nano_patch16_128",
        pretrained,
        pretrained_filter_fn=checkpoint_filter_fn,
        **(shape | kwargs),
    )


def default_size(name: str) -> int:
    """Return the image size that a timm model was made for.

    Raises
    ------
    ModelError
        If timm has no such model.
    """
    if not timm.is_model(name):
        close = timm.list_models(f"*{name.split('.')[0][:8]}*")[:5]
        raise ModelError(f"model {name!r} is not one of timm's" + (f"; it has {', '.join(close)}" if close else ""))
    try:
        cfg = timm.get_pretrained_cfg(name)
    except RuntimeError as error:  # timm has the model, but no weights of that tag
        raise ModelError(f"model {name!r} is not one of timm's ({first_line(error)})") from error
    return int(cfg.input_size[-1]) if cfg is not None else 224


def create_backbone(
    name: str, *, size: int, channels: int, pretrained: bool = False, checkpoint: Path | None = None
) -> VisionTransformer:
    """Make a timm ViT without classifier, with its patch and position embeddings adapted to the images.

    Parameters
    ----------
    name : str
        Name of the model in timm, with or without a tag ("vit_base_patch16_224.dino").
    size, channels : int
        Size in pixels and number of channels of the images.
    pretrained : bool
        Whether to load the weights that timm publishes for the model, if there are any.
    checkpoint : Path, optional
        A safetensors file of the model's weights to load instead.

    Raises
    ------
    ModelError
        If there is no such ViT, or its weights cannot be loaded.
    """
    native_size = default_size(name)
    options: dict[str, Any] = {"num_classes": 0, "in_chans": channels}
    if size != native_size:
        options["img_size"] = size
    if checkpoint is not None:
        if not checkpoint.exists():
            raise ModelError(f"--checkpoint {checkpoint}: no such file or folder")
        if checkpoint.suffix != ".safetensors" or not checkpoint.is_file():
            raise ModelError(f"--checkpoint {checkpoint}: weights are read from .safetensors files alone")
        options |= {"pretrained": True, "pretrained_cfg_overlay": {"file": str(checkpoint)}}
    elif pretrained and has_published_weights(name):
        options["pretrained"] = True
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it logs its retries; a failure is reported below
    try:
        model = timm.create_model(name, **options)
    except Exception as error:  # the errors of timm, the hub and the network have no common base class
        if checkpoint is not None:
            raise ModelError(f"--checkpoint {checkpoint}: not weights of {name} ({first_line(error)})") from error
        if options.get("pretrained"):
            raise ModelError(
                f"the published weights of {name} could not be downloaded ({type(error).__name__}); give a local "
                "file with --checkpoint FILE.safetensors, or start from scratch with --no-pretrained"
            ) from error
        raise ModelError(f"model {name!r} could not be made for {size}-pixel images ({first_line(error)})") from error
    vit = _as_vit(name, model)
    if checkpoint is not None:  # timm accepts missing weights if the classifier is left out
        missing = sorted(set(vit.state_dict()) - set(checkpoint_filter_fn(load_file(checkpoint), vit)))
        if missing:
            raise ModelError(f"--checkpoint {checkpoint}: not weights of {name} (no {', '.join(missing[:3])} in it)")
    return vit


def has_published_weights(name: str) -> bool:
    """Tell whether timm publishes weights for this model."""
    cfg = timm.get_pretrained_cfg(name)
    return cfg is not None and bool(cfg.has_weights)


def default_picture(name: str, style: str = "strips", size: int | None = None) -> Picture:
    """Return the default picture of a model.

    Parameters
    ----------
    name : str
        Name of the model in timm.
    style : str
        One of `spectromer.picture.STYLES`. The styles "strips" and "panels" have one panel for each row of the model's
        patches.
    size : int, optional
        Size of the images in pixels. The default is the size that the model was made for.

    Raises
    ------
    ModelError
        If there is no such ViT, or the size is not a multiple of its patch size.
    """
    home = default_size(name)
    size = size or home
    if style not in ("strips", "panels"):
        return Picture.of(style, size=size)
    with torch.device("meta"):  # only shapes are needed
        embed: Any = _as_vit(name, timm.create_model(name, num_classes=0)).patch_embed
    patch = int(embed.patch_size[0])
    if size % patch:
        raise ModelError(f"size must be a multiple of {patch}, the patches of {name}, got {size}")
    return Picture.of(style, size=size, panels=size // patch)


def _as_vit(name: str, model: nn.Module) -> VisionTransformer:
    if not isinstance(model, VisionTransformer):
        raise ModelError(f"model {name!r} is not a Vision Transformer (timm calls it {type(model).__name__})")
    return model
